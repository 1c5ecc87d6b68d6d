"""A pair split into two networks and joined again."""

import numpy as np
import pytest
from interop import networks
from interop.networks import CONFIG, SMALL, equal

from electra_jax.config.model import PairConfig
from electra_jax.errors import UserError
from electra_jax.interop.mapping.pair import join_pair, split_pair

PAIR = PairConfig(CONFIG, SMALL)
PAIRS = {
    "embeddings": PAIR,
    "none": PairConfig(CONFIG, SMALL.replace(embedding_size=24), "none"),
    "all": PairConfig(CONFIG, CONFIG, "all"),
    "uniform": PairConfig(CONFIG, None),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_pair_split_and_joined_is_the_same_pair(pair):
    params = networks.random_params(pair, "pair")
    parts = split_pair(pair, params)
    config, joined = join_pair(parts["discriminator"], parts["generator"])
    assert config == pair and equal(joined, params)


def test_split_parts_of_a_pair_share_their_arrays():
    params = networks.random_params(PAIR, "pair")
    parts = split_pair(PAIR, params)
    words = [parts[k][1]["electra"]["embeddings"]["word_embeddings"] for k in parts]
    assert words[0] is words[1] is params["electra"]["embeddings"]["word_embeddings"]


@pytest.mark.parametrize("sharing", ["embeddings", "all"])
def test_networks_that_differ_cannot_be_joined_as_sharing(sharing):
    d, g = (
        (CONFIG, networks.random_params(CONFIG, kind, seed))
        for seed, kind in enumerate(("discriminator", "generator"))
    )
    with pytest.raises(UserError, match=rf"sharing='{sharing}'.*differ.*use model\.sharing='none'"):
        join_pair(d, g, sharing)
    config, params = join_pair(d, g)  # what their arrays allow
    assert config.sharing == "none" and equal(params["generator"], g[1]["electra"])


def test_differences_to_the_generator_s_tables_become_sums_and_back():
    pair = PairConfig(CONFIG, SMALL, "gdes")
    params = networks.random_params(pair, "pair")
    parts = split_pair(pair, params)
    own, lent = params["electra"]["embeddings"], params["generator"]["embeddings"]
    found = parts["discriminator"][1]["electra"]["embeddings"]
    assert {*found} == {*lent}
    for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
        np.testing.assert_array_equal(found[name], lent[name] + own[f"{name}_delta"])
    assert equal(found["LayerNorm"], own["LayerNorm"]) and not equal(
        lent["LayerNorm"], own["LayerNorm"]
    )
    config, joined = join_pair(parts["discriminator"], parts["generator"], "gdes")
    assert config == pair
    for name, x in joined["electra"]["embeddings"].items():
        if name != "LayerNorm":
            np.testing.assert_allclose(x, own[name], rtol=0, atol=1e-6)
    config, joined = join_pair(parts["discriminator"], parts["generator"])  # what a folder says
    assert config.sharing == "none" and equal(
        joined["electra"], parts["discriminator"][1]["electra"]
    )
