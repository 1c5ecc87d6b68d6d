"""`google/electra-small-discriminator` as a Hub cache holds it: its files, names and shapes, with
random weights and a made-up vocabulary of its size."""

import json
from pathlib import Path

import numpy as np

from electra_jax.interop.formats.safetensors import write_safetensors

NAME = "google/electra-small-discriminator"
PARAMETERS = 13_549_057  # of the released network, its head included
CONFIG = {
    "architectures": ["ElectraForPreTraining"],
    "attention_probs_dropout_prob": 0.1,
    "embedding_size": 128,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 256,
    "initializer_range": 0.02,
    "intermediate_size": 1024,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "electra",
    "num_attention_heads": 4,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "summary_activation": "gelu",
    "summary_last_dropout": 0.1,
    "summary_type": "first",
    "summary_use_proj": True,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the state dict by name."""
    v, e, h, f = (
        CONFIG[k] for k in ("vocab_size", "embedding_size", "hidden_size", "intermediate_size")
    )
    found: dict[str, tuple[int, ...]] = {}

    def put(name: str, out: int, *into: int) -> None:
        found[f"{name}.weight"] = (out, *into)
        found[f"{name}.bias"] = (out,)

    for table, rows in (("word", v), ("position", 512), ("token_type", 2)):
        found[f"electra.embeddings.{table}_embeddings.weight"] = (rows, e)
    put("electra.embeddings.LayerNorm", e)
    put("electra.embeddings_project", h, e)
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"electra.encoder.layer.{layer}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            put(f"{prefix}.attention.{part}", h, h)
        put(f"{prefix}.attention.output.LayerNorm", h)
        put(f"{prefix}.intermediate.dense", f, h)
        put(f"{prefix}.output.dense", h, f)
        put(f"{prefix}.output.LayerNorm", h)
    put("discriminator_predictions.dense", h, h)
    put("discriminator_predictions.dense_prediction", 1, h)
    return found


def weights() -> dict[str, np.ndarray]:
    """Random weights of these shapes, float32; norms begin at one."""
    draw = np.random.default_rng(0)
    return {
        name: np.ones(shape, np.float32)
        if name.endswith("LayerNorm.weight")
        else draw.standard_normal(shape, np.float32) * 0.02
        for name, shape in shapes().items()
    }


def vocabulary(words: list[str]) -> list[str]:
    """The tokens of a vocab.txt of that size: BERT's special tokens at their places, letters, the
    words, and made-up ones."""
    tokens = ["[PAD]", *(f"[unused{i}]" for i in range(99)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens += [*letters, *(f"##{c}" for c in letters), *".,!?'", *dict.fromkeys(words)]
    return [*tokens, *(f"madeup{i}" for i in range(CONFIG["vocab_size"] - len(tokens)))]


def write(home: Path, words: list[str], torch=None) -> Path:
    """Lays the checkpoint into HF_HOME; returns its snapshot folder. With `torch` the weights are
    pytorch_model.bin, as first released (with the buffer of positions), else model.safetensors."""
    repository = home / "hub" / ("models--" + NAME.replace("/", "--"))
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (snapshot / "config.json").write_text(json.dumps(CONFIG, indent=2))
    settings = {"do_lower_case": True, "model_max_length": 512}
    (snapshot / "tokenizer_config.json").write_text(json.dumps(settings))
    (snapshot / "vocab.txt").write_text("\n".join(vocabulary(words)) + "\n")
    if torch is None:
        write_safetensors(snapshot / "model.safetensors", weights())
    else:
        state = {name: torch.from_numpy(value) for name, value in weights().items()}
        state["electra.embeddings.position_ids"] = torch.arange(512)[None]
        torch.save(state, snapshot / "pytorch_model.bin")
    return snapshot
