# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a running server has, compared with what it is to have."""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ..errors import MaintenanceError
from ..words import plural, printable
from .rule import Rule
from .server import Server

_HOLD = {"": 0, "2m": 120, "5m": 300}


def rules_differ(server: Server, group: str, rules: Sequence[Rule], labels: Dict[str, str]) -> List[str]:
    """What Prometheus has otherwise than these rules; empty when it has exactly them.

    :raises MaintenanceError: it does not say
    """
    try:
        groups = [one for one in server.api("/api/v1/rules")["groups"] if one["name"] == group]
        found = [_as_said(one) for each in groups for one in each["rules"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise server.silent(f"what it says of its rules is not understood ({error})") from None
    if not groups:
        return [f"it has no group {group}"]
    if len(groups) > 1:
        return [f"it has the group {group} {len(groups)} times: two files have it"]
    if len(found) != len(rules):
        return [f"it has {plural(len(found), 'rule')} in {group}, not {len(rules)}"]
    wanted = [_as_wanted(rule, labels) for rule in rules]
    texts: Dict[str, str] = {}

    def formatted(expr: str) -> str:
        # It says expressions in a form of its own.
        if expr not in texts:
            texts[expr] = str(server.api("/api/v1/format_query", query=expr))
        return texts[expr]

    result = []
    for number, meant in enumerate(wanted):
        said = found[number]
        if _bare(said["expr"]) != _bare(meant["expr"]) and formatted(said["expr"]) != formatted(meant["expr"]):
            result.append(f"{meant['name']} is {printable(said['expr'], 200)}")
        result += [
            f"{meant['name']} has another {key}"
            for key in ("name", "for", "labels", "annotations")
            if said[key] != meant[key]
        ]
    return result


def _bare(expr: str) -> str:
    return re.sub(r"\s", "", expr)


def _as_said(one: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "name": one["name"],
        "expr": str(one["query"]),
        "for": float(one.get("duration") or 0),
        "labels": one.get("labels") or {},
        "annotations": one.get("annotations") or {},
    }


def _as_wanted(rule: Rule, labels: Dict[str, str]) -> Dict[str, Any]:
    data = rule.as_data(labels)
    return {
        "name": rule.name,
        "expr": rule.expr,
        "for": float(_HOLD[rule.hold]),
        "labels": data["labels"],
        "annotations": data["annotations"],
    }


def evaluated(server: Server, group: str) -> Optional[Tuple[List[str], int]]:
    """Rules that Prometheus cannot evaluate, with why, and how many it has not evaluated yet; None without the group.

    What it read a moment ago has the health unknown until its first evaluation, and no error.

    :raises MaintenanceError: it does not say
    """
    try:
        groups = [each for each in server.api("/api/v1/rules")["groups"] if each["name"] == group]
        rules = [one for each in groups for one in each["rules"]]
        wrong = [
            f"{one['name']}: {printable(one.get('lastError') or one['health'])}"
            for one in rules
            if one["health"] == "err"
        ]
        return (wrong, sum(one["health"] not in ("ok", "err") for one in rules)) if rules else None
    except (KeyError, TypeError, AttributeError) as error:
        raise server.silent(f"what it says of its rules is not understood ({error})") from None


def silent_for_ever(server: Server, rules: Sequence[Rule]) -> Dict[str, str]:
    """Rules that will never fire, as Prometheus has no series for them: rule -> what is missing.

    :raises MaintenanceError: it does not say
    """
    had: Dict[str, List[str]] = {}
    bounds: Dict[str, Dict[str, float]] = {}
    result: Dict[str, str] = {}
    for rule in rules:
        for wanted, hosts in rule.needs:
            if wanted not in had:
                answer = server.query(f"count by (instance) ({wanted})")
                had[wanted] = [str((one.get("metric") or {}).get("instance", "")) for one in answer]
            if not had[wanted]:
                result.setdefault(rule.key, f"nobody has {wanted}")
                continue
            without = [host for host in hosts if not any(_is_of(name, host) for name in had[wanted])]
            if without:
                metric = wanted.partition("{")[0]
                result.setdefault(rule.key, f"{', '.join(without[:3])} has no {metric}")
        if rule.bucket and rule.key not in result:
            wanted, least = rule.bucket
            if wanted not in bounds:
                bounds[wanted] = _last_bounds(server, wanted)
            low = sorted(name for name, last in bounds[wanted].items() if last < least)
            if low:
                metric = wanted.partition("{")[0]
                result[rule.key] = f"{', '.join(low[:3])} has no finite bound of {metric} at or above {least:g} s"
    return result


def _last_bounds(server: Server, buckets: str) -> Dict[str, float]:
    """Instance -> the last finite bound of its histogram; 0 when it has none."""
    result: Dict[str, float] = {}
    for one in server.query(f"count by (instance, le) ({buckets})"):
        labels = one.get("metric") or {}
        try:
            bound = float(labels.get("le", ""))
        except ValueError:
            raise server.silent(f"a bucket of {buckets} has no bound") from None
        name = str(labels.get("instance", ""))
        result[name] = max(result.get(name, 0.0), bound if math.isfinite(bound) else 0.0)
    return result


def _is_of(instance: str, host: str) -> bool:
    return re.fullmatch(rf"{re.escape(host)}(:[0-9]+)?", instance) is not None


def alertmanagers(server: Server) -> List[str]:
    """To whom Prometheus sends alerts.

    :raises MaintenanceError: it does not say
    """
    try:
        return [str(one["url"]) for one in server.api("/api/v1/alertmanagers")["activeAlertmanagers"]]
    except (KeyError, TypeError) as error:
        raise server.silent(f"what it says of Alertmanagers is not understood ({error})") from None


def routes_differ(server: Server, marker: str, text: str) -> List[str]:
    """What Alertmanager has otherwise than the configuration with this text, and this marker in it.

    It shows the text without its secrets, and tells a digest of the whole of it.

    :raises MaintenanceError: it does not say
    """
    other = ["it runs another configuration"]
    try:
        if f"name: {marker}\n" not in f"{server.api('/api/v2/status')['config']['original']}\n":
            return other
        digest = server.metric("alertmanager_config_hash")
        if digest is None:
            raise server.silent("it has no alertmanager_config_hash")
        return [] if digest == _config_hash(text) else other
    except (KeyError, TypeError) as error:
        raise server.silent(f"what it says of its state is not understood ({error})") from None


def _config_hash(text: str) -> float:
    # As Alertmanager makes it (config/coordinator.go, md5HashAsMetricValue): six bytes, the lowest first.
    return float(int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:6], "little"))


def unread(server: Server) -> str:
    """Why its last reload is none; empty when it is well.

    :raises MaintenanceError: it does not say
    """
    well = server.metric(f"{server.kind}_config_last_reload_successful")
    if well is None:
        raise MaintenanceError(f"{server.name} does not say whether its last reload was well", "Look at its /metrics.")
    return "" if well == 1 else f"{server.name} could not read its configuration when it was last to"
