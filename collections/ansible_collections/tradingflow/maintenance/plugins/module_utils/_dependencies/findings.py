# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a scan means for the report. Nothing is ok unless the canary was found, and its database is well."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from .._advisories.findings import named, scan_checks, scan_doubts, states
from ..checks import OK, UNKNOWN, WARNING, Check, as_action, unknown, worst
from ..words import plural, printable

#: Rows that details keep.
_KEPT = 200


def findings(found: Dict[str, Any], started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Checks and actions of a scan."""
    checks = scan_checks("dependencies", found) if found["sources"] else [_nothing_declared()]
    for entry in found["sources"]:
        checks.append(_vulnerable(entry, found))
        checks += _proposal(entry)
    return checks, [_action(entry, found, started_at) for entry in found["sources"] if entry["rows"]]


def doubts(entry: Dict[str, Any], found: Dict[str, Any]) -> List[str]:
    """Why it is not known what vulnerabilities a source has; none when it is."""
    problem = found["problem"] or entry["problem"]
    if problem:
        return [problem["message"]]
    ecosystem = {"requirements": "PyPI", "package-lock": "npm"}[entry["format"]]
    texts = scan_doubts(ecosystem, found)
    if entry["missed"]:
        text = f"{plural(len(entry['missed']), 'package')} of {entry['packages']} not looked at"
        texts.append(f"{text}: {', '.join(entry['missed'][:5])}.")
    return texts


def _nothing_declared() -> Check:
    text = "No lock file is declared, so nothing is known about dependencies."
    return unknown("dependencies.scanner", "Scanner of dependencies", text, "Name them in patching_dependencies.")


def _vulnerable(entry: Dict[str, Any], found: Dict[str, Any]) -> Check:
    id, title = f"dependencies.vulnerable:{printable(entry['name'])}", f"Known vulnerabilities in {entry['name']}"
    details = {"found": entry["found"][:_KEPT], "sha256": entry["sha256"], "packages": entry["packages"]}
    why, said = doubts(entry, found), named(entry["found"])
    found_states = states(entry["found"])
    if not found_states and not why:
        text = f"None known in {plural(entry['packages'], 'package')}. {said}".strip()
        return Check(id, title, OK, 0, message=text, source=entry["path"], details=details)
    remedy = _remedy(entry, found) if found_states else "See why above, and scan again."
    text, value = " ".join([*why, said]).strip(), len(found_states) if found_states or not why else None
    status = worst([*found_states, *[UNKNOWN] * bool(why)])
    return Check(id, title, status, value, message=text, remedy=remedy, source=entry["path"], details=details)


def _remedy(entry: Dict[str, Any], found: Dict[str, Any]) -> str:
    proposal = entry["proposal"]
    if proposal and proposal["path"]:
        return f"Review and apply {proposal['path']} in the repository, and release it."
    if entry["format"] == "package-lock":
        return "Update it in a working copy: npm install --package-lock-only, with the versions in the details."
    return "Update these packages in the repository, and release it. Never on a live host."


def _proposal(entry: Dict[str, Any]) -> List[Check]:
    """About the change of the lock file that is proposed."""
    id, title = f"dependencies.proposal:{printable(entry['name'])}", f"Proposed change of {entry['name']}"
    if not entry["rows"]:
        return []
    details = {"rows": [{key: row[key] for key in row if key != "hashes"} for row in entry["rows"][:_KEPT]]}
    proposal: Optional[Dict[str, Any]] = entry["proposal"]
    if proposal and proposal["problem"]:
        return [unknown(id, title, proposal["problem"]["message"], proposal["problem"]["remedy"], details=details)]
    taken = [f"{row['package']} {row['from']} -> {row['to']}" for row in entry["rows"] if row["taken"]]
    kept = [f"{row['package']}: {row['why']}" for row in entry["rows"] if not row["taken"]]
    left = proposal["left"] if proposal else []
    text = f"{', '.join(taken[:10])}{f' and {len(taken) - 10} more' if len(taken) > 10 else ''}." if taken else ""
    text += f" Not proposed: {' '.join(kept[:5])}" if kept else ""
    text += f" Scanned as well, and still vulnerable: {', '.join(left[:5])}." if left else ""
    text += " No patch is made without patching_dependencies_npm_registry." if taken and not proposal else ""
    status = WARNING if kept or left or (taken and not proposal) else OK
    where = proposal["path"] if proposal and proposal["path"] else ""
    remedy = "" if status == OK else "Read why in the details."
    return [Check(id, title, status, len(taken), message=text.strip(), remedy=remedy, source=where, details=details)]


def _action(entry: Dict[str, Any], found: Dict[str, Any], started_at: str) -> Dict[str, Any]:
    proposal = entry["proposal"] or {}
    details = {"rows": entry["rows"][:_KEPT], "lock_file": entry["sha256"], "proposal": proposal.get("sha256")}
    details["scanner"] = found["scanner"]
    count = len([row for row in entry["rows"] if row["taken"]])
    if proposal.get("problem"):
        status, text = "failed", proposal["problem"]["message"]
    elif proposal.get("path"):
        status, text = "ok", f"{plural(count, 'version')} in {proposal['path']}. Nothing is applied."
    else:
        status, text = "planned", f"{plural(count, 'version')} to be changed. Nothing is written."
    id = f"dependencies.propose:{printable(entry['name'])}"
    return as_action(id, "Change of a lock file proposed", status, found["changed"], text, started_at, details)
