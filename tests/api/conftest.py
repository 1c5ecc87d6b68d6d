"""One tiny pretraining run, in this process, for all tests of this room."""

import ast

import pytest
import tiny_run

import electra_jax


def settings(overrides):
    """Overrides as `get_config` takes them, from those of the command line."""
    found = {}
    for override in overrides:
        if override.startswith("--config."):
            key, _, text = override.removeprefix("--config.").partition("=")
            try:
                found[key] = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                found[key] = text
    return found


@pytest.fixture(scope="session")
def tiny():
    """The settings of a tiny pretraining run by dotted key."""
    return settings(tiny_run.OVERRIDES)


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    """A rows folder of 16-token rows."""
    return tiny_run.make_rows(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="session")
def run(tiny, rows, tmp_path_factory):
    """A finished run, of which every step is logged."""
    config = electra_jax.get_config(
        "pretrain:tiny", {**tiny, "data.path": rows, "train.log_every": 1}
    )
    return electra_jax.pretrain(config, tmp_path_factory.mktemp("run") / "w", quiet=True)
