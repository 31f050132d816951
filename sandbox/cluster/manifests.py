# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is in a cluster: two namespaces with the application, and what the maintenance user may do there."""

from __future__ import annotations

from typing import Any

from . import images

NAMESPACES = ("staging", "production")
NAME = "tradingflow-app"
CLIENT = "tradingflow-client"
REPLICAS = 3
USER = "maintenance"
READ, WRITE = ["get", "list", "watch"], ["create", "update", "patch", "delete"]
#: Group, resources, verbs: what releases need in a namespace, and nothing else.
RULES = (
    ("apps", ["deployments", "deployments/scale", "replicasets"], [*READ, *WRITE]),
    ("apps", ["deployments/status"], ["get"]),
    ("", ["pods"], [*READ, "delete"]),
    ("", ["pods/log", "pods/proxy", "services/proxy"], ["get"]),
    ("", ["configmaps", "secrets", "services", "serviceaccounts"], [*READ, *WRITE]),
    ("", ["events", "resourcequotas", "limitranges", "endpoints"], READ),
    ("policy", ["poddisruptionbudgets"], [*READ, *WRITE]),
    ("autoscaling", ["horizontalpodautoscalers"], READ),
    ("discovery.k8s.io", ["endpointslices"], READ),
    ("batch", ["jobs"], [*READ, *WRITE]),
    ("coordination.k8s.io", ["leases"], [*READ, *WRITE]),
)


def everything(image: str, database_url: str, degrades_after: float) -> list[dict[str, Any]]:
    """All objects, in the order in which they are created."""
    found: list[dict[str, Any]] = []
    for namespace in NAMESPACES:
        found.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        found += access(namespace)
        found += application(namespace, image, database_url, degrades_after)
        found.append(client(namespace, image))
    return found


def _object(version: str, kind: str, namespace: str, name: str, **content: Any) -> dict[str, Any]:
    labels = {"app.kubernetes.io/part-of": "tradingflow", "app.kubernetes.io/name": name}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **content}


def access(namespace: str) -> list[dict[str, Any]]:
    """The role of the maintenance user."""
    rules = [{"apiGroups": [group], "resources": names, "verbs": verbs} for group, names, verbs in RULES]
    authority = "rbac.authorization.k8s.io"
    return [
        _object(f"{authority}/v1", "Role", namespace, USER, rules=rules),
        _object(
            f"{authority}/v1",
            "RoleBinding",
            namespace,
            USER,
            roleRef={"apiGroup": authority, "kind": "Role", "name": USER},
            subjects=[{"apiGroup": authority, "kind": "User", "name": USER}],
        ),
    ]


def application(namespace: str, image: str, database_url: str, degrades_after: float) -> list[dict[str, Any]]:
    """The Deployment, and what it refers to."""
    config = {"TRADINGFLOW_DEFECT_AFTER": f"{degrades_after:g}", "TRADINGFLOW_STAGE": namespace}
    selector = {"app": NAME}
    container = {
        "name": NAME,
        "image": image,
        "ports": [{"name": "http", "containerPort": images.PORT}],
        "env": [{"name": "TRADINGFLOW_INSTANCE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "envFrom": [{"configMapRef": {"name": NAME}}, {"secretRef": {"name": NAME}}],
        # Requests that are under way, and those that a proxy sends before it knows, are answered.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "readinessProbe": _probe("/ready", periodSeconds=1, failureThreshold=3),
        "livenessProbe": _probe("/health", periodSeconds=10, failureThreshold=6),
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": _locked_down(),
    }
    pod = {
        "containers": [container],
        "terminationGracePeriodSeconds": 30,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001},
    }
    return [
        _object("v1", "ConfigMap", namespace, NAME, data=config),
        _object("v1", "Secret", namespace, NAME, stringData={"TRADINGFLOW_DATABASE_URL": database_url}),
        _object(
            "v1",
            "ResourceQuota",
            namespace,
            NAME,
            spec={"hard": {"pods": "20", "requests.cpu": "2", "requests.memory": "4Gi"}},
        ),
        _object(
            "policy/v1",
            "PodDisruptionBudget",
            namespace,
            NAME,
            spec={"minAvailable": REPLICAS - 1, "selector": {"matchLabels": selector}},
        ),
        _object(
            "v1",
            "Service",
            namespace,
            NAME,
            spec={"selector": selector, "ports": [{"name": "http", "port": images.PORT, "targetPort": "http"}]},
        ),
        _object(
            "apps/v1",
            "Deployment",
            namespace,
            NAME,
            spec={
                "replicas": REPLICAS,
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
                "selector": {"matchLabels": selector},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": {"metadata": {"labels": selector}, "spec": pod},
            },
        ),
    ]


def client(namespace: str, image: str) -> dict[str, Any]:
    """Somebody who asks the service all the time: without, nothing could be measured."""
    selector = {"app": CLIENT}
    container = {
        "name": CLIENT,
        "image": image,
        # It has no name: the cluster has no server of names.
        "command": ["/usr/bin/python3", "-m", "sandbox.app.client"],
        "args": ["http://$(TRADINGFLOW_APP_SERVICE_HOST):$(TRADINGFLOW_APP_SERVICE_PORT)", "5"],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": _locked_down(),
    }
    pod = {
        "containers": [container],
        "terminationGracePeriodSeconds": 2,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001},
    }
    return _object(
        "apps/v1",
        "Deployment",
        namespace,
        CLIENT,
        spec={
            "replicas": 1,
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": pod},
        },
    )


def _probe(path: str, **settings: Any) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 3, **settings}


def _locked_down() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
