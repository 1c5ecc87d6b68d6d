"""Reading and writing models: this library's trees ⇄ Hugging Face folders ⇄ TF1 checkpoints."""
