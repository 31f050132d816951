# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operator's SQL, by PostgreSQL's own parser: single expressions, written anew from what was understood.

Runs on the controller only, which has the parser. Times of day are pinned: batches are transactions of their own, and
CURRENT_TIMESTAMP would be another in each.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import ConfigurationError

#: With a type's name behind it, a column that stands for the moment at which the update began; batches.py puts it in.
MOMENT = "$tradingflow moment "
_SYSTEM = ("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid")
_PINNED = ("now", "transaction_timestamp", "statement_timestamp")
#: Literals that become the time when they are read.
_RELATIVE = ("now", "today", "tomorrow", "yesterday")
#: What no declaration allows: it acts outside the transaction, or on the session.
_FORBIDDEN_PREFIXES = (
    *("dblink", "lo_", "pg_advisory", "pg_try_advisory", "pg_read_", "pg_ls_", "pg_logical", "pg_replication"),
    *("pg_terminate_", "pg_cancel_", "pg_file_", "pg_stat_reset", "pg_create_", "pg_drop_", "pg_promote", "pg_reload"),
)
_FORBIDDEN = (
    *("nextval", "setval", "set_config", "pg_notify", "pg_sleep", "pg_sleep_for", "pg_sleep_until", "pg_switch_wal"),
    *("query_to_xml", "query_to_xmlschema", "cursor_to_xml", "table_to_xml", "database_to_xml", "schema_to_xml"),
)
#: Parts of an expression that are none of this row's.
_NO_EXPRESSION = {
    "SubLink": "a subquery",
    "ParamRef": "a parameter",
    "SetToDefault": "DEFAULT",
    "CurrentOfExpr": "CURRENT OF",
    "GroupingFunc": "GROUPING",
    "A_Star": "*",
    "MultiAssignRef": "an assignment of several columns",
}
_NO_QUERY = {
    "InsertStmt": "INSERT",
    "UpdateStmt": "UPDATE",
    "DeleteStmt": "DELETE",
    "MergeStmt": "MERGE",
    "IntoClause": "INTO",
    "LockingClause": "FOR UPDATE or its like",
    "ParamRef": "a parameter",
}


def prepared(change: dict[str, Any]) -> dict[str, Any]:
    """The change's SQL as it will run.

    :returns: predicate, set (column to expression), check, invariants (name to query), functions ([schema or "", name])
    :raises ConfigurationError: it is not what is allowed, or cannot be read
    """
    functions: set[tuple[str, str]] = set()
    for each in change["invariants"]:
        if each["equals"] in ("True", "False"):  # YAML's, as a text
            each["equals"] = each["equals"].lower()
    for column in change["set"]:
        if column in _SYSTEM:
            raise ConfigurationError(f"The change sets {column}, which is PostgreSQL's own.", "Leave it out.")
    return {
        "predicate": _expression("predicate", change["predicate"], functions),
        "set": {
            # What YAML has a type for may be written so: null, true, 1.5.
            column: _expression(f"set.{column}", "NULL" if text is None else str(text), functions)
            for column, text in sorted(change["set"].items())
        },
        "check": _expression("check", change["check"], functions) if change["check"] else None,
        "invariants": {
            each["name"]: _query(f"invariant {each['name']}", each["sql"], functions) for each in change["invariants"]
        },
        "functions": sorted(map(list, functions)),
    }


def _not_ours(where: str, text: str) -> None:
    if MOMENT.strip() in text:
        raise ConfigurationError(f"The change's {where} has {MOMENT.strip()!r}, which is our own.", "Leave it out.")


def _parsed(where: str, text: str) -> Any:
    try:
        from pglast import parse_sql
        from pglast.parser import ParseError
    except ImportError:
        raise ConfigurationError(
            "The Python library pglast is missing on the controller.", "Install it: requirements/run.lock has it."
        ) from None
    try:
        # Exactly str, which Ansible's marked texts are not.
        statements = parse_sql(f"{text}")
    except ParseError as error:
        raise ConfigurationError(
            f"The change's {where} cannot be read: {str(error).splitlines()[0]}.", "Correct it."
        ) from None
    if len(statements) != 1 or type(statements[0].stmt).__name__ != "SelectStmt":
        raise ConfigurationError(f"The change's {where} is not one query or expression.", "Write exactly one.")
    return statements[0].stmt


def _expression(where: str, text: str, functions: set[tuple[str, str]]) -> str:
    """One expression over a row of the table."""
    _not_ours(where, text)
    statement = _parsed(where, f"SELECT (\n{text}\n)")
    filled = {name for name, value in statement(depth=1, skip_none=True).items() if value not in (False, None)}
    targets = statement.targetList
    if (
        filled - {"@", "targetList", "limitOption", "op"}
        or len(targets) != 1
        or targets[0].name
        or targets[0].indirection
    ):
        raise ConfigurationError(f"The change's {where} is more than one expression.", "Write exactly one.")
    _walked(where, statement, _NO_EXPRESSION, functions)
    return _written(where, statement, expression=True)


def _query(where: str, text: str, functions: set[tuple[str, str]]) -> str:
    """One query that only reads."""
    _not_ours(where, text)
    statement = _parsed(where, text)
    _walked(where, statement, _NO_QUERY, functions)
    return _written(where, statement, expression=False)


def _walked(where: str, statement: Any, refused: dict[str, str], functions: set[tuple[str, str]]) -> None:
    """Refuses, collects functions, and puts the moment in the place of the time of day."""
    from pglast import ast
    from pglast.visitors import Visitor

    def refuse(what: str, remedy: str) -> None:
        raise ConfigurationError(f"The change's {where} has {what}.", remedy)

    def moment(type_name: str) -> Any:
        return ast.ColumnRef(fields=(ast.String(sval=MOMENT + type_name),))

    class Walk(Visitor):  # type: ignore[misc]
        def visit(self, _ancestors: Any, node: Any) -> None:
            name = type(node).__name__
            if name in refused:
                refuse(refused[name], "Leave it out: it must be of the row alone, and only read.")

        def visit_ColumnRef(self, _ancestors: Any, node: Any) -> None:
            last = node.fields[-1]
            if type(last).__name__ == "A_Star" and "A_Star" in refused:
                refuse("*", "Name the columns.")
            if getattr(last, "sval", "") in _SYSTEM:
                refuse(f"the column {last.sval}, which is PostgreSQL's own", "Use columns of the table.")

        def visit_A_Const(self, _ancestors: Any, node: Any) -> None:
            if str(getattr(node.val, "sval", "")).strip().lower() in _RELATIVE:
                refuse(f"the literal '{node.val.sval}', which may be another time in each batch", "CURRENT_TIMESTAMP.")

        def visit_SQLValueFunction(self, _ancestors: Any, node: Any) -> Any:
            kind = node.op.name.removeprefix("SVFOP_").removesuffix("_N")
            types = {"CURRENT_TIMESTAMP": "timestamptz", "LOCALTIMESTAMP": "timestamp", "CURRENT_DATE": "date"}
            if kind in types:
                return moment(types[kind])
            return refuse(kind, "CURRENT_TIMESTAMP, CURRENT_DATE and LOCALTIMESTAMP are possible.")

        def visit_FuncCall(self, _ancestors: Any, node: Any) -> Any:
            names = [part.sval for part in node.funcname]
            schema, name = ("", names[0]) if len(names) == 1 else (names[-2], names[-1])
            if name in _FORBIDDEN or name.startswith(_FORBIDDEN_PREFIXES):
                refuse(f"the function {name}, which acts outside the update", "Leave it out.")
            if "SubLink" in refused and (node.over or node.agg_star or node.agg_distinct or node.agg_filter):
                refuse(f"an aggregate or window function ({name})", "Leave it out: it must be of the row alone.")
            if name in _PINNED and schema in ("", "pg_catalog") and not node.args:
                return moment("timestamptz")
            functions.add((schema, name))
            return None

    Walk()(statement)


def _written(where: str, statement: Any, *, expression: bool) -> str:
    """The SQL of what was understood, read back: a comment or an unknown form must not get through."""
    from pglast.stream import RawStream

    text = str(RawStream()(statement.targetList[0].val if expression else statement))
    again = _parsed(where, f"SELECT ({text})" if expression else text)
    if _plain(again) != _plain(statement):
        raise ConfigurationError(f"The change's {where} cannot be written as it was read.", "Write it more simply.")
    return text


def _plain(node: Any) -> str:
    """A tree without the places in the text."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: bare(item)
                for key, item in value.items()
                if not (key in ("location", "stmt_len", "funcformat") or key.endswith(("_location", "_start", "_end")))
            }
        return [bare(item) for item in value] if isinstance(value, (list, tuple)) else value

    return json.dumps(bare(node(skip_none=True)), sort_keys=True, default=str)
