"""THE loop. It knows no objective: pretraining and fine-tuning differ in what they hand to `fit`.

Order: evaluate → save → next batch → step. Metrics are fetched after the next step is dispatched,
so the device never waits for the host.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax

from electra_jax.config.schedule import Schedule
from electra_jax.errors import DivergedError, UserError
from electra_jax.objectives.base import Objective, Tree, total_loss
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
    key_words,
    make_eval_step,
)

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
        """Raises where the batch cannot be split as asked."""
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
    """What `fit` trains and where. `batches(first_example)` yields this process's share of every
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


class _Window:
    """Metric sums since the last logged row. Vectors stay on the device until `settle`."""

    def __init__(self, packing: Packing, coefficients: Mapping[str, float | Schedule]) -> None:
        self._packing = packing
        self._coefficients = coefficients
        self._pending: list[tuple[int, jax.Array]] = []
        self.total = np.zeros(packing.size)
        self.steps = 0

    def add(self, step: int, vector: jax.Array) -> None:
        """Keeps the vector of the step that made the run `step` steps long."""
        self._pending.append((step, vector))

    def settle(self, until: int) -> None:
        """Fetches what is pending up to step `until`. A loss or gradient that is not finite ends
        the run."""
        pending = [entry for entry in self._pending if entry[0] <= until]
        self._pending = self._pending[len(pending) :]
        good = pending[0][0] - 1 if pending else 0
        for step, vector in pending:
            value = np.asarray(vector, np.float64)
            sums = self._packing.unpack(value)
            finite = np.isfinite(total_loss(self._coefficients, sums))
            if not finite or not np.isfinite(sums["gradient_norm"][0]):
                raise DivergedError(
                    f"the {'gradient' if finite else 'loss'} is not finite at step {step} (steps "
                    f"{good + 1}–{step} are lost): lower optimizer.learning_rate, lengthen the "
                    "warm-up, or use train.dtype=float32. What was saved before stays; a run with "
                    "other values needs another --workdir (pretraining: --config.resume=THIS ONE "
                    "goes on from its last checkpoint)"
                )
            good = step
            self.total = self.total + value
            self.steps += 1

    def take(self) -> dict[str, tuple[Any, Any]]:
        """The window's sums, and a new window."""
        sums = self._packing.unpack(self.total)
        self.total, self.steps = np.zeros(self._packing.size), 0
        return sums


@dataclasses.dataclass
class _Clock:
    """Seconds of training (evaluation and saving left out), over restarts too."""

    seconds: float = 0.0
    _since: float = dataclasses.field(default_factory=time.perf_counter)
    _logged: float = 0.0

    def lap(self) -> float:
        """Adds what has passed; seconds since the last logged row."""
        now = time.perf_counter()
        self.seconds += now - self._since
        self._since = now
        return self.seconds - self._logged

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """What happens inside does not count."""
        self.lap()
        yield
        self._since = time.perf_counter()

    def logged(self) -> None:
        """The next lap is counted from here."""
        self._logged = self.seconds


def fit(run: Run) -> TrainState:
    """Trains until `settings.steps` and returns the final state.

    The same call on the same folder resumes bit for bit: batch k and every draw are functions of
    the step, and the metric window is in the checkpoint. Raises `UserError` on a non-finite loss
    and where a device's memory does not suffice; SystemExit(143) after a SIGTERM, saved.
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
    """One call of `fit`: what is compiled, restored and counted."""

    def __init__(self, run: Run) -> None:
        self.run, s = run, run.settings
        objective = run.objective
        abstract_params, _ = jax.eval_shape(objective.init, jax.random.key(0))
        self.optimizer = run.optimizer(abstract_params)
        self.abstract = jax.eval_shape(lambda: init_state(objective, self.optimizer, s.seed))
        self.shardings = state_shardings(run.mesh, self.abstract)
        self.batch_sharding = batch_sharding(run.mesh)
        whole = replicated(run.mesh)
        self.words = key_words(s.seed, "train")
        self.step = PackedStep(objective, self.optimizer, s.seed, s.accumulate)
        self.train_step = jax.jit(
            self.step, donate_argnums=(0,), out_shardings=(self.shardings, whole)
        )
        self.eval_step = jax.jit(make_eval_step(objective, s.seed), out_shardings=whole)
        self._compiled: dict[Any, Any] = {}  # by the batch's shapes
        self._told = 0  # bytes that a step was said to need
        self.checkpoints = Checkpoints(
            run.checkpoints or run.workdir / "checkpoints", keep=s.keep, keep_every=s.keep_every
        )

    def place(self, batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
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
            lambda words: init_state(run.objective, self.optimizer, s.seed, words),
            out_shardings=self.shardings,
        )(key_words(s.seed, "init"))
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
        self, state: TrainState, batch: Mapping[str, jax.Array], progress: Progress, clock: _Clock
    ) -> Any:
        """The step for batches of these shapes. Of a new one, the time to compile does not count,
        and the memory that it needs is told, if that is more than was said."""
        shape = tuple((name, value.shape) for name, value in sorted(batch.items()))
        if shape in self._compiled:
            return self._compiled[shape]
        with clock.pause():
            traced = self.train_step.trace(state, batch, self.words)
            rows = self.run.settings.batch_size // self.run.settings.accumulate
            need = memory.estimated(traced, self.abstract, self.shardings, self.run.mesh, rows=rows)
            if need.total > self._told:
                progress.note(f"{need}{', with larger batches' if self._told else ''}")
                self._told = need.total
            self._compiled[shape] = traced.lower().compile()
        return self._compiled[shape]

    def train(self, stop: Preemption) -> TrainState:
        """Evaluate → save → next batch → step, until the last."""
        run, s = self.run, self.run.settings
        start, state, meta = self.restore_or_start()
        batches = run.batches(start * s.batch_size)
        log = (
            MetricsLog(run.workdir, resume_step=start, tensorboard=run.tensorboard, wandb=run.wandb)
            if is_first()
            else NoLog()
        )
        progress = Progress(
            s.steps,
            start=start,
            quiet=run.quiet or not is_first(),
            figures=figures_of(run.objective.metrics),
        )
        window: _Window | None = None
        clock = _Clock(seconds=meta.get("seconds", 0.0))
        clock.logged()
        tokens = meta.get("tokens", 0.0)
        to_log: int | None = None

        def write_row(step: int) -> None:
            nonlocal tokens
            assert window is not None
            window.settle(step)
            passed = max(clock.lap(), 1e-9)
            sums = window.take()
            row = {"step": step, **run.objective.summarize(sums)}
            row["learning_rate"] = float(run.schedule(step - 1))
            row["gradient_norm"] = float(sums["gradient_norm"][0] / sums["gradient_norm"][1])
            seen = float(sums["tokens"][0])
            tokens += seen
            row["tokens_per_second"] = seen / passed
            row["seconds"] = clock.seconds
            clock.logged()
            log.write(row)
            progress.update(step, row)
            if run.watch is not None and (warning := run.watch(row, tokens)):
                progress.note(warning)

        def save(step: int, state: TrainState) -> None:
            clock.lap()
            kept = {
                "examples_seen": step * s.batch_size,
                "seconds": clock.seconds,
                "tokens": tokens,
                "window": None if window is None else [window.steps, window.total.tolist()],
            }
            if run.before_save is not None and is_first():
                run.before_save()
            self.checkpoints.save(step, state, kept)

        try:
            for step in range(start, s.steps + 1):
                # evaluate → save → next batch → step: nothing reads data before the save.
                last = step == s.steps
                stopping = stop.asked(step)
                evaluates = bool(run.evaluations or run.measure)
                evaluate_now = evaluates and (last or _due(step, s.eval_every))
                save_now = last or stopping or _due(step, s.checkpoint_every)
                if to_log is not None and (evaluate_now or save_now or step > to_log):
                    write_row(to_log)
                    to_log = None
                if step > start or start == 0:
                    if evaluate_now:
                        with clock.pause():
                            row = self.evaluate(state, step)
                            log.write(row)
                            progress.update(step, row)
                        if step > 0 and run.finished is not None and run.finished(row):
                            last = save_now = True
                    if save_now and step > 0:
                        with clock.pause():
                            if window is not None:
                                window.settle(step)
                            save(step, state)
                if step == start > 0 and run.finished is not None:
                    # stopped early, and then ended before what follows was done
                    last = last or run.finished({"step": step})
                if stopping:
                    self.checkpoints.wait()
                    progress.note(
                        f"SIGTERM: saved step {step} and stopped; the same command resumes"
                    )
                    raise SystemExit(TERMINATED)
                if last:
                    break
                batch = self.place(next(batches))
                compiled_step = self.compiled(state, batch, progress, clock)
                if window is None:
                    window = _Window(Packing(self.step.sums), run.objective.coefficients)
                    if meta.get("window"):
                        window.steps, window.total = meta["window"][0], np.array(meta["window"][1])
                state, vector = compiled_step(state, batch, self.words)
                window.add(step + 1, vector)
                if _due(step + 1, max(1, s.log_every // 10)):
                    progress.update(step + 1)
                if (step + 1) % s.log_every == 0 or step + 1 == s.steps:
                    if to_log is not None:  # the step just before
                        write_row(to_log)
                    to_log = step + 1
            self.checkpoints.wait()
            return state
        finally:
            self.checkpoints.close()
            log.close()
            progress.close()
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
                    state.params, state.frozen, self.place(batch), np.int32(first_row)
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


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
