"""Pretraining: from a resolved configuration and a rows folder to two model folders. What `fit` is
handed, and what becomes of it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import logging
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

from electra_jax.config import ElectraConfig, PairConfig, duration
from electra_jax.data.batches import eval_batches, train_batches
from electra_jax.data.rows import Rows
from electra_jax.errors import UserError
from electra_jax.objectives.base import Objective, Tree
from electra_jax.objectives.electra import CorruptionSettings, ElectraObjective, Masking
from electra_jax.objectives.masked_lm import MaskedLMObjective
from electra_jax.objectives.structure import SpecialIds
from electra_jax.training.bucket import CHECKPOINTS, Bucket, folder_of, is_bucket
from electra_jax.training.distributed import on_first, on_host
from electra_jax.training.loop import Evaluation, LoopSettings, Run, fit
from electra_jax.training.optimizer import build_optimizer, with_adam_moments
from electra_jax.training.schedules import Schedule, learning_rate_schedule
from electra_jax.training.sharding import make_mesh, places_here
from electra_jax.training.step import TrainState
from electra_jax.training.workdir import RunLock, load_or_check_config, write_json_atomic

log = logging.getLogger(__name__)

# What may differ between a run and its resumption: nothing here changes a parameter.
MAY_CHANGE = (
    r"train\.(log_every|eval_every|eval_rows|checkpoint_every|keep|keep_every)",
    r"train\.(tensorboard|wandb).*",
    r"train\.accumulate",
    r"mesh\..*",
    r"data\.(path|backend)",
    r"model\.(scan_layers|remat|attention)",
    r"networks\.(.+\.)?(scan_layers|remat|attention)",
    r"watch\..*",
    r"versions\..*",
)


def pair_from_config(config: Mapping[str, Any], vocab_size: int, pad_token_id: int) -> PairConfig:
    """The pair that `model.*` and `train.dtype` describe, over a tokenizer's vocabulary."""
    model = dict(config["model"])
    generator, sharing = dict(model.pop("generator")), model.pop("sharing")
    if model.pop("vocab_size", None) not in (None, vocab_size):
        raise UserError(
            f"model.vocab_size={config['model']['vocab_size']} and the rows' tokenizer has "
            f"{vocab_size}: "
            "leave model.vocab_size=None"
        )
    discriminator = ElectraConfig(
        **model, vocab_size=vocab_size, pad_token_id=pad_token_id, dtype=config["train"]["dtype"]
    )
    kind = generator.pop("kind")
    if kind not in ("network", "uniform"):
        raise UserError(f"model.generator.kind={kind!r}: choose one of network, uniform")
    if kind == "uniform":
        return PairConfig(discriminator, None, sharing)
    if sharing == "all":
        return PairConfig(discriminator, discriminator, sharing)
    if sharing == "none":
        generator["embedding_size"] = generator["hidden_size"]
    return PairConfig(discriminator, discriminator.replace(**generator), sharing)


def objective_from_config(
    config: Mapping[str, Any], rows: Rows, held_out: Rows | None, steps: int
) -> Objective:
    """The objective that `objective.*` names, for rows of one shape."""
    settings = dict(config["objective"])
    name = settings.pop("name")
    fraction = settings.pop("temperature_fraction")
    settings["temperature_steps"] = round(fraction * steps)
    special = SpecialIds(**rows.special_ids)
    pair = pair_from_config(config, rows.vocab_size, special.pad)
    if config["init"] or config["init_generator"]:
        from electra_jax.interop.initial import initial_config

        start = config["init"], config["init_generator"]
        if name == "masked_lm":
            alone = initial_config(*start, pair.discriminator)
            pair = PairConfig(alone, None, pair.sharing)
        else:
            pair = initial_config(*start, pair)
    if rows.seq_len > pair.discriminator.max_position_embeddings:
        raise UserError(
            f"the rows in {rows.folder} are {rows.seq_len} tokens long and "
            "model.max_position_embeddings is "
            f"{pair.discriminator.max_position_embeddings}: raise it, or prepare shorter rows"
        )
    segments = max(1, rows.max_segments, held_out.max_segments if held_out else 1)
    masking = Masking(CorruptionSettings(**settings), special, rows.seq_len, segments)
    if name == "electra":
        return ElectraObjective(pair, masking.settings, masking)
    if name == "masked_lm":
        return MaskedLMObjective(pair.discriminator, masking)
    raise UserError(f"objective.name={name!r}: choose one of electra, masked_lm")


def starting_point(config: Mapping[str, Any], rows: Rows, objective: Any) -> Any:
    """What puts the weights of `init` and `init_generator` in place of fresh ones; None without.

    A model of another vocabulary than the rows' is refused unless `init_vocabulary="map"`, which
    keeps the embeddings of the tokens that both have.
    """
    init, init_generator = config["init"], config["init_generator"]
    choice = config["init_vocabulary"]
    if choice not in ("same", "map"):
        raise UserError(f"init_vocabulary={choice!r}: choose one of same, map")
    if not init and not init_generator:
        return None
    from electra_jax.interop.folder import load_model_folder
    from electra_jax.interop.initial import initial_parameters

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
        tree, lines, step = initial_parameters(
            init, init_generator, objective.config, fresh, rows.tokenizer_folder
        )
        for line in lines:
            log.warning("%s", line)
        if step:
            log.warning("%s was trained for %d steps (optimizer.start_step continues)", init, step)
        return tree, frozen

    return initial


def starting_moments(config: Mapping[str, Any]) -> Any:
    """What puts the Adam moments of the TF1 checkpoint `init` into the optimizer's state; None
    where `init_slots` does not ask for it."""
    if not config["init_slots"]:
        return None
    from electra_jax.interop.convert import load_slots

    slots = load_slots(config["init"]) if config["init"] else None
    if slots is None:
        raise UserError(
            f"init_slots: init={config['init']} is no TF1 checkpoint with optimizer slots "
            "(published ones have none): leave init_slots=False"
        )
    return lambda opt_state: with_adam_moments(opt_state, slots["adam_m"], slots["adam_v"])


def unigram_entropy(rows: Rows) -> float:
    """Entropy in nats of a split's token frequencies, padding, [CLS], [SEP] and [MASK] left out:
    what a generator that knows only frequencies can reach."""
    counts = np.zeros(rows.vocab_size, np.int64)
    for start in range(0, rows.count, 4096):
        ids = rows.take(np.arange(start, min(start + 4096, rows.count)))
        counts += np.bincount(ids.reshape(-1), minlength=rows.vocab_size)
    counts[[rows.special_ids[n] for n in ("pad", "cls", "sep", "mask")]] = 0
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(share * np.log(share)).sum())


def discriminator_watch(warmup_steps: int, minimum_tokens: float, minimum_auc: float) -> Any:
    """Warns once when the discriminator is still at chance after max(2 × warm-up,
    `minimum_tokens`) (promise 8)."""
    warned = False

    def watch(row: Mapping[str, float], tokens: float) -> str | None:
        nonlocal warned
        auc = row.get("discriminator_auc")
        late = row["step"] >= 2 * warmup_steps and tokens >= minimum_tokens
        if warned or not late or auc is None or auc >= minimum_auc:
            return None
        warned = True
        return (
            f"step {int(row['step'])}: the discriminator is at AUC {auc:.2f} after {tokens:.3g} "
            "tokens, near chance; "
            "the usual causes are a learning rate too high for the size, a generator too strong "
            "or a batch too small"
        )

    return watch


def versions() -> dict[str, str]:
    """Of what computes a run."""
    packages = ("electra_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "device": jax.devices()[0].device_kind}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a configuration and the shape of the rows decide, before any device is asked."""

    objective: Objective
    optimizer: Callable[[Tree], optax.GradientTransformation]
    schedule: Schedule
    settings: LoopSettings
    warmup: int

    @classmethod
    def of(cls, config: Mapping[str, Any], rows: Any, held_out: Any) -> Plan:
        """Raises `UserError` on anything wrong in the configuration."""
        train, optimizer = config["train"], config["optimizer"]
        size = {"batch_size": train["batch_size"], "seq_len": rows.seq_len, "examples": rows.count}
        steps = duration(train, "", **size)
        if not steps:
            raise UserError("train.steps, train.epochs or train.tokens must say how long to train")
        warmup = duration(optimizer, "warmup", **size, total_steps=steps) or 0
        schedule = learning_rate_schedule(
            optimizer["learning_rate"],
            steps,
            warmup,
            decay=optimizer["schedule"],
            power=optimizer["power"],
            decay_fraction=optimizer["decay_fraction"],
            offset=optimizer["start_step"],
        )
        settings = LoopSettings(
            steps=steps,
            batch_size=train["batch_size"],
            seed=train["seed"],
            accumulate=train["accumulate"],
            log_every=train["log_every"],
            eval_every=train["eval_every"],
            checkpoint_every=train["checkpoint_every"],
            keep=train["keep"],
            keep_every=train["keep_every"],
        )
        return cls(
            objective=objective_from_config(config, rows, held_out, steps),
            optimizer=lambda params: build_optimizer(params, schedule, optimizer),
            schedule=schedule,
            settings=settings,
            warmup=warmup,
        )


@dataclasses.dataclass
class Pretraining:
    """A run made ready: everything checked, nothing trained."""

    config: dict[str, Any]
    workdir: Path
    rows: Rows
    held_out: Rows | None
    objective: Objective
    run: Run
    bucket: Bucket | None = None

    @classmethod
    def build(
        cls, config: Mapping[str, Any], workdir: str | Path, quiet: bool = False
    ) -> Pretraining:
        """From a resolved configuration (nested dicts). Raises `UserError` on anything wrong in
        it."""
        config = dict(config)
        bucket = Bucket(workdir) if is_bucket(workdir) else None
        workdir = bucket.local if bucket else Path(workdir)
        path = config["data"]["path"]
        if not path:
            raise UserError(
                "data.path is not set: --config.data.path=ROWS, a folder made by `prepare`"
            )
        if workdir.resolve() == Path(path).expanduser().resolve():
            raise UserError(f"--workdir={workdir} is data.path: give the run a folder of its own")
        rows = Rows.open(path, "train")
        held_out = open_held_out(path)
        plan = Plan.of(config, rows, held_out)
        settings, train = plan.settings, config["train"]
        mesh = make_mesh(config["mesh"])
        settings.check(mesh)
        if rows.count < settings.batch_size:
            raise UserError(
                f"data.path={path} has {rows.count} rows, fewer than "
                f"train.batch_size={settings.batch_size}: "
                "prepare more text or use a smaller batch"
            )
        places = places_here(mesh, settings.batch_size)

        def batches(first_example: int) -> Iterator[Mapping[str, np.ndarray]]:
            return train_batches(
                rows,
                seed=settings.seed,
                batch_size=settings.batch_size,
                start_example=first_example,
                places=places,
                backend=config["data"]["backend"],
            )

        evaluations = []
        if held_out is not None:
            size = settings.batch_size // settings.accumulate  # what fits in a training step
            evaluate = functools.partial(
                eval_batches, held_out, size, train["eval_rows"], places_here(mesh, size)
            )
            evaluations.append(Evaluation(evaluate, size))
        watch = config["watch"]
        run = Run(
            objective=plan.objective,
            optimizer=plan.optimizer,
            schedule=plan.schedule,
            settings=settings,
            batches=batches,
            mesh=mesh,
            workdir=workdir,
            evaluations=evaluations,
            initial=starting_point(config, rows, plan.objective),
            initial_moments=starting_moments(config),
            resume=folder_of(config["resume"]) if config["resume"] else None,
            checkpoints=bucket.url / CHECKPOINTS if bucket else None,
            before_save=bucket.store if bucket else None,
            watch=discriminator_watch(plan.warmup, watch["after_tokens"], watch["minimum_auc"]),
            tensorboard=train["tensorboard"],
            wandb=train["wandb"],
            quiet=quiet,
        )
        return cls(config, workdir, rows, held_out, plan.objective, run, bucket)

    def recorded(self) -> dict[str, Any]:
        """The configuration as config.json keeps it: resolved, with what the data were and what
        computes."""
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
            "networks": dataclasses.asdict(self.objective.config),  # type: ignore[attr-defined]
            "versions": versions(),
        }

    def train(self) -> TrainState:
        """Trains (or resumes), exports both networks and writes the report; returns the final
        state."""
        with contextlib.ExitStack() as held:

            def begin() -> None:
                if self.bucket is not None:
                    self.bucket.fetch()
                held.enter_context(RunLock(self.workdir))
                changed = load_or_check_config(
                    self.workdir,
                    self.recorded(),
                    may_change=MAY_CHANGE,
                    remote=self.bucket is not None,
                )
                for key, (old, new) in changed.items():
                    if not key.startswith("versions."):
                        log.warning("resuming with %s=%s (was %s)", key, new, old)

            on_first(begin)
            state = fit(self.run)
            params = on_host(state.params)
            on_first(lambda: self.finish(params))
        return state

    def finish(self, params: Tree) -> None:
        """Writes what a finished run leaves: both networks and the report."""
        from electra_jax.training.report import write_report

        self.export(params)
        write_json_atomic(self.workdir / "report.json", self.report_blocks())
        write_report([self.workdir], self.workdir / "report.html")
        if self.bucket is not None:
            self.bucket.store()

    def report_blocks(self) -> list[dict[str, Any]]:
        """What the report shows beside the curves: the entropy of the held-out token frequencies,
        which a generator that knows only frequencies can reach."""
        if self.held_out is None:
            return []
        entropy = unigram_entropy(self.held_out)
        return [{"title": "unigram entropy, held out", "reference": {"generator_loss": entropy}}]

    def export(self, params: Tree) -> None:
        """Writes model/discriminator and model/generator, Hugging Face folders with the tokenizer,
        and tokenizer/, from whole NumPy arrays."""
        from electra_jax.interop.files import copy_tokenizer
        from electra_jax.interop.save import save_model_folder, save_pair

        tokenizer = self.rows.tokenizer_folder
        copy_tokenizer(tokenizer, self.workdir / "tokenizer")
        objective = self.objective
        if isinstance(objective, ElectraObjective):
            save_pair(self.workdir / "model", objective.config, params, tokenizer)
        elif isinstance(objective, MaskedLMObjective):
            folder = self.workdir / "model" / "generator"
            save_model_folder(folder, "generator", objective.config, params, tokenizer)


def open_held_out(path: str) -> Rows | None:
    """The held-out rows beside the training rows; None, and a warning, without."""
    try:
        rows = Rows.open(path, "eval")
    except UserError:
        log.warning("%s has no held-out rows: nothing is evaluated during the run", path)
        return None
    return rows if rows.count else None
