# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is dangerous about a revision's SQL: what squawk says, and what it is silent about, by PostgreSQL's own parser.

Runs on the controller only, which has both.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..errors import ConfigurationError, MigrationError

#: How a statement hurts. SCAN and REWRITE grow with the table, BRIEF needs its lock for a moment only, USERS is about
#: whoever uses the schema, NEVER is wrong at any size, and ADVICE is no danger.
SCAN, REWRITE, BRIEF, USERS, NEVER, ADVICE = "scan", "rewrite", "brief", "users", "never", "advice"

_SQUAWK: dict[str, str] = {
    "adding-field-with-default": REWRITE,
    "adding-foreign-key-constraint": SCAN,
    "adding-not-nullable-field": SCAN,
    "adding-required-field": NEVER,
    "adding-serial-primary-key-field": REWRITE,
    "ban-alter-domain-with-add-constraint": SCAN,
    "ban-concurrent-index-creation-in-transaction": NEVER,
    "ban-drop-column": USERS,
    "ban-drop-database": NEVER,
    "ban-drop-not-null": USERS,
    "ban-drop-table": USERS,
    "ban-truncate-cascade": NEVER,
    "changing-column-type": REWRITE,
    "constraint-missing-not-valid": SCAN,
    "disallowed-unique-constraint": SCAN,
    "renaming-column": USERS,
    "renaming-table": USERS,
    "require-concurrent-index-creation": SCAN,
    "require-concurrent-index-deletion": BRIEF,
    "require-concurrent-partition-detach": BRIEF,
    "require-concurrent-reindex": SCAN,
}
#: IF NOT EXISTS on CONCURRENTLY hides invalid indexes; the timeouts are the migration's own; alembic frames revisions.
_SILENCED = ("prefer-robust-stmts", "require-lock-timeout", "require-statement-timeout", "transaction-nesting")

#: Our rules: how, what is wrong, what to do instead.
_RULES: dict[str, tuple[str, str, str]] = {
    "whole-table-update": (
        REWRITE,
        "Every row is written anew, and stays locked until the transaction ends.",
        "Write in batches by key, each in a transaction of its own.",
    ),
    "whole-table-delete": (
        REWRITE,
        "Every row is deleted, and stays locked until the transaction ends.",
        "Delete in batches by key, each in a transaction of its own.",
    ),
    "vacuum-full": (REWRITE, "Nobody reads the table while it is rewritten.", "VACUUM without FULL, or pg_repack."),
    "cluster": (REWRITE, "Nobody reads the table while it is rewritten.", "pg_repack."),
    "lock-table": (
        USERS,
        "Others wait until the transaction ends.",
        "Leave it out: statements take the locks that they need.",
    ),
    "refresh-materialized-view": (
        SCAN,
        "Nobody reads the view while it is computed.",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY, outside a transaction; it needs a unique index.",
    ),
    "truncate": (USERS, "All rows are gone, also for transactions that began before.", "Delete in batches by key."),
    "create-trigger": (
        BRIEF,
        "The trigger runs from now on in every writing transaction, and making it stops writes for a moment.",
        "See what the trigger costs on a rehearsal, and make it apart from other changes.",
    ),
    "disable-trigger": (
        USERS,
        "What is written until it is enabled again goes by the trigger unseen, foreign keys among them.",
        "Leave triggers on, and write in batches.",
    ),
    "alter-index-set": (
        BRIEF,
        "It holds for new pages only.",
        "REINDEX INDEX CONCURRENTLY afterwards.",
    ),
    "attach-partition-without-check": (
        SCAN,
        "The partition is read from end to end while nobody may write to it.",
        "Give it a CHECK like its bounds first, NOT VALID and then VALIDATE, attach it, and drop the CHECK.",
    ),
    "set-unlogged": (
        NEVER,
        "After a crash the table is empty, and replicas and backups of the log do not have it.",
        "Keep it logged.",
    ),
    "set-tablespace": (
        REWRITE,
        "Nobody reads the table while it is copied.",
        "Make the indexes anew there, concurrently, and move the table by pg_repack.",
    ),
    "grant-to-public": (NEVER, "Every role of the server gets the right.", "Grant it to the roles that need it."),
    "code": (
        SCAN,
        "What the block does cannot be seen from outside.",
        "Write it as statements, or see on a rehearsal what it does.",
    ),
}


class Danger(NamedTuple):
    """One thing that is dangerous about a statement.

    :param tables: (schema or "", name) of those it is about; none when that cannot be said
    """

    rule: str
    how: str
    statement: str
    tables: tuple[tuple[str, str], ...]
    message: str
    instead: str


def statements(sql: str) -> list[str]:
    """The statements of a text, by PostgreSQL's grammar, without the transactions around them.

    :raises MigrationError: it is no SQL
    """
    import pglast

    try:
        found = [(text, pglast.parse_sql(text)) for text in pglast.split(sql)]
    except pglast.parser.ParseError as error:
        raise MigrationError(
            f"PostgreSQL's parser does not understand the SQL: {error}", "Correct the revision."
        ) from None
    return [text for text, trees in found if trees and type(trees[0].stmt).__name__ != "TransactionStmt"]


def dangers(sql: str, squawk: Callable[[str], list[dict[str, Any]]] | None = None) -> list[Danger]:
    """All that is dangerous about a revision; what is about tables made in it does not count.

    :param sql: as alembic writes it
    :param squawk: gives squawk's findings about a text
    :raises MigrationError: it is not understood
    :raises ConfigurationError: squawk or pglast is missing
    """
    try:
        import pglast
    except ImportError:
        raise ConfigurationError("The Python library pglast is missing.", "Install pglast on the controller.") from None
    texts = statements(sql)
    trees = [pglast.parse_sql(text)[0].stmt for text in texts]
    made = {name for tree in trees for name in _made(tree)}
    found: list[Danger] = []
    for text, tree in zip(texts, trees, strict=True):
        named = tuple(dict.fromkeys(_tables(tree)))
        if {table for schema, table in named} == {"alembic_version"}:
            continue
        for rule in _own(tree, trees):
            how, message, instead = _RULES[rule]
            found.append(Danger(rule, how, text, named, message, instead))
    found += _said(texts, trees, squawk or run_squawk)
    return [each for each in found if not each.tables or not set(each.tables) <= made]


def _said(texts: list[str], trees: list[Any], squawk: Callable[[str], list[dict[str, Any]]]) -> Iterator[Danger]:
    """What squawk says, by statement: each stands on lines of its own."""
    lines: list[int] = []
    for number, text in enumerate(texts):
        lines += [number] * (text.count("\n") + 1)
    for each in squawk("".join(f"{text};\n" for text in texts)):
        number = lines[min(each["line"], len(lines) - 1)]
        rule = each["rule_name"]
        # A rule that is not known is a danger of which nobody knows how large it is.
        advice = rule.startswith(("prefer-", "identifier-", "require-table-schema", "ban-char-field"))
        how = _SQUAWK.get(rule, ADVICE if advice else SCAN)
        tables = tuple(dict.fromkeys(_tables(trees[number])))
        yield Danger(rule, how, texts[number], tables, each["message"], each.get("help") or "")


def run_squawk(sql: str) -> list[dict[str, Any]]:
    """squawk's findings about a text.

    :raises ConfigurationError: it is missing or fails
    """
    program = shutil.which(
        "squawk", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    )
    if program is None:
        raise ConfigurationError("The program squawk is missing.", "Install squawk-cli on the controller.")
    done = subprocess.run(
        [program, "--reporter", "json", "--exclude", ",".join(_SILENCED), "--no-error-on-unmatched-pattern"],
        input=sql.encode("utf-8"),
        capture_output=True,
        # No configuration of whoever runs this.
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        timeout=120,
        check=False,
    )
    try:
        found = json.loads(done.stdout)
        return [each for each in found if {"line", "rule_name", "message"} <= set(each)]
    except (ValueError, TypeError):
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-300:]
        raise ConfigurationError(
            f"squawk gave no answer (exit status {done.returncode}): {said}", "Install the squawk-cli of the lock."
        ) from None


def nodes(tree: Any) -> Iterator[Any]:
    """A node and all below it."""
    from pglast import ast

    if isinstance(tree, (tuple, list)):
        for each in tree:
            yield from nodes(each)
    elif isinstance(tree, ast.Node):
        yield tree
        for name in tree.__slots__:
            yield from nodes(getattr(tree, name))


def _tables(tree: Any) -> Iterator[tuple[str, str]]:
    """Relations that a statement names."""
    from pglast import ast, enums

    for node in nodes(tree):
        if isinstance(node, ast.RangeVar):
            yield node.schemaname or "", node.relname
        elif isinstance(node, ast.DropStmt) and node.removeType in (
            enums.ObjectType.OBJECT_TABLE,
            enums.ObjectType.OBJECT_MATVIEW,
        ):
            for parts in node.objects:
                names = [part.sval for part in parts]
                yield (names[-2] if len(names) > 1 else ""), names[-1]


def _made(tree: Any) -> Iterator[tuple[str, str]]:
    """Tables that a statement makes."""
    from pglast import ast

    if isinstance(tree, ast.CreateStmt) and not tree.if_not_exists:
        yield tree.relation.schemaname or "", tree.relation.relname
    elif isinstance(tree, (ast.CreateTableAsStmt, ast.SelectStmt)):
        into = tree.into if isinstance(tree, ast.CreateTableAsStmt) else tree.intoClause
        if into is not None and not getattr(tree, "if_not_exists", False):
            yield into.rel.schemaname or "", into.rel.relname


def _own(tree: Any, trees: list[Any]) -> Iterator[str]:
    """Our rules that a statement breaks."""
    from pglast import ast, enums

    for node in nodes(tree):
        if isinstance(node, (ast.UpdateStmt, ast.DeleteStmt)) and node.whereClause is None:
            yield "whole-table-update" if isinstance(node, ast.UpdateStmt) else "whole-table-delete"
    if isinstance(tree, ast.VacuumStmt) and any(map(_full, tree.options or ())):
        yield "vacuum-full"
    elif isinstance(tree, ast.RefreshMatViewStmt) and not tree.concurrent:
        yield "refresh-materialized-view"
    elif isinstance(tree, ast.GrantStmt) and tree.is_grant:
        if any(grantee.roletype == enums.RoleSpecType.ROLESPEC_PUBLIC for grantee in tree.grantees):
            yield "grant-to-public"
    elif isinstance(tree, ast.AlterTableStmt):
        yield from (rule for command in tree.cmds for rule in _altering(tree, command, trees))
    else:
        simple = {
            ast.ClusterStmt: "cluster",
            ast.LockStmt: "lock-table",
            ast.TruncateStmt: "truncate",
            ast.CreateTrigStmt: "create-trigger",
            ast.AlterTableMoveAllStmt: "set-tablespace",
            ast.DoStmt: "code",
            ast.CallStmt: "code",
        }
        if type(tree) in simple:
            yield simple[type(tree)]


def _full(option: Any) -> bool:
    """Whether an option of VACUUM is FULL, and on."""
    value = getattr(option.arg, "sval", getattr(option.arg, "ival", True))
    return option.defname == "full" and str(value).lower() not in ("false", "off", "0")


def _altering(tree: Any, command: Any, trees: list[Any]) -> Iterator[str]:
    from pglast import enums

    kind = enums.AlterTableType
    if command.subtype in (kind.AT_DisableTrig, kind.AT_DisableTrigAll, kind.AT_DisableTrigUser):
        yield "disable-trigger"
    elif command.subtype == kind.AT_SetUnLogged:
        yield "set-unlogged"
    elif command.subtype == kind.AT_SetTableSpace:
        yield "set-tablespace"
    elif command.subtype == kind.AT_SetRelOptions and tree.objtype == enums.ObjectType.OBJECT_INDEX:
        yield "alter-index-set"
    elif command.subtype == kind.AT_AttachPartition and tree.objtype == enums.ObjectType.OBJECT_TABLE:
        partition = command.def_.name
        name = (partition.schemaname or "", partition.relname)
        if not any(name == each for other in trees for each in _checked(other)):
            yield "attach-partition-without-check"


def _checked(tree: Any) -> Iterator[tuple[str, str]]:
    """Tables of which a statement validates a constraint, as one would before attaching them."""
    from pglast import ast, enums

    if isinstance(tree, ast.AlterTableStmt) and any(
        command.subtype == enums.AlterTableType.AT_ValidateConstraint for command in tree.cmds
    ):
        yield tree.relation.schemaname or "", tree.relation.relname
