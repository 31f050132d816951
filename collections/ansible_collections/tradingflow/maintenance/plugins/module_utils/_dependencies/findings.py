# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a scan means for the report. Nothing is ok unless the canary was found, and its database is well."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from .._advisories.answers import SEVERITIES
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_action, unknown, worst
from ..words import plural, printable, size

#: Severity -> status of a finding that nobody accepted.
STATUS = {"none": WARNING, "low": WARNING, "medium": WARNING, "high": CRITICAL, "critical": CRITICAL}
#: Rows that details keep.
_KEPT = 200


def findings(found: Dict[str, Any], started_at: str) -> Tuple[List[Check], List[Dict[str, Any]]]:
    """Checks and actions of a scan."""
    checks = [_scanner(found)] if found["sources"] else [_nothing_declared()]
    checks += [_database(name, state) for name, state in found["databases"].items()]
    checks += [_canary(name, state) for name, state in found["canaries"].items()]
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
    canary, database = found["canaries"].get(ecosystem), found["databases"].get(ecosystem)
    texts = []
    if not canary or not canary["declared"]:
        texts.append(f"No canary is declared for {ecosystem}.")
    elif canary["missed"]:
        texts.append(f"The canary was missed: {', '.join(canary['missed'])}.")
    if database and database["problem"]:
        texts.append(f"Of the database of {ecosystem}, {database['problem']}.")
    if entry["missed"]:
        text = f"{plural(len(entry['missed']), 'package')} of {entry['packages']} not looked at"
        texts.append(f"{text}: {', '.join(entry['missed'][:5])}.")
    return texts


def _nothing_declared() -> Check:
    text = "No lock file is declared, so nothing is known about dependencies."
    return unknown("dependencies.scanner", "Scanner of dependencies", text, "Name them in patching_dependencies.")


def _scanner(found: Dict[str, Any]) -> Check:
    id, title, scanner = "dependencies.scanner", "Scanner of dependencies", found["scanner"]
    if found["problem"]:
        return unknown(id, title, found["problem"]["message"], found["problem"]["remedy"], details=scanner or {})
    text = f"{scanner['version']}, {scanner['program']}."
    return Check(id, title, OK, scanner["version"], message=text, source=scanner["program"], details=scanner)


def _database(ecosystem: str, state: Dict[str, Any]) -> Check:
    id, title = f"dependencies.database:{ecosystem}", f"Advisories of {ecosystem}"
    if state["problem"]:
        text = f"{state['path']}: {state['problem']}."
        return unknown(id, title, text, "Seed it anew from OSV's archive, all.zip.", details=state)
    text = f"{plural(state['records'], 'advisory', 'advisories')}, the newest of {state['newest'][:10]}, "
    text += f"{size(state['size'])}, the same before and after the scan."
    return Check(id, title, OK, state["records"], message=text, source=state["path"], details=state)


def _canary(ecosystem: str, state: Dict[str, Any]) -> Check:
    id, title = f"dependencies.canary:{ecosystem}", f"Canary of {ecosystem}"
    if not state["declared"]:
        text = f"None is declared for {ecosystem}: whether the scanner finds anything is not known."
        return unknown(id, title, text, "Declare one in patching_dependencies_canaries.")
    if state["missed"]:
        text = f"Missed: {', '.join(state['missed'])}. The scan proves nothing, whatever it says."
        return unknown(id, title, text, "Seed the database anew, or check the scanner's service.")
    text = f"{plural(state['declared'], 'package')} with a known vulnerability scanned along, and found."
    return Check(id, title, OK, state["declared"], message=text)


def _vulnerable(entry: Dict[str, Any], found: Dict[str, Any]) -> Check:
    id, title = f"dependencies.vulnerable:{printable(entry['name'])}", f"Known vulnerabilities in {entry['name']}"
    still = [each for each in entry["found"] if not each["accepted"]]
    accepted = len(entry["found"]) - len(still)
    still.sort(key=lambda each: -SEVERITIES.index(each["severity"]))
    details = {"found": entry["found"][:_KEPT], "sha256": entry["sha256"], "packages": entry["packages"]}
    why = doubts(entry, found)
    states = [STATUS.get(each["severity"], UNKNOWN) for each in still] + [UNKNOWN] * bool(why)
    said = f" {plural(accepted, 'finding is', 'findings are')} accepted." if accepted else ""
    if not states:
        text = f"None known in {plural(entry['packages'], 'package')}.{said}"
        return Check(id, title, OK, 0, message=text, source=entry["path"], details=details)
    named = [f"{each['package']} {each['version']} ({each['id']}, {each['severity']})" for each in still[:5]]
    more = f" and {len(still) - 5} more" if len(still) > 5 else ""
    text = f"{plural(len(still), 'vulnerability', 'vulnerabilities')}: {', '.join(named)}{more}.{said}" if still else ""
    remedy = _remedy(entry, found) if still else "See why above, and scan again."
    if why:
        text = f"{' '.join(why)} {text}".strip()
    value = len(still) if still or not why else None
    return Check(id, title, worst(states), value, message=text, remedy=remedy, source=entry["path"], details=details)


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
    text += " No patch is made of this format." if taken and not proposal else ""
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
