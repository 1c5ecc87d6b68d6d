"""Tokenizers: one class over the `tokenizers` library, for every kind of vocabulary.

The encoder always runs a tokenizer.json: `vocab.txt` (WordPiece) and `spiece.model` (SentencePiece)
are converted when loaded and kept beside it when saved. Text can never produce a special id: the
encoder works on a copy of the definition in which the special tokens have unmatchable names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from electra_jax.errors import UserError
from electra_jax.text.tokenizers import casing, hub, other_rules, sentencepiece_model, wordpiece
from electra_jax.text.tokenizers.added_tokens import read_added_tokens
from electra_jax.text.tokenizers.batch_encoding import BatchEncoding, encode_batch
from electra_jax.text.tokenizers.special_ids import ROLES, SpecialIds
from electra_jax.text.tokenizers.tokenizer_folder import write_folder
from electra_jax.text.tokenizers.tokenizer_json import (
    KINDS,
    USUAL_NAMES,
    added_token,
    declare_special_tokens,
    definition_hash,
    find_special_token,
    guard_special_tokens,
    read_json,
)
from electra_jax.text.tokenizers.word_cache import WordCache
from electra_jax.text.unicode import well_formed

_FILES = ("tokenizer.json", "vocab.txt", "spiece.model")


class Tokenizer:
    """Text ⇄ ids.

    Attributes:
      kind: "wordpiece", "unigram" or "bpe".
      vocab_size: largest id + 1 (the rows that an embedding table needs).
      special_ids: ids of [PAD] [UNK] [CLS] [SEP] [MASK], by whatever names.
      special_tokens: their names by role.
      hash: sha256 (hex) of all that defines the ids.
      max_length: of a batch's rows in tokens where a call does not say (None: no limit). The
        tokenizer of a loaded model has the model's number of positions.
    """

    max_length: int | None = None

    def __init__(
        self,
        definition: dict[str, Any],
        special_tokens: dict[str, str],
        spiece: bytes | None = None,
    ):
        """Use `load_tokenizer`.

        Args:
          definition: content of a tokenizer.json; every special token has an id in it.
          special_tokens: name of each of ROLES.
          spiece: the SentencePiece model that it was converted from, kept beside it.
        """
        definition = {**definition, "truncation": None, "padding": None, "post_processor": None}
        self._full = tokenizers.Tokenizer.from_str(json.dumps(definition))
        # As the library writes it: the same tokenizer read from anywhere looks the same.
        self._definition: dict[str, Any] = json.loads(self._full.to_str())
        self._spiece = spiece
        self.special_tokens = dict(special_tokens)
        self.kind: str = KINDS[self._definition["model"]["type"]]
        ids = self._full.get_vocab()
        self.special_ids = SpecialIds(**{role: ids[special_tokens[role]] for role in ROLES})
        self.vocab_size: int = max(ids.values()) + 1
        guarded = guard_special_tokens(self._definition, self.special_tokens.values())
        self._encoder = _encoder(guarded)
        self._words = WordCache.for_definition(guarded, self._encode_each)
        plain = sentencepiece_model.without_isolation(guarded)
        self._plain = _encoder(plain) if plain else None
        self.hash = definition_hash(self._definition, self.special_ids)

    @property
    def do_lower_case(self) -> bool:
        """Whether ids ignore case."""
        return self.normalize("ABC") == self.normalize("abc")

    def normalize(self, text: str) -> str:
        """The text as it is split into words and tokens: case, accents, spaces."""
        normalizer = self._full.normalizer
        return text if normalizer is None else normalizer.normalize_str(text)

    def __call__(
        self,
        texts: str | Sequence[str],
        pair: str | Sequence[str] | None = None,
        max_length: int | None = None,
    ) -> BatchEncoding:
        """A batch for a network: [CLS] text [SEP], or [CLS] text [SEP] pair [SEP], right-padded to
        the longest row.

        Rows of more than `max_length` tokens (None: `self.max_length`) are cut silently: a text at
        its end, of a pair the longer one first. The ids are those of `transformers`'
        tokenizer with `truncation=True`, but that "[CLS]" in a text is ordinary characters here.

        Args:
          texts: one text or several.
          pair: the second text of each.

        Returns:
          `input_ids`, `attention_mask` and `token_type_ids`, int32 [batch, length].

        Raises:
          UserError: texts and second texts of different number, a value that is not a string, or a
            `max_length` that leaves no room.
        """
        first = [texts] if isinstance(texts, str) else list(texts)
        second = [pair] if isinstance(pair, str) else None if pair is None else list(pair)
        wrong = [text for text in [*first, *(second or ())] if not isinstance(text, str)]
        if wrong:
            raise UserError(f"{wrong[0]!r} is not a string: give one text, or a list of texts")
        if second is not None and len(second) != len(first):
            raise UserError(f"{len(first)} texts and {len(second)} second texts: give one to each")
        special = self.special_ids
        return encode_batch(
            self.encode_batch(first),
            None if second is None else self.encode_batch(second),
            self.max_length if max_length is None else max_length,
            cls=special.cls,
            sep=special.sep,
            pad=special.pad,
        )

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without special tokens ("[CLS]" in the text is ordinary characters)."""
        return self._encoder.encode(well_formed(text), add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, on all cores that TOKENIZERS_PARALLELISM allows."""
        return self._encode_each([well_formed(text) for text in texts])

    def encode_flat(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """`encode` of each text, joined: (ids [total] int32, number of ids [texts] int64).

        Fastest for much text: the ids of words already encoded are looked up.
        """
        texts = [well_formed(text) for text in texts]
        if self._words:
            return self._words.encode(texts)
        each = self._encode_each(texts)
        counts = np.fromiter(map(len, each), np.int64, len(texts))
        ids = np.fromiter(chain.from_iterable(each), np.int32, int(counts.sum()))
        return ids, counts

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids and, for each, the character span [start, end) of the text that it encodes.

        Spaces around a token are not part of it.
        """
        text = well_formed(text)
        encoded = self._encoder.encode(text, add_special_tokens=False)
        return encoded.ids, [_trimmed(text, start, end) for start, end in encoded.offsets]

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Readable text of ids."""
        return self._full.decode([int(i) for i in ids], skip_special_tokens=skip_special_tokens)

    def ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        """The tokens of the ids, as the vocabulary has them."""
        return [self._full.id_to_token(int(i)) or "" for i in ids]

    def id_of(self, token: str) -> int | None:
        """The id of a token, None where the vocabulary has no such token."""
        return self._full.token_to_id(token)

    def with_whole_chinese_words(self) -> Tokenizer:
        """The same vocabulary, but a run of Chinese characters is one word ("東 ##京"), as in the
        reference's tagging; only WordPiece separates them, so only it changes."""
        normalizer = self._definition["normalizer"] or {}
        if normalizer.get("type") != "BertNormalizer":
            return self
        changed = {**self._definition, "normalizer": {**normalizer, "handle_chinese_chars": False}}
        return Tokenizer(changed, self.special_tokens, self._spiece)

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes a Hugging Face tokenizer folder: `AutoTokenizer.from_pretrained` gives these ids.

        `AutoTokenizer` adds [CLS] A [SEP] B [SEP] with token types 0 and 1, and (unlike `encode`)
        reads "[CLS]" in a text as the special token.
        """
        write_folder(
            Path(directory), self._definition, self.special_tokens, self.special_ids, self._spiece
        )

    def _encode_each(self, texts: Sequence[str]) -> list[list[int]]:
        if self._plain is None:
            return _encoded(self._encoder, texts)
        plain = sentencepiece_model.are_plain(texts)
        fast = iter(_encoded(self._plain, [t for t, p in zip(texts, plain) if p]))
        exact = iter(_encoded(self._encoder, [t for t, p in zip(texts, plain) if not p]))
        return [next(fast if p else exact) for p in plain]


def load_tokenizer(
    path: str | os.PathLike[str],
    *,
    do_lower_case: bool | None = None,
    strip_accents: bool | None = None,
    tokenize_chinese_chars: bool = True,
) -> Tokenizer:
    """Loads a tokenizer folder (Hugging Face's layout, ours or a released model's), a `vocab.txt`
    or a SentencePiece `.model`. What stands beside a `vocab.txt` belongs to it.

    Args:
      path: folder or file, or a model's name on the Hugging Face Hub.
      do_lower_case, strip_accents, tokenize_chinese_chars: for a WordPiece vocabulary that comes
        without its settings. None: guessed from the tokens, with a note (`casing.options_of`).
        Accents are kept whenever case is kept, as in the reference.

    Raises:
      UserError: nothing there, not a tokenizer, a missing special token, or a `do_lower_case` that
        the tokenizer's own settings contradict.
    """
    source = Path(path).expanduser()
    given = {
        "do_lower_case": do_lower_case,
        "strip_accents": strip_accents,
        "tokenize_chinese_chars": tokenize_chinese_chars,
    }
    if not source.exists() and hub.is_hub_name(os.fspath(path)):
        source = hub.downloaded(os.fspath(path))
    tokenizer = _load(source, given)
    if do_lower_case is not None and tokenizer.do_lower_case != do_lower_case:
        does = "ignores" if tokenizer.do_lower_case else "keeps"
        against = "do_lower_case=True" if do_lower_case else "--cased (do_lower_case=False)"
        raise UserError(f"{source} {does} case by its own settings, against {against}")
    return tokenizer


def _load(source: Path, given: dict[str, Any]) -> Tokenizer:
    if source.is_dir():
        return _load_folder(source, given)
    if not source.exists():
        raise UserError(f"no tokenizer at {source}: no such file or folder")
    if source.name == "tokenizer.json":
        return _load_definition(source, _settings_in(source.parent)[1])
    if source.suffix == ".model":
        return _load_spiece(source)
    if source.suffix == ".txt":
        return _load_vocab(source, given)
    raise UserError(
        f"{source} is not a tokenizer; give a folder, a vocab.txt, a tokenizer.json or a "
        "SentencePiece .model"
    )


def tokenizer_from_spiece(model: bytes, source: str = "the SentencePiece model") -> Tokenizer:
    """Converts a serialized SentencePiece model (see `load_tokenizer`)."""
    return _from_spiece(model, source, {})


def tokenizer_from_vocab(
    vocab: Sequence[str], options: wordpiece.Options, source: str = "the vocabulary"
) -> Tokenizer:
    """A WordPiece tokenizer whose ids are the positions in `vocab`."""
    definition = wordpiece.tokenizer_definition(vocab, options, source)
    return _finish(definition, {}, source, None)


def _load_folder(folder: Path, given: dict[str, Any]) -> Tokenizer:
    _, named = _settings_in(folder)
    if (folder / "tokenizer.json").exists():
        return _load_definition(folder / "tokenizer.json", named)
    models = sorted(folder.glob("*.model"))
    if len(models) == 1:
        return _load_spiece(models[0])
    if (folder / "vocab.txt").exists():
        return _load_vocab(folder / "vocab.txt", given)
    raise UserError(f"{folder} holds no tokenizer (none of {', '.join(_FILES)})")


def _settings_in(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """tokenizer_config.json, and it with special_tokens_map.json."""
    config = read_json(folder / "tokenizer_config.json")
    return config, {**read_json(folder / "special_tokens_map.json"), **config}


def _load_definition(file: Path, named: dict[str, Any]) -> Tokenizer:
    definition = read_json(file)
    model = definition.get("model")
    if not isinstance(model, dict) or model.get("type") not in KINDS:
        kind = model.get("type") if isinstance(model, dict) else None
        raise UserError(f"{file}: tokenizers of kind {kind} are not supported ({sorted(KINDS)})")
    normalizer = definition.get("normalizer")
    runs_as_is = named.get("tokenizer_class") in ("PreTrainedTokenizerFast", "TokenizersBackend")
    if normalizer and normalizer.get("type") == "BertNormalizer" and not runs_as_is:
        # Where both speak, transformers obeys the config; a tokenizer.json may be out of date.
        for field, key in wordpiece.CONFIG_FIELDS.items():
            if key in named:
                normalizer[field] = named[key]
    spiece = file.parent / "spiece.model"
    return _finish(definition, named, str(file), spiece.read_bytes() if spiece.exists() else None)


def _load_vocab(file: Path, given: dict[str, Any]) -> Tokenizer:
    vocab = wordpiece.read_vocab(file)
    config, named = _settings_in(file.parent)
    whole = file.parent / "tokenizer.json"
    if whole.exists() and _vocabulary_of(read_json(whole)) == vocab:
        return _load_definition(whole, named)
    other_rules.refuse_words_of_others(config, str(file))
    options = casing.options_of(vocab, str(file), config, **given)
    definition = wordpiece.tokenizer_definition(vocab, options, str(file))
    definition["added_tokens"] = read_added_tokens(file.parent, named, definition["model"]["vocab"])
    return _finish(definition, named, str(file), None)


def _vocabulary_of(definition: dict[str, Any]) -> list[str] | None:
    """The tokens of a tokenizer.json in the order of their ids; None where it is no WordPiece."""
    model = definition.get("model")
    if not isinstance(model, dict) or model.get("type") != "WordPiece":
        return None
    return sorted(model["vocab"], key=model["vocab"].__getitem__)


def _load_spiece(file: Path) -> Tokenizer:
    config, named = _settings_in(file.parent)
    other_rules.refuse_renumbered(config, str(file))
    tokenizer = _from_spiece(file.read_bytes(), str(file), named, file.parent)
    other_rules.refuse_changed_text(config, tokenizer.normalize, str(file))
    return tokenizer


def _from_spiece(
    data: bytes, source: str, named: dict[str, Any], folder: Path | None = None
) -> Tokenizer:
    model = sentencepiece_model.parse_model(data, source)
    definition = sentencepiece_model.tokenizer_definition(model, source)
    ids = {surface: index for index, (surface, _, _) in enumerate(model.pieces)}
    if folder is not None:
        definition["added_tokens"] = read_added_tokens(folder, named, ids)
    known = ids.keys() | {token["content"] for token in definition["added_tokens"]}
    roles = dict(named)
    for role, name in {"pad": "pad", "unk": "unk", "cls": "bos", "sep": "eos"}.items():
        usual = [n for n in USUAL_NAMES[role] if n in known]
        if f"{role}_token" not in roles and model.named[name] in known and not usual:
            roles[f"{role}_token"] = model.named[name]
    for role in ("pad", "cls", "sep", "mask"):
        # Models made for other purposes lack some; they get the ids after the last token.
        if find_special_token(roles, role, known) is None:
            name = USUAL_NAMES[role][0]
            roles[f"{role}_token"] = name
            known.add(name)
            definition["added_tokens"].append(added_token(len(known) - 1, name))
    return _finish(definition, roles, source, data)


def _finish(
    definition: dict[str, Any], named: dict[str, Any], source: str, spiece: bytes | None
) -> Tokenizer:
    """Declares the special tokens and builds the tokenizer."""
    definition, special_tokens = declare_special_tokens(definition, named, source)
    try:
        tokenizer = Tokenizer(definition, special_tokens, spiece)
    except Exception as error:  # the library raises plain Exception for a file it cannot read
        if type(error) is not Exception:
            raise
        raise UserError(f"{source} is not a tokenizer that `tokenizers` reads: {error}") from None
    for token in definition["added_tokens"]:
        index = tokenizer.id_of(token["content"])
        if index != token["id"]:  # the library numbers added tokens itself, without gaps
            raise UserError(
                f"{source}: the added token {token['content']!r} has the id {token['id']}, but "
                f"after the tokens before it comes {index}"
            )
    return tokenizer


def _encoder(definition: dict[str, Any]) -> tokenizers.Tokenizer:
    encoder = tokenizers.Tokenizer.from_str(json.dumps(definition))
    encoder.encode_special_tokens = True
    return encoder


def _encoded(encoder: tokenizers.Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    encoded = encoder.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in encoded]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
