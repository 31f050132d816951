"""A Deployment with its ReplicaSets and pods, as the API gives them."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.workloads import Seen

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
NAME = "tradingflow-app"


def image(digest: str) -> str:
    return f"127.0.0.1:5000/tradingflow/app@{digest}"


def template(digest: str = OLD) -> dict[str, Any]:
    container = {
        "name": NAME,
        "image": image(digest),
        "ports": [{"containerPort": 3000}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 3000}, "periodSeconds": 1, "failureThreshold": 3},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        "envFrom": [{"configMapRef": {"name": "tradingflow"}}, {"secretRef": {"name": "tradingflow"}}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
    }
    return {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [container]}}


def condition(kind: str, status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-11-30T12:00:05Z",
    }


def replicaset(digest: str, replicas: int = 3, conditions: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    made = template(digest)
    made["metadata"]["labels"]["pod-template-hash"] = digest[7:15]
    return {
        "metadata": {
            "name": f"{NAME}-{digest[7:15]}",
            "uid": f"rs-{digest[7:15]}",
            "resourceVersion": "7",
            "ownerReferences": [{"uid": "deployment", "controller": True}],
        },
        "spec": {"replicas": replicas, "template": made},
        "status": {"replicas": replicas, "conditions": conditions or []},
    }


def pod(digest: str, number: int = 0, *, ready: bool = True, **status: Any) -> dict[str, Any]:
    running = {
        "name": NAME,
        "imageID": image(digest),
        "restartCount": 0,
        "state": {"running": {"startedAt": "2026-11-30T12:00:03Z"}},
    }
    found = {
        "phase": "Running",
        "conditions": [condition("PodScheduled", "True"), condition("Ready", "True" if ready else "False")],
        "containerStatuses": [running],
    }
    return {
        "metadata": {
            "name": f"{NAME}-{digest[7:15]}-{number}",
            "namespace": "staging",
            "labels": {"app": NAME},
            "ownerReferences": [{"uid": f"rs-{digest[7:15]}", "controller": True}],
        },
        "spec": {"containers": template(digest)["spec"]["containers"]},
        "status": {**found, **status},
    }


def waiting(digest: str, reason: str, number: int = 0) -> dict[str, Any]:
    status = {"name": NAME, "restartCount": 0, "state": {"waiting": {"reason": reason, "message": "said so"}}}
    found = pod(digest, number, ready=False)
    found["status"].update(phase="Pending", containerStatuses=[status])
    return found


def deployment(digest: str = NEW, replicas: int = 3, *, reason: str = "NewReplicaSetAvailable") -> dict[str, Any]:
    return {
        "metadata": {
            "name": NAME,
            "namespace": "staging",
            "uid": "deployment",
            "generation": 2,
            "resourceVersion": "41",
            "annotations": {"deployment.kubernetes.io/revision": "2"},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": NAME}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": template(digest),
        },
        "status": {
            "observedGeneration": 2,
            "replicas": replicas,
            "updatedReplicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "conditions": [condition("Available", "True"), condition("Progressing", "True", reason)],
        },
    }


def seen(digest: str = NEW) -> Seen:
    """All is well."""
    return Seen(deployment(digest), [replicaset(digest)], [pod(digest, number) for number in range(3)])


def rolling(*pods: dict[str, Any]) -> Seen:
    """The old pods are there, and the first of the new ones is as it is."""
    found = Seen(
        deployment(NEW, reason="ReplicaSetUpdated"),
        [replicaset(OLD), replicaset(NEW, 1)],
        [*(pod(OLD, number) for number in range(3)), *pods],
    )
    found.deployment["status"].update(replicas=4, updatedReplicas=1, readyReplicas=3, availableReplicas=3)
    return found


def changed(thing: Any, **more: Any) -> Any:
    found = deepcopy(thing)
    found.update(more)
    return found
