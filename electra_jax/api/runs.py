"""Training runs as functions: `pretrain`, `finetune`, `sweep`, `report`, `run_demo`, and what they
return."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, overload

from electra_jax.api.host import prepare_host
from electra_jax.config_file import get_config
from electra_jax.errors import UserError
from electra_jax.finetuning.result import Result, summarize
from electra_jax.training.metrics_log import EVAL, read_rows

AnyPath = str | PathLike[str]


@dataclasses.dataclass(frozen=True)
class PretrainResult:
    """A finished pretraining run: `steps`, and where everything is.

    `metrics` are the last logged figures of training (nats, shares and rates by name),
    `eval_metrics` the last ones of held-out rows, without the prefix `eval_`. `models` holds the
    folder of each network (`discriminator`, `generator`), Hugging Face's layout.
    """

    workdir: Path
    steps: int
    metrics: dict[str, float]
    eval_metrics: dict[str, float]
    models: dict[str, Path]
    tokenizer: Path
    report: Path

    def history(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, in order; `step` is in each, held-out figures have the prefix
        `eval_`."""
        return read_rows(self.workdir)


@dataclasses.dataclass(frozen=True)
class FineTuneResult(Result):
    """One seed of a fine-tuning run: its `Result` (score, scores, step, failure, …) and folder."""

    workdir: Path

    @property
    def model(self) -> Path:
        """The model folder, for `Predictor`, `load` and Hugging Face's `from_pretrained`."""
        return self.workdir / "model"

    @property
    def report(self) -> Path:
        """The run on one page."""
        return self.workdir / "report.html"

    @property
    def predictions(self) -> Path:
        """The answers to the evaluation examples, one JSON line each; only where there are any."""
        return self.workdir / "predictions.jsonl"

    def history(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl, in order."""
        return read_rows(self.workdir)


@dataclasses.dataclass(frozen=True)
class FineTuneResults(Sequence[FineTuneResult]):
    """The seeds of a fine-tuning run, one or several: a sequence of `FineTuneResult`.

    `score` is the mean of the task's `metric` over the seeds that have one (None where none has),
    `best` the seed with the highest, `summary` mean, standard deviation, median, least and
    greatest; `report` compares the seeds on one page.
    """

    workdir: Path
    seeds: tuple[FineTuneResult, ...]

    @overload
    def __getitem__(self, index: int) -> FineTuneResult: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[FineTuneResult, ...]: ...

    def __getitem__(self, index: int | slice) -> FineTuneResult | tuple[FineTuneResult, ...]:
        return self.seeds[index]

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def summary(self) -> dict[str, Any]:
        """Statistics of the task's metric over the seeds."""
        return summarize(self.seeds)

    @property
    def metric(self) -> str:
        """The name of the task's metric."""
        return self.seeds[0].metric

    @property
    def score(self) -> float | None:
        """The mean of the task's metric."""
        return self.summary.get("mean")

    @property
    def best(self) -> FineTuneResult:
        """The seed with the highest score; raises `UserError` where no seed produced a model."""
        scored = [r for r in self.seeds if r.model.is_dir()]
        if not scored:
            raise UserError(f"{self.workdir}: no seed produced a model: {self.seeds[0].failure}")
        return max(scored, key=lambda r: _number(r.score))

    @property
    def report(self) -> Path:
        """The seeds on one page."""
        return self.workdir / "report.html"


def pretrain(
    config: Mapping[str, Any],
    workdir: AnyPath,
    *,
    quiet: bool = False,
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> PretrainResult:
    """Trains generator and discriminator together; the same call again resumes, bit for bit.

    pretrain(get_config("pretrain:small", {"data.path": "rows/"}), workdir="runs/a")

    Args:
      config: from `get_config`.
      workdir: everything of the run is written here (a folder, or a bucket such as gs://…).
      quiet: no progress line.
      coordinator, num_processes, process_id: how the processes of one run find each other without a
        scheduler (HOST:PORT of the first, their number, the index of this one); every process
        calls this function.

    Raises:
      UserError: a wrong configuration, damaged rows, a loss that is not finite, too little memory.
      KeyboardInterrupt: after Ctrl-C, when the state is saved; a second one leaves at once.
      SystemExit: code 143 after a SIGTERM, when the state is saved.
    """
    prepare_host()
    from electra_jax.pretraining.run import Pretraining
    from electra_jax.training.distributed import joined

    with joined(coordinator, num_processes, process_id):
        run = Pretraining.build(config, str(workdir), quiet=quiet)
        state = run.train()
        folder = run.workdir
        models = {p.name: p for p in sorted((folder / "model").glob("*")) if p.is_dir()}
        return PretrainResult(
            folder,
            int(state.step),
            *_last_figures(read_rows(folder)),
            models,
            folder / "tokenizer",
            folder / "report.html",
        )


def finetune(
    config: Mapping[str, Any], workdir: AnyPath, *, quiet: bool = False
) -> FineTuneResults:
    """A task on any model: one run, or `seeds` of them; the same call again resumes.

    results = finetune(get_config("finetune:sst2", {"init": "runs/a/model", "data.path": "SST-2/"}),
                       workdir="runs/sst2")
    results.score, results.best.model

    Args:
      config: from `get_config`.
      workdir: everything of the run is written here; of several seeds in seed-N/.
      quiet: nothing is printed.

    Raises:
      UserError: a wrong configuration or data; of one seed, a loss that is not finite.
      KeyboardInterrupt: after Ctrl-C, when the state is saved; a second one leaves at once.
      SystemExit: code 143 after a SIGTERM, when the state is saved.
    """
    prepare_host()
    from electra_jax.finetuning import restarts

    folder = Path(workdir)
    found = restarts.finetune(config, folder, quiet=quiet)
    folders = [folder if len(found) == 1 else folder / f"seed-{r.first_seed}" for r in found]
    return FineTuneResults(
        folder,
        tuple(
            FineTuneResult(**vars(result), workdir=f)
            for result, f in zip(found, folders, strict=True)
        ),
    )


def sweep(
    config: str,
    workdir: AnyPath,
    vary: Mapping[str, Sequence[Any]],
    overrides: Mapping[str, Any] | None = None,
    *,
    verb: str | None = None,
    through: str | None = None,
    dry_run: bool = False,
) -> int:
    """Every combination of some overrides, one process and one folder each; then a table of them
    on standard output and one report. Returns an exit code: 0, or 1 where a run failed.

    sweep("pretrain:small", "runs/rates", {"optimizer.learning_rate": [2e-4, 5e-4]},
          {"data.path": "rows/"})

    Args:
      config: FILE[:ARG], as for `get_config`.
      workdir: a folder in it for each run. A run that is finished is not run again.
      vary: values by dotted key.
      overrides: what all runs have, by dotted key.
      verb: "pretrain" or "finetune"; None: what the configuration is for.
      through: a command that starts each run, such as 'launch/slurm.sh --gpus=8 --'; None: this
        machine, one after the other.
      dry_run: print the commands, run none.

    Raises:
      UserError: nothing varies, a combination is no valid configuration, or the configuration is
        not one of `verb`; before the first runs.
    """
    from electra_jax.api.sweep import combinations, run_all
    from electra_jax.config_file import load_config, verb_of

    if verb not in (None, "pretrain", "finetune"):
        raise UserError(f"verb={verb!r}: choose one of pretrain, finetune")
    shared = [f"--config={config}"]
    shared += [f"--config.{key}={value}" for key, value in (overrides or {}).items()]
    varied = {key: [str(value) for value in values] for key, values in vary.items()}
    for options in combinations(varied).values():  # all are sound before the first one runs
        right = verb_of(load_config([*shared, *options])[0])
        if verb not in (None, right):
            raise UserError(f"{config} is a configuration of {right}, not of {verb}; leave it out")
    return run_all(right, Path(workdir), shared, varied, through=through, dry_run=dry_run)


def report(workdirs: AnyPath | Sequence[AnyPath], output: AnyPath | None = None) -> Path:
    """Writes one self-contained HTML page about a run, or comparing several; returns its path.

    workdirs: work folders; a folder that is none stands for all runs below it.
    output: default: report.html in the first folder. Raises `UserError` for a folder that no run
    has written to.
    """
    from electra_jax.reporting.page import write_report

    folders = [workdirs] if isinstance(workdirs, str | PathLike) else list(workdirs)
    if output is None and folders:
        output = Path(folders[0]) / "report.html"
    return write_report(folders, output or "report.html")


def run_demo(workdir: AnyPath = "demo") -> dict[str, float]:
    """The whole flow on the docstrings of the installed Python packages: text, vocabulary, rows,
    pretraining, report, in about eight minutes on two cores. Prints what it does; returns the final
    held-out figures. (Not `demo`, which is the room of the package that holds it.)"""
    prepare_host()
    from electra_jax.demo.run import demo

    return demo(Path(workdir), get_config("pretrain:tiny"))


def _last_figures(rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], dict[str, float]]:
    """The last figures of training and of held-out rows by name."""
    train: dict[str, float] = {}
    held_out: dict[str, float] = {}
    for row in rows:
        found = {k.removeprefix(EVAL): v for k, v in row.items() if k.startswith(EVAL)}
        if found:
            held_out = found
        else:
            train = {k: v for k, v in row.items() if k != "step"}
    return train, held_out


def _number(score: float | None) -> float:
    """A score to compare; one that is undefined is below all others."""
    return float("-inf") if score is None or score != score else score
