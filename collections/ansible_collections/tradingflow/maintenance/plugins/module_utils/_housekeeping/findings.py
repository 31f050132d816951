# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report says of housekeeping."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_action, unknown
from ..words import plural, size

Found = Tuple[List[Check], List[Dict[str, Any]]]
#: Entries that nobody looked at to their end.
_NOT_SEEN = "too many files to look at"


def findings(result: Dict[str, Any], started_at: str) -> Found:
    """Checks and actions of what engine.plan or engine.run gives."""
    checks: List[Check] = []
    actions: List[Dict[str, Any]] = []
    freed: Dict[str, int] = {}
    for part in result["temporary"]:
        if "error" in part:
            problem = part["error"]
            id = f"housekeeping.temporary:{part['name']}"
            checks.append(unknown(id, _TEMPORARY, problem["message"], problem["remedy"]))
            continue
        checks.append(_temporary(part))
        actions.append(_cleaned(part, started_at))
        done = part.get("done")
        won = done["freed"] if done else sum(item["bytes"] for item in part["items"])
        freed["temporary files"] = freed.get("temporary files", 0) + won
    if freed:
        checks.append(_space(freed, "tokens" in result and not _applied(result), result["digest"]))
    return checks, actions


_TEMPORARY = "Temporary files"


def _temporary(part: Dict[str, Any]) -> Check:
    done = part.get("done")
    total = done["freed"] if done else sum(item["bytes"] for item in part["items"])
    kept = sum(each["count"] for each in part["kept"].values())
    left = f"{plural(part['young'], 'entry is', 'entries are')} too young, {kept:,} kept for other reasons"
    status, remedy = OK, ""
    if done:
        message = f"{plural(len(done['removed']), 'entry', 'entries')} removed ({size(total)})"
        if done["quarantined"]:
            message += f", {len(done['quarantined']):,} set aside"
        if done["kept"] or done["missing"]:
            message += f", {len(done['kept']) + done['missing']:,} left because they changed or came into use"
        message += f"; {left}."
    else:
        message = f"{plural(len(part['items']), 'entry', 'entries')} would go ({size(total)}); {left}."
    if part["later"]:
        status = WARNING
        message += f" {part['later']:,} more may go, beyond the most of one run."
        remedy = "Run it again, or raise housekeeping_maximum."
    if any(reason.startswith("cannot be looked at") for reason in part["kept"]):
        status, remedy = WARNING, "Look at the entries in the details."
    if _NOT_SEEN in part["kept"]:
        status = UNKNOWN
        message += " Not everything was looked at."
        remedy = "Raise housekeeping_look_at, or see what makes so many files."
    if done and done["failed"]:
        # What stays in quarantine although it is in use is missed by somebody.
        stuck = [row for row in done["failed"] if "stays in quarantine" in row["why"]]
        status = CRITICAL if stuck else max(status, WARNING, key=(OK, WARNING, UNKNOWN).index)
        row = (stuck or done["failed"])[0]
        message += f" {plural(len(done['failed']), 'entry', 'entries')} failed, such as {row['name']}: {row['why']}."
        remedy = "Put back by hand what is in use; see the details." if stuck else "See the details."
    return Check(
        f"housekeeping.temporary:{part['name']}",
        _TEMPORARY,
        status,
        total,
        unit="bytes",
        message=message,
        remedy=remedy,
        source=part["name"],
        details={"kept": part["kept"], "young": part["young"], **({"failed": done["failed"]} if done else {})},
    )


def _cleaned(part: Dict[str, Any], started_at: str) -> Dict[str, Any]:
    done = part.get("done")
    rows = [{key: value for key, value in item.items() if key != "token"} for item in part["items"]]
    title = f"Clean up {part['name']}"
    if not done:
        message = f"{plural(len(rows), 'entry', 'entries')} would go." if rows else "Nothing to do."
        status, details = ("planned" if rows else "skipped"), {"entries": rows}
    else:
        gone = len(done["removed"]) + len(done["quarantined"])
        message = f"{plural(gone, 'entry', 'entries')} cleaned up." if gone else "Nothing was done."
        status = "failed" if done["failed"] else "ok" if gone else "skipped"
        details = {key: done[key] for key in ("removed", "quarantined", "kept", "failed")}
    changed = bool(done and (done["removed"] or done["quarantined"]))
    return as_action(f"housekeeping.clean:{part['name']}", title, status, changed, message, started_at, details)


def _applied(result: Dict[str, Any]) -> bool:
    return any("done" in part for part in result["temporary"])


def _space(freed: Dict[str, int], planning: bool, digest: str) -> Check:
    total = sum(freed.values())
    each = ", ".join(f"{name} {size(count)}" for name, count in freed.items())
    return Check(
        "housekeeping.space",
        "Space won",
        OK,
        total,
        unit="bytes",
        message=f"{size(total)} {'would be' if planning else 'were'} won: {each}.",
        source="what the removed files held",
        details={**freed, **({"digest": digest} if planning else {})},
    )
