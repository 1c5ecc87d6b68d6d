"""Text: corpora, tokenizers, vocabulary training, packing, writing rows. No TensorFlow."""
