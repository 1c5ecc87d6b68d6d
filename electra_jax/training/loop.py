"""The training loop, for any objective: pretraining and fine-tuning call `fit` with different
`Run`s.

Order: evaluate → save → next batch → step. Metrics are fetched after the next step is dispatched,
so the device never waits for the host.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

from electra_jax.errors import UserError
from electra_jax.objectives.base import Objective, Tree
from electra_jax.training import memory
from electra_jax.training.checkpoint.checkpoints import Checkpoints
from electra_jax.training.distributed import Preemption, is_first
from electra_jax.training.metrics_log import MetricsLog, NoLog
from electra_jax.training.progress import Progress, figures_of
from electra_jax.training.sharding import (
    LOGICAL_AXES,
    AnyMesh,
    batch_sharding,
    data_parallelism,
    replicated,
    state_shardings,
)
from electra_jax.training.step import (
    PackedStep,
    Packing,
    TrainState,
    init_state,
    make_eval_step,
    run_key_data,
)
from electra_jax.training.windows import Clock, Window

TERMINATED = 143


@dataclasses.dataclass(frozen=True)
class LoopSettings:
    """How long, how large, how often. Intervals are in steps; 0 means only at the end."""

    steps: int
    batch_size: int
    seed: int = 0
    accumulate: int = 1
    log_every: int = 100
    eval_every: int = 0
    checkpoint_every: int = 1000
    keep: int = 3
    keep_every: int | None = None

    def check(self, mesh: AnyMesh) -> None:
        """Raises `UserError` where the batch does not divide by the microbatches and devices."""
        parts = self.accumulate * data_parallelism(mesh)
        if self.batch_size % parts:
            raise UserError(
                f"train.batch_size={self.batch_size} is not divisible by "
                f"train.accumulate={self.accumulate} × "
                f"mesh.data·mesh.fsdp={data_parallelism(mesh)}: use a multiple of {parts}"
            )


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Held-out batches of one size, summed under the objective: `name` prefixes its metrics
    (`eval_`)."""

    batches: Callable[[], Iterator[Mapping[str, np.ndarray]]]
    batch_size: int
    name: str = "eval"


@dataclasses.dataclass
class Run:
    """The arguments of `fit`. `batches(first_example)` yields this process's share of every
    batch from there on.

    `initial(params, frozen)` replaces fresh parameters (a model to start from), and
    `initial_moments(opt_state)` the optimizer's fresh moments; `resume` is
    another run's folder to continue; `watch(row, tokens)` may return a warning to show.
    `measure(state, step)` is an evaluation that needs the host (decoding, official scores): its
    numbers join the evaluation row. `finished(row)` ends the run early after such a row.
    `checkpoints` is where they are, if not in `workdir`; `before_save` runs before each of them.
    """

    objective: Objective
    optimizer: Callable[[Tree], optax.GradientTransformation]
    schedule: Callable[[Any], jax.Array]
    settings: LoopSettings
    batches: Callable[[int], Iterator[Mapping[str, np.ndarray]]]
    mesh: jax.sharding.Mesh
    workdir: Path
    evaluations: Sequence[Evaluation] = ()
    initial: Callable[[Tree, Tree], tuple[Tree, Tree]] | None = None
    initial_moments: Callable[[Tree], Tree] | None = None
    resume: Any = None
    checkpoints: Any = None
    before_save: Callable[[], None] | None = None
    watch: Callable[[Mapping[str, float], float], str | None] | None = None
    measure: Callable[[TrainState, int], Mapping[str, float]] | None = None
    finished: Callable[[Mapping[str, float]], bool] | None = None
    tensorboard: bool = True
    wandb: Mapping[str, Any] | None = None
    quiet: bool = False


def fit(run: Run) -> TrainState:
    """Trains until `settings.steps` and returns the final state.

    The same call on the same folder resumes bit for bit: batch k and every random number are
    functions of the step, and the metric window is in the checkpoint. Raises `UserError` on a
    non-finite loss and where a device's memory does not suffice; SystemExit(143) after a SIGTERM,
    saved.
    """
    s = run.settings
    s.check(run.mesh)
    rules = LOGICAL_AXES
    try:
        with jax.set_mesh(run.mesh), nn.logical_axis_rules(rules), Preemption() as stop:
            return _Fit(run).train(stop)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise UserError(memory.out_of_memory(error)) from error
        raise


class _Fit:
    """One call of `fit`: compiled steps, shardings, checkpoints."""

    def __init__(self, run: Run) -> None:
        self.run, s = run, run.settings
        objective = run.objective
        abstract_params, _ = jax.eval_shape(objective.init, jax.random.key(0))
        self.optimizer = run.optimizer(abstract_params)
        self.abstract = jax.eval_shape(lambda: init_state(objective, self.optimizer, s.seed))
        self.shardings = state_shardings(run.mesh, self.abstract)
        self.batch_sharding = batch_sharding(run.mesh)
        whole = replicated(run.mesh)
        self.key_data = run_key_data(s.seed, "train")
        self.step = PackedStep(objective, self.optimizer, s.seed, s.accumulate)
        self.train_step = jax.jit(
            self.step, donate_argnums=(0,), out_shardings=(self.shardings, whole)
        )
        self.eval_step = jax.jit(make_eval_step(objective, s.seed), out_shardings=whole)
        self._compiled: dict[Any, Any] = {}  # by the batch's shapes
        self._logged_bytes = 0  # the largest estimate that was logged
        self.checkpoints = Checkpoints(
            run.checkpoints or run.workdir / "checkpoints", keep=s.keep, keep_every=s.keep_every
        )

    def to_devices(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
        """This process's share of a batch as global arrays."""
        return {
            name: jax.make_array_from_process_local_data(self.batch_sharding, value)
            for name, value in batch.items()
        }

    def restore_or_start(self) -> tuple[int, TrainState, dict[str, Any]]:
        """(step, state, meta), in this order of preference."""
        run, s = self.run, self.run.settings
        abstract = jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            self.abstract,
            self.shardings,
        )
        # 1. the run's own folder
        if (found := self.checkpoints.restore(abstract)) is not None:
            return found
        # 2. another run, continued
        if run.resume is not None:
            found = Checkpoints(run.resume / "checkpoints").restore(abstract)
            if found is None:
                raise UserError(
                    f"resume={run.resume}: no whole checkpoint in {run.resume}/checkpoints"
                )
            return found[0], found[1], {**found[2], "window": None}
        # 3. a model to start from; 4. scratch
        state = jax.jit(
            lambda key_data: init_state(run.objective, self.optimizer, s.seed, key_data),
            out_shardings=self.shardings,
        )(run_key_data(s.seed, "init"))
        if run.initial is not None:
            params, frozen = run.initial(state.params, state.frozen)
            params = jax.device_put(params, self.shardings.params)
            frozen = jax.device_put(frozen, self.shardings.frozen)
            opt_state = state.opt_state
            if run.initial_moments is not None:
                moments = run.initial_moments(opt_state)
                opt_state = jax.device_put(moments, self.shardings.opt_state)
            state = TrainState(state.step, params, opt_state, frozen)
        return 0, state, {}

    def compiled(
        self, state: TrainState, batch: Mapping[str, jax.Array], progress: Progress, clock: Clock
    ) -> Any:
        """The step for batches of these shapes. A new shape is compiled (excluded from throughput),
        and its estimated memory is logged if it exceeds the last logged value."""
        shape = tuple((name, value.shape) for name, value in sorted(batch.items()))
        if shape in self._compiled:
            return self._compiled[shape]
        with clock.pause():
            traced = self.train_step.trace(state, batch, self.key_data)
            rows = self.run.settings.batch_size // self.run.settings.accumulate
            need = memory.estimated(traced, self.abstract, self.shardings, self.run.mesh, rows=rows)
            if need.total > self._logged_bytes:
                progress.note(f"{need}{', with larger batches' if self._logged_bytes else ''}")
                self._logged_bytes = need.total
            self._compiled[shape] = traced.lower().compile()
        return self._compiled[shape]

    def train(self, stop: Preemption) -> TrainState:
        """Evaluate → save → next batch → step, until the last."""
        run, s = self.run, self.run.settings
        start, state, meta = self.restore_or_start()
        batches = run.batches(start * s.batch_size)
        book = _Logbook(run, start, meta)
        try:
            for step in range(start, s.steps + 1):
                # evaluate → save → next batch → step: nothing reads data before the save.
                last = step == s.steps
                stopping = stop.requested(step)
                evaluates = bool(run.evaluations or run.measure)
                evaluate_now = evaluates and (last or _due(step, s.eval_every))
                save_now = last or stopping or _due(step, s.checkpoint_every)
                if evaluate_now or save_now or book.row_before(step):
                    book.write_row()
                if step > start or start == 0:
                    if evaluate_now:
                        with book.clock.pause():
                            row = self.evaluate(state, step)
                            book.show(step, row)
                        if step > 0 and run.finished is not None and run.finished(row):
                            last = save_now = True
                    if save_now and step > 0:
                        with book.clock.pause():
                            metadata = book.metadata(step)
                            if run.before_save is not None and is_first():
                                run.before_save()
                            self.checkpoints.save(step, state, metadata)
                if step == start > 0 and run.finished is not None:
                    # It had stopped early, and ended before its results were written.
                    last = last or run.finished({"step": step})
                if stopping:
                    self.checkpoints.wait()
                    book.progress.note(
                        f"SIGTERM: saved step {step} and stopped; the same command resumes"
                    )
                    raise SystemExit(TERMINATED)
                if last:
                    break
                batch = self.to_devices(next(batches))
                compiled_step = self.compiled(state, batch, book.progress, book.clock)
                if book.window is None:
                    book.open_window(Packing(self.step.sums))
                state, vector = compiled_step(state, batch, self.key_data)
                book.add(step + 1, vector)
            self.checkpoints.wait()
            return state
        finally:
            self.checkpoints.close()
            book.close()
            if hasattr(batches, "close"):
                batches.close()

    def evaluate(self, state: TrainState, step: int) -> dict[str, float]:
        """One row of held-out metrics, each prefixed by its evaluation's name."""
        result: dict[str, float] = {"step": step}
        for evaluation in self.run.evaluations:
            totals: Any = None
            first_row = 0
            for batch in evaluation.batches():
                sums = self.eval_step(
                    state.params, state.frozen, self.to_devices(batch), np.int32(first_row)
                )
                first_row += evaluation.batch_size
                host = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
                totals = host if totals is None else jax.tree.map(np.add, totals, host)
            if totals is not None:
                metrics = self.run.objective.summarize(totals)
                result |= {f"{evaluation.name}_{k}": v for k, v in metrics.items()}
        if self.run.measure is not None:
            result |= self.run.measure(state, step)
        return result


class _Logbook:
    """The records of one call of `fit`: rows of metrics, the progress line, and the metadata of
    checkpoints. `meta`: the metadata of the checkpoint of step `start`."""

    def __init__(self, run: Run, start: int, meta: Mapping[str, Any]) -> None:
        self.run = run
        self.log = (
            MetricsLog(run.workdir, resume_step=start, tensorboard=run.tensorboard, wandb=run.wandb)
            if is_first()
            else NoLog()
        )
        self.progress = Progress(
            run.settings.steps,
            start=start,
            quiet=run.quiet or not is_first(),
            figures=figures_of(run.objective.metrics),
        )
        self.window: Window | None = None
        self.clock = Clock(seconds=meta.get("seconds", 0.0))
        self.clock.logged()
        self.tokens = meta.get("tokens", 0.0)
        self._restored = meta.get("window")
        self._to_log: int | None = None  # the step whose row is still to be written

    def open_window(self, packing: Packing) -> None:
        """The first window, once the traced step has the names of its sums."""
        self.window = Window(packing, self.run.objective.coefficients)
        if self._restored:
            self.window.steps, self.window.total = self._restored[0], np.array(self._restored[1])

    def add(self, step: int, vector: jax.Array) -> None:
        """Keeps the sums of update number `step`, counted from 1. A row that is due is written
        later, when the next step has been dispatched."""
        s = self.run.settings
        assert self.window is not None
        self.window.add(step, vector)
        if _due(step, max(1, s.log_every // 10)):
            self.progress.update(step)
        if step % s.log_every == 0 or step == s.steps:
            self.write_row()  # of the step just before
            self._to_log = step

    def row_before(self, step: int) -> bool:
        """Whether the row of an earlier step has not been written yet."""
        return self._to_log is not None and step > self._to_log

    def write_row(self) -> None:
        """Writes the row of training metrics that is due, if any."""
        step, self._to_log = self._to_log, None
        if step is None:
            return
        assert self.window is not None
        self.window.settle(step)
        passed = max(self.clock.lap(), 1e-9)
        sums = self.window.take()
        row = {"step": step, **self.run.objective.summarize(sums)}
        row["learning_rate"] = float(self.run.schedule(step - 1))
        row["gradient_norm"] = float(sums["gradient_norm"][0] / sums["gradient_norm"][1])
        seen = float(sums["tokens"][0])
        self.tokens += seen
        row["tokens_per_second"] = seen / passed
        row["seconds"] = self.clock.seconds
        self.clock.logged()
        self.show(step, row)
        if self.run.watch is not None and (warning := self.run.watch(row, self.tokens)):
            self.progress.note(warning)

    def show(self, step: int, row: Mapping[str, float]) -> None:
        """Writes a row of metrics to the file and the terminal."""
        self.log.write(row)
        self.progress.update(step, row)

    def metadata(self, step: int) -> dict[str, Any]:
        """The metadata of the checkpoint of this step, with all sums up to it fetched."""
        if self.window is not None:
            self.window.settle(step)
        self.clock.lap()
        window = self.window
        return {
            "examples_seen": step * self.run.settings.batch_size,
            "seconds": self.clock.seconds,
            "tokens": self.tokens,
            "window": None if window is None else [window.steps, window.total.tolist()],
        }

    def close(self) -> None:
        """Ends the log and the line of progress."""
        self.log.close()
        self.progress.close()


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
