"""ELECTRA in JAX: raw text to a pretrained model, fine-tuned models and predictions.

The names of `__all__` are what a program uses; they are imported when first asked for, so that
`import electra_jax` stays light. Every verb of the command line is one of them, under its own name
but for `vocab`, which is `train_vocabulary`, `demo`, which is `run_demo`, and `config`, which is
`describe_config`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from electra_jax.messages import show_warnings

__version__ = "0.1.0"

# Public names and where they live.
_PUBLIC = {
    # models and tokenizers
    "load": "inference.model",
    "Predictor": "inference.predictor",
    "Tokenizer": "text.tokenizers.tokenizer",
    "load_tokenizer": "text.tokenizers.tokenizer",
    "ElectraConfig": "config.model",
    "UserError": "errors",
    # the verbs of the command line
    "get_config": "config_file",
    "describe_config": "config_file",
    "train_vocabulary": "text.tokenizers.train",
    "prepare": "preparation.prepare",
    "pretrain": "api.runs",
    "finetune": "api.runs",
    "sweep": "api.runs",
    "report": "api.runs",
    "run_demo": "api.runs",
    "write_docstrings": "demo.docstrings",  # the demo's text
    "evaluate": "api.answers",
    "predict": "api.answers",
    "submission": "api.answers",
    "score": "api.scores",
    "convert": "interop.convert",
    # a training loop of one's own
    "build_pretraining": "api.steps",
    "make_train_step": "training.step",
}

__all__ = [
    "ElectraConfig",
    "Predictor",
    "Tokenizer",
    "UserError",
    "build_pretraining",
    "convert",
    "describe_config",
    "evaluate",
    "finetune",
    "get_config",
    "load",
    "load_tokenizer",
    "make_train_step",
    "predict",
    "prepare",
    "pretrain",
    "report",
    "run_demo",
    "score",
    "submission",
    "sweep",
    "train_vocabulary",
    "write_docstrings",
]

if TYPE_CHECKING:
    from electra_jax.api.answers import evaluate, predict, submission
    from electra_jax.api.runs import finetune, pretrain, report, run_demo, sweep
    from electra_jax.api.scores import score
    from electra_jax.api.steps import build_pretraining
    from electra_jax.config.model import ElectraConfig
    from electra_jax.config_file import describe_config, get_config
    from electra_jax.demo.docstrings import write_docstrings
    from electra_jax.errors import UserError
    from electra_jax.inference.model import load
    from electra_jax.inference.predictor import Predictor
    from electra_jax.interop.convert import convert
    from electra_jax.preparation.prepare import prepare
    from electra_jax.text.tokenizers.tokenizer import Tokenizer, load_tokenizer
    from electra_jax.text.tokenizers.train import train_vocabulary
    from electra_jax.training.step import make_train_step


show_warnings()


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
