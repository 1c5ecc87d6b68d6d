"""What must be right on an accelerator before its speed means anything; one JSON object a check.

    python benchmarks/accelerator_checks.py golden --inputs=accelerator_inputs/ [--record]
    python benchmarks/accelerator_checks.py paths --inputs=accelerator_inputs/ --block=bert
    python benchmarks/accelerator_checks.py resume --inputs=accelerator_inputs/ --workdir=DIR

`golden`: the first steps of a small pair in float32 beside those that a CPU recorded (`--record`).
`paths`: the gradient by every way of computing it (layers scanned or unrolled, what is kept for
the backward pass, XLA's attention and cuDNN's, packed rows, bfloat16) beside the plain one in
float32, as ‖difference‖ ÷ ‖plain‖ over the whole tree. `resume`: a digest of the state after N
steps; `--stop` ends at N/2, and the same command without it goes on from there. Needs neither
TensorFlow nor ml_collections; run by `accelerator.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from electra_jax.config.model import ElectraConfig, PairConfig, generator_of
from electra_jax.config.training import NO_DECAY
from electra_jax.data.batches import train_batches
from electra_jax.data.rows import Rows
from electra_jax.objectives.corruption import Masking
from electra_jax.objectives.electra import ElectraObjective, ElectraSettings
from electra_jax.objectives.rng import Draws
from electra_jax.objectives.row_structure import SpecialIds
from electra_jax.training.loop import fit
from electra_jax.training.optimizer import build_optimizer
from electra_jax.training.run import LoopSettings, Run
from electra_jax.training.schedules import learning_rate_schedule
from electra_jax.training.sharding import make_mesh
from electra_jax.training.step import Packing, init_state, make_train_step, pack, run_key

BEGIN = time.monotonic()
BLOCKS = ("bert", "modern")
GOLDEN_STEPS = 3
GOLDEN_RATE = 1e-4
GOLDEN = ("generator_loss", "discriminator_loss", "gradient_norm")


def note(what: str) -> None:
    """Says on stderr how far a check has come, for one that runs out of time."""
    print(f"{time.monotonic() - BEGIN:.0f} s: {what}", file=sys.stderr, flush=True)


def small_pair(rows: Rows, block: str, layers: int, **changes: Any) -> PairConfig:
    """A pair 256 wide over the rows' vocabulary."""
    shape = ElectraConfig(
        block=block,
        vocab_size=rows.vocab_size,
        pad_token_id=rows.special_ids["pad"],
        embedding_size=128 if block == "bert" else 256,
        num_hidden_layers=layers,
        intermediate_size=1024 if block == "bert" else 384,
        layer_norm_eps=1e-12 if block == "bert" else 1e-5,
    ).replace(**changes)
    if block == "modern":
        return PairConfig(shape, shape.replace(num_hidden_layers=1))
    return PairConfig(shape, generator_of(shape))


def objective_over(rows: Rows, pair: PairConfig) -> ElectraObjective:
    """The published settings over rows."""
    special = SpecialIds(**rows.special_ids)
    masking = Masking(ElectraSettings(), special, rows.seq_len, rows.max_segments)
    return ElectraObjective(pair, masking.settings, masking)


def adam(params: Any, schedule: Any) -> optax.GradientTransformation:
    """The reference's optimizer."""
    settings = {"name": "adam_reference", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-6}
    return build_optimizer(
        params,
        schedule,
        {**settings, "weight_decay": 0.01, "no_decay": NO_DECAY, "clip_norm": 1.0},
    )


def golden(a: argparse.Namespace) -> dict[str, Any]:
    """Each step's numbers here, and the largest relative distance from the recorded ones."""
    rows = Rows.open(a.inputs / "single-128")
    file = a.inputs / "golden.json"
    found: dict[str, list[dict[str, float]]] = {}
    for block in BLOCKS:
        objective = objective_over(rows, small_pair(rows, block, 2))
        params, _ = jax.eval_shape(objective.init, jax.random.key(0))
        optimizer = adam(params, learning_rate_schedule(GOLDEN_RATE, 1, 0, decay="constant"))
        step = make_train_step(objective, optimizer, seed=0)
        with jax.default_matmul_precision("highest"):
            state = jax.jit(lambda: init_state(objective, optimizer, 0))()  # noqa: B023
            batch = {"input_ids": jnp.asarray(rows.take(np.arange(8)))}
            sums = jax.eval_shape(step, state, batch)[1]
            compiled = jax.jit(lambda s, b: (lambda r: (r[0], pack(r[1])))(step(s, b)))  # noqa: B023
            found[block] = []
            note(f"{block}: initialised")
            for _ in range(GOLDEN_STEPS):
                state, vector = compiled(state, batch)
                each = Packing(sums).unpack(np.asarray(vector))
                norm = float(each["gradient_norm"][0])
                numbers = {**objective.summarize(each), "gradient_norm": norm}
                found[block].append({name: numbers[name] for name in GOLDEN})
                note(f"{block}: {len(found[block])} steps")
    if a.record:
        file.write_text(json.dumps(found, indent=1))
        return {"check": "golden", "recorded": found}
    recorded = json.loads(file.read_text())
    distances = {
        block: [
            {name: abs(here[name] - there[name]) / max(abs(there[name]), 1e-9) for name in GOLDEN}
            for here, there in zip(found[block], recorded[block], strict=True)
        ]
        for block in BLOCKS
    }
    first = max(max(steps[0].values()) for steps in distances.values())
    return {
        "check": "golden",
        "ok": bool(first < 1e-3),
        "first_step": first,
        "last_step": max(max(steps[-1].values()) for steps in distances.values()),
        "relative_distances": distances,
        "here": found,
        "there": recorded,
    }


def paths(a: argparse.Namespace) -> dict[str, Any]:
    """Relative norms of every path's gradient from the plain one's, single rows and packed."""
    cudnn = jax.default_backend() == "gpu"
    fused = {"attention": "cudnn", "dtype": "bfloat16"}
    variants: dict[str, dict[str, Any]] = {
        "float32, default precision": {"precision": "default"},
        "float32 unrolled": {"scan_layers": False},
        "float32 remat full": {"remat": "full"},
        "float32 remat dots": {"remat": "dots"},
        "bfloat16": {"dtype": "bfloat16"},
        "bfloat16 unrolled": {"dtype": "bfloat16", "scan_layers": False},
    }
    if cudnn:
        variants["bfloat16 cudnn"] = fused
        variants["bfloat16 cudnn unrolled"] = {**fused, "scan_layers": False}
    packed = {"bfloat16": {"dtype": "bfloat16"}, **({"bfloat16 cudnn": fused} if cudnn else {})}
    # A wide initialisation: at the usual one attention is nearly even, and would hide a fault.
    shape = {"initializer_range": 0.1, "attention_probs_dropout_prob": 0.0}
    distances: dict[str, dict[str, float]] = {}
    for folder, tried in (("single-128", variants), ("packed-512", packed)):
        rows = Rows.open(a.inputs / folder)
        count = 2 if a.tiny else 16 if rows.seq_len == 128 else 8
        ids = rows.take(np.arange(count))
        ids[count // 2 :, rows.seq_len * 3 // 4 :] = rows.special_ids["pad"]  # some are short
        plain = objective_over(rows, small_pair(rows, a.block, 3, **shape))
        params = jax.jit(lambda: plain.init(jax.random.key(0))[0])()  # noqa: B023
        note(f"{folder}: initialised")

        def compiled(changes: dict[str, Any]) -> Any:
            changes = dict(changes)
            precision = changes.pop("precision", "highest")
            objective = objective_over(rows, small_pair(rows, a.block, 3, **shape, **changes))  # noqa: B023
            return _gradient(objective, params, ids, precision)  # noqa: B023

        # Compilations run beside each other; what is compiled does not, for it may be a CUDA graph.
        with ThreadPoolExecutor(4) as pool:
            asked = {name: pool.submit(compiled, v) for name, v in {"plain": {}, **tried}.items()}
            programs = {name: job.result() for name, job in asked.items()}
        found = {}
        for name, program in programs.items():
            value, vector = program(params)
            found[name] = float(value), np.asarray(vector, np.float64)
            note(f"{folder}, {name}: {found[name][0]:.4f}")
        loss, reference = found.pop("plain")
        for name, (value, vector) in found.items():
            away = float(np.linalg.norm(vector - reference) / np.linalg.norm(reference))
            distances[f"{folder}: {name}"] = {"gradient": away, "loss": abs(value / loss - 1)}
    limits = {n: 5e-2 if "bf" in n else 1e-2 if "default" in n else 1e-4 for n in distances}
    return {
        "check": f"paths {a.block}",
        "ok": bool(all(distances[n]["gradient"] < limit for n, limit in limits.items())),
        "relative_norms": distances,
    }


def _gradient(objective: ElectraObjective, params: Any, ids: np.ndarray, precision: str) -> Any:
    """Compiled: parameters → (loss, gradient as one vector), with replacements that are given, so
    that none can flip."""
    batch = {"input_ids": jnp.asarray(ids)}
    slots = objective.masking.max_predictions
    rng = np.random.default_rng(0)
    batch["sampled_ids"] = jnp.asarray(rng.integers(1000, 2000, (len(ids), slots)), jnp.int32)

    def total(params: Any) -> jax.Array:
        draws = Draws(run_key(0, "train"), jnp.zeros((), jnp.int32), jnp.arange(len(ids)))
        terms, _ = objective.loss(params, {}, batch, draws, True)
        parts = (c * terms[n][0] / terms[n][1] for n, c in objective.coefficients.items())
        return jnp.asarray(sum(parts))

    def both(params: Any) -> tuple[jax.Array, jax.Array]:
        loss, gradient = jax.value_and_grad(total)(params)
        return loss, jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(gradient)])

    with jax.default_matmul_precision(None if precision == "default" else precision):
        return jax.jit(both).lower(params).compile()


def resume(a: argparse.Namespace) -> dict[str, Any]:
    """The digest of the state that a run of `--steps` ends in, through the library's own loop."""
    rows = Rows.open(a.inputs / "single-128")
    dropout = {"attention": a.attention}
    if a.attention == "cudnn":
        dropout["attention_probs_dropout_prob"] = 0.0  # type: ignore[assignment]
    pair = small_pair(rows, "bert", 2, dtype="bfloat16", **dropout)
    schedule = learning_rate_schedule(1e-3, a.steps, a.steps // 4)

    def batches(first_example: int) -> Any:
        return train_batches(
            rows, seed=0, batch_size=a.batch_size, start_example=first_example, backend="numpy"
        )

    run = Run(
        objective=objective_over(rows, pair),
        optimizer=lambda params: adam(params, schedule),
        schedule=schedule,
        settings=LoopSettings(
            steps=a.steps,
            batch_size=a.batch_size,
            log_every=max(1, a.steps // 4),
            eval_every=a.steps // 2,
            checkpoint_every=a.steps // 2,
        ),
        batches=batches,
        mesh=make_mesh({"data": -1, "fsdp": 1, "tensor": 1}),
        workdir=a.workdir,
        measure=lambda state, step: {},
        finished=(lambda row: row["step"] >= a.steps // 2) if a.stop else None,
        tensorboard=False,
        quiet=True,
    )
    a.workdir.mkdir(parents=True, exist_ok=True)
    note("starts")
    state = fit(run)
    note("done")
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        digest.update(np.asarray(leaf).tobytes())
    rows_of_metrics = (a.workdir / "metrics.jsonl").read_text().splitlines()
    return {
        "check": "resume",
        "step": int(state.step),
        "digest": digest.hexdigest(),
        "last": [
            r.get("loss") for r in map(json.loads, rows_of_metrics) if r.get("loss") is not None
        ],
    }


def parser() -> argparse.ArgumentParser:
    """The flags."""
    result = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("check", choices=("golden", "paths", "resume"))
    result.add_argument("--inputs", type=Path, default=Path("accelerator_inputs"))
    result.add_argument("--record", action="store_true", help="golden: keep what is found here")
    result.add_argument("--block", choices=BLOCKS, default="bert", help="paths: whose layers")
    result.add_argument("--tiny", action="store_true", help="paths: two rows")
    result.add_argument("--workdir", type=Path, help="resume: the run's folder")
    result.add_argument("--attention", choices=("xla", "cudnn"), default="xla")
    result.add_argument("--steps", type=int, default=40, help="resume: N")
    result.add_argument("--batch_size", type=int, default=64)
    result.add_argument("--stop", action="store_true", help="resume: end at N/2")
    return result


def main() -> None:
    """Checks and prints."""
    a = parser().parse_args()
    print(json.dumps({"golden": golden, "paths": paths, "resume": resume}[a.check](a)))


if __name__ == "__main__":
    main()
