"""Question answering as a kind: masked logits, both ends' loss, what is kept for scores."""

import logging

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax

from electra_jax.config.finetuning import LossSettings
from electra_jax.finetuning.data.examples import QuestionExample
from electra_jax.finetuning.kinds.question_answering import FAR, QuestionAnswering
from electra_jax.finetuning.task_table import TASKS

KIND = QuestionAnswering()
RNG = np.random.default_rng(1)


def test_no_answer_begins_or_ends_outside_the_mask():
    found = jnp.asarray(RNG.normal(size=(1, 4, 2)).astype(np.float32))
    outputs = KIND.outputs(found, {"answer_mask": jnp.array([[1, 0, 1, 0]])})
    for i, name in enumerate(("start_logits", "end_logits")):
        assert outputs[name][0, 1::2].tolist() == [FAR, FAR]
        assert outputs[name][0, ::2].tolist() == found[0, ::2, i].tolist()


def test_padding_is_cut_from_positions_and_not_from_beams():
    outputs = {"start_logits": np.arange(8), "start_top_index": np.arange(20)}
    cut = KIND.cut(outputs, {"input_ids": np.zeros(5, np.int32)})
    assert len(cut["start_logits"]) == 5 and len(cut["start_top_index"]) == 20


def test_the_loss_is_the_mean_of_both_ends_and_the_weighed_answerability():
    logits = RNG.normal(size=(2, 3, 6)).astype(np.float32)
    batch = {"start_positions": jnp.array([1, 2, 0]), "end_positions": jnp.array([3, 2, 0]),
             "is_impossible": jnp.array([0, 0, 1])}  # fmt: skip
    outputs = {"start_logits": jnp.asarray(logits[0]), "end_logits": jnp.asarray(logits[1])}
    each = [-log_softmax(x, -1)[np.arange(3), batch[n]]
            for x, n in zip(logits, ("start_positions", "end_positions"))]  # fmt: skip
    expected = 0.5 * (each[0] + each[1])
    np.testing.assert_allclose(KIND.row_losses(outputs, batch, LossSettings()), expected, rtol=1e-5)
    answerable = np.array([-1.0, 2.0, 0.5], np.float32)
    expected = expected + 0.25 * np.log1p(np.exp([-1.0, 2.0, -0.5]))
    outputs["answerable_logit"] = jnp.asarray(answerable)
    found = KIND.row_losses(outputs, batch, LossSettings(answerable_weight=0.25))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def question(**fields):
    given = {"where": "f:1", "id": "0", "question": "q", "context": "c", "answers": (("c", 0),)}
    return QuestionExample(**(given | fields))


def test_scores_need_the_answers_and_two_candidates():
    kept = KIND.without_texts(question())
    assert (kept.question, kept.context, kept.answers) == ("", "", (("c", 0),))
    answer = {"id": "0", "prediction_text": "x", "n_best": [{"text": t} for t in ("", "x", "y")]}
    assert [a["text"] for a in KIND.for_scores(answer)["n_best"]] == ["", "x"]


@pytest.mark.parametrize(("task", "warned"), [("squad1", True), ("squad2", False)])
def test_questions_without_an_answer_are_counted_where_the_task_has_none(task, warned, caplog):
    examples = [question(), question(answers=(), is_impossible=True)]
    with caplog.at_level(logging.WARNING):
        assert KIND.check_examples(TASKS[task], "f", examples) == 2
    assert ("1 of 2 questions have no answer" in caplog.text) == warned
