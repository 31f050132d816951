# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a restore was last proven, for each engine: the newest drill in the environment's ledger that went well."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Optional, Sequence

from .._ledger.keys import PublicKeys, public_key, signing_key
from .._ledger.places import Store
from .._ledger.record import Record, parse_time
from .._ledger.walk import backwards
from ..checks import CRITICAL, OK, WARNING, Check, judge, unknown
from ..errors import MaintenanceError
from ..words import plural, printable, span
from .ids import suffix

ID, TITLE = "backups.proven_restore", "Last proven restore"

#: Records that are looked at, from the newest back: months of them, in a few seconds.
MOST = 1000
#: Days back when there is no threshold.
LONG_AGO = 35
#: Seconds by which a record may be ahead of the runner's clock.
CLOCK_TOLERANCE = 300

LOGICAL = "logical"

REMEDY = "Drill a restore of the newest recovery point (playbooks/drill.yml), which records it in the ledger."


@dataclass
class Found:
    """What walking back gave for one engine.

    :param proven: the newest drill of its recovery points that went well
    :param failed: the newest that did not, if it is newer
    :param looked_at: how many records
    :param unproven: numbers of records that are missing or do not verify; they count as nothing
    """

    proven: Optional[Record] = None
    failed: Optional[Record] = None
    looked_at: int = 0
    unproven: List[int] = field(default_factory=list)


def measure(
    storage: Dict[str, Any],
    environment: str,
    evidence: Optional[Dict[str, Any]],
    limit: Dict[str, Any],
    now: Optional[datetime] = None,
    engines: Sequence[str] = (LOGICAL,),
) -> List[Check]:
    """Days since the last drill that went well; none at all is as bad as the worst threshold there is.

    One check for each engine: that dumps restore says nothing of backups of the cluster. None where there is neither a
    ledger nor a threshold.

    :param evidence: keys of the ledger, see ledger.SIGNING_SPEC; None when there is none
    :param limit: warning and critical in days, None for none
    """
    given = {key: value for key, value in (evidence or {}).items() if value}
    signing = given.get("signing_key") or given.get("signing_key_file")
    if not signing and not given.get("trusted_key_files"):
        if limit == {"warning": None, "critical": None}:
            return []
        text = "No ledger is configured, in which a drill could be looked up."
        remedy = "Configure tradingflow_evidence, or set both thresholds to .inf."
        return [unknown(ID + suffix(engine), TITLE, text, remedy, **limit) for engine in engines]
    now = now or datetime.now(timezone.utc)
    try:
        trusted = [public_key(each) for each in given.get("trusted_key_files", [])] or [signing_key(signing).public]
        days = max([each for each in limit.values() if each is not None], default=LONG_AGO)
        store = Store(storage, environment, pool=16)
        since = now - timedelta(days=2 * min(days, 3650))
        found = walk(store, PublicKeys(trusted), environment, since, engines)
    except MaintenanceError as error:
        return [unknown(ID + suffix(engine), TITLE, error.message, error.remedy, **limit) for engine in engines]
    source = f"s3://{storage['bucket']}/{store.prefix}"
    return [judged(found[engine], limit, now, source, engine) for engine in engines]


def walk(
    store: Store, keys: PublicKeys, environment: str, since: datetime, engines: Sequence[str] = (LOGICAL,)
) -> Dict[str, Found]:
    """Walks back from the newest record to the newest drill of each engine that went well.

    :param since: records before this are not looked at
    :raises StorageError: the store does not answer
    """
    found = {engine: Found() for engine in engines}
    looked_at, unproven = 0, []
    for number, record in backwards(store, keys, environment, MOST):
        looked_at += 1
        if record is None:
            unproven.append(number)
        elif parse_time(record.predicate["recorded_at"]) < since:
            break
        elif record.predicate["kind"] == "drill":
            content = record.predicate["content"]
            of = found.get(str(content.get("engine")))
            if of is None or of.proven:
                continue
            if content.get("worst_status") == OK:
                of.proven = record
                if all(each.proven for each in found.values()):
                    break
            else:
                of.failed = of.failed or record
    for each in found.values():
        each.looked_at, each.unproven = looked_at, unproven
    return found


def judged(found: Found, limit: Dict[str, Any], now: datetime, source: str, engine: str = LOGICAL) -> Check:
    """The check of an engine from what was found."""
    id, title = ID + suffix(engine), TITLE
    of = "" if engine == LOGICAL else f" of a recovery point by {engine}"
    notes = ""
    if found.failed:
        said = printable(found.failed.predicate["content"].get("worst_status"), 20)
        notes += f" The drill of {found.failed.predicate['recorded_at']} ended {said}."
    if found.unproven:
        bad = plural(len(found.unproven), "record does not verify and is", "records do not verify and are")
        notes += f" {bad} ignored."
    details: Dict[str, Any] = {"records_looked_at": found.looked_at, "unproven_records": found.unproven[:20]}
    worst = CRITICAL if limit["critical"] is not None else WARNING if limit["warning"] is not None else OK
    if not found.proven:
        among = plural(found.looked_at, "record")
        text = f"No restore{of} has been proven: no drill that went well is in the newest {among}."
        remedy = REMEDY if worst != OK else ""
        return Check(
            id, title, worst, "never", **limit, message=text + notes, remedy=remedy, source=source, details=details
        )
    predicate = found.proven.predicate
    content, seconds = predicate["content"], (now - parse_time(predicate["recorded_at"])).total_seconds()
    point = printable(content.get("recovery_point"))
    if seconds < -CLOCK_TOLERANCE:
        text = f"The last drill was recorded {span(-seconds)} in the future: a clock is wrong."
        return unknown(id, title, text, "Synchronise the clocks of all runners.", source=source, **limit)
    details.update(
        record=predicate["number"],
        **{key: content.get(key) for key in ("recovery_point", "engine", "rto_seconds", "rpo_seconds")},
    )
    check = judge(
        id,
        title,
        round(max(seconds, 0) / 86400, 1),
        unit="days",
        **limit,
        message=f"{point} was proven by a restore {span(max(seconds, 0))} ago.{notes}",
        remedy=REMEDY,
        source=source,
        details=details,
    )
    if found.failed and check.status == OK and worst != OK:
        # What could be restored then may not be now.
        check.status, check.remedy = WARNING, f"Find out why the last drill failed. {REMEDY}"
    return check
