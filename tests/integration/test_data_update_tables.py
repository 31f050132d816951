"""Tables that data are updated in: their keys, names and partitions, and what forbids it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, DataUpdateError

from tests.integration import data_update_fixtures
from tests.integration.data_update_fixtures import LAST_LOGIN, USERS, Place
from tests.integration.restore_fixtures import bad

place = data_update_fixtures.place

CHANGE: dict[str, Any] = {
    "id": "c",
    "reason": "a test",
    "table": "t",
    "predicate": "v % 3 = 0",
    "set": {"v": "v + 1", "w": "w || '%'"},
    "expected": {"min": 1, "max": 100},
    "check": "v % 3 = 1",
    "batch_rows": 7,
}

#: A table and how many of its rows match.
KEYS = {
    "composite, one of them a text": """CREATE TABLE t (a text COLLATE "C", b int, v int, w text, PRIMARY KEY (b, a));
        INSERT INTO t SELECT chr(64 + i % 40) || i, i % 3, i, 'x' FROM generate_series(1, 100) i""",
    "a text of a collation": """CREATE TABLE t (a text COLLATE "POSIX" NOT NULL, v int, w text);
        CREATE UNIQUE INDEX ON t (a COLLATE "C");
        INSERT INTO t SELECT (ARRAY['a', 'B', 'ä', 'Z', '_', 'É', 'o''x', '%', E'\\\\', ' ', 'ß'])[1 + i % 11] || i,
        i, 'x'
        FROM generate_series(1, 100) i""",
    "uuid": """CREATE TABLE t (v int, w text, a uuid PRIMARY KEY);
        INSERT INTO t SELECT i, 'x', md5(i::text)::uuid FROM generate_series(1, 100) i""",
    "time and numeric": """CREATE TABLE t (a timestamptz, b numeric, v int, w text, UNIQUE (a, b));
        ALTER TABLE t ALTER a SET NOT NULL; ALTER TABLE t ALTER b SET NOT NULL;
        INSERT INTO t SELECT '2026-10-25 00:30+02'::timestamptz + make_interval(mins => i / 2), i / 7.0, i, 'x'
        FROM generate_series(1, 100) i""",
    "an enum and padded text": """CREATE TYPE e AS ENUM ('z', 'a', 'm'); CREATE TABLE t (a e, b char(5), v int, w text,
        PRIMARY KEY (a, b)); INSERT INTO t SELECT (ARRAY['z', 'a', 'm'])[1 + i % 3]::e, i, i, 'x'
        FROM generate_series(1, 100) i""",
    "partitions": """CREATE TABLE t (a int, b int, v int, w text, PRIMARY KEY (a, b)) PARTITION BY LIST (b);
        CREATE TABLE t0 PARTITION OF t FOR VALUES IN (0); CREATE TABLE t1 PARTITION OF t DEFAULT;
        INSERT INTO t SELECT i, i % 2, i, 'x' FROM generate_series(1, 100) i""",
    "a generated column and a reference": """CREATE TABLE other (v int PRIMARY KEY);
        INSERT INTO other SELECT generate_series(1, 101);
        CREATE TABLE t (a int PRIMARY KEY, v int REFERENCES other, w text, g int GENERATED ALWAYS AS (v * 2) STORED);
        INSERT INTO t SELECT i, i, 'x' FROM generate_series(1, 100) i""",
}


@pytest.mark.parametrize("name", KEYS)
def test_keys(place: Place, name: str) -> None:
    place.sql(KEYS[name])
    before = place.sql("SELECT t::text FROM t ORDER BY 1")
    plan = engine.plan(place.options(CHANGE))
    assert (plan["count"], plan["refusals"]) == (33, [])
    checks, result = place.run(CHANGE, expected_digest=plan["digest"])
    assert bad(checks) == {}
    assert (result["verified"]["rows"], result["update_after"]["batches"]) == (33, 5)
    assert place.sql("SELECT count(*) FROM t WHERE v % 3 = 0") == [(0,)]
    assert place.sql("SELECT count(*) FROM t WHERE w = 'x%' AND v % 3 = 1") == [(33,)]
    checks, result = place.run(CHANGE, action="undo")
    assert bad(checks) == {}
    assert result["undo"]["restored"] == 33
    assert place.sql("SELECT t::text FROM t ORDER BY 1") == before


def test_names_and_expressions_that_are_not_easy(place: Place) -> None:
    place.sql(
        """CREATE SCHEMA "Sch%s ""x"; CREATE TABLE "Sch%s ""x"."select" ("order" int PRIMARY KEY, "ü ""%(bound)s" text,
        "from" timestamptz, tradingflow int); CREATE FUNCTION "Sch%s ""x".f(int) RETURNS int IMMUTABLE LANGUAGE sql AS
        'SELECT $1 % 10'; INSERT INTO "Sch%s ""x"."select" SELECT i, '100% of ' || i FROM generate_series(1, 50) i"""
    )
    change = {
        **CHANGE,
        "schema": 'Sch%s "x',
        "table": "select",
        "predicate": """"ü ""%(bound)s" LIKE '100%' AND "select"."order" % 10 = 1
            AND "Sch%s ""x".f("order") = 1 -- so""",
        "set": {'ü "%(bound)s': """'it''s 50%s ' || "order" || '$tradingflow:batch$'""", "from": "now()"},
        "check": """"from" = CURRENT_TIMESTAMP AND "ü ""%(bound)s" LIKE 'it''s%'""",
        "invariants": [{"name": "ones", "sql": """SELECT count(*) FROM "select" WHERE "order" % 10 = 1"""}],
    }
    checks, result = place.run(change)
    assert bad(checks) == {}
    assert result["verified"]["rows"] == 5
    assert result["verified"]["invariants"] == {"ones": "5"}
    read = """SELECT "ü ""%(bound)s" FROM "Sch%s ""x"."select" WHERE "order" = 21"""
    assert place.sql(read) == [("it's 50%s 21$tradingflow:batch$",)]
    checks, _ = place.run(change, action="undo")
    assert bad(checks) == {}
    assert place.sql(read) == [("100% of 21",)]


def test_types_without_an_equality_are_changed_and_undone(place: Place) -> None:
    place.sql("""CREATE TABLE t (a int PRIMARY KEY, v int, w json, x json[], y point);
        INSERT INTO t SELECT i, i, '{"a":  1}', ARRAY['{"b":1}'::json], point(i, 1)
        FROM generate_series(1, 30) i; UPDATE t SET w = NULL WHERE a = 3;
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER tr BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()""")
    before = place.sql("SELECT t::text FROM t ORDER BY 1")
    declared = {"w": "'{}'", "x": "NULL", "y": "point(1, v)"}
    change = {**CHANGE, "set": declared, "check": None, "triggers": ["tr"]}
    checks, result = place.run(change)
    assert bad(checks) == {}
    assert result["verified"]["rows"] == 10
    place.sql("UPDATE t SET w = '{ }' WHERE a = 9")
    checks, result = place.run(change, action="undo")
    assert set(bad(checks)) == {"data_update.undone"}
    assert (result["undo"]["restored"], result["undo"]["counts"]) == (9, {"set columns": 1})
    place.sql("""UPDATE t SET w = '{"a":  1}', x = ARRAY['{"b":1}'::json], y = point(a, 1) WHERE a = 9""")
    assert place.sql("SELECT t::text FROM t ORDER BY 1") == before


#: SQL beforehand, changes to the change, and what refuses it.
REFUSALS: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "no key": ("CREATE TABLE t (a int, v int, w text)", {}, {"key"}),
    "a key that may be null": ("CREATE TABLE t (a int UNIQUE, v int, w text)", {}, {"key"}),
    "a key of some rows": (
        "CREATE TABLE t (a int NOT NULL, v int, w text); CREATE UNIQUE INDEX ON t (a) WHERE v > 0",
        {},
        {"key"},
    ),
    "a key that may be late": ("CREATE TABLE t (a int NOT NULL UNIQUE DEFERRABLE, v int, w text)", {}, {"key"}),
    "a key of an extension's type": (
        "CREATE EXTENSION citext SCHEMA public; CREATE TABLE t (a citext PRIMARY KEY, v int, w text)",
        {},
        {"key"},
    ),
    "the key itself": ("CREATE TABLE t (v int PRIMARY KEY, w text)", {}, {"key"}),
    "a computed column": (
        "CREATE TABLE t (a int PRIMARY KEY, v int, w text GENERATED ALWAYS AS ('x') STORED)",
        {},
        {"column:w"},
    ),
    "no such column": ("CREATE TABLE t (a int PRIMARY KEY, v int)", {"set": {"v": "1", "x": "1"}}, {"column:x"}),
    "another partition": (
        "CREATE TABLE t (a int PRIMARY KEY, v int, w text, b int); DROP TABLE t;"
        "CREATE TABLE t (a int, v int, w text) PARTITION BY RANGE ((v + 1))",
        {},
        {"key", "partition_key"},
    ),
    "a partition key": (
        "CREATE TABLE t (a int, v int, w text) PARTITION BY RANGE (w)",
        {},
        {"key", "partition_key"},
    ),
    "a rule": (
        "CREATE TABLE t (a int PRIMARY KEY, v int, w text); CREATE RULE r AS ON UPDATE TO t DO INSTEAD NOTHING",
        {},
        {"rules"},
    ),
    "policies": (
        "CREATE TABLE t (a int PRIMARY KEY, v int, w text); ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
        "ALTER TABLE t FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (a < 10)",
        {},
        {"row_security"},
    ),
    "tables that inherit": (
        "CREATE TABLE t (a int PRIMARY KEY, v int, w text); CREATE TABLE u () INHERITS (t)",
        {},
        {"inheritance"},
    ),
    "a trigger": (
        "CREATE TABLE t (a int PRIMARY KEY, v int, w text); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN NEW; END'; CREATE TRIGGER tr AFTER UPDATE OF w ON t FOR EACH ROW EXECUTE FUNCTION f();"
        " CREATE TRIGGER other AFTER UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION f()",
        {},
        {"triggers"},
    ),
    "tables that follow": (
        "CREATE TABLE t (a int PRIMARY KEY, v int UNIQUE, w text);"
        "CREATE TABLE u (v int REFERENCES t (v) ON UPDATE CASCADE)",
        {},
        {"references"},
    ),
    "volatile functions": (
        "CREATE TABLE t (a int PRIMARY KEY, v int, w text);"
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        {"predicate": "f(v) = 1 AND random() < 2", "volatile": []},
        {"volatile:f", "volatile:random"},
    ),
    "a view": (
        "CREATE TABLE u (a int PRIMARY KEY, v int, w text); CREATE VIEW t AS SELECT * FROM u",
        {},
        {"kind", "key"},
    ),
}


def test_refusals(place: Place) -> None:
    clean = "DROP SCHEMA public CASCADE; CREATE SCHEMA public; "
    for name, (sql, more, wanted) in REFUSALS.items():
        place.sql(clean + sql)
        assert set(place.refused({**CHANGE, **more})) == wanted, name
    place.sql(clean + REFUSALS["a trigger"][0] + "; INSERT INTO t VALUES (1, 3, 'x'), (2, 4, 'x')")
    assert place.refused({**CHANGE, "triggers": ["tr"]}) == {}
    with pytest.raises(ConfigurationError, match="There is no table u"):
        place.refused({**CHANGE, "table": "u"})
    with pytest.raises(DataUpdateError, match="does not give one value"):
        place.refused({**CHANGE, "triggers": ["tr"], "invariants": [{"name": "i", "sql": "SELECT a FROM t"}]})


def test_how_many_rows_match(place: Place) -> None:
    place.sql(USERS)
    assert (
        "50 rows would be changed, and 60 to 70"
        in place.refused({**LAST_LOGIN, "expected": {"min": 60, "max": 70}})["count"]
    )
    nobody = {**LAST_LOGIN, "predicate": "id < 0"}
    assert "0 rows would be changed" in place.refused(nobody)["count"]
    assert "no row matches" in engine.plan(place.options({**nobody, "expected": {"min": 0, "max": 9}}))["nothing"]
    everybody = {**LAST_LOGIN, "predicate": "id > 0", "expected": {"min": 1, "max": 100}}
    assert set(place.refused(everybody)) == {"whole_table"}
    assert place.refused({**everybody, "whole_table": True}) == {}
    false = {**LAST_LOGIN, "invariants": [{"name": "none", "sql": "SELECT count(*) FROM users", "equals": "0"}]}
    assert "does not hold before: it is 100, not 0" in place.refused(false)["invariant:none"]
    checks, _ = place.run(false)
    assert set(bad(checks)) == {"data_update.refused:invariant:none"}
    assert place.sql("SELECT to_regnamespace('tradingflow_data_update')") == [(None,)]


def test_whose_rights(place: Place, platform: Any) -> None:
    place.sql(USERS)
    postgres = platform.state["postgres"]
    superuser = {**place.database, "user": postgres["superuser"], "password": postgres["superuser_password"]}
    with pytest.raises(ConfigurationError, match="is a superuser"):
        engine.plan(place.options(LAST_LOGIN, database=superuser))
    reader = {**place.database, "user": postgres["maintenance_user"], "password": postgres["maintenance_password"]}
    plan = engine.plan(place.options(LAST_LOGIN, database=reader))
    assert {each["name"] for each in plan["refusals"]} == {"rights"}
    with pytest.raises(ConfigurationError, match="or data_update_role, is a superuser"):
        engine.plan(place.options(LAST_LOGIN, database=superuser, role=place.owner))
    # As somebody who may become the owner, and does.
    platform.sql("superuser", "CREATE ROLE some_member LOGIN PASSWORD 'a word' NOINHERIT")
    try:
        platform.sql("superuser", f"GRANT {place.owner} TO some_member")
        member = {**place.database, "user": "some_member", "password": "a word"}
        plan = engine.plan(place.options(LAST_LOGIN, database=member))
        assert {each["name"] for each in plan["refusals"]} == {"rights"}
        checks, _ = place.run(LAST_LOGIN, database=member, role=place.owner)
        assert bad(checks) == {}
        # Or as one who may become a superuser.
        platform.sql("superuser", f"GRANT {quoted(postgres['superuser'])} TO some_member")
        with pytest.raises(ConfigurationError, match="or data_update_role, is a superuser"):
            engine.plan(place.options(LAST_LOGIN, database=member, role=postgres["superuser"]))
    finally:
        platform.sql("superuser", "DROP ROLE some_member")
    # Before-images are nobody else's to read or to write.
    schema = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'tradingflow_data_update'"
    assert place.sql(schema) == [(place.owner,)]
    place.sql("GRANT USAGE ON SCHEMA tradingflow_data_update TO PUBLIC")
    with pytest.raises(DataUpdateError, match="is open to other roles"):
        place.run(LAST_LOGIN, action="undo")
