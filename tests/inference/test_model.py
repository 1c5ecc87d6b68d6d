"""A loaded model that is called: outputs by name, hidden states, the halves of a pair."""

import itertools

import numpy as np
import pytest
from finetuning import tiny_task
from interop import networks

import electra_jax
from electra_jax.config.model import ElectraConfig, PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.save import save_model_folder, save_pair
from electra_jax.text.tokenizers.train import train_vocabulary

SHAPE = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
CONFIGS = {
    "bert": ElectraConfig(embedding_size=16, **SHAPE),
    "modern": ElectraConfig(embedding_size=32, block="modern", layer_norm_eps=1e-5, **SHAPE),
}
TEXTS = ["the bright film of a river", "a dull day", "the man in the house with a kind story"]
KINDS = {
    "discriminator": {"logits": (3, 11)},
    "generator": {"logits": (3, 11, 90)},
    "encoder": {"last_hidden_state": (3, 11, 32)},
    "sequence_classification": {"logits": (3, 2)},
    "token_classification": {"logits": (3, 11, 2)},
    "question_answering": {"start_logits": (3, 11), "end_logits": (3, 11)},
    "multiple_choice": {"logits": (1, 3)},
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A tokenizer folder over the words of the tiny tasks."""
    folder = tmp_path_factory.mktemp("tokenizer")
    words = " ".join(tiny_task.GOOD + tiny_task.BAD + tiny_task.OTHER)
    (folder / "text.txt").write_text(f"{words}\n\n" * 20, encoding="utf-8")
    text = [str(folder / "text.txt")]
    train_vocabulary(text, "wordpiece", 90, folder / "tokenizer", progress=False)
    return folder / "tokenizer"


def saved(folder, kind, config, tokenizer):
    """A random network, loaded from a folder, and a batch for it."""
    config = config.replace(vocab_size=len((tokenizer / "vocab.txt").read_text().splitlines()))
    params = networks.random_params(config, kind, kernel_scale=0.15)
    save_model_folder(folder, kind, config, params, tokenizer)
    model = electra_jax.load(folder)
    return model, model.tokenizer(TEXTS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("block", CONFIGS)
def test_outputs_are_the_module_s_under_their_names(tmp_path, tokenizer, block, kind):
    model, inputs = saved(tmp_path / "m", kind, CONFIGS[block], tokenizer)
    given = {n: x[None] for n, x in inputs.items()} if kind == "multiple_choice" else inputs
    found = {n: x for n, x in vars(model(given)).items() if x is not None}
    length, vocabulary = inputs.input_ids.shape[1], model.config.vocab_size
    sizes = {11: length, 90: vocabulary}
    shapes = {n: tuple(sizes.get(s, s) for s in shape) for n, shape in KINDS[kind].items()}
    assert {n: x.shape for n, x in found.items()} == shapes

    batch = (inputs.input_ids, inputs.attention_mask, inputs.token_type_ids)
    arguments = [networks.inputs_of(model.config, batch)]
    arguments += [networks.every_position(batch[0])] if kind == "generator" else []
    expected = np.asarray(model.model.apply({"params": model.params}, *arguments))
    got = np.concatenate([np.asarray(x).reshape(-1) for x in found.values()])
    if kind == "question_answering":
        expected = np.moveaxis(expected, -1, 0)
    mask = inputs.attention_mask > 0
    if kind in ("sequence_classification", "multiple_choice"):
        mask = np.ones_like(expected, bool)
    elif expected.ndim == 3 and kind != "question_answering":
        mask = mask[..., None]
    real = np.broadcast_to(mask, expected.shape)
    np.testing.assert_allclose(
        got.reshape(expected.shape)[real], expected[real], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["discriminator", "encoder"])
def test_hidden_states_are_those_of_transformers(tmp_path, tokenizer, kind):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model, inputs = saved(tmp_path / "m", kind, CONFIGS["bert"], tokenizer)
    name = {"discriminator": "ElectraForPreTraining", "encoder": "ElectraModel"}[kind]
    theirs = getattr(transformers, name).from_pretrained(tmp_path / "m").eval()
    tensors = {n: torch.tensor(x, dtype=torch.long) for n, x in inputs.items()}
    with torch.no_grad():
        expected = theirs(**tensors, output_hidden_states=True).hidden_states
    found = model(inputs, hidden_states=True).hidden_states
    assert found.shape == (3, *inputs.input_ids.shape, 32) and len(expected) == 3
    real = inputs.attention_mask > 0
    for mine, other in zip(np.asarray(found), expected, strict=True):
        np.testing.assert_allclose(mine[real], other.numpy()[real], rtol=1e-5, atol=1e-5)


def test_hidden_states_end_with_what_the_head_reads(tmp_path, tokenizer):
    for block, config in CONFIGS.items():
        model, inputs = saved(tmp_path / block, "encoder", config, tokenizer)
        outputs = model(inputs, hidden_states=True)
        states = np.asarray(outputs.hidden_states)
        np.testing.assert_allclose(states[-1], outputs.last_hidden_state, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(model(inputs).last_hidden_state, states[-1], 1e-5, 1e-6)
        assert all(np.abs(a - b).max() > 0.01 for a, b in itertools.pairwise(states))


def test_a_program_serves_every_length_of_a_step(tmp_path, tokenizer):
    model, _ = saved(tmp_path / "m", "discriminator", CONFIGS["bert"], tokenizer)
    text = ["the river " * 30]
    short, longer, longest = (model.tokenizer(text, max_length=n) for n in (10, 32, None))
    first = model(short).logits
    model(longer)
    compiled, _ = model._program
    assert compiled._cache_size() == 1
    assert longest.input_ids.shape == (1, 40)  # the model's positions
    model(longest)
    assert compiled._cache_size() == 2
    alone = {"input_ids": short.input_ids}  # no mask: what is no padding; no types: 0
    np.testing.assert_array_equal(model(alone).logits, first)


def test_a_pair_has_two_networks_that_can_be_called(tmp_path, tokenizer):
    folder = tmp_path / "pair"
    vocabulary = len((tokenizer / "vocab.txt").read_text().splitlines())
    config = electra_jax.ElectraConfig(**{**SHAPE, "vocab_size": vocabulary}, embedding_size=16)
    pair = PairConfig(config, config.replace(hidden_size=16, num_attention_heads=2))
    params = networks.random_params(pair, "pair")
    save_pair(folder, pair, params, tokenizer)
    model = electra_jax.load(folder)
    inputs = model.tokenizer(TEXTS)
    for name in ("discriminator", "generator"):
        half, alone = getattr(model, name), electra_jax.load(folder / name)
        assert half.kind == alone.kind == name and half is getattr(model, name)
        np.testing.assert_array_equal(half(inputs).logits, alone(inputs).logits)
    with pytest.raises(UserError, match=r"call model\.discriminator\(inputs\)"):
        model(inputs)
    with pytest.raises(UserError, match="holds a generator, not a pair"):
        model.generator.discriminator  # noqa: B018
    uniform = {n: params[n] for n in ("electra", "discriminator_predictions")}
    save_pair(tmp_path / "uniform", PairConfig(config, None), uniform, tokenizer)
    without = electra_jax.load(tmp_path / "uniform")
    if without.kind == "pair":
        with pytest.raises(UserError, match="samples uniformly"):
            without.generator  # noqa: B018


def test_inputs_that_the_network_cannot_read_are_named(tmp_path, tokenizer):
    model, inputs = saved(tmp_path / "m", "discriminator", CONFIGS["bert"], tokenizer)
    ids = inputs.input_ids
    for given, named in [
        (ids, r"takes what model\.tokenizer"),
        ({"ids": ids}, "no input_ids"),
        ({"input_ids": ids[0]}, r"whole numbers \[rows, tokens\] are needed"),
        ({"input_ids": ids.astype(float)}, "are needed"),
        ({"input_ids": ids + 90}, "use this model's own tokenizer"),
        ({"input_ids": np.ones((1, 41), int)}, "41 tokens are more than the model's 40 positions"),
        ({**inputs, "attention_mask": ids[:1]}, "attention_mask is"),
        ({**inputs, "token_type_ids": ids * 0 + 2}, "the model has 2 types"),
    ]:
        with pytest.raises(UserError, match=named):
            model(given)
