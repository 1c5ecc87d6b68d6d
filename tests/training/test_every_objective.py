"""What every objective of the table must do: accumulate exactly, agree on meshes, resume bit for
bit, log what it declares, export what loads elsewhere.

In the default suite one stands for all, beside ELECTRA itself, of which test_step.py,
test_sharding.py and test_loop.py show the same.
"""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import pytest
from devices import run_with_devices
from matrix import representative
from objectives.three_steps import three_steps
from objectives.tiny import configured_objective, rows_of
from tiny_run import OVERRIDES, make_rows, metric_rows, pretrain, without_speed

from electra_jax.errors import UserError
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.mapping.hf_config import has_class
from electra_jax.interop.verify import difference
from electra_jax.modeling.trees import flatten
from electra_jax.objectives.table import OBJECTIVES

EACH = representative(OBJECTIVES, "all_tokens_mlm")
VARIANTS = (
    "electra model.sharing=gdes optimizer.order=sequential model.discriminator_head=deberta",
    "all_tokens_mlm model.sharing=gdes optimizer.generator_factor=0.5",
    "replace_mlm model.sharing=nes optimizer.discriminator_clip_norm=0.5",
    "electra_15 model.generator.kind=unigram",
)
LENGTHS = [[16], [11], [16], [5], [16], [16], [9], [13]]


def given_samples(objective):
    """Rows of unequal lengths with replacements of which a third are the originals."""
    ids = rows_of(LENGTHS, 16)
    slots = jnp.arange(objective.masking.max_predictions)[None, :]
    return {"input_ids": ids, "sampled_ids": jnp.where(slots % 3 == 0, ids[:, :1] + 4, 50 + slots)}


@pytest.mark.parametrize("name", EACH)
def test_accumulation_changes_nothing_but_rounding(name):
    objective = configured_objective(name, "objective.mask_prob=0.25")
    batch = given_samples(objective)
    start = jax.jit(lambda: objective.init(jax.random.key(0))[0])()
    ends = [flatten(three_steps(objective, start, batch, accumulate=n)) for n in (1, 4)]
    assert apart(flatten(start), *ends) < 1e-4


def apart(start, one, other):
    """The largest distance between two ends of a parameter, in lengths of its way."""
    return max(
        float(jnp.linalg.norm(one[n] - other[n]) / jnp.linalg.norm(one[n] - start[n]))
        for n in one
        if not n.endswith("key/bias")  # moved by rounding alone
    )


MESHES = """
import json
import flax.linen as nn
import jax, numpy as np
from objectives.three_steps import SETTINGS
from objectives.tiny import configured_objective, quick_jit
from training.test_every_objective import apart, given_samples
from electra_jax.modeling.trees import flatten
from electra_jax.training.optimizer import build_optimizer
from electra_jax.training.schedules import learning_rate_schedule
from electra_jax.training.sharding import (
    LOGICAL_AXES, batch_sharding, make_mesh, replicated, state_shardings)
from electra_jax.training.step import init_state, make_train_step

objective = configured_objective("NAME", "objective.mask_prob=0.25")
shapes = jax.eval_shape(objective.init, jax.random.key(0))[0]
schedule = learning_rate_schedule(1e-3, 100, 0, decay="constant")
optimizer = build_optimizer(shapes, schedule, SETTINGS, groups=objective.parameter_groups())
fresh = jax.device_get(quick_jit(lambda: init_state(objective, optimizer, 0))())
ends = []
for shape in ((1, 1, 1), (4, 1, 1), (1, 2, 2)):
    mesh = make_mesh(dict(zip(("data", "fsdp", "tensor"), shape)),
                     jax.devices()[: int(np.prod(shape))])
    shardings = state_shardings(mesh, jax.eval_shape(lambda: fresh))
    with jax.set_mesh(mesh), nn.logical_axis_rules(LOGICAL_AXES):
        step = quick_jit(make_train_step(objective, optimizer, 0),
                         out_shardings=(shardings, replicated(mesh)))
        state = jax.device_put(fresh, shardings)
        batch = jax.device_put(given_samples(objective), batch_sharding(mesh))
        for _ in range(3):
            state, _ = step(state, batch)
    ends.append(flatten(jax.device_get(state.params)))
print("RESULT" + json.dumps([apart(flatten(fresh.params), ends[0], end) for end in ends[1:]]))
"""


@pytest.mark.parametrize("name", EACH)
def test_every_mesh_agrees(name):
    output = run_with_devices(4, MESHES.replace("NAME", name), timeout=600)
    found = json.loads(output.split("RESULT")[1])
    assert len(found) == 2 and max(found) < 1e-3, found


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return make_rows(tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("named", representative((*OBJECTIVES, *VARIANTS), VARIANTS[0]))
def test_a_run_resumes_bit_for_bit_and_its_networks_load_elsewhere(rows, named, tmp_path):
    name, *overrides = named.split()
    given = [
        *OVERRIDES,
        *(f"--config.data.path={rows}", f"--config.objective.name={name}"),
        *("--config.train.steps=6", "--config.train.log_every=3", "--config.train.eval_every=6"),
        *(f"--config.{override}" for override in overrides),
    ]
    whole = pretrain(given, tmp_path / "whole")
    objective = OBJECTIVES[name]
    declared = {metric.key for metric in objective.metrics} - {"mask_prob"}
    held_out = [row for row in metric_rows(whole) if "eval_loss" in row]
    assert {f"eval_{key}" for key in declared} <= {*held_out[-1]}
    assert held_out[-1]["eval_loss"] < held_out[0]["eval_loss"]

    pretrain(given, tmp_path / "killed", killed_after=5)
    pretrain(given, tmp_path / "killed")
    assert exported(tmp_path / "killed") == exported(whole)
    assert without_speed(tmp_path / "killed")[-1] == without_speed(whole)[-1]

    for network in exported(whole):
        if network == "noise":  # half of Electric: the folder above holds both
            with pytest.raises(UserError, match="read beside its discriminator"):
                load_model_folder(whole / "model" / network)
            assert load_model_folder(whole / "model").params
            continue
        loaded = load_model_folder(whole / "model" / network)
        if not has_class(loaded.config, loaded.kind):
            assert "deberta" in named and network == "discriminator"
            continue
        folder = whole / "model" / network
        measured = difference(folder, loaded.kind, loaded.config, loaded.params)
        assert measured is None or measured[0] <= 1e-4 * max(1, measured[1])


def exported(workdir):
    """{network: bytes} of a run."""
    folders = sorted((workdir / "model").iterdir())
    return {
        folder.name: {
            file.name: file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))
        }
        for folder in folders
    }
