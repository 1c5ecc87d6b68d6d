"""Packing: no token lost, documents apart; and the reference's rules on its recorded draws."""

import itertools
import json
import random

import numpy as np
import pytest

from electra_jax.preparation.packing import ReferencePacker, pack_full, pack_reference
from electra_jax.text.tokenizers.tokenizer import SpecialIds, load_tokenizer

SPECIAL = SpecialIds(pad=9, unk=1, cls=2, sep=3, mask=4)
FIRST = 10  # ids of text begin here


def pack(lengths, seq_len=16, **options):
    """Packs documents of these lengths whose tokens are all different."""
    total = int(sum(lengths))
    ids = np.arange(FIRST, FIRST + total, dtype=np.int32)
    return pack_full(ids, np.array(lengths, np.int64), seq_len, SPECIAL, **options)


def pieces_of(row):
    """The pieces of a row, special tokens removed; checks that padding is on the right only."""
    row = row.tolist()
    while row and row[-1] == SPECIAL.pad:
        row.pop()
    assert SPECIAL.pad not in row
    assert row[0] == SPECIAL.cls and row[-1] == SPECIAL.sep
    pieces = []
    for token in row:
        if token == SPECIAL.cls:
            pieces.append([])
        elif token != SPECIAL.sep:
            pieces[-1].append(token)
    return pieces


def test_every_token_is_packed_once_and_pieces_keep_their_order():
    draw = np.random.default_rng(0)
    for _ in range(200):
        seq_len = int(draw.integers(8, 40))
        lengths = draw.integers(0, draw.integers(1, 120), size=draw.integers(0, 30))
        packed = pack(lengths, seq_len)
        pieces = [piece for row in packed.rows for piece in pieces_of(row)]
        assert sorted(itertools.chain(*pieces)) == list(range(FIRST, FIRST + lengths.sum()))
        ends = np.cumsum(lengths)
        for piece in pieces:
            assert piece == list(range(piece[0], piece[0] + len(piece)))
            first, last = np.searchsorted(ends, [piece[0] - FIRST, piece[-1] - FIRST], "right")
            assert first == last  # within one document
        assert packed.tokens == lengths.sum() and packed.dropped == 0
        assert packed.filled == (packed.rows != SPECIAL.pad).sum()
        counts = [len(pieces_of(row)) for row in packed.rows]
        assert packed.max_segments == max(counts, default=0)


def test_documents_are_cut_greedily_into_full_rows_and_a_remnant():
    rows = pack([33], seq_len=16).rows  # 14 tokens fit
    assert [[len(p) for p in pieces_of(row)] for row in rows] == [[14], [14], [5]]
    assert pieces_of(rows[1])[0][0] == FIRST + 14


def test_remnants_share_rows_first_fit():
    # With special tokens: 10, 8, 6, 5, 3; the third fits behind the first, the last behind the
    # second, where there is room earlier than in a new row.
    rows = pack([8, 6, 4, 3, 1], seq_len=16).rows
    assert [[len(p) for p in pieces_of(row)] for row in rows] == [[8, 4], [6, 3, 1]]


def test_rows_come_in_the_order_of_the_text():
    rows = pack([20, 30, 2, 16], seq_len=16).rows
    begins = [pieces_of(row)[0][0] for row in rows]
    assert begins == sorted(begins)


def test_the_number_of_pieces_in_a_row_can_be_limited():
    assert [len(pieces_of(row)) for row in pack([1] * 7, 16).rows] == [5, 2]
    assert [len(pieces_of(row)) for row in pack([1] * 7, 16, max_segments=3).rows] == [3, 3, 1]


def test_packing_is_tight_on_a_mixture_of_lengths():
    lengths = np.random.default_rng(1).geometric(1 / 90, size=400)
    packed = pack(lengths, seq_len=128)
    assert packed.filled / packed.rows.size > 0.98


def test_pieces_are_split_at_the_line_end_nearest_to_their_middle():
    # One document of lines of 5, 6 and 4 tokens; 13 fit into a row beside three special tokens.
    packed = pack([15], seq_len=16, sentence_lengths=np.array([5, 6, 4]))
    cls, sep, pad = SPECIAL.cls, SPECIAL.sep, SPECIAL.pad
    text = list(range(FIRST, FIRST + 15))
    assert packed.rows.tolist() == [
        [cls, *text[:5], sep, *text[5:13], sep],
        [cls, *text[13:], sep, *[pad] * 12],  # the last line alone
    ]
    assert packed.filled == 20
    whole = pack([13], seq_len=16, sentence_lengths=np.array([13]))
    assert whole.rows.tolist() == [[cls, *text[:13], sep, pad]]


class Replayed:
    """Gives recorded draws; fails when something else is drawn than was recorded."""

    def __init__(self, draws):
        self.draws = [tuple(draw) for draw in draws]

    def random(self):
        kind, value = self.draws.pop(0)
        assert kind == "random"
        return value

    def randint(self, a, b):
        kind, low, high, value = self.draws.pop(0)
        assert (kind, low, high) == ("randint", a, b)
        return value


def padded(example, length):
    ids = example.ids + [0] * (length - len(example.ids))
    mask = [1] * len(example.ids) + [0] * (length - len(example.ids))
    types = [0] * example.first + [1] * (len(example.ids) - example.first)
    return ids, mask, types + [0] * (length - len(types))


@pytest.mark.parametrize("stream", [0, 1])
def test_examples_are_the_references_given_its_draws(oracles, stream):
    file = oracles / "example_building" / "concrete_examples.json"
    recorded = json.loads(file.read_text("utf-8"))["streams"][stream]
    special = SpecialIds(**recorded["special_ids"], unk=100, mask=103)
    expected = recorded["examples"]
    draws = Replayed([draw for example in expected for draw in example["draws"]])
    packer = ReferencePacker(recorded["max_length"], special, draws)
    found = []
    for number, line in enumerate(recorded["lines"]):
        target = packer.target_length
        made = packer.add_line(line["ids"]) if line["text"].strip() else packer.end_document()
        if made is not None:
            found.append((number, target, packer.target_length, *padded(made, packer._max_length)))
        if len(found) == len(expected):
            break
    keys = ("emitted_after_line", "target_length", "next_target_length")
    arrays = ("input_ids", "input_mask", "segment_ids")
    assert found == [tuple(example[key] for key in (*keys, *arrays)) for example in expected]
    assert draws.draws == []
    assert len(found) == 20


def test_a_whole_file_gives_the_references_records(oracles):
    folder = oracles / "example_building" / "tfrecords"
    recorded = json.loads((folder / "draws.json").read_text("utf-8"))
    tokenizer = load_tokenizer(oracles / "tokenization" / recorded["tokenizer"]["vocab"])
    lines = (folder / "input_lines.txt").read_text("utf-8").split("\n")
    draws = Replayed(recorded["draws_in_order"])
    length = recorded["max_length"]
    packer = ReferencePacker(length, tokenizer.special_ids, draws)
    made = []
    for line in lines:
        line = line.strip()
        made.append(packer.add_line(tokenizer.encode(line)) if line else packer.end_document())
    made = [example for example in [*made, packer.end_document()] if example is not None]
    assert draws.draws == []
    contents = np.load(folder / "contents.npz")
    for i, example in enumerate(made):  # written to three files in turn
        ids, mask, types = padded(example, length)
        assert contents[f"file{i % 3}/input_ids"][i // 3].tolist() == ids
        assert contents[f"file{i % 3}/input_mask"][i // 3].tolist() == mask
        assert contents[f"file{i % 3}/segment_ids"][i // 3].tolist() == types
    assert len(made) == sum(len(contents[f"file{i}/input_ids"]) for i in range(3))


@pytest.fixture(scope="module")
def tokenized_corpus(request):
    oracles = request.getfixturevalue("oracles")
    tokenizer = load_tokenizer(oracles / "tokenization" / "vocab_uncased.txt")
    text = (oracles / "example_building" / "corpus.txt").read_text("utf-8")
    documents = [
        [tokenizer.encode(line) for line in document if line]
        for document in _split_at_blank_lines(text.split("\n"))
    ]
    return tokenizer.special_ids, documents


def _split_at_blank_lines(lines):
    documents = [[]]
    for line in map(str.strip, lines):
        if line:
            documents[-1].append(line)
        elif documents[-1]:
            documents.append([])
    return [document for document in documents if document]


@pytest.mark.parametrize("length", [64, 128])
def test_statistics_over_100_seeds_are_the_references(oracles, tokenized_corpus, length):
    special, documents = tokenized_corpus
    ids = np.array([i for document in documents for line in document for i in line], np.int32)
    line_lengths = np.array([len(line) for document in documents for line in document])
    document_lines = np.array([len(document) for document in documents])
    recorded = np.load(oracles / "example_building" / "statistics.npz")
    found = {
        name: [] for name in ("n_examples", "n_single_segment", "kept_tokens", "n_full_length")
    }
    for seed in range(100):
        packed = pack_reference(
            ids, line_lengths, document_lines, length, special, random.Random(seed)
        )
        real = packed.rows != special.pad
        found["n_examples"].append(len(packed.rows))
        found["n_single_segment"].append(((packed.rows == special.sep).sum(1) == 1).sum())
        found["kept_tokens"].append(packed.tokens)
        found["n_full_length"].append(real.all(1).sum())
        assert packed.tokens + packed.dropped == len(ids)
        assert packed.filled == real.sum()
    for name, mine in found.items():
        theirs = recorded[f"max_length_{length}/{name}_per_seed"]
        error = np.sqrt(np.var(mine) / len(mine) + np.var(theirs) / len(theirs))
        assert abs(np.mean(mine) - np.mean(theirs)) <= 3 * error, name
        assert np.std(mine) == pytest.approx(np.std(theirs), rel=0.35), name


def test_the_reference_never_puts_two_documents_into_one_row():
    ids = np.arange(FIRST, FIRST + 60, dtype=np.int32)
    packed = pack_reference(
        ids, np.array([5] * 12), np.array([1, 4, 2, 5]), 16, SPECIAL, random.Random(0)
    )
    ends = np.cumsum([5, 20, 10, 25]) + FIRST
    assert packed.max_segments == 1
    for row in packed.rows:
        text = row[row >= FIRST]
        assert len(set(np.searchsorted(ends, text, "right"))) == 1
