"""What is run on both sides: command lines, in the order of a scenario.

In a command line {inputs} is the folder of inputs, {out} the scenario's folder of this side, {old}
that of the old side (itself, there) and {root} the checkout.
"""

import dataclasses
from collections.abc import Iterable

RUN = "{out}/run"


@dataclasses.dataclass(frozen=True)
class Step:
    """One command line, or a copy of a folder; its exit code is checked.

    stop_after: calls of the compiled train step after which SIGTERM comes.
    old_only: new code does not run it; it uses what old code left.
    """

    argv: tuple[str, ...] = ()
    copy: tuple[str, str] | None = None
    stop_after: int = 0
    expected: int = 0
    old_only: bool = False


@dataclasses.dataclass(frozen=True)
class Scenario:
    """`equal`: pairs of folders in a side's output that must equal each other too."""

    name: str
    steps: tuple[Step, ...]
    quick: bool = False
    equal: tuple[tuple[str, str], ...] = ()


def _flags(words: str) -> tuple[str, ...]:
    """`a.b=value c=d` as overrides."""
    return tuple(f"--config.{word}" for word in words.split())


def _last(flags: Iterable[str]) -> tuple[str, ...]:
    """Of several values for a field the last; `None` leaves it to the configuration."""
    given = {flag.split("=")[0]: flag for flag in flags}
    return tuple(flag for flag in given.values() if not flag.endswith("=None"))


_SMALL = _flags(
    "model.hidden_size=16 model.embedding_size=16 model.num_hidden_layers=2 "
    "model.intermediate_size=24 model.num_attention_heads=2 model.max_position_embeddings=64 "
    "model.generator.hidden_size=8 model.generator.intermediate_size=16 "
    "model.generator.num_attention_heads=2 model.generator.num_hidden_layers=1 "
    "model.hidden_dropout_prob=0.0 model.attention_probs_dropout_prob=0.0 "
    "optimizer.warmup_steps=2 train.steps=6 train.batch_size=4 train.log_every=2 "
    "train.eval_every=3 train.eval_rows=8 train.checkpoint_every=3 train.tensorboard=False"
)
_BERT = _flags("model.embedding_size=12")
_DROPOUT = _flags("model.hidden_dropout_prob=0.1 model.attention_probs_dropout_prob=0.1")
# The generator of modern blocks has the discriminator's width where embeddings are shared.
_MODERN = _flags("model.generator.hidden_size=16")


def _pretrain(workdir: str, *overrides: str, rows: str = "rows", bert: bool = False) -> Step:
    shape = _SMALL + (_BERT if bert else _MODERN)
    size = "small" if bert else "tiny"
    argv = ("pretrain", f"--config={{root}}/configs/pretrain.py:{size}", f"--workdir={workdir}")
    data = f"--config.data.path={{inputs}}/{rows}"
    return Step((*argv, *_last([*shape, *overrides]), data))


def _again(first: Step) -> tuple[Step, ...]:
    """The finished run of old code in a copy, and the command that made it: accepted as it is."""
    there = tuple(word.replace("={out}/run", "={out}/again") for word in first.argv)
    return Step(copy=("{old}/run", "{out}/again")), Step(there)


def _stopped(name: str, whole: Step, after: int = 3) -> Scenario:
    """A run that old code begins and is stopped in, ended by either; as one without a stop.

    Pretraining is stopped at a checkpoint that is due anyhow, in the middle of a window of metrics:
    the whole run keeps no other ones.
    """

    def elsewhere(place: str) -> tuple[str, ...]:
        return tuple(word.replace("={out}/run", f"={{out}}/{place}") for word in whole.argv)

    stop = Step(elsewhere("stopped"), stop_after=after, expected=143, old_only=True)
    copy = Step(copy=("{old}/stopped", "{out}/resumed"))
    steps = (whole, stop, copy, Step(elsewhere("resumed")))
    return Scenario(f"resume/{name}", steps, name in _QUICK, (("run", "resumed"),))


_QUICK = set(
    "electra electra-bert masked_lm accumulate bf16 single-rows init-pair "
    "classification ner question_answering ranking lora head-regression "
    "pretrain finetune pair-tf1".split()
)

# name: overrides; `bert` first means those blocks, `@ROWS` other rows.
_PRETRAINING = {
    "electra": "",
    "electra-bert": "bert",
    "masked_lm": "objective.name=masked_lm",
    "masked_lm-bert": "bert dropout objective.name=masked_lm train.dtype=bfloat16",
    "uniform": "bert model.generator.kind=uniform",
    "sharing-none": "bert model.sharing=none model.tie_word_embeddings=False",
    "sharing-all": "bert model.sharing=all",
    "masking-reference": "bert @rows-reference objective.masking=reference "
    "objective.mask_prob=0.25",
    "gumbel": "objective.sampler=gumbel",
    "temperature": "bert objective.initial_temperature=2.0 objective.temperature=0.5 "
    "objective.temperature_fraction=0.8",
    "temperature-constant": "bert objective.temperature=0.7 objective.generator_weight=2.0 "
    "objective.discriminator_weight=10.0",
    "sampling": "bert dropout objective.sample_with_dropout=False objective.disallow_correct=True",
    "dropout": "bert dropout",
    "accumulate": "dropout train.accumulate=2",
    "single-rows": "bert @rows-single",
    "reference-rows": "bert @rows-reference",
    "bf16": "train.dtype=bfloat16 model.remat=dots",
    "unrolled": "bert dropout model.scan_layers=False model.hidden_act=gelu_new",
    "remat": "bert dropout model.remat=full",
    "adam_reference": "optimizer.name=adam_reference optimizer.schedule=constant",
    "adamw-cosine": "bert optimizer.name=adamw optimizer.schedule=cosine",
    "lamb-wsd": "bert optimizer.name=lamb optimizer.schedule=wsd optimizer.decay_fraction=0.5",
    "freeze": "bert optimizer.freeze=('embeddings','layer.*bias') optimizer.power=2.0 "
    "optimizer.start_step=1 optimizer.clip_norm=0.1",
    "init-pair": "bert init={inputs}/pair/model",
    "init-discriminator": "bert init={inputs}/pair/model/discriminator "
    "init_generator={inputs}/pair/model/generator",
    "init-map": "bert @rows-other init={inputs}/pair/model init_vocabulary=map",
    "init-masked_lm": "bert objective.name=masked_lm init={inputs}/pair/model/generator",
    "continued": "bert resume={inputs}/pair train.steps=8",
    "default-reader": "bert data.backend=auto",
}


def _pretraining(name: str, words: str) -> Scenario:
    bert, rows, overrides = False, "rows", [*_flags("data.backend=numpy")]
    for word in words.split():
        if word == "bert":
            bert = True
        elif word == "dropout":
            overrides += _DROPOUT
        elif word.startswith("@"):
            rows = word[1:]
        else:
            overrides += _flags(word)
    first = _pretrain(RUN, *overrides, rows=rows, bert=bert)
    quick = name in _QUICK
    steps = (first, *_again(first)) if quick else (first,)
    return Scenario(f"pretrain/{name}", steps, quick)


_TUNING = _flags(
    "init={inputs}/pair/model model.hidden_dropout_prob=0.0 model.classifier_dropout=0.0 "
    "model.attention_probs_dropout_prob=0.0 train.restarts=0 train.steps=6 train.batch_size=4 "
    "train.eval_batch_size=4 train.eval_every=3 train.log_every=2 train.tensorboard=False "
    "optimizer.learning_rate=0.003 optimizer.layerwise_decay=1.0 data.max_length=32 data.shapes=1 "
    "data.max_query_length=8 data.doc_stride=8"
)

# name: task, folder of its files, overrides; `dropout` means the usual one.
_FINETUNING = {
    "classification": ("classification", "classification", ""),
    "pair": ("pair", "pair", "data.double_unordered=True"),
    "multilabel": ("multilabel", "multilabel", "data.threshold=0.4"),
    "regression": ("regression", "regression", ""),
    "relation": ("relation", "relation", ""),
    "tagging": ("tagging", "tagging", ""),
    "ner": ("ner", "ner", ""),
    "chunking": ("chunking", "ner", ""),
    "question_answering": ("question_answering", "squad2", ""),
    "squad1": ("squad1", "squad1", ""),
    "multiple_choice": ("multiple_choice", "choice", ""),
    "ranking": ("ranking", "ranking", ""),
    "head-classification": ("classification", "classification", "model.head=reference"),
    "head-regression": ("regression", "regression", "model.head=reference"),
    "head-relation": ("relation", "relation", "model.head=reference"),
    "head-tagging": ("ner", "ner", "model.head=reference data.tagging=reference"),
    "head-questions": ("squad2", "squad2", "model.head=reference model.question.beam_size=4"),
    "head-questions-plain": (
        "squad1", "squad1", "model.head=reference model.question.joint=False "
        "model.question.answerable=False model.question.start_pooled=False",
    ),
    "modern": ("classification", "classification", "init={inputs}/pair-modern/model"),
    "lora": ("classification", "classification", "tune.method=lora"),
    "bitfit": ("classification", "classification", "tune.method=bitfit"),
    "fgm": ("classification", "classification", "loss.fgm=1.0"),
    "r_drop": ("classification", "classification", "dropout loss.r_drop=4.0"),
    "r_drop-ner": ("ner", "ner", "dropout loss.r_drop=4.0"),
    "r_drop-questions": ("squad2", "squad2", "dropout loss.r_drop=1.0"),
    "class-weights": (
        "classification", "classification",
        "loss.class_weights=balanced loss.label_smoothing=0.1",
    ),
    "decay-reference": (
        "classification", "classification",
        "optimizer.layerwise_decay=0.8 optimizer.layerwise_mode=reference "
        "optimizer.name=adam_reference optimizer.weight_decay=0.01",
    ),
    "defaults": (
        "classification", "classification",
        "dropout optimizer.layerwise_decay=None optimizer.learning_rate=None data.shapes=None",
    ),
    "freeze": (
        "classification", "classification",
        "loss.reduction=sum optimizer.freeze_layers=1 optimizer.freeze=('classifier.*bias',)",
    ),
    "accumulate": ("multiple_choice", "choice", "dropout train.accumulate=2"),
    "bf16": ("squad2", "squad2", "train.dtype=bfloat16 data.null_threshold=0.0"),
    "seeds": ("classification", "classification", "seeds=2 train.select=last"),
}  # fmt: skip


def _finetune(task: str, data: str, words: str) -> Step:
    overrides = list(_TUNING)
    for word in words.split():
        if word == "dropout":
            overrides = [flag for flag in overrides if "dropout" not in flag]
        else:
            overrides += _flags(word)
    config = f"--config={{root}}/configs/finetune.py:{task}"
    argv = ("finetune", config, f"--workdir={RUN}", *_last(overrides))
    return Step((*argv, f"--config.data.path={{inputs}}/{data}"))


def _finetuning(name: str, task: str, data: str, words: str) -> Scenario:
    first = _finetune(task, data, words)
    # The model that old code made, read by either.
    model = "{old}/run/seed-0/model" if "seeds=" in words else "{old}/run/model"
    dev = f"{{inputs}}/{data}/dev.jsonl"
    evaluate = Step(
        ("evaluate", f"--model={model}", f"--data={dev}", "--quiet",
         "--output={out}/scores.json", "--predictions={out}/evaluated.jsonl")
    )  # fmt: skip
    predict = Step(
        ("predict", f"--model={model}", f"--input={dev}", "--output={out}/answers.jsonl", "--quiet")
    )
    steps = (first, evaluate, predict, *_again(first))
    return Scenario(f"finetune/{name}", steps, name in _QUICK)


def _text() -> Scenario:
    """A tokenizer of each type, and rows."""
    vocab = [
        Step(("vocab", "--input", "{inputs}/text.txt", f"--type={kind}", f"--size={size}",
              f"--output={{out}}/{kind}"))
        for kind, size in (("wordpiece", 90), ("unigram", 70), ("bpe", 90))
    ]  # fmt: skip
    rows = [
        _prepare("{out}/wordpiece", f"{{out}}/rows{number}", *words)
        for number, words in enumerate(
            ([], ["--packing=reference"], ["--max_segments=1"], ["--split_sentences"])
        )
    ]
    return Scenario("text/rows", (*vocab, *rows), quick=True)


def _prepare(tokenizer: str, rows: str, *words: str) -> Step:
    text = "{inputs}/other.txt" if "other" in rows else "{inputs}/text.txt"
    return Step(
        ("prepare", "--input", text, f"--tokenizer={tokenizer}", f"--output={rows}",
         "--seq_len=16", "--workers=1", "--eval_fraction=0.2", *words)
    )  # fmt: skip


def _convert(name: str, *sources: str) -> Scenario:
    """Both ways, each from what old code wrote."""
    steps = []
    source = sources[0]
    for number, to in enumerate(("tf1", "hf")):
        target = f"converted-{to}"
        steps.append(
            Step(("convert", source, f"{{out}}/{target}", f"--to={to}", *sources[1 + number :][:1]))
        )
        source = f"{{old}}/{target}"
    return Scenario(f"convert/{name}", tuple(steps), name in _QUICK)


SCENARIOS = (
    _text(),
    *(_pretraining(name, words) for name, words in _PRETRAINING.items()),
    _stopped("pretrain", _pretrain(RUN, *_DROPOUT, bert=True)),
    _stopped("masked_lm", _pretrain(RUN, "--config.objective.name=masked_lm")),
    _stopped("accumulate", _pretrain(RUN, "--config.train.accumulate=2", bert=True)),
    *(_finetuning(name, *row) for name, row in _FINETUNING.items()),
    _stopped("finetune", _finetune(*_FINETUNING["ner"][:2], "dropout"), after=4),
    _stopped("questions", _finetune(*_FINETUNING["question_answering"]), after=2),
    _stopped("lora", _finetune(*_FINETUNING["lora"]), after=4),
    _convert("pair-tf1", "{inputs}/pair/model"),
    _convert("encoder", "{inputs}/pair/model/discriminator", "--encoder_only"),
)

# Made once by the old side, from text, for all scenarios.
INPUTS = (
    Step(("vocab", "--input", "{inputs}/text.txt", "--size=90", "--output={inputs}/tokenizer")),
    Step(("vocab", "--input", "{inputs}/other.txt", "--size=80", "--output={inputs}/other-words")),
    _prepare("{inputs}/tokenizer", "{inputs}/rows"),
    _prepare("{inputs}/tokenizer", "{inputs}/rows-single", "--max_segments=1"),
    _prepare("{inputs}/tokenizer", "{inputs}/rows-reference", "--packing=reference"),
    _prepare("{inputs}/other-words", "{inputs}/rows-other"),
    _pretrain("{inputs}/pair", bert=True),
    _pretrain("{inputs}/pair-modern"),
)
