# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Reads everything in one transaction that cannot write, and judges it. One part that fails leaves the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Tuple

from .._checks.guard import escaped
from .._checks.replication import READ as READ_STATISTICS
from .._checks.sql import ask, first_line, reading
from ..checks import Check, unknown
from . import bloat, findings, tables
from .catalogue import indexes
from .options import checked
from .usage import Watched, uses

try:
    import psycopg2
    import psycopg2.errors
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

#: Id of a check -> its newest details in earlier reports, empty for none.
Before = Callable[[str], Mapping[str, Any]]

INDEXES = (findings.UNUSED, findings.DUPLICATES, findings.INVALID, findings.USAGE)


@dataclass
class Analysis:
    """What an analysis hands over.

    :param record: what the ledger keeps
    """

    checks: List[Check]
    actions: List[Dict[str, Any]] = field(default_factory=list)
    record: Dict[str, Any] = field(default_factory=dict)


def analyse(options: Dict[str, Any], before: Before) -> Analysis:
    """A whole analysis; it changes nothing.

    :param options: see options.SPEC
    :raises MaintenanceError: an option makes no sense, or the database does not answer
    """
    options = checked(options)
    found: List[Check] = []
    thresholds = options["thresholds"]
    with reading(options["database"], options["timeout"]) as cursor:
        # A relation that somebody locks must not hold us up, nor those who queue behind us.
        cursor.execute("SET LOCAL lock_timeout TO '1s'")
        known: List[Any] = []

        def of_indexes() -> List[Check]:
            known.extend(indexes(cursor, psycopg2.errors.LockNotAvailable))
            counted = uses(cursor, options["database"], options["replicas"], options["timeout"])
            watched = Watched.from_data(before(findings.UNUSED[0]), counted.servers[0].system)
            now = counted.servers[0].now
            return findings.of_indexes(known, counted, watched, options["cycle_days"], thresholds, now)

        found += part(cursor, of_indexes, INDEXES)
        found += part(cursor, lambda: bloat.measured(cursor, known, options, psycopg2.Error), bloat.PLANNED)
        for probe in tables.PROBES:
            found += ask(cursor, probe, thresholds, READ_STATISTICS)
    return Analysis(found, record=record(found))


def part(cursor: Any, judged: Callable[[], List[Check]], planned: Tuple[Tuple[str, str], ...]) -> List[Check]:
    """The checks of one part, within a savepoint; all of them unknown when it fails.

    :raises psycopg2.Error: the connection is lost
    """
    cursor.execute("SAVEPOINT part")
    try:
        found = judged()
    except psycopg2.Error as error:
        if cursor.connection.closed:
            raise
        text = first_line(error)
        found = [
            unknown(id, title, f"{title}: the statement failed: {text}.", READ_STATISTICS) for id, title in planned
        ]
    except Exception as error:
        found = [escaped(id, title, error) for id, title in planned]
    cursor.execute("ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part")
    return found


def record(found: List[Check]) -> Dict[str, Any]:
    """What the ledger keeps: what was found, without the evidence, which is in the report."""
    return {
        "method": METHOD,
        "checks": {check.id: {"status": check.status, "value": check.value} for check in found},
        "advice": {
            check.id: {key: check.details[key] for key in ("safe", "review", "unknown", "stay")}
            for check in found
            if "stay" in check.details
        },
    }


#: Of this analysis; raised when verdicts come about in another way.
METHOD = 1
