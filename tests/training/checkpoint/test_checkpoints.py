"""Checkpoints: what is restored is what was saved, bit for bit, or it is not restored at all."""

import logging
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from devices import run_with_devices

from electra_jax.errors import UserError
from electra_jax.training.checkpoint import checkpoints as checkpoint
from electra_jax.training.checkpoint import integrity
from electra_jax.training.checkpoint.checkpoints import Checkpoints


def make_state(seed: int = 0):
    """One leaf of each kind that a run has: bf16, int32, scalars, typed keys, optax tuples."""
    key = jax.random.key(seed)
    params = {
        "electra": {"kernel": jax.random.normal(key, (40, 30)), "bias": jnp.zeros(30)},
        "half": jax.random.normal(key, (7, 3), jnp.bfloat16),
    }
    return {
        "params": params,
        "optimizer": optax.chain(optax.clip(1.0), optax.adam(1e-3)).init(params),
        "step": jnp.int32(seed),
        "key": key,
        "keys": jax.random.split(key, 3),
        "flags": jnp.array([True, False]),
        "empty": jnp.zeros((0, 4)),
        "not a number": jnp.array([jnp.nan, -jnp.nan, -0.0, jnp.inf]),
    }


def bits(tree):
    """Every leaf as bytes: equality of these has no opinion on NaN or the sign of zero."""

    def raw(leaf):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        return np.asarray(leaf).tobytes()

    return jax.tree.map(raw, tree)


def abstract(state):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


@pytest.fixture
def two_saved(tmp_path):
    """A folder with checkpoints 1 and 2, of seeds 1 and 2."""
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, make_state(step), {"examples_seen": step * 32})
    return folder


def test_a_round_trip_returns_every_bit_and_the_classes(two_saved):
    expected = make_state(2)
    step, state, meta = Checkpoints(two_saved).restore(abstract(expected))
    assert (step, meta) == (2, {"examples_seen": 64})
    assert bits(state) == bits(expected)
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    assert [x.dtype for x in jax.tree.leaves(state)] == [x.dtype for x in jax.tree.leaves(expected)]


def test_shapes_alone_are_enough_to_restore(two_saved):
    _, state, _ = Checkpoints(two_saved).restore(jax.eval_shape(make_state))
    assert bits(state) == bits(make_state(2))


def test_a_folder_without_checkpoints_restores_none(tmp_path):
    checkpoints = Checkpoints(tmp_path / "nothing")
    assert checkpoints.restore(jax.eval_shape(make_state)) is None
    assert checkpoints.steps() == []


def test_a_given_step_is_restored_and_a_missing_one_named(two_saved):
    checkpoints = Checkpoints(two_saved)
    assert checkpoints.restore(abstract(make_state()), step=1)[0] == 1
    with pytest.raises(UserError, match=r"no checkpoint of step 7 .* only \[1, 2\]"):
        checkpoints.restore(abstract(make_state()), step=7)


def test_arrays_may_be_donated_as_soon_as_save_returns(tmp_path):
    overwrite = jax.jit(lambda tree: jax.tree.map(lambda x: x * 2 + 1, tree), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        for step in range(3):
            state = {str(i): jnp.full((512, 512), float(step * 10 + i)) for i in range(8)}
            expected = bits(state)
            shapes = abstract(state)
            checkpoints.save(step, state, {})
            for _ in range(4):
                state = overwrite(state)
            jax.block_until_ready(state)
            assert bits(checkpoints.restore(shapes)[1]) == expected


def test_restored_arrays_may_be_donated_and_saved_again(two_saved):
    checkpoints = Checkpoints(two_saved)
    _, state, _ = checkpoints.restore(abstract(make_state()))
    state = state["params"]
    once = bits(jax.tree.map(lambda x: x + 1, state))
    state = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)(state)
    assert bits(state) == once


@pytest.mark.parametrize(
    ("keep", "keep_every", "left"),
    [(3, None, [5, 6, 7]), (1, None, [7]), (2, 3, [0, 3, 6, 7])],
)
def test_retention(tmp_path, keep, keep_every, left):
    with Checkpoints(tmp_path, keep=keep, keep_every=keep_every) as checkpoints:
        for step in range(8):
            checkpoints.save(step, {"x": jnp.int32(step)}, {})
        checkpoints.wait()
        assert checkpoints.steps() == left
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [str(step) for step in left]


def test_an_asynchronous_save_returns_before_it_is_written(tmp_path, monkeypatch):
    finish = Checkpoints._finish
    returned = threading.Event()

    def finish_afterwards(*arguments):
        assert returned.wait(60), "save waits for the writing"
        finish(*arguments)

    monkeypatch.setattr(Checkpoints, "_finish", finish_afterwards)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"x": jnp.ones(3)}, {})
        returned.set()
        checkpoints.wait()
        assert checkpoints.steps() == [1]


def test_a_synchronous_save_returns_when_it_is_written(tmp_path):
    with Checkpoints(tmp_path, asynchronous=False) as checkpoints:
        checkpoints.save(1, {"x": jnp.ones(3)}, {})
        assert (tmp_path / "1" / "files.json").exists()


def test_saving_a_step_again_replaces_it(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for value in (1.0, 2.0):
            checkpoints.save(5, {"x": jnp.float32(value)}, {"value": value})
        step, state, meta = checkpoints.restore({"x": jax.ShapeDtypeStruct((), jnp.float32)})
    assert (step, float(state["x"]), meta) == (5, 2.0, {"value": 2.0})


@pytest.mark.parametrize("name", ["keep", "keep_every"])
def test_keeping_nothing_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=name):
        Checkpoints(tmp_path, **{name: 0})


# Torn and corrupt


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)


def largest_file(folder: Path) -> Path:
    return max(files_of(folder), key=lambda path: path.stat().st_size)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [truncate, empty, remove, flip_a_bit])
def test_a_harmed_newest_checkpoint_is_skipped_and_named(two_saved, caplog, harm):
    harm(largest_file(two_saved / "2"))
    step, state, meta = Checkpoints(two_saved).restore(abstract(make_state()))
    assert (step, meta) == (1, {"examples_seen": 32})
    assert bits(state) == bits(make_state(1))
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert warning.startswith(f"checkpoint {two_saved / '2'} is skipped: ")


@pytest.mark.parametrize("harm", [truncate, remove, flip_a_bit])
def test_harm_to_any_file_is_noticed(two_saved, caplog, harm):
    shutil.copytree(two_saved / "2", two_saved.parent / "whole")
    for file in files_of(two_saved / "2"):
        if harm is remove and file.name == "files.json":
            continue  # the list of files itself: see the next test
        harm(file)
        step, state, _ = Checkpoints(two_saved).restore(abstract(make_state()))
        assert (step, bits(state)) == (1, bits(make_state(1))), file
        assert file.name == "files.json" or file.name in caplog.records[-1].getMessage()
        shutil.rmtree(two_saved / "2")
        shutil.copytree(two_saved.parent / "whole", two_saved / "2")


def test_without_the_list_of_files_the_digests_notice(two_saved):
    """As after a kill right before the list is written. In a process of its own, because Orbax
    leaves reads running when one of them fails, which print what pytest takes for an error."""
    script = """
import sys, pathlib, jax, jax.numpy as jnp
from electra_jax.training.checkpoint.checkpoints import Checkpoints

shapes = {"a": jax.ShapeDtypeStruct((64, 64), jnp.float32)}
folder = pathlib.Path(sys.argv[1])
with Checkpoints(folder, keep=9) as checkpoints:
    for step in range(4):
        checkpoints.save(step, {"a": jax.random.normal(jax.random.key(step), (64, 64))}, {})
for step in range(4):
    (folder / str(step) / "files.json").unlink()
    files = [path for path in (folder / str(step)).rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    if step == 1:
        largest.unlink()
    if step == 2:
        largest.write_bytes(content[: len(content) // 2])
    if step == 3:
        content[len(content) // 2] ^= 4
        largest.write_bytes(content)
print(Checkpoints(folder).restore(shapes)[0])
"""
    assert run_with_devices(1, script, str(two_saved.parent / "bare")).strip() == "0"


def test_an_array_that_differs_from_its_digest_is_refused(two_saved, caplog, monkeypatch):
    """What no checksum of the storage notices: different arrays, written as they are."""
    load = checkpoint._orbax().load

    def swapped(path, *arguments):
        state = load(path, *arguments)
        if path.name == "2":
            state["params/electra/kernel"] = state["params/electra/kernel"].at[0].multiply(-1)
        return state

    monkeypatch.setattr(checkpoint._orbax(), "load", swapped)
    assert Checkpoints(two_saved).restore(abstract(make_state()))[0] == 1
    assert "params/electra/kernel" in caplog.text


def test_a_corrupt_checkpoint_is_put_aside_by_the_next_save_and_its_step_is_free(two_saved):
    truncate(largest_file(two_saved / "2"))
    with Checkpoints(two_saved, keep=1) as checkpoints:
        checkpoints.restore(abstract(make_state()))
        assert checkpoints.steps() == [1]
        assert (two_saved / "2").is_dir()  # reading changes nothing
        checkpoints.save(2, make_state(2), {"again": True})
        checkpoints.wait()
        assert checkpoints.steps() == [2]
        step, state, meta = checkpoints.restore(abstract(make_state()))
    assert (step, meta, bits(state)) == (2, {"again": True}, bits(make_state(2)))
    assert (two_saved / "corrupt-2").is_dir()


def test_when_no_checkpoint_is_whole_the_run_is_not_begun_anew_in_silence(two_saved):
    for step in ("1", "2"):
        truncate(largest_file(two_saved / step))
    checkpoints = Checkpoints(two_saved)
    for _ in range(2):
        with pytest.raises(UserError, match=r"no checkpoint in .* can be read \(tried \[2, 1\]"):
            checkpoints.restore(abstract(make_state()))


def test_what_a_killed_save_left_is_ignored_and_cleared_by_the_next(two_saved):
    left = [two_saved / "9.orbax-checkpoint-tmp", two_saved / "discarded-0"]
    for folder in left:
        shutil.copytree(two_saved / "1", folder)
    with Checkpoints(two_saved) as checkpoints:
        assert checkpoints.steps() == [1, 2]
        assert checkpoints.restore(abstract(make_state()))[0] == 2
        checkpoints.save(3, make_state(3), {})
    assert not any(folder.exists() for folder in left)


# Another tree


def test_another_tree_is_refused_with_the_differences(two_saved):
    other = make_state()
    other["params"]["electra"]["kernel"] = jnp.zeros((40, 31))
    other["params"]["half"] = other["params"]["half"].astype(jnp.float32)
    other["params"]["extra"] = other.pop("flags")
    with pytest.raises(UserError) as error:
        Checkpoints(two_saved).restore(abstract(other))
    message = str(error.value)
    for line in (
        str(two_saved / "2"),
        "  only in the checkpoint: flags",
        "  not in the checkpoint: params/extra",
        "  params/electra/kernel: checkpoint float32[40, 30], this run float32[40, 31]",
        "  params/half: checkpoint bfloat16[7, 3], this run float32[7, 3]",
    ):
        assert line in message


# Digests


def test_digests_and_restores_are_the_same_on_every_mesh(tmp_path):
    """Saved on a 4 × 2 mesh, restored on 2 × 4, on one axis of 8, and on one device."""
    script = """
import sys, jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P, SingleDeviceSharding
from electra_jax.training.checkpoint.checkpoints import Checkpoints
from electra_jax.training.checkpoint.integrity import digests

def mesh(*shape):
    return jax.make_mesh(shape, ("data", "fsdp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)

values = {"a": jnp.arange(64.0 * 24).reshape(64, 24), "b": jnp.arange(8, dtype=jnp.bfloat16),
          "k": jax.random.key(1), "s": jnp.int32(3)}
def specs(m):
    return {"a": NamedSharding(m, P("data", "fsdp")), "b": NamedSharding(m, P("fsdp")),
            "s": NamedSharding(m, P()), "k": NamedSharding(m, P())}
first = specs(mesh(4, 2))
state = {n: jax.device_put(values[n], first[n]) for n in values}
plain = digests(list(values.values()))
assert plain == digests(list(state.values()))
with Checkpoints(sys.argv[1]) as checkpoints, jax.set_mesh(mesh(4, 2)):
    checkpoints.save(1, state, {})
    one = {n: SingleDeviceSharding(jax.devices()[5]) for n in values}
    for target in (specs(mesh(2, 4)), specs(mesh(8, 1)), one):
        asked = {n: jax.ShapeDtypeStruct(values[n].shape, values[n].dtype, sharding=target[n])
                 for n in values}
        _, back, _ = checkpoints.restore(asked)
        assert digests(list(back.values())) == plain
        for n in ("a", "b", "s"):
            assert back[n].sharding.is_equivalent_to(target[n], back[n].ndim), n
            np.testing.assert_array_equal(np.asarray(back[n], np.float32),
                                          np.asarray(values[n], np.float32))
        assert back["k"].sharding.is_equivalent_to(target["k"], 0)
print("whole")
"""
    assert run_with_devices(8, script, str(tmp_path)).strip() == "whole"
    # and here, where there are fewer devices than when it was written
    asked = {
        "a": jax.ShapeDtypeStruct((64, 24), jnp.float32),
        "b": jax.ShapeDtypeStruct((8,), jnp.bfloat16),
        "s": jax.ShapeDtypeStruct((), jnp.int32),
        "k": jax.eval_shape(lambda: jax.random.key(1)),
    }
    _, state, _ = Checkpoints(tmp_path).restore(asked)
    np.testing.assert_array_equal(state["a"].ravel(), np.arange(64.0 * 24))


# Disks and kills


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with Checkpoints(tmp_path / "file" / "checkpoints") as checkpoints:
        with pytest.raises(UserError, match=r"cannot write checkpoint .*: (Not a dir|File exists)"):
            checkpoints.save(1, {"x": jnp.ones(3)}, {})


def test_a_full_disk_is_one_user_error_and_the_last_good_checkpoint_stays(tmp_path):
    """The limit on file size makes each write beyond it fail, as a full disk would."""
    script = """
import resource, sys, jax, jax.numpy as jnp
from electra_jax.errors import UserError
from electra_jax.training.checkpoint.checkpoints import Checkpoints

def state(step):
    return {"noise": jax.random.normal(jax.random.key(step), (300, 300)), "step": jnp.int32(step)}

checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(1, state(1), {})
checkpoints.wait()
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
checkpoints.save(2, state(2), {})
try:
    checkpoints.wait()
except UserError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert checkpoints.restore(jax.eval_shape(lambda: state(0)))[0] == 1
checkpoints.save(3, state(3), {})
checkpoints.close()
print(checkpoints.steps())
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert (done.returncode, done.stderr) == (0, "")  # one error, told once
    first, last = done.stdout.strip().splitlines()
    assert first.startswith(f"cannot write checkpoint {tmp_path / '2'}: File too large")
    assert "checkpoint 1 stays" in first
    assert last == "[1, 3]"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["1", "3"]


@pytest.mark.parametrize(("processes", "kind"), [(1, UserError), (2, TimeoutError)])
def test_a_timeout_is_of_the_disk_where_no_other_process_can_be_lost(
    tmp_path, monkeypatch, processes, kind
):
    class Response:
        def result(self):
            raise TimeoutError("Timed out while waiting for async_commit_complete barrier.")

    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(checkpoint.jax, "process_count", lambda: processes)
        with pytest.raises(kind, match=r"took too long|async_commit_complete"):
            checkpoints._finish(Response(), tmp_path / "1")


def test_an_error_in_the_background_surfaces_at_the_next_save_once(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(integrity, "_sync", full)
        checkpoints.save(1, {"x": jnp.ones(3)}, {})
        checkpoints._thread.submit(monkeypatch.undo).result()  # after what the thread has begun
        with pytest.raises(UserError, match="No space left on device"):
            checkpoints.save(2, {"x": jnp.ones(3)}, {})
        checkpoints.save(2, {"x": jnp.ones(3)}, {})


def test_an_error_that_is_not_the_disks_is_not_called_one(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(TypeError):
            checkpoints.save(1, {"x": jnp.ones(3)}, {"meta": object()})


SAVES_FOR_EVER = """
import sys, itertools, jax, jax.numpy as jnp
from electra_jax.training.checkpoint.checkpoints import Checkpoints
state = lambda s: {str(i): jnp.full((200, 200), s * 10 + i, jnp.int32) for i in range(6)}
shapes = jax.eval_shape(lambda: state(0))
with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    restored = checkpoints.restore(shapes)
    first = restored[0] + 1 if restored else 0
    for step in itertools.count(first):
        checkpoints.save(step, state(step), {"step": step})
        print(step, flush=True)
"""


def kill_a_writer(folder: Path, rng: random.Random) -> int:
    """Starts a process that saves without end, kills it at a random moment.

    Returns the step whose save had certainly finished by then: the one before the last announced.
    """
    child = subprocess.Popen(
        [sys.executable, "-c", SAVES_FOR_EVER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    with child:
        assert child.stdout is not None
        for _ in range(rng.randrange(2, 6)):
            line = child.stdout.readline()
        time.sleep(rng.random() * 0.12)
        child.send_signal(signal.SIGKILL)
        lines = [line, *child.stdout.read().splitlines(keepends=True)]
    return int([text for text in lines if text.endswith("\n")][-1]) - 1


def check_kills(folder: Path, times: int, caplog) -> None:
    rng = random.Random(7)
    shapes = {str(i): jax.ShapeDtypeStruct((200, 200), jnp.int32) for i in range(6)}
    for _ in range(times):
        finished = kill_a_writer(folder, rng)
        step, state, meta = Checkpoints(folder).restore(shapes)
        assert step >= finished
        assert meta == {"step": step}
        for name, array in state.items():
            assert (np.asarray(array) == step * 10 + int(name)).all()
    assert "is skipped" not in caplog.text


def test_a_killed_writer_leaves_its_last_finished_checkpoint(tmp_path, caplog):
    check_kills(tmp_path, 3, caplog)


@pytest.mark.faults
def test_twenty_kills_leave_the_last_finished_checkpoint(tmp_path, caplog):
    check_kills(tmp_path, 20, caplog)


# Manners


def test_orbax_is_silent_and_other_users_of_its_logger_are_not(tmp_path):
    script = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, format="%(name)s %(message)s")
logging.getLogger("jax").setLevel(logging.WARNING)
logging.getLogger("asyncio").setLevel(logging.WARNING)
import absl.logging
absl.logging.set_verbosity("debug")
import jax, jax.numpy as jnp
from electra_jax.training.checkpoint.checkpoints import Checkpoints
with Checkpoints(sys.argv[1]) as checkpoints:
    checkpoints.save(1, {"x": jnp.ones(3)}, {})
    checkpoints.restore({"x": jax.ShapeDtypeStruct((3,), jnp.float32)})
absl.logging.info("heard")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert [line for line in done.stderr.splitlines() if line.startswith("absl")] == ["absl heard"]
    assert "orbax" not in done.stderr.lower()


def test_late_callbacks_of_a_failed_save_are_not_told(capsys):
    import sys

    from electra_jax.training.checkpoint.checkpoints import _drop_late_callbacks

    _drop_late_callbacks()
    sys.excepthook(RuntimeError, RuntimeError("Event loop is closed"), None)
    assert capsys.readouterr().err == ""
    sys.excepthook(RuntimeError, RuntimeError("something else"), None)
    assert "something else" in capsys.readouterr().err
