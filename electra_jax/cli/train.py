"""The verbs that train: `pretrain`, `finetune` and `sweep`, which starts many of either."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import electra_jax
from electra_jax.cli.parser import verb_parser
from electra_jax.errors import UserError


def _processes(parser: argparse.ArgumentParser) -> None:
    """Flags by which the processes of one run find each other without a scheduler."""
    group = parser.add_argument_group(
        "several processes", "found by themselves on Cloud TPU and under Slurm's srun"
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="of the first process")
    group.add_argument("--num_processes", type=int, metavar="N", help="1: alone, wherever it runs")
    group.add_argument("--process_id", type=int, metavar="I", help="of this one, from 0")


def pretrain(argv: Sequence[str]) -> int:
    parser = verb_parser(
        "pretrain",
        "Joint training of generator and discriminator; the same command again resumes.\n"
        "`electra-jax config configs/pretrain.py:small` lists every field of the configuration.",
        "electra-jax pretrain --config=configs/pretrain.py:small --workdir=runs/small "
        "--config.data.path=rows/",
        usage="%(prog)s --config=FILE[:ARG] --workdir=DIR [--config.a.b=value …]",
    )
    parser.add_argument("--workdir", metavar="DIR", help="everything of the run is written here")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    dry = parser.add_argument_group("plan a run, and train nothing")
    dry.add_argument(
        "--dry_run",
        action="store_true",
        help="print mesh, shapes, FLOPs and the bytes on every device, and stop",
    )
    dry.add_argument("--devices", type=int, metavar="N", help="plan for N devices, not those here")
    dry.add_argument(
        "--topology", metavar="NAME", help="plan for a TPU slice, such as v4:2x2x4 (needs libtpu)"
    )
    _processes(parser)
    from electra_jax.config_file import load_config

    config, rest = load_config(argv, "pretrain")
    a = parser.parse_args(rest)
    if a.dry_run:
        from electra_jax.pretraining.dry_run import dry_run

        print(dry_run(config, a.devices, a.topology))
        return 0
    if a.devices or a.topology:
        parser.error("--devices and --topology go with --dry_run")
    if not a.workdir:
        parser.error("the run needs a folder to write to: --workdir=DIR")
    electra_jax.pretrain(
        config,
        a.workdir,
        quiet=a.quiet,
        coordinator=a.coordinator,
        num_processes=a.num_processes,
        process_id=a.process_id,
    )
    from electra_jax.training.distributed import is_first

    if is_first():
        print(f"{a.workdir}/model: both networks; {a.workdir}/report.html: curves")
    return 0


def finetune(argv: Sequence[str]) -> int:
    from electra_jax.config_file import load_config
    from electra_jax.finetuning.task_table import TASKS

    parser = verb_parser(
        "finetune",
        "A task on any model: one run, or several seeds; the same command again resumes.\n"
        "`electra-jax config configs/finetune.py:TASK` lists every field of the configuration.\n"
        f"Tasks: {' '.join(TASKS)}.",
        "electra-jax finetune --config=configs/finetune.py:sst2 --workdir=runs/sst2 "
        "--config.init=runs/small/model --config.data.path=SST-2/",
        usage="%(prog)s --config=FILE[:TASK] --workdir=DIR [--config.a.b=value …]",
    )
    parser.add_argument("--workdir", required=True, metavar="DIR")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    parser.add_argument(
        "--cased",
        action="store_true",
        help="keep case with a model whose vocabulary has no settings (config.init_cased)",
    )
    argv = ["--config.init_cased=True" if word == "--cased" else word for word in argv]
    config, rest = load_config(argv, "finetune")
    a = parser.parse_args(rest)
    results = electra_jax.finetune(config, a.workdir, quiet=a.quiet)
    from electra_jax.finetuning.result import describe_result, describe_summary

    if len(results) == 1:
        print(f"{describe_result(results[0])}\n{a.workdir}/model; {a.workdir}/report.html")
        return 0
    print(describe_summary(results.summary))
    models = any(Path(a.workdir).glob("seed-*/model"))
    print(
        f"{a.workdir}/seed-*/model; " * models
        + f"{a.workdir}/results.json; {a.workdir}/report.html"
    )
    if not models:  # every loss was not finite; with a single seed that is an error as well
        raise UserError(f"no seed produced a model: {results[0].failure}")
    return 0


def sweep(argv: Sequence[str]) -> int:
    parser = verb_parser(
        "sweep",
        "Every combination of some overrides, one run and one folder each; then a table of them.",
        "electra-jax sweep --config=configs/pretrain.py:small --workdir=runs/rates "
        "--config.data.path=rows/ --vary.optimizer.learning_rate=2e-4,5e-4 --vary.train.seed=0,1",
        usage="%(prog)s --config=FILE[:ARG] --workdir=DIR --vary.a.b=VALUE,VALUE… "
        "[--config.a.b=value …]",
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="a folder in it each")
    parser.add_argument(
        "--verb",
        choices=("pretrain", "finetune"),
        help="what each run is; default: what the configuration is for",
    )
    parser.add_argument(
        "--through",
        metavar="COMMAND",
        help="what starts each run, such as 'launch/slurm.sh --gpus=8 --'; default: this machine, "
        "one after the other",
    )
    parser.add_argument("--dry_run", action="store_true", help="print the commands, run none")
    vary = [x for x in argv if x.startswith("--vary.")]
    a = parser.parse_args([x for x in argv if x not in vary and not x.startswith("--config")])
    varied = {}
    for option in vary:
        key, _, values = option.removeprefix("--vary.").partition("=")
        varied[key] = [value for value in values.split(",") if value]
    shared = [x for x in argv if x.startswith("--config")]
    files = [x.removeprefix("--config=") for x in shared if x.startswith("--config=")]
    if len(files) != 1 or any("=" not in x for x in shared):
        parser.error("give one --config=FILE[:ARG], and overrides as --config.a.b=value")
    fields = [x.removeprefix("--config.") for x in shared if x.startswith("--config.")]
    return electra_jax.sweep(
        files[0],
        a.workdir,
        varied,
        dict(x.split("=", 1) for x in fields),
        verb=a.verb,
        through=a.through,
        dry_run=a.dry_run,
    )
