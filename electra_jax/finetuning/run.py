"""A fine-tuning run: from a configuration, task files and a model to a fine-tuned model folder,
scores and a report. It prepares what `training.loop.fit` needs and exports its result."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from electra_jax.config.fields import absent_values
from electra_jax.config.finetuning import FinetuneSettings, read_finetune
from electra_jax.config.model import ElectraConfig
from electra_jax.errors import UserError
from electra_jax.finetuning import resolve
from electra_jax.finetuning.best import best_params, keep_best, read_best, remove_best_params
from electra_jax.finetuning.blocks import report_blocks
from electra_jax.finetuning.card import model_facts
from electra_jax.finetuning.data.batches import (
    Plan,
    TrainingOrder,
    choose_lengths,
    feature_length,
    largest_batch,
    train_batches,
)
from electra_jax.finetuning.data.examples import Example
from electra_jax.finetuning.data.task_data import TaskData
from electra_jax.finetuning.diagnosis import failure
from electra_jax.finetuning.export import export_adapter, export_model, task_settings
from electra_jax.finetuning.forward import Forward
from electra_jax.finetuning.kinds.origin import file_of
from electra_jax.finetuning.metrics.units import shown_metrics
from electra_jax.finetuning.objective import FineTuneObjective
from electra_jax.finetuning.recipe import trained_sizes
from electra_jax.finetuning.result import Result, read_result, write_figures, write_result
from electra_jax.finetuning.warm_start import adapter_base, load_start, place
from electra_jax.interop.loaded import LoadedModel, encoder_of
from electra_jax.modeling.peft.base import Full, count, is_head
from electra_jax.modeling.peft.table import make_adaptation
from electra_jax.reporting.commands import record_start
from electra_jax.reporting.page import write_report
from electra_jax.training.loop import fit
from electra_jax.training.metrics_log import read_rows, write_metrics
from electra_jax.training.optimizer import build_optimizer
from electra_jax.training.run import Run
from electra_jax.training.sharding import make_mesh
from electra_jax.training.step import TrainState
from electra_jax.training.versions import versions
from electra_jax.training.workdir import (
    RunLock,
    load_or_check_config,
    recorded_config,
    resumed_config,
)

log = logging.getLogger(__name__)

# What may differ between a run and its resumption: nothing here changes a parameter.
MAY_CHANGE = (
    r"(model|network)\.(scan_layers|remat|attention)",
    r"train\.(log_every|checkpoint_(every|minutes)|keep|keep_every|eval_batch_size)",
    r"train\.(tensorboard|wandb).*",
    r"train\.(accumulate|restarts)",
    r"mesh\..*",
    r"data\.(path|eval_path|test_path|backend)",
    r"seeds",
    r"versions\..*",
)


@dataclasses.dataclass
class FineTuning:
    """One seed's run, checked and ready to train."""

    config: dict[str, Any]
    workdir: Path
    start: LoadedModel
    data: TaskData
    objective: FineTuneObjective
    order: TrainingOrder
    steps: int
    run: Run
    forward: Forward
    seed: int
    eval_every: int
    # The best step so far (or the last) and its predictions, so that they are computed once.
    answers: tuple[int, list[dict[str, Any]]] | None = None

    @classmethod
    def build(
        cls,
        config: Mapping[str, Any],
        workdir: str | Path,
        *,
        quiet: bool = False,
        seed: int | None = None,
        start: LoadedModel | None = None,
        data: TaskData | None = None,
    ) -> FineTuning:
        """From a resolved configuration (nested dicts). Raises `UserError` on anything wrong in it.

        `seed` is train.seed where it is not given; `start` and `data` are those of another seed's
        run, to read them once.
        """
        workdir = Path(workdir)
        began = recorded_config(workdir)
        config = resumed_config(config, began, FinetuneSettings)
        given = read_finetune(config)
        train, optimizer = given.train, given.optimizer
        seed = train.seed if seed is None else seed
        if jax.process_count() > 1:
            raise UserError("finetune runs on one host: start one process (all of its devices)")
        start = start or load_start(given.init, given.init_cased)
        shape, _ = encoder_of(start)
        encoder_config = resolve.encoder_config(given, shape)
        first = data is None
        data = data or TaskData.load(
            config, start.tokenizer, encoder_config.max_position_embeddings, given.model.head
        )
        network = resolve.network(config, encoder_config, data)
        adaptation = make_adaptation(config["tune"])
        objective = FineTuneObjective(
            network, resolve.loss_settings(given, data.codec.labels, data), adaptation
        )
        lengths = np.asarray([feature_length(f) for f in data.features])
        length, eval_every = resolve.durations(given, lengths)
        steps = length.steps
        chosen = choose_lengths(
            lengths.tolist(), given.data.shapes, steps=steps, limit=data.settings.max_length
        )
        pad = encoder_config.pad_token_id
        plan = Plan(chosen, train.batch_size, pad, fields=data.kind.fields)
        order = TrainingOrder(lengths, plan, seed)
        schedule = resolve.schedule(given, encoder_config, length)
        mesh = make_mesh(config["mesh"])
        settings = resolve.checked_loop_settings(train, seed, steps, eval_every, mesh)

        def optimize(params: Any) -> Any:
            multipliers = resolve.multipliers(given, encoder_config, params)
            return build_optimizer(params, schedule, optimizer, multipliers)

        def batches(first_example: int) -> Iterator[Mapping[str, np.ndarray]]:
            assert data is not None
            first = first_example // settings.batch_size
            return train_batches(data.features, order, first, config["data"]["backend"])

        eval_plan = resolve.eval_plan(plan, train, data.settings.max_length)
        forward = Forward(network, eval_plan, mesh, adaptation.merge)
        run = Run(
            objective=objective,
            optimizer=optimize,
            schedule=schedule,
            settings=settings,
            batches=batches,
            mesh=mesh,
            workdir=workdir,
            initial=lambda params, frozen: place(start, data, objective, params, frozen),
            largest=lambda: largest_batch(data.features, order, steps),
            tensorboard=train.tensorboard,
            wandb=train.wandb,
            quiet=quiet,
        )
        config = resolve.with_accumulation(config, began, run, data.kind)
        self = cls(
            config, workdir, start, data, objective, order, steps, run, forward, seed, eval_every
        )
        self._add_evaluation(first)
        return self

    def _add_evaluation(self, first: bool) -> None:
        """Adds evaluation to the run, or warns (for the `first` seed) that there is none. Raises
        `UserError` where nothing would be trained."""
        data, optimizer = self.data, read_finetune(self.config).optimizer
        if (optimizer.freeze or optimizer.freeze_layers) and not self.parameters()[0]:
            raise UserError(
                "nothing is trained: optimizer.freeze and optimizer.freeze_layers hold every "
                "parameter that tune.method leaves; free some"
            )
        if data.eval:
            self.run.measure = self._measure
            self.run.finished = self._finished
        elif first:
            judged = self.objective.settings.plain and data.constant_loss() is not None
            log.warning(
                "no evaluation data: the last step is kept, and whether it learnt is judged by %s "
                "(data.eval_path names some)",
                "its training loss alone" if judged else "nothing",
            )

    def recorded(self) -> dict[str, Any]:
        """The configuration as config.json keeps it: resolved, with digests of the files read, the
        network's shape and the versions of the libraries."""
        files = dataclasses.asdict(self.data.files)
        if (own := file_of(self.data.task.kind)) is not None:
            files["kind"] = str(own)
        return {
            **self.config,
            "train": {**self.config["train"], "seed": self.seed, "steps_resolved": self.steps},
            "data": {
                **self.config["data"],
                "files": {n: _digest(f) for n, f in files.items() if f and n != "test"},
                "labels": list(self.data.codec.labels),
                "examples": len(self.data.train),
                "tokenizer_hash": self.start.tokenizer.hash,
            },
            "network": dataclasses.asdict(self.objective.config),
            "versions": versions(),
        }

    def describe(self) -> list[str]:
        """Lines printed before the first step: data, batches, parameters."""
        trained, alone, total = self.parameters()
        plan, data = self.order.plan, self.data
        choices = {len(f["input_ids"]) for f in data.features if isinstance(f["input_ids"], list)}
        more = f" for each number of choices ({len(choices)})" if len(choices) > 1 else ""
        lines = [
            f"{data.task.name}: {len(data.train):,} training and {len(data.eval):,} evaluation "
            f"examples, {len(data.features):,} features, {self.steps:,} steps of "
            f"{plan.batch_size}",
            f"batch lengths {', '.join(map(str, plan.lengths))}: {self.order.padding():.1%} "
            f"padding, {len(plan.lengths)} compiled shape{'s' * (len(plan.lengths) > 1)}{more}",
            f"trained: {trained:,} parameters ({trained / total:.2%}), {alone:,} without the head "
            f"({alone / total:.2%})",
        ]
        lines[1:1] = data.describe()
        return lines

    def parameters(self) -> tuple[int, int, int]:
        """Numbers of parameters: trained, trained without the head, all."""
        params, frozen = jax.eval_shape(self.objective.init, jax.random.key(0))
        given = read_finetune(self.config)
        multipliers = resolve.multipliers(given, self.objective.config, params)
        sizes = trained_sizes(params, multipliers, given.optimizer.freeze)
        alone = sum(size for name, size in sizes.items() if not is_head(name))
        return sum(sizes.values()), alone, count(params) + count(frozen)

    def train(self) -> Result:
        """Trains (or resumes), exports the best model, writes scores and the report."""
        with RunLock(self.workdir):
            load_or_check_config(
                self.workdir, self.recorded(), may_change=MAY_CHANGE, absent=_absent()
            )
            if (found := read_result(self.workdir)) is not None:
                if self.data.test and not found.test_scores:
                    log.warning(
                        "this run is finished; score data.test_path with electra-jax evaluate "
                        "--model=%s/model --data=%s", self.workdir, self.config["data"]["test_path"]
                    )  # fmt: skip
                return found
            write_metrics(self.workdir, shown_metrics(self.data.task.metrics))
            record_start(self.workdir)
            began = time.perf_counter()
            if not self.run.quiet:
                for line in self.describe():
                    print(line)
            state = fit(self.run)
            return self._finish(state, time.perf_counter() - began)

    def _measure(self, state: TrainState, step: int) -> dict[str, float]:
        """Scores on the evaluation examples; keeps the best parameters so far on disk."""
        predictions = self.predict(self.data.eval, state)
        scores = self.scores(predictions)
        score = scores[self.data.metric]
        best = read_best(self.workdir)
        # An undefined score (the correlation of constant answers) is worse than any other.
        better = best is None or best["score"] is None or score > best["score"]
        if step > 0 and (better or (best is not None and best["step"] == step)):
            keep_best(self.workdir, state, step, score)
        if (better and step > 0) or self.config["train"]["select"] == "last":
            self.answers = (step, predictions)
        return {f"eval_{name}": value for name, value in scores.items()}

    def _finished(self, row: Mapping[str, float]) -> bool:
        patience, best = self.config["train"]["patience"], read_best(self.workdir)
        late = best is not None and row["step"] - best["step"] >= patience * self.eval_every
        return bool(patience) and late

    def _selected(self, state: TrainState) -> tuple[TrainState, int]:
        """The state to keep, and its step: the best by the task's metric, or the last."""
        last = int(state.step)
        best = read_best(self.workdir)
        if best is None or self.config["train"]["select"] != "best":
            return state, last
        params = best_params(self.workdir, nested=isinstance(self.objective.adaptation, Full))
        return TrainState(state.step, params, state.opt_state, state.frozen), best["step"]

    def predict(self, examples: Sequence[Example], state: TrainState) -> list[dict[str, Any]]:
        """Decoded answers to examples, in order."""
        encoded = [self.data.codec.encode(e, False) for e in examples]
        outputs = iter(self.forward(state.params, [f for e in encoded for f in e], state.frozen))
        return [
            self.data.codec.decode(e, features, [next(outputs) for _ in features])
            for e, features in zip(examples, encoded, strict=True)
        ]

    def scores(self, predictions: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The task's metrics on the evaluation examples."""
        return self.data.codec.score(self.data.eval, predictions)

    def _finish(self, state: TrainState, seconds: float) -> Result:
        data, task = self.data, self.data.task
        state, step = self._selected(state)
        if self.answers and self.answers[0] == step:
            predictions = self.answers[1]
        else:  # the run was interrupted after that step
            predictions = self.predict(data.eval, state)
        scores = self.scores(predictions) if data.eval else {}
        why = failure(
            data.kind, data.eval, predictions, scores, self._last_loss(), data.constant_loss()
        )
        test_scores = self._test(state)
        params, frozen = (jax.tree.map(np.asarray, t) for t in (state.params, state.frozen))
        merged = self.objective.adaptation.merge(params, frozen)
        extra = task_settings(
            task, data.codec, data.settings, self.objective.network,
            self.config["data"]["columns"], data.columns,
        )  # fmt: skip
        tokenizer = self.start.tokenizer_folder
        model = self.workdir / "model"
        trained, alone, total = self.parameters()
        base = adapter_base(self.config["init"], self.start)
        facts = model_facts(
            self.config, data, base, seed=self.seed, step=step, trained=trained,
            scores=scores, test_scores=test_scores, failure=why,
        )  # fmt: skip
        if isinstance(self.objective.adaptation, Full):
            export_model(model, self.objective.network, merged, tokenizer, extra, facts)
        else:
            export_adapter(
                model, self.objective.adaptation, self.objective.network, params,
                self.start, base, tokenizer, extra, facts,
            )  # fmt: skip
        result = Result(
            seed=self.seed,
            step=step,
            metric=data.metric,
            score=scores.get(data.metric),
            scores=scores,
            test_scores=test_scores,
            failure=why,
            restarts=0,
            trained_parameters=trained,
            trained_without_head=alone,
            parameters=total,
            seconds=seconds,
        )
        if data.eval:
            lines = (json.dumps(p, ensure_ascii=False) + "\n" for p in predictions)
            (self.workdir / "predictions.jsonl").write_text("".join(lines), encoding="utf-8")
        write_figures(self.workdir / "report.json", report_blocks(data, predictions, result))
        write_report([self.workdir], self.workdir / "report.html")
        write_result(self.workdir, result)
        for note in data.notes:
            log.warning("%s", note)
        remove_best_params(self.workdir)
        return result

    def _test(self, state: TrainState) -> dict[str, float]:
        """Scores on the examples of data.test_path."""
        examples = self.data.test
        return self.data.codec.score(examples, self.predict(examples, state)) if examples else {}

    def _last_loss(self) -> float | None:
        """Mean training loss over the last quarter of the run; None where it is no plain mean."""
        if not self.objective.settings.plain:
            return None
        losses = [r["loss"] for r in read_rows(self.workdir) if "loss" in r]
        return float(np.mean(losses[-max(1, len(losses) // 4) :])) if losses else None


def _absent() -> dict[str, Any]:
    """{dotted key: its value where an older run's config.json lacks it}."""
    return {**absent_values(FinetuneSettings), **absent_values(ElectraConfig, "network")}


def _digest(file: str) -> str:
    path = Path(file)
    if not path.is_file():
        return file
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
