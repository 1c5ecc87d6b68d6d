"""Pretraining: from a resolved configuration and a rows folder to model folders: the `Run` that
`fit` trains, then export and report."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from electra_jax.config.fields import absent_values
from electra_jax.config.pretraining import read_pretrain
from electra_jax.config.resolved import Config
from electra_jax.data.batches import train_batches
from electra_jax.data.mixture import Mixture, folders_of, open_rows
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError
from electra_jax.files import write_json_atomic
from electra_jax.objectives.base import Alarm, PretrainingObjective, Tree
from electra_jax.objectives.table import fields_of
from electra_jax.pretraining.card import model_facts
from electra_jax.pretraining.held_out import evaluations, open_held_out
from electra_jax.pretraining.pace import steps_of_minutes
from electra_jax.pretraining.plan import Plan, with_accumulation
from electra_jax.reporting.commands import record_start
from electra_jax.training.checkpoint.bucket import CHECKPOINTS, Bucket, folder_of, is_bucket
from electra_jax.training.distributed import on_first, on_host
from electra_jax.training.loop import fit
from electra_jax.training.metrics_log import write_metrics
from electra_jax.training.optimizer import with_adam_moments
from electra_jax.training.run import Run
from electra_jax.training.sharding import local_batch_indices, make_mesh
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
    r"train\.(log_every|eval_every|eval_rows|checkpoint_(every|minutes)|keep|keep_every)",
    r"train\.(tensorboard|wandb).*",
    r"train\.accumulate",
    r"mesh\..*",
    r"data\.(path|backend)",
    r"model\.(scan_layers|remat|attention)",
    r"networks\.(.+\.)?(scan_layers|remat|attention)",
    r"watch\..*",
    r"versions\..*",
)


def starting_point(
    config: Mapping[str, Any], rows: Rows | Mixture, objective: PretrainingObjective
) -> Any:
    """A function that replaces fresh weights by those of `init` and `init_generator`; None without.

    A model of another vocabulary than the rows' is refused unless `init_vocabulary="map"`, which
    keeps the embeddings of the tokens that both have.
    """
    init, init_generator = config["init"], config["init_generator"]
    choice = config["init_vocabulary"]
    if choice not in ("same", "map"):
        raise UserError(f"init_vocabulary={choice!r}: choose one of same, map")
    if not init and not init_generator:
        return None
    from electra_jax.interop.load import load_model_folder

    for field, path in (("init", init), ("init_generator", init_generator)):
        loaded = load_model_folder(path) if path and choice == "same" else None
        if loaded is None or loaded.tokenizer_folder is None:
            continue
        if loaded.tokenizer.hash != rows.tokenizer_hash:
            raise UserError(
                f"the rows in {rows.folder} were made with another tokenizer than {field}={path} "
                "has: prepare them with that model's, or keep the embeddings of shared tokens with "
                "init_vocabulary='map'"
            )

    def initial(params: Any, frozen: Any) -> tuple[Any, Any]:
        fresh = on_host(params)
        tree, lines, step = objective.warm_start(init, init_generator, fresh, rows.tokenizer_folder)
        for line in lines:
            log.warning("%s", line)
        if step:
            log.warning("%s was trained for %d steps (optimizer.start_step continues)", init, step)
        return tree, frozen

    return initial


def starting_moments(config: Mapping[str, Any]) -> Any:
    """A function that puts the Adam moments of the TF1 checkpoint `init` into the optimizer's
    state; None where `init_slots` is off."""
    if not config["init_slots"]:
        return None
    from electra_jax.interop.convert import load_moments

    moments = load_moments(config["init"]) if config["init"] else None
    if moments is None:
        raise UserError(
            f"init_slots: init={config['init']} is no TF1 checkpoint with optimizer slots "
            "(published ones have none): leave init_slots=False"
        )
    return lambda opt_state: with_adam_moments(opt_state, moments["adam_m"], moments["adam_v"])


def watch_dog(
    alarm: Alarm | Sequence[Alarm] | None, warmup_steps: int, minimum_tokens: float, steps: int
) -> Callable[[Mapping[str, float], float], str | None] | None:
    """A function of (row of metrics, tokens so far) that warns once of each alarm whose metric is
    too low: after both 2 × warm-up and `minimum_tokens`, or after the alarm's own share of the
    run's `steps`. None without an alarm."""
    waiting = [alarm] if isinstance(alarm, Alarm) else list(alarm or ())
    if not waiting:
        return None

    def late(alarm: Alarm, step: float, tokens: float) -> bool:
        if alarm.after_share is not None:
            return step >= alarm.after_share * steps
        return step >= 2 * warmup_steps and tokens >= minimum_tokens

    def watch(row: Mapping[str, float], tokens: float) -> str | None:
        step, lines = row["step"], []
        for alarm in list(waiting):
            value = row.get(alarm.key)
            if value is not None and value < alarm.at_least and late(alarm, step, tokens):
                waiting.remove(alarm)
                message = alarm.message.format(value=value, tokens=tokens)
                lines.append(f"step {int(step):,}: {message}")
        return "\n".join(lines) or None

    return watch


def config_to_go_on(config: Mapping[str, Any], workdir: Path, bucket: Bucket | None) -> Config:
    """The configuration with which the run in a work folder goes on, the same in every process: see
    `resumed_config`."""
    settings = fields_of(config)
    return resumed_config(config, on_first(lambda: recorded_in(workdir, bucket)), settings)


def recorded_in(workdir: Path, bucket: Bucket | None) -> Mapping[str, Any] | None:
    """The configuration that the run in a work folder began with; None of a new one."""
    return bucket.recorded_config() if bucket else recorded_config(workdir)


@dataclasses.dataclass
class Pretraining:
    """A run that is checked and set up, before training."""

    config: dict[str, Any]
    workdir: Path
    rows: Rows | Mixture
    held_out: Rows | None
    objective: PretrainingObjective
    run: Run
    bucket: Bucket | None = None

    @classmethod
    def build(
        cls, config: Mapping[str, Any], workdir: str | Path, quiet: bool = False
    ) -> Pretraining:
        """From a resolved configuration (nested dicts). Raises `UserError` on anything wrong in
        it."""
        bucket = Bucket(workdir) if is_bucket(workdir) else None
        workdir = bucket.local if bucket else Path(workdir)
        config = config_to_go_on(config, workdir, bucket)
        given = read_pretrain(config)
        path = given.data.path
        if not path:
            raise UserError(
                "data.path is not set: --config.data.path=ROWS, a folder made by `prepare`"
            )
        folders = folders_of(path)
        if workdir.resolve() in (Path(folder).expanduser().resolve() for folder in folders):
            raise UserError(f"--workdir={workdir} is data.path: give the run a folder of its own")
        rows, held_out = open_rows(path), open_held_out(folders[0])
        began = on_first(lambda: recorded_in(workdir, bucket))
        config = with_accumulation(config, rows, held_out, began)
        if given.train.minutes is not None:
            config = steps_of_minutes(
                config,
                began,
                lambda trial: cls.build(trial, workdir, quiet=True).run,
                0 if held_out is None else given.train.eval_rows or held_out.count,
            )
        plan = Plan.of(config, rows, held_out)
        settings, given = plan.settings, plan.config
        mesh = make_mesh(config["mesh"])
        settings.check(mesh)
        if rows.count < settings.batch_size:
            raise UserError(
                f"data.path={path} has {rows.count} rows, fewer than "
                f"train.batch_size={settings.batch_size}: "
                "prepare more text or use a smaller batch"
            )
        batch_indices = local_batch_indices(mesh, settings.batch_size)

        def batches(first_example: int) -> Iterator[Mapping[str, np.ndarray]]:
            return train_batches(
                rows,
                seed=settings.seed,
                batch_size=settings.batch_size,
                start_example=first_example,
                batch_indices=batch_indices,
                backend=given.data.backend,  # type: ignore[arg-type]  # one of its choices
            )

        run = Run(
            objective=plan.objective,
            optimizer=plan.optimizer,
            schedule=plan.schedule,
            settings=settings,
            batches=batches,
            mesh=mesh,
            workdir=workdir,
            evaluations=evaluations(held_out, folders, settings, given.train.eval_rows, mesh),
            initial=starting_point(config, rows, plan.objective),
            initial_moments=starting_moments(config),
            resume=folder_of(given.resume) if given.resume else None,
            checkpoints=bucket.url / CHECKPOINTS if bucket else None,
            before_save=bucket.store if bucket else None,
            watch=watch_dog(
                plan.objective.alarm(config["watch"]),
                plan.warmup,
                given.watch.after_tokens,
                settings.steps,
            ),
            tensorboard=given.train.tensorboard,
            wandb=given.train.wandb,
            quiet=quiet,
        )
        return cls(config, workdir, rows, held_out, plan.objective, run, bucket)

    def recorded(self) -> dict[str, Any]:
        """The configuration as config.json keeps it: resolved, with the data's fingerprint, the
        networks and the versions."""
        return {
            **self.config,
            "data": {
                **self.config["data"],
                "fingerprint": self.rows.fingerprint,
                "tokenizer_hash": self.rows.tokenizer_hash,
                "seq_len": self.rows.seq_len,
                "vocab_size": self.rows.vocab_size,
                "rows": self.rows.count,
            },
            "networks": self.objective.shapes(),
            "versions": versions(),
        }

    def absent(self) -> dict[str, Any]:
        """{dotted key: its value where an older run's config.json lacks it}."""
        shapes = self.objective.absent_shapes()
        return {
            **absent_values(fields_of(self.config)),
            **{f"networks.{key}": value for key, value in shapes.items()},
        }

    def train(self) -> TrainState:
        """Trains (or resumes), exports the networks and writes the report; returns the final
        state."""
        unread = tuple(rf"objective\.{key}" for key in self.objective.unread)
        with contextlib.ExitStack() as held:

            def begin() -> None:
                if self.bucket is not None:
                    self.bucket.fetch()
                held.enter_context(RunLock(self.workdir))
                changed = load_or_check_config(
                    self.workdir,
                    self.recorded(),
                    may_change=(*MAY_CHANGE, *unread),
                    remote=self.bucket is not None,
                    absent=self.absent(),
                )
                for key, (old, new) in changed.items():
                    if not any(re.fullmatch(p, key) for p in (r"versions\..*", *unread)):
                        log.warning("resuming with %s=%s (was %s)", key, new, old)
                write_metrics(self.workdir, self.objective.metrics)
                record_start(self.workdir)
                if isinstance(self.rows, Mixture) and not self.run.quiet:
                    print(*self.rows.describe(), sep="\n", flush=True)

            on_first(begin)
            state = fit(self.run)
            params = on_host(state.params)
            on_first(lambda: self.finish(params))
        return state

    def finish(self, params: Tree) -> None:
        """Exports the networks and writes the report."""
        from electra_jax.reporting.page import write_report

        self.export(params)
        write_json_atomic(self.workdir / "report.json", self.report_blocks())
        write_report([self.workdir], self.workdir / "report.html")
        if self.bucket is not None:
            self.bucket.store()

    def report_blocks(self) -> list[dict[str, Any]]:
        """The objective's blocks beside the curves."""
        return [] if self.held_out is None else self.objective.report_blocks(self.held_out)

    def export(self, params: Tree) -> None:
        """Writes each of the objective's networks to model/NAME, a Hugging Face folder with the
        tokenizer, and tokenizer/, from whole NumPy arrays."""
        from electra_jax.interop.formats.model_folder import copy_tokenizer
        from electra_jax.interop.save import save_model_folder

        tokenizer = self.rows.tokenizer_folder
        copy_tokenizer(tokenizer, self.workdir / "tokenizer")
        facts = model_facts(
            self.config,
            self.rows,
            self.objective.metrics,
            self.workdir,
            self.run.settings.steps,
        )
        for name, (kind, network, tree, settings) in self.objective.networks(params).items():
            folder = self.workdir / "model" / name
            save_model_folder(folder, kind, network, tree, tokenizer, settings, card=facts)
