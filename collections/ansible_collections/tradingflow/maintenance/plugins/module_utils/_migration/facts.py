# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How large and how busy the tables are, and how long others' transactions last."""

from __future__ import annotations

import re
import time
from typing import Any, Dict, Iterable, List, Optional

from .session import Session

_TABLES = """SELECT n.nspname, c.relname, CASE WHEN c.relkind = 'p' THEN
  (SELECT coalesce(sum(pg_total_relation_size(t.relid)), 0) FROM pg_partition_tree(c.oid) t)
  ELSE pg_total_relation_size(c.oid) END::bigint,
  coalesce(s.n_tup_ins + s.n_tup_upd + s.n_tup_del, 0)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_stat_all_tables s ON s.relid = coalesce(i.indrelid, c.oid)
WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
#: Sessions whose transaction's age is hidden from us are not known to be short.
_LONGEST = """SELECT max(extract(epoch FROM clock_timestamp() - xact_start))::float,
  bool_or(state IS NULL AND backend_type IS NULL) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database()"""
#: Functions of a name that none of them may change something by. What others declare is only a claim: a stable function
#: may call a volatile one, and every aggregate counts as immutable. Of a given set of names, as there are thousands.
_QUIET = """SELECT proname::text FROM pg_proc WHERE proname = ANY(%s)
GROUP BY proname HAVING bool_and(provolatile <> 'v' AND pronamespace = 'pg_catalog'::regnamespace) ORDER BY 1"""
_LOUD = """SELECT DISTINCT o.oprname::text FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode
WHERE p.provolatile = 'v' OR p.pronamespace <> 'pg_catalog'::regnamespace AND NOT EXISTS (SELECT FROM pg_depend d
  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e') ORDER BY 1"""
#: Names that a view has somewhere; which of several a name means is the search path's matter.
_VIEWS = """SELECT DISTINCT relname::text FROM pg_class WHERE relkind IN ('v', 'f')
AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema'))
ORDER BY 1"""
#: Types whose values are made by the server's own code: no domains with their checks, and nobody else's casts.
_TYPES = """SELECT typname::text FROM pg_type t WHERE typnamespace = 'pg_catalog'::regnamespace
AND typtype IN ('b', 'r', 'm') AND typcategory <> 'A' AND NOT EXISTS (
  SELECT FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc
  WHERE c.casttarget = t.oid AND p.pronamespace <> 'pg_catalog'::regnamespace) ORDER BY 1"""
#: Functions that "t.f" may call as if it were a column.
_FIELDS = """SELECT DISTINCT proname::text FROM pg_proc p JOIN pg_type t ON t.oid = p.proargtypes[0]
WHERE proname = ANY(%s) AND t.typtype IN ('c', 'd', 'p') AND p.pronamespace <> 'pg_catalog'::regnamespace ORDER BY 1"""
#: Anything that may be a name; one that is missed is not known, and so not harmless.
_NAME = re.compile(r"\w[\w$]*")


class Facts:
    """Looks twice, and gives rates by what changed between."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._began = time.monotonic()
        self._first = {(row[0], row[1]): int(row[3]) for row in session.rows(_TABLES)}

    def result(self, texts: Iterable[str] = (), at_least: float = 1.0) -> Dict[str, Any]:
        """tables (schema, name, bytes, writes_per_second), longest_transaction_seconds (None when hidden), views,
        quiet_functions, quiet_types, loud_operators and loud_fields.

        :param texts: SQL whose functions are looked at
        :param at_least: seconds between the looks; statistics come with a delay of one
        """
        time.sleep(max(0.0, self._began + at_least - time.monotonic()))
        seconds = time.monotonic() - self._began
        tables: List[Dict[str, Any]] = []
        for schema, name, size, writes in self._session.rows(_TABLES):
            first: Optional[int] = self._first.get((schema, name))
            rate = None if size is None or first is None or int(writes) < first else (int(writes) - first) / seconds
            if size is not None:
                tables.append({"schema": schema, "name": name, "bytes": int(size), "writes_per_second": rate})
        longest, hidden = self._session.rows(_LONGEST)[0]
        names = sorted({name for text in texts for found in _NAME.findall(text) for name in (found, found.lower())})
        return {
            "views": [row[0] for row in self._session.rows(_VIEWS)],
            "quiet_functions": [row[0] for row in self._session.rows(_QUIET, (names,))],
            "quiet_types": [row[0] for row in self._session.rows(_TYPES)],
            "loud_operators": [row[0] for row in self._session.rows(_LOUD)],
            "loud_fields": [row[0] for row in self._session.rows(_FIELDS, (names,))],
            "tables": tables,
            "longest_transaction_seconds": None if hidden else float(longest or 0.0),
        }
