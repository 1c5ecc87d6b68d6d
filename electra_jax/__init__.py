"""ELECTRA in JAX: raw text to a pretrained model, fine-tuned models and predictions."""

__version__ = "0.1.0"
