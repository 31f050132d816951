"""The second count of a journal, by its files' own index: it agrees with journalctl, or says what is wrong."""

from __future__ import annotations

import shutil
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import journal_index, journals
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Period
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.journal_files import HEADER, looked_at
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.packing import Scratch
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import EvidenceError

from tests.journals import journal

PERIOD = Period("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
BEGIN, END = (int(each * 1e6) for each in PERIOD.epochs())
COUNT = 3000


@pytest.fixture(scope="module", params=["compact", "regular"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last third of its entries are of the period."""
    many: Iterator[dict[str, str | bytes | int]] = (
        {"at": BEGIN // 10**6 - 2000 + each, "MESSAGE": f"entry {each} {'x' * 90}"} for each in range(COUNT)
    )
    path = tmp_path_factory.mktemp("journal") / "machine/system.journal"
    journal(path, many, compact=request.param == "compact")
    compact = HEADER.unpack(path.read_bytes()[: HEADER.size])[2] & 16
    assert bool(compact) == (request.param == "compact")
    return path


def counted(path: Path, begin: int = BEGIN, end: int = END) -> int | None:
    one = looked_at(str(path), path.name)
    assert one
    found = journal_index.counted(str(path), one.inode, begin, end, 60)
    return None if found is None else found[0]


def read(path: Path, staging: Path) -> journals.Reading:
    one = looked_at(str(path), path.name)
    assert one
    staging.mkdir(exist_ok=True)
    options = {"journal_folders": [str(path.parent)], "timeout": 60}
    return journals.read(Scratch(str(staging), 1 << 30), PERIOD, one, options)


def test_it_counts_what_journalctl_gives_out(whole: Path, tmp_path: Path) -> None:
    assert counted(whole) == COUNT - 2000
    assert counted(whole, 0, 1 << 62) == COUNT
    assert counted(whole, BEGIN, BEGIN + 1) == 1
    assert counted(whole, BEGIN + 1, BEGIN + 1_000_000) == 0
    reading = read(whole, tmp_path)
    assert (reading.kept, reading.listed, reading.indexed, reading.problem) == (1000, 1000, True, "")


def changed(whole: Path, folder: Path, place: int, data: bytes) -> Path:
    path = folder / "machine/system.journal"
    path.parent.mkdir(parents=True)
    shutil.copy(whole, path)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)
    return path


def test_a_field_that_journalctl_leaves_out_without_a_word_is_missed(whole: Path, tmp_path: Path) -> None:
    """It is damaged: journalctl shows the entry without it, and ends with 0."""
    place = whole.read_bytes().find(b"entry 2500 ")
    assert place > 0
    header = 72 if HEADER.unpack(whole.read_bytes()[: HEADER.size])[2] & 16 else 64
    begin = place - len("MESSAGE=") - header
    assert whole.read_bytes()[begin] == 1  # OBJECT_DATA
    bad = changed(whole, tmp_path, begin + 8, struct.pack("<Q", 1 << 40))
    reading = read(bad, tmp_path / "staging")
    assert (reading.kept, reading.listed, reading.status) == (1000, 1000, 0)
    assert reading.problem == "journalctl left out 1 field of its entries without a word: it is damaged, or too new"
    # And one of which the field is of another time.
    begin = whole.read_bytes().find(b"entry 500 ") - len("MESSAGE=") - header
    assert read(changed(whole, tmp_path / "b", begin + 8, bytes(8)), tmp_path / "staging2").problem == ""


def test_a_damaged_index_is_named(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    array = HEADER.unpack(data[: HEADER.size])[19]
    second = struct.unpack_from("<Q", data, array + 16)[0]
    assert second
    for number, (place, new) in enumerate(
        {
            array: b"\x01",  # not a list
            array + 8: bytes(8),  # of no size
            array + 16: bytes(8),  # the last one
            array + 16 + 1: struct.pack("<Q", array)[1:],  # back to itself, nearly
            array + 24: bytes(4),  # its first entry is none
            second + 8: struct.pack("<Q", 1 << 50),  # beyond the end
            second + 24: struct.pack("<I", len(data) - 8),  # an entry there
        }.items()
    ):
        path = changed(whole, tmp_path / str(number), place, new)
        with pytest.raises(EvidenceError, match="its index of entries is damaged"):
            counted(path)


def test_a_place_that_no_file_has_is_damage(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    header = HEADER.unpack(data[: HEADER.size])
    array, far = header[19], struct.pack("<Q", 1 << 63)
    # Where the first list is by the header, where the next one is, and an entry of the first list in the regular form.
    places = [88 + 11 * 8, array + 16, *([] if header[2] & 16 else [array + 24])]
    for number, place in enumerate(places):
        path = changed(whole, tmp_path / str(number), place, far)
        with pytest.raises(EvidenceError, match="its index of entries is damaged"):
            counted(path)
        assert read(path, tmp_path / f"staging{number}").problem


#: In the header: state, how many entries there are, the number of the last one.
STATE, ENTRIES, TAIL_NUMBER = 16, 88 + 8 * 8, 88 + 9 * 8


@pytest.mark.parametrize("state", [0, 1, 2])
def test_entries_beyond_the_headers_count_are_named(whole: Path, tmp_path: Path, state: int) -> None:
    """journalctl goes by that count as well, and shows the others as little."""
    path = changed(whole, tmp_path, STATE, bytes([state]))
    assert counted(path, 0, 1 << 62) == COUNT
    data = path.read_bytes()
    for number, few in enumerate([COUNT - 1, COUNT - 10, 4, 0]):
        path = changed(path, tmp_path / str(number), ENTRIES, struct.pack("<Q", few))
        with pytest.raises(EvidenceError, match=f"beyond the {few} of its header"):
            counted(path)
        assert "beyond" in read(path, tmp_path / f"staging{number}").problem
    assert HEADER.unpack(data[: HEADER.size])[3] == state


@pytest.mark.parametrize(("state", "number"), [(0, COUNT + 1), (2, COUNT + 1), (0, COUNT - 1), (1, COUNT - 1)])
def test_the_last_number_is_that_of_the_header(whole: Path, tmp_path: Path, state: int, number: int) -> None:
    path = changed(whole, tmp_path / "a", STATE, bytes([state]))
    path = changed(path, tmp_path / "b", TAIL_NUMBER, struct.pack("<Q", number))
    with pytest.raises(EvidenceError, match=f"its last entry is {COUNT}, and {number} by its header"):
        counted(path)


def test_a_file_that_is_written_meanwhile(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its count grows after it was read: with what came since there are as many."""
    path = changed(whole, tmp_path / "a", STATE, b"\1")
    path = changed(path, tmp_path / "b", ENTRIES, struct.pack("<Q", COUNT - 1))

    def wait(_seconds: float) -> None:
        with path.open("r+b") as file:
            file.seek(ENTRIES)
            file.write(struct.pack("<Q", COUNT))

    monkeypatch.setattr(time, "sleep", wait)
    assert counted(path, 0, 1 << 62) == COUNT - 1
    # The next number is given before the entry is in the list.
    assert counted(changed(path, tmp_path / "c", TAIL_NUMBER, struct.pack("<Q", COUNT + 1)), 0, 1 << 62) == COUNT


def test_another_file_and_no_time(whole: Path, tmp_path: Path) -> None:
    one = looked_at(str(whole), whole.name)
    assert one
    with pytest.raises(EvidenceError, match="could not be read in 0 s"):
        journal_index.counted(str(whole), one.inode, BEGIN, END, 0)
    shutil.copy(whole, tmp_path / "other")
    with pytest.raises(EvidenceError, match="was rotated"):
        journal_index.counted(str(tmp_path / "other"), one.inode, BEGIN, END, 60)


def test_a_form_of_later_is_counted_by_journalctl(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag that this does not know may mean anything."""
    flags = HEADER.unpack(whole.read_bytes()[: HEADER.size])[2]
    assert counted(changed(whole, tmp_path, 12, struct.pack("<I", flags | 1 << 9))) is None
    monkeypatch.setattr(journal_index, "_KNOWN", 0)
    reading = read(whole, tmp_path / "staging")
    assert (reading.kept, reading.listed, reading.indexed, reading.problem) == (1000, 1000, False, "")
