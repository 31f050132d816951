"""The review of a revision's SQL: which statements are dangerous, and how much for which tables."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import dangers, review
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MigrationError

LIMITS = {"small_bytes": 10, "large_bytes": 1000, "busy_writes": 5.0, "long_transaction": 60.0}


def rules(sql: str) -> list[str]:
    return [each.rule for each in dangers.dangers(sql)]


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("UPDATE o SET x = 1", "whole-table-update"),
        ('DELETE FROM "user"', "whole-table-delete"),
        ("WITH gone AS (DELETE FROM o RETURNING *) SELECT count(*) FROM gone", "whole-table-delete"),
        ("VACUUM (FULL, ANALYZE) o", "vacuum-full"),
        ("CLUSTER o USING i", "cluster"),
        ("LOCK TABLE o IN SHARE MODE", "lock-table"),
        ("REFRESH MATERIALIZED VIEW v", "refresh-materialized-view"),
        ("TRUNCATE o", "truncate"),
        ("CREATE TRIGGER t BEFORE INSERT ON o EXECUTE FUNCTION f()", "create-trigger"),
        ("ALTER TABLE o DISABLE TRIGGER ALL", "disable-trigger"),
        ("ALTER INDEX i SET (fillfactor = 50)", "alter-index-set"),
        ("ALTER TABLE p ATTACH PARTITION o FOR VALUES FROM (1) TO (2)", "attach-partition-without-check"),
        ("ALTER TABLE o SET UNLOGGED", "set-unlogged"),
        ("ALTER TABLE o SET TABLESPACE x", "set-tablespace"),
        ("ALTER TABLE ALL IN TABLESPACE a SET TABLESPACE b", "set-tablespace"),
        ("GRANT SELECT ON o TO somebody, PUBLIC", "grant-to-public"),
        ("DO $$ BEGIN UPDATE o SET x = 1; END $$", "code"),
        # squawk's.
        ("CREATE INDEX i ON o (x)", "require-concurrent-index-creation"),
        ("ALTER TABLE o ALTER COLUMN x TYPE bigint", "changing-column-type"),
        ("ALTER TABLE o ADD CONSTRAINT c CHECK (x > 0)", "constraint-missing-not-valid"),
        ("DROP TABLE o", "ban-drop-table"),
    ],
)
def test_what_is_dangerous(sql: str, rule: str) -> None:
    framed = f"BEGIN;\n\n-- Running upgrade ü -> b\n\n{sql};\n\nUPDATE alembic_version SET version_num='b';\n\nCOMMIT;"
    found = dangers.dangers(framed)
    assert [each.rule for each in found] == [rule]
    assert found[0].statement.endswith(sql)
    if "ALL IN TABLESPACE" not in sql and rule != "code":
        assert {"o", "i", "v", "user"} & {name for _, name in found[0].tables}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE o SET x = 1 WHERE id = 5",
        "SELECT 'UPDATE o SET x = 1'",
        "VACUUM (FULL false) o; VACUUM o",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "CREATE INDEX CONCURRENTLY i ON o (x)",
        "ALTER TABLE o ENABLE TRIGGER ALL",
        "GRANT SELECT ON o TO somebody; REVOKE ALL ON o FROM PUBLIC",
        "ALTER TABLE q VALIDATE CONSTRAINT c; ALTER TABLE p ATTACH PARTITION q FOR VALUES FROM (1) TO (2)",
        # Made in the same revision.
        "CREATE TABLE n (x bigint); CREATE INDEX i ON n (x); UPDATE n SET x = 1; TRUNCATE n",
        "ALTER TABLE o ADD CONSTRAINT c CHECK (x > 0) NOT VALID",
    ],
)
def test_what_is_not(sql: str) -> None:
    assert rules(sql) == []


def test_of_two_statements_on_a_line_each_has_its_own() -> None:
    found = dangers.dangers("SELECT 'ü\n\nü'; CREATE INDEX i ON o (x); CREATE INDEX j ON \"odd ;name\" (x);")
    assert [each.tables for each in found] == [(("", "o"),), (("", "odd ;name"),)]
    # A table that may have been there before is not one that was made.
    assert rules("CREATE TABLE IF NOT EXISTS n (x bigint); CREATE INDEX i ON n (x)") == [
        "require-concurrent-index-creation"
    ]
    with pytest.raises(MigrationError, match="does not understand"):
        rules("ALTER TABEL o")


def test_a_rule_that_nobody_knows_is_no_advice() -> None:
    said = [{"line": 0, "rule_name": "ban-something-new", "message": "m", "help": None}]
    (found,) = dangers.dangers("SELECT 1 FROM o", lambda sql: said)
    assert found.how == dangers.SCAN


def fact(name: str, size: int, rate: float | None = 0.0) -> dict[str, Any]:
    return {"schema": "public", "name": name, "bytes": size, "writes_per_second": rate}


@pytest.mark.parametrize(
    ("how", "tables", "longest", "verdict"),
    [
        (dangers.SCAN, [fact("o", 10)], 1.0, review.ALLOW),
        (dangers.SCAN, [fact("o", 10, 5.0)], 1.0, review.WINDOW),
        (dangers.SCAN, [fact("o", 10, None)], 1.0, review.WINDOW),
        (dangers.SCAN, [fact("o", 10)], 61.0, review.WINDOW),
        (dangers.SCAN, [fact("o", 10)], None, review.WINDOW),
        (dangers.SCAN, [fact("o", 11)], 1.0, review.WINDOW),
        (dangers.REWRITE, [fact("o", 1000)], 1.0, review.REFUSE),
        # The largest of that name, and what is not known, is of any size.
        (dangers.SCAN, [fact("o", 1), fact("o", 2000)], 1.0, review.REFUSE),
        (dangers.SCAN, [], 1.0, review.WINDOW),
        (dangers.BRIEF, [fact("o", 2000)], 1.0, review.ALLOW),
        (dangers.BRIEF, [fact("o", 1)], 61.0, review.WINDOW),
        (dangers.USERS, [fact("o", 1)], 1.0, review.WINDOW),
        (dangers.NEVER, [fact("o", 1)], 1.0, review.REFUSE),
        (dangers.ADVICE, [fact("o", 2000)], None, review.ALLOW),
    ],
)
def test_verdicts(how: str, tables: list[dict[str, Any]], longest: float | None, verdict: str) -> None:
    danger = dangers.Danger("rule", how, "ALTER TABLE o", (("", "o"),), "m", "i")
    pending: list[dict[str, Any]] = [{"revision": "b", "sql": "x"}, {"revision": "c", "sql": None}]
    facts = {"tables": tables, "longest_transaction_seconds": longest}
    found = review.sheet(pending, facts, LIMITS, lambda sql: [danger])
    assert [row["verdict"] for row in found["rows"]] == [verdict]
    assert found["unseen"] == ["c"]
    refused = verdict == review.REFUSE
    assert review.refused(found, []) == (["rule"] if refused else [])
    assert review.refused(found, ["rule"]) == []
    statuses = {check.id: check.status for check in review.checks(found, [])}
    assert statuses.pop("migration.review") == "warning"
    wanted = {"migration.review:b:rule": "critical" if refused else "warning"}
    assert statuses == ({} if verdict == review.ALLOW else wanted)


def test_what_a_revision_runs_is_judged_besides_what_alembic_writes() -> None:
    limits = {**LIMITS, "small_bytes": 1}
    facts = {"tables": [fact("o", 2000), fact("p", 2000)], "longest_transaction_seconds": 1.0}
    written, ran = (
        "BEGIN; DELETE FROM p; CREATE TABLE n (x int); COMMIT",
        "BEGIN;\nDELETE FROM p;\nDELETE FROM o;\nCOMMIT;\n",
    )
    found = review.sheet([{"revision": "b", "sql": written, "captured": ran}], facts, limits)
    assert [(row["rule"], row["statement"]) for row in found["rows"] if row["verdict"] == review.REFUSE] == [
        ("whole-table-delete", "DELETE FROM p"),
        ("whole-table-delete", "DELETE FROM o"),
    ]
    assert (found["unseen"], found["captured"]) == ([], [])
    found = review.sheet([{"revision": "b", "sql": "SELECT 1", "captured": "DELETE FORM o"}], facts, limits)
    assert (found["unseen"], found["captured"]) == (["b"], [])
