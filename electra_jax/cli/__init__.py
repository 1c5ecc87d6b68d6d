"""The command line: `electra-jax VERB …`. Thin: a verb parses its arguments and calls the public
function of its name (see `electra_jax/__init__.py`). A verb imports what is heavy when it is run,
so that `--help` answers at once."""

from electra_jax.cli.main import VERBS, main

__all__ = ["VERBS", "main"]
