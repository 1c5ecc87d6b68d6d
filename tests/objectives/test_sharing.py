"""What generator and discriminator share: numbers that DeBERTa's own code recorded, identities
between the kinds of sharing, and which loss reaches which parameters."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix import representative
from objectives.tiny import (
    batch_sums,
    configured_objective,
    draws_of,
    init_params,
    quick_jit,
    rows_of,
)

from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.config.pretraining import PretrainOptimizer
from electra_jax.errors import UserError
from electra_jax.interop.mapping.pair import split_pair
from electra_jax.modeling.electra import Discriminator, Inputs, padding_mask
from electra_jax.modeling.trees import flatten, unflatten
from electra_jax.objectives.corruption import MaskedRows, Masking
from electra_jax.objectives.electra import ElectraObjective, ElectraSettings
from electra_jax.objectives.masking import Selection
from electra_jax.objectives.row_structure import SpecialIds
from electra_jax.training.optimizer import build_optimizer, optimizer_groups
from electra_jax.training.schedules import learning_rate_schedule
from electra_jax.training.step import TrainState, make_train_step

WORDS, POSITIONS = "embeddings/word_embeddings", "embeddings/position_embeddings"

# Recorded by the original code


@pytest.fixture(scope="module")
def recorded(all_oracles):
    with np.load(all_oracles / "rtd" / "gdes_bertlike.npz") as file:
        return dict(file)


class Recorded(ElectraObjective):
    """ELECTRA on rows that were masked elsewhere: `masked`, `positions` and `used` of the batch."""

    def rows(self, batch):
        structure = self.masking.structure(batch)
        return MaskedRows(structure, Selection(batch["positions"], batch["used"]), batch["masked"])

    def weights(self, batch, step=None):
        selected, valid = jnp.sum(batch["used"]), jnp.sum(batch["attention_mask"])
        return {"generator_loss": selected, "discriminator_loss": valid.astype(jnp.float32)}

    def loss(self, params, frozen, batch, draws, train):
        return self.loss_of(params, self.rows(batch), draws, train, batch["sampled_ids"])


def objective_of(sharing):
    """The recorded pair: post-LayerNorm blocks with a table of token types that is 0."""
    shape = ElectraConfig(
        vocab_size=37, embedding_size=16, hidden_size=16, num_hidden_layers=3,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=12,
        layer_norm_eps=1e-7, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        discriminator_head="deberta",
    )  # fmt: skip
    settings = ElectraSettings(discriminator_weight=10.0)
    masking = Masking(settings, SpecialIds(pad=0, unk=3, cls=1, sep=2, mask=4), 12)
    pair = PairConfig(shape, shape.replace(num_hidden_layers=2), sharing)
    return Recorded(pair, settings, masking)


def batch_of(recorded):
    labels = recorded["labels"]
    slots = int((labels > 0).sum(1).max())
    order = np.argsort(labels == 0, axis=1, kind="stable")[:, :slots]
    used = np.take_along_axis(labels > 0, order, 1)
    positions = np.where(used, order, 0)
    sampled = np.take_along_axis(recorded["sampled_ids"], positions, 1)
    whole = {
        "input_ids": recorded["original_ids"],
        "attention_mask": recorded["input_mask"],
        "masked": recorded["masked_ids"],
        "positions": positions,
        "sampled_ids": sampled,
    }
    batch = {name: jnp.asarray(x, jnp.int32) for name, x in whole.items()}
    return {**batch, "used": jnp.asarray(used, jnp.float32)}


def params_of(recorded, sharing, case):
    """The recorded parameters by our names; layers stacked, kernels transposed."""
    given = {k[6:]: v for k, v in recorded.items() if k.startswith("param/")}
    parts = {"query_proj": "query", "key_proj": "key", "value_proj": "value"}
    flat = {}

    def dense(to, source, pick=lambda x: x):
        flat[f"{to}/kernel"] = pick(given[f"{source}.weight"]).T
        flat[f"{to}/bias"] = given[f"{source}.bias"]

    def norm(to, source):
        flat[f"{to}/scale"], flat[f"{to}/bias"] = (
            given[f"{source}.{e}"] for e in ("weight", "bias")
        )

    for network, to, layers in (("discriminator", "electra", 3), ("generator", "generator", 2)):
        norm(f"{to}/embeddings/LayerNorm", f"{network}.deberta.embeddings.LayerNorm")
        for name in (
            *(f"attention.self.{p}" for p in parts), "attention.output.dense",
            "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
        ):  # fmt: skip
            ours = name.replace(".", "/")
            for theirs, short in parts.items():
                ours = ours.replace(theirs, short)
            for end in ("weight", "bias"):
                leaves = [
                    given[f"{network}.deberta.encoder.layer.{i}.{name}.{end}"]
                    for i in range(layers)
                ]
                kernel = leaves[0].ndim == 2
                leaf = {"weight": "kernel" if kernel else "scale", "bias": "bias"}[end]
                flat[f"{to}/encoder/layer/{ours}/{leaf}"] = np.stack(
                    [x.T if kernel else x for x in leaves]
                )
    types = np.zeros((2, 16), np.float32)
    tables = [given[f"generator.deberta.embeddings.{n}.weight"]
              for n in ("word_embeddings", "position_embeddings")]  # fmt: skip
    deltas = [recorded.get(f"{case}/delta_{n}", np.zeros_like(t)) for n, t in zip("EP", tables)]
    if sharing == "nes":
        tables_of_d, end = [t + d for t, d in zip(tables, deltas)], ""
    else:
        tables_of_d, end = deltas, "_delta"
    for to, pair, ending in (("generator", tables, ""), ("electra", tables_of_d, end)):
        flat[f"{to}/{WORDS}{ending}"], flat[f"{to}/{POSITIONS}{ending}"] = pair
        flat[f"{to}/embeddings/token_type_embeddings{ending}"] = types
    head = "generator.lm_predictions.lm_head"
    dense("generator_predictions/dense", f"{head}.dense")
    norm("generator_predictions/LayerNorm", f"{head}.LayerNorm")
    flat["generator_predictions/output_bias"] = given[f"{head}.bias"]
    head = "discriminator.mask_predictions"
    dense("discriminator_predictions/dense", f"{head}.dense")
    norm("discriminator_predictions/LayerNorm", f"{head}.LayerNorm")
    dense("discriminator_predictions/dense_1", f"{head}.classifier")
    return unflatten({name: jnp.asarray(x) for name, x in flat.items()})


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(
    ("sharing", "case"), [("gdes", "gdes0"), ("gdes", "gdes1"), ("nes", "none")]
)
def test_logits_losses_and_gradients_are_the_recorded_ones(recorded, sharing, case):
    objective, batch = objective_of(sharing), batch_of(recorded)
    params = params_of(recorded, sharing, case)
    shapes = flatten(jax.eval_shape(objective.init, jax.random.key(0))[0])
    assert {n: x.shape for n, x in flatten(params).items()} == {
        n: x.shape for n, x in shapes.items()
    }
    rows = objective.rows(batch)

    @quick_jit
    def measure(params):
        def mean(params, name):
            total, weight = objective.loss(params, {}, batch, draws_of(3), False)[0][name]
            return total / weight

        inputs, labels = objective.corrupt(rows, batch["sampled_ids"])
        logits = objective.generator_logits(params, rows, None)
        judged = objective.discriminator_logits(params, inputs, None)
        names = ("generator_loss", "discriminator_loss")
        return logits, judged, labels, [jax.value_and_grad(mean)(params, name) for name in names]

    logits, judged, labels, ((g, of_g), (d, of_d)) = jax.device_get(measure(params))
    valid, used = recorded["input_mask"] > 0, np.asarray(batch["used"]) > 0
    close(logits[used], recorded[f"{case}/generator_logits"])
    close(judged[valid], recorded[f"{case}/discriminator_logits"][valid])
    np.testing.assert_array_equal(labels[valid], recorded[f"{case}/discriminator_labels"])
    assert g == pytest.approx(float(recorded[f"{case}/loss_G"]), rel=1e-5)
    assert d == pytest.approx(float(recorded[f"{case}/loss_D"]), rel=1e-5)
    of_g, of_d = flatten(of_g), flatten(of_d)
    end, name = ("", "{}_D") if sharing == "nes" else ("_delta", "delta_{}")
    for letter, table in (("E", WORDS), ("P", POSITIONS)):
        close(of_g[f"generator/{table}"], recorded[f"{case}/grad_G/{letter}_G"])
        close(of_d[f"electra/{table}{end}"], recorded[f"{case}/grad_D/{name.format(letter)}"])
        assert not of_d[f"generator/{table}"].any() and not of_g[f"electra/{table}{end}"].any()
        if case == "gdes0":  # with one table the two gradients are added
            joint = of_g[f"generator/{table}"] + 10 * of_d[f"electra/{table}{end}"]
            close(joint, recorded[f"es/grad_joint/{letter}_G"])


@pytest.mark.parametrize("order", representative(("simultaneous", "sequential"), "sequential"))
def test_four_steps_follow_the_recorded_trajectory(recorded, order):
    objective, batch = objective_of("gdes"), batch_of(recorded)
    params = params_of(recorded, "gdes", "gdes0")
    settings = PretrainOptimizer(
        order=order, weight_decay=0.01, generator_clip_norm=1.0, freeze=("token_type",)
    )
    groups = optimizer_groups(objective, settings)
    schedule = learning_rate_schedule(1e-2, 100, 0, decay="constant")
    optimizer = build_optimizer(params, schedule, settings, groups=groups)
    state = TrainState(jnp.int32(0), params, quick_jit(optimizer.init)(params), {})
    step = quick_jit(make_train_step(objective, optimizer, 0, sequential=order == "sequential"))
    start, kept = flatten(jax.device_get(params)), recorded
    for number in range(4):
        state, sums = step(state, batch)
        for term, name in (("generator_loss", "loss_G"), ("discriminator_loss", "loss_D")):
            total, weight = sums[term]
            expected = kept[f"adam_{order}/{name}"][number]
            assert float(total / weight) == pytest.approx(float(expected), rel=1e-5), number
        now = flatten(jax.device_get(state.params))
        for table, name in ((f"generator/{WORDS}", "E_G"), (f"electra/{WORDS}_delta", "delta_E")):
            moved = kept[f"adam_{order}/{name}"][number] - start[table]
            away = np.linalg.norm(now[table] - start[table] - moved)
            assert away < 1e-3 * np.linalg.norm(moved), (number, name)


def test_the_orders_differ_by_what_the_discriminator_reads(recorded):
    """So that neither trajectory could pass for the other's."""
    losses = [recorded[f"adam_{o}/loss_D"] for o in ("simultaneous", "sequential")]
    assert losses[1][0] != pytest.approx(losses[0][0], rel=1e-3)


# Which loss reaches which parameters

GROUPS = {
    "G's tables": r"generator/embeddings/\w+_embeddings$",
    "G's LayerNorm": r"generator/embeddings/LayerNorm",
    "G's layers": r"generator/(encoder|embeddings_project)",
    "G's head": r"generator_predictions",
    "D's tables": r"electra/embeddings/\w+_embeddings(_delta)?$",
    "D's LayerNorm": r"electra/embeddings/LayerNorm",
    "D's layers": r"electra/(encoder|embeddings_project)",
    "replaced-token head": r"discriminator_predictions",
    "masked-LM head": r"masked_lm_predictions",
}
# objective, sharing, term: the groups with a gradient, of those that there are. "D's tables" are
# the shared ones where there is one set.
SHARED, OWN = {"D's tables", "D's LayerNorm"}, {"G's tables", "G's LayerNorm"}
G, D = {"G's layers", "G's head"}, {"D's layers"}
RTD, LM = {"replaced-token head"}, {"masked-LM head"}
FLOW = {
    ("electra", "embeddings", "generator_loss"): G | SHARED,
    ("electra", "embeddings", "discriminator_loss"): D | RTD | SHARED,
    ("electra", "none", "generator_loss"): G | OWN,
    ("electra", "none", "discriminator_loss"): D | RTD | SHARED,
    ("electra", "nes", "generator_loss"): G | OWN,
    ("electra", "nes", "discriminator_loss"): D | RTD | SHARED,
    ("electra", "gdes", "generator_loss"): G | OWN,
    ("electra", "gdes", "discriminator_loss"): D | RTD | SHARED,
    ("electra_15", "embeddings", "generator_loss"): G | SHARED,
    ("electra_15", "embeddings", "discriminator_loss"): D | RTD | SHARED,
    ("replace_mlm", "embeddings", "generator_loss"): G | SHARED,
    ("replace_mlm", "embeddings", "prediction_loss"): D | LM | SHARED,
    ("replace_mlm", "gdes", "generator_loss"): G | OWN,
    ("replace_mlm", "gdes", "prediction_loss"): D | LM | SHARED,
    ("all_tokens_mlm", "embeddings", "generator_loss"): G | SHARED,
    ("all_tokens_mlm", "embeddings", "prediction_loss"): D | LM | RTD | SHARED,
    ("all_tokens_mlm", "gdes", "generator_loss"): G | OWN,
    ("all_tokens_mlm", "gdes", "prediction_loss"): D | LM | RTD | SHARED,
}


@pytest.mark.parametrize(
    ("name", "sharing"),
    representative(sorted({key[:2] for key in FLOW}), ("electra", "gdes")),
)
def test_each_loss_reaches_its_own_parameters_and_no_other(name, sharing):
    """By exact zeros."""
    objective = configured_objective(name, f"model.sharing={sharing}", "model.scan_layers=False")
    params = init_params(objective, jax.random.key(0))
    batch = {"input_ids": rows_of([[16], [9]], 16)}
    terms = [key[2] for key in FLOW if key[:2] == (name, sharing)]
    assert {*terms} == {*objective.coefficients}

    @quick_jit
    def gradients(params):
        def loss(params, term):
            return objective.loss(params, {}, batch, draws_of(2), True)[0][term][0]

        return {term: jax.grad(loss)(params, term) for term in terms}

    for term, gradient in jax.device_get(gradients(params)).items():
        reached, there = set(), set()
        for path, leaf in flatten(gradient).items():
            (group,) = (g for g, pattern in GROUPS.items() if re.match(pattern, path))
            there.add(group)
            if leaf.any() and not path.endswith("key/bias"):
                reached.add(group)
        assert reached == FLOW[name, sharing, term] & there, term
        assert FLOW[name, sharing, term] <= there


# Identities


def as_gdes(params):
    """The parameters of a pair with shared embeddings, as one whose differences are 0."""
    shared = params["electra"]["embeddings"]
    own = {n + "_delta": jnp.zeros_like(x) for n, x in shared.items() if n != "LayerNorm"}
    own["LayerNorm"] = shared["LayerNorm"]
    electra = {**params["electra"], "embeddings": own}
    return {
        **params,
        "electra": electra,
        "generator": {**params["generator"], "embeddings": shared},
    }


def test_at_no_difference_gdes_is_sharing_with_its_two_gradients_apart():
    batch = {"input_ids": rows_of([[16], [11]], 16)}
    shared, apart = (configured_objective("electra", f"model.sharing={s}")
                     for s in ("embeddings", "gdes"))  # fmt: skip
    params = init_params(shared, jax.random.key(0))
    split = as_gdes(params)
    one, other = (batch_sums(o, p, batch, draws_of(2), True)
                  for o, p in ((shared, params), (apart, split)))  # fmt: skip
    jax.tree.map(np.testing.assert_array_equal, one, other)

    def gradients(objective, params):
        def total(params):
            terms = objective.loss(params, {}, batch, draws_of(2), True)[0]
            return terms["generator_loss"][0] + 10 * terms["discriminator_loss"][0]

        return flatten(jax.device_get(quick_jit(jax.grad(total))(params)))

    joint, parts = gradients(shared, params), gradients(apart, split)
    for table in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        own = parts[f"generator/embeddings/{table}"], parts[f"electra/embeddings/{table}_delta"]
        assert all(part.any() for part in own), table
        close(sum(own), joint[f"electra/embeddings/{table}"], 1e-5)


def test_the_export_is_the_sum_and_computes_what_the_run_does():
    objective = configured_objective("electra", "model.sharing=gdes")
    params = init_params(objective, jax.random.key(0))
    flat = flatten(params)
    noise = np.random.default_rng(0)
    for name in flat:
        if name.endswith("_delta"):
            assert not flat[name].any()
            flat[name] = jnp.asarray(noise.normal(0, 0.1, flat[name].shape), jnp.float32)
    params = unflatten(flat)
    ids = rows_of([[16], [9]], 16)
    inputs = Inputs(ids, padding_mask(ids > 0))
    config, tree = split_pair(objective.config, jax.device_get(params))["discriminator"]
    words = (
        flat["generator/embeddings/word_embeddings"]
        + flat["electra/embeddings/word_embeddings_delta"]
    )
    np.testing.assert_array_equal(tree["electra"]["embeddings"]["word_embeddings"], words)
    alone = quick_jit(lambda t: Discriminator(config).apply({"params": t}, inputs))(tree)
    run = quick_jit(lambda p: objective.discriminator_logits(p, inputs, None))(params)
    np.testing.assert_array_equal(alone, run)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model.sharing=gdes", "model.generator.kind=uniform"), r"sharing='gdes' adds to a gen"),
        (("model.sharing=some",), "model.sharing"),
    ],
)
def test_settings_that_contradict_each_other_are_one_error(overrides, message):
    with pytest.raises(UserError, match=message):
        configured_objective("electra", *overrides)
