"""launch/kubernetes*.yaml, without a cluster: their fields against the API, and that what they say
of processes, hosts, chips and volumes agrees with itself and with the command line."""

import copy
import math
import os
import re
import subprocess
from typing import Any

import pytest
import yaml
from launch.manifest_fields import faults
from launch.stand_ins import ROOT, StandIns

FILES = sorted(path.name for path in (ROOT / "launch").glob("kubernetes*.yaml"))


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "launch" / name).read_text()))


def job_of(name: str) -> dict[str, Any]:
    """The specification of a file's one Job, on its own or in a JobSet."""
    (manifest,) = [each for each in manifests(name) if each["kind"] in ("Job", "JobSet")]
    if manifest["kind"] == "Job":
        return manifest["spec"]
    (replicated,) = manifest["spec"]["replicatedJobs"]
    return replicated["template"]["spec"]


def pod_of(name: str) -> dict[str, Any]:
    return job_of(name)["template"]["spec"]


def validated(manifest: dict[str, Any]) -> list[str]:
    """What kubernetes-validate finds, in the oldest and the newest version of Kubernetes in use."""
    kubernetes_validate = pytest.importorskip(
        "kubernetes_validate", reason="it is one of the `launch` extra's packages"
    )
    if manifest["kind"] == "JobSet":  # of which it knows the Jobs inside
        jobs = manifest["spec"]["replicatedJobs"]
        pieces = [
            {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job["name"]},
             "spec": job["template"]["spec"]}
            for job in jobs
        ]  # fmt: skip
    else:
        pieces = [manifest]
    found = []
    for piece in pieces:
        for version in ("1.31", kubernetes_validate.latest_version()):
            try:
                kubernetes_validate.validate(piece, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                found.append(error.message)
    return found


def test_the_files_are_all_there():
    assert FILES == ["kubernetes.yaml", "kubernetes_gpu.yaml", "kubernetes_tpu.yaml"]


@pytest.mark.parametrize("name", FILES)
def test_every_field_is_one_of_the_api(name):
    for manifest in manifests(name):
        assert faults(manifest) == []


@pytest.mark.parametrize("name", FILES)
def test_kubernetes_validate_has_nothing_to_say(name):
    for manifest in manifests(name):
        assert validated(manifest) == []


POD = "spec.template.spec"
SLICE = "spec.replicatedJobs.0.template.spec"
PLANTED = [
    # (file, manifest, place, field there or "" for none, field or value planted, is it of a Job)
    ("kubernetes.yaml", 0, "spec", "clusterIP", {"clusterIp": "None"}, True),
    ("kubernetes.yaml", 1, "spec", "completions", {"completion": 2}, True),
    ("kubernetes.yaml", 1, "spec", "completions", {"completions": "2"}, True),
    ("kubernetes.yaml", 1, f"{POD}.containers.0.env.0", "value", {"value": 2}, True),
    ("kubernetes_gpu.yaml", 0, POD, "tolerations", {"toleration": []}, True),
    ("kubernetes_gpu.yaml", 0, f"{POD}.containers.0", "resources", {"resource": {}}, True),
    ("kubernetes_gpu.yaml", 0, f"{POD}.containers.0", "name", {}, True),
    ("kubernetes_gpu.yaml", 0, "spec.podFailurePolicy.rules.0", "action", {}, True),
    ("kubernetes_tpu.yaml", 0, "spec.failurePolicy", "maxRestarts", {"maxRestart": 3}, False),
    ("kubernetes_tpu.yaml", 0, "spec.failurePolicy", "maxRestarts", {"maxRestarts": "3"}, False),
    ("kubernetes_tpu.yaml", 0, "spec.failurePolicy.rules.0", "action", {"action": "Fail"}, False),
    ("kubernetes_tpu.yaml", 0, "spec.replicatedJobs.0", "replicas", {"replica": 1}, False),
    ("kubernetes_tpu.yaml", 0, "spec.network", "enableDNSHostnames", {"enableDNS": True}, False),
    ("kubernetes_tpu.yaml", 0, SLICE, "parallelism", {"paralelism": 4}, True),
    ("kubernetes_tpu.yaml", 0, f"{SLICE}.template.spec", "nodeSelector", {"selector": {}}, True),
]  # fmt: skip


def planted(name: str, number: int, place: str, field: str, there: dict[str, Any]) -> Any:
    manifest = copy.deepcopy(manifests(name)[number])
    at: Any = manifest
    for step in place.split("."):
        at = at[int(step)] if isinstance(at, list) else at[step]
    del at[field]
    at.update(there)
    return manifest


def label(case: Any) -> str:
    return f"{case[0]}-{case[3]}-{case[4]}"


@pytest.mark.parametrize("case", PLANTED, ids=label)
def test_a_planted_wrong_field_is_found(case):
    *place, _ = case
    assert faults(planted(*place))


@pytest.mark.parametrize("case", [case for case in PLANTED if case[-1]], ids=label)
def test_kubernetes_validate_finds_it_too(case):
    *place, _ = case
    assert validated(planted(*place))


def test_a_kind_of_another_version_is_not_known():
    (manifest,) = manifests("kubernetes_tpu.yaml")
    assert faults({**manifest, "apiVersion": "jobset.x-k8s.io/v1"})


# What they say agrees


@pytest.mark.parametrize("name", FILES)
def test_a_run_may_save_before_it_is_ended_and_wrong_input_ends_it(name):
    job, pod = job_of(name), pod_of(name)
    assert pod["restartPolicy"] == "Never"  # or podFailurePolicy is refused
    assert pod["terminationGracePeriodSeconds"] >= 300
    (container,) = pod["containers"]
    rule = job["podFailurePolicy"]["rules"][0]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {
        "containerName": container["name"], "operator": "In", "values": [2]
    }  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_image_is_one_that_the_dockerfile_makes_and_its_nodes_are_tolerated(name):
    pod = pod_of(name)
    (container,) = pod["containers"]
    resource, accelerator = (
        ("google.com/tpu", "tpu") if "tpu" in name else ("nvidia.com/gpu", "cuda")
    )
    assert container["image"] == f"REGISTRY/electra_jax:{accelerator}"
    assert container["resources"]["limits"][resource] > 0
    assert [each["key"] for each in pod["tolerations"]] == [resource]
    user = re.search(r"(?m)^USER (\d+)", (ROOT / "launch" / "Dockerfile").read_text())[1]
    if accelerator == "cuda":
        assert pod["securityContext"] == {"runAsNonRoot": True, "fsGroup": int(user)}


@pytest.mark.parametrize("name", FILES)
def test_what_is_mounted_is_a_volume_and_holds_the_rows_and_the_run(name):
    pod = pod_of(name)
    (container,) = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    words = container["args"][0].split()
    paths = [word.partition("=")[2] for word in words if "workdir=" in word or ".path=" in word]
    assert len(paths) == 2 and all(path.startswith(f"{mounts['shared']}/") for path in paths)


def run_with(container: dict[str, Any], folder: Any, **environment: str) -> list[str]:
    """What the container's command calls."""
    stand_ins = StandIns(folder, "electra-jax")
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    subprocess.run(
        [*container["command"], *container["args"]], env={"PATH": path, **environment},
        capture_output=True, check=True,
    )  # fmt: skip
    (call,) = stand_ins.calls()
    return call


def test_on_several_nodes_each_pod_gets_what_the_command_line_takes(tmp_path):
    service, job = manifests("kubernetes.yaml")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    nodes = {item["name"]: item["value"] for item in container["env"]}["NODES"]
    assert spec["completions"] == spec["parallelism"] == int(nodes)
    assert spec["completionMode"] == "Indexed"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    words = run_with(container, tmp_path, NODES=nodes, JOB_COMPLETION_INDEX="1")
    assert words[:2] == ["electra-jax", "pretrain"]
    host = f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert words[2].startswith(f"--coordinator={host}:")
    assert words[3:5] == ["--num_processes=2", "--process_id=1"]


@pytest.mark.parametrize("name", ["kubernetes_gpu.yaml", "kubernetes_tpu.yaml"])
def test_on_one_node_and_on_a_slice_the_processes_find_each_other(name, tmp_path):
    (container,) = pod_of(name)["containers"]
    words = run_with(container, tmp_path)
    assert words[:2] == ["electra-jax", "pretrain"]
    assert not [word for word in words if word.startswith(("--coordinator", "--process_id"))]


def test_a_slice_has_a_pod_for_each_host_and_the_mesh_all_its_chips(tmp_path):
    (manifest,) = manifests("kubernetes_tpu.yaml")
    (replicated,) = manifest["spec"]["replicatedJobs"]
    job, pod = job_of("kubernetes_tpu.yaml"), pod_of("kubernetes_tpu.yaml")
    (container,) = pod["containers"]
    topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    chips = math.prod(int(side) for side in topology.split("x"))
    per_host = container["resources"]["limits"]["google.com/tpu"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert job["completions"] == job["parallelism"] == chips // per_host
    assert job["completionMode"] == "Indexed" and job["backoffLimit"] == 0
    assert replicated["replicas"] == 1
    mesh = re.findall(r"--config\.mesh\.\w+=(\d+)", container["args"][0])
    assert math.prod(int(size) for size in mesh) == chips
    # A JobSet's own rule: names of rules match this, and it fails where its Job did by exit code.
    (rule,) = manifest["spec"]["failurePolicy"]["rules"]
    assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
