# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What became of the comparison, for the report and the ledger."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from .._advisories.findings import scan_checks
from ..checks import Check, as_action, unknown
from ..words import printable
from .engine import PARTS

TITLES = {
    "pinned": "Image named by its digest",
    "running": "What runs is in the registry",
    "started": "Containers started by digest",
    "newer": "Newer image",
    "base": "Newer base image",
    "content": "Known vulnerabilities in the image",
}


def findings(found: Dict[str, Any], started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Checks and actions."""
    if not found["images"]:
        text = "No image is declared, so nothing is known about images."
        return [unknown("images.pinned", TITLES["pinned"], text, "Name them in patching_images.")], []
    checks, actions = _scan(found["scan"]), []
    checks += found["observed"].checks() if found["observed"] else []
    for entry in found["images"]:
        name = printable(entry["name"])
        for part in (part for part in PARTS if part in entry["parts"]):
            said = entry["parts"][part]
            remedy = said["remedy"]
            if said["status"] == "warning" and part in ("newer", "base"):
                remedy = _remedy(entry)
            details = {"reference": entry["reference"], "running": entry["running"], "proposed": entry["rows"]}
            if part in ("running", "started"):
                details["containers"] = entry["containers"][:200]
            if part == "content":
                details = {"reference": entry["reference"], "running": entry["running"], **(entry["content"] or {})}
            checks.append(
                Check(
                    f"images.{part}:{name}",
                    TITLES[part],
                    said["status"],
                    said["value"],
                    message=said["message"],
                    remedy=remedy,
                    details=details,
                )
            )
        if entry["proposal"]:
            actions.append(_action(entry, found, started_at))
    return checks, actions


def _scan(scan: Optional[Dict[str, Any]]) -> List[Check]:
    """The scanner with its databases and canaries, where it was needed."""
    if not scan or not (scan["scanner"] or scan["problem"]):
        return []
    return scan_checks("images", scan)


def _remedy(entry: Dict[str, Any]) -> str:
    proposal = entry["proposal"] or {}
    return f"Hand {proposal['path']} to the release." if proposal.get("path") else "Release it; see the details."


def _action(entry: Dict[str, Any], found: Dict[str, Any], started_at: str) -> Dict[str, Any]:
    proposal = entry["proposal"]
    what = " and ".join(row["why"] for row in entry["rows"])
    if proposal["problem"]:
        status, text = "failed", proposal["problem"]
    elif proposal["path"]:
        status, text = "ok", f"{what}: {proposal['path']}. Nothing is deployed."
    else:
        status, text = "planned", f"{what}. Nothing is written."
    details = {"rows": entry["rows"], "reference": entry["reference"]}
    id = f"images.propose:{printable(entry['name'])}"
    return as_action(id, "Change of an image proposed", status, found["changed"], text, started_at, details)


def summary(found: Dict[str, Any], status: str) -> Dict[str, Any]:
    """What the ledger keeps of it."""
    return {
        "state": "proposed",
        "worst_status": status,
        "scan": found["scan"],
        "sources": _sources(found),
        "images": [
            {
                "name": entry["name"],
                "reference": entry["reference"],
                "running": entry["running"],
                "containers": entry["containers"][:200],
                "states": {part: said["status"] for part, said in entry["parts"].items()},
                "proposed": entry["rows"],
                "content": _kept(entry["content"]),
                "problem": (entry["proposal"] or {}).get("problem"),
            }
            for entry in found["images"]
        ],
    }


def _sources(found: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Who was asked what runs."""
    sources = found["observed"].sources if found["observed"] else []
    return [{**each, "containers": len(each["containers"])} for each in sources]


def _kept(content: Optional[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """What is in an image, as the ledger has it."""
    if not content:
        return None
    keys = ("id", "ecosystem", "package", "version", "severity", "accepted")
    return {**content, "found": [{key: each[key] for key in keys} for each in content["found"]]}
