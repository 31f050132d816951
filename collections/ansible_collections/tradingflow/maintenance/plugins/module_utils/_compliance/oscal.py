# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The assessment as OSCAL assessment-results (NIST), as far as this needs it.

Identifiers of findings and risks are the same in every run; those of the document, its result and its observations are
the run's own.
"""

from __future__ import annotations

import uuid
from typing import Any, Dict, List, Mapping

from ..checks import OK, UNKNOWN
from .assessment import NAMESPACE, stable

VERSION = "1.2.1"
TOOL = str(uuid.uuid5(NAMESPACE, "tradingflow.maintenance"))
NS = "urn:tradingflow:maintenance:compliance"


def document(assessment: Mapping[str, Any], run_id: str, version: str) -> Dict[str, Any]:
    """The document.

    :param assessment: see assessment.assess
    :param version: the collection's
    """
    environment, at = assessment["environment"], assessment["assessed_at"]

    def of_run(*parts: str) -> str:
        return str(uuid.uuid5(NAMESPACE, "\n".join(("run", environment, run_id, *parts))))

    origins = [{"actors": [{"type": "tool", "actor-uuid": TOOL}]}]
    observations: Dict[str, Dict[str, Any]] = {}
    findings: List[Dict[str, Any]] = []
    risks = {gap["id"]: _risk(gap, at) for gap in assessment["gaps"]}
    by_check = {(gap["check"], gap["host"]): gap["id"] for gap in assessment["gaps"]}
    for row in assessment["requirements"]:
        related, at_risk = [], []
        for check in row["evidence"]:
            key = of_run("observation", check["id"], check["host"] or "")
            observations.setdefault(key, _observation(key, check, at, origins))
            if key not in related:
                related.append(key)
            gap = by_check.get((check["id"], check["host"] or ""))
            if gap and gap not in at_risk:
                at_risk.append(gap)
        findings.append(_finding(row, related, at_risk))
    result: Dict[str, Any] = {
        "uuid": of_run("result"),
        "title": f"Compliance of {environment}",
        "description": _text(assessment["notice"]),
        "start": at,
        "end": at,
        "props": [_prop("run-id", run_id)],
        "reviewed-controls": {
            "control-selections": [
                {"include-controls": [{"control-id": row["id"]} for row in assessment["requirements"]]}
            ]
        },
        "observations": list(observations.values()),
        "risks": list(risks.values()),
        "findings": findings,
    }
    # None of these may be an empty list.
    result = {key: value for key, value in result.items() if value != []}
    return {
        "assessment-results": {
            "uuid": of_run("document"),
            "metadata": {
                "title": f"Compliance of {environment}",
                "last-modified": at,
                "version": run_id,
                "oscal-version": VERSION,
                "props": [_prop("collection-version", version)],
                "remarks": _text(assessment["notice"]),
            },
            "import-ap": {"href": f"urn:tradingflow:maintenance:compliance:{stable(environment, 'plan')}"},
            "results": [result],
        }
    }


def _text(value: Any) -> str:
    """A text that is not empty, on one line."""
    return " ".join(str(value or "").split()) or "-"


def _prop(name: str, value: Any) -> Dict[str, str]:
    return {"name": name, "ns": NS, "value": _text(value)}


def _observation(key: str, check: Mapping[str, Any], at: str, origins: List[Dict[str, Any]]) -> Dict[str, Any]:
    props = [_prop("check", check["id"]), _prop("status", check["status"])]
    props += [_prop("host", check["host"])] if check["host"] else []
    return {
        "uuid": key,
        "title": _text(check["title"]),
        "description": _text(check["message"] or check["title"]),
        "props": props,
        "methods": ["TEST"],
        "types": ["control-objective"],
        "origins": origins,
        "collected": check.get("observed_at") or at,
    }


def _finding(row: Mapping[str, Any], related: List[str], at_risk: List[str]) -> Dict[str, Any]:
    state = (
        {"state": "satisfied", "reason": "pass"}
        if row["status"] == OK
        else {"state": "not-satisfied", "reason": "fail"}
    )
    if row["status"] == UNKNOWN:
        state["reason"] = "other"
    finding: Dict[str, Any] = {
        "uuid": row["finding"],
        "title": _text(row["title"]),
        "description": _text(f"{row['source']} ({row['jurisdiction']}). For people: {row['human']}"),
        "props": [_prop("owner", row["owner_name"] or row["owner"]), _prop("status", row["status"])],
        "target": {"type": "objective-id", "target-id": row["id"], "status": state},
    }
    if related:
        finding["related-observations"] = [{"observation-uuid": each} for each in related]
    if at_risk:
        finding["related-risks"] = [{"risk-uuid": each} for each in at_risk]
    return finding


def _risk(gap: Mapping[str, Any], at: str) -> Dict[str, Any]:
    return {
        "uuid": gap["id"],
        "title": _text(gap["title"]),
        "description": _text(gap["message"] or gap["title"]),
        "statement": _text(gap["remedy"] or gap["message"]),
        "props": [
            _prop("owner", gap["owner_name"] or gap["owner"]),
            _prop("first-seen", gap["first_seen"]),
            _prop("status", gap["status"]),
        ],
        "status": "open",
        "deadline": f"{gap['due']}T23:59:59Z",
    }
