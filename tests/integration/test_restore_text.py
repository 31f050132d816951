"""Restoring what was dumped as it is: names and settings that look like statements, and all of a database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine as backup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_spec
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import server
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres.instance import Instance, account
from ansible_collections.tradingflow.maintenance.plugins.module_utils._restore import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted

from tests.conftest import Sandbox, left_out
from tests.integration import restore_fixtures
from tests.integration.restore_fixtures import World, bad, restored
from tests.integration.test_backup import fetch, run_sql

place = restore_fixtures.place
#: The oldest server that is looked after here, where its programs are.
OLDER = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="module")
def older(platform: Sandbox, place: Path) -> Iterator[Sandbox]:
    """The sandbox with a PostgreSQL 15 in the place of its own."""
    if not OLDER.is_dir():
        left_out("PostgreSQL 15 is not installed (apt-get install postgresql-15)")
    place.chmod(0o711)
    folder = place / "older"
    folder.mkdir()
    folder.chmod(0o711)
    programs = {name: str(OLDER / name) for name in ("initdb", "postgres")}
    with Instance(folder, programs, account(None), {}) as instance:
        instance.start(lambda: None)
        ours = {
            "host": "127.0.0.1",
            "port": instance.port,
            "bin_dir": str(OLDER),
            "database": "postgres",
            "superuser": instance.superuser,
            "superuser_password": instance.password,
            "maintenance_user": instance.superuser,
            "maintenance_password": instance.password,
        }
        yield Sandbox({**platform.state, "postgres": {**platform.state["postgres"], **ours}}, platform.environment)


@pytest.fixture(params=["newest", "older"])
def world(request: pytest.FixtureRequest, tmp_path: Path, place: Path) -> Iterator[World]:
    """A world of the test's own, on either server."""
    name = "platform" if request.param == "newest" else request.param
    made = World(request.getfixturevalue(name), tmp_path, place)
    yield made
    made.clean()


class Roles:
    """Roles of the test's own, gone at its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.made: list[str] = []

    def make(self, name: str, rights: str = "LOGIN") -> str:
        """Makes one, and gives its name quoted."""
        role = f"{self.world.mark} {name}"
        self.made.append(role)
        run_sql(self.world.admin, f"CREATE ROLE {quoted(role)} {rights}")
        return quoted(role)

    def clean(self) -> None:
        owned = "".join(f"DROP OWNED BY {quoted(each)};" for each in self.there()) or "SELECT"
        for name in self.world.databases():
            run_sql({**self.world.admin, "name": name}, owned)
            run_sql(self.world.admin, f"ALTER DATABASE {quoted(name)} OWNER TO CURRENT_USER")
        run_sql(self.world.admin, owned)
        for each in self.there():
            run_sql(self.world.admin, f"DROP ROLE {quoted(each)}")

    def there(self) -> list[str]:
        query = "SELECT coalesce(json_agg(rolname)::text, '[]') FROM pg_roles"
        return [each for each in json.loads(self.world.value(query, "postgres")) if each.startswith(self.world.mark)]


@pytest.fixture
def roles(world: World) -> Iterator[Roles]:
    made = Roles(world)
    yield made
    made.clean()


def settings(world: World, name: str) -> dict[str, list[str]]:
    """What is set for a database: for all, and by role."""
    query = f"""SELECT coalesce(json_object_agg(coalesce(rolname, ''), setconfig)::text, '{{}}')
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
    WHERE datname = '{name.replace("'", "''")}'"""
    found: dict[str, list[str]] = json.loads(world.value(query, "postgres"))
    return found


def about(world: World, name: str) -> Any:
    """Owner, rights, limit and comment of a database."""
    query = f"""SELECT json_build_array(datdba::regrole::text, ARRAY(SELECT a::text FROM unnest(datacl) a ORDER BY 1),
    datconnlimit, shobj_description(oid, 'pg_database'))::text FROM pg_database
    WHERE datname = '{name.replace("'", "''")}'"""
    return json.loads(world.value(query, "postgres"))


def test_a_login_role_cannot_plant_a_superuser(world: World, roles: Roles) -> None:
    """Whatever it puts into its settings, the comment on it, or the settings of the database it owns."""
    evil = f"{world.mark} evil"
    inject = f"x\nCREATE ROLE {quoted(evil)} SUPERUSER LOGIN;\nALTER ROLE {quoted(world.mark + ' me')} SUPERUSER;\n"
    inject += "\\! touch /tmp/evil\n\\connect postgres\n$$ -- /* ' \" ;"
    literal = "E'" + inject.replace("\\", "\\\\").replace("'", "''") + "'"
    me, odd = roles.make("me"), roles.make('o"dd\nCREATE ROLE x SUPERUSER; --\\ $$', "NOLOGIN")
    run_sql(
        world.admin,
        f"SET ROLE {me}; ALTER ROLE {me} SET search_path = {literal}, b; ALTER ROLE {me} SET application_name = 'a\\b';"
        f"RESET ROLE; COMMENT ON ROLE {me} IS {literal}; GRANT {odd} TO {me}; ALTER ROLE {odd} SET DateStyle = 'ISO';"
        f"ALTER DATABASE {quoted(world.name)} OWNER TO {me}; SET ROLE {me};"
        f"COMMENT ON DATABASE {quoted(world.name)} IS {literal};"
        f"ALTER DATABASE {quoted(world.name)} SET search_path = {literal};"
        f"ALTER ROLE {me} IN DATABASE {quoted(world.name)} SET search_path = {literal}",
    )
    world.back_up()
    query = f"SELECT rolconfig::text FROM pg_roles WHERE rolname = '{world.mark} me'"
    before = world.value(query)
    run_sql(world.admin, f"DROP DATABASE {quoted(world.name)} WITH (FORCE)")
    run_sql(world.admin, f"DROP ROLE {odd}, {me}")
    checks, _, _ = restored(world.options())
    assert list(bad(checks)) == ["restore.roles", "restore.data_loss"]
    assert set(roles.there()) == set(roles.made)
    assert (
        world.value("SELECT count(*) FROM pg_roles WHERE rolname ~ 'evil' OR (rolsuper AND rolname <> current_user)")
        == 0
    )
    assert world.value(query) == before
    assert about(world, world.name)[3] == inject
    found = settings(world, world.name)
    assert {name: len(each) for name, each in found.items()} == {"": 1, f"{world.mark} me": 1}
    assert world.value("SELECT count(*) FROM public.orders") == 500


def test_all_of_a_database_comes_back_with_it_and_touches_no_other(world: World, roles: Roles) -> None:
    """In its place, beside, and when it is gone."""
    me, you = roles.make("me"), roles.make("you")
    name = quoted(world.name)
    run_sql(
        world.admin,
        f"ALTER DATABASE {name} SET work_mem = '5MB'; ALTER ROLE {me} IN DATABASE {name} SET work_mem = '6MB';"
        f"ALTER ROLE {me} IN DATABASE {name} SET search_path = 'a b', \"$user\"; ALTER DATABASE {name} OWNER TO {me};"
        f"ALTER DATABASE {name} CONNECTION LIMIT 9; GRANT CREATE ON DATABASE {name} TO {you} WITH GRANT OPTION;"
        f"SET ROLE {you}; GRANT CREATE ON DATABASE {name} TO pg_monitor; RESET ROLE;"
        f"REVOKE TEMPORARY ON DATABASE {name} FROM public; COMMENT ON DATABASE {name} IS 'a''b'",
    )
    world.back_up()
    wanted, as_it_is = settings(world, world.name), about(world, world.name)
    assert len(wanted) == 2
    # Since then somebody set otherwise: a restore beside leaves that alone.
    run_sql(
        world.admin,
        f"ALTER ROLE {me} IN DATABASE {name} SET work_mem = '7MB'; ALTER DATABASE {name} SET work_mem = '8MB';"
        f"ALTER DATABASE {name} CONNECTION LIMIT 3; COMMENT ON DATABASE {name} IS 'other';"
        f"ALTER ROLE {you} IN DATABASE {name} SET work_mem = '9MB'",
    )
    live = settings(world, world.name), about(world, world.name)
    other = f"{world.mark} copy"
    checks, _, _ = restored(world.options(target_database=other, confirm=None, parts=["database"]))
    assert list(bad(checks)) == ["restore.data_loss"]
    assert (settings(world, world.name), about(world, world.name)) == live
    assert (settings(world, other), about(world, other)) == (wanted, as_it_is)
    # In its place: with what it had, and what is kept aside keeps its own.
    checks, result, _ = restored(world.options())
    assert bad(checks) == {}
    assert (settings(world, world.name), about(world, world.name)) == (wanted, as_it_is)
    (kept,) = [each["name"] for each in result["kept"] if each["kind"] == "database"]
    assert (settings(world, kept), about(world, kept)) == live
    # When it is gone, and whoever had settings in it too.
    for each in world.databases():
        run_sql(world.admin, f"DROP DATABASE {quoted(each)} WITH (FORCE)")
    run_sql(world.admin, f"DROP ROLE {me}")
    checks, _, _ = restored(world.options())
    assert set(bad(checks)) == {"restore.roles", "restore.data_loss"}
    assert (settings(world, world.name), about(world, world.name)) == (wanted, as_it_is)


ATTACHED = """
CREATE INDEX "odd; in\ndex" ON orders (quantity); COMMENT ON INDEX "odd; in\ndex" IS 'i';
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION nothing(); COMMENT ON TRIGGER t ON orders IS 't';
COMMENT ON CONSTRAINT orders_pkey ON orders IS 'c'; COMMENT ON CONSTRAINT orders_account_fkey ON orders IS 'f';
CREATE RULE r AS ON INSERT TO accounts WHERE NEW.id < 0 DO INSTEAD NOTHING; COMMENT ON RULE r ON accounts IS 'r';
CREATE POLICY p ON accounts TO public USING (true); COMMENT ON POLICY p ON accounts IS 'p';
CREATE PUBLICATION pub FOR TABLE orders; COMMENT ON PUBLICATION pub IS 'pub';
ALTER TABLE orders ADD CONSTRAINT old CHECK (quantity < 0) NOT VALID; COMMENT ON CONSTRAINT old ON orders IS 'old';
CREATE STATISTICS st ON account, quantity FROM orders; COMMENT ON STATISTICS st IS 's';
DO $$ BEGIN EXECUTE (SELECT format('COMMENT ON LARGE OBJECT %s IS ''l''; GRANT SELECT ON LARGE OBJECT %s TO public',
  min(oid), min(oid)) FROM pg_largeobject_metadata); END $$;
CREATE SCHEMA "DATA"; CREATE TABLE "DATA"."public orders" AS SELECT 1 AS a;
GRANT SELECT ON orders TO pg_monitor; GRANT UPDATE (quantity) ON orders TO pg_monitor;
CREATE FUNCTION never() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no DDL here''; END';
CREATE EVENT TRIGGER never ON ddl_command_start EXECUTE FUNCTION never(); COMMENT ON EVENT TRIGGER never IS 'e';
"""


def test_single_tables_whatever_is_attached_to_others(world: World) -> None:
    """Comments and rights on what is not restored, and an event trigger that forbids DDL, in dump and target."""
    run_sql(world.database, ATTACHED)
    world.back_up()
    run_sql(world.database, "DELETE FROM orders; UPDATE accounts SET name = 'wrong'")
    checks, _, _ = restored(world.options(mode="tables", tables=["public.orders"], confirm=None))
    assert bad(checks) == {}
    schema = f"restored_{world.point['id'].lower().replace('-', '_')}"
    assert world.value(f"SELECT count(*) FROM {schema}.orders") == 500
    assert world.value(f"SELECT obj_description('{schema}.orders_pkey'::regclass)") is None
    assert world.value(f"SELECT count(*) FROM pg_indexes WHERE schemaname = '{schema}'") == 2
    query = f"SELECT has_column_privilege('pg_monitor', '{schema}.orders', 'quantity', 'UPDATE')"
    assert world.value(query) is True
    assert world.value(f"SELECT nextval('{schema}.orders_id_seq')") == 501
    engine.run(world.options(mode="remove_old", remove_old=[schema]), Progress())
    run_sql(world.database, "SET session_replication_role = replica; ALTER TABLE orders DROP CONSTRAINT old")
    chosen = world.options(mode="tables", tables=["public.orders", "public.accounts"], replace=True)
    checks, _, _ = restored(chosen)
    assert bad(checks) == {}
    world.whole()
    # An event trigger that is always on is kept still where PostgreSQL can.
    run_sql(world.database, "SET session_replication_role = replica; ALTER EVENT TRIGGER never ENABLE ALWAYS")
    checks, _, _ = restored(world.options(mode="tables", tables=["DATA.public orders"], confirm=None))
    if world.value("SELECT current_setting('server_version_num')::int") < 170000:
        assert "always on may forbid what a restore does: never" in checks["restore.refused:event_triggers"].message
    else:
        assert bad(checks) == {}


MOVING = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy', 'a', 'b', 'c', 'd', 'e');
CREATE TABLE feelings (id int, mood mood, PRIMARY KEY (id, mood)) PARTITION BY HASH (mood);
CREATE TABLE feelings_1 PARTITION OF feelings FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE feelings_2 PARTITION OF feelings FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE feelings_3 PARTITION OF feelings FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO feelings SELECT i, (enum_range(NULL::mood))[1 + i % 8] FROM generate_series(1, 800) i;
CREATE FOREIGN DATA WRAPPER down; CREATE SERVER down FOREIGN DATA WRAPPER down;
CREATE TABLE prices (id int, day int) PARTITION BY RANGE (day);
CREATE TABLE prices_1 PARTITION OF prices FOR VALUES FROM (1) TO (100);
CREATE FOREIGN TABLE prices_2 PARTITION OF prices FOR VALUES FROM (100) TO (200) SERVER down;
INSERT INTO prices SELECT i, i % 99 + 1 FROM generate_series(1, 300) i;
"""


def test_rows_that_move_between_partitions_and_a_partition_whose_server_is_down(world: World) -> None:
    run_sql(world.database, MOVING)
    which = "SELECT json_object_agg(mood, tableoid::regclass)::text FROM feelings"
    before = world.value(which)
    world.back_up()
    run_sql(world.database, "DELETE FROM feelings; DELETE FROM prices_1")
    # The enum's values have other numbers in the restored database, and other hashes.
    checks, _, _ = restored(world.options())
    assert list(bad(checks)) == ["restore.statistics"]
    assert "public.prices" in checks["restore.statistics"].message
    assert world.value("SELECT count(*) FROM feelings") == 800
    assert world.value("SELECT count(*) FROM prices_1") == 300
    assert world.value("SELECT reltuples FROM pg_class WHERE relname = 'prices_1'") == 300
    assert world.value("SELECT count(*) FROM pg_stats WHERE tablename IN ('feelings', 'feelings_1')") == 4
    assert json.loads(world.value(which)) != json.loads(before)
    # Single tables: by their root, whose rows are replaced.
    run_sql(world.database, "DELETE FROM feelings WHERE id % 2 = 0")
    checks, _, _ = restored(world.options(mode="tables", tables=["public.feelings"], replace=True))
    assert bad(checks) == {}
    assert world.value("SELECT count(*) FROM feelings") == 800
    checks, _, _ = restored(world.options(mode="tables", tables=["public.feelings_1"], confirm=None))
    assert checks["restore.failed:restore"].remedy == "Restore the whole of public.feelings."


def test_what_cannot_be_made_after_the_rows_does_not_keep_the_rows_away(world: World) -> None:
    run_sql(
        world.database,
        "CREATE EXTENSION postgres_fdw; CREATE SERVER gone FOREIGN DATA WRAPPER postgres_fdw"
        " OPTIONS (host '127.0.0.1', port '1'); CREATE USER MAPPING FOR PUBLIC SERVER gone;"
        "CREATE FOREIGN TABLE abroad (id int) SERVER gone; CREATE INDEX at_home ON orders (account);"
        "CREATE MATERIALIZED VIEW copied AS SELECT id FROM abroad WITH NO DATA;"
        # As if it had been filled while the other server was there.
        "UPDATE pg_class SET relispopulated = true WHERE relname = 'copied'",
    )
    world.back_up()
    run_sql(world.database, "DELETE FROM orders")
    _, result, _ = restored(world.options())
    assert "REFRESH MATERIALIZED VIEW public.copied" in result["problem"]["message"]
    assert "restore_overrides: [incomplete]" in result["problem"]["remedy"]
    assert world.databases() == [world.name]
    checks, _, _ = restored(world.options(overrides=["incomplete"], reason="the other server is gone too"))
    assert list(bad(checks)) == ["restore.incomplete"]
    assert checks["restore.incomplete"].status == "critical"
    assert "REFRESH MATERIALIZED VIEW public.copied" in checks["restore.incomplete"].message
    world.whole()
    assert world.value("SELECT count(*) FROM pg_indexes WHERE indexname IN ('at_home', 'orders_pkey')") == 2
    assert world.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = 'orders'::regclass") == 1


def test_old_rows_of_schemas_with_long_names_that_begin_alike(world: World) -> None:
    names = ["ä" * 31 + "a", "ä" * 31 + "b", "ä" * 31 + "c"]
    for number, name in enumerate(names):
        run_sql(world.database, f"CREATE SCHEMA {name}; CREATE TABLE {name}.t AS SELECT {number} AS i")
    world.back_up()
    for name in names:
        run_sql(world.database, f"UPDATE {name}.t SET i = i + 100")
    checks, result, _ = restored(world.options(mode="tables", schemas=names, replace=True))
    assert bad(checks) == {}
    assert [world.value(f"SELECT i FROM {name}.t") for name in names] == [0, 1, 2]
    old = [world.value(f"SELECT i FROM {quoted(each['name'])}.t") for each in result["kept"]]
    assert sorted(old) == [100, 101, 102]
    assert all(len(each["name"].encode()) <= 63 for each in result["kept"])


def test_no_password_of_a_subscription_is_in_the_dump(world: World) -> None:
    secret = "hush-hush-subscription"
    run_sql(
        world.database,
        f"CREATE SUBSCRIPTION \"fe ed\" CONNECTION 'host=127.0.0.1 port=1 password={secret}' PUBLICATION p"
        " WITH (connect = false);"
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER venue FOREIGN DATA WRAPPER w;"
        "CREATE USER MAPPING FOR CURRENT_USER SERVER venue OPTIONS (user 'x', password 'y')",
    )
    try:
        result = backup.create(world.backup, Progress())
        for entry in result["recovery_point"]["objects"]:
            if entry["role"] == "table of contents":
                assert secret.encode() not in fetch(world.backup, entry["key"])
        checks, _ = backup_spec.findings(result, "2026-11-23T00:00:00Z")
        found = {check.id: check for check in checks}
        assert "fe ed" in found["backup.subscriptions"].message
        assert f"venue for {world.admin['user']}" in found["backup.user_mappings"].message
        assert secret not in json.dumps(result)
    finally:
        run_sql(
            world.database,
            'ALTER SUBSCRIPTION "fe ed" DISABLE; ALTER SUBSCRIPTION "fe ed" SET (slot_name = NONE);'
            'DROP SUBSCRIPTION "fe ed"',
        )


HOSTILE = """
ALTER DATABASE {name} SET default_transaction_read_only = on; ALTER DATABASE {name} SET statement_timeout = '2s';
ALTER DATABASE {name} SET standard_conforming_strings = off; ALTER DATABASE {name} SET search_path = 'nowhere';
ALTER DATABASE {name} SET DateStyle = 'SQL, DMY'; ALTER DATABASE {name} SET bytea_output = 'escape';
ALTER DATABASE {name} SET lock_timeout = '2s'; ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '2s';
ALTER DATABASE {name} SET check_function_bodies = on; ALTER DATABASE {name} SET default_tablespace = 'nowhere';
ALTER DATABASE {name} CONNECTION LIMIT 0; ALTER DATABASE {name} IS_TEMPLATE true;
"""


def test_settings_of_a_database_that_stand_in_the_way(world: World) -> None:
    run_sql(world.database, 'CREATE TABLE "o\\dd" (id serial); INSERT INTO "o\\dd" SELECT FROM generate_series(1, 7)')
    run_sql(world.admin, HOSTILE.format(name=quoted(world.name)))
    world.back_up()
    free = "SET transaction_read_only = off; SET statement_timeout = 0; SET search_path = public;"
    run_sql(world.database, f"{free} DELETE FROM orders; DELETE FROM \"o\\dd\"; UPDATE accounts SET name = 'wrong'")
    tables = ["public.orders", "public.accounts", "public.o\\dd"]
    checks, result, _ = restored(world.options(mode="tables", tables=tables, replace=True))
    assert bad(checks) == {}
    for each in result["kept"]:
        assert engine.run(world.options(mode="remove_old", remove_old=[each["name"]]), Progress())["removed"]
    for _time in range(2):
        checks, _, _ = restored(world.options())
        assert bad(checks) == {}
        assert world.value(f"{free} SELECT count(*) FROM orders") == 500
        assert world.value(f'{free} SELECT count(*) FROM "o\\dd"') == 7
        assert len(settings(world, world.name)[""]) == 10


@pytest.mark.parametrize("how", ["closed", "half dropped", "files gone"])
def test_a_database_that_nobody_can_connect_to_is_what_a_restore_is_for(world: World, how: str) -> None:
    lost = None
    if how == "closed":
        run_sql(world.admin, f"ALTER DATABASE {quoted(world.name)} ALLOW_CONNECTIONS false")
    elif how == "half dropped":
        oid = world.value("SELECT oid::text FROM pg_database WHERE datname = current_database()")
        run_sql(world.admin, f"UPDATE pg_database SET datconnlimit = -2 WHERE oid = {oid}")
    else:
        run_sql(world.admin, "CHECKPOINT")
        lost = Path(world.value("SELECT current_setting('data_directory') || '/' || pg_relation_filepath('pg_class')"))
        lost.rename(lost.with_suffix(".lost"))
    try:
        # Nobody sees whether it is empty: whoever replaces it says so.
        plan = engine.plan(world.options(confirm=None))
        assert [each["name"] for each in plan["refusals"]] == ["confirmation"]
        assert "without a look into it" in plan["refusals"][0]["message"]
        checks, result, _ = restored(world.options())
        # What is lost is not to be seen either, and is taken to be all until now.
        assert set(bad(checks)) <= {"restore.data_loss"}
        world.whole()
        kept = [each["name"] for each in result["kept"] if each["kind"] == "database"]
        assert sorted(world.databases()) == sorted([world.name, *kept])
    finally:
        run_sql(world.admin, "UPDATE pg_database SET datconnlimit = -1 WHERE datconnlimit = -2")
        if lost:
            lost.with_suffix(".lost").rename(lost)


def test_a_server_that_was_frozen_before_the_restore(world: World) -> None:
    role = quoted(world.admin["user"])
    run_sql(world.admin, f"ALTER ROLE {role} SET default_transaction_read_only = on")
    try:
        for _time in range(2):
            checks, _, _ = restored(world.options())
            assert bad(checks) == {}
            world.whole()
        kept = [name for name in world.databases() if name != world.name]
        assert len(kept) == 2
        engine.run(world.options(mode="remove_old", remove_old=kept), Progress())
        assert world.databases() == [world.name]
    finally:
        with server.elsewhere(world.admin) as connection:
            server.run(connection, f"ALTER ROLE {role} RESET ALL")
