"""A tokenizer whose tokens are letters, and codecs over it: ids that a test can write down."""

from electra_jax.finetuning.codecs import make_codec
from electra_jax.finetuning.data.examples import CodecSettings, TextExample
from electra_jax.finetuning.task_table import TASKS
from electra_jax.text.tokenizers.tokenizer import tokenizer_from_vocab
from electra_jax.text.tokenizers.wordpiece import Options

PAD, UNK, CLS, SEP, MASK = range(5)
VOCAB = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"##{c}" for c in "abcdefgh"))
A, B, C, D, E, F, G, H = range(5, 13)
LETTERS = tokenizer_from_vocab(VOCAB, Options(True, None, True))
"""Each of a … h is a token, alone (5 …) or within a word (13 …)."""


def pair(*texts, label=None):
    """An example of one text or two."""
    return TextExample("f:1", "0", texts, label)


def codec_of(name, labels=None, tokenizer=LETTERS, **settings):
    """A task's codec over its labels, or over those given."""
    task = TASKS[name]
    return make_codec(task, tokenizer, CodecSettings(**settings), labels or task.labels or ())


def encode(codec, example, train=False):
    """The one feature of an example."""
    (feature,) = codec.encode(example, train)
    return feature
