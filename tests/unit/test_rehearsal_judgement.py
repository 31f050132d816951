"""What a rehearsal means for the report and the ledger, on plain data."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._migration import load, rehearsed

ENTRY = {"revision": "b2", "title": "Widen ids", "digest": "d", "digest_of": "sql", "source_sha256": "s", "sql": "A"}
LOCK = {"on": "public.orders", "mode": "AccessExclusiveLock", "seconds": 2.5}
ROW = {
    "revision": "b2",
    "attempt": 1,
    "at": 0.5,
    "sql": "ALTER",
    "seconds": 2.0,
    "waited": 0.5,
    "mode": "AccessExclusiveLock",
    "ended": "done",
    "wal_bytes": 5_000_000,
    "rewritten": [{"on": "public.orders", "bytes": 7_000_000, "new": False}],
}
STOPPED = {"on": "public.orders", "kind": "read", "at": 1.0, "seconds": 2.4}
RESULT: dict[str, Any] = {
    "recovery_point": "p",
    "proven": "ok",
    "database": {"name": "n", "system_identifier": "7"},
    "current": ["a1"],
    "target": ["b2"],
    "heads": ["b2"],
    "pending": [ENTRY],
    "digest": "dd",
    "refusals": [],
    "done": [{"revision": "b2", "seconds": 4.0, "attempts": 2, "locks": [LOCK], "statements": []}],
    "timeline": [ROW],
    "waits": [],
    "again": {"b2": 3.0},
    "undone": True,
    "left": [],
    "untouched": [],
    "downgrades": [{"revision": "b2", "seconds": 1.0, "error": None}],
    "load": {
        "sessions": 4,
        "tables": ["s.t"],
        "done": 90,
        "lost": 0,
        "errors": {},
        "blocked": [STOPPED],
        "blocked_seconds": 2.4,
    },
    "sizes": [],
    "database_bytes": {"before": 1000, "after": 2000},
    "severed": [],
    "problem": None,
    "seconds": 9.0,
}
OPTIONS = {"lock_timeout": 3.0, "target": "head", "user": "owner", "load_sessions": 4}
PROBLEM = {"kind": "MigrationError", "message": "It broke.", "remedy": "Mend it."}
LOAD = RESULT["load"]


@pytest.mark.parametrize(
    ("change", "statuses"),
    [
        ({}, {}),
        ({"problem": PROBLEM}, {"migration.rehearsal": "critical"}),
        ({"problem": {**PROBLEM, "kind": "DatabaseError"}}, {"migration.rehearsal": "unknown"}),
        ({"undone": False, "left": ["column s.t.c"]}, {"migration.downgrade": "warning"}),
        ({"downgrades": [{"revision": "b2", "seconds": 1.0, "error": "no"}]}, {"migration.downgrade": "warning"}),
        ({"load": {**LOAD, "blocked": [{**STOPPED, "seconds": 3.0}]}}, {"migration.load_blocked": "warning"}),
        # No load, or one that could do nothing, says nothing of who would be stopped.
        ({"load": {**LOAD, "sessions": 0}}, {"migration.load_blocked": "unknown"}),
        ({"load": {**LOAD, "done": 0, "errors": {"permission denied": 9}}}, {"migration.load_blocked": "unknown"}),
        ({"load": {**LOAD, "lost": 1, "errors": {"gone": 1}}}, {"migration.load_blocked": "unknown"}),
        ({"untouched": ["s.u"]}, {"migration.load_blocked": "unknown"}),
        ({"severed": ["far"]}, {"migration.foreign_servers": "warning"}),
    ],
)
def test_what_the_report_says(change: dict[str, Any], statuses: dict[str, str]) -> None:
    checks, (action,), kept = rehearsed.findings({**RESULT, **change}, "", OPTIONS, "now")
    assert {check.id: check.status for check in checks if check.status != "ok"} == statuses
    assert action["status"] == ("failed" if "problem" in change else "ok")
    assert kept is not None
    assert kept["worst_status"] == next(iter(statuses.values()), "ok")


def test_what_the_ledger_keeps() -> None:
    _checks, _actions, kept = rehearsed.findings(RESULT, "", OPTIONS, "now")
    assert kept is not None
    (revision,) = kept["revisions"]
    assert revision == {
        **{key: ENTRY[key] for key in ("revision", "title", "digest", "digest_of", "source_sha256")},
        "done": True,
        "seconds": 4.0,
        "attempts": 2,
        "locks": [LOCK],
        "wal_bytes": 5_000_000,
        "rewritten_bytes": 7_000_000,
        "again_seconds": 3.0,
        # The two seconds, without the half of waiting in them.
        "work_seconds": 1.5,
        "downgrade": RESULT["downgrades"][0],
        "statements": [
            {"sql": "ALTER", "seconds": 2.0, "waited": 0.5, "mode": "AccessExclusiveLock", "wal_bytes": 5_000_000}
        ],
    }
    assert (kept["blocked_seconds"], kept["longest_blocked"]) == (2.4, STOPPED)


def test_nothing_that_was_not_rehearsed_is_kept() -> None:
    refused = {**RESULT, "refusals": [{"name": "heads", "message": "Two heads.", "remedy": "Merge."}], "done": []}
    checks, _actions, kept = rehearsed.findings(refused, "", OPTIONS, "now")
    assert ([check.status for check in checks], kept) == (["critical"], None)
    nothing = {**RESULT, "pending": [], "done": [], "timeline": [], "load": None, "downgrades": [], "current": ["b2"]}
    checks, _actions, kept = rehearsed.findings(nothing, "", OPTIONS, "now")
    assert ([check.status for check in checks], kept) == (["ok"], None)
    assert "Nothing to rehearse: the copy is at b2." in checks[0].message


def test_without_a_proven_copy_nothing_is_known() -> None:
    (check,), (action,), kept = rehearsed.findings(None, "Rows are missing.", OPTIONS, "now")
    assert (check.status, action["status"], kept) == ("unknown", "failed", None)
    assert "Rows are missing." in check.message


def test_a_lock_that_nobody_saw_is_not_called_none() -> None:
    alone = {**ROW, "mode": None, "autocommit": True}
    done = [{**RESULT["done"][0], "locks": []}]
    checks, _actions, _kept = rehearsed.findings({**RESULT, "timeline": [alone], "done": done}, "", OPTIONS, "now")
    (revision,) = [check for check in checks if check.id == "migration.rehearsed:b2"]
    assert "of 1 statement they were not seen" in revision.message


def test_time_in_which_somebody_was_stopped() -> None:
    spans = [(5.0, 1.0), (1.0, 2.0), (2.0, 0.5), (2.5, 1.5)]
    assert load.together([{"at": at, "seconds": seconds} for at, seconds in spans]) == 4.0
    assert load.together([]) == 0.0
