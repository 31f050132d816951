"""What whoever may make tables in the source wrote does not run with a superuser's rights, restored or drilled."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine as drill
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import hba, instance, logins
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.server import rows
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import engine as restore
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted
from psycopg2.extensions import encrypt_password

from tests.integration import drill_fixtures, test_restore_text
from tests.integration.drill_fixtures import statuses
from tests.integration.restore_fixtures import World, bad, restored
from tests.integration.test_backup import Make, connect, run_sql
from tests.integration.watched import Watched

place, drill_options = drill_fixtures.place, drill_fixtures.drill_options
older, world = test_restore_text.older, test_restore_text.world

#: Does what a superuser may whenever it runs, and lets nobody see that it failed. It tries to become one first.
EVIL = """
SET search_path = mallory, public;
CREATE FUNCTION spring(way text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE each text;
BEGIN
  FOREACH each IN ARRAY ARRAY['RESET SESSION AUTHORIZATION', 'RESET ROLE', 'SET ROLE {admin}',
    format('CREATE ROLE %I SUPERUSER', '{mark} planted by ' || way),
    format('COPY (SELECT 1) TO PROGRAM %L', 'touch "{folder}/' || way || '"'),
    format('COPY (SELECT 1) TO %L', '{folder}/' || way || ' file')]
  LOOP
    BEGIN EXECUTE each; EXCEPTION WHEN OTHERS THEN NULL; END;
  END LOOP;
  RETURN 1;
END $$;
CREATE FUNCTION trap(way text) RETURNS int LANGUAGE plpgsql IMMUTABLE
  AS $$ BEGIN RETURN mallory.spring(way); END $$;
CREATE FUNCTION sprung(value int, way text) RETURNS int LANGUAGE sql IMMUTABLE
  AS $$ SELECT value * mallory.trap(way) $$;
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql
  AS $$ BEGIN PERFORM mallory.trap('trigger'); RETURN NEW; END $$;
CREATE DOMAIN amount AS int CHECK (sprung(VALUE, 'domain') >= 0);
CREATE TABLE checked (i int CHECK (sprung(i, 'check') >= 0), m amount,
  g int GENERATED ALWAYS AS (sprung(i, 'generated')) STORED);
CREATE INDEX ON checked (sprung(i, 'index')) WHERE trap('index predicate') = 1;
CREATE TRIGGER fires BEFORE INSERT ON checked FOR EACH ROW EXECUTE FUNCTION fires();
CREATE TABLE parts (i int, CHECK (trap('planned check') = 1)) PARTITION BY RANGE (sprung(i, 'partition key'));
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
CREATE INDEX ON parts (sprung(i, 'partitioned index'));
CREATE FUNCTION added(amount, int) RETURNS amount LANGUAGE sql AS 'SELECT $1 + $2';
CREATE AGGREGATE total(int) (SFUNC = added, STYPE = amount, INITCOND = '0');
CREATE TYPE pair AS (a int, b text);
CREATE FUNCTION shown(pair) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN mallory.trap('cast')::text; END $$;
CREATE CAST (pair AS text) WITH FUNCTION shown(pair);
CREATE FUNCTION number(pair) RETURNS int LANGUAGE plpgsql IMMUTABLE
  AS $$ BEGIN RETURN $1.a * mallory.trap('key'); END $$;
CREATE CAST (pair AS int) WITH FUNCTION number(pair) AS IMPLICIT;
CREATE TABLE paired (p pair REFERENCES accounts (id));
CREATE TABLE built_in (i int CHECK (CASE WHEN current_setting('is_superuser') = 'on' THEN ts_rewrite('a', 'SELECT
  ''a''::tsquery, ''b''::tsquery FROM pg_largeobject_metadata WHERE lo_export(oid, ''{folder}/built in'') = 1')
  IS NOT NULL ELSE true END));
CREATE DOMAIN odd AS int CHECK (CASE WHEN current_setting('is_superuser') = 'on'
  THEN lo_from_bytea(0, 'planted') IS NOT NULL ELSE true END);
CREATE TABLE odd_parts (i odd, j int) PARTITION BY RANGE (i);
CREATE TABLE odd_parts_1 PARTITION OF odd_parts FOR VALUES FROM (0) TO (1000);
CREATE FUNCTION odd_added(odd, int) RETURNS odd LANGUAGE sql AS 'SELECT $1 + $2';
CREATE AGGREGATE odd_total(int) (SFUNC = odd_added, STYPE = odd, INITCOND = '0');
COMMENT ON AGGREGATE odd_total(int) IS 'odd'; GRANT EXECUTE ON FUNCTION odd_total(int) TO PUBLIC;
INSERT INTO odd_parts SELECT i, i FROM generate_series(1, 50) i;
CREATE FUNCTION late(wanted int) RETURNS text LANGUAGE sql STABLE BEGIN ATOMIC
  SELECT name FROM accounts WHERE id = wanted GROUP BY id; END;
CREATE TABLE later (i int CHECK (late(i) IS NOT NULL AND trap('late check') = 1));
CREATE TABLE restricted AS SELECT 1 AS i; REVOKE ALL ON restricted FROM {mallory};
INSERT INTO checked SELECT i, i FROM generate_series(1, 50) i; INSERT INTO parts SELECT generate_series(1, 50);
INSERT INTO paired SELECT (i, 'x')::pair FROM generate_series(1, 10) i; INSERT INTO built_in VALUES (1), (2);
INSERT INTO later VALUES (1), (2);
"""
#: What a superuser made of it.
LENT = """
CREATE TABLE lent (m mallory.amount); INSERT INTO lent VALUES (1), (2);
CREATE INDEX ON lent (mallory.sprung(m, 'lent index'));
DROP VIEW maintenance.heartbeat;
CREATE VIEW maintenance.heartbeat AS SELECT 'main' AS instance,
  timestamptz '2026-11-23 12:00:00+00' + mallory.trap('view') * interval '0' AS beat_at;
"""


class Mallory:
    """A role that may make tables, and what it made.

    :ivar folder: anybody may write there
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.name = f"{world.mark} mallory"
        self.folder = Path(tempfile.mkdtemp(prefix="tradingflow-planted-", dir="/var/tmp"))
        self.folder.chmod(0o777)
        role, where = quoted(self.name), quoted(world.name)
        run_sql(
            world.admin, f"CREATE ROLE {role} LOGIN PASSWORD 'm'; GRANT CREATE, CONNECT ON DATABASE {where} TO {role}"
        )
        run_sql(
            world.database,
            f"CREATE SCHEMA mallory AUTHORIZATION {role}; GRANT SELECT, REFERENCES ON accounts TO {role};"
            f"REVOKE CONNECT ON DATABASE {where} FROM PUBLIC",
        )
        words = {"mallory": role, "admin": quoted(world.admin["user"]), "mark": world.mark, "folder": self.folder}
        run_sql({**world.database, "user": self.name, "password": "m"}, EVIL.format(**words))
        run_sql(world.database, LENT)
        self.reader = {"user": f"{world.mark} reader", "password": "r"}
        reader = quoted(self.reader["user"])
        run_sql(
            world.admin,
            f"CREATE ROLE {reader} LOGIN PASSWORD 'r'; GRANT pg_read_all_data TO {reader};"
            f"GRANT CONNECT ON DATABASE {where} TO {reader}",
        )
        # What ran here, where it was written, does not count.
        self.forget()

    def forget(self) -> None:
        for name in self.roles():
            run_sql(self.world.admin, f"DROP ROLE {quoted(name)}")
        for path in self.folder.iterdir():
            path.unlink()

    def roles(self) -> list[str]:
        query = f"SELECT array_agg(rolname::text) FROM pg_roles WHERE rolname LIKE '{self.world.mark} planted%'"
        return self.world.value(query, "postgres") or []

    def planted(self) -> list[str]:
        """What a superuser did for it."""
        return sorted([*self.roles(), *(path.name for path in self.folder.iterdir())])

    def clean(self) -> None:
        self.forget()
        for name in self.world.databases():
            for role in (self.name, self.reader["user"]):
                run_sql({**self.world.admin, "name": name}, f"DROP OWNED BY {quoted(role)} CASCADE")
        for name in (self.name, self.reader["user"]):
            run_sql(self.world.admin, f"DROP OWNED BY {quoted(name)}; DROP ROLE {quoted(name)}")
        shutil.rmtree(self.folder)


@pytest.fixture
def mallory(world: World) -> Iterator[Mallory]:
    made = Mallory(world)
    world.back_up()
    made.forget()
    yield made
    made.clean()


def left_over(world: World) -> Any:
    """What the restore made for itself, and ought to be gone."""
    return world.value(
        "SELECT (SELECT json_agg(rolname) FROM pg_roles WHERE rolname LIKE 'tradingflow_restoring%') IS NULL"
        " AND NOT EXISTS (SELECT FROM pg_event_trigger) AND NOT EXISTS (SELECT FROM pg_proc WHERE prosecdef"
        " OR proconfig::text LIKE '%restoring%')"
    )


def test_whole(world: World, mallory: Mallory) -> None:
    world.spoil()
    checks, _, _ = restored(world.options(reader=mallory.reader))
    assert mallory.planted() == []
    assert bad(checks) == {}
    world.whole()
    assert left_over(world) is True
    owner = "SELECT proowner::regrole::text || obj_description(oid, 'pg_proc') FROM pg_proc WHERE proname = 'odd_total'"
    assert world.value(owner) == f"{quoted(mallory.name)}odd"
    tree = "SELECT json_agg(DISTINCT relowner::regrole::text) FROM pg_class WHERE relname LIKE 'odd_parts%'"
    assert world.value(tree) == [quoted(mallory.name)]
    assert [world.value(f"SELECT count(*) FROM mallory.{name}") for name in ("checked", "parts", "later")] == [
        50,
        50,
        2,
    ]
    assert world.value(
        "SELECT count(*) FROM pg_constraint WHERE connamespace = 'mallory'::regnamespace"
    ) == world.value(
        "SELECT count(*) FROM pg_constraint WHERE connamespace = 'mallory'::regnamespace",
        next(name for name in world.databases() if name != world.name),
    )


def test_roles_that_cannot_log_in_and_who_insists(
    world: World, mallory: Mallory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for how, names in (("peer", ["logins"]), ("md5", [])):
        rules = [("local", ["all"], ["all"], None, None, how, None), ("host", ["all"], ["all"], "all", None, how, None)]
        with monkeypatch.context() as patched:
            patched.setattr(hba, "rows", lambda on, query, found=rules: found if "hba" in query else rows(on, query))
            planned = restore.plan(world.options(reader=mallory.reader))
        assert [each["name"] for each in planned["refusals"]] == names
    monkeypatch.setattr(logins, "encrypt_password", lambda _password, *more: encrypt_password("another", *more))
    _, result, _ = restored(world.options(reader=mallory.reader))
    assert "cannot log in" in result["problem"]["message"]
    assert "restore_overrides: [source_functions]" in result["problem"]["remedy"]
    assert (world.databases(), mallory.planted()) == ([world.name], [])
    assert left_over(world) is True
    # With a superuser's rights it makes large objects, which would be missed.
    run_sql(world.database, "DROP TABLE mallory.odd_parts; DROP DOMAIN mallory.odd CASCADE")
    world.back_up()
    mallory.forget()
    chosen = world.options(reader=mallory.reader, overrides=["source_functions"], reason="we know mallory")
    checks, _, _ = restored(chosen)
    assert list(bad(checks)) == ["restore.source_functions"]
    assert mallory.name in checks["restore.source_functions"].message
    assert mallory.planted() != []


def test_drilled(world: World, mallory: Mallory, drill_options: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    real = instance.Instance.stop

    def stop(self: Any, *arguments: Any) -> None:
        if self.running() and not said:
            said.extend(planted_in(self))
        real(self, *arguments)

    monkeypatch.setattr(instance.Instance, "stop", stop)
    chosen = drill_options(world.backup, pg_bin_dir=world.platform.state["postgres"]["bin_dir"])
    result = drill.run(chosen, Watched())
    assert said == ["looked"]
    assert mallory.planted() == []
    assert result["problem"] is None
    assert statuses(result, chosen) == {"drill.rpo": "critical"}


def planted_in(server: Any) -> list[str]:
    found = connect(server.database("postgres"))
    try:
        with found.cursor() as cursor:
            cursor.execute("SELECT 'looked' UNION SELECT rolname FROM pg_roles WHERE rolname LIKE '%planted%'")
            return [row[0] for row in cursor.fetchall()]
    finally:
        found.close()


PLANTED_IN = [
    "mallory.checked",
    "mallory.parts",
    "mallory.paired",
    "mallory.built_in",
    "public.lent",
    "public.accounts",
]


def test_single_tables_beside_and_in_place(world: World, mallory: Mallory) -> None:
    """In the database that is there, live functions run: no superuser's rights for them either."""
    run_sql(world.database, "ALTER TABLE mallory.checked ENABLE ALWAYS TRIGGER fires")
    chosen = world.options(mode="tables", tables=PLANTED_IN, reader=mallory.reader)
    mallory.forget()
    checks, result, _ = restored({**chosen, "confirm": None})
    assert mallory.planted() == []
    assert bad(checks) == {}
    schema = f"restored_{world.point['id'].lower().replace('-', '_')}"
    owner = f"SELECT relowner::regrole::text FROM pg_class WHERE oid = '{schema}_1.checked'::regclass"
    assert world.value(owner) == quoted(mallory.name)
    assert left_over(world) is True
    remove_old(world, schema + "_1", schema + "_2")
    run_sql(world.database, "DELETE FROM mallory.paired; DELETE FROM mallory.checked WHERE i < 9; DELETE FROM lent")
    mallory.forget()
    checks, result, _ = restored({**chosen, "replace": True})
    assert mallory.planted() == []
    assert bad(checks) == {}
    assert [world.value(f"SELECT count(*) FROM {name}") for name in PLANTED_IN] == [50, 50, 10, 2, 2, 10]
    assert left_over(world) is True
    (kept,) = [each["name"] for each in result["kept"] if "mallory" in each["name"]]
    assert world.value(f"SELECT count(*) FROM {kept}.checked") == 42


def remove_old(world: World, *names: str) -> None:
    restore.run(world.options(mode="remove_old", remove_old=list(names)), Watched())


OWNED = """
CREATE SCHEMA closed; REVOKE ALL ON SCHEMA closed FROM PUBLIC;
CREATE TABLE closed.archive (id int PRIMARY KEY, note text); INSERT INTO closed.archive VALUES (1, 'a'), (2, 'b');
CREATE TABLE books (id int PRIMARY KEY, CHECK (id > 0)); INSERT INTO books SELECT generate_series(1, 20);
ALTER TABLE books OWNER TO {bob};
ALTER TABLE books ENABLE ROW LEVEL SECURITY; ALTER TABLE books FORCE ROW LEVEL SECURITY;
CREATE POLICY none ON books USING (false);
CREATE TABLE lines (id int, book int REFERENCES books, old int REFERENCES closed.archive (id)) PARTITION BY HASH (id);
CREATE TABLE lines_1 PARTITION OF lines FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE lines_2 PARTITION OF lines FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO lines SELECT i, i, 1 + i % 2 FROM generate_series(1, 20) i; CREATE INDEX ON lines (book);
ALTER TABLE lines OWNER TO {alice}; ALTER TABLE lines_1 OWNER TO {bob}; ALTER TABLE lines_2 OWNER TO {alice};
CREATE TABLE heir (more text) INHERITS (closed.archive);
INSERT INTO heir VALUES (3, 'c', 'd'); ALTER TABLE heir OWNER TO {bob};
CREATE TYPE feeling AS ENUM ('sad', 'glad'); ALTER TYPE feeling OWNER TO {bob};
CREATE TABLE felt (f feeling) PARTITION BY HASH (f);
CREATE TABLE felt_1 PARTITION OF felt FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE felt_2 PARTITION OF felt FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO felt VALUES ('sad'), ('glad'), ('glad');
ALTER TABLE felt OWNER TO {alice}; ALTER TABLE felt_1 OWNER TO {bob};
SELECT lo_from_bytea(4711, 'large'); ALTER LARGE OBJECT 4711 OWNER TO {bob};
GRANT SELECT ON LARGE OBJECT 4711 TO {alice};
CREATE UNLOGGED TABLE kept AS SELECT 1 AS i; ALTER TABLE kept OWNER TO {bob};
CREATE FUNCTION secret(i int) RETURNS bool LANGUAGE sql AS 'SELECT i > 0'; ALTER FUNCTION secret OWNER TO {alice};
REVOKE EXECUTE ON FUNCTION secret FROM PUBLIC; CREATE TABLE "o'd % ä" (i int CHECK (secret(i)), b text DEFAULT '%s');
INSERT INTO "o'd % ä" VALUES (1); ALTER TABLE "o'd % ä" OWNER TO {alice};
COMMENT ON CONSTRAINT lines_book_fkey ON lines IS 'to the book'; GRANT SELECT (id) ON books TO {alice};
ALTER TABLE closed.archive OWNER TO {alice}; REVOKE ALL ON closed.archive FROM {alice};
CREATE SEQUENCE numbers; SELECT setval('numbers', 77); ALTER SEQUENCE numbers OWNER TO {alice};
ALTER DEFAULT PRIVILEGES FOR ROLE {alice} GRANT SELECT ON TABLES TO {bob};
CREATE FUNCTION logged() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; ALTER FUNCTION logged OWNER TO {bob};
CREATE EVENT TRIGGER logged ON ddl_command_end EXECUTE FUNCTION logged();
ALTER DATABASE {database} CONNECTION LIMIT 0; REVOKE CONNECT ON DATABASE {database} FROM PUBLIC;
"""
#: Who owns what, and who may what, of all that is the dump's.
RIGHTS = """
WITH found(what, of, acl) AS (
  SELECT c.oid::regclass::text, json_build_array(c.relkind, c.relowner::regrole,
      c.relrowsecurity, c.relforcerowsecurity),
    coalesce(c.relacl, acldefault(CASE WHEN c.relkind = 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
  FROM pg_class c WHERE c.relnamespace IN ('public'::regnamespace, 'closed'::regnamespace)
  UNION ALL SELECT p.oid::regprocedure::text, json_build_array(p.proowner::regrole, p.prosecdef, p.proconfig), p.proacl
  FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
  UNION ALL SELECT n.nspname, json_build_array(n.nspowner::regrole), coalesce(n.nspacl, acldefault('n', n.nspowner))
  FROM pg_namespace n WHERE n.nspname !~ '^pg_'
  UNION ALL SELECT k.conname, json_build_array(k.convalidated, pg_get_constraintdef(k.oid),
    obj_description(k.oid)), NULL
  FROM pg_constraint k WHERE k.connamespace IN ('public'::regnamespace, 'closed'::regnamespace)
  UNION ALL SELECT l.oid::text, json_build_array(l.lomowner::regrole, lo_get(l.oid)::text), l.lomacl
  FROM pg_largeobject_metadata l WHERE l.oid = 4711
  UNION ALL SELECT 'database', json_build_array(d.datconnlimit), d.datacl FROM pg_database d
  WHERE datname = current_database())
SELECT json_agg(x ORDER BY x)::text FROM (SELECT json_build_array(
  what, of, (SELECT json_agg(i::text ORDER BY i::text) FROM unnest(acl) i))::text FROM found) t(x)"""


def test_owners_of_all_kinds_have_what_they_had(world: World, drill_options: Make) -> None:
    names = {name: quoted(f"{world.mark} {name}") for name in ("alice", "bob")}
    for role in names.values():
        run_sql(world.admin, f"CREATE ROLE {role}")
    try:
        run_sql(world.database, OWNED.format(**names, database=quoted(world.name)))
        wanted = world.value(RIGHTS)
        world.back_up()
        world.spoil()
        checks, _, _ = restored(world.options())
        assert bad(checks) == {}
        world.whole()
        assert world.value(RIGHTS) == wanted
        assert world.value("SELECT last_value FROM numbers") == 77
        assert left_over_roles(world) == 0
        chosen = drill_options(world.backup, pg_bin_dir=world.platform.state["postgres"]["bin_dir"])
        result = drill.run(chosen, Watched())
        assert result["problem"] is None
        assert statuses(result, chosen) == {"drill.rpo": "critical"}
        limit = f"ALTER DATABASE {quoted(world.name)} CONNECTION LIMIT "
        chosen = world.options(mode="tables", schemas=["public", "closed"], replace=True)
        (refusal,) = restore.plan(chosen)["refusals"]
        assert (refusal["name"], refusal["word"]) == ("logins", "source_functions")
        assert "CONNECTION LIMIT 0" in refusal["message"]
        run_sql(world.admin, limit + "-1")
        run_sql(world.database, "DELETE FROM lines WHERE id > 5; UPDATE heir SET more = 'x'")
        checks, result, _ = restored(chosen)
        assert bad(checks) == {}
        run_sql(world.admin, limit + "0")
        assert world.value("SELECT json_build_array((SELECT count(*) FROM lines), (SELECT more FROM heir))") == [
            20,
            "d",
        ]
        kept = [each["name"] for each in result["kept"]]
        remove_old(world, *kept)
        assert world.value(RIGHTS) == wanted
        assert left_over_roles(world) == 0
    finally:
        for name in world.databases():
            for role in names.values():
                run_sql({**world.admin, "name": name}, f"DROP OWNED BY {role} CASCADE")
        for role in names.values():
            run_sql(world.admin, f"DROP OWNED BY {role}; DROP ROLE {role}")


def left_over_roles(world: World) -> Any:
    return world.value("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tradingflow_restoring%'", "postgres")
