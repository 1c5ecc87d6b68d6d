"""Text: corpora, tokenizers, training a vocabulary."""
