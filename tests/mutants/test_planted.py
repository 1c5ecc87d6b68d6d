"""The list of planted bugs keeps up with the package (`make mutants` runs them)."""

from pathlib import Path

import pytest
from mutants.planted import MUTANTS

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_a_planted_bug_s_place_is_still_in_the_package(mutant):
    text = (ROOT / "electra_jax" / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, "the code changed: bring tests/mutants/planted.py along"
    assert mutant.new != mutant.old
    for test in mutant.tests:
        file, _, function = test.partition("::")
        assert (
            f"def {function}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")
            or not function
        )


def test_there_are_enough_of_different_names():
    assert len({m.name for m in MUTANTS}) == len(MUTANTS) >= 12
