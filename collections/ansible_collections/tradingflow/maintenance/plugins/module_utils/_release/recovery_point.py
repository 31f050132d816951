# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Before a major update: a recovery point that is fresh, whole, and proven by a restore of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Mapping, Optional

from .._ledger.places import Store
from .._ledger.points import trusted
from .._ledger.record import Record, parse_time
from .._ledger.spec import KEYS_SPEC
from .._ledger.walk import backwards
from .._recovery_points.fetch import choose, ours
from .._recovery_points.recent import REMEDY, NoRecoveryPointError, created, recent
from .._storage.read import check_head
from .._work.job import Kind
from ..checks import CRITICAL, OK, UNKNOWN
from ..database import connected
from ..storage import client, storage_errors
from ..words import plural, printable, span
from .preflight import Finding

NAME, TITLE = "recovery_point", "the recovery point"
KIND = Kind("release", "release")
DRILL = "Prove it by a restore (playbooks/drill.yml), then run it again; playbooks/major.yml makes one and proves it."
#: Records that are looked at, from the newest back.
MOST = 2000
#: Seconds by which a record may be older than what it is of: clocks differ.
_TOLERANCE = 300
_IDENTITY = """SELECT pg_catalog.current_database()::text, CASE
WHEN pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
THEN (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) END"""


def finding(options: Mapping[str, Any], kept: Optional[Mapping[str, Any]] = None) -> Finding:
    """What forbids a major update, or what it may go back to; then `value` is the recovery point's id.

    :param options: of the release
    :param kept: the recovery point with which the release was begun, that is gone on with; it is not asked to be fresh
    :raises MaintenanceError: store or database do not answer
    """
    s3, storage, environment = client(options["storage"]), options["storage"], options["environment_name"]
    if kept:
        text = f"It was begun with recovery point {kept['id']} to go back to."
        return _damaged(s3, storage, choose(s3, storage, environment, str(kept["id"]), kind=KIND).point) or Finding(
            NAME, TITLE, OK, kept["id"], text
        )
    if not options["database"]:
        text = "No database is named whose recovery point would be looked for."
        return Finding(NAME, TITLE, CRITICAL, None, text, "Name it (release_database).")
    try:
        point = recent(dict(options), identity(options["database"]), KIND)
    except NoRecoveryPointError as error:
        return Finding(NAME, TITLE, CRITICAL, "none", error.message, error.remedy)
    whole = choose(s3, storage, environment, point["id"], kind=KIND).point
    if damaged := _damaged(s3, storage, whole):
        return damaged
    return proven(options, whole)


def _damaged(s3: Any, storage: Dict[str, Any], point: Dict[str, Any]) -> Optional[Finding]:
    """That a recovery point is not whole; None when it is."""
    wrong = _damage(s3, storage, point)
    if not wrong:
        return None
    text = f"Recovery point {point['id']} is damaged: {'; '.join(wrong[:3])}."
    return Finding(NAME, TITLE, CRITICAL, "damaged", text, REMEDY)


def point_of(options: Mapping[str, Any], id: str) -> Dict[str, Any]:
    """A recovery point for the record: id, key, sha256, created_at.

    :raises MaintenanceError: it is not there any more
    """
    storage = options["storage"]
    chosen = choose(client(storage), storage, options["environment_name"], id, kind=KIND)
    return {
        "id": chosen.point["id"],
        "key": chosen.key,
        "sha256": chosen.sha256,
        "created_at": chosen.point["created_at"],
    }


def identity(database: Dict[str, Any]) -> Dict[str, Optional[str]]:
    """Of the database: name, and the cluster's system_identifier where we may know it.

    :raises DatabaseError: it does not answer
    """
    with connected(database) as connection, connection.cursor() as cursor:
        cursor.execute(_IDENTITY)
        name, identifier = cursor.fetchone()
        return {"name": str(name), "system_identifier": identifier}


def _damage(s3: Any, storage: Dict[str, Any], point: Dict[str, Any]) -> List[str]:
    """What is wrong with its objects, by their size and checksum; those of pgBackRest are its own to watch."""
    with storage_errors(storage, f"looking at the recovery point {point['id']}"), ThreadPoolExecutor(8) as pool:
        return [each for each in pool.map(lambda entry: check_head(s3, storage, entry), ours(point)) if each]


def proven(options: Mapping[str, Any], point: Dict[str, Any], now: Optional[datetime] = None) -> Finding:
    """Whether the ledger has a drill of it that went well; or, with recovery_point_proven_days, of one of its engine.

    :param point: a recovery point's description
    :raises MaintenanceError: the ledger cannot be read
    """
    id, engine, days = point["id"], str(point["engine"]["name"]), int(options["recovery_point_proven_days"])
    evidence = {name: value for name, value in (options["evidence"] or {}).items() if value}
    if not any(evidence.get(name) for name in KEYS_SPEC):
        text = f"No ledger is configured, in which a restore of recovery point {id} could be looked up."
        return Finding(NAME, TITLE, UNKNOWN, None, text, "Configure tradingflow_evidence.")
    moment = now or datetime.now(timezone.utc)
    since = moment - timedelta(days=days) if days else created(point) - timedelta(seconds=_TOLERANCE)
    store = Store(options["storage"], options["environment_name"], pool=16)
    unread: List[int] = []
    for number, record in backwards(store, trusted(evidence), options["environment_name"], MOST):
        if record is None:
            unread.append(number)
            continue
        if parse_time(record.predicate["recorded_at"]) < since:
            break
        content = record.predicate["content"]
        if record.predicate["kind"] != "drill" or content.get("recovery_point" if not days else "engine") != (
            engine if days else id
        ):
            continue
        return _judged(record, id, unread, moment)
    what = f"no drill by {engine} in {plural(days, 'day')}" if days else "no drill of it"
    if unread:
        return _unread(unread, id)
    text = f"That recovery point {id} can be restored is not proven: {what} is in the ledger."
    return Finding(NAME, TITLE, CRITICAL, "unproven", text, DRILL)


def _judged(record: Record, id: str, unread: List[int], now: datetime) -> Finding:
    """The newest drill decides."""
    content, at = record.predicate["content"], record.predicate["recorded_at"]
    if unread:
        # A newer one may have failed.
        return _unread(unread, id)
    drilled, ended = printable(content.get("recovery_point")), printable(content.get("worst_status"), 20)
    if content.get("worst_status") != OK:
        text = f"The last restore of {drilled} did not prove it: the drill of {at} ended {ended}."
        return Finding(NAME, TITLE, CRITICAL, "unproven", text, f"Find out why. {DRILL}")
    age = (now - parse_time(at)).total_seconds()
    if age < -_TOLERANCE:
        text = f"The drill of {drilled} was recorded {span(-age)} in the future: a clock is wrong."
        return Finding(NAME, TITLE, UNKNOWN, None, text, "Synchronise the clocks of all runners.")
    text = f"Recovery point {id} is there to go back to; a restore of {drilled} was proven {span(max(age, 0))} ago."
    return Finding(NAME, TITLE, OK, id, text)


def _unread(unread: List[int], id: str) -> Finding:
    bad = plural(len(unread), "newer record is", "newer records are")
    text = f"Whether recovery point {id} is proven cannot be told: {bad} missing from the ledger, or do not verify."
    return Finding(NAME, TITLE, UNKNOWN, None, text, "Verify the ledger (scripts/ledger_verify.py).")
