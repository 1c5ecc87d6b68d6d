"""Tokens added beside a vocabulary: the ids of transformers, kept when saved, or refused."""

import json
from itertools import chain

import pytest

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.tokenizer import load_tokenizer
from electra_jax.text.tokenizers.train import train_vocabulary

VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"##{c}" for c in "abcdefgh")]
SIZE = len(VOCAB)
TEXTS = [
    "a [E1] b",
    "a [e1] b [/E1]",
    "Abc xabcy ABC",
    "[E1][E2]a",
    "abc  d\tzz <N>zz<n>",
    "ab cd ab [SEP2] [sep2]",
    "",
]


def slow_folder(folder, **files):
    """A folder as slow tokenizers write it."""
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    config = {"do_lower_case": True, "tokenizer_class": "ElectraTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, **files.pop("config", {})}))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


ADDED = {"[E1]": SIZE, "[/E1]": SIZE + 1, "[E2]": SIZE + 2, "abc": SIZE + 3, "zz": SIZE + 4}
SPECIAL = {"[SEP2]": SIZE + 5, "<N>": SIZE + 6}
CASES = {
    "json": {"added_tokens": ADDED},
    "cased": {"added_tokens": ADDED, "config": {"do_lower_case": False}},
    "special": {
        "added_tokens": {**ADDED, **SPECIAL},
        "special_tokens_map": {"extra_special_tokens": ["[SEP2]", "<N>"]},
    },
    "decoder": {
        "config": {
            "added_tokens_decoder": {
                str(SIZE): {"content": "[E1]", "normalized": False, "special": False},
                str(SIZE + 1): {"content": "abc", "single_word": True, "special": False},
                str(SIZE + 2): {"content": "zz", "lstrip": True, "special": True},
            }
        }
    },
    "specials of the vocabulary": {"added_tokens": {"[MASK]": 4, "[CLS]": 2, **ADDED}},
}


@pytest.mark.parametrize("case", CASES)
def test_ids_are_those_of_transformers_and_survive_saving(case, tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = slow_folder(tmp_path / "slow", **CASES[case])
    ours = load_tokenizer(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    expected = theirs(TEXTS, add_special_tokens=False)["input_ids"]
    assert ours.encode_batch(TEXTS) == expected
    assert ours.vocab_size == len(theirs)
    flat, counts = ours.encode_flat(TEXTS)
    assert flat.tolist() == list(chain(*expected)) and counts.tolist() == list(map(len, expected))
    ours.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").hash == ours.hash
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert again(TEXTS, add_special_tokens=False)["input_ids"] == expected
    (tmp_path / "saved" / "tokenizer.json").unlink()  # the slow layout again
    assert load_tokenizer(tmp_path / "saved").vocab_size == ours.vocab_size


def test_added_tokens_are_found_without_transformers(tmp_path):
    tokenizer = load_tokenizer(slow_folder(tmp_path, **CASES["special"]))
    assert tokenizer.vocab_size == SIZE + 7
    assert tokenizer.encode("a [E1]b <N>") == [5, SIZE, 6, SIZE + 6]
    ids, spans = tokenizer.encode_with_offsets("a  [E1] b")
    assert ids == [5, SIZE, 6] and spans == [(0, 1), (3, 7), (8, 9)]
    # The five special tokens stay out of reach of the text.
    assert not {0, 2, 3, 4} & set(tokenizer.encode("[CLS] [SEP] [MASK] [PAD]"))


def test_saving_another_tokenizer_over_it_leaves_no_added_tokens(tmp_path):
    load_tokenizer(slow_folder(tmp_path / "slow", added_tokens=ADDED)).save(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "added_tokens.json").read_text()) == ADDED
    assert len((tmp_path / "out" / "vocab.txt").read_text().splitlines()) == SIZE
    load_tokenizer(slow_folder(tmp_path / "plain")).save(tmp_path / "out")
    assert not (tmp_path / "out" / "added_tokens.json").exists()


def test_a_sentencepiece_folder_takes_its_added_tokens_from_beside_the_model(tmp_path):
    (tmp_path / "a.txt").write_text("a bad cab had a fed dad\n" * 60)
    trained = train_vocabulary(
        [str(tmp_path / "a.txt")], "bpe", 30, tmp_path / "own", progress=False
    )
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "spiece.model").write_bytes((tmp_path / "own" / "spiece.model").read_bytes())
    size = trained.vocab_size
    (folder / "added_tokens.json").write_text(json.dumps({"[E1]": size, "[E2]": size + 1}))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.vocab_size == size + 2
    assert size in tokenizer.encode("a bad [E1] cab")
    assert tokenizer.encode("a bad cab") == trained.encode("a bad cab")
    tokenizer.save(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").hash == tokenizer.hash


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (
            {"added_tokens": {"x": SIZE + 1}},
            rf"'x' the id {SIZE + 1}, .* have the id {SIZE};",
        ),
        ({"added_tokens": {"x": 3}}, rf"'x' the id 3, .* would have the id {SIZE}"),
        ({"added_tokens": {"a": SIZE}}, rf"'a' the id {SIZE}, .* has the id 5"),
        ({"added_tokens": {"x": "9"}}, "the id of 'x' is '9', not a number"),
        ({"config": {"added_tokens_decoder": []}}, "is not an object of tokens by id"),
        ({"config": {"added_tokens_decoder": {"x": {"content": "y"}}}}, "entry 'x' of"),
        ({"config": {"added_tokens_decoder": {"21": {"content": 1}}}}, "entry '21' of"),
    ],
)
def test_ids_that_cannot_be_are_refused(files, named, tmp_path):
    with pytest.raises(UserError, match=named):
        load_tokenizer(slow_folder(tmp_path, **files))


def test_a_gap_in_tokenizer_json_is_refused_too(tmp_path):
    load_tokenizer(slow_folder(tmp_path / "slow", added_tokens=ADDED)).save(tmp_path / "out")
    file = tmp_path / "out" / "tokenizer.json"
    definition = json.loads(file.read_text())
    for token in definition["added_tokens"]:
        token["id"] += 4 * (token["content"] == "zz")
    file.write_text(json.dumps(definition))
    with pytest.raises(UserError, match=rf"'zz' has the id {SIZE + 8}, but .* comes {SIZE + 4}"):
        load_tokenizer(tmp_path / "out")
