"""What a run shows on the screen while it goes on: each line says something new."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.callback.operator import reasons, shortened
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.job import BACKUP
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import one_line
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import job


def bad(status: str, title: str, message: str) -> dict[str, Any]:
    return {"status": status, "title": title, "message": message}


def test_the_worst_comes_first_and_what_many_checks_say_comes_once() -> None:
    hidden = [bad("unknown", f"Check {n}", f"Check {n}: the database does not answer.") for n in range(23)]
    checks = [bad("warning", "Disk", "/ is 91 % full."), *hidden, bad("critical", "Database answers", "It does not.")]
    assert reasons(checks) == [
        ("critical", "Database answers: It does not.", 1),
        ("unknown", "23 checks: the database does not answer.", 23),
        ("warning", "Disk: / is 91 % full.", 1),
    ]
    # The title stands there once.
    assert reasons(hidden[:1]) == [("unknown", "Check 0: the database does not answer.", 1)]


def test_a_long_message_is_cut_between_words_and_a_short_one_is_left_alone() -> None:
    short = "It  does not."
    assert shortened(short) == short
    cut = shortened("Nobody knows. " * 50)
    assert len(cut) <= 240
    assert cut.endswith(("knows. …", "Nobody …"))


def test_progress_is_shown_when_there_is_some(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(job, "INTERVAL", 0.0)
    monkeypatch.setattr(job.display, "display", said.append)
    lines = job.Lines(BACKUP, "db1")
    state = {"phase": "backup", "seconds": 1.0, "bytes_done": 0, "bytes_total": 0}
    for seconds in (1.0, 1.0, 3.0, 3.0, 1.0):
        lines.show({**state, "seconds": seconds})
    assert said == [f"PROGRESS backup db1 backup {seconds} s" for seconds in (1, 3, 1)]


def test_a_refused_connection_is_told_without_a_question() -> None:
    error = RuntimeError(
        'connection to server at "db1", port 5432 failed: Connection refused\n'
        "\tIs the server running on that host and accepting TCP/IP connections?\n"
    )
    assert one_line(error) == 'connection to server at "db1", port 5432 failed: Connection refused'
