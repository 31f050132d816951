# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All kept recovery points, by one listing of the store and by what the ledger says was there."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import groupby, islice
from typing import Any, Dict, Iterator, List, Optional, Tuple

from .._files import repository
from .._ledger.points import Known
from .._recovery_points import objects, store
from .._storage.read import check_head, fetch, head
from ..checks import CRITICAL, OK, WARNING, Check, unknown
from ..storage import list_keys, storage_errors
from ..words import plural, size

ID, TITLE = "backups.kept_intact", "Kept recovery points intact"
#: Runs whose recovery-point.json are compared at a time.
_AT_ONCE = 16
#: A younger one may be on its way into the ledger.
_RECORDED_AFTER = timedelta(hours=1)
_SHOWN = 3

REMEDY = (
    "Bring the objects back from the bucket's older versions; what is lost for good is put on the record"
    " (docs/backup.md, A lost recovery point)."
)


@dataclass
class Point:
    """A finished recovery point, by its own recovery-point.json.

    :param sha256: of recovery-point.json
    :param files: repository and snapshot of the application's files, None when they are in none
    :param backup: key prefix of its physical backup, empty for none
    :param wrong: what is missing, cut or changed, in words
    :param unexpected: keys of objects that it does not name
    """

    id: str
    created_at: datetime
    engine: str
    sha256: str
    objects: int
    size: int
    files: Optional[Tuple[str, str]]
    backup: str
    wrong: List[str] = field(default_factory=list)
    unexpected: List[str] = field(default_factory=list)


@dataclass
class Kept:
    """What lies in the store.

    :param unreadable: id -> why its recovery-point.json says nothing
    :param unfinished: ids of runs without a recovery-point.json
    :param strangers: keys that belong to no run
    """

    prefix: str
    points: Dict[str, Point] = field(default_factory=dict)
    unreadable: Dict[str, str] = field(default_factory=dict)
    unfinished: List[str] = field(default_factory=list)
    strangers: List[str] = field(default_factory=list)


Listed = Dict[str, Dict[str, Any]]


class _Listings:
    """What lies below places that several recovery points share, each listed once."""

    def __init__(self, s3: Any, storage: Dict[str, Any]) -> None:
        self._s3, self._storage = s3, storage
        self._known: Dict[str, Listed] = {}

    def below(self, prefix: str) -> Listed:
        if prefix not in self._known:
            with storage_errors(self._storage, f"listing {prefix}"):
                found = list_keys(self._s3, self._storage["bucket"], prefix)
                self._known[prefix] = {each["Key"]: {"Size": each["Size"], "ETag": each["ETag"]} for each in found}
        return self._known[prefix]


def take(s3: Any, storage: Dict[str, Any], environment_name: str) -> Kept:
    """Lists everything, reads every recovery-point.json, and compares.

    :raises StorageError: the store does not answer
    """
    kept, listings = Kept(store.prefix_of(storage, environment_name)), _Listings(s3, storage)
    with ThreadPoolExecutor(8, thread_name_prefix="kept") as pool:
        runs = _runs(s3, storage, kept)
        while some := list(islice(runs, _AT_ONCE)):
            bodies = pool.map(lambda run: _body(s3, storage, kept.prefix, *run), some)
            # The listings are shared: one thread compares.
            for (run_id, listed), body in zip(some, bodies):  # noqa: B905 (Python 3.9)
                if body is None:
                    kept.unfinished.append(run_id)
                    continue
                try:
                    kept.points[run_id] = _compared(s3, storage, kept.prefix, run_id, body, listed, listings)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    kept.unreadable[run_id] = f"{type(error).__name__}: {error}"
    _files(s3, storage, kept)
    return kept


def _runs(s3: Any, storage: Dict[str, Any], kept: Kept) -> Iterator[Tuple[str, Listed]]:
    """Each run with its objects, oldest first."""
    start = len(kept.prefix) + 1
    with storage_errors(storage, "listing the recovery points"):
        everything = list_keys(s3, storage["bucket"], kept.prefix + "/")
        for name, found in groupby(everything, lambda entry: str(entry["Key"])[start:].split("/")[0]):
            listed = {each["Key"]: {"Size": each["Size"], "ETag": each["ETag"]} for each in found}
            if not store.ID.fullmatch(name):
                kept.strangers += listed
                continue
            # An object that is called like a run's folder.
            kept.strangers += [each for each in (f"{kept.prefix}/{name}",) if listed.pop(each, None)]
            if listed:
                yield name, listed


def _body(s3: Any, storage: Dict[str, Any], prefix: str, run_id: str, listed: Listed) -> Optional[bytes]:
    key = f"{prefix}/{run_id}/{store.NAME}"
    if key not in listed:
        return None
    with storage_errors(storage, f"reading {key}"):
        source = fetch(s3, storage, key)
        return None if source is None else bytes(source.read())


def _compared(
    s3: Any, storage: Dict[str, Any], prefix: str, run_id: str, body: bytes, listed: Listed, listings: _Listings
) -> Point:
    """
    :raises ValueError, KeyError, TypeError, AttributeError: it is no recovery point
    """
    made = store.parse(body, prefix, run_id)
    everything, own = objects.all_objects(made), f"{prefix}/{run_id}/"
    point = Point(
        run_id,
        datetime.strptime(made["created_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc),
        str(made["engine"]["name"]),
        hashlib.sha256(body).hexdigest(),
        len(everything),
        sum(entry["size"] for entry in everything),
        repository.facts_of(made),
        objects.folder(made["engine"], made["engine"]["label"]) if made["engine"]["name"] == "pgbackrest" else "",
    )
    for entry in everything:
        if entry["key"].startswith(own):
            found = listed.get(entry["key"])
        else:
            found = listings.below(_place(made["engine"], entry)).get(entry["key"])
        wrong = objects.difference(entry, found)
        if wrong and found and found["Size"] == entry["size"] and entry.get("checksum"):
            # A copy by the store may have another ETag; the SHA-256 it keeps decides.
            wrong = check_head(s3, storage, entry) or ""
        if wrong:
            point.wrong.append(wrong)
    named = {entry["key"] for entry in everything} | {own + store.NAME}
    point.unexpected = sorted(set(listed) - named)
    return point


def _place(engine: Dict[str, Any], entry: Dict[str, Any]) -> str:
    """The place of pgBackRest's that is listed for an object: its backup, or a folder of WAL."""
    for label in [*engine["requires"], engine["label"]]:
        if entry["key"].startswith(objects.folder(engine, label)):
            return objects.folder(engine, label)
    return str(entry["key"]).rsplit("/", 1)[0] + "/"


def _files(s3: Any, storage: Dict[str, Any], kept: Kept) -> None:
    """Whether the snapshots of all recovery points are in their repositories."""
    wanted: Dict[str, List[Tuple[str, Point]]] = {}
    for point in kept.points.values():
        if point.files:
            wanted.setdefault(point.files[0], []).append((point.files[1], point))
    for prefix, snapshots in wanted.items():
        newest = sorted((point.id for _snapshot, point in snapshots), reverse=True)
        made = [store.read(s3, storage, kept.prefix, id) for id in newest[: repository.LOOKED_AT]]
        kept.points[newest[0]].wrong += repository.differences(s3, storage, made)
        there = repository.contents(s3, storage, prefix)
        for snapshot, point in snapshots:
            point.wrong += [
                f"{prefix}/{name}{repository.MISSING}"
                for name in (f"snapshots/{snapshot}", "config")
                if name not in there and point.id != newest[0]
            ]


def judged(
    s3: Any,
    storage: Dict[str, Any],
    kept: Kept,
    known: Optional[Known],
    problem: str,
    now: datetime,
) -> Check:
    """The check of all kept recovery points.

    :param known: what the ledger says, read after the store was listed; None when it cannot say anything
    :param problem: why not, and what to do
    :raises StorageError: the store does not answer
    """
    source = f"s3://{storage['bucket']}/{kept.prefix}/"
    going = known.begun if known else set()
    wrong = {id: point.wrong for id, point in kept.points.items() if point.wrong and id not in going}
    wrong.update({id: [f"cannot be read: {why}"] for id, why in kept.unreadable.items() if id not in going})
    for id, texts in (_against(s3, storage, kept, known) if known else {}).items():
        wrong[id] = texts + wrong.get(id, [])
    staying = [point for id, point in kept.points.items() if id not in going]
    odd = _odd(kept, known, now)
    details = {
        "points": len(staying),
        "objects": sum(point.objects for point in staying),
        "problems": {id: texts[:10] for id, texts in sorted(wrong.items(), reverse=True)[:50]},
        "unexpected": odd[:50],
        "unfinished": kept.unfinished[-20:],
    }
    if wrong:
        first = "; ".join(f"{id}: {wrong[id][0]}" for id in sorted(wrong, reverse=True)[:_SHOWN])
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        text = f"{plural(len(wrong), 'recovery point is', 'recovery points are')} not as recorded: {first}{more}."
        return Check(ID, TITLE, CRITICAL, False, message=text, remedy=REMEDY, source=source, details=details)
    if known is None or not known.complete or known.problem:
        text = _unsure(known, problem)
        remedy = "Verify the ledger with scripts/ledger_verify.py (docs/evidence.md)." if known else ""
        return unknown(ID, TITLE, text, remedy, source=source, details=details)
    if odd:
        more = f"; and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
        text = f"Not on record, but in the store: {'; '.join(odd[:_SHOWN])}{more}."
        remedy = (
            "Find out who put it there. A recovery point of yours is recorded by a drill of it (playbooks/drill.yml)."
        )
        return Check(ID, TITLE, WARNING, False, message=text, remedy=remedy, source=source, details=details)
    if not staying:
        return unknown(ID, TITLE, "There is no recovery point.", "Make a backup.", source=source, details=details)
    count, amount = sum(point.objects for point in staying), sum(point.size for point in staying)
    text = (
        f"{plural(len(staying), 'recovery point is', 'recovery points are')} as recorded: {plural(count, 'object')}"
        f" ({size(amount)}), by the store's listing; none that the ledger knows is missing."
    )
    return Check(ID, TITLE, OK, True, message=text, source=source, details=details)


def _against(s3: Any, storage: Dict[str, Any], kept: Kept, known: Known) -> Dict[str, List[str]]:
    """What the ledger recorded and is not there, or is another now."""
    found: Dict[str, List[str]] = {}
    for id, digests in known.recorded.items():
        if id in known.removed or id in kept.unreadable or not store.ID.fullmatch(id):
            continue
        point = kept.points.get(id)
        if point is None:
            key = f"{kept.prefix}/{id}/{store.NAME}"
            # One that was made since the store was listed.
            if head(s3, storage, key) is None:
                how = "verified" if id in known.verified else "made"
                found[id] = [f"{key} is missing, and the ledger says that it was {how} and not that it was deleted"]
        elif None not in digests and point.sha256 not in digests:
            found[id] = [f"{store.NAME} is not the one that the ledger recorded"]
    return found


def _odd(kept: Kept, known: Optional[Known], now: datetime) -> List[str]:
    """What nobody recorded, in words."""
    found = [f"{key} belongs to no recovery point" for key in kept.strangers]
    for id, point in kept.points.items():
        if known and id in known.begun:
            continue
        found += [f"{id} does not name {key}" for key in point.unexpected]
        if known and now - point.created_at > _RECORDED_AFTER and id not in {*known.recorded, *known.proven}:
            found.append(f"{id} is not in the ledger")
    return found


def _unsure(known: Optional[Known], problem: str) -> str:
    """Why a recovery point that was deleted as a whole would not be missed."""
    if known is None:
        why = problem
    elif known.problem:
        why = f"{known.problem[0].upper()}{known.problem[1:]}."
    elif known.unproven:
        some = ", ".join(map(str, sorted(known.unproven)[:5]))
        count = len(known.unproven)
        why = f"{plural(count, 'record of the ledger does', 'records of the ledger do')} not verify ({some})."
    else:
        why = "The ledger has too many records to be read each day."
    return f"What is in the store is whole, but whether a recovery point is missing cannot be said: {why}"
