# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a statement can be carried out without doing anything: what is not proven to only read is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, List, Optional, Set, Tuple

from .._checks.sql import Row
from ..words import printable

#: All that a query that only reads is made of. What is not here is not known, and what is not known is no proof.
KNOWN = frozenset(
    (
        *("SelectStmt", "ResTarget", "ColumnRef", "A_Star", "String", "Integer", "Float", "Boolean", "BitString"),
        *("A_Const", "A_Expr", "A_Indirection", "A_Indices", "A_ArrayExpr", "BoolExpr", "NullTest", "BooleanTest"),
        *("CaseExpr", "CaseWhen", "CoalesceExpr", "MinMaxExpr", "RowExpr", "SQLValueFunction", "CollateClause"),
        *("TypeCast", "TypeName", "FuncCall", "NamedArgExpr", "SubLink", "SortBy", "WindowDef", "GroupingSet"),
        *("GroupingFunc", "JoinExpr", "Alias", "RangeVar", "RangeSubselect", "RangeFunction", "WithClause"),
        *("CommonTableExpr",),
    )
)
#: Words for some that are not.
_WORDS = {
    **dict.fromkeys(("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"), "writes"),
    "IntoClause": "writes into a table of its own",
    "LockingClause": "locks rows",
    "ParamRef": "has parameters without a value",
}
#: What sorting, grouping and joining go by, without being written.
_IMPLIED = {"=", "<>", "<", "<=", ">", ">="}

#: Functions of these names, in whatever schema; also what looks like a column may be one.
FUNCTIONS = """
SELECT n.nspname || '.' || p.proname AS name
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE (p.proname = ANY (%(called)s) AND p.provolatile = 'v')
   OR (p.proname = ANY (%(called)s || %(columns)s) AND n.nspname <> 'pg_catalog'
       AND (p.provolatile = 'v'
            OR NOT EXISTS (SELECT FROM pg_depend d
                           WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')))
ORDER BY 1 LIMIT 1
"""
UNKNOWN_FUNCTIONS = """
SELECT name FROM unnest(%(called)s) name WHERE NOT EXISTS (SELECT FROM pg_proc WHERE proname = name) LIMIT 1
"""
OPERATORS = """
SELECT n.nspname || '.' || o.oprname AS name
FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace JOIN pg_proc p ON p.oid = o.oprcode
WHERE o.oprname = ANY (%(operators)s)
      AND (p.provolatile = 'v'
           OR (n.nspname <> 'pg_catalog'
               AND NOT EXISTS (SELECT FROM pg_depend d
                               WHERE d.classid = 'pg_operator'::regclass AND d.objid = o.oid AND d.deptype = 'e')))
ORDER BY 1 LIMIT 1
"""
#: A cast may be taken without being written.
CASTS = """
SELECT format_type(c.castsource, NULL) || ' to ' || format_type(c.casttarget, NULL) AS name
FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname <> 'pg_catalog'
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_cast'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1 LIMIT 1
"""
#: A relation with all that inherits from it, or is a part of it.
RELATIONS = """
WITH RECURSIVE whole AS (
    SELECT %(oid)s::oid AS oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN whole ON whole.oid = i.inhparent
)
SELECT c.relname AS name,
       CASE WHEN c.relkind = 'v' THEN 'is a view, which may call anything'
            WHEN c.relkind NOT IN ('r', 'p', 'm') THEN 'is no table of this server'
            WHEN c.relrowsecurity THEN 'has policies, which may call anything' ELSE 'has a type of the platform''s' END
           AS reason
FROM whole JOIN pg_class c USING (oid)
WHERE c.relkind NOT IN ('r', 'p', 'm') OR c.relrowsecurity
   OR EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
              JOIN pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
              JOIN pg_namespace n ON n.oid = e.typnamespace
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname <> 'pg_catalog'
                    AND e.typtype <> 'e'
                    AND NOT EXISTS (SELECT FROM pg_depend d
                                    WHERE d.classid = 'pg_type'::regclass AND d.objid = e.oid AND d.deptype = 'e'))
LIMIT 1
"""


@dataclass
class Parts:
    """What a statement is made of.

    :param strange: the first that is not known to only read
    :param called: functions
    :param columns: names of columns, which may be functions of a row as well
    :param relations: (schema, name), "" for none
    :param types: their names, without those that are PostgreSQL's own for sure
    """

    strange: str = ""
    called: Set[str] = field(default_factory=set)
    columns: Set[str] = field(default_factory=set)
    operators: Set[str] = field(default_factory=set)
    relations: Set[Tuple[str, str]] = field(default_factory=set)
    ctes: Set[str] = field(default_factory=set)
    types: Set[str] = field(default_factory=set)


def refuses(cursor: Any, text: str, names: str) -> str:
    """Why a statement is not carried out; empty when it is proven that it only reads.

    It leaves the search path as it is to be for the statement, until the caller's savepoint is rolled back.

    :param names: the search path, quoted
    :raises psycopg2.Error: the catalogue cannot be read
    """
    if "\\" in text:
        return "there is a backslash in it, which some servers read as another sign"
    parts = taken_apart(text)
    if isinstance(parts, str):
        return parts
    if parts.strange:
        return parts.strange
    cursor.execute(f"SET LOCAL search_path TO {names}; SET LOCAL standard_conforming_strings TO on")
    asked = {
        "called": sorted(parts.called),
        "columns": sorted(parts.columns),
        "operators": sorted(parts.operators | _IMPLIED),
    }
    for query, why in (
        (UNKNOWN_FUNCTIONS, "it calls {}, which is not there"),
        (FUNCTIONS, "it calls, or may call, {}, which is volatile or the platform's own"),
        (OPERATORS, "an operator of it may be {}, which is the platform's own"),
        (CASTS, "there is a cast of the platform's own, {}, which it may take"),
    ):
        found = _first(cursor, query, asked)
        if found:
            return why.format(printable(found["name"], 130))
    return _related(cursor, parts)


def _first(cursor: Any, query: str, asked: Row) -> Optional[Row]:
    # The types of empty lists.
    for name in asked:
        query = query.replace(f"%({name})s", f"%({name})s::text[]") if isinstance(asked[name], list) else query
    cursor.execute(query, asked)
    found: Optional[Row] = cursor.fetchone()
    return found


def _related(cursor: Any, parts: Parts) -> str:
    """Why its tables and types are no proof, empty when they are."""
    for schema, name in sorted(parts.relations):
        cursor.execute(
            "SELECT to_regclass(CASE WHEN %(schema)s = '' THEN '' ELSE quote_ident(%(schema)s) || '.' END "
            "|| quote_ident(%(name)s))::oid::bigint AS oid",
            {"schema": schema, "name": name},
        )
        oid = cursor.fetchone()["oid"]
        if oid is None:
            if schema or name not in parts.ctes:
                return f"{printable(name, 63)} is not there"
            continue
        found = _first(cursor, RELATIONS, {"oid": oid})
        if found:
            return f"{printable(found['name'], 63)} {found['reason']}"
    for name in sorted(parts.types):
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
            "WHERE t.typname = %(name)s AND n.nspname <> 'pg_catalog' AND t.typtype <> 'e') AS own",
            {"name": name},
        )
        if cursor.fetchone()["own"]:
            return f"the type {printable(name, 63)} is, or may be, the platform's own"
    return ""


def taken_apart(text: str) -> Parts | str:
    """What one statement is made of; why that is not known."""
    try:
        from pglast import parse_sql
        from pglast.parser import ParseError
        from pglast.visitors import Visitor
    except ImportError:
        return "the Python library pglast is missing on the controller"
    try:
        # Exactly str, which Ansible's marked texts are not.
        trees = parse_sql(f"{text}")
    except ParseError:
        return "it cannot be read as SQL"
    if len(trees) != 1:
        return "it is not one statement"
    parts = Parts()

    class Walk(Visitor):  # type: ignore[misc]
        def visit(self, _ancestors: Any, node: Any) -> None:
            kind = type(node).__name__
            if kind not in KNOWN and not parts.strange:
                parts.strange = f"it {_WORDS.get(kind, f'has a {kind}, which is not known to only read')}"
            _noted(parts, kind, node)

    Walk()(trees[0].stmt)
    return parts


def _noted(parts: Parts, kind: str, node: Any) -> None:
    if kind == "FuncCall":
        parts.called.add(_words(node.funcname)[-1])
    elif kind == "ColumnRef":
        parts.columns.update(_words(node.fields))
    elif kind == "A_Indirection":
        parts.columns.update(_words(node.indirection))
    elif kind == "A_Expr":
        parts.operators.update(_words(node.name))
    elif kind == "SubLink":
        parts.operators.update(_words(node.operName or ()))
    elif kind == "SortBy":
        parts.operators.update(_words(node.useOp or ()))
    elif kind == "RangeVar":
        parts.relations.add((node.schemaname or "", node.relname))
    elif kind == "CommonTableExpr":
        parts.ctes.add(node.ctename)
    elif kind == "TypeName":
        names = _words(node.names)
        if names[0] != "pg_catalog":
            parts.types.add(names[-1])


def _words(nodes: Any) -> List[str]:
    return [node.sval for node in nodes if type(node).__name__ == "String"]
