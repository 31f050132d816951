"""What the events of an attempt say of each statement: how long it took, what it waited for, and what it locked."""

from __future__ import annotations

from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import timeline
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration.project import Answers


def lock(name: str, mode: str, kind: str = "r") -> dict[str, Any]:
    return {"schema": "s", "name": name, "kind": kind, "mode": mode}


def statement(number: int, at: float, *, alone: bool = False) -> dict[str, Any]:
    return {"event": "statement", "number": number, "sql": f"S\n {number}", "autocommit": alone, "at": at}


def done(number: int, seconds: float, **facts: Any) -> dict[str, Any]:
    return {"event": "done", "number": number, "seconds": seconds, "tag": "ALTER TABLE", "rows": -1, **facts}


def wait(number: int, seconds: float, mode: str = "AccessExclusiveLock", locktype: str = "relation") -> dict[str, Any]:
    return {
        "statement": number,
        "seconds": seconds,
        "mode": mode,
        "locktype": locktype,
        "on": "s.t",
        "blockers": ["process 7"],
    }


def told(*events: dict[str, Any]) -> Answers:
    answers = Answers()
    for event in events:
        answers.add(event)
    return answers


COMMIT = {"event": "commit", "autocommit": False, "held": [], "written": [], "at": 107.0}
WEAK, STRONG = lock("t", "ShareLock"), lock("t", "AccessExclusiveLock")


def test_what_each_statement_took_and_how_long_it_was_held() -> None:
    answers = told(
        statement(1, 101.0),
        done(1, 0.5, held=[lock("t", "AccessShareLock"), lock("i", "AccessExclusiveLock", "i")]),
        statement(2, 102.0),
        done(2, 1.0, held=[WEAK]),
        statement(3, 104.0),
        done(3, 1.0, held=[WEAK, STRONG, lock("Odd t", "RowExclusiveLock")], wal_bytes=9, files=[]),
        COMMIT,
        statement(4, 108.0),
        done(4, 0.0, held=[WEAK]),
        {"event": "rollback", "at": 108.5},
    )
    rows = timeline.of_attempt("r", 2, answers, [wait(3, 0.25)], {}, 100.0)
    assert [(row["at"], row["seconds"], row["mode"], row["waited"], row["ended"]) for row in rows] == [
        (1.0, 0.5, "", 0, "done"),
        (2.0, 1.0, "ShareLock", 0, "done"),
        (4.0, 1.0, "AccessExclusiveLock", 0.25, "done"),
        # After a commit, the lock is taken anew.
        (8.0, 0.0, "ShareLock", 0, "done"),
    ]
    assert rows[0]["sql"] == "S 1"
    assert {row["attempt"] for row in rows} == {2}
    assert rows[2]["locks"] == [
        {"on": 's."Odd t"', "mode": "RowExclusiveLock"},
        {"on": "s.t", "mode": "AccessExclusiveLock"},
    ]
    assert rows[2]["waits"] == [
        {"mode": "AccessExclusiveLock", "on": "s.t", "seconds": 0.25, "blockers": ["process 7"]}
    ]
    assert (rows[2]["wal_bytes"], "wal_bytes" in rows[1]) == (9, False)
    # From the beginning of the statement that took it to the end of the transaction.
    assert timeline.held(answers, {}) == [
        {"on": "s.t", "mode": "AccessExclusiveLock", "seconds": 3.0},
        {"on": "s.t", "mode": "ShareLock", "seconds": 5.5},
        {"on": 's."Odd t"', "mode": "RowExclusiveLock", "seconds": 3.0},
    ]


def test_a_statement_that_got_nothing_is_shown_with_what_it_asked_for() -> None:
    answers = told(
        statement(1, 101.0),
        {"event": "error", "kind": "OperationalError", "message": "lock timeout", "code": "55P03", "at": 104.5},
    )
    (row,) = timeline.of_attempt("r", 1, answers, [wait(1, 3.0), wait(1, 0.1, "ExclusiveLock", "tuple")], {}, 100.0)
    assert (row["ended"], row["seconds"], row["waited"], row["mode"]) == ("failed", 3.5, 3.1, "AccessExclusiveLock")
    assert row["locks"] == timeline.held(answers, {}) == []


def test_outside_a_transaction_it_is_what_was_seen() -> None:
    answers = told(statement(1, 1.0, alone=True), done(1, 9.0), statement(2, 11.0, alone=True), done(2, 1.0))
    seen = {1: [lock("t", "ShareUpdateExclusiveLock"), lock("v", "AccessShareLock", "v")]}
    rows = timeline.of_attempt("r", 1, answers, [], seen, 0.0)
    assert [row["mode"] for row in rows] == ["ShareUpdateExclusiveLock", None]
    assert timeline.held(answers, seen) == [{"on": "s.t", "mode": "ShareUpdateExclusiveLock", "seconds": 9.0}]


def test_what_is_not_known_counts_as_the_strongest() -> None:
    assert timeline.strongest(["AccessExclusiveLock", "NewLock", "ShareLock"]) == "NewLock"
    assert timeline.strongest([]) == ""


def test_what_is_kept_of_many() -> None:
    rows = [{"at": float(n), "seconds": 0.001, "waited": 0, "ended": "done"} for n in range(1000)]
    rows[500] |= {"seconds": 9.0}
    rows[700] |= {"waited": 0.001}
    rows[999] |= {"ended": "failed"}
    kept = timeline.kept(rows, 4)
    assert [row["at"] for row in kept] == [0.0, 500.0, 700.0, 999.0]
