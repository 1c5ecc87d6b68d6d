"""BitFit trains biases and the head."""

import jax

from electra_jax.modeling.peft.bitfit import BitFit
from electra_jax.modeling.trees import flatten


def test_bitfit_trains_biases_and_the_head(params):
    trained, frozen = BitFit().split(params, jax.random.key(0))
    encoder = [n for n in trained if n.startswith("electra/")]
    assert encoder and all(n.endswith("/bias") for n in encoder)
    assert {n for n in trained if not n.startswith("electra/")} == {
        n for n in flatten(params) if n.startswith("classifier/")
    }
    assert not any(n.endswith("/bias") for n in frozen)
