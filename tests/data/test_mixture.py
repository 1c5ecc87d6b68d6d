"""Rows of several folders in fixed shares."""

import numpy as np
import pytest
from rows_folder import numbered_rows, write_rows

from electra_jax.data.batches import train_batches
from electra_jax.data.mixture import BLOCK, Mixture, as_text, open_rows, parse_shares
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError


@pytest.fixture
def folders(tmp_path):
    new = write_rows(tmp_path / "new", numbered_rows(700), numbered_rows(3))
    old = write_rows(tmp_path / "old", numbered_rows(40) + 7, numbered_rows(2))
    return new, old


def test_every_block_holds_its_share_and_every_epoch_of_a_folder_each_row_once(folders):
    new, old = folders
    mixture = open_rows(as_text({str(new): 0.95, str(old): 0.05}))
    assert isinstance(mixture, Mixture) and mixture.shares == [950, 50]
    order = mixture.order(np.arange(14 * BLOCK), seed=3).reshape(14, BLOCK)
    assert ((order >= 700).sum(1) == 50).all()
    assert not np.array_equal(order[0] >= 700, order[1] >= 700)  # shuffled within a block
    for first, count, share in ((0, 700, 950), (700, 40, 50)):
        seen = order[(order >= first) & (order < first + count)]
        epochs = 14 * share // count
        counts = np.bincount(seen - first, minlength=count)
        assert set(counts) <= {epochs, epochs + 1}


def test_the_order_is_a_function_of_the_position_and_the_seed(folders):
    mixture = open_rows(as_text({str(f): 1 for f in folders}))
    whole = mixture.order(np.arange(5000), seed=1)
    parts = [mixture.order(np.arange(i, i + 250), seed=1) for i in range(0, 5000, 250)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert not np.array_equal(whole, mixture.order(np.arange(5000), seed=2))


def test_batches_hold_the_rows_of_the_folders(folders):
    new, old = folders
    mixture = open_rows(f"{{{new}: 3, {old}: 1}}")
    batch = next(train_batches(mixture, seed=0, batch_size=64, start_example=128, backend="numpy"))
    numbers = mixture.order(np.arange(128, 192), seed=0)
    parts = [Rows.open(new), Rows.open(old)]
    expected = [parts[int(n >= 700)].take([n - 700 * (n >= 700)])[0] for n in numbers]
    assert np.array_equal(batch["input_ids"], expected)
    assert 0 < (numbers >= 700).sum() < 64


def test_the_fingerprint_knows_shares_and_folders_and_not_paths(folders, tmp_path):
    new, old = folders
    same = open_rows(f"{{{new}: .5, {old}: .5}}").fingerprint
    moved = new.rename(tmp_path / "moved")
    assert open_rows(f"{{{moved}: 2, {old}: 2}}").fingerprint == same
    assert open_rows(f"{{{moved}: .6, {old}: .4}}").fingerprint != same
    assert open_rows(f"{{{old}: .5, {moved}: .5}}").fingerprint != same


def test_a_sample_of_tokens_has_the_shares(tmp_path):
    fives = write_rows(tmp_path / "fives", np.full((300, 8), 5))
    sixes = write_rows(tmp_path / "sixes", np.full((300, 8), 6))
    mixture = open_rows(f"{{{fives}: .75, {sixes}: .25}}")
    counts = mixture.token_counts(400)
    assert counts[5] == 3 * counts[6] > 0


def test_words_begin_as_in_the_folders(folders, monkeypatch):
    monkeypatch.setattr(Rows, "word_starts", lambda rows: [rows.folder.name])
    assert open_rows(as_text({str(f): 1 for f in folders})).word_starts() == ["new"]


def test_it_offers_a_run_what_rows_offer(folders):
    """All public names but those that only a folder's own files have."""
    mixture = open_rows(as_text({str(f): 1 for f in folders}))
    offered = {name for name in dir(Rows.open(folders[0])) if not name.startswith("_")}
    assert offered - set(dir(mixture)) == {"open", "close", "verify"}


def test_a_folder_may_be_called_like_a_mixture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "{a: 1}", numbered_rows(4))
    assert isinstance(open_rows("{a: 1}"), Rows)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rows/", None),
        ("{a: .9, b/c: .1}", {"a": 0.9, "b/c": 0.1}),
        ('{"a": 9, "b": 1}', {"a": 9.0, "b": 1.0}),
        ("{'a:b': 1,}", {"a:b": 1.0}),
    ],
)
def test_the_text_form(text, found):
    assert parse_shares(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{a, b: 1}", r"'a' is not FOLDER: SHARE, as in \{rows/new: 0.95"),
        ("{a: x}", "is not FOLDER: SHARE"),
        ("{a: 0, b: 1}", "shares must be above 0"),
        ("{}", "shares must be above 0"),
    ],
)
def test_a_wrong_mixture_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_shares(text)


def test_folders_that_do_not_fit_together_are_refused(folders, tmp_path):
    new, _ = folders
    short = write_rows(tmp_path / "short", numbered_rows(9)[:, :-1])
    other = write_rows(tmp_path / "other", numbered_rows(9), tokenizer_hash="another")
    for folder, what in ((short, "seq_len"), (other, "tokenizer")):
        with pytest.raises(UserError, match=f"{new} and {folder} have another {what}"):
            open_rows(f"{{{new}: 1, {folder}: 1}}")
    with pytest.raises(UserError, match="no rows folder"):
        open_rows(f"{{{new}: 1, {tmp_path / 'none'}: 1}}")
    with pytest.raises(UserError, match="below 1/1000"):
        open_rows(f"{{{new}: 1, {other}: 0.0001}}".replace(str(other), str(new)[:-3] + "old"))
