"""Log files of a period, whatever happens to them while they are read."""

from __future__ import annotations

import bz2
import gzip
import os
import random
import shutil
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import log_files
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Period, Source
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.packing import Scratch
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.selection import Selection

PERIOD = Period("2025-10-01T00:00:00Z", "2025-11-01T00:00:00Z")
BEGIN, END = (int(each) for each in PERIOD.epochs())


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def text(*times: float) -> str:
    return "".join(f"{stamp(at)} INFO line of {at:.0f}\n" for at in times)


def collect(path: Path | str, staging: Path, **options: Any) -> Source:
    staging.mkdir(exist_ok=True)
    given = {"name": "app", "path": str(path), "time_zone": "UTC", **options}
    source = log_files.collect(Scratch(str(staging), 1 << 30), PERIOD, given)
    assert not list(staging.rglob("*.partial"))
    files = {each.path for each in source.files}
    assert files == {each.relative_to(staging).as_posix() for each in staging.rglob("*.gz")}
    return Source.from_dict(source.to_dict())


def packed(staging: Path, source: Source) -> str:
    return "".join(
        gzip.decompress((staging / file.path).read_bytes()).decode("utf-8", "replace") for file in source.files
    )


def test_the_period_is_half_open_and_lines_without_a_time_go_with_the_one_before(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(
        "banner\n" + text(BEGIN - 1) + "  of before\n" + text(BEGIN) + "  of it\n" + text(END - 1, END) + "  of after"
    )
    source = collect(tmp_path / "app.log", tmp_path / "out")
    assert packed(tmp_path / "out", source) == text(BEGIN) + "  of it\n" + text(END - 1)
    assert (source.outcome, source.records, [count.records for count in source.counts]) == ("complete", 3, [3, 3])


def test_the_rest_of_an_entry_that_was_rotated_away_is_kept(tmp_path: Path) -> None:
    (tmp_path / "app.log.1").write_text(text(BEGIN - 1, END - 1))
    (tmp_path / "app.log").write_text("  rest of it\n" + text(END + 1))
    source = collect(tmp_path / "app.log", tmp_path / "out")
    assert packed(tmp_path / "out", source) == "  rest of it\n" + text(END - 1)
    (tmp_path / "app.log").write_text("a banner\n" + text(END + 1))
    assert packed(tmp_path / "other", collect(tmp_path / "app.log", tmp_path / "other")) == text(END - 1)


def test_rotated_and_packed_files_are_read_and_old_ones_show_that_it_goes_back(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "app.log").write_text(text(BEGIN + 4))
    (folder / "app.log.1").write_text(text(BEGIN + 3))
    (folder / "app.log.2.gz").write_bytes(gzip.compress(text(BEGIN + 2).encode()))
    (folder / "app.log.3.bz2").write_bytes(bz2.compress(text(BEGIN + 1).encode()))
    late = collect(folder / "app.log", tmp_path / "late")
    assert (late.outcome, late.records, [gap.reason for gap in late.gaps]) == ("partial", 4, ["the log begins late"])
    assert collect(folder / "app.log", tmp_path / "fresh", fresh_ok=True).outcome == "complete"
    (folder / "app.log.4.gz").write_bytes(gzip.compress(text(BEGIN - 9).encode()))
    os.utime(folder / "app.log.4.gz", (0, BEGIN - 5 * 86400))
    source = collect(folder / "app.log", tmp_path / "out")
    assert (source.outcome, source.records) == ("complete", 4)
    (folder / "app.log.2.gz").unlink()
    missing = collect(folder / "app.log", tmp_path / "missing")
    assert missing.outcome == "partial"
    assert [gap.reason for gap in missing.gaps] == ["app.log.2 is missing between its neighbours"]


def test_each_log_of_a_pattern_has_to_reach_back(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "gateway.log").write_text(text(BEGIN - 9, BEGIN + 4))
    (folder / "orders.log").write_text(text(BEGIN + 86400))
    (folder / "old.log").write_text(text(BEGIN - 9 * 86400))
    os.utime(folder / "old.log", (0, BEGIN - 5 * 86400))
    source = collect(folder / "*.log", tmp_path / "out")
    assert (source.outcome, source.records) == ("partial", 2)
    assert [(gap.begin, gap.end, gap.reason) for gap in source.gaps] == [
        (PERIOD.begin, stamp(BEGIN + 86400), "the log orders.log begins late")
    ]
    assert collect(folder / "*.log", tmp_path / "fresh", fresh_ok=True).outcome == "complete"
    # What was rotated away from it is of it, whatever the form of its name.
    for name in ("orders.log.1", "orders-20250930.log", "orders.2025-09-30.log", "orders.log-20250930.gz"):
        data = text(BEGIN - 1).encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        assert collect(folder / "*.log", tmp_path / f"out {name}").outcome == "complete", name
        (folder / name).unlink()


def test_a_file_for_each_day_is_one_log(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    for day in (-1, 0, 1, 2):
        at = BEGIN + day * 86400
        (folder / f"app-{stamp(at)[:10]}.log").write_text(text(at))
    assert collect(folder / "app-*.log", tmp_path / "out").outcome == "complete"


def test_the_newest_file_that_was_rotated_away_may_be_missing_too(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    for number, name in enumerate(("app.log.3", "app.log.2", "app.log")):
        (folder / name).write_text(text(BEGIN - 1 + number))
        os.utime(folder / name, (END + number, END + number))
    source = collect(folder / "app.log", tmp_path / "out")
    assert source.outcome == "partial"
    assert [gap.reason for gap in source.gaps] == ["app.log.1 is missing between its neighbours"]
    # Where the highest number is the newest, the lowest ones are deleted in time.
    os.utime(folder / "app.log.3", (END + 9, END + 9))
    assert collect(folder / "app.log", tmp_path / "rising").outcome == "complete"


@pytest.mark.parametrize("form", ["%d.%m.%Y %H:%M:%S", "%d/%m/%Y at %Hh", "[day %j] %H:%M:%S"])
def test_a_time_that_is_not_understood_is_not_of_the_line_before(tmp_path: Path, form: str) -> None:
    unknown = "".join(f"{datetime.fromtimestamp(BEGIN + day * 86400, UTC):{form}} x\n" for day in range(30))
    (tmp_path / "app.log").write_text(text(BEGIN - 9) + unknown + text(END - 1))
    source = collect(tmp_path / "app.log", tmp_path / "out")
    assert packed(tmp_path / "out", source) == unknown + text(END - 1)
    assert source.outcome == "partial"
    assert source.reason.startswith("30 lines of ")
    (tmp_path / "app.log").write_text(unknown + text(END + 9))
    assert packed(tmp_path / "first", collect(tmp_path / "app.log", tmp_path / "first")) == unknown


def test_a_part_of_an_entry_that_says_its_time_is_of_that_time(tmp_path: Path) -> None:
    """PostgreSQL writes statements so, after the error that they belong to."""
    old, new = (
        f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}.357 UTC [333] STATEMENT:  SELECT 1/0\n"
        for at in (BEGIN - 9, BEGIN + 1)
    )
    (tmp_path / "app.log").write_text(text(BEGIN - 9) + old + new + text(END - 1))
    source = collect(tmp_path / "app.log", tmp_path / "out")
    assert packed(tmp_path / "out", source) == new + text(END - 1)
    assert (source.outcome, source.reason) == ("complete", "")


def test_only_so_many_lines_follow_one_that_is_left_out(tmp_path: Path) -> None:
    rest = "".join(f"line {number}\n" for number in range(1200))
    (tmp_path / "app.log").write_text(text(BEGIN - 9) + "  indented 12:00:00\n" + rest + text(BEGIN, END))
    source = collect(tmp_path / "app.log", tmp_path / "out")
    assert (source.outcome, source.records) == ("partial", 201)
    assert "200 lines of " in source.reason


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(text(BEGIN - 1, BEGIN + 4))
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(text(*range(BEGIN, BEGIN + 900)).encode())[:-300])
    os.mkfifo(tmp_path / "app.log.2")
    source = collect(tmp_path / "app.log", tmp_path / "out")
    assert source.outcome == "partial"
    assert "app.log.1.gz is damaged" in source.reason
    assert "app.log.2 is not a file" in source.reason
    assert text(BEGIN + 4) in packed(tmp_path / "out", source)


@pytest.mark.parametrize(
    ("options", "outcome", "reason"),
    [({}, "failed", "it has no line of the period."), ({"empty_ok": True}, "complete", "")],
)
def test_no_line_is_a_finding_unless_declared(
    tmp_path: Path, options: dict[str, Any], outcome: str, reason: str
) -> None:
    (tmp_path / "app.log").write_text(text(BEGIN - 1, END))
    source = collect(tmp_path / "app.log", tmp_path / "out", **options)
    assert (source.outcome, source.reason, source.records) == (outcome, reason, 0)


def test_a_log_that_is_not_there_and_one_without_times(tmp_path: Path) -> None:
    source = collect(tmp_path / "none.log", tmp_path / "out")
    assert source.outcome == "failed"
    assert "none.log is not there" in source.reason
    (tmp_path / "app.log").write_text("no time\nat all")
    source = collect(tmp_path / "app.log", tmp_path / "out")
    assert (source.outcome, source.records) == ("partial", 2)
    assert "says a time that is understood: all are taken" in source.reason


def _while_read(monkeypatch: pytest.MonkeyPatch, once: Callable[[], None]) -> None:
    """Has something happen when the first block of a file was read."""
    plain = log_files._Reading._blocks
    done: list[bool] = []

    def blocks(self: Any, one: Any) -> Any:
        for block in plain(self, one):
            yield block
            if not done:
                done.append(True)
                once()

    monkeypatch.setattr(log_files._Reading, "_blocks", blocks)


LINES = [BEGIN - 5, *(BEGIN + number for number in range(30_000))]


def _rotate(folder: Path) -> None:
    (folder / "app.log").rename(folder / "app.log.1")
    (folder / "app.log").write_text(text(END + 5))


def _vanish(folder: Path) -> None:
    (folder / "app.log").unlink()


def _cut(folder: Path) -> None:
    shutil.copyfile(folder / "app.log", folder / "app.log.1")
    os.truncate(folder / "app.log", 0)


def _cut_and_grow(folder: Path) -> None:
    _cut(folder)
    (folder / "app.log").write_text(text(*range(END + 5, END + 32_000)))


@pytest.mark.parametrize("happens", [_rotate, _vanish, _cut, _cut_and_grow])
def test_files_that_move_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happens: Callable[[Path], None]
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "app.log").write_text(text(*LINES))
    _while_read(monkeypatch, lambda: happens(folder))
    source = collect(folder / "app.log", tmp_path / "out")
    assert (source.outcome, source.reason) == ("complete", "")
    assert packed(tmp_path / "out", source) == text(*LINES[1:])


def test_what_was_cut_off_and_is_nowhere_else_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "app.log"
    path.write_text(text(*LINES))
    _while_read(monkeypatch, lambda: os.truncate(path, 10_000))
    source = collect(path, tmp_path / "out")
    assert source.outcome == "partial"
    assert source.reason.endswith("app.log was cut off, and what it had is nowhere else.")


FORMS: list[Callable[[float], str]] = [
    lambda at: f"{stamp(at)} plain\n",
    lambda at: f"  {stamp(at)} goes with the one before\n",
    lambda at: f'{{"level": "info", "timestamp": "{stamp(at)}", "expires": "2031-01-01T00:00:00Z"}}\n',
    lambda at: f'{{"time": {at}, "event": "x 2025-10-15T00:00:00Z"}}\n',
    lambda at: f"{datetime.fromtimestamp(at, UTC):%b %d %H:%M:%S} host app: valid to 2031-01-01 00:00:00\n",
    lambda at: f'1.2.3.4 - - [{datetime.fromtimestamp(at, UTC):%d/%b/%Y:%H:%M:%S} +0000] "GET /?t=2025-10-15"\n',
    lambda at: "continued\n",
    lambda at: "\n",
    lambda at: f"\r{'y' * 70_000} long\n",
]


@pytest.mark.parametrize("seed", range(3))
def test_blocks_are_judged_as_their_lines_are(seed: int) -> None:
    """What is decided for a block at once is what is decided line by line, whatever is mixed in."""
    dice = random.Random(seed)
    at, data = BEGIN - 3 * 86400.0, bytearray()
    while at < END + 3 * 86400:
        for _line in range(dice.choice([1, 30, 200])):
            at += dice.choice([600, 3600, 7200]) * (1 if dice.random() > 0.02 else -20)
            form = FORMS[0] if dice.random() < 0.9 else dice.choice(FORMS)
            data += form(at).encode()
    kept = []
    for at_once in (True, False):
        out: list[bytes] = []
        selection = Selection({"time_zone": "UTC"}, BEGIN, END, END + 86400, out.append)
        selection._plain = at_once
        place = 0
        while place < len(data):
            size = dice.choice([7, 4000, 30_000]) if at_once else 1000
            selection.add(bytes(data[place : place + size]))
            place += size
        selection.end()
        assert selection.kept + selection.left == data.count(b"\n")
        kept.append((b"".join(out), selection.kept))
    assert kept[0] == kept[1]
    assert 0 < len(kept[0][0]) < len(data)


def test_a_large_log_takes_little_memory() -> None:
    block = text(*range(BEGIN + 30 * 3600, BEGIN + 30 * 3600 + 8_000)).encode()
    count = [0]
    selection = Selection(
        {"time_zone": "UTC"}, BEGIN, END, END, lambda data: count.__setitem__(0, count[0] + len(data))
    )
    tracemalloc.start()
    try:
        for _number in range(4):
            selection.add(block)
        for _number in range(60):
            selection.add(b"x" * 1_000_000)  # One line.
        selection.end()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count[0] == 4 * len(block) + 60_000_000
    assert selection.kept == 4 * 8_000 + 1
    assert peak < 20_000_000


@pytest.mark.parametrize(
    ("zone", "line", "inside"),
    [
        ("Europe/Berlin", "2025-10-01 01:59:59 x", False),  # Summer time: 23:59:59 UTC of the day before.
        ("Europe/Berlin", "2025-10-01 02:00:00 x", True),
        ("Europe/Berlin", "2025-11-01 00:59:59 x", True),  # No summer time any more.
        ("Europe/Berlin", "2025-11-01 01:00:00 x", False),
        ("Asia/Tokyo", "2025-10-01 08:59:59 x", False),
        ("UTC", "2025-10-31T23:59:59.999999 x", True),
        ("UTC", "2025-11-01T01:00:00+02:00 x", True),
    ],
)
def test_months_end_by_the_clock_of_the_log(zone: str, line: str, inside: bool) -> None:
    out: list[bytes] = []
    selection = Selection({"time_zone": zone}, BEGIN, END, END, out.append)
    selection.add(line.encode())
    selection.end()
    assert bool(out) is inside


def test_the_disk_and_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app.log").write_text(text(*LINES))
    source = log_files.collect(Scratch(str(tmp_path), 1000), PERIOD, {"name": "app", "path": str(tmp_path / "app.log")})
    assert source.outcome == "failed"
    assert "more than the 1.0 kB that are allowed" in source.reason
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(100, 99, 1))
    source = log_files.collect(
        Scratch(str(tmp_path), 1 << 30), PERIOD, {"name": "app", "path": str(tmp_path / "app.log")}
    )
    assert source.outcome == "failed"
    assert "is nearly full" in source.reason
    assert not list(tmp_path.rglob("*.partial"))
