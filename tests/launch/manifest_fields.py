"""The fields of Kubernetes objects, as far as launch/ needs them, and what a manifest has wrong.

JobSet is whole: each field that the types of jobset.x-k8s.io/v1alpha2 declare below `spec`. Of the
built-in kinds it is the subset that jobs use; `kubernetes-validate` knows all of them. A schema is
a type, a `Choice`, a list of one schema, or a dict of fields (`!` behind a name: it is required;
the one field `*`: any name).
"""

from typing import Any, NamedTuple


class Choice(NamedTuple):
    """One of these strings."""

    values: tuple[str, ...]


def choice(*values: str) -> Choice:
    return Choice(values)


QUANTITY = (str, int)
STRINGS = {"*": str}
METADATA = {"name": str, "namespace": str, "labels": STRINGS, "annotations": STRINGS}
POD_METADATA = {"labels": STRINGS, "annotations": STRINGS}
RESOURCES = {"requests": {"*": QUANTITY}, "limits": {"*": QUANTITY}}

CONTAINER = {
    "name!": str,
    "image!": str,
    "imagePullPolicy": choice("Always", "IfNotPresent", "Never"),
    "command": [str],
    "args": [str],
    "workingDir": str,
    "env": [{"name!": str, "value": str, "valueFrom": {"fieldRef": {"fieldPath!": str}}}],
    "ports": [{"containerPort!": int, "name": str, "protocol": choice("TCP", "UDP", "SCTP")}],
    "resources": RESOURCES,
    "securityContext": {
        "runAsUser": int,
        "runAsGroup": int,
        "runAsNonRoot": bool,
        "privileged": bool,
        "allowPrivilegeEscalation": bool,
        "readOnlyRootFilesystem": bool,
        "capabilities": {"add": [str], "drop": [str]},
    },
    "volumeMounts": [{"name!": str, "mountPath!": str, "readOnly": bool, "subPath": str}],
}

POD = {
    "restartPolicy": choice("Always", "OnFailure", "Never"),
    "terminationGracePeriodSeconds": int,
    "activeDeadlineSeconds": int,
    "subdomain": str,
    "hostNetwork": bool,
    "dnsPolicy": choice("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
    "serviceAccountName": str,
    "priorityClassName": str,
    "nodeSelector": STRINGS,
    "tolerations": [
        {
            "key": str,
            "operator": choice("Exists", "Equal"),
            "value": str,
            "effect": choice("NoSchedule", "PreferNoSchedule", "NoExecute"),
            "tolerationSeconds": int,
        }
    ],
    "securityContext": {
        "runAsUser": int,
        "runAsGroup": int,
        "runAsNonRoot": bool,
        "fsGroup": int,
        "fsGroupChangePolicy": choice("Always", "OnRootMismatch"),
    },
    "initContainers": [CONTAINER],
    "containers!": [CONTAINER],
    "volumes": [
        {
            "name!": str,
            "persistentVolumeClaim": {"claimName!": str, "readOnly": bool},
            "emptyDir": {"medium": choice("", "Memory"), "sizeLimit": QUANTITY},
        }
    ],
}

JOB = {
    "completionMode": choice("Indexed", "NonIndexed"),
    "completions": int,
    "parallelism": int,
    "backoffLimit": int,
    "activeDeadlineSeconds": int,
    "ttlSecondsAfterFinished": int,
    "suspend": bool,
    "podFailurePolicy": {
        "rules!": [
            {
                "action!": choice("FailJob", "FailIndex", "Ignore", "Count"),
                "onExitCodes": {
                    "containerName": str,
                    "operator!": choice("In", "NotIn"),
                    "values!": [int],
                },
                "onPodConditions": [{"type!": str, "status": choice("True", "False", "Unknown")}],
            }
        ]
    },
    "template!": {"metadata": POD_METADATA, "spec!": POD},
}

JOBSET = {
    "replicatedJobs": [
        {
            "name!": str,
            "groupName": str,
            "replicas": int,
            "template!": {"metadata": METADATA, "spec!": JOB},
            "dependsOn": [{"name!": str, "status!": choice("Ready", "Complete")}],
        }
    ],
    "network": {
        "enableDNSHostnames": bool,
        "subdomain": str,
        "publishNotReadyAddresses": bool,
    },
    "successPolicy": {"operator!": choice("All", "Any"), "targetReplicatedJobs": [str]},
    "failurePolicy": {
        "maxRestarts": int,
        "restartStrategy": choice("Recreate", "BlockingRecreate", "InPlaceRestart"),
        "rules": [
            {
                "name!": str,
                "action!": choice(
                    "FailJobSet",
                    "RestartJobSet",
                    "RestartJobSetAndIgnoreMaxRestarts",
                    "RestartJob",
                    "RestartJobAndIgnoreMaxRestarts",
                ),
                "onJobFailureReasons": [str],
                "onJobFailureMessagePatterns": [str],
                "targetReplicatedJobs": [str],
            }
        ],
    },
    "startupPolicy": {"startupPolicyOrder!": choice("AnyOrder", "InOrder")},
    "suspend": bool,
    "coordinator": {"replicatedJob!": str, "jobIndex": int, "podIndex": int},
    "managedBy": str,
    "ttlSecondsAfterFinished": int,
    "volumeClaimPolicies": [
        {
            "templates": [{"metadata": METADATA, "spec": {"*": object}}],
            "retentionPolicy": {"whenDeleted": choice("Delete", "Retain")},
        }
    ],
}

SERVICE = {
    "clusterIP": str,
    "publishNotReadyAddresses": bool,
    "selector": STRINGS,
    "ports": [{"port!": int, "targetPort": (int, str), "name": str, "protocol": str}],
}

SPECIFICATIONS = {
    ("v1", "Service"): SERVICE,
    ("batch/v1", "Job"): JOB,
    ("jobset.x-k8s.io/v1alpha2", "JobSet"): JOBSET,
}


def faults(manifest: dict[str, Any]) -> list[str]:
    """What is wrong with a manifest, each fault with its place, such as `spec.template.spec.x`."""
    kind = (manifest.get("apiVersion", ""), manifest.get("kind", ""))
    if kind not in SPECIFICATIONS:
        return [f"apiVersion, kind: {kind} is not known"]
    whole = {
        "apiVersion!": str, "kind!": str, "metadata!": {**METADATA, "name!": str},
        "spec!": SPECIFICATIONS[kind],
    }  # fmt: skip
    return list(_faults(manifest, whole, ""))


def _faults(value: Any, schema: Any, place: str) -> Any:
    if isinstance(schema, Choice):
        if value not in schema.values:
            yield f"{place}: {value!r} is none of {', '.join(schema.values)}"
    elif isinstance(schema, list):
        if not isinstance(value, list):
            yield f"{place}: {value!r} is no list"
            return
        for number, item in enumerate(value):
            yield from _faults(item, schema[0], f"{place}[{number}]")
    elif isinstance(schema, dict):
        if not isinstance(value, dict):
            yield f"{place}: {value!r} has no fields"
            return
        fields = {name.rstrip("!"): field for name, field in schema.items()}
        for name, field in value.items():
            there = f"{place}.{name}".lstrip(".")
            if name in fields or "*" in fields:
                yield from _faults(field, fields.get(name, fields.get("*")), there)
            else:
                yield f"{there}: there is no such field"
        for name in schema:
            if name.endswith("!") and name[:-1] not in value:
                yield f"{place}.{name[:-1]}: is missing".lstrip(".")
    elif not isinstance(value, schema) or (isinstance(value, bool) and schema is int):
        yield f"{place}: {value!r} has the wrong type"
