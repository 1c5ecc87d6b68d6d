"""`train.accumulate=auto`: the fewest parts that fit, found once and kept."""

import json
import types

import jax
import jax.numpy as jnp
import pytest
from finetuning import tiny_task
from rows_folder import numbered_rows, write_rows

from electra_jax.cli import main
from electra_jax.config_file import get_config, load_config
from electra_jax.errors import DivergedError, UserError
from electra_jax.finetuning.data.batches import Plan as Batching
from electra_jax.finetuning.data.batches import TrainingOrder, largest_batch
from electra_jax.finetuning.restarts import finetune
from electra_jax.finetuning.run import FineTuning
from electra_jax.pretraining import pace
from electra_jax.pretraining.run import Pretraining
from electra_jax.training import memory
from electra_jax.training.accumulation import PlannedStep, fewest, fitting

MIB = 1 << 20
TINY = "--config=configs/pretrain.py:tiny"


@pytest.mark.parametrize(
    ("first_fit", "likely", "asked", "found"),
    [
        (1, None, [1], 1),
        (4, 4, [1, 4, 2], 4),  # the likely one is right; that 2 does not fit is known only then
        (4, 8, [1, 8, 4, 2], 4),  # too many
        (8, 2, [1, 2, 4, 8], 8),  # too few, and each time
        (16, None, [1, 16, 8], 16),
        (99, 2, [1, 2, 4, 8, 16], None),
    ],
)
def test_no_more_is_asked_than_has_to_be(first_fit, likely, asked, found):
    calls = []

    def fits(parts):
        calls.append(parts)
        return parts >= first_fit

    assert fewest([1, 2, 4, 8, 16], fits, lambda parts: likely) == found
    assert calls == asked


def asked_step(account, rows=8):
    """Stands for a planned step; `asked` are the parts whose memory was asked for."""
    asked = []

    def need(parts):
        asked.append(parts)
        return account(parts)

    return types.SimpleNamespace(rows=rows, memory=need, asked=asked)


def shrinking(parts):
    """10 MiB of parameters, 20 of moments, 10 of gradients, 800 of activations in one part."""
    return memory.Memory(10 * MIB, 20 * MIB, (10 + 800 // parts) * MIB, "made up")


@pytest.fixture
def free(monkeypatch):
    """Sets what the host has free beside what a run holds whatever its step takes."""
    monkeypatch.setattr(memory, "process_growth", lambda need, imports_later: need.step)

    def say(mib):
        value = None if mib is None else mib * MIB * len(jax.local_devices())
        monkeypatch.setattr(memory, "free_memory", lambda: value)

    return say


@pytest.mark.parametrize(
    ("mib", "parts"), [(840, 1), (839, 2), (440, 2), (439, 4), (140, 8), (None, 1)]
)
def test_the_fewest_parts_that_fit_are_taken(free, mib, parts, monkeypatch, caplog):
    monkeypatch.setattr(jax, "local_devices", lambda: [types.SimpleNamespace(platform="cpu")])
    free(mib)
    assert fitting(asked_step(shrinking)) == parts
    assert f"train.accumulate=auto: {parts}" in caplog.text
    said = "does not tell" if mib is None else f"{mib - 40 - 800 // parts:.0f} "
    assert said in caplog.text


def test_an_accelerator_s_own_limit_counts(monkeypatch):
    stats = {"bytes_limit": 500 * MIB, "bytes_in_use": 61 * MIB}
    device = types.SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert fitting(asked_step(shrinking)) == 4
    stats["bytes_in_use"] = 60 * MIB
    assert fitting(asked_step(shrinking)) == 2

    def refused(parts):
        if parts < 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: too large for this device")
        return shrinking(parts)

    assert fitting(asked_step(refused)) == 4


@pytest.mark.parametrize(
    ("mib", "divisible", "message"),
    [
        (139, True, "even in 8 parts, .* 1 MiB are lacking; use model.remat=full, shorter rows"),
        (39, True, "101 MiB are lacking; use a smaller model, or split its state with mesh.fsdp"),
        (839, False, r"in one part .* use a smaller train.batch_size \(this loss cannot be split"),
    ],
)
def test_where_nothing_fits_it_is_said_what_would(free, monkeypatch, mib, divisible, message):
    monkeypatch.setattr(jax, "local_devices", lambda: [types.SimpleNamespace(platform="cpu")])
    free(mib)
    step = asked_step(shrinking)
    with pytest.raises(UserError, match=f"train.accumulate=auto: .*{message}"):
        fitting(step, divisible=divisible)
    assert set(step.asked) <= ({1, 8} if divisible else {1})


@pytest.fixture
def made_up(monkeypatch):
    """The parts of the steps whose memory was asked for; nothing is compiled."""
    asked = []

    def need(step, parts):
        asked.append(parts)
        return shrinking(parts)

    monkeypatch.setattr(PlannedStep, "memory", need)
    return asked


@pytest.fixture
def configured(tmp_path):
    """A configuration of pretraining with `auto`."""
    rows = write_rows(tmp_path / "rows", numbered_rows(40), numbered_rows(3))
    common = ["train.accumulate=auto", f"data.path={rows}", "train.batch_size=8"]

    def make(*overrides):
        return load_config([TINY, *(f"--config.{x}" for x in (*common, *overrides))])[0]

    return make


def began(run):
    """Leaves in the work folder what there is after a checkpoint."""
    (run.workdir / "checkpoints" / "3").mkdir(parents=True)
    (run.workdir / "config.json").write_text(json.dumps(run.recorded()))


def test_a_pretraining_run_keeps_what_it_began_with(made_up, free, configured, tmp_path, caplog):
    free(450)
    first = Pretraining.build(configured(), tmp_path / "run", quiet=True)
    assert first.run.settings.accumulate == 2 and first.run.evaluations[0].batch_size == 4
    assert first.recorded()["train"]["accumulate"] == 2 and made_up == [1, 2]
    began(first)
    free(140)  # another machine
    again = Pretraining.build(configured(), tmp_path / "run", quiet=True)
    assert again.recorded() == first.recorded() and made_up == [1, 2]
    assert "train.accumulate=auto: 2, as this run began" in caplog.text
    other = Pretraining.build(configured("train.accumulate=4"), tmp_path / "run", quiet=True)
    assert other.run.settings.accumulate == 4 and made_up == [1, 2]
    new = Pretraining.build(configured(), tmp_path / "new", quiet=True)
    assert new.run.settings.accumulate == 8


def test_the_pace_of_a_run_in_minutes_is_measured_in_the_parts_that_fit(
    made_up, free, configured, tmp_path, monkeypatch
):
    free(450)
    trials = []

    def one_second(config, build):
        trials.append(build(config.replace({"train.steps": 4, "train.minutes": None})))
        return 1.0

    monkeypatch.setattr(pace, "_seconds_per_step", one_second)
    config = configured("train.minutes=10")
    run = Pretraining.build(config, tmp_path / "run", quiet=True).run
    assert trials[0].settings.accumulate == run.settings.accumulate == 2 and made_up == [1, 2]
    assert run.settings.steps > 100


def test_a_plan_says_what_auto_comes_to(made_up, free, configured, capsys):
    free(450)
    config = configured()
    given = [TINY, "--config.train.batch_size=8", f"--config.data.path={config['data']['path']}"]
    given += ["--dry_run", "--config.train.accumulate=auto"]
    assert main(["pretrain", *given]) == 0
    assert "8 rows a step in 2 part(s) (train.accumulate=auto): " in capsys.readouterr().out
    assert main(["pretrain", *given, "--devices=1"]) == 0
    told = capsys.readouterr().out
    assert "in 1 part(s) (train.accumulate=auto, chosen where the run begins)" in told
    free(39)
    assert main(["pretrain", *given]) == 2
    assert "use a smaller model" in capsys.readouterr().err


@pytest.fixture
def tuned(tmp_path):
    """A configuration of fine-tuning with `auto`; two batch lengths."""
    model = tiny_task.make_model(tmp_path)
    data = tiny_task.write_task(tmp_path / "data", tiny_task.classification, train=40, dev=8)
    return tiny_task.configuration(
        "classification", model, data, "--config.data.shapes=2", "--config.train.accumulate=auto"
    )


def test_a_fine_tuning_run_and_its_seeds_keep_one_number(made_up, free, tuned, tmp_path, capsys):
    free(450)
    first = FineTuning.build(tuned, tmp_path / "run", quiet=True)
    assert first.run.settings.accumulate == 2
    assert first.recorded()["train"]["accumulate"] == 2 and made_up == [1, 2]
    began(first)
    free(140)
    again = FineTuning.build(tuned, tmp_path / "run", quiet=True)
    assert again.run.settings.accumulate == 2 and made_up == [1, 2]


def test_every_seed_has_the_parts_of_the_first(made_up, free, tuned, tmp_path, monkeypatch):
    built = []

    def diverge(run):
        built.append(run.run.settings.accumulate)
        began(run)
        free(140)  # others have come
        raise DivergedError("made up")

    monkeypatch.setattr(FineTuning, "train", diverge)
    tuned["seeds"] = 2
    free(450)
    finetune(tuned, tmp_path / "runs", quiet=True)
    assert built == [2, 2] and made_up == [1, 2]


def test_a_loss_that_cannot_be_split_is_left_whole_or_refused(made_up, free, tuned, tmp_path):
    tuned["loss"]["reduction"] = "sum"
    free(840)
    assert FineTuning.build(tuned, tmp_path / "a", quiet=True).run.settings.accumulate == 1
    free(450)
    with pytest.raises(UserError, match="this loss cannot be split"):
        FineTuning.build(tuned, tmp_path / "b", quiet=True)


def test_the_largest_batch_is_the_one_that_is_accounted(made_up, free, tuned, tmp_path):
    free(840)
    run = FineTuning.build(tuned, tmp_path / "run", quiet=True)
    batch = largest_batch(run.data.features, run.order, run.steps)
    assert batch["input_ids"].shape == (16, max(run.order.plan.lengths))
    assert len(run.order.plan.lengths) == 2


def test_more_choices_make_a_larger_batch():
    """Two choices of 16 tokens are more than one of 24; batches beyond the last step are none."""
    features = [{"input_ids": [[5] * 24]}] * 2 + [{"input_ids": [[5] * 16] * 2}] * 2
    lengths = jnp.asarray([24, 24, 16, 16])
    order = TrainingOrder(lengths.__array__(), Batching((16, 24), 2, 0), seed=0)
    assert largest_batch(features, order, 100)["input_ids"].shape == (2, 2, 16)
    first = largest_batch(features, order, 1)["input_ids"].shape
    assert first == order.plan.stack([features[i] for i in order.epoch(0)[0]])["input_ids"].shape


def test_auto_is_given_like_any_value(tmp_path):
    assert (
        get_config("pretrain:tiny", {"train.accumulate": "auto"})["train"]["accumulate"] == "auto"
    )
    file = tmp_path / "own.py"
    file.write_text(
        "from electra_jax.config_file import config_dict\n"
        "from electra_jax.config.finetuning import FinetuneSettings\n"
        "def get_config():\n"
        "    config = config_dict(FinetuneSettings)\n"
        "    config.train.accumulate = 'auto'\n"
        "    return config\n"
    )
    for given, value in (([], "auto"), (["--config.train.accumulate=2"], 2)):
        found, _ = load_config([f"--config={file}", *given])
        assert found["train"]["accumulate"] == value
    for wrong in ("many", "1.5"):
        config, _ = load_config([TINY, f"--config.train.accumulate={wrong}"])
        with pytest.raises(UserError, match=r"train.accumulate=.*: must be of type int \| auto"):
            Pretraining.build(config, tmp_path / "run")
