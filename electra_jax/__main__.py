"""`python -m electra_jax VERB …`, the same as `electra-jax VERB …`."""

import sys

from electra_jax.cli import main

sys.exit(main())
