# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The table that is changed: its columns, its key, and what forbids the change."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, List, Optional

from ..database import quoted
from ..errors import ConfigurationError
from .session import Session

#: Begins the names that our statements give to columns of their own.
OURS = "tradingflow_"

_TABLE = """SELECT c.oid, c.relkind::text, c.relpersistence::text, pg_get_userbyid(c.relowner),
  row_security_active(c.oid),
  c.relhassubclass, c.reltuples::float, c.relpages, has_table_privilege(c.oid, 'SELECT'),
  has_table_privilege(c.oid, 'UPDATE'), coalesce(pg_get_partkeydef(c.oid), ''),
  (SELECT coalesce(sum(pg_relation_size(t.relid)), 0) FROM pg_partition_tree(c.oid) t)::bigint,
  pg_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s"""
_COLUMNS = """SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated::text,
  a.attidentity::text, a.attnum, coalesce(pg_get_expr(d.adbin, d.adrelid), ''), a.attcollation::bigint
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
#: Unique keys: valid, whole, of plain columns in ascending order, by the types' usual order. Of PostgreSQL's own types:
#: the operators of others, such as citext's, depend on the search_path, and may not be those of the index.
_KEYS = """SELECT i.indisprimary, ic.relname::text, array_agg(a.attname::text ORDER BY k.place),
  array_agg(CASE WHEN cl.oid IS NULL THEN NULL ELSE quote_ident(cn.nspname) || '.' || quote_ident(cl.collname) END
    ORDER BY k.place),
  bool_and(cl.collversion IS NULL OR cl.collversion = pg_collation_actual_version(cl.oid)),
  array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY k.place)
FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am m ON m.oid = ic.relam
CROSS JOIN LATERAL generate_series(1, i.indnkeyatts) AS k(place)
LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.place - 1] AND a.attnum > 0
LEFT JOIN pg_opclass o ON o.oid = i.indclass[k.place - 1]
LEFT JOIN pg_collation cl ON cl.oid = i.indcollation[k.place - 1] AND i.indcollation[k.place - 1] <> 0
LEFT JOIN pg_namespace cn ON cn.oid = cl.collnamespace
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate AND i.indpred IS NULL
  AND m.amname = 'btree'
GROUP BY i.indexrelid, i.indisprimary, ic.relname
HAVING bool_and(a.attnotnull IS TRUE AND o.opcdefault AND o.opcnamespace = 'pg_catalog'::regnamespace
  AND i.indoption[k.place - 1] & 1 = 0)
ORDER BY i.indisprimary DESC, count(*), ic.relname"""
_TRIGGERS = """SELECT DISTINCT t.tgname::text, p.pronamespace::regnamespace::text || '.' || p.proname,
  CASE WHEN t.tgtype & 2 = 2 THEN 'before' ELSE 'after' END, CASE WHEN t.tgtype & 1 = 1 THEN 'row' ELSE 'statement' END,
  md5(p.prosrc)
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE (t.tgrelid = %(oid)s OR t.tgrelid IN (SELECT relid FROM pg_partition_tree(%(oid)s)))
  AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 16 = 16
  AND (t.tgattr = ''::int2vector OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.tgrelid
    AND a.attnum = ANY(t.tgattr::int2[]) AND a.attname = ANY(%(set)s)))
ORDER BY 1"""
_REFERENCES = """SELECT c.conname::text, c.conrelid::regclass::text, c.confrelid::regclass::text, c.confupdtype::text,
  c.confrelid = %(oid)s AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.confrelid
    AND a.attnum = ANY(c.confkey) AND a.attname = ANY(%(set)s)),
  c.conrelid = %(oid)s AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.conrelid
    AND a.attnum = ANY(c.conkey) AND a.attname = ANY(%(set)s))
FROM pg_constraint c WHERE c.contype = 'f' AND (c.conrelid = %(oid)s OR c.confrelid = %(oid)s) ORDER BY 1"""
_RULES = "SELECT count(*) FROM pg_rewrite WHERE ev_class = %s AND ev_type = '2'"
#: Columns that decide in which partition a row lies, at any level; an expression is by a column that is not known.
_PARTITIONED_BY = """SELECT DISTINCT a.attname::text FROM pg_partition_tree(%s) t
JOIN pg_partitioned_table p ON p.partrelid = t.relid CROSS JOIN LATERAL unnest(p.partattrs) AS k(number)
LEFT JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k.number AND k.number > 0"""
#: How many indexes get a new entry with each row whose set columns change.
_INDEXES = """SELECT count(*), count(*) FILTER (WHERE EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid
  AND a.attname = ANY(%(set)s) AND (a.attnum = ANY(i.indkey::int2[])
    OR i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)))
FROM pg_index i WHERE i.indrelid = %(oid)s"""
#: Changes whenever the definition does, and with nothing else that comes often.
_VERSION = """SELECT md5(string_agg(x.v, ' ' ORDER BY x.v)) FROM (
  SELECT 'c' || c.oid || ':' || c.xmin AS v FROM pg_class c WHERE c.oid = %(oid)s
  UNION ALL SELECT 'a' || a.attnum || ':' || a.xmin FROM pg_attribute a WHERE a.attrelid = %(oid)s
  UNION ALL SELECT 't' || t.oid || ':' || t.xmin FROM pg_trigger t
    WHERE t.tgrelid = %(oid)s OR t.tgrelid IN (SELECT relid FROM pg_partition_tree(%(oid)s))
  UNION ALL SELECT 'i' || i.indexrelid || ':' || i.xmin FROM pg_index i WHERE i.indrelid = %(oid)s
  UNION ALL SELECT 'r' || r.oid || ':' || r.xmin FROM pg_rewrite r WHERE r.ev_class = %(oid)s
  UNION ALL SELECT 'f' || f.oid || ':' || f.xmin FROM pg_constraint f
    WHERE f.conrelid = %(oid)s OR f.confrelid = %(oid)s) x"""
_VOLATILE = """SELECT DISTINCT p.proname::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.proname = %(name)s AND p.provolatile = 'v'
  AND CASE WHEN %(schema)s = '' THEN n.nspname IN ('pg_catalog', %(own)s)
ELSE n.nspname = %(schema)s END"""


class Table:
    """What the catalogue says of a table.

    :ivar columns: name to type, notnull, generated, identity
    :ivar key: the columns by which its rows are told apart, None when there are none
    :ivar refusals: name, message, remedy
    """

    def __init__(self, session: Session, change: Dict[str, Any], prepared: Dict[str, Any]) -> None:
        self._session = session
        self._change = change
        self._prepared = prepared
        self.schema, self.name = change["schema"], change["table"]
        self.sql = f"{quoted(self.schema)}.{quoted(self.name)}"
        found = session.rows(_TABLE, (self.schema, self.name))
        if not found:
            raise ConfigurationError(
                f"There is no table {self.name} in the schema {self.schema}, or it may not be seen.",
                "Correct the change's schema and table: names as they are, without quotes.",
            )
        row = found[0]
        self.oid, self.kind, self.owner, self.tuples, self.pages = int(row[0]), row[1], row[3], max(0.0, row[6]), row[7]
        self.bytes = int(row[11] or row[12])
        self._row = row
        self.columns = {
            each[0]: {
                "type": each[1],
                "notnull": each[2],
                "generated": each[3],
                "identity": each[4],
                "number": each[5],
                "default": each[6],
                "collation": each[7],
            }
            for each in session.rows(_COLUMNS, (self.oid,))
        }
        self.set = sorted(change["set"])
        arguments = {"oid": self.oid, "set": self.set}
        self.triggers = [
            dict(zip(("name", "function", "when", "each", "body"), each))  # noqa: B905 Python 3.9
            for each in session.rows(_TRIGGERS, arguments)
        ]
        self.references = session.rows(_REFERENCES, arguments)
        self.indexes, self.touched_indexes = (int(each) for each in session.rows(_INDEXES, arguments)[0])
        self.collations_ok = True
        self.key = self._key()
        self.refusals: List[Dict[str, str]] = []
        self._judge()

    def _key(self) -> Optional[List[Dict[str, Any]]]:
        """name, type and collation of each column of the best key."""
        for _primary, index, names, collations, versions, types in self._session.rows(_KEYS, (self.oid,)):
            if set(names) & set(self.set):
                continue
            self.collations_ok, self.key_index = bool(versions), index
            return [
                {"name": name, "type": type_name, "collation": collation}
                for name, type_name, collation in zip(names, types, collations)  # noqa: B905 Python 3.9
            ]
        return None

    def version(self, session: Session) -> str:
        """Locks the table against others' changes of it, until the transaction ends. It gives something else when the
        definition may have changed: cheap enough to be asked before each batch."""
        lock = f"LOCK TABLE {self.sql} IN ROW EXCLUSIVE MODE; ".replace("%", "%%")
        return str(session.value(lock + _VERSION, {"oid": self.oid}))

    def fingerprint(self) -> str:
        """Of all whose change would make another update of it."""
        return _digest([self.oid, self.columns_digest(), self.key, self.triggers, self._row[4], self._row[10]])

    def columns_digest(self) -> str:
        """Of names and types: while they are the same, before-images can be put back."""
        return _digest([[name, c["number"], c["type"], c["generated"]] for name, c in sorted(self.columns.items())])

    def generated(self) -> List[str]:
        """Columns that the server computes."""
        return [name for name, column in self.columns.items() if column["generated"]]

    def _refuse(self, name: str, message: str, remedy: str) -> None:
        self.refusals.append({"name": name, "message": message, "remedy": remedy})

    def _judge(self) -> None:
        change, row = self._change, self._row
        if self.kind not in ("r", "p"):
            self._refuse("kind", f"{self.sql} is no table.", "Name the table that has the rows.")
        if row[2] == "t":
            self._refuse("temporary", f"{self.sql} is a temporary table.", "Name one that lasts.")
        if self.kind == "r" and row[5] and self._children():
            self._refuse(
                "inheritance", f"Other tables inherit from {self.sql}: its key does not hold for them.", "One by one."
            )
        for column in self.set:
            known = self.columns.get(column)
            if known is None:
                self._refuse(f"column:{column}", f"{self.sql} has no column {column}.", "Correct the change's set.")
            elif known["generated"] or known["identity"] == "a":
                self._refuse(
                    f"column:{column}", f"The server itself computes the column {column}.", "Leave it out of the set."
                )
        if not (row[8] and row[9]):
            self._refuse("rights", f"{self.sql} may not be read and updated by this role.", "Use the table's owner.")
        if any(name.startswith(OURS) for name in self.columns):
            self._refuse(
                "names", f"A column of {self.sql} begins with {OURS}, as ours do.", "It cannot be changed here."
            )
        if self.key is None:
            self._refuse(
                "key",
                f"{self.sql} has no unique key of columns that are never null, that the change does not set, and whose"
                " types are PostgreSQL's own.",
                "Add one: the rows are changed in batches by their key, and told apart by it when undone.",
            )
        elif not self.collations_ok:
            self._refuse(
                "collation",
                f"The key's collation has another version than the one its index was made with ({self.key_index}).",
                "REINDEX it, and ALTER COLLATION ... REFRESH VERSION: until then it may miss rows.",
            )
        if row[4]:
            self._refuse(
                "row_security", f"Policies hide rows of {self.sql} from this role.", "Use its owner, or BYPASSRLS."
            )
        if self._session.value(_RULES, (self.oid,)):
            self._refuse("rules", f"A rule rewrites updates of {self.sql}.", "Drop the rule, or change it by hand.")
        moved = {each[0] for each in self._session.rows(_PARTITIONED_BY, (self.oid,))}
        if moved & {*self.set, None}:
            self._refuse(
                "partition_key",
                f"The change could move rows of {self.sql} to another partition ({row[10]}).",
                "Leave the partition key as it is: delete and insert such rows.",
            )
        unnamed = [each["name"] for each in self.triggers if each["name"] not in change["triggers"]]
        if unnamed:
            self._refuse(
                "triggers",
                f"Triggers of {self.sql} run with each update, and what they do is not undone: {', '.join(unnamed)}.",
                "See what they do, and name them in the change's triggers.",
            )
        for name, table, _of, action, referenced, _referring in self.references:
            if referenced and action in ("c", "n", "d"):
                self._refuse(
                    "references", f"The constraint {name} would change rows of {table} too.", "Change them by hand."
                )
        for schema, name in self._prepared["functions"]:
            arguments = {"schema": schema, "name": name, "own": self.schema}
            if name not in change["volatile"] and self._session.rows(_VOLATILE, arguments):
                self._refuse(
                    f"volatile:{name}",
                    f"The function {name} is volatile: each call may give something else, or do something.",
                    "Use another, or name it in the change's volatile if you know what it does.",
                )

    def _children(self) -> bool:
        return bool(self._session.value("SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = %s)", (self.oid,)))

    def described(self) -> Dict[str, Any]:
        """For the plan."""
        return {
            "name": f"{self.schema}.{self.name}",
            "owner": self.owner,
            "bytes": self.bytes,
            "key": [each["name"] for each in self.key or []],
            "partitioned": self.kind == "p",
            "triggers": [{key: each[key] for key in ("name", "function", "when", "each")} for each in self.triggers],
            "references": [f"{each[0]} ({each[1]} to {each[2]})" for each in self.references if each[4] or each[5]],
            "generated": self.generated(),
            "indexes": self.indexes,
            "touched_indexes": self.touched_indexes,
        }


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode("utf-8")).hexdigest()
