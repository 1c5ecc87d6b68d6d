"""ELECTRA in JAX: raw text to a pretrained model, fine-tuned models and predictions."""

__version__ = "0.1.0"

# Public names and where they live; imported when first asked for, so that the import stays light.
_PUBLIC = {"load": "electra_jax.interop.folder"}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PUBLIC[name]), name)
