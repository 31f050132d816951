# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All controls, of one moment: one transaction that only reads."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.guard import each
from .._checks.sql import Probe, Row, ask, reading
from .._checks.trading import CATALOGUE, READ_VIEWS, SCHEMA, lack
from .._recovery_points import store
from ..checks import Check, unknown
from ..errors import DatabaseError
from ..storage import client
from . import clients, clock, duties, personal, requests, trail
from .controls import CONTROLS
from .options import parameters
from .requirements import Requirement

PROBES: Tuple[Probe, ...] = (*trail.PROBES, *clients.PROBES, *requests.PROBES, *duties.PROBES)

#: Where the columns of the views are.
CONTRACT = "docs/compliance.md, The views"

Points = Optional[List[Tuple[str, datetime]]]


def measure(
    options: Row,
    requirements: Sequence[Requirement],
    dailies: Sequence[Dict[str, Any]],
    heads: Mapping[str, Dict[str, Any]],
    points: Points,
    ends_unknown: Collection[str] = (),
) -> List[Check]:
    """All controls. Without the database those that need it are unknown.

    :param options: see options.SPEC
    :param requirements: of the jurisdictions that are set
    :param dailies: reports of daily runs, oldest first
    :param heads: view of a chain -> entry_id and hash of its end in the last report
    :param points: recovery points and when each was made; None if nobody was asked
    :param ends_unknown: views of chains of which an earlier report should have told the end
    :raises ConfigurationError: an option makes no sense, or psycopg2 is missing
    """
    now = datetime.now(timezone.utc)
    given: Row = {
        **parameters(options),
        "now": now,
        "recovery_points": points,
        "ends_unknown": ends_unknown,
        **heads,
        **{
            f"{view}_entry": heads[view]["entry_id"] if view in heads else None
            for view in ("trading_audit", "audit_log")
        },
    }
    checks = list(
        each(
            lambda: clock.judged(dailies, requirements, now, options["period_days"], options["activity"]),
            (clock.ID, CONTROLS[clock.ID]),
        )
    )
    done = 0
    try:
        with reading(options["database"], options["timeout"], "REPEATABLE READ") as cursor:
            cursor.execute("SET LOCAL work_mem = '64MB'; SET LOCAL jit = off; SELECT now() AS now")
            given["now"] = cursor.fetchone()["now"]
            cursor.execute(CATALOGUE, (SCHEMA,))
            catalogue: Dict[str, Dict[str, Row]] = {}
            for row in cursor.fetchall():
                catalogue.setdefault(row["view"], {})[row["column"]] = row
            for probe in PROBES:
                lacking = lack(catalogue, probe.views)
                checks += _unmeasured(probe, *lacking) if lacking else ask(cursor, probe, {}, READ_VIEWS, given)
                done += 1
            checks += list(each(lambda: [_personal(cursor, options)], (personal.ID, CONTROLS[personal.ID])))
            done += 1
    except DatabaseError as error:
        message, remedy = f"not measured. {error.message}", error.remedy
        for probe in PROBES[done:]:
            checks += _unmeasured(probe, message, remedy)
        if personal.ID not in {check.id for check in checks}:
            title = CONTROLS[personal.ID]
            checks.append(unknown(personal.ID, title, f"{title}: {message}", remedy))
    return checks


def _unmeasured(probe: Probe, message: str, remedy: str) -> List[Check]:
    return probe.unmeasured(message, remedy.replace("docs/sandbox.md, The schema maintenance", CONTRACT))


def _personal(cursor: Any, options: Row) -> Check:
    signs, unread = personal.found(cursor)
    return personal.judged(signs, unread, options["personal_data"], options["not_personal"])


def recovery_points(storage: Optional[Row], environment: str) -> Points:
    """The recovery points in the store by their own times; None if there is no store.

    :raises MaintenanceError: the store does not answer
    """
    if not storage:
        return None
    ids = store.run_ids(client(storage), storage, store.prefix_of(storage, environment))
    return [(id, datetime.strptime(id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)) for id in ids]
