"""Length-bucketed batches: every feature once an epoch, little padding, a function of the position
alone."""

import itertools

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.finetuning.data.batches import (
    STEPS_PER_SHAPE,
    Plan,
    TrainingOrder,
    choose_lengths,
    eval_batches,
    feature_length,
    train_batches,
)


def feature(n, **more):
    return {
        "input_ids": np.arange(1, n + 1, dtype=np.int32),
        "token_type_ids": np.zeros(n, np.int32),
        **more,
    }


@pytest.fixture
def lengths():
    return np.random.default_rng(0).integers(3, 60, 203)


@pytest.fixture
def order(lengths):
    return TrainingOrder(lengths, Plan(choose_lengths(lengths.tolist(), 4), 16, 0), seed=5)


def test_every_feature_once_an_epoch(order):
    for epoch in range(3):
        batches = order.epoch(epoch)
        assert len(batches) == order.steps_per_epoch == 13
        assert sorted(np.concatenate(batches)) == list(range(203))
        assert sorted(len(b) for b in batches)[1:] == [16] * 12


def test_epochs_and_seeds_differ_and_repeat(order, lengths):
    def flat(o, epoch):
        return np.concatenate(o.epoch(epoch)).tolist()

    other = TrainingOrder(lengths, order.plan, seed=6)
    assert flat(order, 0) == flat(order, 0)
    assert len({tuple(flat(o, e)) for o in (order, other) for e in (0, 1)}) == 4


def test_the_run_goes_on_where_it_stopped(order, lengths):
    features = [feature(n, label=np.int32(i)) for i, n in enumerate(lengths)]

    def run(step, count):
        with train_batches(features, order, step, "numpy") as batches:
            return [batch["label"].tolist() for batch in itertools.islice(batches, count)]

    whole = run(0, 30)  # crosses two epochs
    for step in (1, 12, 13, 14, 27):
        assert run(step, 30 - step) == whole[step:]


def test_tensorflow_yields_the_same_batches(order, lengths):
    pytest.importorskip("tensorflow")
    features = [
        feature(n, label=np.int32(i), labels=np.ones(3, np.float32)) for i, n in enumerate(lengths)
    ]
    with (
        train_batches(features, order, 7, "numpy") as numpy,
        train_batches(features, order, 7, "tf") as tensorflow,
    ):
        for a, b in itertools.islice(zip(numpy, tensorflow), 30):
            assert list(a) == list(b)
            for name in a:
                assert a[name].dtype == b[name].dtype and np.array_equal(a[name], b[name])


def test_most_batches_hold_one_bucket(order):
    mixed = sum(
        len(set(order.plan.bucket(order.feature_lengths[ids]).tolist())) > 1
        for ids in order.epoch(0)
    )
    assert mixed <= len(order.plan.lengths)
    alone = TrainingOrder(order.feature_lengths, Plan((64,), 16, 0), 5)
    assert order.padding() < 0.6 * alone.padding()


def test_chosen_lengths_are_the_best_of_all_choices(lengths):
    candidates = [*range(8, 64, 8), 64]

    def tokens(chosen):
        return sum(min(c for c in chosen if c >= n) for n in lengths)

    found = choose_lengths(lengths.tolist(), 3)
    best = min(tokens((*pair, 64)) for pair in itertools.combinations(candidates[:-1], 2))
    assert len(found) == 3 and tokens(found) == best
    assert choose_lengths([600], 2) == (600,)
    assert choose_lengths([100], 1) == (112,)
    assert choose_lengths([90, 100], 1, limit=100) == (100,)
    assert choose_lengths([5, 5], 4) == (8,)
    with pytest.raises(UserError, match=r"data\.shapes=0: must be at least 1"):
        choose_lengths([5], 0)


def test_longer_runs_have_more_batch_lengths(lengths):
    found = [choose_lengths(lengths.tolist(), steps=n) for n in (1, 300, 450, 10**6)]
    counts = [len(chosen) for chosen in found]
    assert counts[0] == 1 and counts[-1] == 8 and counts == sorted(counts)
    for steps, chosen in zip((300, 450), found[1:3], strict=True):

        def worth(count, steps=steps):
            chosen = choose_lengths(lengths.tolist(), count)
            tokens = sum(min(c for c in chosen if c >= n) for n in lengths)
            return steps * tokens / lengths.sum() + STEPS_PER_SHAPE * count

        assert len(chosen) == min(range(1, 9), key=worth)
        assert chosen == choose_lengths(lengths.tolist(), len(chosen))


def test_a_batch_is_padded_and_filled_up():
    plan = Plan((8, 16), 3, pad_id=7)
    batch = plan.stack([feature(4, label=np.int32(2)), feature(9, label=np.int32(1))])
    assert batch["input_ids"].shape == (3, 16) and batch["input_ids"].dtype == np.int32
    assert batch["input_ids"][0].tolist() == [1, 2, 3, 4] + [7] * 12
    assert batch["input_ids"][2].tolist() == [7] * 16
    assert batch["weight"].tolist() == [1, 1, 0] and batch["lengths"].tolist() == [4, 9, 0]
    assert batch["label"].tolist() == [2, 1, 0]


def test_words_choices_and_labels_find_their_shapes():
    plan = Plan((8,), 2, pad_id=0)
    tagged = feature(5, word_positions=np.array([1, 3], np.int32), tags=np.array([0, 4], np.int32))
    batch = plan.stack([tagged])
    assert batch["word_positions"].shape == batch["tags"].shape == (2, 8)
    assert batch["tags"][0].tolist() == [0, 4] + [-1] * 6 and (batch["tags"][1] == -1).all()
    several = feature(3, labels=np.array([1, 0, 1], np.float32), host={"anything": object()})
    batch = plan.stack([several])
    assert batch["labels"].shape == (2, 3) and "host" not in batch
    ids = [np.array([1, 2], np.int32), np.array([3, 4, 5], np.int32)]
    choices = {"input_ids": ids, "token_type_ids": ids, "label": np.int32(1)}
    batch = plan.stack([choices])
    assert batch["input_ids"].shape == (2, 2, 8)
    assert batch["lengths"].tolist() == [[2, 3], [0, 0]]
    assert feature_length(choices) == 3
    many_words = feature(3, word_positions=np.zeros(6, np.int32))
    assert feature_length(many_words) == 6


def test_evaluation_sees_each_feature_once(lengths):
    features = [feature(n) for n in lengths]
    plan = Plan(choose_lengths(lengths.tolist(), 3), 16, 0)
    seen, shapes = [], set()
    for ids, batch in eval_batches(features, plan):
        seen += ids.tolist()
        shapes.add(batch["input_ids"].shape)
        assert batch["lengths"][: len(ids)].tolist() == lengths[ids].tolist()
        assert batch["lengths"][len(ids) :].sum() == 0
    assert sorted(seen) == list(range(203)) and len(shapes) <= 3


def test_training_batches_hold_what_the_order_says(order, lengths):
    features = [feature(n, label=np.int32(i)) for i, n in enumerate(lengths)]
    batch = next(train_batches(features, order, 4))
    ids = order.epoch(0)[4]
    assert batch["label"][: len(ids)].tolist() == ids.tolist()
