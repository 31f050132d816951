"""Log files as they are found on hosts: rotated, damaged, in any encoding, changing while they are read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs import files
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.names import listed

from tests.conftest import left_out
from tests.unit.logs_fixtures import HOUR, NOON, counted, entry, reading, write


def test_levels_of_the_window_are_counted(tmp_path: Path) -> None:
    found = reading(
        write(
            tmp_path / "app.log",
            [
                entry(NOON - 25 * HOUR, "ERROR", "too old"),
                entry(NOON - 3 * HOUR, "DEBUG"),
                entry(NOON - 2 * HOUR),
                entry(NOON - HOUR, "WARNING"),
                entry(NOON - 60, "ERROR", "order 17 failed"),
                entry(NOON - 30, "ERROR", "order 18 failed"),
                entry(NOON - 10, "FATAL", "out of memory"),
            ],
        )
    )
    assert counted(found) == {"debug": 1, "info": 1, "warning": 1, "error": 2, "critical": 1}
    assert found["doubts"] == []
    assert [(kind["count"], kind["sample"]) for kind in found["kinds"]] == [
        (2, "order 17 failed"),
        (1, "out of memory"),
    ]
    # Something older is there: the log covers all of the window.
    assert found["seconds"] == 24 * HOUR


def test_young_log_covers_what_it_covers(tmp_path: Path) -> None:
    found = reading(write(tmp_path / "app.log", [entry(NOON - HOUR), entry(NOON - 5)]))
    assert found["seconds"] == HOUR


def test_nothing_is_counted_twice_or_lost_between_two_runs(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log", [entry(NOON - 60 + second) for second in range(121)], NOON + 60)
    first, second = reading(path), reading(path, since=60, until=NOON + 60)
    assert (counted(first), counted(second)) == ({"info": 61}, {"info": 60})


def test_lines_without_a_time_belong_to_the_entry_before(tmp_path: Path) -> None:
    trace = 'Traceback (most recent call last):\n  File "x.py", line 3, in f\nValueError: no such book\n'
    found = reading(
        write(
            tmp_path / "app.log",
            [
                "rest of an entry in the file before\n",
                entry(NOON - 100, "ERROR", "request failed") + trace,
                entry(NOON - 50) + trace,
                entry(NOON - 40) + "ERROR: said without a time\n",
                entry(NOON - 30, "ERROR", "request failed") + trace.replace("ValueError", "KeyError"),
            ],
        )
    )
    # The traceback after an entry that is no error is one of its own: a program died there.
    assert counted(found) == {"info": 2, "error": 4}
    assert found["doubts"] == []
    assert {kind["sample"] for kind in found["kinds"]} == {
        "request failed: ValueError: no such book",
        "request failed: KeyError: no such book",
        "Traceback (most recent call last):: ValueError: no such book",
        "said without a time",
    }


def test_file_without_any_time_is_in_doubt(tmp_path: Path) -> None:
    found = reading(write(tmp_path / "app.log", ["ERROR: one\n", "something\n"]))
    assert "2 lines have no time" in found["doubts"][0]


def test_errors_before_the_first_time_of_a_file_count(tmp_path: Path) -> None:
    found = reading(write(tmp_path / "app.log", ["ERROR: early\n", "FATAL: early too\n", entry(NOON - 10)]))
    assert counted(found) == {"error": 1, "critical": 1, "info": 1}


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("app.log.1", lambda data: data),
        ("app.log-20261124", lambda data: data),
        ("app.log.2.gz", gzip.compress),
        ("app.log-20261124-1.bz2", bz2.compress),
        ("app.log.3.xz", lzma.compress),
    ],
)
def test_rotated_files_of_the_window_are_read(tmp_path: Path, name: str, pack: Any) -> None:
    write(tmp_path / "app.log", [entry(NOON - 10)])
    old = entry(NOON - 30 * HOUR, "ERROR") + entry(NOON - 2 * HOUR, "ERROR")
    write(tmp_path / name, pack(old.encode()), NOON - 2 * HOUR)
    # What ended before the window is not opened, and says that there was something before.
    write(tmp_path / "app.log.9.gz", b"\x1f\x8bdamaged", NOON - 48 * HOUR)
    found = reading(tmp_path / "app.log")
    assert counted(found) == {"info": 1, "error": 1}
    assert found["doubts"] == []


def test_pattern_finds_files_and_each_file_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "app-1.log", [entry(NOON - 10)])
    write(tmp_path / "app-2.log", [entry(NOON - 10)])
    write(tmp_path / "app-2.log.1", [entry(NOON - 60)])
    (tmp_path / "app-current.log").symlink_to("app-2.log")
    os.link(tmp_path / "app-1.log", tmp_path / "app-hard.log")
    (tmp_path / "app-folder.log").mkdir()
    assert counted(reading(tmp_path / "app-*.log")) == {"info": 3}


def test_names_that_are_no_rotation_of_the_log(tmp_path: Path) -> None:
    for name in ("app.log", "app.log.1", "app.log.old", "app.log.gz", "app.log2", "xapp.log.1"):
        (tmp_path / name).touch()
    found = [os.path.basename(path) for path in listed(str(tmp_path / "app.log")).paths]
    assert found == ["app.log", "app.log.1", "app.log.gz", "app.log.old"]


def test_rotated_away_and_nothing_logged_since(tmp_path: Path) -> None:
    write(tmp_path / "app.log.1", [entry(NOON - 60)])
    assert counted(reading(tmp_path / "app.log")) == {"info": 1}


# Bad input


def test_missing_folder_loop_pipe(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    for name, said in {
        "missing": "is not there",
        "none-*.log": "is not there",
        "folder": "a folder",
        "loop": "cannot be read: Too many levels of symbolic links",
        "pipe": "is not a file",
    }.items():
        assert said in reading(tmp_path / name)["problem"], name


READ_AS_ANOTHER = """
import sys
sys.path[:0] = sys.argv[2:]
from tests.unit.logs_fixtures import reading
print(reading(sys.argv[1])["problem"])
"""


def test_no_right_to_read(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log", [entry(NOON - 10)])
    path.chmod(0)
    if not os.access(path, os.R_OK):
        assert "Permission denied" in reading(path)["problem"]
        return
    # Root may read everything: see it with the eyes of somebody else.
    if not shutil.which("setpriv"):
        left_out("no right to read, as root, needs setpriv (util-linux)")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        path = write(Path(folder) / "app.log", [entry(NOON - 10)])
        path.chmod(0o600)
        done = subprocess.run(
            [
                *("setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-B", "-c", READ_AS_ANOTHER),
                *(str(path), *filter(None, sys.path)),
            ],
            cwd="/",
            capture_output=True,
            text=True,
        )
    if done.returncode:
        left_out(f"another user cannot run this Python: {done.stderr.strip()[-200:]}")
    assert "Permission denied" in done.stdout


def test_one_of_several_files_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "app-1.log", [entry(NOON - 10)])
    (tmp_path / "app-2.log").symlink_to("app-2.log")
    found = reading(tmp_path / "app-*.log")
    assert counted(found) == {"info": 1}
    assert "app-2.log cannot be read" in found["doubts"][0]


def test_empty_file(tmp_path: Path) -> None:
    found = reading(write(tmp_path / "app.log", b""))
    assert counted(found) == {}
    assert found["doubts"] == []


def test_lines_of_a_megabyte(tmp_path: Path) -> None:
    long = "x" * 2_500_000
    json_line = f'{{"at": "2026-11-24T11:59:00Z", "level": "error", "event": "{long}"}}\n'
    lines = [entry(NOON - 90, "ERROR", long), json_line, long + "\n", entry(NOON - 5)]
    path = write(tmp_path / "app.log", lines)
    tracemalloc.start()
    found = reading(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counted(found) == {"error": 2, "info": 1}
    assert all(len(kind["sample"]) <= 300 for kind in found["kinds"])
    assert peak < 4_000_000


def test_file_of_one_line_without_an_end(tmp_path: Path) -> None:
    found = reading(write(tmp_path / "app.log", entry(NOON - 5).encode().rstrip() + b"y" * 3_000_000))
    assert counted(found) == {"info": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = entry(NOON - 60, "ERROR", "Börse geschlossen") + entry(NOON - 5)
    found = reading(write(tmp_path / "app.log", text.encode(encoding)))
    assert counted(found) == {"error": 1, "info": 1}
    assert found["kinds"][0]["sample"].startswith("B")
    assert (found["guessed"] > 0) is (encoding not in ("utf-8", "utf-8-sig"))


def test_binary_file_is_in_doubt(tmp_path: Path) -> None:
    found = reading(write(tmp_path / "wtmp", bytes(range(256)) * 500))
    assert counted(found) == {}
    assert "no time" in found["doubts"][0]


def test_hole_of_a_truncated_file(tmp_path: Path) -> None:
    found = reading(write(tmp_path / "app.log", b"\0" * 700_000 + entry(NOON - 5, "ERROR", "after").encode()))
    assert counted(found) == {"error": 1}


def test_control_characters_do_not_come_through(tmp_path: Path) -> None:
    found = reading(write(tmp_path / "app.log", entry(NOON - 5, "ERROR", "a\x1b[31mb\x07c\u202ed")))
    assert found["kinds"][0]["sample"] == "ab\\x07c\\u202ed"


@pytest.mark.parametrize("cut", [20, 200])
def test_truncated_gzip(tmp_path: Path, cut: int) -> None:
    write(tmp_path / "app.log", [entry(NOON - 5)])
    data = gzip.compress("".join(entry(NOON - HOUR + second, "ERROR") for second in range(3000)).encode())
    write(tmp_path / "app.log.1.gz", data[: len(data) - cut], NOON - 600)
    found = reading(tmp_path / "app.log")
    assert "app.log.1.gz is damaged" in found["doubts"][0]
    assert found["counts"]["info"] == 1


def test_compressed_in_a_way_that_cannot_be_read(tmp_path: Path) -> None:
    write(tmp_path / "app.log", [entry(NOON - 5)])
    write(tmp_path / "app.log.1.7z", b"7z\xbc\xaf\x27\x1c whatever", NOON - 600)
    assert "7z" in reading(tmp_path / "app.log")["doubts"][0]


def test_bomb(tmp_path: Path) -> None:
    write(tmp_path / "app.log.1.gz", gzip.compress(entry(NOON - 60).encode() * 200_000), NOON - 60)
    found = reading(tmp_path / "app.log", max_bytes=100_000)
    assert "more than can be read" in found["doubts"][0]
    assert found["bytes"] < 200_000


# Large files


def many(count: int, begin: float, step: float) -> Iterator[str]:
    return (
        entry(begin + number * step, "ERROR" if number % 10 == 0 else "INFO", f"no. {number}")
        for number in range(count)
    )


def test_two_hundred_thousand_lines(tmp_path: Path) -> None:
    found = reading(write(tmp_path / "app.log", many(200_000, NOON - 20 * HOUR, 0.36)))
    assert counted(found) == {"error": 20_000, "info": 180_000}
    assert len(found["kinds"]) == 1


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    peaks = []
    for count in (2_000, 20_000):
        path = write(tmp_path / "app.log", many(count, NOON - 3 * HOUR, 0.5))
        tracemalloc.start()
        reading(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 500_000


def test_of_a_large_file_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "app.log", many(150_000, NOON - 150 * HOUR, 3.6))
    fed: list[int] = []
    feed = files.Files._feed

    def feeding(self: Any, stream: Any, most: int, *rest: Any) -> None:
        fed.append(most)
        feed(self, stream, most, *rest)

    monkeypatch.setattr(files.Files, "_feed", feeding)
    found = reading(path, since=HOUR)
    assert sum(counted(found).values()) == 999
    assert found["doubts"] == []
    # The hour, and the blocks by which it is found.
    assert sum(fed) < 1_300_000 < path.stat().st_size / 4


def test_time_that_goes_back_within_a_large_file(tmp_path: Path) -> None:
    """A clock was years behind for a while: what stands before it is still found."""
    lines = [
        *many(40_000, NOON - 20 * HOUR, 1),
        *many(3_000, NOON - 9000 * HOUR, 1),
        *many(20_000, NOON - 6 * HOUR, 1),
    ]
    found = reading(write(tmp_path / "app.log", lines))
    assert sum(counted(found).values()) == 60_000


def test_more_than_may_be_read_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log", many(100_000, NOON - 20 * HOUR, 0.7))
    found = reading(path, max_bytes=1_000_000)
    assert "only the newest was read" in found["doubts"][0]
    assert 0 < found["bytes"] <= 1_000_000
    # The rate is that of the part that was read.
    assert found["seconds"] < 6 * HOUR


def test_old_bytes_do_not_count_against_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log", many(100_000, NOON - 200 * HOUR, 7.2))
    assert reading(path, max_bytes=1_000_000)["doubts"] == []


# Changes while reading


def during(monkeypatch: pytest.MonkeyPatch, act: Any, at: int = 10) -> None:
    """Calls act once, when so many lines were read."""
    given = files.lines

    def watched(*arguments: Any) -> Iterator[Any]:
        for number, line in enumerate(given(*arguments)):
            if number == at and not done:
                done.append(True)
                act()
            yield line

    done: list[bool] = []
    monkeypatch.setattr(files, "lines", watched)


def test_rotated_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "app.log", many(1000, NOON - 1010, 1))

    def rotate() -> None:
        with path.open("a") as old:
            old.write(entry(NOON - 3, "CRITICAL", "last words in the old file"))
        path.rename(tmp_path / "app.log.1")
        write(path, [entry(NOON - 2, "CRITICAL", "first words in the new file")])

    during(monkeypatch, rotate)
    found = reading(path)
    assert counted(found) == {"error": 100, "info": 900, "critical": 2}
    assert found["doubts"] == []


def test_copied_and_truncated_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "app.log", many(1000, NOON - 1010, 1))

    def rotate() -> None:
        shutil.copy2(path, tmp_path / "app.log.1")
        write(path, [entry(NOON - 2, "CRITICAL")])

    during(monkeypatch, rotate)
    found = reading(path)
    assert counted(found) == {"error": 100, "info": 900, "critical": 1}
    assert found["doubts"] == []


def test_truncated_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "app.log", many(1000, NOON - 1010, 1))
    feed = files.Files._feed

    def shrinking(self: Any, *arguments: Any) -> None:
        feed(self, *arguments)
        os.truncate(path, path.stat().st_size // 2)
        os.utime(path, (NOON, NOON))

    monkeypatch.setattr(files.Files, "_feed", shrinking)
    assert any("truncated again and again" in doubt for doubt in reading(path)["doubts"])


def test_growing_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is added is the next run's, and reading ends."""
    path = write(tmp_path / "app.log", many(1000, NOON - 1010, 1))
    given = files.lines

    def growing(*arguments: Any) -> Iterator[Any]:
        for line in given(*arguments):
            with path.open("a") as log:
                log.write(entry(NOON + 1, "ERROR", "added"))
            yield line

    monkeypatch.setattr(files, "lines", growing)
    assert counted(reading(path)) == {"error": 100, "info": 900}


def test_removed_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "app.log", many(1000, NOON - 1010, 1))
    during(monkeypatch, path.unlink)
    assert counted(reading(path)) == {"error": 100, "info": 900}


def test_rotated_between_listing_and_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "app.log", [entry(NOON - 20, "ERROR")])
    write(tmp_path / "app.log.1", [entry(NOON - 60, "FATAL")])
    given = listed
    done: list[bool] = []

    def listing(*arguments: Any) -> Any:
        result = given(*arguments)
        if not done:
            done.append(True)
            (tmp_path / "app.log.1").rename(tmp_path / "app.log.2")
            path.rename(tmp_path / "app.log.1")
            write(path, [entry(NOON - 5)])
        return result

    monkeypatch.setattr(files, "listed", listing)
    assert counted(reading(path)) == {"critical": 1, "error": 1, "info": 1}
