"""Kill it anywhere: a run that was killed or stopped ends with the bits of one that was not."""

import random
import signal
import subprocess
import time

import pytest
from processes import heeding_interrupts
from tiny_run import command, environment, make_rows, metric_rows, models, run

STEPS = 24


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def uninterrupted(rows, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uninterrupted")
    done = run(rows, workdir)
    assert done.returncode == 0, done.stderr
    return workdir


def _without_speed(workdir):
    return [
        {k: v for k, v in row.items() if k not in ("tokens_per_second", "seconds")}
        for row in metric_rows(workdir)
    ]


def _same(workdir, other):
    assert models(workdir) == models(other)
    assert _without_speed(workdir) == _without_speed(other)


def _wait_for(condition, process, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.002)


def _begun(workdir):
    """Names of everything that was ever begun in checkpoints/, unfinished saves included."""
    folder = workdir / "checkpoints"
    return set(folder.iterdir()) if folder.exists() else set()


def test_a_run_writes_what_the_design_says(uninterrupted):
    rows = metric_rows(uninterrupted)
    training = [r for r in rows if "loss" in r]
    held_out = [r for r in rows if "eval_loss" in r]
    assert [r["step"] for r in training] == [4, 8, 12, 16, 20, 24]
    assert [r["step"] for r in held_out] == [0, 12, 24]
    expected = {
        "step", "loss", "generator_loss", "discriminator_loss", "masked_lm_accuracy",
        "sampled_accuracy", "replaced_rate", "discriminator_accuracy", "discriminator_auc",
        "discriminator_precision", "discriminator_recall", "rtd_skill", "learning_rate",
        "gradient_norm", "tokens_per_second", "seconds",
    }  # fmt: skip
    assert set(training[0]) == expected
    assert {f"eval_{k}" for k in expected - {"step", "learning_rate", "gradient_norm",
            "tokens_per_second", "seconds"}} < set(held_out[0])  # fmt: skip
    for name in ("config.json", "report.html", "tokenizer/tokenizer.json"):
        assert (uninterrupted / name).is_file(), name
    assert training[-1]["generator_loss"] < training[0]["generator_loss"]


@pytest.mark.slow
def test_each_step_can_be_logged(rows, tmp_path):
    done = run(rows, tmp_path, "--config.train.log_every=1", "--config.train.steps=5")
    assert done.returncode == 0, done.stderr
    training = [r for r in metric_rows(tmp_path) if "loss" in r]
    assert [r["step"] for r in training] == [1, 2, 3, 4, 5]
    assert all(r["tokens_per_second"] > 0 for r in training)


def test_killed_at_random_moments_ends_with_the_same_bits(rows, uninterrupted, tmp_path):
    draw = random.Random(20)
    killed_in_a_save = 0
    for attempt in range(5):
        process = subprocess.Popen(
            command(rows, tmp_path), env=environment(), stderr=subprocess.PIPE, text=True
        )
        before = _begun(tmp_path)
        if attempt % 2:  # as soon as another save has begun: it cannot be whole yet
            _wait_for(lambda before=before: _begun(tmp_path) - before, process)
            killed_in_a_save += 1
        else:
            count = len(metric_rows(tmp_path)) + 1
            _wait_for(lambda count=count: len(metric_rows(tmp_path)) >= count, process)
            time.sleep(draw.uniform(0, 0.1))
        process.kill()
        process.wait()
        process.stderr.close()
    assert killed_in_a_save == 2
    done = run(rows, tmp_path)
    assert done.returncode == 0, done.stderr
    _same(tmp_path, uninterrupted)


@pytest.mark.parametrize(
    ("number", "code", "name"),
    [
        (signal.SIGINT, 130, "electra-jax: Ctrl-C"),
        # In two processes: test_distributed.py
        pytest.param(signal.SIGTERM, 143, "SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_first_and_has_its_exit_code(
    rows, uninterrupted, tmp_path, number, code, name
):
    process = subprocess.Popen(
        heeding_interrupts(command(rows, tmp_path, "--config.train.checkpoint_every=1000")),
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait_for(lambda: len(metric_rows(tmp_path)) >= 2, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert f"{name}: saved step" in errors and "the same command resumes" in errors
    assert "Traceback" not in errors
    assert f"{tmp_path}: begins at step 0: there is no checkpoint yet" in errors
    (saved,) = _whole(tmp_path)
    # What is saved by the clock besides changes nothing.
    clocked = ("--config.train.checkpoint_every=1000", "--config.train.checkpoint_minutes=1e-9")
    done = run(rows, tmp_path, *clocked)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}: goes on from step {saved} ({tmp_path}/checkpoints/{saved})" in done.stderr
    assert _whole(tmp_path) == {str(step) for step in (STEPS - 2, STEPS - 1, STEPS)}
    _same(tmp_path, uninterrupted)


def test_a_truncated_newest_checkpoint_is_skipped_by_name(rows, uninterrupted, tmp_path):
    assert run(rows, tmp_path).returncode == 0
    newest = max((p for p in _begun(tmp_path) if p.name.isdigit()), key=lambda p: int(p.name))
    largest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    with open(largest, "r+b") as file:
        file.truncate(largest.stat().st_size // 2)
    done = run(rows, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"checkpoints/{newest.name}" in done.stderr
    _same(tmp_path, uninterrupted)


def test_a_run_can_continue_another(rows, uninterrupted, tmp_path):
    half = tmp_path / "half"
    schedule = "--config.optimizer.schedule=constant"
    assert run(rows, half, schedule, "--config.train.steps=12").returncode == 0
    whole, rest = tmp_path / "whole", tmp_path / "rest"
    assert run(rows, whole, schedule, "--config.objective.temperature_fraction=0").returncode == 0
    done = run(
        rows, rest, schedule, "--config.objective.temperature_fraction=0", f"--config.resume={half}"
    )
    assert done.returncode == 0, done.stderr
    assert metric_rows(rest)[0]["step"] > 12


def test_a_full_disk_is_one_message_and_the_last_good_checkpoint_stays(
    rows, uninterrupted, tmp_path
):
    process = subprocess.Popen(
        command(rows, tmp_path), env=environment(), stderr=subprocess.DEVNULL, text=True
    )
    _wait_for(lambda: len(_whole(tmp_path)) >= 2, process)
    process.kill()
    process.wait()
    kept = _whole(tmp_path)
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192));"
        "from electra_jax.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = command(rows, tmp_path)
    full = subprocess.run(
        [arguments[0], "-c", limited, *arguments[3:]],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert full.returncode == 2, full.stderr
    assert "Traceback" not in full.stderr
    assert kept & _whole(tmp_path)
    assert run(rows, tmp_path).returncode == 0
    _same(tmp_path, uninterrupted)


def _whole(workdir):
    return {p.name for p in _begun(workdir) if p.name.isdigit()}
