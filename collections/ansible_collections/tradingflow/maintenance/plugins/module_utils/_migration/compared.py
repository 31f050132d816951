# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the comparison of the catalogues means for the report."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..checks import CRITICAL, OK, WARNING, Check, unknown
from ..words import plural
from .catalogue import FOREIGN, GRANTS

_SHOWN = 5


def checks(result: Dict[str, Any]) -> List[Check]:
    """Drift before, the catalogue after, constraints that are not validated, and statistics."""
    found = []
    if result.get("drift"):
        found.append(_compared("migration.drift", "Drift before", result["drift"]))
    found += _tried(result.get("tried"))
    after = result.get("catalogue")
    if after:
        found.append(_compared("migration.catalogue", "Catalogue against the revisions'", after))
        names = after.get("not_validated") or []
        if names:
            text = (
                f"{plural(len(names), 'constraint is', 'constraints are')} not validated: {', '.join(names[:_SHOWN])}."
            )
            remedy = "Validate each (ALTER TABLE ... VALIDATE CONSTRAINT) by a later revision."
            id, title = "migration.not_validated", "Constraints not validated"
            found.append(Check(id, title, WARNING, len(names), message=text, remedy=remedy))
    return found + _statistics(result.get("statistics"))


def _tried(tried: Optional[Dict[str, Any]]) -> List[Check]:
    if tried is None:
        return []
    id, title = "migration.tried", "Tried on an empty database"
    if tried["unknown"] is not None:
        return [
            unknown(id, title, f"Not tried: {tried['unknown']}", "See that the project's Python works on this host.")
        ]
    if tried["failed"] is None:
        return [Check(id, title, OK, True, message="All revisions run on an empty database.")]
    text = f"Revision {tried['failed']} fails on an empty database: {tried['why']}."
    remedy = "Unless it needs rows, it will fail here, too: correct it."
    return [Check(id, title, WARNING, False, message=text, remedy=remedy)]


def kept(result: Dict[str, Any]) -> Dict[str, Any]:
    """For the ledger: names of what differs, and whether that was known."""
    found: Dict[str, Any] = {}
    for part in ("drift", "catalogue"):
        compared = result.get(part)
        if compared is not None:
            names = [each["name"] for each in compared["differences"] if each["what"] != FOREIGN]
            found[part] = {"unknown": compared["unknown"], "differences": names[:100], "accepted": compared["accepted"]}
    return found


def _compared(id: str, title: str, compared: Dict[str, Any]) -> Check:
    if compared["unknown"] is not None:
        text = f"Not compared: {compared['unknown']}"
        return unknown(id, title, text, "See that this host can build the schema from the first revision.")
    grave, lesser, foreign = [], [], []
    for each in compared["differences"]:
        if each["what"] == FOREIGN and not each["name"].startswith("event trigger "):
            foreign.append(each)
        elif each["what"] == FOREIGN or each["name"].startswith(f"{GRANTS} ") or each["name"] in compared["accepted"]:
            lesser.append(each)
        else:
            grave.append(each)
    details = {"differences": (grave + lesser + foreign)[:100]}
    text = f"Not the revisions': {', '.join(each['name'] for each in foreign[:_SHOWN])}." if foreign else ""
    if not grave and not lesser:
        text = f"All is as the revisions make it. {text}".rstrip()
        return Check(id, title, OK, 0, message=text, details=details)
    told = "; ".join(map(_told, (grave + lesser)[:_SHOWN]))
    more = len(grave) + len(lesser) - _SHOWN
    told += f"; and {more} more" if more > 0 else ""
    remedy = "Put it back, or into a revision. Accepted or not, it is what the database has now."
    status = CRITICAL if grave else WARNING
    return Check(id, title, status, len(grave), message=f"{told}. {text}".rstrip(), remedy=remedy, details=details)


def _told(each: Dict[str, Any]) -> str:
    return f"{each['name']} is {_text(each['found'])}, by the revisions {_text(each['expected'])}"


def _text(text: Optional[str]) -> str:
    if text is None:
        return "not there"
    shown = " ".join(text.split())
    return shown if len(shown) <= 200 else f"{shown[:200]}..."


def _statistics(refreshed: Optional[Dict[str, Any]]) -> List[Check]:
    if refreshed is None:
        return []
    id, title = "migration.statistics", "Statistics"
    if refreshed["unknown"] is not None:
        text = f"The statistics of the touched tables could not be refreshed: {refreshed['unknown']}"
        return [Check(id, title, WARNING, False, message=text, remedy="Run ANALYZE on them.")]
    names = refreshed["tables"]
    text = f"Refreshed for {plural(len(names), 'table')}."
    return [Check(id, title, OK, len(names), message=text)]
