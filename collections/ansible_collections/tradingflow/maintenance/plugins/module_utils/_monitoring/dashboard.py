# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A dashboard of Grafana: what runs said, and each measure that has a rule, with the rule's thresholds."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, List, Optional, Sequence

from .rule import Rule, selector, text
from .rules import FINISHED, STATUS, WORST

#: Grafana's units by those of checks.
UNITS = {"%": "percent", "ms": "ms", "s": "s", "": "short"}
COLOURS = {"ok": "green", "warning": "yellow", "unknown": "purple", "critical": "red"}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
#: Panels beside each other, of the 24 columns that Grafana has.
_BESIDE, _HIGH = 2, 8
#: How the tag begins that has the digest of the rest.
SEAL = "sha256-"


def dashboard(environment: str, playbooks: Dict[str, float], rules: Sequence[Rule]) -> str:
    """The dashboard as JSON, as Grafana's provisioning reads it (schema version 38)."""
    own = f"environment={text(environment)}"
    mappings = [
        {
            "type": "value",
            "options": {
                str(number): {"text": name, "color": colour, "index": number}
                for number, (name, colour) in enumerate(COLOURS.items())
            },
        }
    ]
    status = {"unit": "short", "mappings": mappings, "thresholds": _steps([])}
    panels = [
        _panel("Last run of each", "stat", [(f"time() - {selector(FINISHED, own)}", "{{playbook}}")], _ages(playbooks)),
        _panel("Worst of the last run", "stat", [(selector(WORST, own), "{{playbook}}")], status),
        _panel("Checks that are not ok", "table", [(f"{selector(STATUS, own)} > 0", "{{check}}")], status),
    ]
    grouped: Dict[str, List[Rule]] = {}
    for rule in rules:
        if rule.measure:
            grouped.setdefault(rule.name, []).append(rule)
    for name, members in grouped.items():
        targets = dict.fromkeys(rule.measure for rule in members)
        # Of several, those of the first: what is drawn is a help, what alerts is the rule.
        first = {rule.severity: rule for rule in reversed(members) if not rule.mount}
        steps = _steps([(first[level].threshold, level) for level in ("warning", "critical") if level in first])
        if members[0].below:
            steps = _steps_below({level: first[level].threshold for level in first})
        legend = "{{instance}} {{mountpoint}}" if "mountpoint" in members[0].summary else "{{instance}}"
        defaults = {
            "unit": UNITS.get(members[0].unit, "short"),
            "thresholds": steps,
            "custom": {"thresholdsStyle": {"mode": "line"}},
        }
        panels.append(
            _panel(name.removeprefix("TradingFlow"), "timeseries", [(expr, legend) for expr in targets], defaults)
        )
    for number, panel in enumerate(panels):
        panel["id"] = number + 1
        panel["gridPos"] = {
            "h": _HIGH,
            "w": 24 // _BESIDE,
            "x": 24 // _BESIDE * (number % _BESIDE),
            "y": _HIGH * (number // _BESIDE),
        }
    document = {
        "uid": _uid(environment),
        "title": f"TradingFlow maintenance: {environment}",
        "tags": ["tradingflow"],
        "schemaVersion": 38,
        "editable": False,
        "timezone": "utc",
        "time": {"from": "now-7d", "to": "now"},
        "refresh": "5m",
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}]
        },
        "annotations": {"list": []},
        "panels": panels,
    }
    return sealed_json(document)


def _panel(title: str, kind: str, targets: Sequence[Any], defaults: Dict[str, Any]) -> Dict[str, Any]:
    asked = [
        {
            "refId": chr(ord("A") + number) if number < 26 else f"A{number}",
            "datasource": _SOURCE,
            "expr": expr,
            "legendFormat": legend,
            **({"instant": True, "format": "table"} if kind == "table" else {"instant": kind == "stat"}),
        }
        for number, (expr, legend) in enumerate(targets)
    ]
    return {
        "id": 0,
        "title": title,
        "type": kind,
        "datasource": _SOURCE,
        "gridPos": {},
        "targets": asked,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {},
    }


def _steps(limits: Sequence[Any]) -> Dict[str, Any]:
    """Grafana's thresholds: good up to the first."""
    steps: List[Dict[str, Any]] = [{"color": COLOURS["ok"], "value": None}]
    steps += [{"color": COLOURS[level], "value": value} for value, level in limits]
    return {"mode": "absolute", "steps": steps}


def _steps_below(limits: Dict[str, Any]) -> Dict[str, Any]:
    """The same where low is bad."""
    worst = "critical" if "critical" in limits else "warning"
    steps: List[Dict[str, Any]] = [{"color": COLOURS[worst], "value": None}]
    if worst == "critical" and "warning" in limits:
        steps.append({"color": COLOURS["warning"], "value": limits["critical"]})
    steps.append({"color": COLOURS["ok"], "value": max(limits.values())})
    return {"mode": "absolute", "steps": steps}


def _ages(playbooks: Dict[str, float]) -> Dict[str, Any]:
    # The dead man's switches tell each by its own; the shortest is drawn.
    shortest = [interval for interval in playbooks.values() if interval]
    return {"unit": "s", "thresholds": _steps([(min(shortest), "critical")] if shortest else [])}


def _uid(environment: str) -> str:
    return f"tradingflow-{hashlib.sha256(environment.encode()).hexdigest()[:12]}"


def ours_json(given: str, environment: Optional[str] = None) -> bool:
    """Whether a dashboard's file is of our making, for this environment or without one for any."""
    try:
        document = json.loads(given)
        if not any(tag.startswith(SEAL) for tag in document["tags"]):
            return False
        uid = document["uid"]
        return uid.startswith("tradingflow-") if environment is None else bool(uid == _uid(environment))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def _dumped(document: Dict[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True)


def sealed_json(document: Dict[str, Any]) -> str:
    """The document, with a digest of the rest among its tags: JSON has no comments."""
    digest = hashlib.sha256(_dumped(document).encode()).hexdigest()[:32]
    return _dumped({**document, "tags": [*document["tags"], SEAL + digest]}) + "\n"


def edited_json(given: str) -> bool:
    """Whether a dashboard's file is not as monitoring_config left it."""
    try:
        document = json.loads(given)
        tags = document["tags"]
        rest = {**document, "tags": [tag for tag in tags if not tag.startswith(SEAL)]}
    except (ValueError, KeyError, TypeError, AttributeError):
        return True
    return sealed_json(rest) != given
