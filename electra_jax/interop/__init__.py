"""One table of names: this tree ⇄ Hugging Face ⇄ TF1; reading and writing model folders."""
