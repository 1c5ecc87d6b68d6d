"""Faults injected into real runs: nothing is lost but the steps since the last checkpoint, and the
message says what happened. Short forms of these stand in test_loop.py, test_checkpoint.py,
test_workdir.py and test_distributed.py, and run with every `make test`.
"""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from tiny_run import command, environment, make_rows, metric_rows, models, run

pytestmark = pytest.mark.faults

LONGER = "--config.train.steps=120"
STEPS = 120


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def whole(rows, tmp_path_factory):
    """A run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("whole")
    done = run(rows, workdir, LONGER)
    assert done.returncode == 0, done.stderr
    return workdir


def figures(workdir):
    return [
        {k: v for k, v in row.items() if k not in ("tokens_per_second", "seconds")}
        for row in metric_rows(workdir)
    ]


def check_same(workdir, whole):
    assert models(workdir) == models(whole)
    assert figures(workdir) == figures(whole)


def check_refused(done, *words):
    """Exit code 2, one message that says `words`, no traceback."""
    code, told = done
    assert code == 2, told
    assert "Traceback" not in told
    for word in words:
        assert word in told, told


def finish(rows, workdir, whole):
    """The same command again, to the end."""
    done = run(rows, workdir, LONGER)
    assert done.returncode == 0, done.stderr
    check_same(workdir, whole)
    return done.stderr


class Started:
    """A run under way; killed at the end of the block if it is still there."""

    def __init__(self, rows: Path, workdir: Path, *overrides: str, through: str | None = None):
        words = command(rows, workdir, LONGER, *overrides)
        if through:  # a program that does something first and then is the command line
            words = [words[0], "-c", through, *words[3:]]
        self.process = subprocess.Popen(
            words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def wait_until(self, condition, seconds=400.0):
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[1]
            assert time.monotonic() < end, "nothing happened"
            time.sleep(0.001)

    def end(self, seconds=600.0):
        """(exit code, what it told)."""
        told = self.process.communicate(timeout=seconds)[1]
        return self.process.returncode, told

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        if not self.process.stderr.closed:
            self.process.communicate()


def entries(workdir):
    folder = workdir / "checkpoints"
    return set(folder.iterdir()) if folder.exists() else set()


def saved(workdir):
    return sorted(int(p.name) for p in entries(workdir) if p.name.isdigit())


def test_twenty_kills_at_random_moments_end_with_the_same_bits(rows, tmp_path, capsys):
    """Four times as long a run as elsewhere, so that twenty kills find it under way on a fast
    machine too."""
    steps = f"--config.train.steps={4 * STEPS}"
    whole, workdir = tmp_path / "whole", tmp_path / "killed"
    done = run(rows, whole, steps)
    assert done.returncode == 0, done.stderr
    draw, start = random.Random(2024), 0.0
    reached = []
    for attempt in range(20):
        began = time.monotonic()
        with Started(rows, workdir, steps) as started:
            kind = ("after a row", "anywhere", "in a save")[attempt % 3]
            before, count = entries(workdir), len(metric_rows(workdir))
            if kind == "anywhere":  # imports, restoring and compiling included
                time.sleep(draw.uniform(0, 1.5 * start))
            elif kind == "after a row":
                started.wait_until(lambda count=count: len(metric_rows(workdir)) > count)
                start = start or time.monotonic() - began
                time.sleep(draw.uniform(0, 0.2))
            else:
                started.wait_until(lambda before=before: entries(workdir) - before)
                time.sleep(draw.uniform(0, 0.02))
            started.process.kill()
            assert started.process.wait() == -signal.SIGKILL, "the run had ended before"
        reached.append(max(saved(workdir), default=0))
    done = run(rows, workdir, steps)
    assert done.returncode == 0, done.stderr
    check_same(workdir, whole)
    with capsys.disabled():
        print(f" newest checkpoint after each kill: {reached} ", end="")
    assert "is skipped" not in done.stderr


def test_a_disk_that_fills_up(rows, whole, tmp_path):
    """A file system of its own, so small that the third checkpoint does not fit."""
    one = sum(
        -(-p.stat().st_size // 4096) * 4096
        for p in (whole / "checkpoints" / str(STEPS)).rglob("*")
        if p.is_file()
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    size = f"size={int(2.6 * one)}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting is not permitted here; test_loop.py limits the size of files instead")
    try:
        with Started(rows, disk / "run") as started:
            check_refused(started.end(), "No space left on device", "stays. Free space")
        kept = saved(disk / "run")
        assert kept
        subprocess.run(["mount", "-o", "remount,size=1G", str(disk)], check=True)
        finish(rows, disk / "run", whole)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_shard_that_is_damaged(rows, whole, tmp_path):
    mine = tmp_path / "rows"
    shutil.copytree(rows, mine)
    (shard,) = mine.glob("train-*.bin")
    content = shard.read_bytes()
    middle = len(content) // 4 * 2
    shard.write_bytes(content[:middle] + b"\xff" * 64 + content[middle + 64 :])
    with Started(mine, tmp_path / "run") as started:
        check_refused(started.end(), str(shard), "the file is damaged")
    shard.write_bytes(content)
    finish(mine, tmp_path / "run", whole)


def test_a_shard_that_shrinks_under_a_run(rows, whole, tmp_path):
    mine = tmp_path / "rows"
    shutil.copytree(rows, mine)
    (shard,) = mine.glob("train-*.bin")
    content = shard.read_bytes()
    with Started(mine, tmp_path / "run") as started:
        started.wait_until(lambda: metric_rows(tmp_path / "run"))
        with open(shard, "r+b") as file:
            file.truncate(len(content) // 3)
        check_refused(started.end(), str(shard), "became shorter while it was in use")
    with Started(mine, tmp_path / "run") as started:
        check_refused(started.end(), str(shard), f"rows.json expects {len(content)}")
    shard.write_bytes(content)
    finish(mine, tmp_path / "run", whole)


@pytest.mark.parametrize("how", ["one bit", "half of it", "gone"])
def test_a_file_of_the_newest_checkpoint_that_is_damaged(rows, whole, tmp_path, how):
    with Started(rows, tmp_path) as started:
        started.wait_until(lambda: len(saved(tmp_path)) >= 3)
        started.process.kill()
        started.process.wait()
    folder = tmp_path / "checkpoints"
    # One whose list of files was still to be written has only its arrays' digests: a file that they
    # do not need may be damaged in it.
    listed = [step for step in saved(tmp_path) if (folder / str(step) / "files.json").exists()]
    for step in set(saved(tmp_path)) - set(listed):
        shutil.rmtree(folder / str(step))
    newest = folder / str(listed[-1])
    files = sorted(p for p in newest.rglob("*") if p.is_file() and p.stat().st_size)
    victim = random.Random(how).choice(files)
    content = bytearray(victim.read_bytes())
    if how == "one bit":
        content[len(content) // 2] ^= 16
        victim.write_bytes(content)
    elif how == "half of it":
        victim.write_bytes(content[: len(content) // 2])
    else:
        victim.unlink()
    told = finish(rows, tmp_path, whole)
    if victim.name != "files.json" or how != "gone":  # a list that was never written is no damage
        assert f"checkpoint {newest} is skipped" in told


@pytest.mark.parametrize("jump", ["-31536000", "2592000"], ids=["back a year", "on by a month"])
def test_a_clock_that_jumps(rows, whole, tmp_path, jump):
    """Once the first checkpoint is there. Saves have deadlines by the clock: one that is under way
    when it jumps ahead is given up, with the reason."""
    jumping = """
import pathlib, sys, time
real, first = time.time, pathlib.Path(sys.argv.pop(1))
time.time = lambda: real() + JUMP * first.exists()
from electra_jax.cli import main
sys.exit(main(sys.argv[1:]))
""".replace("JUMP", jump)
    words = command(rows, tmp_path, LONGER, "--config.train.tensorboard=True")
    first = str(tmp_path / "checkpoints" / "3")
    done = subprocess.run(
        [words[0], "-c", jumping, first, *words[3:]],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        check_refused((done.returncode, done.stderr), "the clock jumped ahead", "stays")
        assert saved(tmp_path)
    finish(rows, tmp_path, whole)
    seconds = [row["seconds"] for row in metric_rows(tmp_path) if "seconds" in row]
    assert seconds == sorted(seconds) and seconds[-1] < 1e4


def test_a_second_run_on_the_same_workdir(rows, whole, tmp_path):
    with Started(rows, tmp_path) as first:
        first.wait_until(lambda: metric_rows(tmp_path))
        with Started(rows, tmp_path) as second:
            check_refused(second.end(), "another run uses the workdir", f"pid {first.process.pid}")
        assert first.end()[0] == 0
    check_same(tmp_path, whole)


def test_a_run_in_a_bucket_on_a_machine_that_is_lost(rows, whole, tmp_path):
    """A folder plays the bucket. Each start has nothing but what is in there."""
    bucket = """
import sys
from electra_jax.training.checkpoint import bucket
bucket.is_bucket = lambda path: "my-bucket" in str(path)
from electra_jax.cli import main
sys.exit(main(sys.argv[1:]))
"""
    workdir = tmp_path / "my-bucket"
    with Started(rows, workdir, through=bucket) as started:
        started.wait_until(lambda: len(saved(workdir)) >= 2)
        started.process.kill()
    with Started(rows, workdir, through=bucket) as started:
        code, told = started.end()
    assert code == 0, told
    check_same(workdir, whole)
    assert (workdir / "report.html").exists() and not (workdir / ".lock").exists()
