"""What a line of a log is: times, levels, messages."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.entries import Entries
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.times import Times
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.logs_fixtures import NOON, source

AT = datetime(2026, 11, 24, 11, 59, 58, tzinfo=UTC).timestamp()


def entries(**given: Any) -> Entries:
    return Entries(source(**given), Times("UTC", NOON))


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-24T11:59:58Z ERROR it broke",
        "2026-11-24 11:59:58,000 ERROR it broke",
        "2026-11-24 11:59:58 UTC [15177] user@db app ERROR:  it broke",
        "2026-11-24T12:59:58.000+01:00 host app[12]: ERROR it broke",
        "2026-11-24 06:59:58 -0500 [error]: it broke",
        "2026-11-24 11:59:58 - books - ERROR - it broke",
        "2026/11/24 11:59:58 [error] it broke",
        "[2026-11-24T11:59:58.000Z] app.ERROR: it broke",
        "ERROR 2026-11-24 11:59:58 it broke",
        "[Tue Nov 24 11:59:58.000000 2026] [core:error] it broke",
        "Nov 24 11:59:58 host app[12]: error: it broke",
        "<27>Nov 24 11:59:58 host app[12]: it broke",
        "E1124 11:59:58.000000   15 books.go:12] it broke",
        "1795521598.000 ERROR it broke",
        'time="2026-11-24T11:59:58Z" level=error msg="it broke"',
        'time=2026-11-24T11:59:58Z level=ERROR+2 msg="it broke"',
        '{"@t": "2026-11-24T11:59:58Z", "@l": "Error", "@m": "it broke"}',
        '{"t": {"$date": "2026-11-24T11:59:58Z"}, "s": "E", "msg": "it broke"}',
        '{"timeUnixNano": "1795521598000000000", "severityNumber": 17, "body": "it broke"}',
        '{"TIME": "2026-11-24T11:59:58Z", "LEVEL": "ERROR", "MSG": "it broke"}',
        '{"datetime": "2026-11-24T11:59:58Z", "level": 400, "level_name": "ERROR", "message": "it broke"}',
        "2026-11-24T11:59:58Z [Error] it broke",
        "2026-11-24T11:59:58Z error it broke",
        "2026-11-24T11:59:58Z fail: it broke",
        "2026-11-24 11:59:58 UTC [1] FEHLER:  it broke",
        "2026-11-24 11:59:58 UTC [1] ERREUR:  it broke",
        "ERRO[2026-11-24T11:59:58Z] it broke",
        "24 Nov 2026 11:59:58 ERROR it broke",
        "Nov 24, 2026 11:59:58 AM ERROR it broke",
        "ts=1795521598 lvl=eror level=error msg=it",
        '{"at": "2026-11-24T11:59:58Z", "level": "error", "event": "it broke"}',
        '{"time": 1795521598000, "severity": "ERROR", "message": "it broke"}',
        '{"@timestamp": "2026-11-24T11:59:58Z", "log.level": "error", "message": "it broke"}',
        '{"@timestamp": "2026-11-24T11:59:58Z", "log": {"level": "error"}, "message": "it broke"}',
        '{"log": "ERROR it broke\\n", "stream": "stderr", "time": "2026-11-24T11:59:58Z"}',
        '{"log": "{\\"level\\": \\"error\\"}\\n", "stream": "stderr", "time": "2026-11-24T11:59:58Z"}',
        "2026-11-24T11:59:58.000000000Z stderr F ERROR it broke",
    ],
)
def test_usual_forms(line: str) -> None:
    found = entries().line(line)
    assert (found.at, found.level, found.begins) == (AT, "error", True)
    if "it broke" in line:
        assert found.text.endswith("it broke")


@pytest.mark.parametrize(
    ("word", "level"),
    [
        *(("TRACE", "debug"), ("DEBUG3", "debug"), ("INFO", "info"), ("NOTICE", "info"), ("WARN", "warning")),
        *(("WARNING", "warning"), ("SEVERE", "error"), ("CRITICAL", "critical"), ("PANIC", "critical")),
        *(("EMERG", "critical"), ("ODD", None)),
    ],
)
def test_words_of_levels(word: str, level: str | None) -> None:
    assert entries().line(f"2026-11-24T11:59:58Z {word} hello").level == level


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("all well, no error here", None),
        ("errors=0 warnings=0", None),
        ("/var/log/ERROR.log opened", None),
        ("INFO retrying after ERROR", "info"),
        ("GET /ERROR 200", None),
    ],
)
def test_words_that_are_no_level(text: str, level: str | None) -> None:
    assert entries().line(f"2026-11-24T11:59:58Z {text}").level == level


def test_level_of_postgresql_in_a_language_nobody_knows_is_named() -> None:
    for word in ("ОШИБКА", "エラー"):
        assert entries().line(f"2026-11-24 11:59:58 UTC [1] {word}:  it broke").strange == word


@pytest.mark.parametrize(
    "text", ["11:59:58.123 [error] it broke", "11:59:58 ERROR it broke", "[pool-1] ERROR it broke"]
)
def test_error_without_a_day_is_an_entry_too(text: str) -> None:
    line = entries().line(text)
    assert (line.begins, line.level, line.at) == (True, "error", None)


def test_numbers_mean_nothing_until_somebody_says_what() -> None:
    """50 is an error to one logger and critical to another, 30 a warning or nothing: never guess."""
    line = '{"time": 1795521598000, "level": 50, "msg": "it broke"}'
    assert entries().line(line).level is None
    assert entries(levels={"50": "error"}).line(line).level == "error"


def test_patterns_of_the_operator() -> None:
    found = entries(
        time_pattern=r"^\S+ \S+ \[(\S+ \S+)\]",
        time_format="%d.%m.%y %H:%M:%S",
        level_pattern=r"<(\w+)>",
        levels={"kaputt": "critical"},
    ).line("a b [24.11.26 11:59:58] <kaputt> it broke")
    assert (found.at, found.level) == (AT, "critical")


def test_access_log_by_its_codes() -> None:
    given = {"level_pattern": r'" ([1-5])\d\d ', "levels": {"2": "info", "4": "warning", "5": "error"}}
    line = '10.0.0.1 - - [24/Nov/2026:11:59:58 +0000] "GET / HTTP/1.1" {} 12'
    found = [entries(**given).line(line.format(code)) for code in (200, 404, 503)]
    assert [(line.at, line.level) for line in found] == [(AT, "info"), (AT, "warning"), (AT, "error")]


@pytest.mark.parametrize(
    "given",
    [{"level_pattern": "("}, {"time_pattern": "(a)(b)"}, {"levels": {"x": "terrible"}}],
)
def test_patterns_that_are_none(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        entries(**given)


def test_what_belongs_to_an_error_of_postgresql_is_no_entry() -> None:
    line = entries().line("2026-11-24 11:59:58 UTC [1] u@d app STATEMENT:  SELECT 'ERROR'")
    assert (line.at, line.begins) == (None, False)


def test_time_within_a_message_is_none() -> None:
    assert entries().line("VALUES ('2026-11-24 11:59:58')").at is None
    assert entries().line("  2026-11-24 11:59:58 indented").at is None
    assert entries().line(f"{'x' * 60} 2026-11-24 11:59:58").at is None


@pytest.mark.parametrize(
    "text", ["2026-02-31 10:00:00 x", "2026-11-24 25:00:00 x", "Feb 31 10:00:00 x", "0000000001 x"]
)
def test_times_that_do_not_exist(text: str) -> None:
    assert entries().line(text).at is None


def test_line_that_was_cut_still_has_its_level() -> None:
    line = entries().line('{"at": "2026-11-24T11:59:58Z", "level": "error", "event": "xxxxxxx')
    assert (line.at, line.level) == (AT, "error")


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_no_line_breaks_it(text: str) -> None:
    for form in ("auto", "json", "logfmt", "text"):
        entries(format=form).line(text)
    entries().line("{" + text)
    entries().line("[" * 3000)
    entries().line('{"a":' * 3000)


# Zones


def test_year_is_the_last_that_fits() -> None:
    january = datetime(2026, 1, 2, tzinfo=UTC).timestamp()
    found = Times("UTC", january).find("Dec 31 23:59:59 host x: y")
    assert found
    assert datetime.fromtimestamp(found[0], UTC) == datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)
    leap = Times("UTC", NOON).find("Feb 29 10:00:00 host x: y")
    assert leap
    assert datetime.fromtimestamp(leap[0], UTC).year == 2024


@pytest.fixture
def berlin() -> Iterator[None]:
    """This process in Berlin."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Europe/Berlin"
    time.tzset()
    yield
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("zone", ["local", "Europe/Berlin"])
@pytest.mark.parametrize("day", [datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 3, 28, 22, tzinfo=UTC)])
def test_local_times_over_a_change_of_summer_time(zone: str, day: datetime) -> None:
    """The hour that comes twice, and the one that does not come, in lines without a zone."""
    times = Times(zone, NOON)
    true = [day + timedelta(minutes=10 * step) for step in range(60)]
    written = [moment.astimezone(ZoneInfo("Europe/Berlin")).strftime("%Y-%m-%d %H:%M:%S x") for moment in true]
    found = [times.find(line) for line in written]
    assert [at and datetime.fromtimestamp(at[0], UTC) for at in found] == true


@pytest.mark.usefixtures("berlin")
def test_abbreviation_of_the_zone_says_which_hour_it_is() -> None:
    times = Times("local", NOON)
    summer, winter = times.find("2026-10-25 02:30:00 CEST x"), times.find("2026-10-25 02:30:00 CET x")
    assert summer
    assert winter
    assert winter[0] - summer[0] == 3600


def test_zone_that_does_not_exist() -> None:
    with pytest.raises(ConfigurationError, match="no time zone"):
        Times("Europe/Atlantis", NOON)
