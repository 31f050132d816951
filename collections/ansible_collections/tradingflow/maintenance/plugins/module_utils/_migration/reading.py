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

    :param facts: tables, quiet_functions and loud_operators, see facts.py
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
    quiet, loud = set(facts.get("quiet_functions", ())), set(facts.get("loud_operators", ()))
    with_names = {node.ctename for node in found if isinstance(node, ast.CommonTableExpr)}
    tables = {(each["schema"], each["name"]) for each in facts["tables"]}
    names = {name for _schema, name in tables}
    for node in found:
        if isinstance(node, (ast.FetchStmt, ast.IntoClause)):
            return False
        if isinstance(node, ast.FuncCall) and node.funcname[-1].sval not in quiet:
            return False
        if isinstance(node, ast.A_Expr) and node.name and node.name[-1].sval in loud:
            return False
        if isinstance(node, ast.RangeVar):
            schema, name = node.schemaname or "", node.relname
            known = (schema, name) in tables if schema else name in with_names or name in names
            if not known and schema not in _SYSTEM:
                return False
    return True
