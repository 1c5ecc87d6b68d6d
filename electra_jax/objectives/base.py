"""The interface of an objective to the training loop, to a pretraining run and to its reports.

**To write a new pretraining objective** (in the package: one file here and one row in `table.py`;
in a file of your own: `--config.objective.name=my_file.py:MyObjective`), subclass
`PretrainingObjective`, or `pair.PairObjective` where a generator corrupts the rows for a
discriminator, and give:

    Settings          a frozen dataclass of `fields.field`s: the keys of `--config.objective.*`
    from_config       the objective from its settings and the run's shape
    init              fresh parameters; what is only read (teachers) apart from what is trained
    coefficients      the terms of the loss and their weights (numbers or schedules)
    weights           the denominator of each term, from the batch and the step alone
    loss              each term and metric as (sum, weight)
    summarize, metrics  named numbers from the sums, and how people are shown them
    networks          what is exported, as model folders
    flops_per_token   for --dry_run and the model FLOPs utilisation

All of these are required (a class that lacks one is refused by name); `parameter_groups`, `parts`,
`explain`, `warm_start`, `alarm` and `report_blocks` have defaults. Random numbers come from `Draws`
alone, and losses are sums over tokens or rows: then accumulation, meshes and resuming need nothing
more.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax

from electra_jax.config import fields
from electra_jax.config.schedule import Schedule, final_value
from electra_jax.errors import UserError
from electra_jax.objectives.presentation import Metric
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.row_structure import SpecialIds

Tree = Any
Batch = Mapping[str, jax.Array]
Sums = dict[str, tuple[jax.Array, jax.Array]]

# Added to every denominator, as the reference does, so that an empty batch has loss 0.
DENOMINATOR_EPSILON = 1e-6
# Where the step puts the value of a scheduled coefficient among the sums.
COEFFICIENT = "coefficient/"


class ParameterGroup(NamedTuple):
    """The parameters in whose name the regular expression `pattern` occurs (of several groups, the
    first that matches counts).

    `learning_rate` multiplies the run's; `clip_norm` is the largest norm of the group's own
    gradient (None: optimizer.clip_norm, 0: not clipped); `frozen` ones are not trained;
    `weight_decay` is in place of the run's.
    """

    name: str
    pattern: str
    learning_rate: float = 1.0
    clip_norm: float | None = None
    frozen: bool = False
    weight_decay: float | None = None


class TrainedPart(NamedTuple):
    """A network among the parameters, whose optimizer can have settings of its own: those in whose
    name the regular expression `pattern` occurs (of several parts, the first that matches counts).

    `terms` of the loss train it; `sums` are the metrics measured with them. Under
    `optimizer.order=sequential` the parts are updated in their order.
    """

    name: str
    pattern: str
    terms: tuple[str, ...]
    sums: tuple[str, ...] = ()


class NetworkOf(NamedTuple):
    """One network as a model folder holds it: a `kind` that `interop.save` writes, its shape, its
    parameters, and further fields of its config.json."""

    kind: str
    config: Any
    params: Tree
    settings: Mapping[str, Any] = {}


class Alarm(NamedTuple):
    """A metric that must have reached `at_least` once the warm-up is well over, or from the share
    `after_share` of the run on.

    `key` is a key of a row: held-out metrics begin with `eval_`. `message` is formatted with
    `value` (the metric) and `tokens` (seen so far).
    """

    key: str
    at_least: float
    message: str
    after_share: float | None = None


class Objective(abc.ABC):
    """A loss to train: all that the step and the loop use.

    total = Σ coefficient · sum / (weight + 1e-6) over the terms that `coefficients` names, every
    weight being the whole batch's however it is split.
    """

    metrics: ClassVar[tuple[Metric, ...]] = ()

    @property
    @abc.abstractmethod
    def coefficients(self) -> Mapping[str, float | Schedule]:
        """{term: its weight in the total}."""

    @abc.abstractmethod
    def init(self, key: jax.Array) -> tuple[Tree, Tree]:
        """(params, frozen): what is trained, and what is only read (teachers, fixed generators)."""

    @abc.abstractmethod
    def weights(self, batch: Batch, step: jax.Array | None = None) -> dict[str, jax.Array]:
        """The denominator of each term for a batch, float32 [], without running the model; `step`
        int32 [] for what is scheduled, None in evaluation."""

    @abc.abstractmethod
    def loss(
        self, params: Tree, frozen: Tree, batch: Batch, draws: Draws, train: bool
    ) -> tuple[Sums, Sums]:
        """({term: (sum, weight)}, {metric: (sum, weight)}) of a batch or a part of one.

        The metric `tokens`, (tokens that count, 1), is required: throughput is counted by it.
        """

    @abc.abstractmethod
    def summarize(self, sums: Mapping[str, tuple[Any, Any]]) -> dict[str, float]:
        """Named numbers from summed terms and metrics (on the host); `loss` is among them."""

    def explain(self) -> Sequence[str]:
        """Lines that are printed once when a run begins: of what `loss` is the sum."""
        titles = {metric.key: metric.title for metric in self.metrics}
        terms = [
            titles.get(name, name)
            if value == 1
            else f"{Schedule.parse(value)} × {titles.get(name, name)}"
            for name, value in self.coefficients.items()
        ]
        return [f"loss = {' + '.join(terms)}"] if len(terms) > 1 else []

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Parameters that learn differently; none: all learn alike."""
        return ()

    def parts(self) -> Sequence[TrainedPart]:
        """The networks that can have an optimizer each; none where there is one network."""
        return ()

    @property
    def in_turn(self) -> bool:
        """Whether the update of one part leaves the loss of the others as it is, but for what they
        are meant to read of it: then parts can be updated one after the other."""
        return False

    def kept(self, params: Tree, frozen: Tree, batch: Batch, draws: Draws) -> dict[str, jax.Array]:
        """What later parts of a sequential update take from before the first: fields of the batch
        for `loss`."""
        return {}


@dataclasses.dataclass(frozen=True)
class RunShape:
    """What an objective can know of a pretraining run when it is built.

    `config` is the whole resolved configuration (`model`, `train.dtype`, `init`, …), `rows` the
    name of the rows folder for messages, `max_segments` the largest number of documents in a row,
    `token_counts()` how often the training rows hold each token, int64 [vocab_size],
    `word_starts()` whether a token begins a word, bool [vocab_size].
    """

    config: Mapping[str, Any]
    rows: str
    vocab_size: int
    special: SpecialIds
    seq_len: int
    max_segments: int
    steps: int
    tokens_per_step: int
    token_counts: Callable[[], Any] = lambda: None
    word_starts: Callable[[], Any] = lambda: None

    def check_positions(self, positions: int) -> None:
        """Raises `UserError` where rows are longer than a network with so many positions takes."""
        if self.seq_len > positions:
            raise UserError(
                f"the rows in {self.rows} are {self.seq_len} tokens long and "
                f"model.max_position_embeddings is {positions}: raise it, or prepare shorter rows"
            )


@dataclasses.dataclass(frozen=True)
class NoSettings:
    """The settings of an objective that has none."""


class PretrainingObjective(Objective):
    """An objective that a configuration can name (see the module's text)."""

    Settings: ClassVar[type[Any]] = NoSettings
    # Keys that older versions recorded for this objective and never read.
    unread: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abc.abstractmethod
    def from_config(cls, settings: Any, run: RunShape) -> PretrainingObjective:
        """The objective of a run; `settings` is a `Settings` whose schedules know the run's length.

        Raises `UserError` on what does not fit.
        """

    @abc.abstractmethod
    def networks(self, params: Tree) -> dict[str, NetworkOf]:
        """{name: network}: what is exported, to model/NAME each. It only rearranges `params`,
        whose leaves may be shapes."""

    @abc.abstractmethod
    def flops_per_token(self, seq_len: int) -> float:
        """Floating-point operations of training on one token (`flops.py`, model convention)."""

    @classmethod
    def read_settings(cls, values: Mapping[str, Any], run: RunShape | None = None) -> Any:
        """`Settings` from `objective.*`; a key of another objective is a `UserError`. With `run`
        every schedule in it is resolved."""
        own = {k: v for k, v in values.items() if k != "name" and k not in cls.unread}
        settings = fields.read(cls.Settings, own, "objective", complete=run is not None)
        if run is None:
            return settings
        changes = {}
        for key in fields.scheduled(cls.Settings):
            where, value = f"objective.{key}", getattr(settings, key)
            schedule = Schedule.parse(value, where).over(run.steps, run.tokens_per_step, where)
            if isinstance(value, str | Schedule):  # a plain number stays what it is
                changes[key] = schedule
        return dataclasses.replace(settings, **changes) if changes else settings

    def shapes(self) -> dict[str, Any]:
        """The networks' configurations for config.json; a resumed run must have the same."""
        params = jax.eval_shape(lambda key: self.init(key)[0], jax.random.key(0))
        return {
            name: dataclasses.asdict(network.config)
            for name, network in self.networks(params).items()
        }

    def absent_shapes(self) -> dict[str, Any]:
        """{dotted key of `shapes`: its value where an older run's config.json lacks it}."""
        params = jax.eval_shape(lambda key: self.init(key)[0], jax.random.key(0))
        found: dict[str, Any] = {}
        for name, network in self.networks(params).items():
            found |= fields.absent_values(type(network.config), name)
        return found

    def warm_start(
        self, init: str | None, init_generator: str | None, fresh: Tree, tokenizer_folder: Any
    ) -> tuple[Tree, list[str], int | None]:
        """`fresh` with the weights of other models in place: (tree, lines for the log, the step
        of `init` or None)."""
        raise UserError(
            f"init: {type(self).__name__} cannot start from another model; leave init and "
            "init_generator unset"
        )

    def alarm(self, watch: Mapping[str, Any]) -> Alarm | Sequence[Alarm] | None:
        """The metric or metrics by which the watch-dog judges whether the run learns; `watch` is
        the group of the configuration."""
        return None

    def report_blocks(self, held_out: Any) -> list[dict[str, Any]]:
        """Blocks of the report beside the curves; `held_out` are `Rows`."""
        return []


def total_loss(coefficients: Mapping[str, float | Schedule], sums: Mapping[str, Any]) -> float:
    """Σ coefficient · sum / (weight + 1e-6) on the host. A scheduled coefficient is its mean over
    what was summed; evaluation has its final value."""
    total = 0.0
    for name, coefficient in coefficients.items():
        recorded = sums.get(COEFFICIENT + name)
        if recorded is not None:
            coefficient = float(recorded[0]) / float(recorded[1])
        elif isinstance(coefficient, Schedule):
            coefficient = final_value(coefficient)
        total += coefficient * float(sums[name][0]) / (float(sums[name][1]) + DENOMINATOR_EPSILON)
    return float(total)
