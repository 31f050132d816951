"""The watchdog's arithmetic and judgement: names, gaps, timelines, and what the server says against the repository."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import wal
from ansible_collections.tradingflow.maintenance.plugins.module_utils._wal import (
    archived,
    clocks,
    gaps,
    keys,
    names,
    needs,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._wal.points import Points
from ansible_collections.tradingflow.maintenance.plugins.module_utils._wal.repository import Archive, Entry, Repository
from ansible_collections.tradingflow.maintenance.plugins.module_utils._wal.server import Server
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SIZE = 1 << 24
LIMIT = {"warning": 1800, "critical": 3600}


def seg(place: int, line: int = 1, size: int = SIZE) -> str:
    return names.name(line, place, size)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def server(current: int = 10, line: int = 1, **changes: Any) -> Server:
    settings = {"archive_mode": "on", "archive_command": "pgbackrest", "archive_library": "", "archive_timeout": "300"}
    values: dict[str, Any] = {
        "now": NOW,
        "asked_at": NOW,
        "took": 0.0,
        "standby": False,
        "settings": {**settings, **changes.pop("settings", {})},
        "segment": SIZE,
        "version": 15,
        "identifier": "7",
        "archived": seg(current - 1, line),
        "archived_at": ago(60),
        "failed": None,
        "failed_at": None,
        "failed_count": 0,
        "reset_at": ago(86400),
        "current": seg(current, line),
        **changes,
    }
    return Server(**values)


def archive(*places: tuple[int, float], line: int = 1, histories: tuple[int, ...] = ()) -> Archive:
    """An archive whose segments arrived so many seconds ago."""
    found = Archive("15-1", histories=set(histories))
    for place, seconds in places:
        found.segments[seg(place, line)] = Entry("k", 1, "e", ago(seconds))
    return found


def judged(on: Server, has: Archive | None) -> Any:
    where = Repository("p", "local", {"15-1": has} if has else {"14-1": Archive("14-1")}, clock=NOW)
    return archived.judged(on, where, has, LIMIT, "s3")


@given(st.integers(0, 1 << 30), st.integers(1, 99), st.sampled_from([1 << 20, 1 << 24, 1 << 26, 1 << 30]))
def test_names_and_numbers_agree(place: int, line: int, size: int) -> None:
    assert wal.number(names.name(line, place, size), size) == place
    assert names.timeline(names.name(line, place, size)) == line


@given(st.sampled_from([1 << 20, 1 << 24, 1 << 26, 1 << 30]), st.integers(1, 5))
def test_the_size_is_told_by_the_names(size: int, files: int) -> None:
    per_file = (1 << 32) // size
    assert names.guessed_size(seg(place, 1, size) for place in range(per_file - 2, files * per_file + 2)) == size


@given(st.integers(0, 40), st.integers(1, 30), st.sets(st.integers(0, 69), max_size=20))
def test_every_missing_segment_is_found(start: int, length: int, lost: set[int]) -> None:
    places = range(start, start + length)
    there = [seg(place) for place in places if place not in lost]
    found = names.holes([*there, seg(start + length)], seg(start), SIZE)
    missing = {place for hole in found for place in range(hole.first, hole.last + 1)}
    assert missing == lost & set(places)
    assert sum(hole.length for hole in found) == len(missing)


@pytest.mark.parametrize(
    ("second", "missing"),
    [
        (range(5, 9), []),  # left in segment 5, which the first timeline has, too
        (range(6, 9), []),  # left at the end of segment 5
        (range(7, 9), [(2, 6)]),
        ((5, 8), [(2, 6), (2, 7)]),
        ((3, 4), []),  # recovered to an earlier time
    ],
)
def test_timelines(second: Any, missing: list[tuple[int, int]]) -> None:
    segments = [*(seg(place) for place in range(1, 6)), *(seg(place, 2) for place in second)]
    found = names.holes(segments, seg(2), SIZE)
    assert [(hole.timeline, place) for hole in found for place in range(hole.first, hole.last + 1)] == missing
    # Backups of the second timeline do not need the first.
    assert names.holes(segments, seg(8, 2), SIZE) == ([] if 8 in second else [names.Hole(2, 8, 8)])


def test_what_a_gap_cuts_off() -> None:
    def point(id: str, start: int, target: int) -> dict[str, Any]:
        return {"id": id, "engine": {"archive_id": "15-1", "wal_start": seg(start), "target_wal": seg(target)}}

    has = archive(*((place, 0) for place in (*range(2, 6), *range(7, 12))))
    found = gaps.sequence(has, [point("c", 8, 9), point("b", 5, 6), point("a", 2, 3)], SIZE)
    assert (found.missing, found.ends) == (1, {"b": seg(5), "a": seg(5)})


@pytest.mark.parametrize(
    ("on", "has", "status", "value"),
    [
        (server(), archive((9, 100)), "ok", 100),
        # Idle for a day: archive_timeout bounds it.
        (server(archived_at=ago(86400)), archive((9, 86400)), "ok", 300),
        # One more whole segment was written, an hour ago.
        (server(written={seg(9): ago(4000)}, archived=seg(8)), archive((8, 4000)), "critical", 4000),
        # After a standstill: it arrived just now, and is old.
        (server(12, written={seg(9): ago(2000), seg(10): ago(5)}, archived=seg(9)), archive((9, 1)), "warning", 2000),
        (server(failed=seg(9), failed_at=ago(1), failed_count=3, archived=seg(8)), archive((8, 60)), "warning", 60),
        (server(archived=None, archived_at=None), archive((9, 60)), "ok", 60),
        (server(archived=None, archived_at=None), archive((8, 60)), "unknown", 60),
        (server(), archive((8, 60)), "critical", None),
        (server(archived=f"{seg(9)}.00000028.backup"), archive((9, 60)), "ok", 60),
        (server(line=2, archived="00000002.history"), archive((9, 60), line=2), "critical", None),
        (server(line=2, archived="00000002.history"), archive((9, 60), line=2, histories=(2,)), "ok", 60),
        # Of a new timeline nothing arrived: what the old one has beyond is another history.
        (server(12, 2, written={seg(10, 2): ago(4000)}, archived=None), archive((9, 9), (11, 9)), "critical", 4000),
        (server(settings={"archive_mode": "off"}), archive((9, 60)), "critical", None),
        (server(settings={"archive_command": ""}), archive((9, 60)), "critical", None),
        (server(settings={"archive_command": "", "archive_library": "pgbackrest"}), archive((9, 60)), "ok", 60),
        (server(settings={"archive_timeout": "0"}), archive((9, 60)), "warning", 60),
        (server(settings={"archive_timeout": "0"}), archive((9, 86400)), "critical", 86400),
        (server(settings={"archive_timeout": "7200"}), archive((9, 60)), "warning", 60),
        (server(standby=True), archive((9, 60)), "unknown", None),
        (server(), None, "critical", None),
        (server(), archive(), "critical", None),
    ],
)
def test_whether_wal_arrives(on: Server, has: Archive | None, status: str, value: float | None) -> None:
    check = judged(on, has)
    assert (check.status, check.value) == (status, value), check.message


def test_what_may_not_be_seen_is_unknown() -> None:
    on = server()
    del on.settings["archive_command"]
    assert judged(on, archive((9, 60))).status == "unknown"


@pytest.mark.parametrize(
    ("on", "status"),
    [
        (server(), "unknown"),
        (server(12, archived=seg(9), archived_at=ago(3700)), "critical"),
        (server(12, archived=seg(9), archived_at=ago(1900)), "unknown"),
        # Idle: nothing waits.
        (server(archived_at=ago(86400)), "unknown"),
        (server(failed=seg(9), failed_at=ago(1), archived_at=ago(3700)), "critical"),
        (server(settings={"archive_mode": "off"}), "critical"),
    ],
)
def test_without_a_store_it_is_never_well(on: Server, status: str) -> None:
    check = archived.without_repository(on, LIMIT, "The store is silent.", "Wait.", "s3")
    assert check.status == status


@pytest.mark.parametrize(
    ("there", "resolution", "off"),
    [(0.5, 0, 0), (-0.5, 1, 0), (-3, 1, -2), (4, 0, 3), (-70, 0, -70)],
)
def test_clocks(there: float, resolution: float, off: float) -> None:
    begun = NOW
    ended = NOW + timedelta(seconds=1)
    assert clocks.apart(begun, ended, NOW + timedelta(seconds=there), resolution) == off


def test_keys_that_end() -> None:
    limit = {"warning": 30, "critical": 7}

    def status(*dates: str) -> list[str]:
        named = [{"name": f"k{number}", "expires_at": date} for number, date in enumerate(dates)]
        return [check.status for check in keys.keys(named, limit, NOW)]

    assert status() == []
    assert status("2027-11-24") == ["ok"]
    assert status("2027-11-24", "2026-12-10T00:00:00Z") == ["warning"]
    assert status("2026-11-25") == status("2020-01-01") == ["critical"]
    with pytest.raises(ConfigurationError, match="not a date"):
        status("next year")


def test_what_was_never_set_up_is_not_called_damaged() -> None:
    where = Repository("p", "local", clock=NOW)
    arrives = archived.judged(server(), where, None, LIMIT, "s3")
    whole = needs.measure(where, Points(), [], {}, "s3")
    for check in (arrives, whole):
        assert check.status == "critical"
        assert "never set up, or all of them were deleted" in check.message
        assert "playbooks/backup_setup.yml" in check.remedy
        assert "damaged" not in check.message
    # Another one's stanza is there: a wrong name is the nearest thought.
    other = Repository("p", "local", clock=NOW, stanzas=["live"])
    assert "has no stanza local; it has live" in archived.judged(server(), other, None, LIMIT, "s3").message
    # What is left of one is damage.
    rest = Repository("p", "local", clock=NOW, objects={"p/archive/local/archive.info": Entry("k", 1, "e", ago(9))})
    assert "The repository is damaged" in needs.measure(rest, Points(), [], {}, "s3").message
