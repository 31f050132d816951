"""Role database_tuning on a real PostgreSQL: every index of a seeded schema, and troubles."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning import indexes as advice
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.indexes import Advice
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.usage import Watched
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.charts import KINDS

from tests.integration.tuning_fixtures import DUPLICATES, INVALID, READ, UNUSED, Tuned, aged
from tests.integration.tuning_fixtures import tuned as tuned

CYCLE = 92


def plain(name: str) -> str:
    return name.removeprefix("public.")


def verdicts(found: list[Advice]) -> dict[str, str]:
    assert len({one.index for one in found}) == len(found)
    return {plain(one.index): one.verdict for one in found}


def of(check: Check) -> dict[str, dict[str, Any]]:
    return {plain(one["index"]): one for one in check.details["advice"]}


def unused(tuned: Tuned, days: float = 100, watched_days: float = 100, cycle: int = CYCLE) -> list[Advice]:
    known, uses = tuned.read()
    then = time.time() - watched_days * 86400
    watched = Watched(uses.servers[0].system, {one.oid: then for one in known})
    return advice.unused(known, aged(uses, days), cycle, watched)


def test_every_unread_index_of_the_schema_has_its_verdict(tuned: Tuned) -> None:
    assert len(UNUSED) + len(INVALID) > 30
    assert verdicts(unused(tuned)) == UNUSED


def test_nothing_that_has_to_stay_is_ever_to_be_dropped(tuned: Tuned) -> None:
    known, uses = tuned.read()
    must = {plain(one.full) for one in known if advice.has_to_stay(one)}
    assert {name for name, verdict in UNUSED.items() if verdict == "stays"} < must
    found = [*unused(tuned), *advice.invalid(known)]
    assert not {plain(one.index) for one in found if one.statement.startswith("DROP")} & must
    # Of two alike one may go, though both support a foreign key; nothing a constraint stands on may.
    tied = {plain(one.full) for one in known if one.constraint or one.identity or one.referenced_by or one.unique}
    assert not {plain(one.index) for one in advice.duplicates(known, uses)} & tied


def test_a_dropped_one_would_come_back_as_it_was(tuned: Tuned) -> None:
    one = next(one for one in unused(tuned) if one.index.startswith("odd"))
    assert one.statement == 'DROP INDEX CONCURRENTLY "odd. schema"."odd "" index"'
    tuned(one.statement)
    assert 'odd. schema.odd " index' not in {each.full for each in tuned.read()[0]}
    tuned(one.ddl)
    assert one.ddl == next(each.definition for each in tuned.read()[0] if each.name == 'odd " index')


@pytest.mark.parametrize(
    ("days", "watched_days", "cycle", "verdict", "because"),
    [
        (1, 100, CYCLE, "unknown", "statistics cover 24.0 h of the 92 days"),
        (100, 1, CYCLE, "review", "it may be new"),
        (100, 100, 0, "unknown", "no business cycle is declared"),
    ],
)
def test_too_young_to_tell(
    tuned: Tuned, days: float, watched_days: float, cycle: int, verdict: str, because: str
) -> None:
    found = {plain(one.index): one for one in unused(tuned, days, watched_days, cycle)}
    assert found["accounts_opened"].verdict == verdict
    assert because in found["accounts_opened"].reason
    assert found["trades_pkey"].verdict == "stays"
    assert not [one for one in found.values() if one.verdict == "safe"]


def test_statistics_reset_yesterday(tuned: Tuned) -> None:
    first = tuned.analyse()["tuning.unused_indexes"]
    assert first.status == "unknown"
    assert "accounts_opened" in of(first)
    # What the last report kept is of the same server, and long ago; and then somebody resets all counts.
    then = {oid: int(time.time() - 200 * 86400) for oid in first.details["watched"]["since"]}
    before = {"tuning.unused_indexes": {"watched": {**first.details["watched"], "since": then}}}
    tuned("SELECT pg_stat_reset()")
    found = tuned.analyse(before)["tuning.unused_indexes"]
    assert found.status == "unknown"
    assert {one["verdict"] for one in found.details["advice"]} == {"unknown", "stays"}
    assert "trades_symbol" in of(found)
    # The times are carried on, for the day when counts are old enough.
    assert found.details["watched"]["since"].items() >= then.items()
    # Nobody counts what was before: that no row is dead, no more than that statistics are fresh.
    lost = tuned.analyse()
    for name in ("vacuum", "analyze"):
        assert (lost[f"tuning.{name}"].status, lost[f"tuning.{name}"].value) == ("unknown", None)
        assert "public.trades" in lost[f"tuning.{name}"].details["uncounted"]
    tuned("ANALYZE", READ)
    assert tuned.analyse()["tuning.vacuum"].status == "ok"


def test_every_duplicate_has_its_verdict(tuned: Tuned) -> None:
    found = of(tuned.analyse()["tuning.duplicate_indexes"])
    assert {name: (one["verdict"], plain(one["evidence"]["kept"])) for name, one in found.items()} == DUPLICATES


def test_parameters_and_statistics_make_two_indexes_two(tuned: Tuned) -> None:
    tuned(
        "CREATE TABLE words (v tsvector, t text)",
        *(
            f"CREATE INDEX {name} ON words USING {on}"
            for name, on in (
                ("words_v", "gist (v)"),
                ("words_v_wide", "gist (v tsvector_ops (siglen = 1000))"),
                ("words_v_wide_again", "gist (v tsvector_ops (siglen = 1000))"),
                ("words_t", "btree (lower(t))"),
                ("words_t_known", "btree (lower(t))"),
            )
        ),
        "ALTER INDEX words_t_known ALTER COLUMN 1 SET STATISTICS 1000",
    )
    try:
        found = of(tuned.analyse()["tuning.duplicate_indexes"])
    finally:
        tuned("DROP TABLE words")
    assert {name: plain(one["evidence"]["kept"]) for name, one in found.items() if name.startswith("words")} == {
        "words_v_wide_again": "words_v_wide"
    }


def test_an_extensions_table_is_left_to_it(tuned: Tuned) -> None:
    tuned(
        "CREATE TABLE member (n int)",
        "CREATE INDEX member_n ON member (n)",
        "ALTER EXTENSION pgstattuple ADD TABLE member",
    )
    try:
        (one,) = (one for one in unused(tuned) if one.index == "public.member_n")
    finally:
        tuned("ALTER EXTENSION pgstattuple DROP TABLE member", "DROP TABLE member")
    assert (one.verdict, one.reason) == ("stays", "belongs to extension pgstattuple")


def test_invalid_ones(tuned: Tuned) -> None:
    check = tuned.analyse()["tuning.invalid_indexes"]
    assert (check.status, check.value) == ("warning", 2)
    assert {name: one["verdict"] for name, one in of(check).items()} == INVALID
    assert of(check)["trades_quantity_ccnew"]["statement"] == 'DROP INDEX CONCURRENTLY "public"."trades_quantity_ccnew"'
    assert of(check)["trades_side_bad"]["statement"].startswith("REINDEX")


def test_bloat_is_measured_or_unknown(tuned: Tuned) -> None:
    check = tuned.analyse(least_bytes=1)["tuning.index_bloat"]
    assert check.status == "ok", check.message
    unknown = {one["name"]: one["problem"] for one in check.details["unknown"]}
    assert unknown == {
        "public.trades_doc": "pgstattuple does not measure gin",
        "public.trades_tags": "pgstattuple does not measure gin",
        "public.trades_at_brin": "pgstattuple does not measure brin",
        "public.trades_price_brin": "pgstattuple does not measure brin",
        "public.trades_symbol_hash": "free space in the buckets of a hash index is no bloat",
    }
    assert "Of 5 others (brin, gin, hash) nobody can tell" in check.message
    measured = {one["name"]: one["bloat"] for one in check.details["measured"]}
    assert all(0 <= value <= 100 for value in measured.values())
    assert not {"public.events_kind", "public.events_other"} & measured.keys()
    tight = tuned.analyse(read_bytes=0)["tuning.index_bloat"]
    assert (tight.status, tight.value) == ("unknown", None)


def test_a_bloated_index_is_to_be_rebuilt(tuned: Tuned) -> None:
    tuned(
        "CREATE TABLE IF NOT EXISTS heap (n int) WITH (autovacuum_enabled = off)",
        "INSERT INTO heap SELECT generate_series(1, 60000)",
        "CREATE INDEX heap_n ON heap (n)",
        "DELETE FROM heap WHERE n % 10 <> 0",
        "VACUUM heap",
    )
    check = tuned.analyse()["tuning.index_bloat"]
    assert check.status == "warning"
    assert check.value > 50
    (one,) = check.details["advice"]
    assert (one["statement"], one["verdict"]) == ('REINDEX INDEX CONCURRENTLY "public"."heap_n"', "safe")
    tuned("DROP TABLE heap")


class Holding:
    """A transaction of another session that holds what it did."""

    def __init__(self, tuned: Tuned, statement: str) -> None:
        self.connection = tuned.connect()
        self.cursor = self.connection.cursor()
        self.cursor.execute("BEGIN")
        self.cursor.execute(statement)

    def __enter__(self) -> Holding:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def test_a_locked_index_is_unknown_and_holds_nothing_up(tuned: Tuned) -> None:
    with Holding(tuned, "LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE"):
        found = tuned.analyse()
    never = of(found["tuning.unused_indexes"])
    assert never["accounts_opened"]["verdict"] == "unknown"
    assert "locked right now" in never["accounts_opened"]["reason"]
    double = of(found["tuning.duplicate_indexes"])
    assert double["accounts_email_plain"]["verdict"] == "unknown"
    assert double["trades_symbol_again"]["verdict"] == "safe"
    assert found["tuning.duplicate_indexes"].status == "unknown"
    assert found["tuning.invalid_indexes"].value == 2


def test_one_that_is_being_rebuilt_is_no_leftover(tuned: Tuned) -> None:
    # REINDEX CONCURRENTLY waits for whoever may still see the old one.
    with Holding(tuned, "INSERT INTO accounts (code) VALUES ('held')"):
        builder = tuned.connect()
        pid = builder.info.backend_pid
        thread = threading.Thread(target=quietly, args=(builder, "REINDEX INDEX CONCURRENTLY accounts_opened"))
        thread.start()
        try:
            while not tuned("SELECT 1 FROM pg_class WHERE relname = 'accounts_opened_ccnew'"):
                assert thread.is_alive()
            found = tuned.analyse()
        finally:
            tuned(f"SELECT pg_terminate_backend({pid})")
            thread.join()
    one = of(found["tuning.invalid_indexes"])["accounts_opened_ccnew"]
    assert one["verdict"] == "stays"
    assert "REINDEX CONCURRENTLY" in one["reason"]
    assert found["tuning.invalid_indexes"].value == 2
    assert of(found["tuning.unused_indexes"])["accounts_opened"]["verdict"] == "unknown"
    # Killed, it left the new one behind: now that is what it is.
    check = tuned.analyse()["tuning.invalid_indexes"]
    assert check.value == 3
    left = of(check)["accounts_opened_ccnew"]
    assert (left["verdict"], left["evidence"]["kept"]) == ("safe", "public.accounts_opened")
    tuned(left["statement"])
    assert tuned.analyse()["tuning.invalid_indexes"].value == 2


def quietly(connection: Any, statement: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except psycopg2.Error:
        connection.close()


def test_a_replica_that_was_not_asked_or_is_none(tuned: Tuned) -> None:
    down = {**tuned.address, "port": 1}
    check = tuned.analyse(replicas=[down])["tuning.unused_indexes"]
    assert {one["verdict"] for one in check.details["advice"]} == {"unknown", "stays"}
    assert "a replica could not be asked" in check.message
    same = tuned.analyse(replicas=[tuned.address])
    assert "is no physical replica of this server" in same["tuning.unused_indexes"].message
    assert same["tuning.index_usage"].status == "unknown"


def test_statements_are_planned_and_not_carried_out(tuned: Tuned) -> None:
    tuned(
        "CREATE SEQUENCE drawn",
        "GRANT USAGE ON SEQUENCE drawn TO PUBLIC",
        "SELECT pg_stat_statements_reset()",
        *["SELECT nextval('drawn'), count(*) FROM trades WHERE note = 'x' AND price > 3"] * 12,
    )
    found = tuned.analyse(queries=[{"name": "manual", "sql": "SELECT * FROM trades ORDER BY at DESC LIMIT 100"}])
    check = found["tuning.statements"]
    shown = next(one for one in check.details["statements"] if "nextval" in one["text"])
    assert shown["calls"] == 12
    assert "Seq Scan on trades" in shown["plan"]
    assert tuned("SELECT last_value FROM drawn") == [(12,)]
    missing = found["tuning.missing_indexes"]
    assert (missing.status, missing.details["hypopg"]) == ("unknown", False)
    (one,) = missing.details["advice"]
    assert one["statement"] == 'CREATE INDEX CONCURRENTLY ON "public"."trades" ("note", "price")'
    plan = found["tuning.plan:manual"]
    assert plan.status == "ok"
    assert "Index Scan on trades_at" in plan.message
    refused = tuned.analyse(queries=[{"name": "two", "sql": "SELECT 1; DROP TABLE trades"}])["tuning.plan:two"]
    assert refused.status == "unknown"
    # Since then: ten calls more, and nothing of what came before.
    tuned(*["SELECT nextval('drawn'), count(*) FROM trades WHERE note = 'x' AND price > 3"] * 10)
    before = {"tuning.statements": check.details}
    found = tuned.analyse(before)
    again = found["tuning.statements"].details["statements"]
    now = next(one for one in again if "nextval" in one["text"])
    assert (now["calls"], now["mean_before_ms"]) == (10, shown["mean_ms"])
    (action,) = engine.charts(list(found.values()), "2026-11-30T12:00:00Z")
    (chart,) = action["details"]["charts"]
    assert [shown["text"][:60], shown["mean_ms"], now["mean_ms"]] in chart["bars"]
    assert "→" in KINDS["changes"](chart)
    # Forgotten and recorded anew: its own count, and never less than none.
    tuned(
        "SELECT pg_stat_statements_reset()",
        "SELECT nextval('drawn'), count(*) FROM trades WHERE note = 'x' AND price > 3",
    )
    anew = tuned.analyse(before)["tuning.statements"].details["statements"]
    assert next(one for one in anew if "nextval" in one["text"])["calls"] == 1
    assert all(one["total_ms"] >= 0 for one in anew)
    tuned("DROP SEQUENCE drawn")


def test_tables_that_are_behind_and_numbers_that_end(tuned: Tuned) -> None:
    tuned(
        "CREATE TABLE behind (n int) WITH (autovacuum_enabled = off)",
        "INSERT INTO behind SELECT generate_series(1, 20000)",
        "CREATE TABLE narrow (id smallint, n int GENERATED ALWAYS AS IDENTITY)",
        "CREATE SEQUENCE narrow_id AS bigint OWNED BY narrow.id",
        "SELECT setval('narrow_id', 31000)",
        "SELECT pg_stat_force_next_flush()",
    )
    found = tuned.analyse()
    assert "public.behind" in {one["table"] for one in found["tuning.analyze"].details["advice"]}
    assert found["tuning.analyze"].status == "warning"
    assert found["tuning.vacuum"].details["autovacuum_off"] == ["public.behind"]
    tuned("ANALYZE behind", "DELETE FROM behind WHERE n > 100", "SELECT pg_stat_force_next_flush()")
    found = tuned.analyse()
    assert found["tuning.vacuum"].details["advice"][0]["statement"] == 'VACUUM "public"."behind"'
    assert found["tuning.sequences"].status == "critical"
    assert found["tuning.sequences"].details["advice"][0]["table"] == "public.narrow_id"
    assert found["tuning.statistics"].status == "warning"
    assert "a BRIN index on price" in found["tuning.statistics"].message
    assert found["tuning.statistics"].value > 20
    assert found["tuning.index_usage"].details["most_read"]
    tuned("DROP TABLE behind, narrow")


def test_sizes_are_those_of_the_files(tuned: Tuned) -> None:
    tuned(
        "CREATE TABLE loaded (n int) WITH (autovacuum_enabled = off)",
        "CREATE INDEX loaded_n ON loaded (n)",
        "INSERT INTO loaded SELECT generate_series(1, 60000)",
        "DELETE FROM loaded WHERE n % 10 <> 0",
        "SELECT pg_stat_force_next_flush()",
        # As after a crash, or a pg_upgrade: nothing was ever counted.
        "SELECT pg_stat_reset_single_table_counters('loaded'::regclass)",
    )
    assert tuned("SELECT relpages, reltuples FROM pg_class WHERE relname = 'loaded'") == [(0, -1)]
    try:
        found = tuned.analyse()
    finally:
        tuned("DROP TABLE loaded")
    advice = {one["table"]: one for one in found["tuning.analyze"].details["advice"]}
    assert "no statistics at all" in advice["public.loaded"]["reason"]
    assert found["tuning.vacuum"].details["uncounted"] == ["public.loaded"]
    assert found["tuning.vacuum"].status == "unknown"
    assert "public.loaded" in {one["name"] for one in found["tuning.table_bloat"].details["measured"]}
    assert "public.loaded_n" in {one["name"] for one in found["tuning.index_bloat"].details["measured"]}


def test_a_setting_that_waits_for_a_restart_keeps_its_unit(tuned: Tuned) -> None:
    def waits() -> bool:
        return bool(tuned("SELECT pending_restart FROM pg_settings WHERE name = 'shared_buffers'")[0][0])

    def shown() -> dict[str, str]:
        check = tuned.analyse(memory=10**12)["tuning.settings"]
        return {one["table"]: one["reason"] for one in check.details["advice"] if "restart" not in one["reason"]}

    before = shown()
    tuned("ALTER SYSTEM SET shared_buffers = '48MB'", "SELECT pg_reload_conf()")
    try:
        while not waits():
            time.sleep(0.05)
        found = shown()
    finally:
        tuned("ALTER SYSTEM RESET shared_buffers", "SELECT pg_reload_conf()")
        while waits():
            time.sleep(0.05)
    assert found["shared_buffers"] == before["shared_buffers"]


def test_a_plan_shows_no_literals(tuned: Tuned) -> None:
    queries = [
        {"name": "shown", "sql": "SELECT * FROM trades WHERE note = 'hunter2'"},
        {"name": "wrong", "sql": "SELECT * FROM trades WHERE quantity = 'hunter2'"},
        {"name": "near", "sql": "SELECT * FROM trades WHERE note 'hunter2'"},
        {"name": "table", "sql": "/* why */ SELECT * FROM nowhere -- hunter2"},
    ]
    found = tuned.analyse(queries=queries)
    assert found["tuning.plan:shown"].details["scans"][0]["table"] == "trades"
    assert "invalid input syntax" in found["tuning.plan:wrong"].message
    assert '"nowhere" does not exist' in found["tuning.plan:table"].message
    assert not [id for id, check in found.items() if "hunter2" in str(check.as_dict())]


def test_a_named_statement_is_carried_out_where_it_is_proven_to_only_read(tuned: Tuned) -> None:
    # More than these: tests/integration/test_database_tuning_debian.py.
    queries = [
        {"name": "read", "sql": "SELECT symbol FROM trades WHERE quantity <= 5 ORDER BY quantity", "analyze": True},
        {"name": "written", "sql": "WITH gone AS (DELETE FROM legs RETURNING a) SELECT * FROM gone", "analyze": True},
    ]
    found = tuned.analyse(queries=queries)
    assert found["tuning.plan:read"].details["rows"] == 5
    assert (found["tuning.plan:written"].status, found["tuning.plan:written"].value) == ("unknown", None)
    assert "it writes" in found["tuning.plan:written"].message


def test_settings_and_pools(tuned: Tuned) -> None:
    assert tuned.analyse()["tuning.settings"].status == "unknown"
    found = tuned.analyse(memory=1_000_000_000_000, pools=[{"name": "app", "size": 50, "replicas": 40}])
    told = {one["table"] for one in found["tuning.settings"].details["advice"]}
    assert "shared_buffers" in told
    # A count of four with one of them named sends nobody to the other three.
    assert found["tuning.settings"].message.count(": ") >= min(3, len(told))
    assert (found["tuning.pools"].status, found["tuning.pools"].details["pools"]) == ("critical", {"app": 2000})
    assert "tuning.pools" not in tuned.analyse()


def test_one_part_that_fails_leaves_the_others(tuned: Tuned, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tuned.analyse().keys()
    monkeypatch.setattr(
        "ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.bloat.EXTENSION", "bad"
    )
    found = tuned.analyse()
    assert found.keys() == whole
    assert {id for id, check in found.items() if "syntax error" in check.message} == {
        "tuning.index_bloat",
        "tuning.table_bloat",
    }


def test_without_the_catalogue_nobody_says_that_there_are_no_indexes(
    tuned: Tuned, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tuned.analyse(least_bytes=1)
    monkeypatch.setattr(
        "ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.catalogue.INDEXES", "bad"
    )
    found = tuned.analyse(least_bytes=1)
    assert found.keys() == whole.keys()
    for name in ("unused_indexes", "duplicate_indexes", "invalid_indexes", "index_bloat", "missing_indexes", "planned"):
        assert found[f"tuning.{name}"].status == "unknown", name
        assert found[f"tuning.{name}"].value is None
    for name in ("table_bloat", "statements"):
        assert found[f"tuning.{name}"].status == whole[f"tuning.{name}"].status != "unknown"
