# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where personal data are: columns by their names, and by the shape of some of their values.

Values never leave the database: it counts those that have a shape.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Sequence, Tuple

from .._checks.sql import Row, first_line
from ..checks import OK, UNKNOWN, WARNING, Check
from ..database import quoted
from ..words import plural, printable
from .controls import CONTROLS
from .judging import told

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]

ID = "compliance.personal_data"

#: Kind -> what the column's name has, between underscores.
NAMES: Dict[str, str] = {
    "email": r"e?mail(_address)?",
    "name": r"(first|last|full|middle|sur|given|family|maiden|holder|legal|contact)_?names?|holder|beneficiary",
    "phone": r"phone|telephone|mobile|fax|msisdn",
    "address": r"street|postal_code|post_?code|zip(_code)?|city|home_address|(postal|billing|mailing)_address",
    "birth": r"birth_?(day|date|place)?|dob|date_of_birth",
    "identity": r"passport|national_id|ssn|social_security|tax_?id|tin|identity_(card|number)|driving_licen[cs]e",
    "account": r"iban|bic|card_number|pan|bank_account",
    "network": r"ip|ip_address|remote_addr(ess)?|user_agent|mac_address|device_id",
    "special": r"religion|ethnicity|health|biometrics?|gender|sex|nationality",
}
#: Tables whose plain "name" is that of a person.
PEOPLE = r"(users?|clients?|customers?|people|persons?|contacts?|employees|traders|accounts?_holders)"
#: Kind -> shape of values (POSIX, as the database reads it).
SHAPES: Dict[str, str] = {
    "email": r"[[:alnum:]._%+-]+@[[:alnum:]-]+(\.[[:alnum:]-]+)+",
    "phone": r"(^|[^[:alnum:]])\+[1-9][0-9 ()./-]{7,18}[0-9]",
    "account": r"(^|[^[:alnum:]])[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}([^[:alnum:]]|$)",
    "network": r"(^|[^0-9.])([0-9]{1,3}\.){3}[0-9]{1,3}([^0-9.]|$)",
}
SAMPLE = 500

_COLUMNS = """
SELECT n.nspname AS schema, c.relname AS table, c.oid::text AS oid, a.attname AS column, c.relkind::text AS kind,
    c.reltuples::float8 AS rows, t.typcategory::text IN ('S', 'U') OR t.typname IN ('inet', 'cidr') AS readable_text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%%'
ORDER BY 1, 2, a.attnum
"""


def kind_by_name(table: str, column: str) -> str:
    """What kind of personal data a column's name speaks of, empty for none."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column).lower()
    for kind, pattern in NAMES.items():
        if re.search(rf"(^|_)({pattern})(_|$)", name):
            return kind
    return "name" if name == "name" and re.fullmatch(PEOPLE, table.lower()) else ""


def found(cursor: Any) -> Tuple[Dict[str, List[str]], List[str]]:
    """Columns with personal data and the signs of them (name:email, shape:email), and what could not be looked at."""
    cursor.execute(_COLUMNS, ())
    tables: Dict[str, List[Row]] = {}
    for row in cursor.fetchall():
        tables.setdefault(row["oid"], []).append(dict(row))
    signs: Dict[str, List[str]] = {}
    unread: List[str] = []
    for columns in tables.values():
        first = columns[0]
        for each in columns:
            kind = kind_by_name(each["table"], each["column"])
            if kind:
                signs.setdefault(_full(each), []).append(f"name:{kind}")
        texts = [each for each in columns if each["readable_text"]]
        if not texts:
            continue
        if first["kind"] == "f":
            unread.append(f"{first['schema']}.{first['table']}: foreign, its values were not looked at")
            continue
        try:
            cursor.execute("SAVEPOINT sampled")
            cursor.execute(_sample(texts), ())
            counts = cursor.fetchone()
            cursor.execute("RELEASE SAVEPOINT sampled")
        except psycopg2.Error as error:
            if cursor.connection.closed:
                raise
            cursor.execute("ROLLBACK TO SAVEPOINT sampled; RELEASE SAVEPOINT sampled")
            unread.append(f"{first['schema']}.{first['table']}: {printable(first_line(error), 120)}")
            continue
        for number, each in enumerate(texts):
            for kind in SHAPES:
                if counts[f"{kind}_{number}"]:
                    signs.setdefault(_full(each), []).append(f"shape:{kind}")
    return signs, unread


def _full(column: Row) -> str:
    return f"{column['schema']}.{column['table']}.{column['column']}"


def _sample(columns: Sequence[Row]) -> str:
    """The statement that counts shapes in some rows of a table. All that is from outside are quoted identifiers."""
    first = columns[0]
    name = f"{quoted(first['schema'])}.{quoted(first['table'])}"
    # Some blocks of a large table, so that not only its oldest rows are seen.
    share = 100.0 * 40 * SAMPLE / first["rows"] if first["rows"] > 40 * SAMPLE else 100.0
    some = f" TABLESAMPLE SYSTEM ({share:.6f})" if share < 100 and first["kind"] in "rm" else ""
    names = [quoted(each["column"]) for each in columns]
    counted = [
        f"count(*) FILTER (WHERE left({name}::text, 2000) ~ '{shape}') AS {kind}_{number}"
        for number, name in enumerate(names)
        for kind, shape in SHAPES.items()
    ]
    sampled = f"SELECT {', '.join(names)} FROM {name}{some} LIMIT {SAMPLE}"  # noqa: S608 -- quoted
    return f"SELECT {', '.join(counted)} FROM ({sampled}) sampled".replace("%", "%%")  # noqa: S608 -- quoted


def judged(
    signs: Dict[str, List[str]], unread: List[str], declared: Sequence[Dict[str, Any]], innocent: Sequence[str]
) -> Check:
    """What was found against the inventory.

    :param signs: see found()
    :param declared: the inventory: column, purpose and so on
    :param innocent: columns that were looked at and have no personal data
    """
    known = {entry["column"] for entry in declared}
    new = sorted(set(signs) - known - set(innocent))
    details = {
        "columns": len(known | set(signs) - set(innocent)),
        "in_inventory": len(known),
        "first": [f"{printable(each, 120)} ({', '.join(signs[each])})" for each in new[:10]],
        "not_looked_at": unread[:10],
    }
    text = f"{plural(len(signs), 'column looks', 'columns look')} like personal data, "
    text += f"{len(new):,} of them not in the inventory."
    source = f"catalogue, and at most {SAMPLE} rows of each table"
    if new:
        remedy = "Add them to compliance_report_personal_data, or to compliance_report_not_personal if they are none."
        return told(ID, WARNING, len(new), text, remedy, source=source, details=details)
    if unread:
        text = f"{plural(len(unread), 'table')} could not be looked at: {unread[0]}."
        remedy = "Let the maintenance user read all rows, or add what is in there to the inventory by hand."
        return told(ID, UNKNOWN, None, text, remedy, source=source, details=details)
    if not known and not signs:
        text = f"{CONTROLS[ID]}: nothing looks like personal data, and the inventory is empty."
        return told(ID, UNKNOWN, None, text, "Write the inventory: compliance_report_personal_data.", source=source)
    return told(ID, OK, 0, text, source=source, details=details)
