"""Entries whose level stands where another program put it: behind a prefix, in brackets, as a letter, in an object."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.entries import Entries, Line
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.times import Times

from tests.unit.logs_fixtures import HOUR, NOON, counted, entry, reading, source, stamp, write

TIME = "2026-11-24T11:59:58Z"


def line(text: str) -> Line:
    return Entries(source(), Times("UTC", NOON)).line(text)


@pytest.mark.parametrize(
    "text",
    [
        # JSON behind what docker compose, syslog, a platform or a logger puts before it
        f'app-1  | {{"time": "{TIME}", "level": "error", "msg": "it broke"}}',
        'Nov 24 11:59:58 host app[1]: {"level":"error","msg":"it broke"}',
        f'<30>1 {TIME} host app 1 - - {{"severity":"ERROR","message":"it broke"}}',
        f'{TIME} app[web.1]: {{ "lvl": "eror", "msg": "it broke" }}',
        f'{TIME} {{"msg": "it broke", "level": "error", "stack": "cut off',
        f'{TIME} data "level":"error"',
        # the letters and words of other programs
        f"{TIME} LEVEL=ERROR msg=broke",
        f"{TIME} Level=Error msg=broke",
        f"{TIME} [ERROR/MainProcess] it broke",
        f"{TIME} [main/ERROR]: it broke",
        f"{TIME} [E] it broke",
        f"{TIME} E QUERY    [conn1] it broke",
        f"{TIME} E/Books: it broke",
        f"{TIME} daemon.err app[1]: it broke",
        "Nov 24 11:59:58 local3.error app: it broke",
        # objects
        f'{{"time": "{TIME}", "level": "", "severity": "ERROR", "msg": "it broke"}}',
        f'{{"time": "{TIME}", "level": null, "severity": "ERROR", "msg": "it broke"}}',
        f'{{"time": "{TIME}", "level": "info", "severity": "ERROR", "msg": "it broke"}}',
        '{"text": "...", "record": {"level": {"name": "ERROR", "no": 40}, "message": "it broke", '
        '"time": {"repr": "...", "timestamp": 1795521598.0}}}',
    ],
)
def test_levels_are_seen(text: str) -> None:
    found = line(text)
    assert (found.level, found.begins) == ("error", True)
    assert found.at == pytest.approx(NOON - 2)


@pytest.mark.parametrize(
    ("text", "level"),
    [
        # Data in a message is no level of it.
        (f'{TIME} INFO received {{"level": "error", "code": 5}}', "info"),
        (f'{TIME} WARNING book: {{"severity": "critical"}}', "warning"),
        (f'{TIME} received {{"quantity": 5}}', None),
        # A number is a rank of orders as well as of entries.
        (f'{{"time": "{TIME}", "level": "info", "priority": 1}}', "info"),
        (f"{TIME} [DEBUG/Worker-1] it works", "debug"),
        (f"{TIME} I NETWORK  [listener] it works", "info"),
        (f"{TIME} Error-free since yesterday", None),
    ],
)
def test_what_is_no_error_stays_none(text: str, level: str | None) -> None:
    assert line(text).level == level


def test_a_line_that_is_written_over_is_two(tmp_path: Path) -> None:
    """A carriage return without a line feed: what a progress bar or a terminal's program leaves."""
    text = entry(NOON - 30 * HOUR) + f"{stamp(NOON - 3 * HOUR)} INFO 10 %\r{stamp(NOON - 2 * HOUR)} ERROR it broke\n"
    assert counted(reading(write(tmp_path / "app.log", text))) == {"info": 1, "error": 1}
