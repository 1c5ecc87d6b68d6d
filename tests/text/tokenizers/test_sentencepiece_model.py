"""SentencePiece models: the ids of sentencepiece itself, through tokenizer.json."""

import gzip
import io
import json
import unicodedata

import pytest
from matrix import representative

from electra_jax.errors import UserError
from electra_jax.text.tokenizers.sentencepiece_model import UNIGRAM, are_plain, parse_model
from electra_jax.text.tokenizers.tokenizer import load_tokenizer, tokenizer_from_spiece
from electra_jax.text.tokenizers.train import train_vocabulary

sentencepiece = pytest.importorskip("sentencepiece")

SIZE = 260

ENGLISH = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "Preheat the oven to 180°C; naïve café owners don't — 333 of them in 1999/2000.",
    "He said: “formula_111 and formula_1 are (arbitrary) variables” [1][2] {x}.",
    "An unaffable electroencephalographer re-emerged from Aristophanes' play.",
]
CHINESE = [
    "中华人民共和国位于亚洲东部，太平洋西岸。",
    "汉顺帝建康元年（144年）八月初六，汉顺帝驾崩。山方三百步，高八丈四尺。",
    "苹果公司在2007年推出了iPhone手机，售价为５９９美元！",
    "數學是利用符號語言研究數量、結構、變化以及空間等概念的一門學科。",
]
AWKWARD = [
    "",
    " ",
    " \t\r\n ",
    "  two  spaces\tand\ttabs ",
    "\u0301\u0300 leading marks",
    "\x9f\x8f\u0301 leading, mixed",
    "\x01\x02leading controls\x03 and\x1f inner",
    "e\u0301 a\u0300 A\u030a U\u0308\u0304 ℰ\u0334 Ａ\u0305 g\u0349",
    "\u1112\u1161\u11ab\u1100\u1173\u11af 한글",
    "ﬁﬂ ①② ㎏ ½ Ⅷ ™ ﷺ ㍿ 㐀 豈 𝔸𝕓",
    "😀👍🏽👨‍👩‍👧🇩🇪 ☺️",
    "กำลัง हिन्दी தமிழ் עִבְרִית العَرَبِيَّة",
    "zero\u200bwidth\u200cnon\u200djoiner\ufeffmark\u00adsoft",
    "[CLS] [SEP][MASK] [UNK] [PAD] <s></s><unk>",
    "aaaaaaaaaa 3333333333 ---------- ============ hahahahaha ababababab",
    "ЁЖИК Straße ﬀ İstanbul ΣΊΣΥΦΟΣ ǅ ẞ",
]


@pytest.fixture(scope="module")
def small_corpus(tmp_path_factory):
    file = tmp_path_factory.mktemp("corpus") / "corpus.txt"
    lines = [*ENGLISH, *CHINESE, *AWKWARD[5:]]
    file.write_text("\n\n".join(lines * 4), "utf-8")
    return file


def own_model(folder):
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))


def different(tokenizer, model, texts):
    theirs = [model.encode(text) for text in texts]
    ours = tokenizer.encode_batch(texts)
    assert [tokenizer.encode(text) for text in texts] == ours
    flat, counts = tokenizer.encode_flat(texts)
    assert flat.tolist() == [i for ids in ours for i in ids]
    assert counts.tolist() == [len(ids) for ids in ours]
    return [text for text, a, b in zip(texts, theirs, ours) if a != b]


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize(
    "options",
    [{}, {"lower_case": False}, {"strip_accents": True}, {"byte_fallback": True}],
    ids=["lower", "cased", "bare", "bytes"],
)
def test_a_trained_model_gives_the_ids_of_sentencepiece(tmp_path, small_corpus, kind, options):
    size = SIZE + 256 if options.get("byte_fallback") else SIZE
    options = {"character_coverage": 0.98, **options}
    tokenizer = train_vocabulary(
        [str(small_corpus)], kind, size, tmp_path, progress=False, **options
    )
    assert tokenizer.kind == kind
    assert tokenizer.vocab_size == size
    assert different(tokenizer, own_model(tmp_path), ENGLISH + CHINESE + AWKWARD) == []


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@pytest.mark.parametrize("name", representative(("enwiki", "zhwiki"), "zhwiki"))
def test_ids_are_those_of_sentencepiece_on_many_real_lines(tmp_path, shared_data, kind, name):
    texts = []
    with gzip.open(
        shared_data / f"pretrain_{name}" / "train.jsonl.gz", "rt", encoding="utf-8"
    ) as f:
        while len(texts) < 3000:
            texts += filter(None, json.loads(next(f))["text"].split("\n"))
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"text": "\n".join(texts[:1000])}))
    tokenizer = train_vocabulary(
        [str(tmp_path / "corpus.jsonl")], kind, 5000, tmp_path / "out", progress=False
    )
    assert different(tokenizer, own_model(tmp_path / "out"), texts) == []


def test_ids_are_those_of_sentencepiece_on_the_recorded_strings(oracles, tmp_path, small_corpus):
    recorded = json.loads((oracles / "tokenization" / "tokenization.json").read_text("utf-8"))
    texts = [string["text"] for string in recorded["strings"]]
    train_vocabulary([str(small_corpus)], "unigram", SIZE, tmp_path, progress=False)
    found = different(load_tokenizer(tmp_path), own_model(tmp_path), texts)
    # Known difference: combining marks out of canonical order, which sentencepiece leaves so.
    assert [text for text in found if unicodedata.is_normalized("NFD", text)] == []
    assert len(found) <= 4


def test_saving_keeps_the_model_and_the_ids(tmp_path, small_corpus):
    transformers = pytest.importorskip("transformers")
    tokenizer = train_vocabulary(
        [str(small_corpus)], "unigram", SIZE, tmp_path / "a", strip_accents=True, progress=False
    )
    tokenizer.save(tmp_path / "b")
    for file in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / file.name).read_bytes() == file.read_bytes()
    from_model = load_tokenizer(tmp_path / "a" / "spiece.model")
    assert load_tokenizer(tmp_path / "a").hash == tokenizer.hash == from_model.hash
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "a")
    texts = [text for text in ENGLISH + CHINESE + AWKWARD if "[CLS]" not in text]
    assert theirs(texts, add_special_tokens=False)["input_ids"] == tokenizer.encode_batch(texts)
    pair = theirs("中文", "fox")
    a, b = tokenizer.encode("中文"), tokenizer.encode("fox")
    assert pair["input_ids"] == [2, *a, 3, *b, 3]
    assert pair["token_type_ids"] == [0] * (len(a) + 2) + [1] * (len(b) + 1)


def test_text_never_makes_a_special_id(tmp_path, small_corpus):
    for kind in ("unigram", "bpe"):
        tokenizer = train_vocabulary(
            [str(small_corpus)], kind, SIZE, tmp_path / kind, progress=False
        )
        assert tokenizer.ids_to_tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        assert not {0, 2, 3, 4} & set(tokenizer.encode("[CLS][SEP] [MASK] [PAD] \0[CLS]"))


def test_offsets_are_characters_of_the_original_text(tmp_path, small_corpus):
    tokenizer = train_vocabulary([str(small_corpus)], "unigram", SIZE, tmp_path, progress=False)
    text = "  The ５９９ quick  fox"
    ids, offsets = tokenizer.encode_with_offsets(text)
    assert ids == tokenizer.encode(text)
    covered = "".join(text[a:b] for a, b in offsets)
    assert covered == "The５９９quickfox"


def test_models_made_elsewhere_get_the_special_tokens_that_they_lack():
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter((ENGLISH + CHINESE) * 5),
        model_writer=writer,
        vocab_size=170,
        character_coverage=0.98,
        user_defined_symbols=["formula_"],
        minloglevel=2,
    )
    tokenizer = tokenizer_from_spiece(writer.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=writer.getvalue())
    special = tokenizer.special_ids
    assert (special.unk, special.cls, special.sep) == (0, 1, 2)  # <unk>, <s>, </s>
    assert sorted((special.pad, special.mask)) == [170, 171]
    assert tokenizer.vocab_size == 172
    assert tokenizer.special_tokens["cls"] == "<s>"
    for text in ENGLISH + CHINESE:
        assert tokenizer.encode(text) == model.encode(text)


def test_pieces_scores_and_settings_are_read_as_sentencepiece_reads_them(tmp_path, small_corpus):
    train_vocabulary([str(small_corpus)], "unigram", SIZE, tmp_path, progress=False)
    model = own_model(tmp_path)
    parsed = parse_model((tmp_path / "spiece.model").read_bytes(), "x")
    assert parsed.model_type == UNIGRAM
    assert [(p, s) for p, s, _ in parsed.pieces] == [
        (model.id_to_piece(i), model.get_score(i)) for i in range(SIZE)
    ]
    assert all(score * 256 == int(score * 256) for _, score, _ in parsed.pieces)
    assert parsed.named == {"pad": "[PAD]", "unk": "[UNK]", "bos": "[CLS]", "eos": "[SEP]"}


def test_word_and_character_models_are_refused():
    for kind in ("char", "word"):
        writer = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(ENGLISH * 5),
            model_writer=writer,
            model_type=kind,
            vocab_size=30,
            minloglevel=2,
        )
        with pytest.raises(UserError, match="only unigram and bpe"):
            tokenizer_from_spiece(writer.getvalue())


def test_plain_text_is_told_from_text_with_composed_graphemes():
    texts = ["", "plain", "中文，é", "e\u0301", "a\r", "🇩🇪", "한국", "\u1100\u1161", "ok"]
    assert are_plain(texts) == [True, True, True, False, False, False, True, False, True]
