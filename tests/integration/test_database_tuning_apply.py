"""Actions apply and undo of database_tuning on a real PostgreSQL."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning import apply, engine, work
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.budget import Budget
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.indexes import CORRUPTS
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.journal import Journal
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.outcome import Outcome
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.plan import digest, write
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import utc_now
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    DatabaseError,
    LockedError,
)

from tests.integration.tuning_fixtures import Tuned
from tests.integration.tuning_fixtures import tuned as tuned

BLOATED = (
    "DROP TABLE IF EXISTS heap",
    "CREATE TABLE heap (n int, m int) WITH (autovacuum_enabled = off)",
    "INSERT INTO heap SELECT n, n FROM generate_series(1, 60000) n",
    "CREATE INDEX heap_n ON heap (n)",
    "DELETE FROM heap WHERE n % 10 <> 0",
    # Before vacuum counts, not after it.
    "SELECT pg_stat_force_next_flush()",
    "VACUUM heap",
    "ALTER TABLE heap OWNER TO tradingflow",
    "ALTER TABLE trades OWNER TO tradingflow",
    "GRANT CREATE ON SCHEMA public TO tradingflow",
)
STATISTICS = {"name": "heap_n_m", "schema": "public", "table": "heap", "columns": ["n", "m"]}


class Applied:
    """Plans and a journal of the test's own."""

    def __init__(self, tuned: Tuned, folder: Path) -> None:
        self.tuned, self.folder = tuned, folder
        # It owns the tables and sees nothing else: not the replicas, the settings or what others build.
        postgres = tuned.platform.state["postgres"]
        self.owner = {**tuned.address, "user": postgres["owner"], "password": postgres["owner_password"]}

    def options(self, **more: Any) -> dict[str, Any]:
        paths = {"plans": str(self.folder / "plans"), "journal": str(self.folder / "journal.jsonl")}
        return self.tuned.options(
            **{"disk_bytes": 10**12, "wal_disk_bytes": -1, "free_bytes": 0, "lock_timeout": 2.0, **paths, **more}
        )

    def plan(self, **more: Any) -> dict[str, Any]:
        return engine.analyse(self.options(**more), lambda id: {}).plan

    def __call__(self, wanted: str, action: str = "apply", **more: Any) -> Outcome:
        options = {"apply_database": self.owner, "action": action, "expected_digest": wanted, **more}
        return apply.carry_out(self.options(**options))

    def states(self, wanted: str, **more: Any) -> dict[str, str]:
        return {f"{one['kind']} {one['object']}": one["state"] for one in self(wanted, **more).results}

    def events(self) -> list[str]:
        return [line["event"] for line in Journal(str(self.folder / "journal.jsonl")).lines()]


@pytest.fixture
def applied(tuned: Tuned, tmp_path: Path) -> Iterator[Applied]:
    tuned(*BLOATED)
    yield Applied(tuned, tmp_path)
    tuned("DROP TABLE IF EXISTS heap")


def test_what_was_approved_is_done_once_and_nothing_else(applied: Applied) -> None:
    plan = applied.plan(extended_statistics=[STATISTICS])
    assert [(one["kind"], one["name"]) for one in plan["operations"]] == [
        ("analyze", "heap"),
        ("statistics", "heap"),
        ("reindex", "heap_n"),
    ]
    path = applied.folder / f"plans/{plan['digest']}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    size = "SELECT pg_relation_size('heap_n'), 'heap_n'::regclass::oid"
    ((before, oid),) = applied.tuned(size)
    outcome = applied(plan["digest"])
    assert [one["state"] for one in outcome.results] == ["done"] * 3
    assert outcome.changed
    ((after, new),) = applied.tuned(size)
    assert after < before / 2
    assert new != oid
    assert (outcome.results[2]["before"], outcome.results[2]["after"]) == (before, after)
    assert applied.tuned("SELECT count(*) FROM pg_statistic_ext WHERE stxname = 'heap_n_m'") == [(1,)]
    again = applied(plan["digest"])
    assert {one["state"] for one in again.results} == {"skipped"}
    assert not again.changed
    assert applied.plan(extended_statistics=[STATISTICS])["digest"] != plan["digest"]
    # What is altered is not what was approved.
    altered = json.loads(path.read_text(encoding="utf-8"))
    altered["operations"][2]["name"] = "trades_pkey"
    path.write_text(json.dumps(altered), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="not what its digest says"):
        applied(plan["digest"])
    old = {**plan, "made_at": "2026-01-01T00:00:00Z"}
    old["digest"] = digest(old["operations"], old["database"], old["made_at"])
    write(old, str(applied.folder / "plans"))
    with pytest.raises(ConfigurationError, match="older than 14 days"):
        applied(old["digest"])
    for wrong in ("", "planned", "0" * 64, "../" + plan["digest"]):
        with pytest.raises(ConfigurationError):
            applied(wrong)


def test_a_plan_is_of_one_database(applied: Applied) -> None:
    plan = applied.plan()
    elsewhere = applied.tuned.platform.database
    with pytest.raises(DatabaseError, match="another database"):
        apply.carry_out(applied.options(database=elsewhere, action="apply", expected_digest=plan["digest"]))
    with pytest.raises(ConfigurationError, match="two databases"):
        applied(plan["digest"], database=elsewhere)
    assert not (applied.folder / "journal.jsonl").exists()


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"disk_bytes": 1000}, "free on the disk"),
        ({"free_bytes": 10**18}, "must stay"),
        ({"wal_bytes": 1000}, "WAL"),
        ({"window_ends": "2026-01-01T00:00:00Z"}, "the window closes"),
    ],
)
def test_no_room_no_rebuild(applied: Applied, limit: dict[str, Any], reason: str) -> None:
    wanted = applied.plan()["digest"]
    outcome = applied(wanted, **limit)
    last = outcome.results[-1]
    assert (last["kind"], last["state"]) == ("reindex", "stopped")
    assert reason in last["reason"]
    assert outcome.checks[-1].status == "warning"
    assert "reindex begun" not in applied.events()
    # With room it goes on where it stopped, by the same approval.
    assert applied.states(wanted)["reindex public.heap_n"] == "done"


def test_a_locked_table_fails_in_time_and_leaves_nothing_behind(applied: Applied) -> None:
    wanted = applied.plan()["digest"]
    holder = applied.tuned.connect()
    with holder.cursor() as cursor:
        # Who reads holds up the last phase: lock_timeout ends that, too, and the new index stays behind.
        cursor.execute("BEGIN; INSERT INTO heap VALUES (1, 1)")
        outcome = applied(wanted, lock_timeout=0.5)
    holder.close()
    last = outcome.results[-1]
    assert last["state"] == "failed"
    assert "lock timeout" in last["reason"]
    assert outcome.checks[-1].status == "critical"
    left = "SELECT relname FROM pg_class WHERE relname LIKE 'heap_n_cc%'"
    if applied.tuned(left):
        # Its own leftover could not be dropped while the table was held: it is at the next run.
        assert "left behind" in last["reason"]
    outcome = applied(wanted)
    assert outcome.results[-1]["state"] == "done"
    assert applied.tuned(left) == []


def test_killed_its_own_leftover_goes_and_no_other(applied: Applied) -> None:
    applied.tuned("CREATE TABLE IF NOT EXISTS other (n int)", "CREATE INDEX other_n ON other (n)")
    applied.tuned("CREATE INDEX other_n_ccnew ON other (n)")
    applied.tuned("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'other_n_ccnew'::regclass")
    wanted = applied.plan()["digest"]
    holder = applied.tuned.connect()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            outcome = applied(wanted, lock_timeout=60)
            failed.extend(RuntimeError(one["reason"]) for one in outcome.results if one["state"] == "failed")
        except (DatabaseError, psycopg2.Error) as error:
            failed.append(error)

    with holder.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO heap VALUES (1, 1)")
        thread = threading.Thread(target=run)
        thread.start()
        while not applied.tuned("SELECT 1 FROM pg_class WHERE relname = 'heap_n_ccnew'"):
            assert thread.is_alive()
        applied.tuned(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE 'REINDEX%' AND pid <> pg_backend_pid()"
        )
        thread.join()
    holder.close()
    assert failed
    assert applied.events()[-1] == "reindex begun"
    assert applied.tuned("SELECT 1 FROM pg_class WHERE relname = 'heap_n_ccnew'")
    outcome = applied(wanted)
    assert outcome.leftovers == ["public.heap_n_ccnew"]
    assert outcome.results[-1]["state"] == "done"
    # Nobody knows whose that one is.
    assert applied.tuned("SELECT 1 FROM pg_class WHERE relname = 'other_n_ccnew'")
    assert not applied.tuned("SELECT 1 FROM pg_class WHERE relname LIKE 'heap_n_cc%'")
    applied.tuned("DROP TABLE other")


def test_a_leftover_of_a_long_name_goes_too(applied: Applied) -> None:
    # PostgreSQL cuts a name of 63 bytes off, between two characters, so that _ccnew has room.
    name = "heap_x" + "\u00e4" * 28 + "y"
    applied.tuned(f'ALTER INDEX heap_n RENAME TO "{name}"')
    wanted = applied.plan()["digest"]
    left = "SELECT relname FROM pg_class WHERE relname LIKE 'heap_x%cc%'"
    with closing(applied.tuned.connect()) as holder, holder.cursor() as cursor:
        # Whoever only reads holds up the end of a rebuild, and the removal of what it leaves.
        cursor.execute("BEGIN; SELECT count(*) FROM heap")
        outcome = applied(wanted, lock_timeout=0.5)
    ((found,),) = applied.tuned(left)
    assert not found.startswith(name)
    last = outcome.results[-1]
    assert (last["state"], "left behind" in last["reason"]) == ("failed", True)
    advice = applied.tuned.analyse()["tuning.invalid_indexes"].details["advice"]
    (one,) = [each for each in advice if found in each["index"]]
    assert (one["verdict"], one["statement"][:5]) == ("safe", "DROP ")
    outcome = applied(wanted)
    assert outcome.leftovers == [f"public.{found}"]
    # The new one was in its place already: what was left was the old one.
    assert (outcome.results[-1]["state"], outcome.results[-1]["reason"]) == ("skipped", "done before")
    assert applied.tuned(left) == []


def test_a_full_disk_of_the_journal_is_said(applied: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = applied.plan()["digest"]

    def full(self: Journal, event: str, **what: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Journal, "add", full)
    outcome = applied(wanted)
    assert "No space left on device" in outcome.results[-1]["reason"] or "No space" in outcome.checks[-1].message
    assert outcome.checks[-1].status == "critical"
    assert applied.tuned("SELECT 1 FROM pg_class WHERE relname LIKE 'heap_n_cc%'") == []


def test_a_plan_from_the_future_is_refused(applied: Applied) -> None:
    plan = applied.plan()
    later = datetime.now(UTC) + timedelta(hours=3)
    ahead = {**plan, "made_at": later.strftime("%Y-%m-%dT%H:%M:%SZ")}
    ahead["digest"] = digest(ahead["operations"], ahead["database"], ahead["made_at"])
    write(ahead, str(applied.folder / "plans"))
    # It would hold for 14 days more, and no reset of statistics would be after it.
    with pytest.raises(ConfigurationError, match="clock"):
        applied(ahead["digest"])


def test_a_leftover_that_was_there_before_is_left(applied: Applied) -> None:
    wanted = applied.plan()["digest"]
    assert applied.states(wanted)["reindex public.heap_n"] == "done"
    journal = Journal(str(applied.folder / "journal.jsonl"))
    begun = next(line for line in journal.lines() if line["event"] == "reindex begun")
    applied.tuned(
        "CREATE INDEX heap_n_ccnew ON heap (n)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'heap_n_ccnew'::regclass",
    )
    ((oid, xid),) = applied.tuned("SELECT 'heap_n_ccnew'::regclass::oid::bigint, pg_current_xact_id()::text")
    fields = {key: begun[key] for key in ("system", "database", "schema", "name", "table_oid", "oid")}
    for there, since, reason in (([oid], begun["xid"], "was there before"), ([], xid, "older than our rebuild")):
        journal.add("reindex begun", **fields, there=there, xid=since)
        outcome = applied(wanted)
        assert outcome.leftovers == []
        assert reason in outcome.checks[0].message
        assert outcome.checks[0].id == "tuning.leftovers"
    assert applied.tuned("SELECT 1 FROM pg_class WHERE relname = 'heap_n_ccnew'")


def test_dropped_by_name_and_brought_back(applied: Applied) -> None:
    refused = applied.plan(drop_indexes=["public.trades_pkey", "public.nothing", "public.trades_at"])
    assert not [one for one in refused["operations"] if one["kind"] == "drop"]
    assert "primary key" in " ".join(refused["refused"])
    assert len(refused["refused"]) == 3
    plan = applied.plan(drop_indexes=["public.trades_symbol_again", "public.trades_at_price_again"])
    assert plan["refused"] == []
    names = "SELECT relname FROM pg_class WHERE relname IN ('trades_symbol_again', 'trades_at_price_again') ORDER BY 1"
    before = applied.tuned("SELECT indexdef FROM pg_indexes WHERE indexname = 'trades_symbol_again'")
    # Its place is taken by one that somebody else drops meanwhile.
    applied.tuned("DROP INDEX trades_at_price")
    states = applied.states(plan["digest"])
    assert states["drop public.trades_symbol_again"] == "done"
    assert states["drop public.trades_at_price_again"] == "refused"
    assert applied.tuned(names) == [("trades_at_price_again",)]
    outcome = applied("", action="undo")
    assert [(one["object"], one["state"]) for one in outcome.results] == [("public.trades_symbol_again", "done")]
    assert applied.tuned("SELECT indexdef FROM pg_indexes WHERE indexname = 'trades_symbol_again'") == before
    assert applied("", action="undo").results == []
    # Somebody wanted it back: the old approval says nothing of it any more, and it is not said to be gone.
    replayed = {f"{one['kind']} {one['object']}": one for one in applied(plan["digest"]).results}
    assert replayed["drop public.trades_symbol_again"]["state"] == "refused"
    assert "another one has its name" in replayed["drop public.trades_symbol_again"]["reason"]
    applied.tuned("CREATE INDEX trades_at_price ON trades (at) INCLUDE (price)")


def test_both_of_a_pair_are_never_dropped(applied: Applied) -> None:
    plan = applied.plan(drop_indexes=["public.trades_buys", "public.trades_buys_again"])
    assert not [one for one in plan["operations"] if one["kind"] == "drop"]
    assert any("is to be dropped as well" in reason for reason in plan["refused"])


def test_a_journal_that_was_cut_off_or_damaged(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "j"))
    journal.add("done", n=1)
    assert journal.path.stat().st_mode & 0o777 == 0o600
    with journal.path.open("a", encoding="utf-8") as file:
        file.write('{"event": "re')
    assert [line["n"] for line in journal.lines()] == [1]
    journal.add("done", n=2)
    assert [line["n"] for line in journal.lines()] == [1, 2]
    journal.path.write_text("rubbish\n" + journal.path.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="Line 1"):
        journal.lines()


def test_two_at_once(applied: Applied) -> None:
    wanted = applied.plan()["digest"]
    other = applied.tuned.connect()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [work.LOCK])
        with pytest.raises(LockedError):
            applied(wanted)
    other.close()
    assert applied.events() == []


def test_one_that_has_been_read_since_stays(applied: Applied) -> None:
    name = {"schema": "public", "name": "heap_n"}
    applied.tuned("CREATE INDEX heap_m ON heap (m)", "ANALYZE heap")
    plan = applied.plan()
    index = next(one for one in applied.tuned.read()[0] if one.name == "heap_m")
    drop = {
        "kind": "drop",
        **name,
        "name": "heap_m",
        "oid": index.oid,
        "ddl": index.definition,
        "kept": "",
        "kept_ddl": "",
    }

    def approved(made_at: str) -> str:
        found = {"digest": digest([drop], plan["database"], made_at), "made_at": made_at, "operations": [drop]}
        write({**found, "database": plan["database"]}, str(applied.folder / "plans"))
        return str(found["digest"])

    applied.tuned("SET enable_seqscan TO off; SELECT count(*) FROM heap WHERE m = 7")
    outcome = applied(approved(plan["made_at"]))
    (one,) = outcome.results
    # It was approved and is not done: that is no good end.
    assert outcome.checks[-1].status == "warning"
    assert "it has been read since the plan was made" in outcome.checks[-1].message
    assert (one["state"], one["reason"]) == ("refused", "it has been read since the plan was made, or nobody knows")
    applied.tuned("SELECT pg_stat_reset_single_table_counters('heap_m'::regclass)")
    (one,) = applied(approved(plan["made_at"])).results
    assert (one["state"], one["reason"]) == ("refused", "statistics were reset since the plan was made")
    down = {**applied.tuned.address, "port": 1}
    (one,) = applied(approved(utc_now()), replicas=[down]).results
    assert "a replica could not be asked" in one["reason"]
    assert applied.tuned("SELECT 1 FROM pg_class WHERE relname = 'heap_m'")


def test_nothing_is_built_where_that_loses_rows(applied: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = applied.plan()["digest"]
    monkeypatch.setattr(apply, "corrupts", lambda version: version > 0)
    rebuilt = [one for one in applied(wanted).results if one["kind"] == "reindex"]
    assert {(one["state"], one["reason"]) for one in rebuilt} == {("refused", CORRUPTS)}


def test_what_an_index_has_beside_its_definition_comes_back_too(applied: Applied) -> None:
    applied.tuned("SET allow_in_place_tablespaces TO on", "CREATE TABLESPACE apart LOCATION ''")
    applied.tuned(
        "GRANT CREATE ON TABLESPACE apart TO tradingflow",
        "CREATE INDEX heap_sum ON heap ((n + m), m) TABLESPACE apart",
        "CREATE INDEX heap_sum_again ON heap ((n + m), m) TABLESPACE apart",
        "COMMENT ON INDEX heap_sum_again IS 'It''s the desk''s'",
        "ALTER INDEX heap_sum_again ALTER COLUMN 1 SET STATISTICS 777",
        "ALTER INDEX heap_sum_again DEPENDS ON EXTENSION pgstattuple",
        "ALTER TABLE heap CLUSTER ON heap_sum_again",
        # The one that is read is kept.
        "SET enable_seqscan TO off; SELECT count(*) FROM heap WHERE n + m = 7",
    )
    shown = (
        "SELECT t.spcname, obj_description(c.oid), i.indisclustered, a.attstattarget, "
        "EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'x') "
        "FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid JOIN pg_tablespace t ON t.oid = c.reltablespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1 WHERE c.relname = 'heap_sum_again'"
    )
    try:
        before = applied.tuned(shown)
        assert before == [("apart", "It's the desk's", True, 777, True)]
        known = next(one for one in applied.tuned.read()[0] if one.name == "heap_sum_again")
        kept = next(one for one in applied.tuned.read()[0] if one.name == "heap_sum")
        drop: dict[str, Any] = {
            "kind": "drop",
            "schema": "public",
            "name": known.name,
            "oid": known.oid,
            "ddl": known.definition,
        }
        drop.update(kept="public.heap_sum", kept_ddl=kept.definition, properties=known.properties)
        wanted = own_plan(applied, drop)
        # What was approved was another one.
        applied.tuned("COMMENT ON INDEX heap_sum_again IS 'Other'")
        (one,) = applied(wanted).results
        assert "is not what was approved" in one["reason"]
        applied.tuned("COMMENT ON INDEX heap_sum_again IS 'It''s the desk''s'")
        (one,) = applied(wanted).results
        assert (one["state"], one["reason"]) == ("done", "")
        assert applied.tuned(shown) == []
        (one,) = applied("", action="undo", tablespace_bytes={"apart": 10**12}).results
        assert (one["state"], one["reason"]) == ("done", "")
        assert applied.tuned(shown) == before
    finally:
        applied.tuned("DROP TABLE heap")
        applied.tuned("DROP TABLESPACE apart")


def test_undo_only_says_what_is_so(applied: Applied, tmp_path: Path) -> None:
    # Without a journal nobody knows what was dropped.
    with pytest.raises(ConfigurationError, match="journal"):
        applied("", action="undo")
    Journal(str(applied.folder / "journal.jsonl")).add(
        "drop begun", system="1", database="2", schema="public", name="x"
    )
    with pytest.raises(ConfigurationError, match="nothing of this database"):
        applied("", action="undo")
    applied.tuned(*(f"CREATE INDEX heap_{name} ON heap (m)" for name in ("one", "two", "three")))
    first = applied.plan(drop_indexes=["public.heap_two"])
    assert applied.states(first["digest"])["drop public.heap_two"] == "done"
    second = applied.plan(drop_indexes=["public.heap_three"])
    assert applied.states(second["digest"])["drop public.heap_three"] == "done"
    begun = [line for line in Journal(str(applied.folder / "journal.jsonl")).lines() if line["event"] == "drop begun"]
    assert begun[-1]["digest"] == second["digest"]
    assert begun[-1]["bytes"] > 0
    # No room for it, as for a rebuild.
    (one,) = applied(second["digest"], action="undo", disk_bytes=1000).results
    assert (one["state"], "free" in one["reason"]) == ("stopped", True)
    # What one plan dropped, and no other one's.
    with pytest.raises(ConfigurationError, match="no drop"):
        applied("0" * 64, action="undo")
    (one,) = applied(second["digest"], action="undo").results
    assert (one["object"], one["state"]) == ("public.heap_three", "done")
    # Another one of its name is none of it.
    applied.tuned("CREATE INDEX heap_two ON heap (n, m)")
    outcome = applied("", action="undo")
    assert [(one["object"], one["state"]) for one in outcome.results] == [("public.heap_two", "failed")]
    assert "another definition" in outcome.results[0]["reason"]
    assert outcome.checks[-1].status == "critical"
    applied.tuned("DROP INDEX heap_two")
    # One that breaks off leaves those after it.
    broken = {**begun[-1], "event": "drop begun", "ddl": "DROP TABLE heap", "name": "aaa"}
    Journal(str(applied.folder / "journal.jsonl")).add(**{key: broken[key] for key in broken if key != "at"})
    states = {one["object"]: one["state"] for one in applied("", action="undo").results}
    assert states == {"public.aaa": "failed", "public.heap_two": "done"}


def own_plan(applied: Applied, *operations: dict[str, Any]) -> str:
    """The digest of a plan of these operations."""
    plan, found = applied.plan(), list(operations)
    made = {**plan, "operations": found, "digest": digest(found, plan["database"], plan["made_at"])}
    write(made, str(applied.folder / "plans"))
    return str(made["digest"])


@pytest.mark.parametrize("kind", ["vacuum", "freeze"])
def test_vacuum_has_a_budget_and_keeps_out_of_the_way(applied: Applied, kind: str) -> None:
    ((oid,),) = applied.tuned("SELECT 'heap'::regclass::oid::bigint")
    wanted = own_plan(applied, {"kind": kind, "schema": "public", "name": "heap", "oid": oid})
    limits: tuple[tuple[dict[str, Any], str], ...] = (
        ({"wal_bytes": 1_000_000}, "WAL"),
        ({"wal_disk_bytes": 1_000_000}, "free on the disk of pg_wal"),
    )
    for limit, reason in limits:
        (one,) = applied(wanted, **limit).results
        assert (one["state"], reason in one["reason"]) == ("stopped", True), one
    applied.tuned("DELETE FROM heap")
    ((before,),) = applied.tuned("SELECT pg_relation_size('heap')")
    (one,) = applied(wanted).results
    assert one["state"] == "done"
    # Giving pages back takes a lock that a standby's readers cannot avoid.
    assert applied.tuned("SELECT pg_relation_size('heap')") == [(before,)]
    with work.sessions(applied.options(apply_database=applied.owner)) as (cursor, watch):
        work.Work(cursor, watch, applied.options(apply_database=applied.owner))
        cursor.execute("SHOW vacuum_cost_delay")
        assert cursor.fetchone() == {"vacuum_cost_delay": "2ms"}


def test_each_disk_has_its_own_figure(applied: Applied) -> None:
    applied.tuned("SET allow_in_place_tablespaces TO on", "CREATE TABLESPACE apart LOCATION ''")
    try:
        applied.tuned("GRANT CREATE ON TABLESPACE apart TO tradingflow", "ALTER INDEX heap_n SET TABLESPACE apart")
        ((oid,),) = applied.tuned("SELECT 'heap_n'::regclass::oid::bigint")
        wanted = own_plan(applied, {"kind": "reindex", "schema": "public", "name": "heap_n", "oid": oid})

        def said(**limit: Any) -> tuple[str, str]:
            (one,) = applied(wanted, **limit).results
            return one["state"], one["reason"]

        assert said() == ("stopped", "nobody knows how much is free in tablespace apart (tablespace_bytes)")
        assert "are free in tablespace apart" in said(tablespace_bytes={"apart": 1000})[1]
        # TCP to a loopback address may be a tunnel: that machine's disk is not this one's.
        assert "(wal_disk_bytes)" in said(tablespace_bytes={"apart": 10**12}, wal_disk_bytes=0)[1]
        assert "free on the disk of pg_wal" in said(tablespace_bytes={"apart": 10**12}, wal_disk_bytes=1000)[1]
        assert said(tablespace_bytes={"apart": 10**12}, disk_bytes=1)[0] == "stopped"
        assert said(tablespace_bytes={"apart": 10**12}) == ("done", "")
    finally:
        applied.tuned("DROP TABLE heap")
        applied.tuned("DROP TABLESPACE apart")


def test_pg_wal_elsewhere(tmp_path: Path) -> None:
    # On a socket, the disks themselves are asked, and a pg_wal of another file system is a disk of its own.
    (tmp_path / "here").mkdir()
    (tmp_path / "here/pg_wal").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there/pg_wal").symlink_to("/dev/shm")
    agreed = Budget(None, 0, 0, 10**12, 0, 0, local=True)
    assert agreed.wal_left(str(tmp_path / "here"), 0)[1]
    assert not agreed.wal_left(str(tmp_path / "there"), 0)[1]
    assert agreed.wal_left(str(tmp_path / "nowhere"), 0) == (None, False)


def test_what_is_not_as_it_was_approved_is_refused_and_said(applied: Applied) -> None:
    ((oid,),) = applied.tuned("SELECT 'heap'::regclass::oid::bigint")
    made = {"kind": "statistics", "schema": "public", "name": "heap", "oid": oid, "statistics": "heap_s"}
    gone = {"kind": "analyze", "schema": "public", "name": "heap", "oid": 1}
    rebuilt = {"kind": "reindex", "schema": "public", "name": "heap_n", "oid": 1}
    applied.tuned("CREATE STATISTICS heap_s (ndistinct) ON m, n FROM heap")
    wanted = own_plan(applied, {**made, "columns": ["n", "m"]}, {**made, "columns": ["n", "ctid"]}, gone, rebuilt)
    outcome = applied(wanted)
    assert [one["state"] for one in outcome.results] == ["skipped", "refused", "refused", "refused"]
    assert (outcome.checks[-1].status, outcome.changed) == ("warning", False)
    assert "3 refused" in outcome.checks[-1].message


def test_a_locked_one_is_refused(applied: Applied) -> None:
    ((oid, table),) = applied.tuned("SELECT 'heap_n'::regclass::oid::bigint, 'heap'::regclass::oid::bigint")
    wanted = own_plan(
        applied,
        {"kind": "vacuum", "schema": "public", "name": "heap", "oid": table},
        {"kind": "reindex", "schema": "public", "name": "heap_n", "oid": oid},
    )
    holder = applied.tuned.connect()
    with holder.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE heap")
        outcome = applied(wanted)
    holder.close()
    assert [one["state"] for one in outcome.results] == ["refused", "refused"]
    assert "is locked" in outcome.checks[-1].message
    assert applied(wanted).checks[-1].status == "ok"


def test_sessions_that_wait_outlive_the_server_s_patience(applied: Applied) -> None:
    wanted = applied.plan()["digest"]
    owner = applied.owner["user"]
    quick = ("idle_session_timeout", "transaction_timeout", "idle_in_transaction_session_timeout")
    known = {name for (name,) in applied.tuned("SELECT name FROM pg_settings")}
    try:
        for user in (owner, applied.tuned.address["user"]):
            applied.tuned(*(f'ALTER ROLE "{user}" SET {name} TO 4321' for name in quick if name in known))
        options = applied.options(apply_database=applied.owner)
        with work.sessions(options) as cursors:
            work.Work(*cursors, options)
            for cursor in cursors:
                cursor.execute(
                    "SELECT name, setting FROM pg_settings WHERE name = ANY (%s) AND setting <> '0'", [list(quick)]
                )
                assert cursor.fetchall() == []
                cursor.execute("SHOW tcp_keepalives_idle")
                assert cursor.fetchone() == {"tcp_keepalives_idle": "60"}
            # The one that works holds it: the other one may be lost meanwhile.
            cursors[0].execute("SELECT 1 AS held FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
            assert cursors[0].fetchall()
    finally:
        for user in (owner, applied.tuned.address["user"]):
            applied.tuned(f'ALTER ROLE "{user}" RESET ALL')
    holder = applied.tuned.connect()
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(applied(wanted, lock_timeout=60)))
    with holder.cursor() as cursor:
        cursor.execute("BEGIN; INSERT INTO heap VALUES (1, 1)")
        thread.start()
        while not applied.tuned("SELECT 1 FROM pg_class WHERE relname = 'heap_n_ccnew'"):
            assert thread.is_alive()
        # While it rebuilds, the one that only watches is lost.
        applied.tuned(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tradingflow-maintenance' "
            f"AND datname = current_database() AND usename <> '{owner}' AND pid <> pg_backend_pid()"
        )
    holder.close()
    thread.join()
    (one,) = [one for one in outcomes[0].results if one["kind"] == "reindex"]
    assert (one["state"], "after" in one) == ("done", False)
    assert applied.states(wanted)["reindex public.heap_n"] == "skipped"
