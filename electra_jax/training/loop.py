"""The training loop, for any objective: pretraining and fine-tuning call `fit` with different
`Run`s.

Order: evaluate → save → next batch → step. Metrics are fetched after the next step is dispatched,
so the device never waits for the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from electra_jax.errors import UserError
from electra_jax.training import memory
from electra_jax.training.checkpoint.checkpoints import Checkpoints
from electra_jax.training.checkpoint.save_timer import SaveTimer
from electra_jax.training.distributed import is_first
from electra_jax.training.logbook import Logbook, due
from electra_jax.training.progress import Progress
from electra_jax.training.run import Run
from electra_jax.training.sharding import (
    LOGICAL_AXES,
    batch_sharding,
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
from electra_jax.training.stopping import INTERRUPTED, StopSignals
from electra_jax.training.windows import Clock


def fit(run: Run) -> TrainState:
    """Trains until `settings.steps` and returns the final state.

    The same call on the same folder resumes bit for bit: batch k and every random number are
    functions of the step, and the metric window is in the checkpoint. Raises `UserError` on a
    non-finite loss and where a device's memory does not suffice. A signal stops it after saving:
    SIGTERM raises SystemExit(143), Ctrl-C KeyboardInterrupt (SystemExit(130) in several processes).
    """
    s = run.settings
    s.check(run.mesh)
    rules = LOGICAL_AXES
    try:
        with jax.set_mesh(run.mesh), nn.logical_axis_rules(rules), StopSignals() as stop:
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
        self.step = PackedStep(objective, self.optimizer, s.seed, s.accumulate, s.sequential)
        self.train_step = jax.jit(
            self.step, donate_argnums=(0,), out_shardings=(self.shardings, whole)
        )
        self.eval_step = jax.jit(make_eval_step(objective, s.seed), out_shardings=whole)
        self._compiled: dict[Any, Any] = {}  # by the batch's shapes
        self._evaluated = False
        self.origin = "begins at step 0: there is no checkpoint yet"
        self._imports_later = False
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
            self.origin = f"goes on from step {found[0]:,} ({self.checkpoints.folder}/{found[0]})"
            return found
        # 2. another run, continued
        if run.resume is not None:
            found = Checkpoints(run.resume / "checkpoints").restore(abstract)
            if found is None:
                raise UserError(
                    f"resume={run.resume}: no whole checkpoint in {run.resume}/checkpoints"
                )
            self.origin = f"continues {run.resume} from its step {found[0]:,}"
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
        the largest one first, and its memory is logged if it exceeds the last logged value."""
        shape = _shape(batch)
        if shape in self._compiled:
            return self._compiled[shape]
        with clock.pause(), progress.pause():
            if not self._compiled and self.run.largest is not None:
                self._compile(state, self.to_devices(self.run.largest()), progress)
            if shape not in self._compiled:
                self._compile(state, batch, progress)
        return self._compiled[shape]

    def _compile(
        self, state: TrainState, batch: Mapping[str, jax.Array], progress: Progress
    ) -> None:
        traced = self.train_step.trace(state, batch, self.key_data)
        program = traced.lower().compile()
        self._compiled[_shape(batch)] = program
        s, mesh = self.run.settings, self.run.mesh
        need = memory.compiled(program, self.abstract, self.shardings) or memory.estimated(
            traced, self.abstract, self.shardings, mesh, s.batch_size // s.accumulate
        )
        if need.total > self._logged_bytes:
            for line in memory.outlook(need, s.batch_size, s.accumulate, mesh, self._imports_later):
                progress.note(f"with larger batches: {line}" if self._logged_bytes else line)
            self._logged_bytes = need.total

    def train(self, stop: StopSignals) -> TrainState:
        """Evaluate → save → next batch → step, until the last."""
        run, s = self.run, self.run.settings
        start, state, meta = self.restore_or_start()
        batches = run.batches(start * s.batch_size)
        self._imports_later = getattr(batches, "imports_later", False)
        book = Logbook(run, start, meta)
        book.begin(self.origin)
        timer = SaveTimer(s.checkpoint_minutes)
        try:
            for step in range(start, s.steps + 1):
                # evaluate → save → next batch → step: nothing reads data before the save.
                last = step == s.steps
                stopping = stop.requested(step)
                if stopping and step == 0:
                    raise self.stopped(stop, step, book)
                evaluates = bool(run.evaluations or run.measure)
                evaluate_now = evaluates and (last or due(step, s.eval_every))
                late = timer.due(step)
                save_now = last or stopping or late or due(step, s.checkpoint_every)
                if evaluate_now or save_now or book.row_before(step):
                    book.write_row()
                if step > start or start == 0:
                    if evaluate_now:
                        with book.clock.pause():
                            with book.progress.pause(not self._evaluated):  # it compiles
                                row = self.evaluate(state, step)
                            self._evaluated = True
                            book.show(step, row)
                        if step > 0 and run.finished is not None and run.finished(row):
                            last = save_now = True
                    if save_now and step > 0:
                        with book.clock.pause():
                            metadata = book.metadata(step)
                            if run.before_save is not None and is_first():
                                run.before_save()
                            self.checkpoints.save(step, state, metadata)
                            timer.saved()
                if step == start > 0 and run.finished is not None:
                    # It had stopped early, and ended before its results were written.
                    last = last or run.finished({"step": step})
                if stopping:
                    self.checkpoints.wait()
                    raise self.stopped(stop, step, book)
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

    def stopped(self, stop: StopSignals, step: int, book: Logbook) -> BaseException:
        """The exception that ends a run after a signal: KeyboardInterrupt for Ctrl-C (for callers
        from Python) or SystemExit."""
        signal, code = stop.reason()
        message = f"{signal}: saved step {step:,} and stopped; the same command resumes"
        if step == 0:
            message = f"{signal}: stopped before the first step; the same command begins again"
        if code == INTERRUPTED and jax.process_count() == 1:
            return KeyboardInterrupt(message)
        book.progress.note(message)
        return SystemExit(code)

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


def _shape(batch: Mapping[str, jax.Array]) -> Any:
    return tuple((name, value.shape) for name, value in sorted(batch.items()))
