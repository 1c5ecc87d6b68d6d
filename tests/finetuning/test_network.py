"""Heads, losses, gradients and optimizer steps of the reference's fine-tuning, as recorded."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from electra_jax.config.finetuning import QuestionSettings
from electra_jax.finetuning.network import Network
from electra_jax.finetuning.objective import FineTuneObjective, LossSettings, row_losses
from electra_jax.finetuning.recipe import layerwise_multipliers
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.mapping.tensors import scatter
from electra_jax.modeling.electra import Inputs, padding_mask
from electra_jax.modeling.heads.reference import Reference
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.rng import Draws
from electra_jax.training.optimizer import build_optimizer
from electra_jax.training.schedules import learning_rate_schedule

KINDS = {
    "mnli": "classification",
    "sts": "regression",
    "chunk": "tagging",
    "squad": "question_answering",
    "squadv1": "question_answering",
}
QUESTIONS = {
    "qa_joint": QuestionSettings(),
    "qa_independent_start_pooled": QuestionSettings(joint=False),
    "qa_independent_cls_answerable": QuestionSettings(joint=False, start_pooled=False),
    "qa_independent_no_answerable": QuestionSettings(joint=False, answerable=False),
}
SINGLE = ("classification", "regression", "tagging", *QUESTIONS)


class Case:
    """A recorded case: its checkpoint as parameters, its batches as ours."""

    def __init__(self, oracles, name):
        self.folder = oracles / "finetune" / name
        self.settings = json.loads((self.folder / "config.json").read_text())
        self.recorded = np.load(self.folder / "outputs.npz")
        self.loaded = load_model_folder(self.folder / "ckpt", num_attention_heads=3)
        self.params = self.loaded.params
        self.task = self.settings["tasks"][0]
        self.kind = KINDS[self.task]
        heads = self.params["task_specific"][self.task]
        outputs = heads["dense"]["kernel"].shape[1]
        self.network = Network(
            self.loaded.config,
            self.kind,
            outputs,
            "reference",
            self.task,
            0.0,
            QUESTIONS.get(name, QuestionSettings()),
        )
        self.objective = FineTuneObjective(self.network, LossSettings(reduction="sum"))

    def batch(self, number):
        """A recorded batch under our names."""
        r = {
            n.removeprefix(f"b{number}/"): self.recorded[n]
            for n in self.recorded
            if n.startswith(f"b{number}/")
        }
        task = self.task
        weight = (r["task_id"] == 0).astype(np.float32)
        batch = {
            "input_ids": r["input_ids"],
            "token_type_ids": r["segment_ids"],
            "lengths": r["input_mask"].sum(1).astype(np.int32),
            "weight": weight,
        }
        if self.kind == "classification":
            batch["label"] = r[f"{task}_label_ids"]
        elif self.kind == "regression":
            batch["target"] = r[f"{task}_targets"]
        elif self.kind == "tagging":
            mask = r[f"{task}_labels_mask"] > 0
            batch["tags"] = np.where(mask, r[f"{task}_labels"], -1)
            batch["word_positions"] = r[f"{task}_labeled_positions"]
        else:
            answer_mask = r["input_mask"] * r["segment_ids"]
            answer_mask[:, 0] = 1
            batch["answer_mask"] = answer_mask
            for name in ("start_positions", "end_positions", "is_impossible"):
                batch[name] = r[f"{task}_{name}"]
        return {n: jnp.asarray(x) for n, x in batch.items()}

    def total(self, params, batch):
        """The reference's loss: a sum over the batch."""
        draws = Draws(jax.random.key(0), jnp.zeros((), jnp.int32), jnp.arange(4))
        terms, _ = self.objective.loss(params, {}, batch, draws, False)
        return terms["loss"][0]


@pytest.fixture(scope="module")
def case(oracles, request):
    """The case that a test names."""
    return Case(oracles, request.param)


@pytest.mark.parametrize("case", SINGLE, indirect=True)
@pytest.mark.parametrize("number", [0, 1])
def test_training_outputs_and_losses(case, number):
    batch = case.batch(number)
    outputs = jax.jit(lambda p, b: case.network(p, b, None, True))(case.params, batch)
    prefix = f"b{number}/train/{case.task}/"
    assert ("answerable_logit" in outputs) == (
        case.kind == "question_answering" and case.network.question.answerable
    )
    for name, value in outputs.items():
        recorded = "predictions" if case.kind == "regression" else name
        expected = case.recorded[prefix + recorded]
        found = np.asarray(value)
        if case.kind == "regression":
            found = found[:, 0]
        if case.kind == "tagging":
            there = np.asarray(batch["tags"]) >= 0
            found, expected = found[there], expected[there]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    losses = np.asarray(
        jax.jit(lambda o, b: row_losses(case.kind, o, b, case.objective.settings))(outputs, batch)
    )
    if case.kind == "tagging":
        losses = np.sum(losses * (np.asarray(batch["tags"]) >= 0), 1)
    np.testing.assert_allclose(losses, case.recorded[prefix + "loss"], rtol=1e-4, atol=1e-4)
    total = jax.jit(case.total)(case.params, batch)
    np.testing.assert_allclose(total, case.recorded[f"b{number}/train/total_loss"], rtol=1e-5)


@pytest.mark.parametrize("case", SINGLE, indirect=True)
def test_prediction_outputs(case):
    batch = case.batch(0)
    outputs = jax.jit(case.network)(case.params, batch)
    prefix = f"b0/eval/{case.task}/"
    if case.kind in ("classification", "regression"):
        name = "logits" if case.kind == "classification" else "predictions"
        found = np.asarray(outputs["logits"])
        expected = case.recorded[prefix + name]
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)
    elif case.kind == "question_answering":
        assert ("start_top_index" in outputs) == case.network.question.joint
        for name, value in outputs.items():
            expected, found = case.recorded[prefix + name], np.asarray(value)
            if name.endswith("index"):
                # Below −500 only masked positions are left, in an order that rounding decides.
                sure = case.recorded[prefix + name.replace("index", "log_probs")] > -500
                if name.startswith("end"):
                    starts = case.recorded[prefix + "start_top_log_probs"] > -500
                    sure &= starts[..., None]
                assert sure.sum() > 10
                np.testing.assert_array_equal(found[sure], expected[sure])
            elif name == "end_top_log_probs":
                starts = case.recorded[prefix + "start_top_log_probs"] > -500
                np.testing.assert_allclose(found[starts], expected[starts], rtol=1e-4, atol=1e-3)
            else:
                np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def _by_tf1_name(case, tree):
    from electra_jax.interop.mapping.names import backbone, task_rows

    rows = backbone(case.loaded.config) + task_rows(case.loaded.task_heads)
    return scatter(rows, jax.tree.map(np.asarray, tree), "tf1")


@pytest.mark.parametrize("case", SINGLE, indirect=True)
def test_gradients(case):
    gradient = jax.jit(jax.grad(case.total))(case.params, case.batch(0))
    named = _by_tf1_name(case, gradient)
    recorded = [n for n in case.recorded if n.startswith("b0/grad/")]
    assert len(recorded) >= 6
    for name in recorded:
        expected = case.recorded[name]
        found = named[name.removeprefix("b0/grad/")]
        assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected) + 1e-6, name
    norm = float(optax.tree.norm(gradient))
    dense = float(case.recorded["b0/train/grad_global_norm_dense"])
    np.testing.assert_allclose(norm, dense, rtol=1e-4)


@pytest.mark.parametrize("case", ["classification", "qa_joint"], indirect=True)
def test_four_steps_with_layerwise_decay(case):
    """The recorded clip norms are fed: the reference counts repeated rows of the word table one by
    one (inventory B.6), which is not reproduced."""
    steps = case.settings["train_steps"]
    o = steps["optimizer"]
    schedule = learning_rate_schedule(
        o["learning_rate"], o["num_train_steps"], int(o["num_train_steps"] * o["warmup_proportion"])
    )
    multipliers = layerwise_multipliers(
        case.params, case.loaded.config, o["layerwise_lr_decay_power"], "reference"
    )
    settings = {
        "name": "adam_reference",
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": o["epsilon"],
        "weight_decay": o["weight_decay_rate"],
        "no_decay": ("LayerNorm|layer_norm|bias",),
        "clip_norm": None,
    }
    optimizer = build_optimizer(case.params, schedule, settings, multipliers)
    params, state = case.params, optimizer.init(case.params)
    gradient = jax.jit(jax.value_and_grad(case.total))

    @jax.jit
    def apply(grads, state, params):
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for number, step in zip(steps["batches_in_order"], steps["steps"], strict=True):
        total, grads = gradient(params, case.batch(number))
        np.testing.assert_allclose(total, step["total_loss_before"], rtol=1e-4)
        scale = o["clip_norm"] / max(
            o["clip_norm"], step["grad_global_norm_as_clipped_by_reference"]
        )
        grads = jax.tree.map(lambda g, scale=scale: g * scale, grads)
        params, state = apply(grads, state, params)
    found, before = _by_tf1_name(case, params), _by_tf1_name(case, case.params)
    after = np.load(case.folder / "after_4_steps.npz")
    assert len(after.files) >= 6
    for name in after:
        moved = np.linalg.norm(after[name] - before[name])
        if name.endswith("key/bias"):
            continue
        assert np.linalg.norm(found[name] - after[name]) <= 1e-3 * moved, name


def test_two_tasks_on_one_encoder(oracles):
    case = Case(oracles, "multitask")
    recorded, config = case.recorded, case.loaded.config
    model = Reference(config, (("mnli", "classification", 3), ("sts", "regression", 1)), 0.0)
    batch = {
        "label": jnp.asarray(recorded["b0/mnli_label_ids"]),
        "target": jnp.asarray(recorded["b0/sts_targets"]),
    }

    def total(params):
        mask = padding_mask(jnp.asarray(recorded["b0/input_mask"]))
        inputs = Inputs(recorded["b0/input_ids"], mask, recorded["b0/segment_ids"])
        outputs = model.apply({"params": params}, inputs, batch)
        losses = [
            row_losses("classification", outputs["mnli"], batch, LossSettings()),
            row_losses("regression", outputs["sts"], batch, LossSettings()),
        ]
        chosen = jax.nn.one_hot(recorded["b0/task_id"], 2)  # a row of padding has task 2
        return jnp.sum(jnp.stack(losses, 1) * chosen), outputs

    (value, outputs), gradient = jax.jit(jax.value_and_grad(total, has_aux=True))(case.params)
    np.testing.assert_allclose(
        outputs["mnli"]["logits"], recorded["b0/train/mnli/logits"], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        outputs["sts"]["logits"][:, 0], recorded["b0/train/sts/predictions"], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(value, recorded["b0/train/total_loss"], rtol=1e-5)
    named = _by_tf1_name(case, gradient)
    for name in (n for n in recorded if n.startswith("b0/grad/")):
        expected = recorded[name]
        difference = named[name.removeprefix("b0/grad/")] - expected
        assert np.linalg.norm(difference) <= 1e-4 * np.linalg.norm(expected) + 1e-6, name


def test_fresh_parameters_have_the_names_of_the_reference(oracles):
    for name in SINGLE:
        case = Case(oracles, name)
        fresh = flatten(jax.eval_shape(case.network.init, jax.random.key(0)))
        recorded = flatten(case.params)
        assert {n: x.shape for n, x in fresh.items()} == {n: x.shape for n, x in recorded.items()}
