# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether text sorts on this host as where its indexes were made: files that are restored keep the old order."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from .._postgres import server
from ..checks import WARNING, Check
from ..database import quoted
from ..words import printable

# Those of databases are known from version 15 on.
_DATABASES = """
SELECT datname::text, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
WHERE datallowconn AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)
  AND datcollversion IS NOT NULL ORDER BY datname"""
_COLLATIONS = """
SELECT DISTINCT format('%I.%I', n.nspname, c.collname), c.collversion, pg_collation_actual_version(c.oid)
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
JOIN pg_depend d ON d.refclassid = 'pg_collation'::regclass AND d.refobjid = c.oid
WHERE c.collversion IS DISTINCT FROM pg_collation_actual_version(c.oid) AND c.collversion IS NOT NULL ORDER BY 1"""
_NAMED = 5

Found = List[Tuple[Any, ...]]


def other(connection: Any) -> Dict[str, Found]:
    """What was made by other versions of the C library or ICU: databases, and collations that something here uses.

    :returns: of each kind name, version then, and version here
    """
    databases = server.rows(connection, _DATABASES) if connection.server_version >= 150000 else []
    return {"databases": databases, "collations": server.rows(connection, _COLLATIONS)}


def judged(found: Dict[str, Found]) -> List[Check]:
    """Nothing when text sorts as it did, as far as versions tell."""
    every = [*found["databases"], *found["collations"]]
    if not every:
        return []
    names = ", ".join(f"{printable(name)} (made by {then}, here {now or 'none'})" for name, then, now in every[:_NAMED])
    more = f", and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    text = (
        f"Text may sort otherwise here than where its indexes were made: {names}{more}. They may not find rows that are"
    )
    text += " there, and let duplicates in."
    remedy = "Before the application starts, REINDEX DATABASE for each database; then "
    steps = [f"ALTER DATABASE {quoted(each[0])} REFRESH COLLATION VERSION" for each in found["databases"]]
    steps += [f"ALTER COLLATION {each[0]} REFRESH VERSION" for each in found["collations"]]
    remedy += "; ".join(printable(step, 200) for step in steps[:_NAMED]) + "."
    id, title = "restore.collations", "Sort order"
    return [Check(id, title, WARNING, len(every), message=text, remedy=remedy, details={"other": found})]
