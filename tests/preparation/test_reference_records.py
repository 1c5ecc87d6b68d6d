"""The reference's TFRecords as rows: the same ids, checked against the tokenizer."""

import numpy as np
import pytest

from electra_jax.data.rows import Rows
from electra_jax.errors import UserError
from electra_jax.preparation.prepare import prepare
from electra_jax.text.tokenizers.tokenizer import load_tokenizer

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(95))])
    )
    return tmp_path / "vocab.txt"


def write_records(path, rows, lengths=None):
    """Rows are lists of ids without padding; types are 1 after the first [SEP] (3)."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, row in enumerate(rows):
            length = lengths[number] if lengths else 12
            types = [int(3 in row[:i]) for i in range(len(row))]
            features = {
                "input_ids": row + [0] * (length - len(row)),
                "input_mask": [1] * len(row) + [0] * (length - len(row)),
                "segment_ids": types + [0] * (length - len(row)),
            }
            feature = {
                name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                for name, values in features.items()
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def test_recorded_files_become_the_rows_that_the_reference_wrote(oracles, tmp_path):
    folder = oracles / "example_building" / "tfrecords"
    manifest = prepare(
        [str(folder / "pretrain_data.tfrecord-*")],
        oracles / "tokenization" / "vocab_uncased.txt",
        tmp_path / "rows",
        eval_fraction=0,
        progress=False,
    )
    recorded = np.load(folder / "contents.npz")
    expected = np.concatenate([recorded[f"file{i}/input_ids"] for i in range(3)])
    mask = np.concatenate([recorded[f"file{i}/input_mask"] for i in range(3)])
    rows = Rows.open(tmp_path / "rows")
    assert np.array_equal(rows.take(np.arange(rows.count)), expected)
    assert manifest["packing"] == "reference"
    assert manifest["seq_len"] == 64
    train = manifest["splits"]["train"]
    assert (train["rows"], train["tokens"], train["max_segments"]) == (52, mask.sum(), 1)
    assert rows.tokenizer_hash == load_tokenizer(tmp_path / "rows" / "tokenizer").hash


def test_padding_becomes_that_of_the_tokenizer(tmp_path):
    tokens = ["w0", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "w1"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens))
    write_records(tmp_path / "x.tfrecord", [[2, 0, 6, 3, 0, 3]])
    prepare([str(tmp_path / "x.tfrecord")], tmp_path / "vocab.txt", tmp_path / "rows")
    assert Rows.open(tmp_path / "rows").take([0]).tolist() == [[2, 0, 6, 3, 0, 3, *[5] * 6]]


def test_runs_of_rows_are_held_out_together(tmp_path, vocabulary):
    write_records(tmp_path / "x.tfrecord", [[2, 5 + i % 90, 5 + i // 90, 3] for i in range(300)])
    manifest = prepare(
        [str(tmp_path / "x.tfrecord")], vocabulary, tmp_path / "rows", eval_fraction=0.01
    )
    counts = {name: split["rows"] for name, split in manifest["splits"].items()}
    assert sum(counts.values()) == 300 and counts["eval"] >= 32
    evaluation = Rows.open(tmp_path / "rows", "eval").take(np.arange(32))
    numbers = (evaluation[:, 1] - 5) + 90 * (evaluation[:, 2] - 5)
    assert numbers.tolist() == list(range(32, 64))


def test_bad_records_are_named(tmp_path, vocabulary):
    def assert_fails(match, rows=None, data=None, **options):
        path = tmp_path / "x.tfrecord"
        write_records(path, rows or [], **options) if data is None else path.write_bytes(data)
        with pytest.raises(UserError, match=match):
            prepare([str(path)], vocabulary, tmp_path / "rows", progress=False)
        assert not (tmp_path / "rows" / "rows.json").exists()

    good = [2, 7, 8, 3, 9, 3]
    assert_fails("x.tfrecord: no records", [])
    assert_fails("record 1 does not begin with the", [good, [7, 8, 3]])
    assert_fails("record 2 holds an id beyond the vocabulary", [good, good, [2, 100, 3]])
    assert_fails("not whole TFRecord files of equally long", [good, good], lengths=[12, 13])
    assert_fails(
        "not whole TFRecord files", data=b"no records at all, but long enough to be read as one"
    )
    write_records(tmp_path / "whole.tfrecord", [good] * 9)
    whole = (tmp_path / "whole.tfrecord").read_bytes()
    assert_fails("not whole TFRecord files", data=whole[:-7])
    write_records(tmp_path / "other.tfrecord", [good])
    with pytest.raises(UserError, match="no file matches"):
        prepare([str(tmp_path / "none.tfrecord*")], vocabulary, tmp_path / "rows")
    with pytest.raises(UserError, match=r"record files and text \(a\.txt\) cannot be mixed"):
        prepare(["a.txt", "x.tfrecord"], vocabulary, tmp_path / "rows")


def test_records_made_with_another_vocabulary_are_refused(tmp_path):
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[MASK]", "[SEP]", *(f"w{i}" for i in range(95))]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens))  # [SEP] is 4 here and 3 in the records
    write_records(tmp_path / "x.tfrecord", [[2, 7, 8, 3, 9, 3]])
    with pytest.raises(UserError, match="record 0 has segments that do not change at the first"):
        prepare([str(tmp_path / "x.tfrecord")], tmp_path / "vocab.txt", tmp_path / "rows")
