# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the report says of a bundle: never ok where anything was left out."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, as_action
from ..errors import EvidenceError, MaintenanceError, StorageError
from ..words import plural
from .collected import COMPLETE, FAILED, PARTIAL, parsed

_STATUS = {COMPLETE: OK, PARTIAL: WARNING, FAILED: UNKNOWN}
_TITLE = "Audit bundle made"
Found = Tuple[List[Check], List[Dict[str, Any]]]


def failure(error: MaintenanceError, started_at: str) -> Found:
    """It was not made. What is wrong with evidence itself is critical; of all else nothing is known."""
    status = CRITICAL if isinstance(error, EvidenceError) else UNKNOWN
    value = False if status == CRITICAL else None
    check = Check("audit.bundle", _TITLE, status, value, message=error.message, remedy=error.remedy)
    if isinstance(error, StorageError):
        check.remedy = f"{check.remedy} What was collected is kept: run again.".strip()
    return [check], [_action("failed", False, error.message, started_at, {"error": type(error).__name__})]


def planned(prepared: Dict[str, Any], started_at: str) -> Found:
    """What a run would do."""
    period = prepared["period"]
    text = f"The period {period['from']} to {period['to']} "
    if prepared["made"]:
        text += f"has its bundle, {prepared['bundle']}"
    else:
        text += f"would be collected as bundle {prepared['number']}"
    check = Check("audit.planned", "Audit bundle planned", OK, prepared["number"], message=text)
    return [check], [_action("planned", False, text, started_at, prepared)]


def findings(result: Dict[str, Any], started_at: str) -> Found:
    """What was made, source by source."""
    checks = [*_sources(result), *_stored(result), *_chained(result), *_locked(result)]
    sources = result["sources"]
    lacking = [each for each in sources or [] if each["outcome"] != COMPLETE]
    period = f"{result['period']['from']} to {result['period']['to']}"
    text = f"Bundle {result['number']}, {period}"
    details = {name: result[name] for name in ("bundle", "digest", "key", "path", "stamped_at")}
    if sources is None:
        status, value = UNKNOWN, None
        text += ": it was made before, and is not on this controller: nothing is known of its sources"
        remedy = f"Download {result['key']} and prove it with scripts/bundle_verify.py."
    elif lacking:
        failed = any(each["outcome"] == FAILED for each in lacking)
        status, value = UNKNOWN if failed else WARNING, None if failed else len(sources)
        text += f": {len(lacking)} of {len(sources)} sources are not complete"
        remedy = "See the sources below. Mend what they name, then collect again (audit_collection_again)."
    else:
        status, value, remedy = OK, len(sources), ""
        proven = "signed and proven" if result["verified"] else "made before, by the ledger's record; not proven here"
        text += f": {len(sources)} sources, all complete; {proven}"
    made = Check("audit.bundle", _TITLE, status, value, message=text, remedy=remedy, details=details)
    said = f"{text} ({result['path'] or result['key']})"
    return [made, *checks], [_action("ok", result["changed"], said, started_at, details)]


def _sources(result: Dict[str, Any]) -> List[Check]:
    checks = []
    for each in result["sources"] or []:
        status = _STATUS.get(each["outcome"], UNKNOWN)
        gaps = [f"{gap['from']} to {gap['to']}: {gap['reason']}" for gap in each["gaps"]]
        text = f"{each['records']} records" if status == OK else f"{each['outcome']}: {each['reason']}"
        checks.append(
            Check(
                f"audit.source:{each['place']}/{each['name']}",
                f"{each['name']} of {each['host']} collected",
                status,
                None if status == UNKNOWN else each["records"],
                message=text,
                remedy="" if status == OK else "Mend what is named, then collect again (audit_collection_again).",
                source=" ".join(each["command"])[:300],
                details={"gaps": gaps[:20], "kind": each["kind"], "redactions": each["redactions"]},
            )
        )
    return checks


def _stored(result: Dict[str, Any]) -> List[Check]:
    key = result["key"]
    if result["trouble"]:
        text = f"The archive of bundle {result['number']} is not in the store as it was written: {result['trouble']}"
        remedy = "Find out who changed it; a versioned bucket has the version that was written (docs/audit.md)."
        stored = Check("audit.stored", "Audit bundle in the store", CRITICAL, False, message=text, remedy=remedy)
    elif not result["stored"]:
        text = f"{key} is there; the ledger has no checksum to compare it with"
        remedy = f"Download {key} and prove it with scripts/bundle_verify.py."
        stored = Check("audit.stored", "Audit bundle in the store", UNKNOWN, None, message=text, remedy=remedy)
    else:
        stored = Check("audit.stored", "Audit bundle in the store", OK, True, message=key)
    if not result["notes"]:
        return [stored]
    text = " ".join(result["notes"])
    return [stored, Check("audit.notes", "Notes", WARNING, text, message=text, remedy="See docs/audit.md.")]


def _chained(result: Dict[str, Any]) -> List[Check]:
    """Whether its period begins where the one before ended."""
    before = result["previous_period"]
    if before is None:
        return []
    ended, begins = parsed(before["to"]), parsed(result["period"]["from"])
    number = result["number"]
    if begins > ended:
        text = f"Bundle {number - 1} ends at {before['to']}, bundle {number} begins at {result['period']['from']}"
        remedy = "Collect what is between them: audit_collection_from and audit_collection_to."
        return [Check("audit.chain", "Periods without a gap", WARNING, number, message=text, remedy=remedy)]
    return [Check("audit.chain", "Periods without a gap", OK, number, message=f"It follows on bundle {number - 1}")]


def _locked(result: Dict[str, Any]) -> List[Check]:
    """Whether the store still keeps what it was told to keep."""
    id, title, locks = "audit.locks", "Audit bundles locked in the store", result["locks"]
    if locks is None:
        return []
    count, details = locks["looked_at"], {name: locks[name][:20] for name in ("lost", "lifted", "untold")}
    if locks["lost"]:
        text = (
            f"{plural(len(locks['lost']), 'object')} of audit bundles can be deleted or are gone: {locks['lost'][0]}."
        )
        remedy = "Find out who changed it (the store's access log), and lock it again; docs/audit.md, Keep and hold."
        return [Check(id, title, CRITICAL, len(locks["lost"]), message=text, remedy=remedy, details=details)]
    if locks["untold"]:
        text = f"Whether bundles are still locked is not known: {locks['untold'][0]}."
        remedy = "Give the key s3:GetObjectRetention, s3:GetObjectLegalHold and s3:GetBucketObjectLockConfiguration on"
        remedy += " audit/*, or use a bucket with object lock."
        return [Check(id, title, UNKNOWN, None, message=text, remedy=remedy, details=details)]
    if locks["lifted"]:
        text = f"A legal hold was lifted: {locks['lifted'][0]}."
        remedy = "See that whoever lifted it was to."
        return [Check(id, title, WARNING, len(locks["lifted"]), message=text, remedy=remedy, details=details)]
    text = f"{plural(count, 'bundle')}, each locked as long as it says"
    if count < locks["bundles"]:
        text = (
            f"{count} of {locks['bundles']} bundles, each locked as long as it says: the newest, and of older ones some"
        )
        text += " in each run, by turns"
    return [Check(id, title, OK, count, message=text, details={"bundles": locks["bundles"]})]


def _action(status: str, changed: bool, message: str, started_at: str, details: Dict[str, Any]) -> Dict[str, Any]:
    return as_action("audit.seal", "Audit bundle", status, changed, message, started_at, details)
