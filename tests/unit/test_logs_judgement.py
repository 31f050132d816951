"""Area logs judged: limits, the past, new kinds of errors, and what is in doubt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.logs import (
    check_options,
    judged,
    no_sources,
    per_hour,
    since_of,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.fingerprints import fingerprint_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.positions import MOST, record
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.build import LONGEST_DETAILS
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.logs_fixtures import HOUR, NOON, entry, options, reading, source, write

History = dict[str, list[dict[str, Any]]]
NOTHING: History = {"errors": [], "new_errors": []}
OLD = entry(NOON - 50 * HOUR)


def log(tmp_path: Path, errors: int, *texts: str, spread: float = 23 * HOUR) -> Path:
    """A log of one day with so many errors, and one of each text."""
    lines = [OLD, entry(NOON - 24 * HOUR + 1)]
    lines += [entry(NOON - spread + number, "ERROR", f"order {number} failed") for number in range(errors)]
    lines += [entry(NOON - 5, "ERROR", text) for text in texts]
    return write(tmp_path / "app.log", [*lines, entry(NOON - 1)])


def past(rates: list[float], *known: str) -> History:
    """Earlier reports with these rates, which knew these messages."""
    return {
        "errors": [{"status": "ok", "value": rate, "details": {"until": "2026-11-23T12:00:00.000Z"}} for rate in rates],
        "new_errors": [
            {"status": "ok", "value": 0, "details": {"known": [fingerprint_of(text) for text in known]}} for _ in rates
        ],
    }


def judge(path: Path, history: History = NOTHING, since: float = 24 * HOUR, **given: Any) -> dict[str, Check]:
    """The checks of a log by their names."""
    own = {key: given.pop(key) for key in list(given) if key not in ("thresholds", "growth", "minimum", "runs")}
    settings = options({"name": "app", **own}, **given)
    found = judged(reading(path, since=since, **own), settings["sources"][0], settings, history)
    return {check.id.partition(".")[2].partition(":")[0]: check for check in found}


def statuses(checks: dict[str, Check]) -> tuple[str, str, str]:
    return checks["readable"].status, checks["errors"].status, checks["new_errors"].status


def test_first_run_is_judged_by_limits_only(tmp_path: Path) -> None:
    checks = judge(log(tmp_path, 240))
    assert statuses(checks) == ("ok", "ok", "ok")
    assert checks["errors"].value == 10
    assert "not judged against its past yet: 0 of 5 runs" in checks["errors"].message
    assert "no earlier run to compare with" in checks["new_errors"].message
    assert statuses(judge(log(tmp_path, 2400)))[1] == "warning"
    assert statuses(judge(log(tmp_path, 24000)))[1] == "critical"
    assert statuses(judge(log(tmp_path, 240), errors={"critical": 5.0}))[1] == "critical"


@pytest.mark.parametrize(
    ("usual", "errors", "status"),
    [
        (1.0, 71, "ok"),  # just under three times
        (1.0, 72, "warning"),
        (1.0, 239, "warning"),
        (1.0, 240, "critical"),
        (0.0, 9, "ok"),  # fewer than the minimum
        (0.0, 10, "warning"),
        (0.0, 33, "warning"),
        (0.0, 34, "critical"),
        (90.0, 2160, "ok"),  # much, and as ever
        (90.0, 2400, "warning"),  # the limit stands whatever is usual
    ],
)
def test_against_what_is_usual(tmp_path: Path, usual: float, errors: int, status: str) -> None:
    checks = judge(log(tmp_path, errors), past([usual] * 4 + [50 * usual + 7], "order 1 failed"))
    assert statuses(checks) == ("ok", status, "ok")
    assert f"usual is {usual:g} an hour" in checks["errors"].message


def test_short_window_counts_as_an_hour(tmp_path: Path) -> None:
    """Two runs within minutes: one error is not sixty an hour, a burst is still one."""
    history = past([0.0] * 6, "order 1 failed")
    assert statuses(judge(log(tmp_path, 9, spread=60), history, since=60))[1] == "ok"
    assert statuses(judge(log(tmp_path, 50, spread=60), history, since=60))[1] == "critical"


def test_runs_that_could_not_measure_say_nothing_of_what_is_usual(tmp_path: Path) -> None:
    history = past([0.0] * 5, "order 1 failed")
    for check in history["errors"][:2]:
        check.update(status="unknown", value=None)
    assert "3 of 5 runs" in judge(log(tmp_path, 30), history)["errors"].message


def test_new_kind_of_error_with_its_sample(tmp_path: Path) -> None:
    checks = judge(log(tmp_path, 3, "venue XLON refused token=hush42"), past([1.0], "order 1 failed"))
    assert statuses(checks) == ("ok", "ok", "warning")
    new = checks["new_errors"]
    assert new.value == 1
    assert [(kind["count"], kind["sample"]) for kind in new.details["new"]] == [(1, "venue XLON refused token=***")]
    assert "venue XLON refused token=***" in new.message
    assert "hush42" not in json.dumps([check.as_dict() for check in checks.values()])
    # The next run knows it, and all that was known before.
    assert set(new.details["known"]) >= {fingerprint_of("order 1 failed"), fingerprint_of("venue XLON refused token=b")}


def test_what_was_known_is_carried_over_quiet_and_unknown_runs(tmp_path: Path) -> None:
    history = past([1.0], "order 1 failed")
    quiet = judge(log(tmp_path, 0), history)["new_errors"]
    lost = judge(tmp_path / "missing", history)["new_errors"]
    for check in (quiet, lost):
        assert check.details["known"] == [fingerprint_of("order 1 failed")]
    later = {"errors": [], "new_errors": [lost.as_dict()]}
    assert statuses(judge(log(tmp_path, 1), later))[2] == "ok"
    assert statuses(judge(log(tmp_path, 1, "something else"), later))[2] == "warning"


def test_silence_is_unknown_unless_it_is_well(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log", [OLD], NOON - 50 * HOUR)
    checks = judge(path)
    assert statuses(checks) == ("unknown", "unknown", "unknown")
    assert "Nothing was logged" in checks["readable"].message
    # It was read, though: the next run goes on from here.
    assert checks["errors"].details["until"] == "2026-11-24T12:00:00.000Z"
    assert statuses(judge(path, quiet_ok=True)) == ("ok", "ok", "ok")


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    checks = judge(tmp_path / "missing", quiet_ok=True)
    assert statuses(checks) == ("unknown", "unknown", "unknown")
    assert all("is not there" in check.message and check.remedy for check in checks.values())
    assert "until" not in checks["errors"].details


@pytest.mark.parametrize(
    "given",
    [{"level_pattern": "("}, {"time_zone": "Europe/Atlantis"}, {"levels": {"a": "b"}}],
)
def test_source_that_makes_no_sense_is_unknown(tmp_path: Path, given: dict[str, Any]) -> None:
    checks = judge(log(tmp_path, 1), **given)
    assert statuses(checks) == ("unknown", "unknown", "unknown")
    assert checks["readable"].remedy


def test_doubt_is_never_ok_and_never_hides_what_is_bad(tmp_path: Path) -> None:
    history = past([0.0] * 5, "order 1 failed")
    lines = [entry(NOON - 20 * HOUR + number, "INFO", "x" * 100) for number in range(20000)]
    path = write(tmp_path / "app.log", [*lines, entry(NOON - 1)])
    checks = judge(path, history, max_bytes=500_000)
    assert statuses(checks) == ("unknown", "unknown", "unknown")
    assert "only the newest was read" in checks["readable"].message
    lines += [entry(NOON - 2000 + number, "ERROR", "out of order") for number in range(100)]
    assert statuses(judge(write(path, [*lines, entry(NOON - 1)]), history, max_bytes=500_000)) == (
        "unknown",
        "critical",
        "warning",
    )


def test_levels_that_cannot_be_told(tmp_path: Path) -> None:
    lines = [OLD, *(entry(NOON - 100 + number, "" if number % 5 == 0 else "INFO") for number in range(90))]
    path = write(tmp_path / "app.log", lines)
    checks = judge(path)
    assert statuses(checks) == ("unknown", "unknown", "unknown")
    assert "20 % of the entries have no level" in checks["errors"].message
    assert statuses(judge(path, max_unknown_levels=50.0)) == ("ok", "ok", "ok")


@pytest.mark.parametrize("hours", [-2, 2])
def test_wrong_time_zone_is_in_doubt(tmp_path: Path, hours: float) -> None:
    """A log of another zone than said: hours of it would be missing without a word."""
    times = [NOON - 10 * HOUR + 60 * minute for minute in range(600)]
    lines = [entry(at + hours * HOUR).replace("Z", "").replace("T", " ") for at in times]
    checks = judge(write(tmp_path / "app.log", lines), time_zone="UTC")
    assert statuses(checks) == ("unknown", "unknown", "unknown")
    assert "time_zone" in checks["readable"].message


# Options


def test_since_is_where_the_last_run_that_read_it_ended() -> None:
    def checks(*details: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"status": "unknown", "value": None, "details": item} for item in details]

    plain, app = options({"name": "app"}), source()
    assert since_of(app, plain, []) == "86400"
    until = {"until": "2026-11-24T06:00:00.500Z"}
    assert since_of(app, plain, checks({"until": "2026-11-23T06:00:00Z"}, until, {})) == "2026-11-24T05:59:59.500Z"
    assert since_of(app, plain, checks({"until": "nonsense"}, {"until": None})) == "86400"
    assert since_of(app, options({"name": "app"}, since="600"), checks(until)) == "600"
    assert since_of(source(since="60"), options({"name": "app"}, since="600"), checks(until)) == "60"


@pytest.mark.parametrize("since", ["soon", "-5", "nan", "inf", "0", "2026-11-24T06:00:00"])
def test_since_that_is_none_is_unknown(tmp_path: Path, since: str) -> None:
    assert "is no beginning" in judge_problem(tmp_path, since)


def judge_problem(tmp_path: Path, since: str) -> str:
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.reading import read

    return str(read(source(path=str(log(tmp_path, 1))), since, NOON)["problem"])


def test_clock_that_was_set_back_reads_a_day(tmp_path: Path) -> None:
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.reading import read

    found = read(source(path=str(log(tmp_path, 5))), "2026-12-24T06:00:00Z", NOON)
    assert found["counts"]["error"] == 5


@pytest.mark.parametrize(
    "given",
    [
        {"thresholds": {"errors": {"warning": float("nan")}}},
        {"growth": {"warning": 0.5}},
        {"minimum": 0},
    ],
)
def test_options_that_make_no_sense(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        check_options(options({"name": "app"}, **given))


def test_two_sources_of_one_name_and_sizes_that_are_none() -> None:
    with pytest.raises(ConfigurationError, match="named 'a'"):
        check_options(options({"name": "a"}, {"name": "a"}))
    with pytest.raises(ConfigurationError, match="max_bytes"):
        check_options(options({"name": "a", "max_bytes": 0}))


def test_no_sources() -> None:
    assert no_sources(expected=True).status == "unknown"
    assert no_sources(expected=False).status == "ok"


# Bounds


@settings(max_examples=20, deadline=None)
@given(st.lists(st.text(min_size=20, max_size=400), min_size=1, max_size=700, unique=True))
def test_details_always_fit_into_the_report(texts: list[str]) -> None:
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.fingerprints import Kinds

    kinds = Kinds()
    for text in texts:
        kinds.add("error", text)
    settings = options({"name": "app"})
    found = {
        "problem": "",
        "doubts": ["x" * 300] * 5,
        "counts": {**dict.fromkeys(("debug", "info", "warning", "critical", "unknown"), 0), "error": len(texts)},
        "since": "s",
        "until": "u",
        "begins": "b",
        "seconds": 1.0,
        "bytes": 1,
        "guessed": 0,
        "where": "w",
        "sources": ["/" + "x" * 120] * 10,
        "kinds": kinds.commonest(),
        "kinds_beyond": kinds.beyond,
        "files": [record(2**63, b"x" * 256, 2**40, "é" * 60, True)] * MOST,
    }
    many = [f"{number:012x}" for number in range(600)]
    history = past([1.0])
    history["new_errors"][0]["details"]["known"] = many
    for check in judged(found, settings["sources"][0], settings, history):
        assert len(json.dumps(check.as_dict()["details"])) <= LONGEST_DETAILS
    assert len(check.details["known"]) == 500


def test_rates_are_written_as_counts_are() -> None:
    assert [per_hour(rate) for rate in (0, 0.5, 12.25, 99.99, 1202.0, 1234567.4)] == [
        *("0", "0.5", "12.25", "99.99", "1,202", "1,234,567")
    ]
