# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said of an index: safe, review or unknown, or that it has to stay, and why."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Optional, Tuple

from ..database import quoted
from ..words import span
from .catalogue import Index
from .usage import Uses, Watched, age_days

SAFE = "safe"
REVIEW = "review"
UNKNOWN = "unknown"
#: Not advice: it has to stay, or there is nothing to do.
STAYS = "stays"

#: What REINDEX CONCURRENTLY leaves behind when it is killed.
LEFTOVER = re.compile(r"(.+)_cc(new|old)\d*\Z")


#: Bytes of a name that PostgreSQL has to cut off for a suffix, and of the last character that may go as a whole.
_LONGEST, _CHARACTER = 63, 3


def left_by(name: str, origin: str) -> bool:
    """Whether REINDEX CONCURRENTLY of an index leaves one of this name behind: of a long one as much as has room."""
    match = LEFTOVER.fullmatch(name)
    if not match or not origin.startswith(match[1]):
        return False
    return match[1] == origin or len(name.encode()) >= _LONGEST - _CHARACTER


@dataclass
class Advice:
    """One verdict.

    :param index: schema and name
    :param statement: what would do it, empty when nothing should be done
    :param ddl: by which it would come back
    :param target: schema and name of what the statement is about, for a plan
    """

    index: str
    table: str
    verdict: str
    reason: str
    statement: str = ""
    ddl: str = ""
    target: Tuple[str, ...] = ()
    evidence: Dict[str, Any] = field(default_factory=dict)

    def as_data(self) -> Dict[str, Any]:
        """As JSON data, for the details of a check."""
        return {name: value for name, value in vars(self).items() if value not in ("", {}, ())}


def drop(index: Index) -> str:
    """The statement that drops it; CONCURRENTLY cannot be had for a partitioned one."""
    how = "" if index.partitioned else "CONCURRENTLY "
    return f"DROP INDEX {how}{quoted(index.schema)}.{quoted(index.name)}"


#: Why nothing is built concurrently there.
CORRUPTS = "PostgreSQL 14.0 to 14.3 may leave rows out of an index that is built concurrently; update the server first"


def corrupts(version: int) -> bool:
    """Whether CREATE INDEX and REINDEX CONCURRENTLY may leave rows out (14.0 to 14.3, by the release notes of 14.4).

    :param version: server_version_num
    """
    return 140000 <= version < 140004


def has_to_stay(index: Index) -> str:
    """Why an index has to stay however rarely it is read; empty when nothing speaks for it."""
    if index.primary:
        return "primary key"
    if index.constraint:
        return f"constraint {index.constraint} stands on it"
    if index.exclusion:
        return "exclusion constraint"
    if index.unique:
        return "unique: it refuses rows, whether or not anybody reads it"
    if index.identity:
        return "replica identity"
    if index.referenced_by:
        return f"foreign key {index.referenced_by[0]} rests on it"
    if index.supports:
        return f"supports foreign key {index.supports[0]}: deleting a referenced row would read the whole table"
    if index.extension:
        return f"belongs to extension {index.extension}"
    return ""


def roots(indexes: Iterable[Index]) -> Dict[int, List[Index]]:
    """Oid of each index that is attached to none -> it and all that are attached below it."""
    known = {one.oid: one for one in indexes}
    found: Dict[int, List[Index]] = {}
    for one in known.values():
        top = one
        while top.parent is not None and top.parent in known:
            top = known[top.parent]
        found.setdefault(top.oid, []).append(one)
    for oid, tree in found.items():
        tree.sort(key=lambda one: (one.oid != oid, one.full))
    return found


def unused(indexes: Iterable[Index], uses: Uses, cycle_days: int, watched: Watched) -> List[Advice]:
    """Advice on all indexes that no server has read since its statistics begin; those of a partitioned table together.

    :param watched: since when our own reports know of an unread index
    """
    found: List[Advice] = []
    for oid, tree in roots(indexes).items():
        top = tree[0]
        counts = [uses.scans(one) for one in tree if not one.partitioned]
        if any(count for count in counts if count):
            continue
        if not all(one.valid for one in tree):
            continue  # judged as invalid
        advice = _unused(top, tree, counts, uses, cycle_days, watched.since(oid))
        if len(tree) > 1:
            advice.evidence["attached"] = len(tree) - 1
        found.append(advice)
    return found


def _unused(
    top: Index, tree: List[Index], counts: List[Optional[int]], uses: Uses, cycle_days: int, since: Optional[float]
) -> Advice:
    reasons = [has_to_stay(one) for one in tree]
    stays = next((reason for reason in reasons if reason), "")
    if stays:
        return Advice(top.full, top.table, STAYS, stays)
    evidence: Dict[str, Any] = {}
    base: Dict[str, Any] = {"index": top.full, "table": top.table, "evidence": evidence, "ddl": top.definition or ""}
    if any(one.hidden or one.locked for one in tree):
        return Advice(verdict=UNKNOWN, reason="it, or its table, is locked right now", **base)
    building = next((one.building for one in tree if one.building), "")
    if building:
        return Advice(verdict=UNKNOWN, reason=f"it is being worked on: {building}", **base)
    if any(count is None for count in counts):
        return Advice(verdict=UNKNOWN, reason="a server has no count of its use", **base)
    if uses.problem:
        return Advice(verdict=UNKNOWN, reason=uses.problem, **base)
    if cycle_days < 1:
        return Advice(verdict=UNKNOWN, reason="no business cycle is declared", **base)
    covered, known = uses.covered_days(), age_days(since)
    evidence.update(covered_days=covered, known_days=known, cycle_days=cycle_days)
    if uses.begun_days() is not None and (uses.begun_days() or 0) < cycle_days:
        text = f"statistics cover {_days(uses.begun_days() or 0)} of the {cycle_days} days of a business cycle"
        return Advice(verdict=UNKNOWN, reason=text, **base)
    if covered is None and known < cycle_days:
        text = f"nobody knows since when statistics count; reports have known it unread for {_days(known)}"
        return Advice(verdict=UNKNOWN, reason=text, **base)
    base["statement"] = drop(top)
    if known < cycle_days:
        text = f"unread, but known to these reports for {_days(known)} of {cycle_days} only: it may be new"
        return Advice(verdict=REVIEW, reason=text, **base)
    if any(one.expressions for one in tree):
        text = "unread, but the planner estimates by the statistics of its expression"
        return Advice(verdict=REVIEW, reason=text, **base)
    if any(one.clustered for one in tree):
        return Advice(verdict=REVIEW, reason="unread, but CLUSTER goes by it", **base)
    if top.partitioned:
        text = "no partition's was read; dropping it locks the table and all partitions"
        return Advice(verdict=REVIEW, reason=text, **base)
    return Advice(verdict=SAFE, reason=f"no server read it in a whole business cycle of {cycle_days} days", **base)


def _days(count: float) -> str:
    """Days for people; of less than two, hours and minutes. Never more than there were."""
    return span(count * 86400) if count < 2 else f"{math.floor(count)} days"


def _same(one: Index, other: Index) -> bool:
    """Whether two indexes are alike but for name, uniqueness and storage."""
    return (
        one.table_oid == other.table_oid
        and one.method == other.method
        and one.partitioned == other.partitioned
        and (one.keys, one.opclasses, one.parameters, one.collations, one.options)
        == (other.keys, other.opclasses, other.parameters, other.collations, other.options)
        # The planner estimates by the statistics of an index's expressions.
        and one.targets == other.targets
        and set(one.included) == set(other.included)
        and (one.expressions, one.predicate) == (other.expressions, other.predicate)
        and one.exclusion == other.exclusion
    )


def _prefix(short: Index, long: Index) -> bool:
    """Whether all that a B-tree can be asked, a longer one answers too."""
    count = len(short.keys)
    return (
        short.table_oid == long.table_oid
        and short.method == long.method == "btree"
        and short.partitioned == long.partitioned
        and count < len(long.keys)
        and short.keys == long.keys[:count]
        and short.opclasses == long.opclasses[:count]
        and short.parameters == long.parameters[:count]
        and short.collations == long.collations[:count]
        and short.options == long.options[:count]
        # Expressions are told apart by their text only as a whole.
        and 0 not in short.keys
        and short.predicate == long.predicate
        and set(short.included) <= {*long.keys, *long.included}
    )


def _worth(index: Index) -> Tuple[bool, ...]:
    """By which of two alike the one that stays is chosen: the greater."""
    return (
        index.primary,
        bool(index.constraint),
        index.identity,
        bool(index.referenced_by),
        index.unique,
        index.clustered,
    )


def duplicates(indexes: Iterable[Index], uses: Uses) -> List[Advice]:
    """Advice on indexes that another one makes superfluous. One that has to stay for its own sake is not among them.

    Of two alike the one that is read is kept: the other may be among those that nobody reads, and both would be gone.
    """
    found: List[Advice] = []
    groups: Dict[int, List[Index]] = {}
    for one in indexes:
        if one.parent is None:  # what is attached goes with its parent
            groups.setdefault(one.table_oid, []).append(one)
    for group in groups.values():
        superfluous: Dict[int, Advice] = {}
        usable = [one for one in group if one.valid and not one.building]
        hidden = [one for one in usable if one.hidden or one.locked]
        if hidden and len(usable) > 1:
            found += [
                Advice(one.full, one.table, UNKNOWN, "it, or its table, is locked right now: its definition is hidden")
                for one in hidden
            ]
        # The one that is worth most comes first; the older of two of the same worth.
        usable = sorted(
            (one for one in usable if one not in hidden),
            key=lambda one: ([not each for each in _worth(one)], -(uses.scans(one) or 0), one.oid),
        )
        for number, keeper in enumerate(usable):
            if keeper.oid in superfluous:
                continue
            for other in usable[number + 1 :]:
                if other.oid not in superfluous and _same(keeper, other) and not _tied(other, keeper):
                    superfluous[other.oid] = _duplicate(other, keeper)
        for short in usable:
            able = [one for one in usable if one.oid not in superfluous and _prefix(short, one)]
            if uses.scans(short):
                able = [one for one in able if uses.scans(one) or has_to_stay(one)]
            longer = max(able, key=lambda one: len(one.keys), default=None)
            if longer and short.oid not in superfluous and not _tied(short, None):
                superfluous[short.oid] = Advice(
                    short.full,
                    short.table,
                    REVIEW,
                    f"{longer.full} begins with the same columns; it is larger, so that reading it may take longer",
                    drop(short),
                    short.definition or "",
                    evidence={"kept": longer.full, "pages": short.pages, "kept_pages": longer.pages},
                )
        found += superfluous.values()
    return found


def _tied(index: Index, keeper: Optional[Index]) -> bool:
    """Whether it has to stay though another one answers the same."""
    held = index.primary or index.constraint or index.exclusion or index.identity or index.referenced_by
    if held or index.extension:
        return True
    if not index.unique:
        return False
    # Uniqueness is only kept by one that is unique in the same way, at once as well.
    return keeper is None or not keeper.unique or keeper.nulls_not_distinct != index.nulls_not_distinct


def _duplicate(other: Index, keeper: Index) -> Advice:
    plain = other.storage == keeper.storage and not other.partitioned and not other.clustered
    # A deferrable constraint's index refuses later than a unique one of its own.
    alike = plain and not (other.unique and keeper.constraint)
    reason = f"the same as {keeper.full}"
    if not alike:
        reason += " but for storage, CLUSTER, when it refuses, or because the table is partitioned"
    evidence = {"kept": keeper.full, "kept_ddl": keeper.definition, "pages": other.pages, "scans": other.scans}
    verdict = SAFE if alike else REVIEW
    return Advice(other.full, other.table, verdict, reason, drop(other), other.definition or "", evidence=evidence)


def _origin(left: Index, known: List[Index]) -> Optional[Index]:
    """The valid index by whose rebuild another one was left behind; None when it is none such."""
    for one in known:
        named = one.valid and one.schema == left.schema and left_by(left.name, one.name)
        if named and _same(left, one) and left.unique == one.unique:
            return one
    return None


def invalid(indexes: Iterable[Index]) -> List[Advice]:
    """Advice on indexes that answer nothing. One that is being built right now is no finding."""
    known = list(indexes)
    found: List[Advice] = []
    for one in known:
        if one.valid:
            continue
        base: Dict[str, Any] = {"index": one.full, "table": one.table, "ddl": one.definition or ""}
        origin = _origin(one, known)
        if one.building:
            found.append(Advice(verdict=STAYS, reason=f"not done yet: {one.building}", **base))
        elif one.locked or one.hidden:
            found.append(Advice(verdict=UNKNOWN, reason="it, or its table, is locked right now", **base))
        elif one.partitioned:
            text = "not every partition has an index attached to it"
            found.append(Advice(verdict=REVIEW, reason=text, **base))
        elif origin:
            text = f"left behind by a REINDEX CONCURRENTLY of {origin.full}, which is valid"
            found.append(Advice(verdict=SAFE, reason=text, statement=drop(one), evidence={"kept": origin.full}, **base))
        else:
            text = "left behind by a CREATE INDEX CONCURRENTLY that failed: it costs every write and answers nothing"
            text = "of a constraint, and invalid" if one.constraint else text
            rebuild = f"REINDEX INDEX CONCURRENTLY {quoted(one.schema)}.{quoted(one.name)}"
            rebuild = "" if one.exclusion else rebuild  # which PostgreSQL refuses to do without a lock
            found.append(Advice(verdict=REVIEW, reason=text, statement=rebuild, **base))
    return found
