"""A configuration as people read it: every field with value, default, type, unit and meaning."""

import dataclasses
import json

from electra_jax.config.describe import as_json, as_text, describe
from electra_jax.config.fields import field


@dataclasses.dataclass(frozen=True)
class Train:
    steps: int | None = field(None, "Length of the run.", unit="steps", minimum=1)
    dtype: str = field("float32", "What is multiplied.", choices=("float32", "bfloat16"))
    patterns: tuple[str, ...] = field((), "Names. " * 30)


@dataclasses.dataclass(frozen=True)
class Settings:
    size: str = field("s", "Name.")
    train: Train = field(Train, "The run.")


CONFIG = {
    "size": "s",
    "train": {"steps": 7, "dtype": "bfloat16", "patterns": tuple("x" * 20 for _ in range(9))},
}


def test_every_field_has_its_value_and_default_and_those_that_differ_are_marked():
    found = {row.key: row for row in describe(Settings, CONFIG, ["train.steps"])}
    assert list(found) == ["size", "train.steps", "train.dtype", "train.patterns"]
    steps = found["train.steps"]
    assert (steps.value, steps.default, steps.differs, steps.given) == (7, None, True, True)
    assert (steps.type, steps.allowed, steps.unit) == ("int | None", "at least 1", "steps")
    assert not found["size"].differs and not found["size"].given
    assert found["train.dtype"].differs and not found["train.dtype"].given
    assert found["train.dtype"].allowed == "float32 | bfloat16"


def test_text_is_grouped_and_at_most_100_columns_wide():
    text = as_text(describe(Settings, CONFIG), "a.py:b")
    lines = text.splitlines()
    assert lines[0] == "a.py:b: 4 fields; * marks 3 that differ from the default"
    assert max(map(len, lines)) <= 100
    assert "\ntrain\n*   steps = 7   (default: None)\n        Length of the run. [" in text
    assert "[int | None, at least 1; steps]" in text and "[float32 | bfloat16]" in text
    assert "\n    size = 's'\n        Name. [str]\n" in text


def test_json_has_one_object_a_field():
    rows = json.loads(json.dumps(as_json(describe(Settings, CONFIG))))
    assert rows[1] == {
        "key": "train.steps", "value": 7, "default": None, "differs": True, "given": False,
        "type": "int | None", "allowed": "at least 1", "unit": "steps",
        "meaning": "Length of the run.",
    }  # fmt: skip
