"""What codecs inherit, and the settings that a model folder keeps of them."""

import dataclasses
import json

from electra_jax.config.finetuning import TaskDataSettings
from electra_jax.finetuning.data.examples import Codec, CodecSettings, TextExample


class Letters(Codec):
    """The least that a codec is."""

    metric = "none"

    def encode(self, example, train):
        return [{}]

    def decode(self, example, features, outputs):
        return {}

    def score(self, examples, predictions):
        return {}


def test_a_codec_trains_on_each_example_once_and_loses_nothing_unless_it_says_so():
    codec = Letters()
    examples = [TextExample("f:1", "0", ("a",)), TextExample("f:2", "1", ("b",))]
    assert list(codec.expand(examples)) == examples
    assert (codec.labels, codec.truncated, codec.missed_words, codec.lost_entities) == ((), 0, 0, 0)


def test_codec_settings_pass_through_json_and_have_the_defaults_of_the_configuration():
    """A model folder keeps them, and a folder without a key means its default."""
    settings = CodecSettings(target_range=(1.0, 5.0), null_threshold=0.5)
    stored = json.loads(json.dumps(dataclasses.asdict(settings)))
    assert CodecSettings(**{**stored, "target_range": tuple(stored["target_range"])}) == settings
    configured = {f.name: f.default for f in dataclasses.fields(TaskDataSettings)}
    own = {f.name: f.default for f in dataclasses.fields(CodecSettings)}
    same = set(own) & set(configured) - {"max_length", "double_unordered"}  # None: the task's
    assert len(same) >= 7
    assert {n: own[n] for n in same} == {n: configured[n] for n in same}
