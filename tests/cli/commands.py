"""Commands of the tests of this room."""

from tiny_run import OVERRIDES

from electra_jax.cli import main


def fails(capsys, *arguments):
    """The message of a command that must end with exit code 2 and no traceback."""
    code = main([str(a) for a in arguments])
    errors = capsys.readouterr().err
    assert code == 2, errors
    assert "electra-jax: " in errors and "Traceback" not in errors
    return errors


def pretrain_fails(capsys, rows, workdir, *overrides):
    """The message of a tiny pretraining run that must be refused."""
    arguments = [f"--workdir={workdir}", *OVERRIDES, f"--config.data.path={rows}", *overrides]
    return fails(capsys, "pretrain", *arguments)
