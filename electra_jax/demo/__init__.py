"""`electra-jax demo`: the whole flow on text that is on every machine. Above all rooms but the
command line."""
