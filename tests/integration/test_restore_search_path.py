"""Functions that find others by a search_path, which a restore has not: the backup warns, and there is a way out."""

from __future__ import annotations

from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import engine as backup
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options as backup_spec
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup.search_paths import _named
from ansible_collections.tradingflow.maintenance.plugins.module_utils._drill import engine as drill
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress

from tests.integration import drill_fixtures, restore_fixtures
from tests.integration.restore_fixtures import World, bad, restored
from tests.integration.test_backup import Make, run_sql

place, world, drill_options = drill_fixtures.place, restore_fixtures.world, drill_fixtures.drill_options

UNFOUND = """
CREATE SCHEMA "my App"; SET search_path = "my App", public;
CREATE TABLE "limits" AS SELECT 1000 AS most;
CREATE FUNCTION inner_of(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT i + 1';
CREATE FUNCTION outer_of(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN i + 1; END';
CREATE FUNCTION between_of(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT "my App".outer_of(i)';
CREATE FUNCTION allowed(i int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN i < (SELECT most FROM limits); END';
CREATE FUNCTION well(i int) RETURNS int LANGUAGE sql IMMUTABLE SET search_path = "my App" AS 'SELECT inner_of(i)';
CREATE FUNCTION nobodys(i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT inner_of(i)';
CREATE DOMAIN lots AS int CHECK (allowed(VALUE));
CREATE TABLE fills (i int CONSTRAINT sane CHECK (between_of(i) > 0), w int CHECK (well(w) > 0), n lots,
  g int GENERATED ALWAYS AS (outer_of(i)) STORED, CONSTRAINT old CHECK (nobodys(i) > 0) NOT VALID);
ALTER TABLE fills DROP CONSTRAINT old;
CREATE INDEX by_outer ON fills (outer_of(i));
CREATE MATERIALIZED VIEW summed AS SELECT sum(outer_of(i)) FROM fills;
INSERT INTO fills SELECT i, i, i FROM generate_series(1, 100) i; REFRESH MATERIALIZED VIEW summed;
CREATE OR REPLACE FUNCTION outer_of(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE
  AS $$ BEGIN /* other_of( */ RETURN inner_of($1); END $$;
"""


def warned(world: World) -> tuple[Any, Any]:
    result = backup.create(world.backup, Progress())
    found = {check.id: check for check in backup_spec.findings(result, "2026-11-23T00:00:00Z")[0]}
    return found.get("backup.search_path"), result


def test_backup_warns_drill_says_it_and_a_restore_has_a_way_out(world: World, drill_options: Make) -> None:
    assert warned(world)[0] is None
    run_sql(world.database, UNFOUND)
    check, _ = warned(world)
    assert check.status == "warning"
    assert check.details["unfound"] == [
        'CHECK constraint lots_check of "my App".lots: "my App".allowed(integer) reads limits',
        'CHECK constraint sane of "my App".fills: "my App".outer_of(integer) calls inner_of',
        'generated column g of "my App".fills: "my App".outer_of(integer) calls inner_of',
        'index "my App".by_outer: "my App".outer_of(integer) calls inner_of',
        'materialized view "my App".summed: "my App".outer_of(integer) calls inner_of',
    ]
    chosen = drill_options(world.backup, pg_bin_dir=world.platform.state["postgres"]["bin_dir"])
    problem = drill.run(chosen, Progress())["problem"]
    assert "does not exist" in problem["message"]
    assert "ALTER FUNCTION ... SET search_path" in problem["remedy"]
    world.spoil()
    _, result, _ = restored(world.options())
    assert "does not exist" in result["problem"]["message"]
    assert "restore_search_path" in result["problem"]["remedy"]
    checks, _, _ = restored(world.options(search_path=["my App", "public"]))
    assert set(bad(checks)) <= {"restore.rows", "restore.digests"}
    world.whole()
    assert world.value('SELECT count(*) FROM "my App".fills') == 100
    assert world.value('SELECT sum FROM "my App".summed') == 5150
    # As it was, the one with a path of its own too.
    assert world.value("SELECT array_agg(proname::text) FROM pg_proc WHERE proconfig IS NOT NULL") == ["well"]
    assert world.value("SELECT count(*) FROM pg_event_trigger") == 0
    # Single tables call the functions that are there.
    chosen = world.options(mode="tables", tables=["my App.fills"], search_path=["my App"], confirm=None)
    _, result, _ = restored(chosen)
    assert "does not change functions that are in use" in result["problem"]["remedy"]
    run_sql(
        world.database,
        'ALTER FUNCTION "my App".outer_of SET search_path = "my App";'
        'ALTER FUNCTION "my App".allowed SET search_path = "my App"',
    )
    checks, _, _ = restored(chosen)
    assert set(bad(checks)) <= {"restore.rows", "restore.digests"}
    assert warned(world)[0] is None


def test_words_of_a_function() -> None:
    text = 'SELECT a.b(c), \'d(\', $$e($$, "F""g" (1) -- h(\n /* i( */ FROM t JOIN s.u ON true, lower(x) FROM "V"'
    assert list(_named(text)) == [
        ("b", True, False),
        ('F"g', False, False),
        ("t", False, True),
        ("lower", False, False),
        ("V", False, True),
    ]
