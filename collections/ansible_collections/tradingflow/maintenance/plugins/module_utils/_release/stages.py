# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How a release comes in stages: which pods, by which names and labels; and whether it can."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator, Mapping, Optional

from .._kubernetes.client import Missing, path_of
from .._kubernetes.services import said, selector_of, selects
from .._kubernetes.workloads import Seen
from ..checks import CRITICAL, OK, WARNING
from ..errors import ConfigurationError
from ..words import printable
from .manifests import release_of
from .options import BLUE_GREEN, GRADUAL, ROLLING
from .preflight import Finding
from .record import Release
from .session import Session

#: Tells the pods of the second Deployment from those of the first.
TRACK = "tradingflow.io/track"
SUFFIXES = {GRADUAL: "-gradual", BLUE_GREEN: "-green"}


def planned(options: Mapping[str, Any], seen: Seen, service: Mapping[str, Any]) -> Dict[str, Any]:
    """How a release comes in stages, for its record.

    :param options: options.SPEC
    :param seen: the first Deployment
    :returns: kind, helper (name of the second Deployment), service, main_selector and helper_selector (of the Service,
        for either), labels (of the second's pods), replicas (of the first), steps ({share, minutes, pods}), step,
        retire_after (minutes)
    :raises ClusterError, ConfigurationError: that cannot be done here
    """
    kind, name = options["strategy"], options["deployment"]
    now = selector_of(service)
    labels = dict((seen.template.get("metadata") or {}).get("labels") or {})
    mine = dict((seen.deployment["spec"].get("selector") or {}).get("matchLabels") or {})
    # A name that has a colour gets the other one.
    helper = f"{name[:-6]}-blue" if kind == BLUE_GREEN and name.endswith("-green") else f"{name}{SUFFIXES[kind]}"
    after = dict(now)
    if kind == BLUE_GREEN:
        key = next((each for each in sorted(now) if each in mine), sorted(now)[0])
        colour = helper.rpartition("-")[2]
        labels[key] = after[key] = f"{now[key]}-{colour}"
    labels[TRACK] = helper.rpartition("-")[2]
    for value in (helper, *labels.values()):
        if len(value) > 63:
            raise ConfigurationError(
                f"{printable(value, 80)} is too long for a name or label of Kubernetes, which has 63 characters.",
                "Give the Deployment a shorter name, or release it by rolling.",
            )
    return {
        "kind": kind,
        "helper": helper,
        "service": str(service["metadata"]["name"]),
        "main_selector": now,
        "helper_selector": after,
        "labels": labels,
        "replicas": seen.replicas,
        "steps": [{**each, "pods": pods_of_share(each["share"], seen.replicas)} for each in options["steps"]],
        "step": 0,
        "retire_after": options["retire_after"],
    }


def pods_of_share(share: float, replicas: int) -> int:
    """How many pods beside the first Deployment's have at least a share (in percent) of all."""
    return max(1, math.ceil(share * replicas / (100 - share)))


def pods_wanted(strategy: Mapping[str, Any]) -> int:
    """Of the second Deployment, at this step."""
    if strategy["kind"] == BLUE_GREEN:
        return int(strategy["replicas"])
    return int(strategy["steps"][strategy["step"]]["pods"])


def share_of(strategy: Mapping[str, Any]) -> float:
    """Percent of the pods that are of the second Deployment."""
    pods = pods_wanted(strategy)
    return round(100 * pods / (pods + int(strategy["replicas"])), 1)


def more_pods(options: Mapping[str, Any], replicas: int) -> int:
    """How many pods there are at most beside those of the first Deployment, for the quota."""
    if options["strategy"] == BLUE_GREEN:
        return replicas
    if options["strategy"] == GRADUAL:
        return max(pods_of_share(each["share"], replicas) for each in options["steps"])
    return 0


def looked(session: Session, seen: Seen, release: Optional[Release]) -> Iterator[Finding]:
    """Whether a second Deployment can come: before a release.

    :param release: that is gone on with; None for a new one
    :raises ClusterError: what has to be seen cannot be
    """
    options, namespace, title = session.options, session.namespace, "the Service"
    begun: Mapping[str, Any] = release.strategy if release is not None else {}
    if release is not None and begun.get("kind", ROLLING) != options["strategy"]:
        text = f"Release {release.id} was begun by {begun.get('kind', ROLLING)}, and not by {options['strategy']}."
        yield Finding("begun", "the strategy", CRITICAL, begun.get("kind"), text, "Go on as it was begun, or undo it.")
        return
    name = options["service"] or options["deployment"]
    try:
        service = session.cluster.get(path_of("Service", namespace, name))
        plan = planned(options, seen, service)
    except Missing as error:
        yield Finding("service", title, CRITICAL, None, error.message, "Name it (release_service).")
        return
    now, labels = plan["main_selector"], (seen.template.get("metadata") or {}).get("labels") or {}
    if selects(now, labels) or (begun and now == begun["helper_selector"]):
        yield Finding("service", title, OK, said(now), f"The Service {name} sends requests to {said(now)}.")
    else:
        text = f"The Service {name} selects {said(now)}, and not the pods of {options['deployment']}."
        yield Finding("service", title, CRITICAL, said(now), text, "Switch it back, or name another (release_service).")
    spec = service.get("spec") or {}
    if spec.get("sessionAffinity", "None") != "None" or spec.get("clusterIP") == "None":
        what = "has no address of its own" if spec.get("clusterIP") == "None" else "keeps clients at their pods"
        text = f"The Service {name} {what}: who asked before may go on asking the version of before."
        remedy = "Shares are of clients then, and a switch takes until they look again."
        yield Finding("affinity", "who is sent where", WARNING, what, text, remedy)
    title = "the second Deployment"
    try:
        found = session.cluster.get(path_of("Deployment", namespace, plan["helper"]))
        whose = release_of(found)
        if release is not None and whose == release.id:
            yield Finding("helper", title, OK, plan["helper"], f"{plan['helper']} is of this release.")
        else:
            text = f"There is a Deployment {plan['helper']} already, of {printable(whose or 'somebody else', 80)}."
            yield Finding("helper", title, CRITICAL, plan["helper"], text, "See whose it is; delete it when nobody's.")
    except Missing:
        yield Finding("helper", title, OK, "none", f"There is no Deployment {plan['helper']} yet.")
    title, scaled = "autoscalers", []
    for each in session.cluster.items(path_of("HorizontalPodAutoscaler", namespace)):
        target = (each.get("spec") or {}).get("scaleTargetRef") or {}
        if (target.get("kind"), target.get("name")) == ("Deployment", options["deployment"]):
            scaled.append(printable(each["metadata"]["name"], 60))
    if scaled:
        text = f"{', '.join(scaled)} scales {options['deployment']}: shares, and which pods stay, are not kept."
        remedy = "Fix the number for as long as it takes (minReplicas = maxReplicas), or release by rolling."
        yield Finding("autoscaler", title, CRITICAL, len(scaled), text, remedy)
    else:
        yield Finding("autoscaler", title, OK, 0, f"Nothing scales {options['deployment']} by itself.")
