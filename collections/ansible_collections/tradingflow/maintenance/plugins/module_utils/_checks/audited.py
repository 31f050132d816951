# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What audited tables have of the last days, for the record: rows that go missing later are missed.

A handful of days is counted again each time, so that a run that was missed leaves no hole.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Sequence, Tuple

from ..checks import CRITICAL, OK, Check, unknown
from ..database import one_line, quoted
from ..words import plural, printable
from .earlier import Earlier

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

AUDITED_SPEC: Dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "relation": {"type": "str", "required": True},
    "time": {"type": "str", "required": True},
    "key": {"type": "str", "default": ""},
}
#: Days that are counted, the present one left out.
DAYS = 3
_REMEDY = (
    "Find out who deleted them (the database's log, the ledger's records of data updates) and compare with a recovery"
    " point of that time (docs/audit.md)."
)


def planned(table: Dict[str, Any]) -> Tuple[str, str]:
    """Id and title of a table's check."""
    name = printable(table["name"])
    return f"database.audited:{name}", f"Rows of {name} on the record"


def audited(cursor: Any, tables: Sequence[Dict[str, Any]], earlier: Earlier) -> Iterator[Check]:
    """A check for each table; none for one that is not there and never was.

    :param cursor: within a transaction
    """
    for table in tables:
        id, title = planned(table)
        schema, _dot, name = table["relation"].partition(".")
        relation = f"{quoted(schema)}.{quoted(name)}"
        source = table["relation"]
        try:
            cursor.execute("SAVEPOINT audited")
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL AS there", (relation,))
            if not cursor.fetchone()["there"]:
                if earlier(id):
                    text = f"{title}: {source} is not there any more."
                    yield unknown(id, title, text, "Find out who dropped it.", source=source)
                continue
            cursor.execute(_query(relation, table))
            rows = cursor.fetchall()
        except psycopg2.Error as error:
            cursor.execute("ROLLBACK TO SAVEPOINT audited")
            text = f"{title}: {one_line(error)}."
            yield unknown(id, title, text, "Let the role read it, or correct its columns (audited).", source=source)
            continue
        days = {row["day"]: {"rows": row["rows"], "highest": row["highest"]} for row in rows}
        yield judged(table, days, earlier(id))


def _query(relation: str, table: Dict[str, Any]) -> str:
    """Rows and highest key of each of the last days, also of those without any. Names are quoted; an index serves."""
    at = f"t.{quoted(table['time'])}"
    highest = f'max(t.{quoted(table["key"])}::text COLLATE "C")' if table["key"] else "NULL::text"
    return (
        f"SELECT d.day::date::text AS day, count({at}) AS rows, {highest} AS highest"  # noqa: S608
        f" FROM generate_series(date_trunc('day', now()) - interval '{DAYS} days', date_trunc('day', now())"
        f" - interval '1 day', interval '1 day') d(day) LEFT JOIN {relation} t"
        f" ON {at} >= date_trunc('day', now()) - interval '{DAYS} days' AND {at} < date_trunc('day', now())"
        f" AND {at} >= d.day AND {at} < d.day + interval '1 day' GROUP BY 1 ORDER BY 1"
    )


def judged(table: Dict[str, Any], days: Dict[str, Any], before: List[Dict[str, Any]]) -> Check:
    """What was counted, against what earlier runs counted of the same days."""
    id, title = planned(table)
    last = max(days)
    missing: List[str] = []
    for day, now in sorted(days.items()):
        then = [each for each in (_counted(check, day, table) for check in before) if each]
        most = max((each["rows"] for each in then), default=0)
        if now["rows"] < most:
            missing.append(f"of {day} {plural(most - now['rows'], 'row')}")
        elif any(each["rows"] == now["rows"] and _replaced(each.get("highest"), now["highest"]) for each in then):
            missing.append(f"of {day} the row with the highest key")
    check = Check(id, title, OK, days[last]["rows"], source=table["relation"])
    check.unit = "rows"
    check.details = {"relation": table["relation"], "time": table["time"], "key": table["key"], "days": days}
    if missing:
        check.status = CRITICAL
        check.message = f"Rows that an earlier run counted are missing: {'; '.join(missing)}."
        check.remedy = _REMEDY
    else:
        check.message = f"{plural(days[last]['rows'], 'row')} of {last}; nothing of the days before is missing."
    return check


def _replaced(one: Any, other: Any) -> bool:
    return one is not None and other is not None and one != other


def _counted(check: Dict[str, Any], day: str, table: Dict[str, Any]) -> Any:
    """What an earlier run counted of a day of the same table; None when it did not."""
    details = check.get("details")
    if not isinstance(details, dict) or any(details.get(name) != table[name] for name in ("relation", "time", "key")):
        return None
    days = details.get("days")
    found = days.get(day) if isinstance(days, dict) else None
    rows = found.get("rows") if isinstance(found, dict) else None
    return found if isinstance(rows, int) and not isinstance(rows, bool) else None
