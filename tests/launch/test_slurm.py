"""launch/slurm.sh and launch/slurm_job.sh: what sbatch and srun get, and what queues again."""

import pytest
from launch.stand_ins import ROOT, RUN, StandIns, printed

JOB = str(ROOT / "launch" / "slurm_job.sh")


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    return StandIns(tmp_path, "sbatch", "srun", "scontrol")


def submitted(slurm: StandIns, *options: str) -> tuple[list[str], list[str]]:
    """sbatch's options and the job that it gets, for these options."""
    done = slurm.run("slurm.sh", *options, *RUN)
    assert done.returncode == 0, done.stderr
    (call,) = slurm.calls()
    at = call.index(JOB)
    return call[1:at], call[at:]


def test_sbatch_gets_a_process_for_each_gpu_a_warning_and_leave_to_requeue(slurm):
    options = ["--nodes=2", "--gpus=4", "--partition=long", "--venv=/env", "--logs=/logs"]
    dry = printed(slurm.run("slurm.sh", *options, "--dry_run", *RUN))
    assert slurm.calls() == []
    sbatch, job = submitted(slurm, *options)
    assert [["sbatch", *sbatch, *job]] == dry
    assert set(sbatch) == {
        "--job-name=electra", "--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4",
        "--cpus-per-task=8", "--time=24:00:00", "--signal=TERM@300", "--requeue",
        "--open-mode=append", "--output=/logs/electra-%j.log", "--partition=long",
    }  # fmt: skip
    assert job == [JOB, "/env/bin/electra-jax", "pretrain", *RUN[1:]]


def test_further_options_reach_sbatch_whole_and_after_ours(slurm):
    further = [
        "--mem=0", "--constraint=h100|h200", "--exclude=node[3-5]", "--exclusive",
        "--comment=two words", "--time-min=1:00:00", "--account=a", "--qos=q",
    ]  # fmt: skip
    sbatch, _ = submitted(slurm, *further)
    assert sbatch[-len(further) :] == further


@pytest.mark.parametrize(
    ("gres", "processes"), [("gpu:h100:4", 4), ("gpu:2", 2), ("gpu", 1), ("gpu:a100:3,nvme:1", 3)]
)
def test_gres_stands_in_for_the_gpus_and_says_how_many_processes(slurm, gres, processes):
    sbatch, _ = submitted(slurm, f"--gres={gres}")
    assert {f"--gres={gres}", f"--ntasks-per-node={processes}"} <= set(sbatch)
    assert not [option for option in sbatch if option.startswith("--gpus-per-node")]
    assert submitted(slurm, "--gres=nvme:1")[0][-1] == "--gres=nvme:1"  # not one of GPUs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus=8", "--gres=gpu:4"], "--gpus=8 and --gres=gpu:4 do not agree"),
        (["--config=configs/pretrain.py"], "--config=configs/pretrain.py is for pretrain"),
        (["--workdir=w"], "--workdir=w is for pretrain"),
        (["--array=1-3"], "several jobs in one work folder"),
        (["--mem", "4G"], "unknown option 4G; sbatch's options are taken as"),
        (["-p", "long"], "unknown option -p"),
        (["--mounts=/a:/a"], "name it with --image=IMAGE"),
        (["--nodes=0"], "not a positive number: 0"),
    ],
)
def test_what_would_go_wrong_is_refused_before_it_is_submitted(slurm, options, message):
    done = slurm.run("slurm.sh", *options, *RUN)
    assert done.returncode == 2 and message in done.stderr
    assert slurm.calls() == []


@pytest.mark.parametrize(
    ("options", "job"),
    [
        (
            ["--image=reg.io#lab/electra_jax:cuda", "--mounts=/shared:/shared"],
            ["--srun=--container-image=reg.io#lab/electra_jax:cuda",
             "--srun=--container-mounts=/shared:/shared", "electra-jax"],
        ),
        (
            ["--image=/shared/electra.sif", "--mounts=/shared:/shared,/data:/data"],
            ["apptainer", "exec", "--nv", "--bind=/shared:/shared,/data:/data",
             "/shared/electra.sif", "electra-jax"],
        ),
        (
            ["--module=cuda/13", "--module=gcc", "--srun=--cpu-bind=cores", "--venv=/e"],
            ["--module=cuda/13", "--module=gcc", "--srun=--cpu-bind=cores", "/e/bin/electra-jax"],
        ),
    ],
    ids=["pyxis", "apptainer", "modules"],
)  # fmt: skip
def test_containers_and_modules_are_the_job_s(slurm, options, job):
    assert submitted(slurm, *options)[1] == [JOB, *job, "pretrain", *RUN[1:]]


@pytest.mark.parametrize(("code", "requeued"), [(143, True), (0, False), (2, False), (1, False)])
def test_a_job_that_saved_and_stopped_queues_again(slurm, code, requeued):
    slurm.answer(("srun", [("", code)]))
    done = slurm.run("slurm_job.sh", "electra-jax", "pretrain", "--workdir=a b")
    assert done.returncode == code
    step, *rest = slurm.calls()
    assert step == [
        "srun", "--kill-on-bad-exit=0", "--wait=300", "electra-jax", "pretrain", "--workdir=a b"
    ]  # fmt: skip
    assert rest == ([["scontrol", "requeue", "77"]] if requeued else [])


def test_a_step_gets_its_job_s_cpus_and_the_further_options(slurm, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "12")
    slurm.run("slurm_job.sh", "--srun=--cpu-bind=cores", "--srun=--mpi=none", "electra-jax", "-x")
    assert slurm.calls() == [
        ["srun", "--kill-on-bad-exit=0", "--wait=300", "--cpus-per-task=12", "--cpu-bind=cores",
         "--mpi=none", "electra-jax", "-x"]
    ]  # fmt: skip


def test_modules_are_loaded_in_order_before_the_step(slurm, tmp_path, monkeypatch):
    init = tmp_path / "modules" / "init" / "bash"
    init.parent.mkdir(parents=True)
    init.write_text('module() { [ "$2" != absent ] && export LOADED="${LOADED:-}$2 "; }\n')
    monkeypatch.setenv("MODULESHOME", str(tmp_path / "modules"))
    (tmp_path / "bin" / "srun").write_text('#!/bin/sh\necho "$LOADED"\n')
    done = slurm.run("slurm_job.sh", "--module=cuda/13", "--module=gcc", "electra-jax")
    assert (done.returncode, done.stdout) == (0, "cuda/13 gcc \n")
    done = slurm.run("slurm_job.sh", "--module=absent", "electra-jax")
    assert done.returncode == 2 and "cannot load the module absent" in done.stderr


def test_a_job_s_shell_outlives_the_signal_that_its_processes_get(slurm, tmp_path):
    (tmp_path / "bin" / "srun").write_text(
        "#!/bin/sh\ntrap 'sleep 0.5; exit 143' TERM\nkill -TERM $PPID\nkill -TERM $$\n"
    )
    assert slurm.run("slurm_job.sh", "electra-jax").returncode == 143
    assert slurm.calls() == [["scontrol", "requeue", "77"]]
