"""`tune.*` of a configuration as an adaptation."""

import jax
import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.modeling.peft.base import Full
from electra_jax.modeling.peft.lora import LoRA
from electra_jax.modeling.peft.table import make_adaptation

ATTENTION = "self/(query|value)/kernel"
SETTINGS = {
    "method": "full",
    "rank": 4,
    "alpha": 8.0,
    "targets": ATTENTION,
    "embedding_rank": 0,
}


def test_settings_choose_the_method():
    assert isinstance(make_adaptation(SETTINGS), Full)
    assert make_adaptation({**SETTINGS, "method": "lora"}) == LoRA(4, 8.0, ATTENTION, 0)
    with pytest.raises(UserError, match="adalora"):
        make_adaptation({**SETTINGS, "method": "adalora"})
    with pytest.raises(UserError, match="rank=0"):
        make_adaptation({**SETTINGS, "method": "lora", "rank": 0})
    with pytest.raises(UserError, match="embedding_rank=-1"):
        make_adaptation({**SETTINGS, "method": "lora", "embedding_rank": -1})
    nothing = make_adaptation({**SETTINGS, "method": "lora", "targets": "no_such"})
    with pytest.raises(UserError, match="no_such"):
        nothing.split({"electra/a/kernel": np.zeros((2, 2))}, jax.random.key(0))
