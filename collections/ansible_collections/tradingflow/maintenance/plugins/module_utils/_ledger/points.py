# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the ledger says of recovery points: which were verified, which proven, and which deletions were begun."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Dict, Iterator, List, Optional, Set

from ..checks import OK
from .keys import PublicKeys, public_key, signing_key
from .places import Store
from .record import Record, parse_time
from .walk import backwards

#: Records that are looked at: years of them, in less than a minute.
MOST = 20000
#: The host that made a backup may have another clock than the runner that recorded it.
CLOCKS = timedelta(days=1)
#: A record from further ahead says that a clock is wrong.
CLOCK_TOLERANCE = timedelta(seconds=300)

REASON = "retention"


Digests = Dict[str, Set[Optional[str]]]


@dataclass
class Known:
    """What the ledger says, from its end back to a time.

    :param verified: id -> SHA-256 of each recovery-point.json that was verified, by records of backups; None where a
        record names none
    :param recorded: likewise, that was written
    :param proven: likewise, that a drill restored
    :param begun: ids whose deletion was begun by retention
    :param removed: ids of which any record says that they were deleted, whoever did it
    :param read_at: id -> when all of it was last read: by its backup's verification, or by a drill
    :param backups: label of a physical backup, without its repository -> id of the recovery point that was made of it
    :param expired: labels, with their repository, whose deletion was begun
    :param reached: whether there were not too many records
    :param unproven: numbers of records that do not verify and count as nothing
    :param problem: why the ledger's times cannot be trusted, empty when they can
    """

    verified: Digests = field(default_factory=dict)
    recorded: Digests = field(default_factory=dict)
    proven: Digests = field(default_factory=dict)
    begun: Set[str] = field(default_factory=set)
    removed: Set[str] = field(default_factory=set)
    read_at: Dict[str, datetime] = field(default_factory=dict)
    backups: Dict[str, str] = field(default_factory=dict)
    expired: Set[str] = field(default_factory=set)
    reached: bool = True
    unproven: List[int] = field(default_factory=list)
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Whether what it does not name was not recorded."""
        return self.reached and not self.unproven


def trusted(evidence: Dict[str, Any]) -> PublicKeys:
    """The keys whose records count.

    :raises EvidenceError: a key cannot be read
    """
    keys = [public_key(each) for each in evidence.get("trusted_key_files") or []]
    return PublicKeys(keys or [signing_key(evidence.get("signing_key") or evidence.get("signing_key_file")).public])


def look_up(
    storage: Dict[str, Any], environment: str, keys: PublicKeys, since: Optional[datetime], now: datetime
) -> Known:
    """What the ledger says of recovery points made since a time: records of them are no older.

    :param since: None for all there ever were

    :raises StorageError: the store does not answer
    """
    known, looked_at = Known(), 0
    for number, record in backwards(Store(storage, environment, pool=16), keys, environment, MOST):
        looked_at += 1
        if record is None:
            known.unproven.append(number)
            continue
        at = parse_time(record.predicate["recorded_at"])
        if at - now > CLOCK_TOLERANCE:
            known.problem = f"record {number} of the ledger is from the future: a clock is wrong"
        if since and at < since - CLOCKS:
            return known
        _learn(known, record)
    known.reached = looked_at < MOST
    return known


def _learn(known: Known, record: Record) -> None:
    content, kind = record.predicate["content"], record.predicate["kind"]
    if kind == "backup" and isinstance(content.get("id"), str):
        digest = _digest(record, content["id"])
        known.recorded.setdefault(content["id"], set()).add(digest)
        if isinstance(content.get("label"), str):
            known.backups.setdefault(content["label"], content["id"])
        if content.get("verified") is True:
            known.verified.setdefault(content["id"], set()).add(digest)
            # Newest first: what is known already is later.
            known.read_at.setdefault(content["id"], parse_time(record.predicate["recorded_at"]))
    elif kind == "drill" and content.get("worst_status") == OK and isinstance(content.get("recovery_point"), str):
        point = content["recovery_point"]
        known.proven.setdefault(point, set()).add(_digest(record, point))
        known.read_at.setdefault(point, parse_time(record.predicate["recorded_at"]))
    elif kind == "deletion":
        known.removed.update(_ids(content.get("recovery_points")))
        if content.get("reason") != REASON:
            return
        known.begun.update(_ids(content.get("recovery_points")))
        known.expired.update(_labels(content.get("recovery_points")))
        known.expired.update(_labels(content.get("backups")))


def _ids(entries: Any) -> Iterator[str]:
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            yield entry["id"]


def _labels(entries: Any) -> Iterator[str]:
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("backup"), str):
            yield entry["backup"]


def _digest(record: Record, point: str) -> Optional[str]:
    """SHA-256 of the recovery point that a record is about, None when it names none."""
    for subject in record.statement["subject"]:
        if f"/{point}/" in str(subject.get("name")) and isinstance(subject.get("digest"), dict):
            return str(subject["digest"].get("sha256"))
    return None
