"""The plan of a run: mesh, shapes, bytes on every device, without training."""

import re

import pytest
from tiny_run import OVERRIDES

from electra_jax.cli import main
from electra_jax.config_file import load_config
from electra_jax.pretraining.dry_run import dry_run

LARGE = ["--config=configs/pretrain.py:large"]


LARGE_PARAMETERS = 354_655_291


def test_the_batch_s_part_of_the_estimate_is_divided(capsys):
    def step_bytes(*arguments):
        assert main(["pretrain", *LARGE, "--dry_run", *arguments]) == 0
        told = capsys.readouterr().out
        (line,) = re.findall(r"gradients and activations +([\d,]+) .*an estimate", told)
        return int(line.replace(",", "")), told

    one, told = step_bytes("--devices=16", "--config.mesh.data=4", "--config.mesh.fsdp=4")
    for line in (
        "mesh        data 4 × fsdp 4 × tensor 1: 16 × devices that are not here",
        "batch       2048 rows a step in 1 part(s): 128 rows on a device at a time",
        "run         400,000 steps, 4.19e+11 tokens",
        f"parameters  {LARGE_PARAMETERS:,}",
        "  electra/embeddings/word_embeddings                        [30522, 1024] → [30522, 256]",
    ):
        assert line in told
    assert re.search(r"  parameters +355,967,212 +339 MiB  exact", told)
    two, _ = step_bytes("--devices=8", "--config.mesh.data=2", "--config.mesh.fsdp=4")
    assert two == pytest.approx(2 * one, rel=0.01)  # half the devices: gradients stay as they are


@pytest.mark.slow
def test_for_the_devices_that_are_here_xla_is_asked(capsys):
    config, _ = load_config([*OVERRIDES])
    told = dry_run(config)
    assert "× cpu" in told and "XLA's account of the compiled step" in told


def test_what_does_not_fit_together_is_refused(capsys):
    for arguments, message in (
        (["--devices=8", "--workdir=x"], "go with --dry_run"),
        ([], "a folder to write to: --workdir=DIR"),
        (["--dry_run", "--devices=12", "--config.mesh.fsdp=8"], "needs 8 devices, 12 are here"),
        (["--dry_run", "--devices=12"], "not divisible"),
    ):
        assert main(["pretrain", *LARGE, *arguments]) == 2
        assert message in capsys.readouterr().err
