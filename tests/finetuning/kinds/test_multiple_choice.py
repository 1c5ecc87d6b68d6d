"""Multiple choice and ranking: one pair a choice, cutting, answers and ranks, labels of choices."""

import jax.numpy as jnp
import numpy as np
import pytest
from finetuning.letters import CLS, SEP, A, B, C, D, E, F, G, H, codec_of, encode

from electra_jax.finetuning.data.examples import ChoiceExample
from electra_jax.finetuning.kinds.multiple_choice import FAR, MultipleChoice


def test_each_choice_is_a_pair():
    codec = codec_of("multiple_choice", max_length=8)
    example = ChoiceExample("f:1", "0", "a b c d e f", ("g", "g h"), 1)
    feature = encode(codec, example, train=True)
    assert [ids.tolist() for ids in feature["input_ids"]] == [
        [CLS, A, B, C, D, SEP, G, SEP],
        [CLS, A, B, C, SEP, G, H, SEP],
    ]
    assert [types.tolist() for types in feature["token_type_ids"]] == [
        [0, 0, 0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 0, 1, 1, 1],
    ]
    assert feature["label"] == 1
    assert feature["label"].dtype == feature["input_ids"][0].dtype == np.int32
    assert codec.truncated == 2


def test_a_passage_is_cut_before_its_question():
    codec = codec_of("multiple_choice", max_length=8)
    feature = encode(codec, ChoiceExample("f:1", "0", "a b c d", ("g", "g h"), 1, "e f"))
    assert [ids.tolist() for ids in feature["input_ids"]] == [
        [CLS, A, B, E, F, SEP, G, SEP],
        [CLS, A, E, F, SEP, G, H, SEP],
    ]
    assert feature["token_type_ids"][1].tolist() == [0] * 5 + [1] * 3
    assert codec.truncated == 2
    long = ChoiceExample("f:1", "0", "a b", ("g h", "g"), 1, "c d e f")
    assert encode(codec, long)["input_ids"][0].tolist() == [CLS, C, D, E, SEP, G, H, SEP]
    short = ChoiceExample("f:1", "0", "a", ("g", "h"), 1, "b")
    assert encode(codec, short)["input_ids"][0].tolist() == [CLS, A, B, SEP, G, SEP]
    assert codec.truncated == 4


def test_the_oldest_turns_of_a_dialogue_are_cut_first():
    codec = codec_of("ranking", max_length=8)
    feature = encode(codec, ChoiceExample("f:1", "0", "a b\nc\nd e", ("g", "h")))
    assert feature["input_ids"][0].tolist() == [CLS, C, SEP, D, E, SEP, G, SEP]
    assert feature["token_type_ids"][0].tolist() == [0] * 6 + [1, 1]
    whole = codec_of("ranking")
    feature = encode(whole, ChoiceExample("f:1", "0", "a\nb", ("g", "h")))
    assert feature["input_ids"][1].tolist() == [CLS, A, SEP, B, SEP, H, SEP]
    assert whole.truncated == 0


def test_a_choice_is_decoded_and_ranks_are_scored():
    example = ChoiceExample("f:1", "0", "a", ("b", "c", "d"), 2)
    logits = np.array([0.0, 2.0, 1.0, 9.0])  # padded to four choices
    codec = codec_of("ranking")
    answer = codec.decode(example, [], [{"logits": logits}])
    assert (answer["prediction"], answer["choice"]) == (1, "c")
    assert sum(answer["probabilities"]) == pytest.approx(1)
    assert len(answer["probabilities"]) == 3
    assert codec.score([example], [answer]) == {
        "recall_at_1": 0.0,
        "recall_at_2": 100.0,
        "recall_at_5": 100.0,
        "mrr": 50.0,
    }
    assert codec_of("multiple_choice").score([example], [answer]) == {"accuracy": 0.0}


def test_scores_become_rows_of_choices_and_absent_ones_cannot_win():
    scores = jnp.arange(6.0)
    lengths = jnp.array([[3, 3, 0], [4, 0, 0]])
    logits = MultipleChoice().outputs(scores, {"lengths": lengths})["logits"]
    assert logits.tolist() == [[0.0, 1.0, FAR], [3.0, FAR, FAR]]
    cut = MultipleChoice().cut({"logits": np.asarray(logits[0])}, {"input_ids": [0, 0]})
    assert cut["logits"].tolist() == [0.0, 1.0]


def test_the_constant_s_loss_is_that_of_equal_probabilities():
    examples = [ChoiceExample("f:1", "0", "c", ("x",) * n, 0) for n in (2, 4)]
    loss = MultipleChoice().constant_loss(examples, (0.0, 1.0))
    assert loss == pytest.approx((np.log(2) + np.log(4)) / 2)
