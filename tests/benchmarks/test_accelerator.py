"""`accelerator.py` and its checks, tried without an accelerator."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def accelerator(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import accelerator

    return accelerator


class Stub:
    """A contestant or a check: its answers in order, then none; an exception is raised."""

    def __init__(self, name, *answers):
        self.name, self.flags, self.xla_flags = name, [], ""
        self.answers, self.stopped = list(answers), False

    def answer(self, seconds):
        found = self.answers.pop(0) if self.answers else time.sleep(0.01)
        if isinstance(found, Exception):
            raise found
        return found

    def seconds(self, units, until):
        return self.answer(0.0)

    def complaint(self):
        return "no word"

    def stop(self):
        self.stopped = True


def test_the_checks_need_neither_tensorflow_nor_ml_collections_and_a_resumed_run_is_the_same(
    tmp_path,
):
    script = f"""
import argparse, json, sys
from pathlib import Path
for name in ("tensorflow", "ml_collections", "torch"):
    sys.modules[name] = None
sys.path.insert(0, {str(BENCHMARKS)!r})
import accelerator
import accelerator_checks
from electra_jax.config.model import ElectraConfig, PairConfig
from workload import synthetic_ids, write_rows

folder = Path({str(tmp_path)!r})
write_rows(folder / "single-128", synthetic_ids(16, 16, 200), 200)
shape = ElectraConfig(vocab_size=200, embedding_size=16, hidden_size=16, num_hidden_layers=1,
                      num_attention_heads=2, intermediate_size=32)
accelerator_checks.small_pair = lambda rows, block, layers, **changes: PairConfig(shape, shape)
for workdir, stop in (("whole", False), ("parts", True), ("parts", False)):
    a = argparse.Namespace(inputs=folder, attention="xla", steps=4, batch_size=4, stop=stop,
                           workdir=folder / workdir)
    print(json.dumps(accelerator_checks.resume(a)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    whole, stopped, resumed = map(json.loads, done.stdout.splitlines()[-3:])
    assert (whole["step"], stopped["step"], resumed["step"]) == (4, 2, 4)
    assert resumed["digest"] == whole["digest"] != stopped["digest"]
    assert resumed["last"] == whole["last"]


def test_the_checks_go_first_and_what_failed_is_named(accelerator):
    report = accelerator.Report(10.0, None)
    seen, running = [], []

    def job(name, *answers, then=None):
        def start():
            seen.append(name)
            running.append(Stub(name, *answers))
            return running[-1]

        return accelerator.Job(name, start, then)

    follows = job("follows", {"ok": 1}, then=lambda found: [])
    jobs = [
        job("check", None, {"ok": 1}, then=lambda found: [follows]),
        job("ours", {"compile_seconds": 1.0}),
        job("broken", RuntimeError("no memory")),
    ]
    ready = accelerator.compile_all(report, jobs, 1, report.end)
    assert seen == ["check", "follows", "ours", "broken"]
    assert list(ready) == ["ours"] and report.left_out == {"broken": "no memory"}


def test_what_is_not_compiled_in_time_is_left_out(accelerator):
    report = accelerator.Report(0.1, None)
    slow = Stub("slow")
    jobs = [accelerator.Job("slow", lambda: slow), accelerator.Job("next", lambda: slow)]
    assert accelerator.compile_all(report, jobs, 1, report.end) == {}
    assert slow.stopped and set(report.left_out) == {"slow", "next"}
    assert report.left_out["next"] == "no time left"


def test_contestants_take_turns_and_the_ratio_is_of_rounds(accelerator, tmp_path):
    a = accelerator.argparse.Namespace(tiny=False, rounds=3, steps=10)
    report = accelerator.Report(10.0, tmp_path)
    ours = {
        "tokens_per_step": 100.0,
        "flops_per_token": 3.0,
        "peak_flops": 1000.0,
        "compile_seconds": 2.0,
    }
    contestants = [
        (Stub("ours", 9.0, 1.0, 2.0, 1.0), ours),
        (Stub("peer", 9.0, 3.0, 3.0, 3.0), {"batch_size": 2}),
        (Stub("ill", RuntimeError("fell over")), {"batch_size": 2}),
    ]
    accelerator.in_turns(a, report, contestants, accelerator.CELLS["base"])
    found = json.loads((tmp_path / "accelerator.json").read_text())
    assert found["results"]["ours"]["tokens_per_second"] == 100.0
    assert found["results"]["ours"]["mfu"] == pytest.approx(0.3)
    assert found["results"]["peer"]["ratio"] == [3.0, 1.5, 3.0]
    assert found["left_out"] == {"ill": "fell over"}
