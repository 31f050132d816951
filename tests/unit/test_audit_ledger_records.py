"""Which records of the ledger are of a period, whatever a clock said."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import ledger_once, ledger_records
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import COMPLETE, Period, Source
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.packing import Scratch

PERIOD = Period("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
#: 1 to 30 of September, 31 to 61 of October, 62 to 64 of November.
TIMES = {
    **{number: f"2026-09-{number:02d}T12:00:00Z" for number in range(1, 31)},
    **{number: f"2026-10-{number - 30:02d}T12:00:00Z" for number in range(31, 62)},
    **{number: f"2026-11-0{number - 61}T12:00:00Z" for number in range(62, 65)},
}


def collect(
    monkeypatch: pytest.MonkeyPatch, staging: Path, changes: dict[int, str | None], times: dict[int, str] | None = None
) -> tuple[Source, list[int]]:
    """The source, and the numbers that were taken. None: the record does not verify."""
    given = {**(TIMES if times is None else times), **changes}

    def walk(store: Any, *_given: Any) -> Any:
        for number in sorted(given, reverse=True):
            store.read(number)
            at = given[number]
            predicate = {"recorded_at": at, "kind": "run", "content": {"clocks": number}}
            yield number, SimpleNamespace(predicate=predicate) if at else None

    taken: list[int] = []

    def read(number: int) -> Any:
        taken.append(number)
        return SimpleNamespace(data=b"%d" % number)

    store = SimpleNamespace(prefix="p/", read=read)
    monkeypatch.setattr(ledger_once, "backwards", walk)
    monkeypatch.setattr(ledger_once, "Store", lambda *_given, **_options: store)
    monkeypatch.setattr(ledger_once, "trusted", lambda _evidence: None)
    options = {"storage": {}, "evidence": {}, "environment_name": "e", "version": "1", "ledger_empty_ok": False}
    with ledger_once.Ledger({**options, "staging": str(staging)}, PERIOD) as ledger:
        collected = ledger_records.ledger_records(options, Scratch(str(staging), 1 << 30), PERIOD, ledger)
        source = collected(Source("ledger", "ledger", COMPLETE))
    # Each is read once.
    assert sorted(taken) == sorted(set(taken))
    lines = gzip.decompress((staging / source.files[0].path).read_bytes()).split()
    assert source.records == len(lines)
    return source, [int(line) for line in lines]


def test_the_records_between_older_and_later_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source, taken = collect(monkeypatch, tmp_path, {})
    assert (source.outcome, source.reason, taken) == ("complete", "", list(range(31, 62)))


@pytest.mark.parametrize("number", [31, 45, 61])
@pytest.mark.parametrize("at", ["2020-01-01T00:00:05Z", "2031-01-01T00:00:05Z"])
def test_a_clock_that_was_wrong_loses_no_other_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, at: str
) -> None:
    source, taken = collect(monkeypatch, tmp_path, {number: at})
    if (number, at[:4]) in {(31, "2020"), (61, "2031")}:
        # At its edge a record is of the period that it says, or of the neighbour.
        assert set(range(32, 61)) <= set(taken)
        return
    assert taken == list(range(31, 62))
    assert source.outcome == "partial"
    assert source.reason == f"the times of records {number} do not fit their numbers: a clock was wrong."


def test_a_clock_that_goes_back_within_the_period_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source, taken = collect(monkeypatch, tmp_path, {50: "2026-10-02T00:00:00Z", 40: "2026-10-09T11:30:00Z"})
    assert taken == list(range(31, 62))
    assert source.reason == "the times of records 50 do not fit their numbers: a clock was wrong."


def test_what_does_not_verify_counts_by_its_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source, taken = collect(monkeypatch, tmp_path, {10: None, 40: None, 63: None})
    assert taken == [number for number in range(31, 62) if number != 40]
    assert source.outcome == "partial"
    assert source.reason.startswith("records 40 are missing or do not verify; the counts differ")
    # Of which period it is nobody knows at the edge.
    source, _taken = collect(monkeypatch, tmp_path, {31: None, 61: None})
    assert source.reason.startswith("records 31, 61 are missing or do not verify")


def test_where_the_look_back_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cut = {number: at for number, at in TIMES.items() if number > 35}
    source, taken = collect(monkeypatch, tmp_path, {}, cut)
    assert taken == list(range(36, 62))
    assert source.reason == "records before number 36 were not looked at."
    many = dict.fromkeys(range(1, 400), "2026-08-01T00:00:00Z")
    many |= {399 + number: at for number, at in TIMES.items() if number > 30}
    source, taken = collect(monkeypatch, tmp_path, {}, many)
    assert (source.outcome, taken) == ("complete", list(range(430, 461)))
