"""Settings of masking and replacing that contradict each other or an objective."""

import pytest

from electra_jax.errors import UserError
from electra_jax.objectives.corruption_settings import CorruptionSettings
from electra_jax.objectives.electric import ElectricSettings


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_prob": 0.3},
        {"masked_share": 1.0},
        {"ngrams": (1.0, 1.0)},
        {"replaced_share": 0.5},
        {"whole_words": True},
        {"z_loss": 1e-4},
    ],
    ids=lambda s: "-".join(s),
)
def test_what_electric_has_no_part_for_is_refused(settings):
    (name,) = settings
    with pytest.raises(UserError, match=rf"objective\.{name}=.*leave it"):
        ElectricSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"masking": "reference", "whole_words": True}, "whole_words=True and .*'reference'"),
        ({"masking": "reference", "ngrams": (1, 1)}, r"ngrams=\(1, 1\) and .*'reference'"),
        ({"masking": "reference", "hidden_prob": 0.3}, r"hidden_prob=0\.3 and .*'reference'"),
        ({"ngrams": (0.5, -0.5)}, r"ngrams=\[0\.5, -0\.5\]: weights"),
        ({"ngrams": (0.0,)}, r"ngrams=\[0\.0\]: weights"),
        ({"hidden_prob": 1.0}, r"hidden_prob=1: must be at least 0 and below 1"),
        ({"replaced_share": 1.5}, r"replaced_share=1\.5: must be between 0 and 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(UserError, match=rf"objective\.{message}"):
        CorruptionSettings(**settings)
