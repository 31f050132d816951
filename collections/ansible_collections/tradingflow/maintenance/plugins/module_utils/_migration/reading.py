# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a query only reads: the functions that it calls may write, and so may those of a view that it reads.

Runs on the controller only, which has PostgreSQL's own parser.
"""

from __future__ import annotations

from typing import Any

from .dangers import nodes

_QUERIES = ("select", "values", "with", "table", "explain", "declare", "fetch")
_SYSTEM = ("pg_catalog", "information_schema")


def may_write(statement: str, facts: dict[str, Any]) -> bool:
    """Whether a query, carried out twice, may change something twice. Only what is known to be harmless is.

    Statements that are no queries are judged by what they are, see tokens.changes_rows.

    :param facts: tables, views, quiet_functions, quiet_types, loud_operators and loud_fields, see facts.py
    """
    import pglast
    from pglast import ast

    try:
        trees = [each.stmt for each in pglast.parse_sql(statement)]
    except pglast.parser.ParseError:
        # Whatever is no SQL at all is refused before, see dangers.py.
        return statement.lstrip(" (").lower().startswith(_QUERIES)
    return any(
        isinstance(tree, (ast.SelectStmt, ast.ExplainStmt, ast.DeclareCursorStmt, ast.FetchStmt))
        and not _only_reads(tree, facts)
        for tree in trees
    )


def _only_reads(tree: Any, facts: dict[str, Any]) -> bool:
    from pglast import ast

    found = list(nodes(tree))
    quiet, types = set(facts.get("quiet_functions", ())), set(facts.get("quiet_types", ()))
    loud, fields = set(facts.get("loud_operators", ())), set(facts.get("loud_fields", ()))
    views = facts.get("views")
    with_names = {node.ctename for node in found if isinstance(node, ast.CommonTableExpr)}
    tables = {(each["schema"], each["name"]) for each in facts["tables"]}
    names = {name for _schema, name in tables}
    for node in found:
        if isinstance(node, (ast.FetchStmt, ast.IntoClause)):
            return False
        if isinstance(node, ast.FuncCall) and not _own(node.funcname, quiet):
            return False
        if isinstance(node, ast.TypeName) and (node.pct_type or not _own(node.names, types)):
            return False
        if isinstance(node, (ast.A_Expr, ast.SubLink, ast.SortBy)) and loud.intersection(_operators(node)):
            return False
        # A function of one argument may be written as if it were a column: t.f, (t).f.
        if isinstance(node, (ast.ColumnRef, ast.A_Indirection)) and fields.intersection(_names(node)):
            return False
        if isinstance(node, ast.RangeVar):
            schema, name = node.schemaname or "", node.relname
            # WITH v AS (SELECT * FROM v) reads a view v: a name without a schema is known when no view has it.
            free = views is not None and name not in views
            known = (schema, name) in tables if schema else free and (name in with_names or name in names)
            if not known and schema not in _SYSTEM:
                return False
    return True


def _own(name: Any, known: set[str]) -> bool:
    """Whether a name is one of the server's own that is known to be harmless."""
    return name[-1].sval in known and [each.sval for each in name[:-1]] in ([], ["pg_catalog"])


def _operators(node: Any) -> set[str]:
    from pglast import ast

    given = (node.name if isinstance(node, ast.A_Expr) else node.useOp if isinstance(node, ast.SortBy) else None) or ()
    if isinstance(node, ast.SubLink):
        given = node.operName or ()
        if node.testexpr and not given:
            return {"="}
    return {each.sval for each in given}


def _names(node: Any) -> set[str]:
    from pglast import ast

    parts = node.fields if isinstance(node, ast.ColumnRef) else node.indirection
    return {each.sval for each in parts if isinstance(each, ast.String)}
