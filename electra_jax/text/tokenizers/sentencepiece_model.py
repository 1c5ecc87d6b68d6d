"""SentencePiece .model files → tokenizer.json that gives the same ids.

The file is a protocol buffer; the few fields that define ids are read here directly (field
numbers: sentencepiece_model.proto). sentencepiece's own generated module is not used: it loads only
with a protobuf of the major version that generated it (7 in sentencepiece 0.2.3), which
sentencepiece does not require and TensorFlow does not ensure (2.21 allows 6); and never in one
process with transformers' copy of it, because protobuf registers a file name once.
"""

from __future__ import annotations

import base64
import functools
import struct
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers.normalizers import Precompiled

from electra_jax.errors import UserError

UNIGRAM, BPE = 1, 2
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = "\u2581"


@dataclass(frozen=True)
class SentencePieceModel:
    """What a .model file holds: pieces in order of their ids, and how text is normalised."""

    pieces: list[tuple[str, float, int]]  # (surface, score, one of NORMAL … BYTE)
    model_type: int
    named: dict[str, str]  # pad, unk, bos, eos → surface
    byte_fallback: bool
    charsmap: bytes
    add_dummy_prefix: bool
    remove_extra_whitespaces: bool
    escape_whitespaces: bool
    whitespace_as_suffix: bool


def parse_model(data: bytes, source: str) -> SentencePieceModel:
    """Reads a serialized ModelProto. Raises UserError, which names `source`, for other bytes."""
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    try:
        for number, value, _ in _fields(data):
            if number == 1:
                piece = _message(value)
                score = struct.unpack("<f", _as_bytes(piece.get(2, b"\0\0\0\0")))[0]
                pieces.append((_as_bytes(piece[1]).decode("utf-8"), score, int(piece.get(3, 1))))
            elif number == 2:
                trainer = _message(value)
            elif number == 3:
                normalizer = _message(value)
    except (ValueError, KeyError, IndexError, TypeError, struct.error):
        pieces = []
    if not pieces:
        raise UserError(f"{source} is not a SentencePiece model")
    model_type = int(trainer.get(3, UNIGRAM))
    if model_type not in (UNIGRAM, BPE):
        raise UserError(f"{source} is a word or character model; only unigram and bpe are read")
    defaults = {"unk": (45, b"<unk>"), "bos": (46, b"<s>"), "eos": (47, b"</s>"), "pad": (48, b"")}
    named = {
        name: _as_bytes(trainer.get(field, default)).decode("utf-8")
        for name, (field, default) in defaults.items()
    }
    return SentencePieceModel(
        pieces=pieces,
        model_type=model_type,
        named=named,
        byte_fallback=bool(trainer.get(35, 0)),
        charsmap=_as_bytes(normalizer.get(2, b"")),
        add_dummy_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
        escape_whitespaces=bool(normalizer.get(5, 1)),
        whitespace_as_suffix=bool(trainer.get(24, 0)),
    )


def tokenizer_definition(model: SentencePieceModel, source: str) -> dict:
    """The model as the content of a tokenizer.json (without special tokens or post-processor)."""
    if model.whitespace_as_suffix or not model.escape_whitespaces:
        raise UserError(f"{source}: whitespace as suffix or left unescaped is not supported")
    splits = not any(SPACE in surface[1:] for surface, _, kind in model.pieces if kind == NORMAL)
    scheme = "always" if model.add_dummy_prefix else "never"
    metaspace = {
        "type": "Metaspace",
        "replacement": SPACE,
        "prepend_scheme": scheme,
        "split": splits,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": _normalizer(model),
        "pre_tokenizer": metaspace,
        "post_processor": None,
        "decoder": _decoder(model, metaspace),
        "model": _unigram(model) if model.model_type == UNIGRAM else _bpe(model),
    }


def _normalizer(model: SentencePieceModel) -> dict | None:
    steps: list[dict] = []
    if model.charsmap:
        encoded = base64.b64encode(model.charsmap).decode("ascii")
        charsmap = {"type": "Precompiled", "precompiled_charsmap": encoded}
        steps = [*_isolate_characters(model.charsmap), charsmap]
    if model.remove_extra_whitespaces:
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
        steps.append({"type": "Replace", "pattern": {"Regex": "^ | $"}, "content": ""})
    return {"type": "Sequence", "normalizers": steps} if steps else None


def _isolate_characters(charsmap: bytes) -> list[dict]:
    """Steps before the charsmap so that `tokenizers` applies it as sentencepiece does.

    `tokenizers` looks a short grapheme cluster up as a whole and, where only its first character
    is in the map, loses the rest (combining marks). So clusters are composed, then broken apart by
    a character that the map deletes. It also keeps such a character at the very beginning: that
    one is removed first. Maps that delete no character are left to `tokenizers` as they are.

    What remains different: combining marks out of canonical order, and those after a full-width
    letter or half-width kana, are composed here where sentencepiece keeps them apart or vice versa.
    """
    apply = Precompiled(charsmap).normalize_str
    deleted = [code for code in _invisible() if apply(f"a{chr(code)}b") == "ab"]
    if not deleted or deleted[0] >= 0x20:
        return []
    return [
        {"type": "Replace", "pattern": {"Regex": f"^[{_ranges(deleted)}]+"}, "content": ""},
        {"type": "NFC"},
        {"type": "Replace", "pattern": {"Regex": "\\Y"}, "content": chr(deleted[0])},
    ]


@functools.cache
def _invisible() -> list[int]:
    """Code points that a map may delete: controls, formats, marks."""
    codes = range(1, sys.maxunicode + 1)
    return [c for c in codes if unicodedata.category(chr(c)) in ("Cc", "Cf", "Mn", "Mc", "Me")]


def _ranges(codes: list[int]) -> str:
    """Ascending code points as the inside of a character class."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in runs)


def without_isolation(definition: dict) -> dict | None:
    """The same tokenizer less the steps of `_isolate_characters`; None where it has none.

    Both give the same ids for text in which every grapheme is one character; this one is faster.
    """
    normalizer = definition.get("normalizer") or {}
    steps = normalizer.get("normalizers", [])
    if [step["type"] for step in steps[:4]] != ["Replace", "NFC", "Replace", "Precompiled"]:
        return None
    return {**definition, "normalizer": {**normalizer, "normalizers": steps[3:]}}


def _decoder(model: SentencePieceModel, metaspace: dict) -> dict:
    if not model.byte_fallback:
        return metaspace
    return {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, metaspace]}


def _unigram(model: SentencePieceModel) -> dict:
    unknown = next(i for i, (_, _, kind) in enumerate(model.pieces) if kind == UNKNOWN)
    return {
        "type": "Unigram",
        "unk_id": unknown,
        "vocab": [[surface, score] for surface, score, _ in model.pieces],
        "byte_fallback": model.byte_fallback,
    }


def _bpe(model: SentencePieceModel) -> dict:
    vocab = {surface: i for i, (surface, _, _) in enumerate(model.pieces)}
    mergeable = {surface: score for surface, score, kind in model.pieces if kind == NORMAL}
    # Sentencepiece joins any two neighbours whose concatenation is a piece, best score first.
    merges = [
        (-score, surface, cut)
        for surface, score in mergeable.items()
        for cut in range(1, len(surface))
        if surface[:cut] in mergeable and surface[cut:] in mergeable
    ]
    unknown = next(surface for surface, _, kind in model.pieces if kind == UNKNOWN)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": model.byte_fallback,
        "ignore_merges": False,
        "vocab": vocab,
        "merges": [[surface[:cut], surface[cut:]] for _, surface, cut in sorted(merges)],
    }


def _as_bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where bytes belong")
    return value


def _message(value: int | bytes) -> dict[int, int | bytes]:
    return {number: content for number, content, _ in _fields(_as_bytes(value))}


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes, int]]:
    """(field number, value, where the value starts) of a message; sub-messages stay bytes."""
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        wire = key & 7
        if wire == 0:
            start = position
            number, position = _varint(data, position)
            yield key >> 3, number, start
            continue
        if wire == 2:
            size, position = _varint(data, position)
        else:
            size = {1: 8, 5: 4}[wire]
        if position + size > len(data):
            raise ValueError("truncated message")
        yield key >> 3, data[position : position + size], position
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
        shift += 7
        if shift > 63:
            raise ValueError("number too long")


def are_plain(texts: Sequence[str]) -> list[bool]:
    """Whether each text has no grapheme of several characters."""
    # Joined by a line end, which is plain: positions of texts are those of their last characters.
    codes = np.frombuffer("\n".join([*texts, ""]).encode("utf-32-le"), np.uint32)
    composing = np.flatnonzero(_composing()[codes])
    ends = np.cumsum(np.fromiter((len(text) + 1 for text in texts), np.int64, len(texts)))
    plain = np.ones(len(texts), bool)
    plain[np.searchsorted(ends, composing, side="right")] = False
    return plain.tolist()


@functools.cache
def _composing() -> np.ndarray:
    """Table by code point: may form one grapheme with a neighbour (marks, jamo, joiners, …)."""
    table = np.zeros(sys.maxunicode + 1, bool)
    for first, last in _COMPOSING:
        table[first : last + 1] = True
    for code in (*range(0x300, 0x1E950), *range(0xE0000, 0xE1000)):
        if unicodedata.category(chr(code))[0] == "M":
            table[code] = True
    return table


_COMPOSING = (
    (0x0D, 0x0D),  # before a line feed
    (0x0600, 0x0605),  # signs that prefix what follows, here and below
    (0x06DD, 0x06DD),
    (0x070F, 0x070F),
    (0x0890, 0x0891),
    (0x08E2, 0x08E2),
    (0x0D4E, 0x0D4E),
    (0x0E33, 0x0E33),  # vowels that follow
    (0x0EB3, 0x0EB3),
    (0x1100, 0x11FF),  # Hangul letters
    (0x200C, 0x200D),  # joiners
    (0xA960, 0xA97C),
    (0xD7B0, 0xD7FB),
    (0xFF9E, 0xFF9F),  # half-width voicing marks
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x111C2, 0x111C3),
    (0x1193F, 0x11941),
    (0x11A3A, 0x11A3A),
    (0x11A84, 0x11A89),
    (0x11D46, 0x11D46),
    (0x11F02, 0x11F02),
    (0x1F1E6, 0x1F1FF),  # flags
    (0x1F3FB, 0x1F3FF),  # skin tones
    (0xE0000, 0xE0FFF),  # tags
)


def rounded_scores(data: bytes, step: float) -> bytes:
    """A serialized unigram model with its scores rounded to multiples of `step` (bpe: as it is)."""
    if parse_model(data, "the SentencePiece model").model_type != UNIGRAM:
        return data
    result = bytearray(data)
    for number, piece, start in _fields(data):
        if number != 1:
            continue
        for field, score, within in _fields(_as_bytes(piece)):
            if field == 2:
                value = struct.unpack("<f", _as_bytes(score))[0]
                struct.pack_into("<f", result, start + within, round(value / step) * step)
    return bytes(result)
