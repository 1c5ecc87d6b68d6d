"""The fields of a fine-tuning configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from electra_jax.config.fields import field, field_like, read
from electra_jax.config.model import ATTENTION, POOLINGS, REMAT
from electra_jax.config.schedule import Scheduled
from electra_jax.config.training import BACKENDS, MeshSettings, OptimizerSettings, TrainSettings
from electra_jax.errors import UserError

HEADS = ("huggingface", "reference")
METHODS = ("full", "bitfit", "lora")
LAYERWISE_MODES = ("paper", "reference")


@dataclasses.dataclass(frozen=True)
class TaskDataSettings:
    """`data.*`: the files of a task, and how they are encoded and decoded."""

    path: str | None = field(None, "Folder with train.* and dev.*, training file, or tfds:NAME.")
    eval_path: str | None = field(None, "Evaluation file; None: dev.* of the folder.")
    test_path: str | None = field(None, "File that is scored once, at the end.")
    columns: Mapping[str, str | None] = field(
        dict,
        "Names of the columns in the files, by role, where they differ from the expected ones.",
    )
    backend: str = field(
        "auto",
        "Reader of the batches: tf.data (auto: where TensorFlow is installed) or a NumPy thread.",
        choices=BACKENDS,
        when_absent="numpy",
    )
    header: str = field(
        "yes",
        "Whether the first line of a .tsv or .csv names its columns; no: data.columns.* are "
        "numbers, from 0.",
        choices=("yes", "no"),
        when_absent="yes",
    )
    missing_labels: str = field(
        "skip",
        "Examples whose label says that there is none (-1, -, nan, -100, empty): left out with a "
        "warning, an error, or a class of that name.",
        choices=("skip", "fail", "keep"),
        when_absent="keep",
    )
    train_examples: int | None = field(
        None,
        "Number of examples to train on, the first of the file; None: all.",
        unit="examples",
        minimum=1,
    )
    max_length: int | None = field(
        None, "Longest feature; None: the task's, or the model's.", unit="tokens", minimum=8
    )
    shapes: int | None = field(
        None, "Most batch lengths to compile; None: as many as save time.", minimum=1
    )
    double_unordered: bool | None = field(
        None, "Train on pairs both ways round; None: where the task's pairs have no order."
    )
    null_threshold: float | None = field(
        None, "Null odds above which a question has no answer; None: the head's.", unit="log odds"
    )
    threshold: float = field(
        0.5,
        "Probability above which a label of several holds.",
        unit="probability",
        above=0,
        below=1,
    )
    tagging: str = field(
        "standard",
        "How tagged words are tokenized; reference: as the original code.",
        choices=("standard", "reference"),
    )
    doc_stride: int = field(128, "Distance between the windows of a long context.", unit="tokens")
    max_query_length: int = field(64, "Longest question.", unit="tokens", minimum=1)
    max_answer_length: int = field(30, "Longest answer.", unit="tokens", minimum=1)
    n_best: int = field(20, "Best starts and ends that are combined to answers.", minimum=1)
    on_bad_answer: str = field(
        "fail",
        "A training answer that is not where its offset says: end the run, or skip it.",
        choices=("fail", "skip"),
    )


@dataclasses.dataclass(frozen=True)
class QuestionSettings:
    """`model.question.*`: parts of the reference's question-answering head
    (`configure_finetuning.py`)."""

    joint: bool = field(True, "Predict the end given the start.")
    answerable: bool = field(True, "Predict whether there is an answer.")
    start_pooled: bool = field(True, "Answerability sees the start's hidden state.")
    beam_size: int = field(20, "Starts that are followed to their ends.")


@dataclasses.dataclass(frozen=True)
class TunedModelSettings:
    """`model.*`: the head, and what differs from the model that a run starts from."""

    head: str = field("huggingface", "Whose head a task has.", choices=HEADS)
    classifier_dropout: float | None = field(
        None, "Dropout before the head; None: hidden_dropout_prob.", minimum=0, below=1
    )
    hidden_dropout_prob: float | None = field(
        None, "Dropout of hidden states; None: the model's.", minimum=0, below=1
    )
    attention_probs_dropout_prob: float | None = field(
        None, "Dropout of attention probabilities; None: the model's.", minimum=0, below=1
    )
    pooling: str | None = field(
        None,
        "State that a head over whole texts reads: [CLS]'s, or (modern blocks) the mean of all; "
        "None: the model's, [CLS] where it has no head.",
        choices=POOLINGS,
        when_absent=None,
    )
    scan_layers: bool | None = field(
        None, "One compiled layer in a loop, or unrolled; None: the model's."
    )
    remat: str | None = field(
        None, "Activations that the backward pass recomputes; None: the model's.", choices=REMAT
    )
    attention: str | None = field(
        None, "Implementation of attention; None: the model's.", choices=ATTENTION
    )
    question: QuestionSettings = field(QuestionSettings, "The reference's question head.")


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """`loss.*`: the loss. `class_weights`, resolved, is a tuple of one number a label."""

    reduction: str = field(
        "mean",
        "Mean over predictions, or the reference's sum.",
        choices=("mean", "sum"),
    )
    label_smoothing: float = field(
        0.0, "Share of the target spread over all classes.", minimum=0, below=1
    )
    class_weights: Any = field(
        None, "Weight of each label in the loss (of several labels a text: of each binary loss), "
        "or 'balanced'; None: 1."
    )  # fmt: skip
    answerable_weight: float = field(0.5, "Weight of the reference's answerability loss.")
    r_drop: float = field(0.0, "Weight alpha of R-Drop (Wu et al. 2021); 0: off.", minimum=0)
    fgm: float = field(
        0.0,
        "Length of the adversarial step on each row's embeddings (Miyato et al. 2017); 0: off.",
        minimum=0,
    )

    @property
    def plain(self) -> bool:
        """Whether the loss is what a kind's `constant_loss` can be compared with."""
        changed = self.label_smoothing or self.class_weights or self.r_drop or self.fgm
        return not changed and self.reduction == "mean"


@dataclasses.dataclass(frozen=True)
class TuneSettings:
    """`tune.*`: which parameters are trained."""

    method: str = field(
        "full", "All parameters, biases alone, or low-rank updates.", choices=METHODS
    )
    rank: int = field(3, "Rank of a matrix's update (lora).", minimum=1)
    alpha: float = field(6.0, "The update is scaled by alpha / rank (lora).")
    targets: str = field(
        "kernel",
        "Regular expression over the names of matrices to update (lora); Hu et al.'s are "
        "self/(query|value)/kernel.",
    )
    embedding_rank: int = field(
        3, "Rank of the word embeddings' update; 0: none (lora).", minimum=0
    )


@dataclasses.dataclass(frozen=True)
class FinetuneOptimizer(OptimizerSettings):
    """`optimizer.*` of fine-tuning."""

    learning_rate: Scheduled | None = field(
        None,
        "Peak learning rate, or a schedule in place of `schedule`; None: by the encoder's width "
        "and tune.method.",
        minimum=0,
    )
    layerwise_decay: float | None = field(
        None,
        "Factor of the learning rate from layer to layer, downwards; None: by the encoder's "
        "width and tune.method.",
        above=0,
        maximum=1,
    )
    layerwise_mode: str = field(
        "paper",
        "Where layer-wise decay begins; reference: one layer further up.",
        choices=LAYERWISE_MODES,
    )
    freeze_layers: int = field(
        0,
        "Number of lowest layers that, with the embeddings, are not trained.",
        unit="layers",
        minimum=0,
    )
    warmup_fraction: float | None = field_like(OptimizerSettings, "warmup_fraction", 0.1)


@dataclasses.dataclass(frozen=True)
class FinetuneTrain(TrainSettings):
    """`train.*` of fine-tuning."""

    epochs: float | None = field_like(TrainSettings, "epochs", 3.0)
    min_steps: int = field(
        200, "Shortest run, where its length is in epochs.", unit="steps", minimum=0
    )
    eval_batch_size: int = field(64, "Examples of an evaluation batch.", unit="examples")
    eval_every: int | None = field(
        None,
        "Interval between evaluations; None: each epoch, at most ten times.",
        unit="steps",
        minimum=1,
    )
    select: str = field(
        "best",
        "Evaluated step that is exported: best by the task's metric, or last.",
        choices=("best", "last"),
    )
    patience: int = field(
        0, "Evaluations without improvement after which the run ends; 0: never.", minimum=0
    )
    restarts: int = field(
        2, "Restarts, each with another seed, of a run that did not learn.", minimum=0
    )
    checkpoint_every: int | None = field(
        None, "Interval between checkpoints; None: as evaluations.", unit="steps"
    )
    keep: int = field_like(TrainSettings, "keep", 1)


@dataclasses.dataclass(frozen=True)
class FinetuneSettings:
    """A fine-tuning configuration."""

    task: str = field(
        "classification", "Task of electra_jax/finetuning/task_table.py, or FILE.py:CLASS."
    )
    init: str | None = field(
        None, "Model to start from: model folder, run, TF1 checkpoint or Hub id."
    )
    init_cased: bool | None = field(
        None,
        "Whether case is kept where init's vocabulary has no settings; None: as its tokens show.",
        when_absent=False,
    )
    seeds: int = field(1, "Runs, of train.seed and the seeds after it.", minimum=1)
    data: TaskDataSettings = field(TaskDataSettings, "The files.")
    model: TunedModelSettings = field(TunedModelSettings, "The network.")
    loss: LossSettings = field(LossSettings, "The loss.")
    tune: TuneSettings = field(TuneSettings, "The trained parameters.")
    optimizer: FinetuneOptimizer = field(FinetuneOptimizer, "The optimizer.")
    train: FinetuneTrain = field(FinetuneTrain, "The run.")
    kind: Mapping[str, Any] = field(
        dict, "Fields of the task's kind, where it has some (its `Settings`).", when_absent={}
    )
    mesh: MeshSettings = field(MeshSettings, "The devices.")


def read_finetune(config: Mapping[str, Any]) -> FinetuneSettings:
    """A resolved fine-tuning configuration as typed settings. Raises `UserError` on a field that
    is missing, unknown or wrong."""
    if "objective" in config:
        raise UserError(
            "this configuration is one of pretrain (it has an objective): give finetune one of its "
            "own, such as finetune:sst2"
        )
    return read(FinetuneSettings, config, "", complete=True)
