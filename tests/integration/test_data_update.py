"""Data updates: well, undone, refused, broken off, killed, and in others' way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update import (
    engine,
    purge,
    session,
    throttle,
    work,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.findings import findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils._gates import windows
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, LockedError

from tests.integration import data_update_fixtures
from tests.integration.data_update_fixtures import LAST_LOGIN, USERS, Place
from tests.integration.migration_fixtures import until
from tests.integration.restore_fixtures import bad
from tests.integration.workers import Start, started_by

place = data_update_fixtures.place


def test_the_manuals_example_planned_carried_out_and_undone(place: Place) -> None:
    place.sql(USERS)
    before = place.sql("SELECT id, last_login, note FROM users ORDER BY id")
    plan = engine.plan(place.options(LAST_LOGIN))
    assert (plan["count"], plan["whole"], plan["refusals"], plan["wanted"]) == (50, False, [], True)
    assert [each["key"] for each in plan["sample"]] == [["2"], ["4"], ["6"], ["8"], ["10"]]
    assert plan["sample"][0]["before"] != plan["sample"][0]["after"]
    assert plan["estimate"]["wal_bytes"] > 0
    assert 'UPDATE "public"."users" SET "last_login"' in plan["sql"]
    assert place.sql("SELECT id, last_login, note FROM users ORDER BY id") == before
    assert place.sql("SELECT to_regnamespace('tradingflow_data_update')") == [(None,)]

    # Without its digest, or with another, nothing is done.
    for wrong in ("none", "0" * 64):
        checks, result = place.run(LAST_LOGIN, expected_digest=wrong)
        assert set(bad(checks)) == {"data_update.refused:digest"}
        assert not result["changed"]
    checks, result = place.run(LAST_LOGIN, expected_digest=plan["digest"])
    assert bad(checks) == {}
    assert (result["verified"]["rows"], result["update_after"]["batches"]) == (50, 5)
    assert result["verified"]["matching_untouched"] == result["verified"]["matching_behind_bound"] == 0
    # One moment for all batches, and nothing else changed.
    assert place.sql("SELECT count(*), count(DISTINCT last_login) FROM users WHERE id % 2 = 0") == [(50, 1)]
    assert place.sql("SELECT id, last_login FROM users WHERE id % 2 = 1 ORDER BY id") == [
        row[:2] for row in before if row[0] % 2 == 1
    ]
    again, result = place.run(LAST_LOGIN)
    assert bad(again) == {}
    assert "it was carried out" in result["nothing"]

    # Somebody logged in since, somebody else's note changed, and somebody is gone: they stay as they are.
    place.sql("UPDATE users SET last_login = now() WHERE id = 2; UPDATE users SET note = 'x' WHERE id = 4")
    place.sql("DELETE FROM users WHERE id = 6")
    since = place.sql("SELECT id, last_login, note FROM users WHERE id IN (2, 4) ORDER BY id")
    checks, result = place.run(LAST_LOGIN, action="undo", expected_digest=plan["digest"])
    assert set(bad(checks)) == {"data_update.undone"}
    assert result["undo"]["counts"] == {"gone": 1, "other columns": 1, "set columns": 1}
    assert sorted(each["key"] for each in result["undo"]["rows"]) == [["2"], ["4"], ["6"]]
    assert result["undo"]["restored"] == 47
    assert place.sql("SELECT id, last_login, note FROM users WHERE id IN (2, 4) ORDER BY id") == since
    assert place.sql("SELECT id, last_login, note FROM users WHERE id NOT IN (2, 4, 6) ORDER BY id") == [
        row for row in before if row[0] not in (2, 4, 6)
    ]
    assert "Nothing to undo" in engine.plan(place.options(LAST_LOGIN, action="undo"))["nothing"]
    # Undone, it may be carried out once more.
    checks, result = place.run({**LAST_LOGIN, "expected": {"min": 1, "max": 48}})
    assert bad(checks) == {}
    assert result["verified"]["rows"] == 47


#: Waits for long in the middle of a batch that changes the row which the table "pause" names.
PAUSE = """CREATE TABLE pause (id bigint); INSERT INTO pause VALUES (26);
CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.id IN (SELECT id FROM public.pause) THEN PERFORM pg_sleep(600); END IF; RETURN NULL; END $$;
CREATE TRIGGER pause AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION pause()"""
SLEEPS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
ROWS = "SELECT id, last_login, note FROM users ORDER BY id"
CHANGED = "SELECT count(*) FROM users WHERE id % 2 = 0 AND last_login > now() - interval '1 hour'"


def killed_while_it_sleeps(place: Place, start: Start, options: dict[str, Any]) -> None:
    process = start({**options, "statement_timeout": 900.0})
    until(lambda: place.sql(SLEEPS) == [(1,)] or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The server notices by itself.
    until(lambda: place.sql(SLEEPS) == [(0,)])
    place.sql("DELETE FROM pause")


def test_killed_in_the_middle_of_a_batch_and_of_undoing(place: Place, tmp_path: Path) -> None:
    place.sql(f"{USERS}; {PAUSE}")
    before = place.sql(ROWS)
    change = {**LAST_LOGIN, "triggers": ["pause"]}
    digest = engine.plan(place.options(change))["digest"]
    with started_by("data_update_worker.py", tmp_path) as start:
        killed_while_it_sleeps(place, start, place.options(change, expected_digest=digest))
        assert place.sql(CHANGED) == [(10,)]
        books = "SELECT state, rows, batches, cursor FROM tradingflow_data_update.updates"
        assert place.sql(books) == [("running", 10, 1, ["20"])]

        # A failure right after it goes on keeps the cursor.
        smaller = {**change, "batch_rows": 7}
        with place.session() as cursor:
            cursor.execute("SELECT FROM users WHERE id = 24 FOR UPDATE")
            checks, result = place.run(smaller, expected_digest=digest)
        assert set(bad(checks)) == {"data_update.failed"}
        assert "lock timeout" in checks["data_update.failed"].message
        assert "10 rows of about 50 are changed, and stay so" in checks["data_update.failed"].message
        assert (result["attempts"], result["update_after"]["cursor"]) == (2, ["20"])
        assert place.sql(CHANGED) == [(10,)]

        # With batches of another size, and the moment that it began at.
        checks, result = place.run(smaller, expected_digest=digest)
        assert bad(checks) == {}
        assert "10 rows of them by an earlier run" in checks["data_update.rows"].message
        assert (result["verified"]["rows"], result["update_after"]["batches"]) == (50, 7)
        assert place.sql("SELECT count(*), count(DISTINCT last_login) FROM users WHERE id % 2 = 0") == [(50, 1)]

        place.sql("INSERT INTO pause VALUES (44)")
        killed_while_it_sleeps(place, start, place.options(change, expected_digest=digest, action="undo"))
    (state, restored) = place.sql("SELECT state, restored FROM tradingflow_data_update.updates")[0]
    assert state == "undoing"
    assert 0 < restored < 50
    assert place.sql(CHANGED) == [(50 - restored,)]
    # Whichever action the next run has: what was begun is ended.
    checks, result = place.run(change, expected_digest=digest)
    assert bad(checks) == {}
    assert result["undo"]["restored"] == 50
    assert place.sql(ROWS) == before


def test_one_at_a_time(place: Place) -> None:
    place.sql(USERS)
    with place.session() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", (session.LOCK_CLASS, session.LOCK_OBJECT))
        cursor.connection.commit()
        assert "somebody" in engine.plan(place.options(LAST_LOGIN))["holder"]
        with pytest.raises(LockedError, match=f"process {cursor.connection.info.backend_pid} of .*somebody"):
            place.run(LAST_LOGIN)
    assert place.sql(CHANGED) == [(0,)]


def test_what_fails_before_it_begins_leaves_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.sql(USERS)
    real = work.Work._begin

    def begin(self: work.Work) -> bool:
        real(self)
        self._session.rows("SELECT 1 / 0")
        return True

    monkeypatch.setattr(work.Work, "_begin", begin)
    checks, result = place.run(LAST_LOGIN)
    assert checks["data_update.failed"].message.endswith("division by zero. Nothing was changed.")
    assert (result["changed"], result["update_after"]) == (False, None)
    assert place.sql("SELECT to_regnamespace('tradingflow_data_update')") == [(None,)]


def between_batches(monkeypatch: pytest.MonkeyPatch, batch: int, act: Callable[[], object]) -> None:
    """Has something done before a batch begins."""
    calls = iter(range(1, 1000))
    real = throttle.Throttle.wait

    def wait(self: throttle.Throttle) -> None:
        real(self)
        if next(calls) == batch:
            act()

    monkeypatch.setattr(throttle.Throttle, "wait", wait)


#: What is wrong, as SQL beforehand and changes to the change; what the message says; how many rows stay changed.
BREACHES: dict[str, tuple[str, dict[str, Any], str]] = {
    "check": ("", {"check": "id <> 44"}, "check does not hold for 1 row."),
    "invariant": (
        "",
        {
            "invariants": [
                {
                    "name": "old",
                    "sql": "SELECT count(*) > 20 FROM users WHERE last_login < "
                    "CURRENT_TIMESTAMP - INTERVAL '1 hour' AND id % 2 = 0",
                    "each_batch": True,
                }
            ]
        },
        "The invariant old does not hold: it is false, not true.",
    ),
    "invariant at the end": (
        "",
        {"invariants": [{"name": "all", "sql": "SELECT max(age(last_login)) > '9 days' FROM users"}]},
        "The invariant all does not hold",
    ),
    "constraint": (
        "ALTER TABLE users ADD CHECK (id <> 44 OR last_login < '2020-01-01') NOT VALID",
        {},
        "violates check",
    ),
    "expression": (
        "",
        {"set": {"last_login": "CURRENT_TIMESTAMP + make_interval(days => (1 / (44 - id))::int)"}, "check": None},
        "division by zero",
    ),
    "other columns": (
        """CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.id = 44 THEN NEW.note := 'changed'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER t BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION t()""",
        {"triggers": ["t"]},
        "1 row changed otherwise than declared",
    ),
    "the same row afterwards": (
        """CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.id = 44 AND NEW.note = 'n' THEN UPDATE public.users SET note = 'x' WHERE id = 44; END IF;
        RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON users INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION t()""",
        {"triggers": ["t"]},
        "1 row changed otherwise than declared",
    ),
    "kept back": (
        """CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RETURN CASE WHEN NEW.id = 44 THEN NULL ELSE NEW END; END $$;
        CREATE TRIGGER t BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION t()""",
        {"triggers": ["t"]},
        "10 rows were locked, and 9 changed",
    ),
}


def test_what_is_not_as_declared_stops_and_is_undone(place: Place) -> None:
    for name, (sql, more, message) in BREACHES.items():
        place.sql(f"DROP TABLE IF EXISTS users; DROP FUNCTION IF EXISTS t(); {USERS}; {sql}")
        before = place.sql(ROWS)
        change = {**LAST_LOGIN, "id": name.replace(" ", "-"), **more}
        checks, result = place.run(change)
        assert "data_update.failed" in checks, (name, bad(checks))
        found = checks["data_update.failed"]
        assert found.status == "critical", name
        assert message in found.message, name
        assert "It was undone" in found.message, name
        assert place.sql(ROWS) == before, name
        assert result["update_after"]["state"] == "undone", name
        assert result["undo"]["restored"] > 0, name


#: Triggers that let the change through, and keep a row as it is when it is undone.
KEEPERS = {
    "before": "BEFORE UPDATE ON users FOR EACH ROW WHEN (OLD.id = 44 AND NEW.last_login < OLD.last_login)"
    " EXECUTE FUNCTION t()",
    "deferred": "AFTER UPDATE ON users INITIALLY DEFERRED FOR EACH ROW"
    " WHEN (OLD.id = 44 AND NEW.last_login < OLD.last_login) EXECUTE FUNCTION t()",
}


@pytest.mark.parametrize("kind", KEEPERS)
def test_undoing_that_a_trigger_prevents_is_not_said_to_be_done(place: Place, kind: str) -> None:
    constraint = "CONSTRAINT" if kind == "deferred" else ""
    place.sql(
        f"""{USERS}; CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_WHEN = 'AFTER' THEN UPDATE public.users SET last_login = OLD.last_login WHERE id = 44; END IF;
        NEW.last_login := OLD.last_login; RETURN NEW; END $$;
        CREATE {constraint} TRIGGER t {KEEPERS[kind]}"""
    )
    change = {**LAST_LOGIN, "triggers": ["t"]}
    before = place.sql(ROWS)
    checks, _ = place.run(change)
    assert bad(checks) == {}
    # Others are left alone, which is no fault.
    place.sql("UPDATE users SET note = 'x' WHERE id = 48")
    checks, result = place.run(change, action="undo")
    assert "data_update.failed" in bad(checks)
    assert "a trigger or somebody at the before-images interferes" in checks["data_update.failed"].message
    assert result["update_after"]["state"] == "undoing"
    place.sql("ALTER TABLE users DISABLE TRIGGER t")
    checks, result = place.run(change, action="undo")
    assert set(bad(checks)) == {"data_update.undone"}
    assert result["undo"]["counts"] == {"other columns": 1}
    assert [row for row in place.sql(ROWS) if row[0] != 48] == [row for row in before if row[0] != 48]


def test_others_change_the_rows_meanwhile(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.sql(USERS)
    # Before the third batch, whose cursor is at 40: one row behind the cursor and one behind the bound begin to match,
    # one before the cursor stops, one is gone.
    old = "now() - interval '100 days'"
    between_batches(
        monkeypatch,
        3,
        lambda: place.sql(
            f"UPDATE users SET last_login = {old} WHERE id = 3; INSERT INTO users VALUES (1000, 'new', {old}, 'n');"
            "UPDATE users SET last_login = now() WHERE id = 50; DELETE FROM users WHERE id = 60;"
            "INSERT INTO users SELECT 1, 'x', NULL, 'n' ON CONFLICT DO NOTHING"
        ),
    )
    change = {**LAST_LOGIN, "invariants": []}
    checks, result = place.run(change)
    assert set(bad(checks)) == {"data_update.remaining"}
    assert checks["data_update.remaining"].value == 2
    verified = result["verified"]
    assert (verified["rows"], verified["planned"]) == (48, 50)
    assert (verified["matching_untouched"], verified["matching_behind_bound"]) == (1, 1)
    assert place.sql("SELECT count(*) FROM users WHERE id = 1000 AND last_login < now() - interval '99 days'") == [(1,)]


def clock(patch: pytest.MonkeyPatch, *times: float) -> None:
    """What the time is, each time that the window is asked about; it may not be asked more often."""
    patch.setattr(windows.over, "__defaults__", (iter(times).__next__,))


def test_the_market_opens_between_two_batches(place: Place) -> None:
    """What has begun ends, and stays; nothing else begins; the next run goes on."""
    place.sql(USERS)
    # That it does not hold in the middle is no matter.
    whole = {
        "name": "all or nothing",
        "sql": "SELECT count(*) % 50 FROM users WHERE last_login < CURRENT_TIMESTAMP - INTERVAL '50 days'",
        "equals": "0",
    }
    change = {**LAST_LOGIN, "invariants": [whole], "throttle": {"pause": 0.01}}
    ends = "2026-12-06T02:00:00+00:00"
    opens = datetime.fromisoformat(ends).timestamp()
    with pytest.MonkeyPatch.context() as patch:
        clock(patch, opens - 1, opens)
        checks, result = place.run(change, window_ends=ends)
    assert set(bad(checks)) == {"data_update.failed"}
    assert f"The window ended at {ends}." in checks["data_update.failed"].message
    assert result["update_after"]["batches"] == 1
    checks, result = place.run(change)
    assert bad(checks) == {}
    assert result["update_after"]["state"] == "done"
    # Undoing it is work like any other: it waits for others too.
    with pytest.MonkeyPatch.context() as patch:
        clock(patch, opens - 1, opens)
        checks, result = place.run(change, action="undo", window_ends=ends)
    assert set(bad(checks)) == {"data_update.failed"}
    assert f"The window ended at {ends}. Of 50 rows 10 are put back" in checks["data_update.failed"].message
    assert checks["data_update.rows"].message.endswith("10 rows of them put back.")
    assert result["waits"]["pause"] > 0
    checks, result = place.run(change, action="undo")
    assert bad(checks) == {}
    assert checks["data_update.rows"].value == 0
    # What went wrong does not stay until the next window.
    with pytest.MonkeyPatch.context() as patch:
        clock(patch, *[opens - 1] * 3)
        checks, result = place.run({**change, "check": "id <> 44"}, window_ends=ends)
    assert "It was undone" in checks["data_update.failed"].message


def test_what_was_undone_is_no_success_of_the_run_that_ends_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.sql(USERS)
    change = {**LAST_LOGIN, "check": "id <> 44"}
    real, calls = work.Work._undo_batch, iter(range(100))

    def killed(self: work.Work) -> bool:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(work.Work, "_undo_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            place.run(change)
    checks, result = place.run(change)
    assert set(bad(checks)) == {"data_update.failed"}
    assert checks["data_update.failed"].status == "critical"
    assert "check does not hold for 1 row. It was undone: 20 of 20 rows" in checks["data_update.failed"].message
    assert result["update_after"]["state"] == "undone"
    assert place.sql(CHANGED) == [(0,)]


def test_a_commit_that_nobody_answers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.sql(USERS)
    real, commits = session.Session.end, iter(range(100))

    def end(self: session.Session, how: str) -> None:
        real(self, how)
        if how == "COMMIT" and next(commits) == 0:
            self._connection.close()
            raise session.StatementError("A statement failed: the connection is gone", None)

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, "end", end)
        checks, result = place.run(LAST_LOGIN)
    assert set(bad(checks)) == {"data_update.failed", "data_update.rows"}
    assert "How far it is could not be read" in checks["data_update.failed"].message
    assert (result["changed"], result["update_after"]) == (True, None)
    assert place.sql("SELECT state FROM tradingflow_data_update.updates") == [("running",)]
    checks, _ = place.run(LAST_LOGIN)
    assert bad(checks) == {}


def test_more_rows_than_expected_appear_while_it_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.sql(USERS)
    old = "now() - interval '100 days'"
    between_batches(monkeypatch, 2, lambda: place.sql(f"UPDATE users SET last_login = {old} WHERE id > 60"))
    checks, _result = place.run(LAST_LOGIN)
    assert "60 at most are expected" in checks["data_update.failed"].message
    assert "It was undone" in checks["data_update.failed"].message
    assert place.sql(CHANGED) == [(0,)]


def test_a_table_that_is_altered_meanwhile(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.sql(USERS)
    between_batches(monkeypatch, 3, lambda: place.sql("ALTER TABLE users ADD COLUMN late int"))
    checks, result = place.run(LAST_LOGIN)
    message = checks["data_update.failed"].message
    assert "was altered meanwhile" in message
    assert "It cannot be undone: the columns" in message
    assert (result["update_after"]["state"], result["update_after"]["rows"]) == ("running", 20)
    assert set(place.refused(LAST_LOGIN)) == {"changed"}
    assert set(place.refused(LAST_LOGIN, action="undo")) == {"columns"}
    place.sql("ALTER TABLE users DROP COLUMN late")
    checks, result = place.run(LAST_LOGIN, action="undo")
    assert bad(checks) == {}
    assert result["undo"]["restored"] == 20
    assert place.sql(CHANGED) == [(0,)]


def test_a_full_disk_stops_it_and_nothing_is_undone(place: Place) -> None:
    full = PAUSE.replace("PERFORM pg_sleep(600);", "RAISE disk_full;").replace("VALUES (26)", "VALUES (44)")
    place.sql(f"{USERS}; {full}")
    change = {**LAST_LOGIN, "triggers": ["pause"]}
    checks, result = place.run(change)
    assert set(bad(checks)) == {"data_update.failed"}
    assert "stay so: run it again to go on" in checks["data_update.failed"].message
    assert (result["update_after"]["state"], place.sql(CHANGED)) == ("running", [(20,)])
    place.sql("DELETE FROM pause")
    checks, result = place.run(change)
    assert bad(checks) == {}
    assert place.sql(CHANGED) == [(50,)]


def test_before_images_go_when_nothing_needs_them(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def purged(before: str = "2026-01-10", **others: Any) -> tuple[dict[str, Check], dict[str, Any]]:
        return place.run(LAST_LOGIN, action="purge", purge_before=before, **others)

    monkeypatch.setattr(purge, "_newest_point", lambda options, database: datetime(2026, 1, 5, tzinfo=UTC))
    for name in ("a", "b", "c", "d"):
        place.sql(f"DROP TABLE IF EXISTS users; {USERS}")
        checks, _ = place.run({**LAST_LOGIN, "id": name})
        assert bad(checks) == {}
    for id, ended in (("a", "2026-01-01"), ("b", "2026-01-06"), ("c", "2026-01-20"), ("d", "2026-01-02")):
        place.sql(f"UPDATE tradingflow_data_update.updates SET ended_at = '{ended}' WHERE change = '{id}'")
    place.sql("UPDATE tradingflow_data_update.updates SET state = 'undoing' WHERE change = 'd'")
    # Not yet, and not without a date.
    checks, result = purged((datetime.now(UTC) - timedelta(days=20)).strftime("%Y-%m-%d"))
    assert set(bad(checks)) == {"data_update.refused:date"}
    with pytest.raises(ConfigurationError, match="data_update_purge_before is None"):
        place.run(LAST_LOGIN, action="purge")

    planned = engine.plan(place.options(LAST_LOGIN, action="purge", purge_before="2026-01-10"))
    assert [each["change"] for each in planned["go"]] == ["a"]
    assert {each["change"]: each["why"] for each in planned["stay"]} == {
        "b": "no recovery point was made since",
        "c": "it ended later",
        "d": "it is undoing",
    }
    images = "SELECT relname FROM pg_class WHERE relname ~ '^images_[0-9]+$' ORDER BY 1"
    assert place.sql(images) == [("images_1",), ("images_2",), ("images_3",), ("images_4",)]
    checks, result = purged()
    assert bad(checks) == {}
    assert place.sql(images) == [("images_2",), ("images_3",), ("images_4",)]
    # Without them it cannot be undone, nor is it carried out again.
    assert set(place.refused({**LAST_LOGIN, "id": "a"}, action="undo")) >= {"purged"}
    checks, result = purged()
    assert result["nothing"] == "Nothing to remove."

    # What fails in the middle leaves what is gone on the record.
    monkeypatch.setattr(purge, "_newest_point", lambda options, database: datetime(2026, 1, 25, tzinfo=UTC))
    with place.session() as cursor:
        cursor.execute("LOCK TABLE tradingflow_data_update.images_3")
        checks, result = purged("2026-01-24")
    assert set(bad(checks)) == {"data_update.failed"}
    assert "lock timeout. Those of 1 update of 2 are gone." in checks["data_update.failed"].message
    assert (result["changed"], result["gone"]) == (True, [2])
    assert findings(result, "2026-11-29T17:00:00Z")[2]["purged"] == [2]
    assert place.sql(images) == [("images_3",), ("images_4",)]


@pytest.mark.parametrize("rechecks", [True, False])
def test_others_change_rows_of_the_very_batch(place: Place, monkeypatch: pytest.MonkeyPatch, rechecks: bool) -> None:
    # An older server would go on over their version of a row that is known by its ctid.
    monkeypatch.setattr(work, "rechecks_tid", lambda version: rechecks)
    place.sql(USERS)
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
    with place.session() as cursor:
        cursor.execute(
            "UPDATE users SET note = 'theirs' WHERE id = 44; UPDATE users SET last_login = now() WHERE id = 46"
        )

        def release() -> None:
            until(lambda: place.sql(waiting) != [(0,)])
            cursor.connection.commit()

        thread = threading.Thread(target=release)
        thread.start()
        checks, result = place.run({**LAST_LOGIN, "check": None}, lock_timeout=60.0)
        thread.join()
    assert bad(checks) == {}
    # Their row that matches no more is left as they have it, and the other is changed as it was then.
    assert (result["verified"]["rows"], result["attempts"]) == (49, 1 if rechecks else 0)
    assert place.sql("SELECT note, last_login > now() - interval '1 hour' FROM users WHERE id = 44") == [
        ("theirs", True)
    ]
    theirs = place.sql("SELECT last_login FROM users WHERE id = 46")
    checks, _ = place.run({**LAST_LOGIN, "check": None}, action="undo")
    assert bad(checks) == {}
    assert place.sql("SELECT last_login FROM users WHERE id = 46") == theirs
    assert place.sql("SELECT note, last_login < now() - interval '99 days' FROM users WHERE id = 44") == [
        ("theirs", True)
    ]
