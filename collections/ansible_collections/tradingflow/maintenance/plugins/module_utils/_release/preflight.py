# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a release can go well, before anything is touched. Pure: what the API said, judged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

from .._kubernetes.configuration import lacking
from .._kubernetes.quantities import quantity
from .._kubernetes.rollout import COMPLETE, Wanted, judge
from .._kubernetes.workloads import Seen, container, matches
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check
from ..errors import MaintenanceError
from ..words import plural, printable

#: Of a quota, what a rollout does not need more of.
_UNTOUCHED = ("services", "configmaps", "secrets", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas")


@dataclass
class Finding:
    """One thing that was looked at.

    :param name: short; an override of the same name passes it by
    :param status: ok, warning, critical or unknown; the last two forbid the release
    """

    name: str
    title: str
    status: str
    value: Any
    message: str
    remedy: str = ""

    @property
    def forbids(self) -> bool:
        return self.status in (CRITICAL, UNKNOWN)

    def check(self) -> Check:
        """As the report shows it."""
        return Check(
            f"release.preflight:{self.name}",
            f"Before the release: {self.title}",
            self.status,
            self.value,
            message=self.message,
            remedy=self.remedy,
            source="API of Kubernetes",
        )


def guarded(name: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a look finds; one that breaks off is unknown, and takes no other along."""
    try:
        yield from look()
    except MaintenanceError as error:
        yield Finding(name, name, UNKNOWN, None, error.message, error.remedy)
    except Exception as error:
        text = f"What was read is not understood ({type(error).__name__})."
        yield Finding(name, name, UNKNOWN, None, text, "Tell who maintains this collection.")


def passed_by(findings: Iterable[Finding], overrides: Sequence[str], reason: str) -> List[Finding]:
    """The findings, those that an operator passes by as warnings with the reason."""
    result = []
    for each in findings:
        if each.forbids and each.name.partition(".")[0] in overrides:
            text = f"{each.message} Passed by: {reason}"
            each = Finding(each.name, each.title, WARNING, each.value, text, each.remedy)
        result.append(each)
    return result


def rollout(seen: Seen, name: str, now: datetime) -> Finding:
    """Whether what runs now is whole: nobody rolls out over a rollout."""
    found = judge(seen, Wanted(seen.template, seen.replicas, name), now)
    title = "the rollout of now"
    if found.state == COMPLETE:
        return Finding("rollout", title, OK, found.counts["ready"], found.message)
    status = UNKNOWN if found.state == "unknown" else CRITICAL
    remedy = "Wait until it is over, or undo it; to release a repair over it: release_overrides: [rollout]."
    return Finding("rollout", title, status, found.state, found.message, remedy)


def helm(deployment: Mapping[str, Any]) -> List[Finding]:
    """That Helm does not know of a release of an image, where it manages the Deployment."""
    name = (deployment["metadata"].get("annotations") or {}).get("meta.helm.sh/release-name")
    if not name:
        return []
    text = f"It is of the Helm release {printable(name, 60)}, which will not know of this image: its next upgrade or"
    text += " rollback puts its own back."
    return [Finding("helm", "Helm", WARNING, "not used", text, "Release by its chart (release_chart).")]


def strategy(deployment: Mapping[str, Any]) -> Finding:
    """Whether pods of before stay until their successors are ready."""
    spec, title = deployment["spec"], "how pods are replaced"
    kind = (spec.get("strategy") or {}).get("type", "RollingUpdate")
    if kind != "RollingUpdate":
        text = f"The strategy is {printable(kind, 40)}: nothing serves while pods are replaced."
        return Finding(
            "strategy", title, CRITICAL, printable(kind, 40), text, "Set RollingUpdate with maxUnavailable: 0."
        )
    rolling = spec["strategy"].get("rollingUpdate") or {}
    replicas = int(spec.get("replicas", 1))
    fewer = _share(rolling.get("maxUnavailable", "25%"), replicas, up=False)
    if fewer:
        text = f"Up to {plural(fewer, 'pod')} of {replicas} may be missing while pods are replaced."
        return Finding("strategy", title, WARNING, fewer, text, "Set maxUnavailable: 0.")
    return Finding("strategy", title, OK, kind, "Pods of before stay until their successors are ready.")


def surge(deployment: Mapping[str, Any]) -> int:
    """How many pods more there may be while pods are replaced."""
    spec = deployment["spec"]
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    return _share(rolling.get("maxSurge", "25%"), int(spec.get("replicas", 1)), up=True)


def _share(value: Any, of: int, *, up: bool) -> int:
    text = str(value)
    if text.endswith("%"):
        number = of * int(text[:-1]) / 100
        return math.ceil(number) if up else math.floor(number)
    return int(text)


def probes(template: Mapping[str, Any], name: str) -> Iterator[Finding]:
    """Readiness, without which every pod counts as good, and what lets a pod end its work."""
    spec, title = container(template, name), "readiness"
    if spec.get("readinessProbe"):
        yield Finding("probes", title, OK, 1, "The container says when it is ready.")
    else:
        text = f"The container {name} has no readinessProbe: every pod counts as ready at once."
        yield Finding("probes", title, CRITICAL, 0, text, "Give it one.")
    grace, title = template["spec"].get("terminationGracePeriodSeconds", 30), "how pods end"
    if (spec.get("lifecycle") or {}).get("preStop") and int(grace) > 0:
        yield Finding("drain", title, OK, int(grace), f"Before it ends a pod has {grace} s, and a preStop.")
    else:
        text = f"The container {name} has no preStop: requests that reach it while it ends are lost."
        yield Finding(
            "drain", title, CRITICAL, int(grace), text, "Give it one that waits, such as sleep, and a grace period."
        )


def quotas(
    found: List[Dict[str, Any]], ranges: List[Dict[str, Any]], template: Mapping[str, Any], more: int
) -> Iterator[Finding]:
    """Whether the namespace's quotas have room for the pods that come before others go.

    :param ranges: LimitRanges, whose defaults count where a container says nothing
    :param more: pods
    """
    title = "room in the quota"
    if not found:
        yield Finding("quota", title, OK, 0, "The namespace has no quota.")
        return
    needs, silent = demand(template, ranges)
    for quota in found:
        name = printable(quota["metadata"]["name"], 60)
        status = quota.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        if (quota.get("spec") or {}).get("hard") != hard:
            text = f"The quota {name} has not been counted yet."
            yield Finding(f"quota.{name}", title, UNKNOWN, None, text, "Wait a moment, and run again.")
            continue
        applies = _applies(quota, needs)
        if applies is None:
            text = f"The quota {name} has a scope that is not known here."
            yield Finding(f"quota.{name}", title, UNKNOWN, None, text, "See by hand whether it has room.")
        elif applies:
            wrong = list(_short(hard, used, needs, silent, more))
            if wrong:
                text = f"The quota {name} has no room for {plural(more, 'more pod')}: {'; '.join(wrong)}."
                yield Finding(f"quota.{name}", title, CRITICAL, len(wrong), text, "Raise it, or let something else go.")
            else:
                text = f"The quota {name} has room for {plural(more, 'more pod')}."
                yield Finding(f"quota.{name}", title, OK, more, text)


def _short(
    hard: Mapping[str, str], used: Mapping[str, str], needs: Mapping[str, Any], silent: Sequence[str], more: int
) -> Iterator[str]:
    for resource, limit in sorted(hard.items()):
        if resource in _UNTOUCHED or resource.startswith("services."):
            continue
        if resource in ("pods", "count/pods"):
            each, times = quantity("1"), more
        elif resource == "count/replicasets.apps":
            each, times = quantity("1"), 1
        elif resource.startswith("count/"):
            continue
        else:
            key = resource if resource.startswith(("requests.", "limits.")) else f"requests.{resource}"
            if key in silent:
                yield f"it limits {resource}, and a container does not say how much it needs"
                continue
            each, times = needs.get(key, quantity("0")), more
        left = quantity(limit) - quantity(used.get(resource, "0"))
        if each * times > left:
            yield f"{resource}: {limit} in all, {used.get(resource, '0')} used, {each * times} needed"


def demand(template: Mapping[str, Any], ranges: List[Dict[str, Any]]) -> Tuple[Dict[str, Any], List[str]]:
    """What a pod asks for: {"requests.cpu": ..., "limits.memory": ...}, and of what some container says nothing."""
    defaults: Dict[str, Dict[str, str]] = {"requests": {}, "limits": {}}
    for each in ranges:
        for limit in (each.get("spec") or {}).get("limits") or []:
            if limit.get("type") == "Container":
                defaults["requests"].update(limit.get("defaultRequest") or {})
                defaults["limits"].update(limit.get("default") or {})
    needs: Dict[str, Any] = {}
    said: List[set[str]] = []

    def asked(spec: Mapping[str, Any]) -> Dict[str, Any]:
        resources = spec.get("resources") or {}
        limits = {**defaults["limits"], **(resources.get("limits") or {})}
        # A limit without a request is the request too; the range's default stands behind that.
        requests = {**defaults["requests"], **(resources.get("limits") or {}), **(resources.get("requests") or {})}
        both = {"requests": requests, "limits": limits}
        return {f"{kind}.{name}": quantity(value) for kind, all in both.items() for name, value in all.items()}

    for spec in template["spec"]["containers"]:
        mine = asked(spec)
        said.append(set(mine))
        for name, value in mine.items():
            needs[name] = needs.get(name, quantity("0")) + value
    for spec in template["spec"].get("initContainers") or []:
        for name, value in asked(spec).items():
            # One that stays (restartPolicy: Always) counts with the others.
            beside = needs.get(name, quantity("0")) if spec.get("restartPolicy") == "Always" else quantity("0")
            needs[name] = max(needs.get(name, quantity("0")), beside + value)
    for name, value in (template["spec"].get("overhead") or {}).items():
        needs[f"requests.{name}"] = needs.get(f"requests.{name}", quantity("0")) + quantity(value)
    kinds = [f"{kind}.{name}" for kind in ("requests", "limits") for name in ("cpu", "memory")]
    return needs, [name for name in kinds if any(name not in each for each in said)]


def _applies(quota: Mapping[str, Any], needs: Mapping[str, Any]) -> Optional[bool]:
    """Whether a quota counts such pods; None when its scopes are not known here."""
    spec = quota.get("spec") or {}
    if (spec.get("scopeSelector") or {}).get("matchExpressions"):
        return None
    for scope in spec.get("scopes") or []:
        if scope not in ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort"):
            return None
        if scope == "Terminating" or ((scope == "BestEffort") == bool(needs) and scope != "NotTerminating"):
            return False
    return True


def disruption(budgets: List[Dict[str, Any]], template: Mapping[str, Any]) -> Finding:
    """Whether the PodDisruptionBudgets of the pods would let one go: where not, something is wrong already."""
    labels, title = (template.get("metadata") or {}).get("labels") or {}, "PodDisruptionBudgets"
    mine = [each for each in budgets if matches((each.get("spec") or {}).get("selector"), labels)]
    if not mine:
        text = "No PodDisruptionBudget covers the pods: nodes may be emptied of all of them at once."
        return Finding("disruption", title, WARNING, 0, text, "Make one.")
    names = ", ".join(printable(each["metadata"]["name"], 60) for each in mine)
    if len(mine) > 1:
        text = f"Several PodDisruptionBudgets cover the pods ({names}): no pod can be evicted."
        return Finding("disruption", title, CRITICAL, len(mine), text, "Leave one of them.")
    status, metadata = mine[0].get("status") or {}, mine[0]["metadata"]
    allowed = status.get("disruptionsAllowed")
    if not isinstance(allowed, int) or status.get("observedGeneration") != metadata.get("generation"):
        text = f"The PodDisruptionBudget {names} has not been counted yet."
        return Finding("disruption", title, UNKNOWN, None, text, "Wait a moment, and run again.")
    if allowed < 1:
        text = (
            f"The PodDisruptionBudget {names} lets no pod go: {status.get('currentHealthy')} are healthy, and"
            f" {status.get('desiredHealthy')} must be."
        )
        remedy = "Get the pods healthy, or correct it: with it no node can be emptied either."
        return Finding("disruption", title, CRITICAL, allowed, text, remedy)
    return Finding(
        "disruption", title, OK, allowed, f"The PodDisruptionBudget {names} lets {plural(allowed, 'pod')} go."
    )


def configuration(template: Mapping[str, Any], objects: Mapping[str, Optional[Mapping[str, Any]]]) -> Finding:
    """Whether the ConfigMaps and Secrets are there that the pods need."""
    wrong, title = lacking(template, objects), "configuration"
    if wrong:
        text = f"Pods would not start: {'; '.join(wrong)}."
        return Finding("configuration", title, CRITICAL, len(wrong), text, "Make what is missing.")
    return Finding(
        "configuration",
        title,
        OK,
        len(objects),
        f"All {plural(len(objects), 'ConfigMap and Secret', 'ConfigMaps and Secrets')} are there.",
    )


def schema(heads: Optional[Sequence[str]], works_with: Sequence[str], what: str, *, asked: bool) -> Finding:
    """Whether an image works with the database's schema.

    :param heads: revisions that the database is at; None when that is not known
    :param works_with: revisions that the image says it works with
    :param what: the image, for messages
    :param asked: whether a database was named at all
    """
    title = "the database's schema"
    if not asked:
        text = "No database is named (release_database): nobody looked whether the image works with its schema."
        return Finding("schema", title, WARNING, None, text, "Name it.")
    if not heads:
        text = "The database does not say which revision its schema is at (alembic_version)."
        return Finding("schema", title, UNKNOWN, None, text, "Let the user read alembic_version.")
    if not works_with:
        text = (
            f"{what} does not say with which revisions of the schema it works; the database is at {', '.join(heads)}."
        )
        remedy = "Label the image (org.tradingflow.schemas), or name them (release_schemas)."
        return Finding("schema", title, UNKNOWN, None, text, remedy)
    strange = sorted(set(heads) - set(works_with))
    if strange:
        text = f"{what} works with {', '.join(works_with)}; the database is at {', '.join(heads)}."
        remedy = "Migrate first (playbooks/migrate.yml), or release a version that works with this schema."
        return Finding("schema", title, CRITICAL, ", ".join(heads), text, remedy)
    return Finding("schema", title, OK, ", ".join(heads), f"{what} works with revision {', '.join(heads)}.")
