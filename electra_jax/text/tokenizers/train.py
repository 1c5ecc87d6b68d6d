"""Training a vocabulary: WordPiece by `tokenizers`, unigram and bpe by SentencePiece."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import tokenizers

from electra_jax.errors import UserError
from electra_jax.messages import message_stream
from electra_jax.text.corpus import Corpus, open_corpus
from electra_jax.text.documents import BLANK_LINES
from electra_jax.text.keyed_random import uniform
from electra_jax.text.progress import advance, corpus_bar
from electra_jax.text.separation import AUTO
from electra_jax.text.tokenizers import wordpiece
from electra_jax.text.tokenizers.sample import LineSample, SampleReport, measure
from electra_jax.text.tokenizers.sentencepiece_training import (
    SPECIAL_TOKENS,
    too_large,
    too_small,
    train_sentencepiece,
)
from electra_jax.text.tokenizers.tokenizer import Tokenizer, tokenizer_from_vocab
from electra_jax.text.tokenizers.word_cache import exact_cuts

log = logging.getLogger(__name__)

KINDS = ("wordpiece", "unigram", "bpe")

_SAMPLING_STREAM = 1
_WORDPIECE_COVERAGE = 0.99995
_FEW_MARKS = 1e-3
_LINES_FOR_MARKS = 20_000
"""By default, WordPiece keeps combining marks where more than this share of the letters of the
first lines are such marks."""


def train_vocabulary(
    inputs: Sequence[str],
    kind: str,
    size: int,
    output: str | os.PathLike[str],
    *,
    lower_case: bool = True,
    strip_accents: bool | None = None,
    limit_bytes: int | None = None,
    character_coverage: float | None = None,
    byte_fallback: bool = False,
    seed: int = 0,
    documents: str = AUTO,
    field: str | None = None,
    progress: bool = True,
    show: Callable[[SampleReport], None] | None = None,
) -> Tokenizer:
    """Trains a vocabulary on text and writes the tokenizer folder.

    Same inputs and arguments, same vocabulary, on any machine.

    Args:
      inputs: see `open_corpus`.
      kind: "wordpiece", "unigram" or "bpe".
      size: number of tokens, the five special ones included.
      output: tokenizer folder to write.
      lower_case: ignore case.
      strip_accents: ignore accents. None: as `lower_case` for WordPiece (the reference's rule),
        unless it would delete vowel signs and the like (of Indic, Thai, Japanese, … writing);
        False for unigram and bpe.
      limit_bytes: train on about so many bytes: documents sampled with `seed` (None: everything).
      character_coverage: share of the text's characters that get a token of their own; the rarest
        rest becomes [UNK] (or bytes). None: for WordPiece 0.99995 as long as letters fill no more
        than half of the vocabulary; for unigram and bpe 0.9995 and every ASCII character of the
        text.
      byte_fallback: unigram and bpe spell unknown characters as bytes.
      documents, field: see `open_corpus`.
      progress: show on stderr what is done, with a progress bar.
      show: is called with what the tokenizer makes of a sample of the text.

    Raises:
      UserError: bad input text, an unknown kind, or a size that the text does not support.
    """
    _check(kind, size, character_coverage, byte_fallback, limit_bytes)
    if documents == AUTO and limit_bytes is None:
        documents = BLANK_LINES  # every line is read; which document it is of makes no difference
    corpus = open_corpus(inputs, documents=documents, field=field)
    sample = LineSample()

    def read(last: bool) -> Iterator[str]:
        what = "reading" if last else "looking for letters"
        lines = _sampled_lines(corpus, limit_bytes, seed, progress, what)
        return sample.watch(_announced(lines, progress)) if last else lines

    with _output_folder(output) as folder:
        if kind == "wordpiece":
            if strip_accents is None and lower_case and _has_marks(corpus):
                strip_accents = False
            options = wordpiece.Options(lower_case, strip_accents)
            tokenizer = _train_wordpiece(read(True), size, options, character_coverage)
        else:
            tokenizer = train_sentencepiece(
                read,
                kind,
                size,
                lower_case=lower_case,
                strip_accents=bool(strip_accents),
                character_coverage=character_coverage,
                byte_fallback=byte_fallback,
            )
        try:
            tokenizer.save(folder)
        except OSError as error:
            raise UserError(f"cannot write {folder}: {error.strerror}") from None
        if show is not None:
            show(measure(tokenizer, sample.lines))
        return tokenizer


def _check(
    kind: str,
    size: int,
    character_coverage: float | None,
    byte_fallback: bool,
    limit_bytes: int | None,
) -> None:
    if kind not in KINDS:
        raise UserError(f"unknown kind of vocabulary '{kind}'; choose one of {', '.join(KINDS)}")
    if size <= len(SPECIAL_TOKENS):
        raise UserError(f"a vocabulary of {size} holds nothing but special tokens; raise --size")
    if character_coverage is not None and not 0 < character_coverage <= 1:
        raise UserError(f"character_coverage is {character_coverage}; it must be in (0, 1]")
    if kind != "wordpiece" and character_coverage is not None and character_coverage < 0.98:
        raise UserError(
            f"character_coverage is {character_coverage}; sentencepiece wants at least 0.98"
        )
    if byte_fallback and kind == "wordpiece":
        raise UserError("byte_fallback goes with --type=unigram or bpe: WordPiece has no bytes")
    if limit_bytes is not None and limit_bytes <= 0:
        raise UserError(f"limit_bytes is {limit_bytes}; it must be positive")


@contextlib.contextmanager
def _output_folder(output: str | os.PathLike[str]) -> Iterator[Path]:
    """The folder to write, made now; removed again where an error leaves it empty."""
    folder = Path(output).expanduser()
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror}") from None
    try:
        yield folder
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _sampled_lines(
    corpus: Corpus, limit_bytes: int | None, seed: int, progress: bool, what: str = "reading"
) -> Iterator[str]:
    """Lines of every document, or of documents sampled so that about `limit_bytes` remain; `what`
    names the pass on the progress bar."""
    share = 1.0
    if limit_bytes is not None:
        share = min(1.0, limit_bytes / max(_total_bytes(corpus, progress), 1))
    found = False
    with corpus_bar(what, corpus, progress) as bar:
        for block in corpus.blocks():
            keep = uniform(seed, _SAMPLING_STREAM, block.first_document, len(block.documents))
            for document, number in zip(block.documents, keep, strict=True):
                if number < share:
                    for line in document.lines():
                        found = True
                        yield line
            advance(bar, block.position, block.first_document + len(block.documents))
    if not found:
        raise UserError(
            "the input holds only whitespace"
            if share == 1.0
            else "limit_bytes leaves no document; raise it"
        )


def _total_bytes(corpus: Corpus, progress: bool) -> int:
    """Bytes of all documents, decompressed."""
    total = 0
    with corpus_bar("measuring", corpus, progress) as bar:
        for block in corpus.blocks():
            total += sum(len(document.data) for document in block.documents)
            advance(bar, block.position, block.first_document + len(block.documents))
    return total


def _announced(lines: Iterator[str], progress: bool) -> Iterator[str]:
    """The lines; says at their end what follows, in which no bar moves."""
    count = 0
    for line in lines:
        count += 1
        yield line
    if progress:
        said = f"training on {count:,} lines; this takes longer than reading them"
        print(said, file=message_stream())


def _has_marks(corpus: Corpus) -> bool:
    """Whether the first lines hold combining marks of scripts other than Latin, Greek and Cyrillic;
    logs a warning if so."""
    letters = marks = 0
    for line in itertools.islice(_sampled_lines(corpus, None, 0, False), _LINES_FOR_MARKS):
        for character in unicodedata.normalize("NFD", line):
            category = unicodedata.category(character)
            letters += category[0] in "LM"
            marks += category == "Mn" and not 0x300 <= ord(character) <= 0x36F
    share = marks / max(letters, 1)
    if share > _FEW_MARKS:
        log.warning(
            "accents are kept: %.1f %% of the letters are vowel signs or other marks that would be "
            "deleted with them (--strip_accents=yes deletes them)",
            100 * share,
        )
    return share > _FEW_MARKS


def _train_wordpiece(
    lines: Iterator[str], size: int, options: wordpiece.Options, coverage: float | None
) -> Tokenizer:
    base = wordpiece.tokenizer_definition(SPECIAL_TOKENS, options, "the vocabulary")
    words = _count_words(lines, base)
    first, inner = _alphabet(words, coverage, size - len(SPECIAL_TOKENS))
    known = set(first) | {token[2:] for token in inner}
    # The trainer numbers letters in the order of a randomly seeded hash map, and ties between
    # merges follow the numbers; letters given as "special tokens" are numbered in our order.
    trainer = tokenizers.trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[*SPECIAL_TOKENS, *first, *inner],
        continuing_subword_prefix="##",
    )
    model = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    spelled = (word for word in sorted(words) if known.issuperset(word))
    model.train_from_iterator(_repeated(spelled, words), trainer)
    vocab = sorted(model.get_vocab().items(), key=lambda item: item[1])
    if len(vocab) < size:
        raise too_large(size, len(vocab))
    return tokenizer_from_vocab([token for token, _ in vocab], options)


def _count_words(lines: Iterator[str], definition: dict) -> Counter[str]:
    """How often each word (as WordPiece will see it) occurs."""
    cuts = exact_cuts(definition)
    normalizer = tokenizers.Tokenizer.from_str(json.dumps(definition)).normalizer
    assert cuts is not None and normalizer is not None  # both are BERT's
    parts: Counter[str] = Counter()
    for line in lines:
        parts.update(cuts.coarse(line))
    splitter = tokenizers.pre_tokenizers.BertPreTokenizer()
    words: Counter[str] = Counter()
    for part, count in parts.items():
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(part)):
            words[word] += count
    return words


def _repeated(words: Iterable[str], counts: Counter[str]) -> Iterator[str]:
    """Each word as often as it occurs, several to a string (the trainer takes no counts)."""
    for word in words:
        whole, rest = divmod(counts[word], 512)
        many = " ".join([word] * 512) if whole else ""
        for _ in range(whole):
            yield many
        if rest:
            yield " ".join([word] * rest)


def _alphabet(
    words: Counter[str], coverage: float | None, room: int
) -> tuple[list[str], list[str]]:
    """Letters that begin words and "##" letters that continue them, most frequent kept."""
    letters: Counter[str] = Counter()
    for word, count in words.items():
        for letter in word:
            letters[letter] += count
    firsts = {word[0] for word in words}
    inners = {letter for word in words for letter in word[1:]}
    to_cover = (_WORDPIECE_COVERAGE if coverage is None else coverage) * sum(letters.values())
    covered = tokens = 0
    kept: set[str] = set()
    for letter, count in sorted(letters.items(), key=lambda item: (-item[1], item[0])):
        needed = (letter in firsts) + (letter in inners)
        if covered >= to_cover or (coverage is None and tokens + needed > room // 2):
            break
        kept.add(letter)
        covered += count
        tokens += needed
    if tokens > room:
        raise too_small(room + len(SPECIAL_TOKENS), tokens + len(SPECIAL_TOKENS))
    return sorted(firsts & kept), sorted(f"##{letter}" for letter in inners & kept)
