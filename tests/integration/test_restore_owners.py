"""Single tables of several owners: what one owner wrote never runs with another's rights, whatever it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted

from tests.integration import restore_fixtures, test_restore_text
from tests.integration.restore_fixtures import World, bad, restored
from tests.integration.test_backup import run_sql

place = restore_fixtures.place
older, world = test_restore_text.older, test_restore_text.world

#: Alice wants Bob's rows. Whatever of hers runs tries to read and to write them, and leaves traps for what runs later.
ALICE = """
SET search_path = alice;
CREATE TABLE loot (what text);
CREATE FUNCTION spring(way text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE each text;
BEGIN
  IF current_setting('is_superuser') = 'on' THEN RETURN 1; END IF;  -- the test's own backup
  FOREACH each IN ARRAY ARRAY[
    format('INSERT INTO alice.loot SELECT %L || max(note) FROM bob.books', way || ' read '),
    format('INSERT INTO bob.taken VALUES (%L)', way), 'SELECT setval(''bob.numbers'', 1000)',
    'SET ROLE {bob}', 'SET row_security = on',
    format('INSERT INTO alice.loot SELECT %L FROM bob.ruled WHERE i = 2', way || ' past a policy'),
    'CREATE TEMP TABLE seen (i int)',
    'CREATE TRIGGER fires BEFORE INSERT ON pg_temp.seen FOR EACH ROW EXECUTE FUNCTION alice.fires()',
    'ALTER TABLE pg_temp.seen ENABLE ALWAYS TRIGGER fires']
  LOOP
    BEGIN EXECUTE each; EXCEPTION WHEN OTHERS THEN NULL; END;
  END LOOP;
  RETURN 1;
END $$;
CREATE FUNCTION trap(way text) RETURNS int LANGUAGE plpgsql IMMUTABLE
  AS $$ BEGIN RETURN alice.spring(way); END $$;
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql
  AS $$ BEGIN PERFORM alice.spring('trigger'); RETURN NEW; END $$;
CREATE DOMAIN amount AS int CHECK (VALUE * trap('domain') >= 0);
CREATE TABLE lines (i int PRIMARY KEY CHECK (i * trap('check') >= 0), m amount,
  g int GENERATED ALWAYS AS (i * trap('generated')) STORED, of int);
CREATE INDEX ON lines ((i * trap('index'))) WHERE trap('predicate') = 1;
CREATE TRIGGER fires BEFORE INSERT ON lines FOR EACH ROW EXECUTE FUNCTION fires();
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON lines DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  EXECUTE FUNCTION fires();
CREATE TABLE tree (i int, CHECK (trap('tree') = 1)) PARTITION BY RANGE ((i * trap('partition key')));
CREATE TABLE tree_1 PARTITION OF tree FOR VALUES FROM (0) TO (100);
"""
BOB = """
CREATE TABLE bob.taken (what text);
CREATE FUNCTION bob.note(i int) RETURNS bool LANGUAGE plpgsql SET search_path = bob
  AS $$ BEGIN INSERT INTO seen VALUES (i); RETURN true; END $$;
CREATE FUNCTION bob.noted(i int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN bob.note(i); END $$;
CREATE TABLE bob.seen (i int);
CREATE TABLE bob.books (id int PRIMARY KEY CHECK (bob.noted(id)), note text);
CREATE TABLE bob.ruled (i int); INSERT INTO bob.ruled VALUES (1), (2);
ALTER TABLE bob.ruled ENABLE ROW LEVEL SECURITY; CREATE POLICY one ON bob.ruled USING (i = 1);
GRANT USAGE ON SCHEMA bob TO {alice}; GRANT SELECT ON bob.ruled TO {alice};
GRANT REFERENCES (id) ON bob.books TO {alice};
INSERT INTO bob.books SELECT i, 'secret' FROM generate_series(1, 10) i;
"""
ROWS = """
ALTER TABLE alice.lines ADD FOREIGN KEY (of) REFERENCES bob.books;
INSERT INTO alice.lines (i, m, of) SELECT i, i, i FROM generate_series(1, 10) i;
INSERT INTO alice.tree SELECT generate_series(1, 10);
"""
TABLES = ["alice.lines", "alice.tree", "bob.books"]


class Owners:
    """Two of them, each with a schema."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names = {name: f"{world.mark} {name}" for name in ("alice", "bob")}
        words = {name: quoted(role) for name, role in self.names.items()}
        for name, role in words.items():
            run_sql(world.admin, f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
            run_sql(world.database, f"CREATE SCHEMA {name} AUTHORIZATION {role}")
        for who, what in (("alice", ALICE), ("bob", BOB), ("alice", ROWS)):
            run_sql({**world.database, "user": self.names[who], "password": "p"}, what.format(**words))
        self.forget()

    def forget(self) -> None:
        run_sql(self.world.database, "TRUNCATE alice.loot, bob.taken, bob.seen")

    def taken(self) -> list[str]:
        query = "SELECT array_agg(DISTINCT what) FROM (SELECT * FROM alice.loot UNION SELECT * FROM bob.taken) t"
        return self.world.value(query) or []

    def clean(self) -> None:
        for name in self.world.databases():
            for role in self.names.values():
                run_sql({**self.world.admin, "name": name}, f"DROP OWNED BY {quoted(role)} CASCADE")
        for role in self.names.values():
            run_sql(self.world.admin, f"DROP OWNED BY {quoted(role)}; DROP ROLE {quoted(role)}")


@pytest.fixture
def owners(world: World) -> Iterator[Owners]:
    made = Owners(world)
    yield made
    made.clean()


def test_nobody_gets_anothers_rights(world: World, owners: Owners) -> None:
    run_sql(
        world.database,
        f"ALTER TABLE alice.lines ENABLE ALWAYS TRIGGER fires; CREATE SEQUENCE bob.numbers; ALTER SEQUENCE bob.numbers"
        f" OWNER TO {quoted(owners.names['bob'])}; ALTER TABLE alice.lines ADD COLUMN n int DEFAULT 9, ALTER COLUMN n"
        " SET DEFAULT nextval('bob.numbers'), ADD COLUMN own serial",
    )
    world.back_up()
    owners.forget()
    checks, _, _ = restored(world.options(mode="tables", tables=TABLES))
    assert owners.taken() == []
    assert bad(checks) == {}
    schema = f"restored_{world.point['id'].lower().replace('-', '_')}"
    owner = "SELECT json_agg(relowner::regrole::text) FROM pg_class WHERE relname IN ('lines', 'books', 'tree_1')"
    owner += f" AND relnamespace::regnamespace::text LIKE '{schema}%'"
    assert sorted(world.value(owner)) == sorted(quoted(owners.names[each]) for each in ("alice", "alice", "bob"))
    run_sql(world.database, f"DROP SCHEMA {schema}_1, {schema}_2 CASCADE; DELETE FROM alice.lines WHERE i < 4")
    run_sql(world.database, "DELETE FROM bob.books WHERE id < 4; UPDATE bob.books SET note = 'new'")
    owners.forget()
    # At the commit it would run after what bob's functions left in the session, and his after what hers did.
    run_sql(world.database, "ALTER TABLE alice.lines ENABLE ALWAYS TRIGGER late")
    chosen = world.options(mode="tables", tables=TABLES, replace=True)
    _, result, _ = restored(chosen)
    (refusal,) = result["refusals"]
    assert (refusal["name"], refusal["word"]) == ("deferred", "source_functions")
    assert "late of alice.lines" in refusal["message"]
    run_sql(world.database, "ALTER TABLE alice.lines ENABLE TRIGGER late")
    checks, result, _ = restored(chosen)
    assert owners.taken() == []
    assert list(bad(checks)) == ["restore.sequences"]
    assert "bob.numbers (of alice.lines)" in checks["restore.sequences"].message
    # It is no business of hers, other than her own.
    numbers = "SELECT json_build_array((SELECT last_value FROM {}), (SELECT last_value FROM alice.lines_own_seq))"
    assert world.value(numbers.format("bob.numbers")) == [1, 10]
    assert [world.value(f"SELECT count(*) FROM {name}") for name in TABLES] == [10, 10, 10]
    assert world.value("SELECT count(*) FROM bob.seen") > 0
    names = {each["name"].split("_before")[0]: each["name"] for each in result["kept"]}
    assert world.value(f"SELECT count(*) FROM {names['alice']}.lines") == 7
    assert world.value("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tradingflow_restoring%'", "postgres") == 0
    assert world.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tradingflow%'") == 0


def test_keys_between_owners_are_looked_at(world: World, owners: Owners) -> None:
    run_sql(
        world.database,
        "ALTER TABLE bob.books FORCE ROW LEVEL SECURITY; ALTER TABLE bob.books ENABLE ROW LEVEL"
        " SECURITY; CREATE POLICY none ON bob.books USING (false)",
    )
    world.back_up()
    run_sql(
        world.database,
        "DELETE FROM alice.lines WHERE of = 3; ALTER TABLE bob.books DISABLE TRIGGER ALL;"
        "DELETE FROM bob.books WHERE id = 3",
    )
    # What alice's function leaves in the session hides all foreign keys from who looks without saying where.
    run_sql(
        world.database,
        "CREATE TABLE alice.pg_constraint (LIKE pg_catalog.pg_constraint); GRANT SELECT ON alice.pg_constraint TO"
        " PUBLIC; GRANT USAGE ON SCHEMA alice TO PUBLIC; CREATE OR REPLACE FUNCTION alice.spring(way text) RETURNS"
        " int LANGUAGE sql AS $$SELECT least(1, length(set_config('search_path', 'alice, pg_catalog', false)))$$",
    )
    _, result, _ = restored(world.options(mode="tables", tables=["alice.lines"], replace=True))
    assert "1 rows of alice.lines would have no partner in bob.books" in result["problem"]["message"]
    assert world.value("SELECT count(*) FROM alice.lines") == 9
