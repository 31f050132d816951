# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves a whole ledger: every record, their order, and that nothing is missing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Optional, Union

from ..errors import EvidenceError
from .folder import Folder, Stored
from .keys import PublicKeys
from .record import BadRecord, Record, digest, open_record, parse_time
from .witness import lines

# pylint: disable=unidiomatic-typecheck  # JSON's true is an int in Python, but no number

if TYPE_CHECKING:
    from .places import Store

#: Something was altered, removed or put in: the ledger is no evidence as it stands.
TAMPERED = "tampered"
#: Something could not be looked at: nobody knows.
UNKNOWN = "unknown"
#: Worth a look, the records stand.
WARNING = "warning"

_THREADS = 8
_SKEW = timedelta(seconds=300)


@dataclass(frozen=True)
class Problem:
    """:param number: the record; None when it is the ledger as a whole"""

    severity: str
    number: Optional[int]
    message: str


@dataclass
class Result:
    """What was found.

    :param records: how many there are
    :param head: number, digest, recorded_at and keyid of the newest proven record
    :param unchecked: what this place cannot show
    """

    environment: str
    records: int = 0
    head: Optional[dict[str, Any]] = None
    problems: list[Problem] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """ok, tampered or unknown."""
        found = {problem.severity for problem in self.problems}
        return TAMPERED if TAMPERED in found else UNKNOWN if UNKNOWN in found else "ok"

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return {**asdict(self), "verdict": self.verdict}

    def add(self, severity: str, number: Optional[int], message: str) -> None:
        """Notes a problem."""
        self.problems.append(Problem(severity, number, message))


@dataclass(frozen=True)
class Testimony:
    """What is known of a record from elsewhere than the ledger.

    :param source: the file that says so
    :param sha256: digest of the record's envelope; None when only its content is known
    :param subject: digest of a thing that it must name; None when nothing is known
    """

    source: str
    number: int
    sha256: Optional[str] = None
    subject: Optional[str] = None


def verify(
    place: Union[Store, Folder],
    environment: str,
    keys: PublicKeys,
    testimonies: Iterable[Testimony] = (),
) -> Result:
    """Proves the ledger in a place.

    :param keys: those whose signatures count, also the old ones of rotated keys
    :param testimonies: what witnesses and reports say
    :raises StorageError, EvidenceError: the place cannot be read
    """
    result = Result(environment)
    numbers, strangers = place.numbers()
    result.records = len(numbers)
    for name in strangers:
        result.add(WARNING, None, f"{name} is in the ledger's place and is not a record")
    _history(place, result)
    expected: dict[int, list[Testimony]] = {}
    for each in testimonies:
        expected.setdefault(each.number, []).append(each)
    _gaps(numbers, expected, result)
    before: Optional[Record] = None
    for number, stored in _read(place, numbers):
        if stored is None:
            result.add(TAMPERED, number, "it was removed while the ledger was read")
            before = None
            continue
        for testimony in expected.get(number, []):
            if testimony.sha256 and testimony.sha256 != digest(stored.data):
                result.add(TAMPERED, number, f"it is not the record that {testimony.source} saw")
        try:
            record = open_record(stored.data, keys, number=number, environment=environment)
        except BadRecord as error:
            result.add(TAMPERED, number, str(error))
            before = None
            continue
        _place_in_chain(record, before, result)
        for testimony in expected.get(number, []):
            if testimony.subject and testimony.subject not in _subjects(record):
                result.add(TAMPERED, number, f"{testimony.source} is not what it was when it was recorded")
        _lock(place, record, stored, result)
        before = record
        result.head = {
            "number": number,
            "digest": record.digest,
            "recorded_at": record.predicate["recorded_at"],
            "keyid": record.keyid,
        }
    _unseen(numbers, expected, result)
    if not numbers and not expected:
        result.add(UNKNOWN, None, "there are no records: nothing was proven")
    result.problems.sort(key=lambda problem: problem.number or 0)
    return result


def _read(place: Union[Store, Folder], numbers: list[int]) -> Iterator[tuple[int, Optional[Stored]]]:
    """All records in order, a few at a time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(numbers), 256):
            some = numbers[start : start + 256]
            yield from pool.map(lambda number: (number, place.read(number)), some)


def _history(place: Union[Store, Folder], result: Result) -> None:
    """A record is written once. A second version or a delete marker stays also when the record was put back."""
    history = place.history()
    if history.failed:
        result.add(UNKNOWN, None, f"versions could not be looked at: {history.note}")
    elif history.note:
        result.unchecked.append(f"versions ({history.note})")
    if isinstance(place, Folder):
        result.unchecked.append("object lock (a folder has none)")
        return
    ours = {**dict.fromkeys(history.deleted, 0), **history.versions}
    for key in sorted(ours):
        number = place.number(key)
        if number and ours[key] > 1:
            result.add(TAMPERED, number, f"it was written {ours[key]} times: somebody replaced it")
        if number and key in history.deleted:
            result.add(TAMPERED, number, "it was deleted: the bucket keeps a delete marker")


def _gaps(numbers: list[int], expected: dict[int, list[Testimony]], result: Result) -> None:
    """Every number from 1 to the highest one that anybody saw must be there."""
    last = 0
    for number in numbers:
        if number > last + 1:
            result.add(TAMPERED, last + 1, _missing(last + 1, number - 1))
        last = number
    seen = max(expected, default=0)
    if seen > last:
        proof = f", the newest ones: {expected[seen][0].source} saw record {seen}"
        result.add(TAMPERED, last + 1, _missing(last + 1, seen) + proof)


def _unseen(numbers: list[int], expected: dict[int, list[Testimony]], result: Result) -> None:
    """What nobody but the ledger itself speaks for."""
    seen = max((number for number, found in expected.items() if any(each.sha256 for each in found)), default=0)
    last = max(numbers, default=0)
    if not seen:
        result.unchecked.append("whether the newest records are there: no witness was given (--witness)")
    elif seen < last:
        result.unchecked.append(
            f"whether records after {last} are there: the witness saw none after {seen}, the ledger goes on to {last}"
        )


def _missing(first: int, last: int) -> str:
    return "it is missing" if first == last else f"records {first} to {last} are missing"


def _place_in_chain(record: Record, before: Optional[Record], result: Result) -> None:
    predicate, number = record.predicate, record.number
    if (number == 1) != (predicate["previous"] is None):
        what = "it is the first, and follows on another" if number == 1 else "it does not follow on any record"
        result.add(TAMPERED, number, what)
    elif before and before.number == number - 1:
        if predicate["previous"] != before.digest:
            result.add(TAMPERED, number, f"it does not follow on record {number - 1} as that lies there")
        if parse_time(predicate["recorded_at"]) < parse_time(before.predicate["recorded_at"]):
            result.add(
                WARNING,
                number,
                f"it is of {predicate['recorded_at']}, the one before of {before.predicate['recorded_at']}: "
                "a clock went back",
            )
    try:
        apart = parse_time(predicate["recorded_at"]) - parse_time(predicate["store_time"])
    except (KeyError, TypeError, ValueError):
        return
    if abs(apart) > _SKEW:
        result.add(
            WARNING,
            number,
            f"its writer's clock said {predicate['recorded_at']}, the store's {predicate['store_time']}",
        )


def _lock(place: Union[Store, Folder], record: Record, stored: Stored, result: Result) -> None:
    """The store's lock must be what the record says, or more."""
    signed = record.predicate.get("retention")
    if isinstance(place, Folder) or not isinstance(signed, dict):
        return
    try:
        mode, until = str(signed["mode"]).upper(), parse_time(signed["until"])
    except (KeyError, TypeError, ValueError):
        return
    if stored.retention is None:
        if place.unlocked(record.number):
            result.add(WARNING, record.number, f"the store's lock on it ({mode} until {signed['until']}) was taken off")
        elif "object lock (this key may not read it)" not in result.unchecked:
            result.unchecked.append("object lock (this key may not read it)")
        return
    found_mode, found_until = stored.retention
    if found_until < until - timedelta(seconds=1) or (mode == "COMPLIANCE" and found_mode != "COMPLIANCE"):
        now = f"{found_mode} until {found_until:%Y-%m-%dT%H:%M:%SZ}"
        result.add(WARNING, record.number, f"the store's lock on it is weaker than signed: {now}")


def _subjects(record: Record) -> set[Any]:
    found = set()
    for subject in record.statement["subject"]:
        given = subject.get("digest")
        if isinstance(given, dict):
            found.add(given.get("sha256"))
    return found


def witness_testimony(path: Path, keys: PublicKeys) -> tuple[list[Testimony], list[Problem]]:
    """What a witness (JSON lines) or an evidence.json says.

    :raises EvidenceError: it cannot be read, or says nothing at all
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise EvidenceError(f"The witness {path} cannot be read: {error.strerror}.") from None
    found, problems = [], []
    strange: list[int] = []
    whole = _json(text)
    entries = [whole] if isinstance(whole, dict) and type(whole.get("number")) is int else list(lines(text))
    for index, line in enumerate(entries, 1):
        if line is None:
            problems.append(Problem(WARNING, None, f"line {index} of {path} is damaged"))
        elif line.get("keyid") not in keys:
            strange.append(line["number"])
        else:
            found.append(Testimony(str(path), line["number"], str(line.get("digest"))))
    if strange:
        # Of a ledger that was there before, such as that of another sandbox: one line, however many records it had.
        records = (
            f"{len(strange)} records ({min(strange)} to {max(strange)})" if strange[1:] else f"record {strange[0]}"
        )
        text = f"{path} saw {records} signed by a key that is not trusted: what it says of them does not count"
        problems.append(Problem(WARNING, None, text))
    if not found:
        raise EvidenceError(f"The witness {path} says nothing about a record of a trusted key.")
    return found, problems


def report_testimony(path: Path) -> Testimony:
    """What a report.json and the evidence.json beside it say: that very report is in that very record.

    :raises EvidenceError: they cannot be read
    """
    beside = path.with_name("evidence.json")
    try:
        subject = digest(path.read_bytes())
        found = _json(beside.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise EvidenceError(f"{error.filename} cannot be read: {error.strerror}.") from None
    if not isinstance(found, dict) or type(found.get("number")) is not int:
        raise EvidenceError(f"{beside} names no record.")
    return Testimony(str(path), found["number"], str(found.get("digest")), subject)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
