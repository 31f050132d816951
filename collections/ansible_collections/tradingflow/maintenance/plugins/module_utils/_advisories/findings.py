# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a scan means for the report. Nothing is ok unless the canary was found, and its database is well."""

from __future__ import annotations

from datetime import date
from typing import Any, Dict, List

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, unknown
from ..errors import ConfigurationError
from ..words import plural, size
from .answers import SEVERITIES, Vulnerability

#: Severity -> status of a finding that nobody accepted.
STATUS = {"none": WARNING, "low": WARNING, "medium": WARNING, "high": CRITICAL, "critical": CRITICAL}
_NAMED = 5


def scan_checks(area: str, found: Dict[str, Any]) -> List[Check]:
    """The scanner, its databases and canaries, for one area of the report."""
    checks = [_scanner(area, found)]
    checks += [_database(area, name, state) for name, state in found["databases"].items()]
    return checks + [_canary(area, name, state) for name, state in found["canaries"].items()]


def scan_doubts(ecosystem: str, found: Dict[str, Any]) -> List[str]:
    """Why what the scanner says of an ecosystem is not known to be so."""
    canary, database = found["canaries"].get(ecosystem), found["databases"].get(ecosystem.partition(":")[0])
    texts = []
    if not canary or not canary["declared"]:
        texts.append(f"No canary is declared for {ecosystem}.")
    elif canary["missed"]:
        texts.append(f"The canary was missed: {', '.join(canary['missed'])}.")
    if database and database["problem"]:
        texts.append(f"Of the database of {ecosystem}, {database['problem']}.")
    return texts


def row(each: Vulnerability, package: str, accepted: List[Dict[str, Any]], today: date) -> Dict[str, Any]:
    """A vulnerability for report and ledger.

    :param accepted: what somebody lives with, as declared
    """
    mine = [one for one in accepted if one["advisory"] in each.names and one["package"] == package]
    mine = [one for one in mine if today <= date.fromisoformat(one["until"])]
    found: Dict[str, Any] = {"id": each.id, "aliases": each.aliases, "package": package, "version": each.version}
    return {**found, "severity": each.severity, "fixed": each.fixed, "accepted": mine[0] if mine else None}


def named(rows: List[Dict[str, Any]]) -> str:
    """How many nobody accepted, the worst of them by name, and how many are accepted; empty for none of these."""
    still = sorted(
        (each for each in rows if not each["accepted"]), key=lambda each: -SEVERITIES.index(each["severity"])
    )
    accepted = len(rows) - len(still)
    said = f" {plural(accepted, 'finding is', 'findings are')} accepted." if accepted else ""
    names = [f"{each['package']} {each['version']} ({each['id']}, {each['severity']})" for each in still[:_NAMED]]
    more = f" and {len(still) - _NAMED} more" if len(still) > _NAMED else ""
    many = plural(len(still), "vulnerability", "vulnerabilities")
    return f"{many}: {', '.join(names)}{more}.{said}" if still else said.strip()


def states(rows: List[Dict[str, Any]]) -> List[str]:
    return [STATUS.get(each["severity"], UNKNOWN) for each in rows if not each["accepted"]]


def validated(accepted: List[Dict[str, Any]]) -> None:
    """
    :raises ConfigurationError: an end is no day
    """
    for each in accepted:
        try:
            date.fromisoformat(each["until"])
        except ValueError:
            raise ConfigurationError(
                f"The end of an accepted finding is no day: {each['until']}.",
                "Write patching_dependencies_accepted with until: YYYY-MM-DD.",
            ) from None


def _scanner(area: str, found: Dict[str, Any]) -> Check:
    id, title, scanner = f"{area}.scanner", f"Scanner of {area}", found["scanner"]
    if found["problem"]:
        return unknown(id, title, found["problem"]["message"], found["problem"]["remedy"], details=scanner or {})
    text = f"{scanner['version']}, {scanner['program']}."
    return Check(id, title, OK, scanner["version"], message=text, source=scanner["program"], details=scanner)


def _database(area: str, ecosystem: str, state: Dict[str, Any]) -> Check:
    id, title = f"{area}.database:{ecosystem}", f"Advisories of {ecosystem}"
    if state["problem"]:
        text = f"{state['path']}: {state['problem']}."
        return unknown(id, title, text, "Seed it anew from OSV's archive, all.zip.", details=state)
    text = f"{plural(state['records'], 'advisory', 'advisories')}, the newest of {state['newest'][:10]}, "
    text += f"{size(state['size'])}, the same before and after the scan."
    return Check(id, title, OK, state["records"], message=text, source=state["path"], details=state)


def _canary(area: str, ecosystem: str, state: Dict[str, Any]) -> Check:
    id, title = f"{area}.canary:{ecosystem}", f"Canary of {ecosystem}"
    if not state["declared"]:
        text = f"None is declared for {ecosystem}: whether the scanner finds anything is not known."
        return unknown(id, title, text, "Declare one in patching_dependencies_canaries.")
    if state["missed"]:
        text = f"Missed: {', '.join(state['missed'])}. The scan proves nothing, whatever it says."
        return unknown(id, title, text, "Seed the database anew, or check the scanner's service.")
    text = f"{plural(state['declared'], 'package')} with a known vulnerability scanned along, and found."
    return Check(id, title, OK, state["declared"], message=text)
