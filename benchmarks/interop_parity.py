"""Random networks, here and in `transformers`: equal logits in both directions, bit-identical
weights there and back.

    python benchmarks/interop_parity.py --configurations=40

Each configuration draws its widths (E = H and E ≠ H), 1–4 layers, heads that are not H / 64, 1–3
token types, the activation and tying, and is tried with every head that its block style has. Prints
one line for each and the largest difference of all; exits with 1 where a difference exceeds 1e-5 or
a weight is not bit-identical. Needs torch and transformers (extra `parity`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from electra_jax.config.model import ElectraConfig
from electra_jax.interop.formats.safetensors import read_safetensors
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_model_folder
from electra_jax.modeling.electra import Inputs, padding_mask

TOLERANCE = 1e-5
KINDS = {
    "electra": (
        "ElectraModel",
        "ElectraForPreTraining",
        "ElectraForMaskedLM",
        "ElectraForSequenceClassification",
        "ElectraForTokenClassification",
        "ElectraForQuestionAnswering",
        "ElectraForMultipleChoice",
    ),
    "bert": ("BertModel", "BertForMaskedLM"),
    "modernbert": (
        "ModernBertModel",
        "ModernBertForMaskedLM",
        "ModernBertForSequenceClassification",
        "ModernBertForTokenClassification",
        "ModernBertForQuestionAnswering",
        "ModernBertForMultipleChoice",
    ),
}


class Parity(NamedTuple):
    """What one network showed: largest differences of logits, read and written, and whether
    weights came back.
    """

    read: float
    written: float
    identical: bool
    largest_logit: float
    report: dict[str, Any]


def draw_settings(seed: int) -> dict[str, Any]:
    """Constructor arguments of a random `transformers` configuration, with its scheme under
    "scheme".
    """
    rng = np.random.default_rng(seed)

    def pick(*values: Any) -> Any:
        return values[rng.integers(len(values))]

    scheme = pick("electra", "electra", "electra", "bert", "modernbert")
    heads = int(pick(1, 2, 3, 4, 6))
    # Not narrower: a LayerNorm over a handful of numbers that relu set to zero amplifies rounding.
    hidden = heads * int(pick(8, 12, 20)) * (3 if heads == 1 else 1)
    act = pick("gelu", "gelu_new", "relu")
    settings = {
        "scheme": scheme,
        "vocab_size": int(rng.integers(40, 90)),
        "hidden_size": hidden,
        "num_hidden_layers": int(rng.integers(1, 5)),
        "num_attention_heads": heads,
        "intermediate_size": int(rng.integers(8, 70)),
        "max_position_embeddings": int(rng.integers(24, 50)),
        "tie_word_embeddings": bool(pick(True, True, False)),
        "pad_token_id": 0,
        "num_labels": int(rng.integers(1, 6)),
    }
    if scheme == "modernbert":
        theta = float(pick(100.0, 10000.0, 160000.0))
        rope = {"rope_type": "default", "rope_theta": theta}
        return settings | {
            "hidden_activation": act,
            "classifier_activation": act,
            "layer_types": ["full_attention"] * settings["num_hidden_layers"],
            "rope_parameters": {"full_attention": rope, "sliding_attention": dict(rope)},
            "global_attn_every_n_layers": 1,  # what transformers 4 calls the three above
            "global_rope_theta": theta,
            "local_rope_theta": theta,
            "bos_token_id": 1,
            "cls_token_id": 1,
            "eos_token_id": 2,
            "sep_token_id": 2,
            "classifier_pooling": pick("cls", "mean"),
        }
    settings |= {
        "hidden_act": act,
        "type_vocab_size": int(rng.integers(1, 4)),
        "layer_norm_eps": float(pick(1e-12, 1e-5)),
    }
    if scheme == "electra":
        settings["embedding_size"] = pick(hidden, int(rng.integers(12, 40)))
    return settings


def build(class_name: str, settings: dict[str, Any], seed: int) -> Any:
    """A `transformers` model whose every parameter is drawn: biases and LayerNorms count as
    kernels do.
    """
    import torch
    import transformers

    torch.set_num_threads(1)  # networks this small gain nothing from more
    arguments = {k: v for k, v in settings.items() if k != "scheme"}
    if class_name.endswith("QuestionAnswering"):
        arguments["num_labels"] = 2
    config_class = {
        "electra": transformers.ElectraConfig,
        "bert": transformers.BertConfig,
        "modernbert": transformers.ModernBertConfig,
    }[settings["scheme"]]
    model = getattr(transformers, class_name)(config_class(**arguments)).eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            shape = tuple(parameter.shape)
            scale = 0.3 if len(shape) == 1 else shape[-1] ** -0.5
            centre = 1.0 if len(shape) == 1 and seed % 2 else 0.0
            values = rng.normal(centre, scale, shape).astype(np.float32)
            parameter.copy_(torch.from_numpy(values))
    return model


def draw_batch(settings: dict[str, Any], seed: int, rows: int = 4, length: int = 16) -> Any:
    """(input_ids, attention_mask with padding, token_type_ids with two segments), int32 [rows,
    length].
    """
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, settings["vocab_size"], (rows, length)).astype(np.int32)
    mask, types = np.ones_like(ids), np.zeros_like(ids)
    mask[1, 11:], mask[2, 5:] = 0, 0
    types[:, 6:] = settings.get("type_vocab_size", 1) - 1
    types[2, 3:] = min(1, settings.get("type_vocab_size", 1) - 1)
    return ids, mask, types


def their_output(model: Any, batch: Any) -> np.ndarray:
    """Logits (hidden states of a bare encoder) of a `transformers` model, [rows, length or
    labels, …].
    """
    import torch

    ids, mask, types = (torch.tensor(x).long() for x in batch)
    arguments = {"input_ids": ids, "attention_mask": mask}
    if not type(model).__name__.startswith("ModernBert"):
        arguments["token_type_ids"] = types
    if type(model).__name__.endswith("MultipleChoice"):
        # Two questions of two choices each.
        arguments = {k: v.reshape(2, 2, -1) for k, v in arguments.items()}
    with torch.no_grad():
        output = model(**arguments)
    if hasattr(output, "start_logits"):
        return torch.stack([output.start_logits, output.end_logits], -1).numpy()
    values = output.logits if hasattr(output, "logits") else output.last_hidden_state
    return values.numpy()


def our_output(loaded: Any, batch: Any) -> np.ndarray:
    """The same of a network of this library."""
    ids, mask, types = batch
    bert = loaded.config.block == "bert"
    arguments = [Inputs(ids, padding_mask(jnp.asarray(mask)), types if bert else None)]
    if loaded.kind == "generator":
        arguments.append(np.broadcast_to(np.arange(ids.shape[1], dtype=np.int32), ids.shape))
    return np.asarray(loaded.model.apply({"params": loaded.params}, *arguments))


def difference(ours: np.ndarray, theirs: np.ndarray, mask: np.ndarray) -> float:
    """The largest difference at real tokens (or of whole rows, where there is one output for
    each).
    """
    if ours.shape[:2] != mask.shape:
        return float(np.abs(ours.reshape(-1) - theirs.reshape(-1)).max())
    real = mask > 0
    return float(np.abs(ours[real] - theirs.reshape(ours.shape)[real]).max())


def compare(class_name: str, settings: dict[str, Any], seed: int, folder: Path) -> Parity:
    """Their model read here, written by us, and read there again."""
    import transformers

    batch = draw_batch(settings, seed)
    theirs = build(class_name, settings, seed)
    theirs.save_pretrained(folder / "theirs")
    expected = their_output(theirs, batch)
    loaded = load_model_folder(folder / "theirs")
    read = difference(our_output(loaded, batch), expected, batch[1])

    labels = {"id2label": {str(k): v for k, v in (loaded.id2label or {}).items()}}
    extra = labels if loaded.id2label else None
    assert isinstance(loaded.config, ElectraConfig)
    save_model_folder(folder / "ours", loaded.kind, loaded.config, loaded.params, None, extra)
    if not (folder / "ours/model.safetensors").exists():
        # No class of transformers computes it (a masked-LM head that is not gelu).
        again = load_model_folder(folder / "ours")
        written = difference(our_output(again, batch), expected, batch[1])
        return Parity(read, written, True, float(np.abs(expected).max()), {})
    their_class = class_name.replace("Bert", "Electra", 1) if settings["scheme"] == "bert" else ""
    back, report = getattr(transformers, their_class or class_name).from_pretrained(
        folder / "ours", output_loading_info=True
    )
    written = difference(their_output(back.eval(), batch), expected, batch[1])
    identical = True
    if settings["scheme"] != "bert":
        first = read_safetensors(folder / "theirs/model.safetensors")
        second = read_safetensors(folder / "ours/model.safetensors")
        identical = {n: v.tobytes() for n, v in first.items()} == {
            n: v.tobytes() for n, v in second.items()
        }
    return Parity(read, written, identical, float(np.abs(expected).max()), report)


def main(arguments: list[str] | None = None) -> int:
    """Runs all configurations and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--configurations", type=int, default=40)
    parser.add_argument("--first_seed", type=int, default=0)
    options = parser.parse_args(arguments)
    worst, networks, failed = 0.0, 0, 0
    for seed in range(options.first_seed, options.first_seed + options.configurations):
        settings = draw_settings(seed)
        for class_name in KINDS[settings["scheme"]]:
            with tempfile.TemporaryDirectory() as folder:
                result = compare(class_name, settings, seed, Path(folder))
            networks += 1
            worst = max(worst, result.read, result.written)
            good = (
                max(result.read, result.written) <= TOLERANCE
                and result.identical
                and not any(result.report.values())
            )
            failed += not good
            print(
                f"{seed:4d} {class_name:36s} read {result.read:.1e} written {result.written:.1e} "
                f"of {result.largest_logit:7.3f} "
                f"{'identical' if result.identical else 'DIFFERS':9s} "
                f"{'' if good else 'FAILED'}",
                flush=True,
            )
    print(
        f"{options.configurations} configurations, {networks} networks, {failed} failed; "
        f"largest difference {worst:.2e}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
