"""The journal of a period: real files, some of them corrupt, vacuumed, or of a clock that was set back."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import clock_history, journals
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Period, Source
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.journal_export import entries
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.journal_files import looked_at
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.journal_gaps import gaps
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.packing import Scratch

from tests.journals import ROOT, journal

PERIOD = Period("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
BEGIN, END = (int(each) for each in PERIOD.epochs())
DROPPED = "a596d6fe7bfa4994828e72309e95d61e"
STOPPED = "d93fb3c9c24d451a97cea615ce59c00b"


def said(at: float, text: str | bytes = "hello", **fields: Any) -> dict[str, Any]:
    return {"at": at, "MESSAGE": text, "PRIORITY": "6", **fields}


#: Half-open: the entry at the begin belongs to the period, the one at its end does not.
ENTRIES = [
    said(BEGIN - 5, "before"),
    said(BEGIN, "first"),
    said(BEGIN + 1, b"two\nlines\n\n__CURSOR=forged\n", _HOSTNAME="app1"),
    said(BEGIN + 2, b"\x00\xff" * 5000),
    said(END - 1, "last"),
    said(END, "after"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journal(tmp_path_factory.mktemp("journal") / "machine/system.journal", ENTRIES)


def collect(folder: Path, staging: Path, period: Period = PERIOD, **options: Any) -> Source:
    staging.mkdir(exist_ok=True)
    given = {"journal_folders": [str(folder)], "timeout": 120, "workers": 2, **options}
    source = journals.collect(Scratch(str(staging), 1 << 30), period, given)
    return Source.from_dict(source.to_dict())


def messages(staging: Path, source: Source) -> list[bytes]:
    found = [entries(iter([gzip.decompress((staging / file.path).read_bytes())])) for file in source.files]
    return [entry.field(b"MESSAGE") or b"" for each in found for entry in each]


def test_exactly_the_period_is_there_and_counted_twice(whole: Path, tmp_path: Path) -> None:
    source = collect(whole.parent.parent, tmp_path)
    assert (source.outcome, source.reason, source.gaps, source.exit_status) == ("complete", "", [], 0)
    assert messages(tmp_path, source) == [b"first", b"two\nlines\n\n__CURSOR=forged\n", b"\x00\xff" * 5000, b"last"]
    assert [count.records for count in source.counts] == [4, 4]
    assert source.files[0].path == "journal/machine--system.journal.export.gz"
    assert source.tool.version.startswith("systemd ")
    again = tmp_path / "again"
    assert collect(whole.parent.parent, again).files == source.files


def test_a_corrupt_file_is_named_and_the_others_go_on(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "journal/machine"
    folder.mkdir(parents=True)
    shutil.copy(whole, folder / "system.journal")
    many = [said(BEGIN + number, f"entry {number} {'x' * 300}") for number in range(3000)]
    bad = journal(folder / "user-1000.journal", many)
    data = bytearray(bad.read_bytes())
    middle = data.find(b"entry 1500 ")
    data[middle - 200_000 : middle] = bytes(200_000)
    bad.write_bytes(data)
    (folder / "nothing.journal").write_bytes(b"not a journal" * 100)
    (folder / "short.journal~").write_bytes(whole.read_bytes()[:100])
    source = collect(tmp_path / "journal", tmp_path / "staging")
    assert source.outcome == "partial"
    for name in ("user-1000.journal", "nothing.journal", "short.journal~"):
        assert f"machine/{name}: " in source.reason
    assert "system.journal:" not in source.reason
    assert b"first" in messages(tmp_path / "staging", source)


def test_a_clock_set_back_loses_nothing_and_is_named(tmp_path: Path) -> None:
    back = [
        said(BEGIN - 9),
        said(BEGIN + 7200, "a"),
        said(BEGIN + 3600, "b"),
        said(BEGIN + 3601, "c"),
        said(BEGIN - 60),
    ]
    journal(tmp_path / "journal/machine/system.journal", [*back, said(BEGIN + 9000, "d")])
    source = collect(tmp_path / "journal", tmp_path / "staging")
    assert messages(tmp_path / "staging", source) == [b"a", b"b", b"c", b"d"]
    assert source.outcome == "partial"
    assert [gap.reason for gap in source.gaps] == [
        "the clock was set back by 61 min",
        "the clock was set back by 60 min",
    ]


def test_what_is_missing_is_named(whole: Path, tmp_path: Path) -> None:
    boots = ["a" * 32, "b" * 32, "c" * 32]
    told = [
        said(BEGIN + 60, "early", boot=boots[0]),
        said(BEGIN + 100, "Suppressed 412 messages from app.service", boot=boots[0], MESSAGE_ID=DROPPED, **ROOT),
        said(BEGIN + 110, "Suppressed 9 messages", boot=boots[0], MESSAGE_ID=DROPPED, _UID="1000"),
        said(BEGIN + 200, "crashed after this", boot=boots[0]),
        said(BEGIN + 300, "on again", boot=boots[1]),
        said(BEGIN + 400, "Journal stopped", boot=boots[1], MESSAGE_ID=STOPPED, **ROOT),
        said(BEGIN + 500, "on again, after being shut down", boot=boots[2]),
    ]
    journal(tmp_path / "journal/machine/system.journal", told)
    source = collect(tmp_path / "journal", tmp_path / "staging")
    assert source.outcome == "partial"
    assert [(gap.begin[11:], gap.end[11:], gap.reason) for gap in source.gaps] == [
        ("00:00:00Z", "00:01:00Z", "the journal begins late: what was before is vacuumed, or never was"),
        ("00:01:40Z", "00:01:40Z", "the journal says: Suppressed 412 messages from app.service"),
        ("00:03:20Z", "00:05:00Z", "the host or its journal ended without being shut down, and began again"),
    ]


def test_a_vacuumed_file_leaves_a_gap_in_the_numbers(tmp_path: Path) -> None:
    staging, given = Scratch(str(tmp_path), 1 << 30), {"journal_folders": [], "timeout": 120, "workers": 1}
    path = journal(tmp_path / "journal/machine/system.journal", [said(BEGIN + each - 1) for each in range(6)])
    one = looked_at(str(path), "system.journal")
    assert one is not None
    given["journal_folders"] = [str(tmp_path / "journal")]
    reading = journals.read(staging, PERIOD, one, given)
    # Of the six numbers, 3 and 4 lay in a file that is gone.
    (runs,) = reading.story.runs.values()
    first, last = runs[0].first, runs[0].last
    assert (first, last) == (1, 6)
    begun = runs[0].begin
    runs[:] = [type(runs[0])(1, 2, begun, begun + 1_000_000), type(runs[0])(5, 6, begun + 4_000_000, begun + 5_000_000)]
    found = gaps([reading.story], PERIOD)
    assert [gap.reason for gap in found] == ["2 entries are missing between two numbers: vacuumed or lost"]


def test_a_rotation_before_reading_is_followed_and_a_vacuum_is_named(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "journal/machine"
    folder.mkdir(parents=True)
    shutil.copy(whole, folder / "system.journal")
    one = looked_at(str(folder / "system.journal"), "machine/system.journal")
    assert one is not None
    given = {"journal_folders": [str(tmp_path / "journal")], "timeout": 120, "workers": 1}
    (folder / "system.journal").rename(folder / "system@1.journal")
    shutil.copy(whole, folder / "system.journal")
    reading = journals.read(Scratch(str(tmp_path), 1 << 30), PERIOD, one, given)
    assert (reading.kept, reading.listed, reading.problem) == (4, 4, "")
    (folder / "system@1.journal").unlink()
    reading = journals.read(Scratch(str(tmp_path), 1 << 30), PERIOD, one, given)
    assert (reading.kept, reading.problem) == (0, "it was vacuumed before it was read, with 6 entries")


def test_no_journal_no_time_and_no_space(whole: Path, tmp_path: Path) -> None:
    nothing = collect(tmp_path / "none", tmp_path / "staging")
    assert (nothing.outcome, nothing.reason) == ("failed", "There is no journal on this host, or it may not be read.")
    late = collect(whole.parent.parent, tmp_path / "staging", timeout=0)
    assert late.outcome == "failed"
    assert "did not end in 0 s" in late.reason
    source = Source.from_dict(
        journals.collect(
            Scratch(str(tmp_path), 10),
            PERIOD,
            {"journal_folders": [str(whole.parent.parent)], "timeout": 120, "workers": 1},
        ).to_dict()
    )
    assert source.outcome == "failed"
    assert "max_bytes" not in source.reason
    assert "more than the 10 B" in source.reason
    assert not list(tmp_path.rglob("*.partial"))


def test_the_history_of_a_clock_that_was_set_back_is_whole(tmp_path: Path) -> None:
    """Of each file of the journal, and not sought by time."""
    unit = {"_SYSTEMD_UNIT": "systemd-timesyncd.service"}
    told = [said(BEGIN + 86400 * day, f"day {day}", **unit) for day in range(31)]
    told[9:9] = [said(BEGIN + 86400 * 20, "set forward", **unit), said(BEGIN + 86400 * 8 + 5, "and back", **unit)]
    told.insert(3, said(BEGIN + 86400 * 2 + 9, "no time service", _SYSTEMD_UNIT="app.service"))
    journal(tmp_path / "journal/machine/system.journal", told[:20])
    journal(tmp_path / "journal/machine/user-1000.journal", told[20:])
    given = {"journal_folders": [str(tmp_path / "journal")], "chrony_folder": str(tmp_path / "no"), "timeout": 120}
    staging = tmp_path / "staging"
    staging.mkdir()

    def collect() -> tuple[Source, list[bytes]]:
        found = clock_history.collect(Scratch(str(staging), 1 << 30), PERIOD, given)
        source = Source.from_dict(found.to_dict())
        source.files = [file for file in source.files if file.path.endswith(".export.gz")]
        return source, messages(staging, source)

    source, texts = collect()
    assert (source.outcome, source.reason, source.gaps) == ("complete", "", [])
    assert sorted(texts) == sorted([f"day {day}".encode() for day in range(31)] + [b"set forward", b"and back"])
    assert source.counts[0].records == source.counts[1].records
    # A file of it that cannot be read, and with it the days that only it had.
    (tmp_path / "journal/machine/user-1000.journal").write_bytes(b"no journal")
    source, texts = collect()
    assert source.outcome == "partial"
    assert "user-1000.journal: it cannot be read" in source.reason
    assert [(gap.begin[:10], gap.end[:10]) for gap in source.gaps] == [
        ("2026-10-18", "2026-10-21"),
        ("2026-10-22", "2026-11-01"),
    ]


def test_a_file_that_is_rotated_in_while_others_are_read_is_read_too(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock that is wrong, entries of the period may be in it."""
    folder = tmp_path / "journal/machine"
    folder.mkdir(parents=True)
    shutil.copy(whole, folder / "system.journal")
    named: list[str] = []
    read = journals.read

    def rotated(scratch: Scratch, period: Period, one: Any, options: dict[str, Any]) -> Any:
        if not named:
            journal(folder / "system@2.journal", [said(BEGIN + 5, "of a clock that was set back")])
        named.append(one.name)
        return read(scratch, period, one, options)

    monkeypatch.setattr(journals, "read", rotated)
    source = collect(tmp_path / "journal", tmp_path / "staging")
    assert named == ["machine/system.journal", "machine/system@2.journal"]
    assert b"of a clock that was set back" in messages(tmp_path / "staging", source)
