# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tables hold before and after: a migration must not change what it does not touch."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Iterable, List, Set, Tuple

from .._postgres.measuring import Measuring
from .._postgres.snapshot import opened
from ..database import quoted

Name = Tuple[str, str]

#: With one of these modes on a table, its rows may have been changed.
CHANGING = ("RowExclusiveLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock")
#: What the server calls statements that change no table's rows. Outside a transaction there is no other proof.
ROWLESS = ("CREATE INDEX", "DROP INDEX", "REINDEX", "ANALYZE", "VACUUM", "SET", "SHOW")


def measure(database: Dict[str, Any], digests: bool, jobs: int, tick: Callable[[], None]) -> Dict[Name, Dict[str, Any]]:
    """Rows and digests of all tables in one snapshot; "columns" tells whether two digests can be compared.

    :raises DatabaseError: a table is damaged, or the database does not answer
    """
    with opened(database) as snapshot:
        tables = snapshot.tables()
        measuring = Measuring(snapshot, tables, digests=digests, sessions=max(1, jobs))
        try:
            while not measuring.finished():
                tick()
                time.sleep(0.02)
            entries = measuring.results()
        finally:
            measuring.cancel()
    return {
        (table["schema"], table["name"]): {**entry, "columns": table["expression"]}
        for table, entry in zip(tables, entries)  # noqa: B905 Python 3.9
    }


def compare(
    before: Dict[Name, Dict[str, Any]],
    after: Dict[Name, Dict[str, Any]],
    events: Iterable[Dict[str, Any]],
    own: Iterable[str] = ("alembic_version",),
) -> Dict[str, List[str]]:
    """Names of tables, by what became of them.

    :param events: of all revisions that were carried out, see driver.py
    :param own: names of alembic's own tables
    :returns: unchanged; touched (the migration held a lock under which it could change rows); made; gone;
        by_others (changed, and provably not by the migration); unexplained (changed, and nobody can say by whom);
        unmeasured
    """
    touched, provable = _touched(events)
    found: Dict[str, List[str]] = {
        name: [] for name in ("unchanged", "touched", "made", "gone", "by_others", "unexplained", "unmeasured")
    }
    for name in sorted({*before, *after}):
        shown = ".".join(quoted(part) if not part.isidentifier() or part != part.lower() else part for part in name)
        if name[1] in own:
            continue
        found[_verdict(before.get(name), after.get(name), name in touched, provable)].append(shown)
    return found


def _verdict(before: Any, after: Any, touched: bool, provable: bool) -> str:
    if before is None:
        return "made"
    if after is None:
        return "gone"
    if "unmeasured" in before or "unmeasured" in after:
        return "unmeasured"
    if all(before[part] == after[part] for part in ("rows", "columns", "algorithm", "digest")):
        return "unchanged"
    if touched:
        return "touched"
    return "by_others" if provable else "unexplained"


def _touched(events: Iterable[Dict[str, Any]]) -> Tuple[Set[Name], bool]:
    """Tables whose rows the migration could change, and whether that is all of them."""
    tables: Set[Name] = set()
    provable = True
    autocommit: Set[Tuple[int, int]] = set()
    attempt = 0
    for event in events:
        if event["event"] == "session":
            attempt += 1
        elif event["event"] == "statement" and event["autocommit"]:
            autocommit.add((attempt, event["number"]))
        elif event["event"] == "done" and (attempt, event["number"]) in autocommit:
            tag = str(event["tag"] or "")
            provable = provable and tag.startswith(ROWLESS)
        elif event["event"] == "commit" and not event["autocommit"]:
            tables |= {(each["schema"], each["name"]) for each in event["held"] if each["mode"] in CHANGING}
            tables |= {(each["schema"], each["name"]) for each in event["written"]}
    return tables, provable
