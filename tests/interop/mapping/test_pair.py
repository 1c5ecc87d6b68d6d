"""A pair split into two networks and joined again."""

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
