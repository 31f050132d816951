# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery points that are read back whole, in turns, bounded by bytes and time: a listing shows no rot."""

from __future__ import annotations

import hashlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._files import repository
from .._ledger.points import Known
from .._recovery_points import store
from .._storage.read import fetch, head
from ..checks import CRITICAL, Check, judge, unknown
from ..storage import storage_errors
from ..words import plural, size, span
from .earlier import Earlier
from .kept import REMEDY, Kept

ID, TITLE = "backups.kept_read", "Kept recovery points read back"
_CHUNK = 1 << 20
_THREADS = 4
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_SHOWN = 3

#: Argument spec of the option "kept_read".
READ_SPEC: Dict[str, Any] = {
    "bytes": {"type": "int", "default": 10_000_000_000},
    "seconds": {"type": "int", "default": 600},
    "days": {"type": "int", "default": 30},
}

Tell = Callable[[int, int], None]


def quiet(_done: int, _total: int) -> None:
    """Nobody watches."""


@dataclass
class Unit:
    """What is read in one turn: a recovery point, or a repository of application files.

    :param since: when it was last read whole, or made
    """

    name: str
    since: datetime
    read: bool
    is_point: bool = True


@dataclass
class State:
    """What earlier runs left, and this one adds.

    :param read_at: name -> when it was last read whole
    :param reached: name -> key of the last object read, of what is half read
    :param damaged: name -> what was wrong
    :param found: name -> what was wrong in the part of it that has been read
    :param today: what was read in this run: name, bytes, objects, whole, undigested
    """

    read_at: Dict[str, datetime] = field(default_factory=dict)
    reached: Dict[str, str] = field(default_factory=dict)
    damaged: Dict[str, List[str]] = field(default_factory=dict)
    found: Dict[str, List[str]] = field(default_factory=dict)
    today: List[Dict[str, Any]] = field(default_factory=list)

    def details(self) -> Dict[str, Any]:
        """As the report keeps it for the next run."""
        return {
            "today": self.today,
            "read_at": {name: f"{at:{_TIME}}" for name, at in sorted(self.read_at.items())},
            "reached": self.reached,
            "damaged": {name: texts[:10] for name, texts in self.damaged.items()},
            "found": {name: texts[:10] for name, texts in self.found.items()},
        }


def _state(earlier: Earlier) -> State:
    """What the newest report that has it says; what it does not say in a known form is as good as never read."""
    state = State()
    for check in reversed(earlier(ID)):
        details = check.get("details")
        if not isinstance(details, dict) or not isinstance(details.get("read_at"), dict):
            continue
        for name, text in details["read_at"].items():
            try:
                state.read_at[str(name)] = datetime.strptime(text, _TIME).replace(tzinfo=timezone.utc)
            except (TypeError, ValueError):
                continue
        for name, key in _dict(details.get("reached")).items():
            if isinstance(key, str):
                state.reached[name] = key
        for name, texts in _dict(details.get("damaged")).items():
            state.damaged[name] = [str(each) for each in texts] if isinstance(texts, list) else [str(texts)]
        for name, texts in _dict(details.get("found")).items():
            state.found[name] = [str(each) for each in texts] if isinstance(texts, list) else [str(texts)]
        break
    return state


def _dict(found: Any) -> Dict[str, Any]:
    return found if isinstance(found, dict) else {}


def measure(
    s3: Any,
    storage: Dict[str, Any],
    kept: Kept,
    known: Optional[Known],
    options: Dict[str, Any],
    limit: Dict[str, Any],
    now: datetime,
    earlier: Earlier,
    tell: Tell = quiet,
) -> Check:
    """Reads what was not read for longest, and judges how long that is.

    :param options: see READ_SPEC; no bytes or seconds: nothing is read
    :param limit: warning and critical in days
    :raises StorageError: the store does not answer
    """
    state = _state(earlier)
    units = _units(kept, known, state)
    names = {unit.name for unit in units}
    for part in (state.read_at, state.reached, state.damaged, state.found):
        for name in set(part) - names:
            del part[name]
    # Those that are damaged each day, until they are whole or gone; they take no turn from the others.
    again = [unit for unit in units if unit.name in state.damaged]
    due = [
        unit
        for unit in sorted(units, key=lambda unit: unit.since)
        if unit not in again and (unit.name in state.reached or (now - unit.since).days >= options["days"])
    ]
    for some in (again, due):
        budget = _Budget(options["bytes"], options["seconds"])
        for unit in some:
            if not budget.left():
                break
            try:
                _read(s3, storage, kept, unit, state, budget, now, tell)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                state.damaged[unit.name] = [f"cannot be read: {type(error).__name__}: {error}"]
    return _judged(storage, kept, units, state, options, limit, now)


class _Budget:
    """What may still be read. A turn begins with some objects whatever their size, so that it always moves on."""

    def __init__(self, most: int, seconds: int) -> None:
        self.most, self.done = most, 0
        self._end = time.monotonic() + seconds

    def left(self) -> bool:
        return self.done < self.most and time.monotonic() < self._end


def _units(kept: Kept, known: Optional[Known], state: State) -> List[Unit]:
    going = known.begun if known else set()
    units: List[Unit] = []
    repositories: Dict[str, datetime] = {}
    for id, point in kept.points.items():
        if id in going:
            continue
        times = [state.read_at.get(id), known.read_at.get(id) if known else None]
        read = max((at for at in times if at), default=None)
        units.append(Unit(id, read or point.created_at, read is not None))
        if read:
            state.read_at[id] = read
        if point.files:
            first = repositories.get(point.files[0], point.created_at)
            repositories[point.files[0]] = min(first, point.created_at)
    for prefix, made in repositories.items():
        read = state.read_at.get(prefix)
        units.append(Unit(prefix, read or made, read is not None, is_point=False))
    return units


def _entries(s3: Any, storage: Dict[str, Any], kept: Kept, unit: Unit) -> List[Dict[str, Any]]:
    """What belongs to a unit, in order of key."""
    if unit.is_point:
        made = store.read(s3, storage, kept.prefix, unit.name)
        # What it needs of another recovery point is read in that one's turn.
        others = tuple(each.backup for each in kept.points.values() if each.backup and each.id != unit.name)
        needed = made.get("required_objects", [])
        found = made["objects"] + [entry for entry in needed if not others or not entry["key"].startswith(others)]
    else:
        # restic calls its packs, indexes, snapshots and keys by the SHA-256 of their bytes.
        found = [
            {"key": f"{unit.name}/{name}", **entry, "sha256": last if _DIGEST.fullmatch(last) else None}
            for name, entry in repository.contents(s3, storage, unit.name).items()
            for last in [name.rsplit("/", 1)[-1]]
        ]
    return sorted(found, key=lambda entry: str(entry["key"]))


def _read(
    s3: Any,
    storage: Dict[str, Any],
    kept: Kept,
    unit: Unit,
    state: State,
    budget: _Budget,
    now: datetime,
    tell: Tell,
) -> None:
    after = state.reached.get(unit.name, "")
    entries = [entry for entry in _entries(s3, storage, kept, unit) if entry["key"] > after]
    wrong = state.found.pop(unit.name, []) if after else []
    begun, undigested, count = budget.done, 0, 0
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="kept") as pool:
        while count < len(entries) and (budget.left() or not count):
            some = entries[count : count + _THREADS]
            for entry, (text, read, digested) in zip(some, pool.map(lambda each: _check(s3, storage, each), some)):  # noqa: B905 (Python 3.9)
                budget.done += read
                undigested += not digested
                # A pack or snapshot that retention has just taken out is no loss: the listing says what is.
                if text and (unit.is_point or not text.endswith(repository.MISSING)):
                    wrong.append(text)
                state.reached[unit.name] = entry["key"]
            count += len(some)
            tell(budget.done, budget.most)
    whole = count == len(entries)
    state.today.append(
        {
            "name": unit.name,
            "objects": count,
            "bytes": budget.done - begun,
            "whole": whole,
            "undigested": undigested,
        }
    )
    if wrong:
        state.damaged[unit.name] = wrong
    if not whole:
        state.found[unit.name] = wrong
        return
    del state.reached[unit.name]
    state.read_at[unit.name] = now
    if not wrong:
        state.damaged.pop(unit.name, None)


def _check(s3: Any, storage: Dict[str, Any], entry: Dict[str, Any]) -> Tuple[str, int, bool]:
    """What is wrong with an object once it is read, how many bytes were read, and whether there was a digest."""
    digest, count = hashlib.sha256() if entry.get("sha256") else hashlib.md5(usedforsecurity=False), 0
    with storage_errors(storage, f"reading {entry['key']}"):
        body = fetch(s3, storage, entry["key"])
        if body is None:
            return f"{entry['key']}{repository.MISSING}", 0, True
        while data := body.read(_CHUNK):
            digest.update(data)
            count += len(data)
    if count != entry["size"]:
        return f"{entry['key']} has {count} bytes instead of {entry['size']}", count, True
    if entry.get("sha256"):
        same = digest.hexdigest() == entry["sha256"]
        return "" if same else f"{entry['key']} has another SHA-256 than recorded", count, True
    etag = str(entry.get("etag") or "")
    if digest.hexdigest() == etag:
        return "", count, True
    # The ETag of an upload in parts, or of what the store encrypts with its own keys, is no MD5.
    if not _MD5.fullmatch(etag) or _encrypted(head(s3, storage, entry["key"])):
        return "", count, False
    return f"{entry['key']} has another MD5 than recorded", count, True


def _encrypted(answer: Optional[Dict[str, Any]]) -> bool:
    given = answer or {}
    return str(given.get("ServerSideEncryption", "")).startswith("aws:") or bool(given.get("SSECustomerAlgorithm"))


def _judged(
    storage: Dict[str, Any],
    kept: Kept,
    units: List[Unit],
    state: State,
    options: Dict[str, Any],
    limit: Dict[str, Any],
    now: datetime,
) -> Check:
    source, details = f"s3://{storage['bucket']}/{kept.prefix}/", state.details()
    said = _today(state) if options["bytes"] > 0 and options["seconds"] > 0 else "Nothing is read in this run."
    if state.damaged:
        first = "; ".join(f"{name}: {texts[0]}" for name, texts in sorted(state.damaged.items(), reverse=True)[:_SHOWN])
        more = f"; and {len(state.damaged) - _SHOWN} more" if len(state.damaged) > _SHOWN else ""
        text = f"{plural(len(state.damaged), 'one is', 'of them are')} damaged when read back: {first}{more}. {said}"
        return Check(
            ID, TITLE, CRITICAL, False, "days", **limit, message=text, remedy=REMEDY, source=source, details=details
        )
    if not units:
        return unknown(ID, TITLE, "There is nothing to read back.", "Make a backup.", source=source, **limit)
    last = {unit.name: state.read_at.get(unit.name, unit.since) for unit in units}
    name = min(last, key=lambda each: last[each])
    never = "" if name in state.read_at else " and never since it was made"
    age = max((now - last[name]).total_seconds(), 0)
    waiting = sum((now - at).days >= options["days"] for at in last.values())
    text = f"{said} Longest ago, {span(age)}{never}: {name}."
    if waiting:
        text += f" {plural(waiting, 'waits', 'wait')} for a turn, due every {options['days']} days."
    return judge(
        ID,
        TITLE,
        round(age / 86400, 1),
        unit="days",
        **limit,
        message=text,
        remedy="Let it read more each day: backup_kept_read.bytes and .seconds.",
        source=source,
        details=details,
    )


def _today(state: State) -> str:
    """What was read today, in words."""
    if not state.today:
        return "None was due to be read today."
    parts = []
    for each in state.today:
        note = "" if each["whole"] else ", goes on in the next run"
        if each["undigested"]:
            note += f", {plural(each['undigested'], 'object')} without a digest to compare"
        parts.append(f"{each['name']} ({size(each['bytes'])}{note})")
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return f"Read today: {', '.join(parts[:_SHOWN])}{more}."
