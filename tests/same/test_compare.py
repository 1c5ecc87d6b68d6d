"""The comparison sees what it has to see, and nothing else."""

import gzip
import json
import os

import jax.numpy as jnp
import numpy as np
import pytest
from jax._src import compiler
from safetensors.numpy import save_file
from same import compare, scenarios
from same.driver import Programs

# A step as somebody's code might have it; parts of the text are replaced.
STEP = """
import jax, jax.numpy as jnp

def train_step(weights, moments, inputs, labels, rate):
    def loss(weights):
        hidden = jnp.tanh(inputs @ weights["first"])
        for _ in range(3):
            hidden = jax.nn.gelu(hidden @ weights["second"])
        mean = hidden.mean(-1, keepdims=True)
        hidden = (hidden - mean) / jnp.sqrt(((hidden - mean) ** 2).mean(-1, keepdims=True) + 1e-6)
        chance = jax.nn.softmax(hidden)
        return -jnp.mean(jnp.log(chance[jnp.arange(4), labels] + 1e-9))
    gradient = jax.grad(loss)(weights)
    moments = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments, gradient)
    return jax.tree.map(lambda w, m: w - rate * m, weights, moments), moments

step = jax.jit(train_step)
"""


def programs_of(folder, **changes):
    """The folder of the programs that the step above compiles to, text of it replaced."""
    text = STEP
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    space = {}
    exec(compile(text, str(folder / "step.py"), "exec"), space)
    weights = {"first": jnp.ones((6, 8)), "second": jnp.ones((8, 8))}
    arguments = weights, weights, jnp.ones((4, 6)), jnp.zeros(4, jnp.int32), 0.1
    patched = compiler.compile_or_get_cached
    try:
        Programs().folder = folder
        space["step"].lower(*arguments).compile()
    finally:
        compiler.compile_or_get_cached = patched
    return folder


@pytest.fixture(scope="module")
def step(tmp_path_factory):
    folder = programs_of(tmp_path_factory.mktemp("step"))
    assert len(list(folder.iterdir())) == 1
    return folder


def test_a_moved_and_renamed_step_is_the_same_program(step, tmp_path):
    moved = programs_of(
        tmp_path, train_step="another_name", hidden="activations", **{"\ndef ": "\n\n\ndef "}
    )
    assert compare.program_differences(step, moved) == []


@pytest.mark.parametrize(
    "old, new",
    [("+ 1e-6", "+ 1e-7"), ("0.9 * m + 0.1 * g", "0.1 * (9.0 * m + g)"), ("range(3)", "range(2)")],
    ids=["epsilon", "rounding", "a layer less"],
)
def test_another_step_is_another_program(step, tmp_path, old, new):
    found = compare.program_differences(step, programs_of(tmp_path, **{old: new}))
    assert len(found) == 1 and "program jit_train_step is not compiled by new code" in found[0]


def test_names_metadata_and_places_are_left_out():
    old = """HloModule jit_train_step, is_scheduled=true, entry_computation_layout={(f32[])->f32[]}

FileNames
1 "/a/training/step.py"

StackFrames
1 {file_location_id=1 parent_frame_id=1}


%fused.1 (param_0.2: f32[]) -> f32[] {
  %param_0.2 = f32[] parameter(0)
  ROOT %add.7 = f32[] add(%param_0.2, %param_0.2), metadata={op_name="x={y}/add" stack_frame_id=1}
}

ENTRY %main.9 (state.1: f32[]) -> f32[] {
  %state.1 = f32[] parameter(0), metadata={op_name="state[\\"w\\"]"}
  ROOT %call = f32[] fusion(%state.1), kind=kLoop, calls=%fused.1
}
"""
    new = """HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[])->f32[]}

%fused (param_0.1: f32[]) -> f32[] {
  %param_0.1 = f32[] parameter(0)
  ROOT %sum.3 = f32[] add(%param_0.1, %param_0.1)
}

ENTRY %main.2 (s.1: f32[]) -> f32[] {
  %s.1 = f32[] parameter(0)
  ROOT %fusion = f32[] fusion(%s.1), kind=kLoop, calls=%fused
}
"""
    assert compare.normalised(old) == compare.normalised(new)
    for change in (("add(", "multiply("), ("f32[]", "bf16[]"), ("kLoop", "kInput")):
        assert compare.normalised(old) != compare.normalised(new.replace(*change))


def test_operands_that_change_places_are_seen():
    text = "HloModule m\n\nENTRY %e (a: f32[], b: f32[]) -> f32[] {{\n  %a = f32[] parameter(0)\n"
    text += "  %b = f32[] parameter(1)\n  ROOT %c = f32[] subtract({})\n}}\n"
    one, other = (compare.normalised(text.format(x)) for x in ("%a, %b", "%b, %a"))
    assert one != other


def write_output(folder, loss=1.5, label="good", weight=0.25, digest="00ff", eps=1e-12):
    """An output folder such as a scenario leaves."""
    (folder / "run" / "model").mkdir(parents=True)
    (folder / "run" / "checkpoints" / "6").mkdir(parents=True)
    (folder / "programs").mkdir()
    rows = [{"step": 2, "loss": loss, "seconds": id(folder), "tokens_per_second": id(folder)}]
    (folder / "run" / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "run" / "config.json").write_text(json.dumps({"made": str(folder)}))
    (folder / "run" / "report.html").write_text(str(folder))
    (folder / "run" / "model" / "config.json").write_text(json.dumps({"layer_norm_eps": eps}))
    tensors = {"a": np.full((2, 2), weight, np.float32), "b": np.zeros(3, np.int32)}
    save_file(tensors, folder / "run" / "model" / "model.safetensors")
    document = {"arrays": {"params/a": {"digest": digest}}, "meta": {"seconds": id(folder)}}
    kept = {"custom_metadata": {"document": json.dumps(document), "sha256": str(id(folder))}}
    (folder / "run" / "checkpoints" / "6" / "_CHECKPOINT_METADATA").write_text(json.dumps(kept))
    (folder / "run" / "checkpoints" / "6" / "d").write_bytes(os.urandom(8))
    (folder / "answers.jsonl").write_text(json.dumps({"label": label}) + "\n")
    (folder / "programs" / "jit_f-0.txt.gz").write_bytes(gzip.compress(b"HloModule jit_f\n"))
    return folder


def test_times_and_places_are_no_difference(tmp_path):
    assert compare.differences(*(write_output(tmp_path / name) for name in "ab")) == []


@pytest.mark.parametrize(
    "change, told",
    [
        ({"loss": np.nextafter(1.5, 2.0)}, "run/metrics.jsonl: line 1: loss: 1.5 → 1.5000000000"),
        ({"label": "bad"}, 'answers.jsonl: line 1: label: "good" → "bad"'),
        ({"weight": 0.25000003}, "run/model/model.safetensors: a: up to 2.98e-08 apart"),
        ({"digest": "00fe"}, "_CHECKPOINT_METADATA: arrays.params/a.digest"),
        ({"eps": 1e-6}, "run/model/config.json: layer_norm_eps: 1e-12 → 1e-06"),
    ],
)
def test_one_bit_is_a_difference(tmp_path, change, told):
    old, new = write_output(tmp_path / "a"), write_output(tmp_path / "b", **change)
    found = compare.differences(old, new)
    assert len(found) == 1 and told in found[0]


@pytest.mark.parametrize("name", ["answers.jsonl", "run/model/model.safetensors"])
def test_a_file_that_only_one_side_has(tmp_path, name):
    old, new = write_output(tmp_path / "a"), write_output(tmp_path / "b")
    (new / name).unlink()
    assert compare.differences(old, new) == [f"{name} is missing in the new output"]
    assert compare.differences(new, old) == [f"{name} is new"]


def test_a_program_that_is_no_longer_compiled(tmp_path):
    old, new = write_output(tmp_path / "a"), write_output(tmp_path / "b")
    (new / "programs" / "jit_f-0.txt.gz").unlink()
    assert "program jit_f is not compiled" in compare.differences(old, new)[0]
    assert "only new code compiles" in compare.differences(new, old)[0]


def test_scenarios_have_names_of_their_own():
    names = [scenario.name for scenario in scenarios.SCENARIOS]
    assert len(names) == len(set(names))
    quick = sum(scenario.quick for scenario in scenarios.SCENARIOS)
    assert len(names) / 4 < quick < len(names) / 2


def test_times_inside_lists_are_left_out_and_nothing_else_there():
    rows = [{"seed": 0, "score": 1.0, "seconds": 2.0}, {"seed": 1, "score": 0.5, "seconds": 3.0}]
    later = [{**row, "seconds": 9.0} for row in rows]
    assert compare.value_differences({"seeds": rows}, {"seeds": later}) == []
    later[1]["score"] = 0.25
    assert compare.value_differences({"seeds": rows}, {"seeds": later}) == [
        "seeds[1].score: 0.5 → 0.25"
    ]
    assert compare.value_differences({"seeds": rows}, {"seeds": rows[:1]})
