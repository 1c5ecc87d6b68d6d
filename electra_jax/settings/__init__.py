"""Every field of a configuration, declared once, in groups that pretraining and fine-tuning share
or have of their own; and which of them a user gave."""
