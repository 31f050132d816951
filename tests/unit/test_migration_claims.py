"""Statements read by their grammar, and whose an invalid index is."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import review, tokens
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.leftovers import Invalid, owned
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.tokens import Claim, claims, with_names


@pytest.mark.parametrize(
    ("sql", "claim"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", Claim("create", ("", "i"), ("", "t"), True)),
        (
            'create /* index x on y */ unique index concurrently if not exists "I ""x" on only S."T.u" using gin (a)',
            Claim("create", ("s", 'I "x'), ("s", "T.u"), True),
        ),
        ("CREATE INDEX CONCURRENTLY ON t (a) -- ON u", Claim("create", None, ("", "t"), True)),
        ("CREATE INDEX grün ON straße (a)", Claim("create", ("", "grün"), ("", "straße"), False)),
        ("CREATE INDEX i ON a.b.c (d)", None),
        ("CREATE TABLE i (t int)", None),
        ("DROP INDEX CONCURRENTLY IF EXISTS s.i", Claim("drop", ("s", "i"), None, True)),
        ("REINDEX INDEX CONCURRENTLY s.i", Claim("reindex", ("s", "i"), None, True)),
        ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", Claim("reindex", None, ("", "t"), True)),
        ("REINDEX (CONCURRENTLY false) TABLE t", Claim("reindex", None, ("", "t"), False)),
        ("REINDEX SCHEMA CONCURRENTLY s", Claim("reindex", None, None, True, True)),
        (
            "ALTER TABLE IF EXISTS ONLY t ADD CONSTRAINT c CHECK (a IN (1, 2) AND b <> $x$NOT VALID$x$) NOT VALID",
            Claim("constraint", ("", "c"), ("", "t"), True),
        ),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)", None),
        ("ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID, ADD b int", None),
        ("ALTER TABLE t ADD b int, ADD CONSTRAINT c CHECK (a > 0) NOT VALID", None),
        ("CREATE INDEX i ON t (a) WHERE b = 'never ends", None),
    ],
)
def test_what_a_statement_makes(sql: str, claim: Claim | None) -> None:
    assert claims([sql]) == ([] if claim is None else [claim])


def test_the_same_statement_under_another_name() -> None:
    (index,) = tokens.read(
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS \"i\" ON s.t (a jsonb_path_ops, (b->>'ü')) WHERE c <>1.5e3"
    )
    assert with_names(index, "n", "x.y") == (
        "CREATE UNIQUE INDEX n ON x.y ( a jsonb_path_ops , ( b ->> 'ü' ) ) WHERE c <> 1.5e3"
    )
    (constraint,) = tokens.read(
        "ALTER TABLE ONLY s.t ADD CONSTRAINT \"C\" CHECK (a ~ E'\\\\d' OR b::int >=2) NOT VALID;"
    )
    assert with_names(constraint, "n") == (
        "ALTER TABLE ONLY s . t ADD CONSTRAINT n CHECK ( a ~ E'\\\\d' OR b :: int >= 2 ) NOT VALID"
    )


def resolve(name: tuple[str, str], what: str) -> Any:
    """All names lie in s; the index i and the one with the long name serve s.t."""
    return ("s", name[1]) if what == "table" else ("s", "t")


def index(name: str, table: str = "t", oid: int = 1) -> Invalid:
    return Invalid(oid, ("s", name), ("s", table), True, [])


LONG = "a" * 63


@pytest.mark.parametrize(
    ("found", "sql", "before", "whose"),
    [
        (index("i"), "CREATE INDEX CONCURRENTLY i ON t (a)", None, True),
        (index("i"), "CREATE INDEX CONCURRENTLY i ON t (a)", [], True),
        # It was there when these began.
        (index("i"), "CREATE INDEX CONCURRENTLY i ON t (a)", [1], False),
        (index("i", "u"), "CREATE INDEX CONCURRENTLY i ON t (a)", None, False),
        (index("j"), "CREATE INDEX CONCURRENTLY i ON t (a)", [], False),
        (index("i"), "CREATE INDEX i ON t (a)", [], False),
        (index("t_a_idx"), "CREATE INDEX CONCURRENTLY ON t (a)", [], True),
        (index("t_a_idx"), "CREATE INDEX CONCURRENTLY ON t (a)", None, False),
        (index("i_ccnew"), "CREATE INDEX CONCURRENTLY ON t (a)", [], False),
        (index("i_ccnew"), "REINDEX INDEX CONCURRENTLY i", None, True),
        (index("i_ccold12"), "REINDEX INDEX CONCURRENTLY i", None, True),
        (index("j_ccnew"), "REINDEX INDEX CONCURRENTLY i", None, False),
        (index("i"), "REINDEX INDEX CONCURRENTLY i", None, False),
        (index(LONG[:57] + "_ccnew"), f"REINDEX INDEX CONCURRENTLY {LONG}", None, True),
        (index("j_ccnew"), "REINDEX TABLE CONCURRENTLY t", None, True),
        (index("j_ccnew", "u"), "REINDEX TABLE CONCURRENTLY t", [], False),
        (index("j_ccnew", "u"), "REINDEX SCHEMA CONCURRENTLY s", None, False),
        (index("j_ccnew", "u"), "REINDEX SCHEMA CONCURRENTLY s", [], True),
    ],
)
def test_whose_an_invalid_index_is(found: Invalid, sql: str, before: list[int] | None, whose: bool) -> None:
    assert owned(found, claims([sql]), before, resolve) is whose


def test_what_an_autocommit_block_commits_before_the_revision_is_done() -> None:
    alone = "BEGIN; COMMIT; CREATE INDEX CONCURRENTLY i ON t (a); BEGIN; UPDATE alembic_version SET version_num = 'x'"
    assert tokens.split(alone) == ([], ["CREATE INDEX CONCURRENTLY i ON t ( a )"])
    mixed = alone.replace("BEGIN;", "BEGIN; ALTER TABLE t ADD b int;", 1)
    facts = {"tables": [], "longest_transaction_seconds": 0.0}
    limits = {"small_bytes": 1, "large_bytes": 2, "busy_writes": 1.0, "long_transaction": 60.0}
    found = [
        (row["rule"], row["statement"])
        for sql in (alone, mixed)
        for row in review.sheet([{"revision": "r", "sql": sql}], facts, limits, lambda sql: [])["rows"]
    ]
    assert found == [("mixed-with-autocommit", "ALTER TABLE t ADD b int")]


@pytest.mark.parametrize(
    ("before", "inside", "after", "verdict"),
    [
        ("UPDATE positions SET qty = qty * 10", "CREATE INDEX CONCURRENTLY i ON t (a)", "", "refuse"),
        ("", "CREATE INDEX CONCURRENTLY i ON t (a); UPDATE t SET a = a + 1", "", "refuse"),
        ("", "UPDATE t SET a = a + 1", "", "refuse"),
        (
            "WITH old AS (DELETE FROM t RETURNING a) SELECT count(*) FROM old",
            "REINDEX TABLE CONCURRENTLY t",
            "",
            "refuse",
        ),
        ("ALTER TABLE t ALTER a TYPE bigint USING a * 10", "VACUUM t", "", "refuse"),
        ("ALTER TABLE t ADD b int", "VACUUM t", "", "only in a window"),
        ("SELECT 'UPDATE t'", "VACUUM t", "", "only in a window"),
        # This commits with the revision itself.
        ("", "CREATE INDEX CONCURRENTLY i ON t (a)", "UPDATE t SET a = a + 1", None),
        ("UPDATE t SET a = a + 1", "", "", None),
    ],
)
def test_rows_that_a_second_run_would_change_again(before: str, inside: str, after: str, verdict: str | None) -> None:
    sql = f"BEGIN; {before}; COMMIT; {inside}; BEGIN; {after}; UPDATE alembic_version SET version_num = 'x'; COMMIT;"
    limits = {"small_bytes": 1, "large_bytes": 2, "busy_writes": 1.0, "long_transaction": 60.0}
    facts = {"tables": [], "longest_transaction_seconds": 0.0}
    found = review.sheet([{"revision": "r", "sql": sql}], facts, limits, lambda sql: [])["rows"]
    assert [row["verdict"] for row in found] == ([verdict] if verdict else [])


#: As a server would give them.
READ = {
    "tables": [{"schema": "public", "name": name, "bytes": 1, "writes_per_second": 0.0} for name in ("t", "shared")],
    "longest_transaction_seconds": 0.0,
    "views": ["a_view", "shared"],
    "quiet_functions": ["count", "lower", "now"],
    "quiet_types": ["date", "int4", "text"],
    "loud_operators": ["@!"],
    "loud_fields": ["f"],
}


@pytest.mark.parametrize(
    ("query", "verdict"),
    [
        ("SELECT f()", "refuse"),
        ("SELECT lower(f(1))", "refuse"),
        ("SELECT audit.f()", "refuse"),
        ("SELECT nextval('s')", "refuse"),
        ("SELECT pg_catalog.setval('s', 7)", "refuse"),
        ('SELECT "Count"(*) FROM t', "refuse"),
        ("SELECT count(*) FROM t WHERE a @! 1", "refuse"),
        ("SELECT * FROM f()", "refuse"),
        ("SELECT count(*) FROM a_view", "refuse"),
        ("SELECT count(*) FROM other.t", "refuse"),
        ("EXPLAIN ANALYZE SELECT f()", "refuse"),
        ("VALUES (f())", "refuse"),
        ("WITH c AS (SELECT f()) SELECT * FROM c", "refuse"),
        ("SELECT count(*), now() INTO u FROM t", "refuse"),
        ("SELECT app.lower('X')", "refuse"),
        # One schema has a table of that name, another a view.
        ("SELECT count(*) FROM shared", "refuse"),
        ("SELECT count(*) FROM public.shared", "only in a window"),
        ("WITH a_view AS (SELECT * FROM a_view) SELECT count(*) FROM a_view", "refuse"),
        ("SELECT a::positive FROM t", "refuse"),
        ("SELECT a::app.text FROM t", "refuse"),
        ("SELECT positive 'x'", "refuse"),
        ("SELECT a::text, b::int, date '2026-01-01', c::text[] FROM t", "only in a window"),
        ("SELECT a @! ANY (SELECT a FROM t) FROM t", "refuse"),
        ("SELECT a FROM t WHERE a IN (SELECT a FROM t)", "only in a window"),
        ("SELECT a FROM t ORDER BY a USING @!", "refuse"),
        ("SELECT t.f FROM t", "refuse"),
        ("SELECT (t).f FROM t", "refuse"),
        ("SELECT t.a FROM t", "only in a window"),
        ("SELECT count(*), lower(pg_catalog.lower('X')) FROM t WHERE a + 1 > 1", "only in a window"),
        ("WITH c AS (SELECT a FROM public.t) SELECT count(*) FROM c", "only in a window"),
        ("SELECT relname FROM pg_catalog.pg_class", "only in a window"),
        # It is not called here.
        ("CREATE TABLE u (a int DEFAULT f())", "only in a window"),
    ],
)
def test_queries_before_an_autocommit_block_that_may_write(query: str, verdict: str) -> None:
    sql = f"BEGIN; {query}; COMMIT; VACUUM t; BEGIN; UPDATE alembic_version SET version_num = 'x'; COMMIT;"
    limits = {"small_bytes": 1, "large_bytes": 2, "busy_writes": 1.0, "long_transaction": 60.0}
    (row,) = review.sheet([{"revision": "r", "sql": sql}], READ, limits, lambda sql: [])["rows"]
    assert (row["rule"], row["verdict"]) == ("mixed-with-autocommit", verdict)
    # Without one it is nobody's business.
    alone = f"BEGIN; {query}; UPDATE alembic_version SET version_num = 'x'; COMMIT;"
    assert review.sheet([{"revision": "r", "sql": alone}], READ, limits, lambda sql: [])["rows"] == []
