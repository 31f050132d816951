# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first run of each strategy as an Indexed Job, where one machine is not enough. Rendered, and sent to nobody."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from .._isolation.cells import NOBODIES, THREADS
from .options import Settings, Strategy
from .runs import NO_RETRY, Run

_LABEL = "app.kubernetes.io/part-of"
_NAME = "backtest-refresh"
#: What a container is told of its index.
_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"

Given = Tuple[Strategy, Run]


def handed_over(given: Sequence[Given], settings: Settings, root: Path) -> Dict[str, Any]:
    """Writes what the Job needs: kubernetes.json, and the folder handover for the claim.

    :returns: the manifests, as a List
    """
    place = root / "handover"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    items: List[Dict[str, Any]] = [policy(settings)]
    for (image, command), members in _groups(given).items():
        name = f"{_NAME}-{hashlib.sha256(json.dumps([image, command]).encode()).hexdigest()[:10]}"
        for index, (_strategy, run) in enumerate(members):
            folder = place / name / str(index)
            (folder / "out").mkdir(parents=True)
            shutil.copytree(run.data.folder, folder / "in")
            (folder / "in" / "request.json").write_text(json.dumps(run.request, ensure_ascii=False), encoding="utf-8")
        told = [[strategy.name, run.key] for strategy, run in members]
        (place / name / "index.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
        items.append(job(name, image, list(command), len(members), settings))
    manifests = {"apiVersion": "v1", "kind": "List", "items": items}
    (root / "kubernetes.json").write_text(json.dumps(manifests, indent=1), encoding="utf-8")
    return manifests


def _groups(given: Sequence[Given]) -> Dict[Tuple[str, Tuple[str, ...]], List[Given]]:
    """All indices of a Job have one image and one command."""
    found: Dict[Tuple[str, Tuple[str, ...]], List[Given]] = {}
    for strategy, run in given:
        command = tuple(part.replace("{python}", "python3").replace("{code}", "/code") for part in run.command)
        found.setdefault((strategy.image, command), []).append((strategy, run))
    return found


def policy(settings: Settings) -> Dict[str, Any]:
    """Nothing goes in, nothing goes out, not even questions for names."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"{_NAME}-nothing", "namespace": _given(settings)["namespace"]},
        "spec": {"podSelector": {"matchLabels": {_LABEL: _NAME}}, "policyTypes": ["Ingress", "Egress"]},
    }


def _given(settings: Settings) -> Dict[str, Any]:
    if settings.kubernetes is None:
        raise AssertionError("asked for")
    return settings.kubernetes


def job(name: str, image: str, command: List[str], count: int, settings: Settings) -> Dict[str, Any]:
    """One index per strategy: one that fails does not take the others with it, up to a bound."""
    asked, limits = _given(settings), settings.limits
    user = NOBODIES[0]
    at_once = min(asked["parallelism"], count)
    rounds = -(-count // at_once) * (1 + settings.retries)
    room = {"cpu": "1", "memory": f"{(limits.memory + limits.scratch) >> 20}Mi", "ephemeral-storage": "64Mi"}
    environment = {
        **THREADS,
        "BACKTEST_REQUEST": "/in/request.json",
        "HOME": "/scratch",
        "TMPDIR": "/scratch",
        "TZ": "UTC",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    container = {
        "name": "backtest",
        "image": image,
        "command": command,
        "workingDir": "/out",
        "env": [
            {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": _INDEX}}},
            *({"name": key, "value": value} for key, value in sorted(environment.items())),
        ],
        "resources": {"requests": dict(room), "limits": dict(room)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {
                "name": "handover",
                "mountPath": "/in",
                "subPathExpr": f"{name}/$(JOB_COMPLETION_INDEX)/in",
                "readOnly": True,
            },
            {"name": "handover", "mountPath": "/out", "subPathExpr": f"{name}/$(JOB_COMPLETION_INDEX)/out"},
            {"name": "scratch", "mountPath": "/scratch"},
        ],
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "activeDeadlineSeconds": limits.seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "handover", "persistentVolumeClaim": {"claimName": asked["claim"]}},
            {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": f"{limits.scratch >> 20}Mi"}},
        ],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": asked["namespace"], "labels": {_LABEL: _NAME}},
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": at_once,
            "backoffLimitPerIndex": settings.retries,
            "maxFailedIndexes": min(asked["max_failed"], count),
            "activeDeadlineSeconds": limits.seconds * rounds,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailIndex",
                        "onExitCodes": {"containerName": "backtest", "operator": "In", "values": [NO_RETRY]},
                    },
                    # A node that was drained is no fault of the strategy.
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                ]
            },
            "template": {"metadata": {"labels": {_LABEL: _NAME}}, "spec": pod},
        },
    }
