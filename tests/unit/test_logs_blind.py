"""What a log hides from who looks at it carelessly: names, colours, crashes, late lines, closed folders."""

from __future__ import annotations

import gzip
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.logs import last_read
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.names import listed

from tests.conftest import left_out
from tests.unit.logs_fixtures import HOUR, NOON, counted, entry, options, reading, stamp, write

ERRORS = entry(NOON - 30 * HOUR) + entry(NOON - 3 * HOUR, "ERROR", "venue refused")


@contextmanager
def eyes_of_another() -> Iterator[None]:
    """This process without the rights of root."""
    if os.geteuid():
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        os.chmod(path, 0o755)
        yield Path(path)


def joined(found: dict[str, Any]) -> str:
    return "; ".join(found["doubts"])


# Names


@pytest.mark.parametrize(
    "name",
    [
        *("app-2026-11-24.log", "app.2026-11-24.log", "app_2026-11-24_10-00-00_123456.log", "app.1.log", "app-1.log"),
        *("app20261124.log", "app20261124_001.log", "app.2026-11-24.0.log", "app-2026-11-24T10-00-00.000.log"),
        *(
            "app.log.old",
            "app.log.bak",
            "app.old.log",
            "app.log~",
            "app.log.prev",
            "app.log.2026-11-24-10",
            "app-Mon.log",
        ),
        *(
            "2026-11-24-app.log",
            "app.log_20261124",
            "app-Nov-24-2026.log",
            "app.log.1.old",
            "app.2026-11-24",
            "app202611.log",
            "app(1).log",
            "app.1",
        ),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_common_names_of_rotated_logs_are_read(tmp_path: Path, name: str, packed: bool) -> None:
    write(tmp_path / "app.log", [entry(NOON - 10)])
    data = gzip.compress(ERRORS.encode()) if packed else ERRORS.encode()
    write(tmp_path / (f"{name}.gz" if packed else name), data, NOON - 3 * HOUR)
    found = reading(tmp_path / "app.log", fresh_ok=False)
    assert (counted(found), found["doubts"]) == ({"info": 1, "error": 1}, [])


@pytest.mark.parametrize("name", ["app-2026-11-23.log.gz", "app-2026-11-23.log.1"])
def test_rotated_away_from_a_name_that_is_gone(tmp_path: Path, name: str) -> None:
    """The pattern still tells whose it was."""
    write(tmp_path / "app-2026-11-24.log", [entry(NOON - 10)])
    data = gzip.compress(ERRORS.encode()) if name.endswith("gz") else ERRORS.encode()
    write(tmp_path / name, data, NOON - 2 * HOUR)
    assert counted(reading(tmp_path / "app-*.log")) == {"info": 1, "error": 1}


@pytest.mark.parametrize("program", ["lz4", "zstd"])
def test_compressed_by_a_program(tmp_path: Path, program: str) -> None:
    write(tmp_path / "app.log", [entry(NOON - 10)])
    plain = write(tmp_path / "other", ERRORS)
    packed = tmp_path / f"app.log.1.{'lz4' if program == 'lz4' else 'zst'}"
    try:
        with plain.open("rb") as data, packed.open("wb") as out:
            subprocess.run([program, "-qc"], stdin=data, stdout=out, check=True)
    except FileNotFoundError:
        left_out(f"logs compressed by {program} need {program}")
    os.utime(packed, (NOON - HOUR, NOON - HOUR))
    found = reading(tmp_path / "app.log")
    assert (counted(found), found["doubts"]) == ({"info": 1, "error": 1}, [])
    packed.write_bytes(packed.read_bytes()[:-20])
    os.utime(packed, (NOON - HOUR, NOON - HOUR))
    assert f"{packed.name} is damaged" in joined(reading(tmp_path / "app.log"))


def test_compressed_by_a_program_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "app.log", [entry(NOON - 10)])
    write(tmp_path / "app.log.1.lz4", b"\x04\x22\x4d\x18 whatever", NOON - 600)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "compressed with lz4, which cannot be read here" in joined(reading(tmp_path / "app.log"))


def test_zip(tmp_path: Path) -> None:
    write(tmp_path / "app.log", [entry(NOON - 10)])
    with zipfile.ZipFile(tmp_path / "app-2026-11-24-1.log.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.log", ERRORS)
    os.utime(tmp_path / "app-2026-11-24-1.log.zip", (NOON - HOUR, NOON - HOUR))
    assert counted(reading(tmp_path / "app.log")) == {"info": 1, "error": 1}


def test_name_that_nobody_knows_is_in_doubt(tmp_path: Path) -> None:
    write(tmp_path / "app.log", [entry(NOON - 30 * HOUR), entry(NOON - 10)])
    write(tmp_path / "app.log.wf", ERRORS, NOON - 60)
    for harmless in ("app.log.lock", "app.log.offset", "app.log.1.sha256", "app-error.log", "application.log"):
        write(tmp_path / harmless, "x", NOON - 60)
    write(tmp_path / "app.log.ancient", ERRORS, NOON - 80 * HOUR)
    found = reading(tmp_path / "app.log", quiet_ok=True)
    assert len(found["doubts"]) == 1
    assert "app.log.wf may belong to it" in found["doubts"][0]
    assert reading(tmp_path / "app.log", exclude=["*.wf"])["doubts"] == []


def test_just_being_compressed_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "app.log", [entry(NOON - 10)])
    write(tmp_path / "app.log.1", ERRORS, NOON - 3 * HOUR)
    write(tmp_path / "app.log.1.gz", gzip.compress(ERRORS.encode())[:40], NOON - 1)
    found = reading(tmp_path / "app.log")
    assert (counted(found), found["doubts"]) == ({"info": 1, "error": 1}, [])


def test_what_is_another_log(tmp_path: Path) -> None:
    for name in ("app-1.log", "app-10.log", "app-1-error.log", "xapp-1.log", "app-1.logs"):
        (tmp_path / name).touch()
    assert listed(str(tmp_path / "app-1.log")).paths == [str(tmp_path / "app-1.log")]


# The beginning


def test_log_that_begins_within_the_window_is_in_doubt(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log", [entry(NOON - HOUR), entry(NOON - 5)])
    assert "nothing older is there" in joined(reading(path, fresh_ok=False))
    assert reading(path, fresh_ok=True)["doubts"] == []
    assert reading(path, since=1800, fresh_ok=False)["doubts"] == []
    empty = write(tmp_path / "empty.log", "")
    assert "nothing older is there" in joined(reading(empty, fresh_ok=False, quiet_ok=True))


# Closed, and no file


def test_closed_folder_within_a_pattern(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
        write(folder / name / "app.log", [entry(NOON - 30 * HOUR), entry(NOON - 10)])
    (folder / "b").chmod(0o700)
    if not os.geteuid():
        os.chown(folder / "b", 0, 0)
    else:
        (folder / "b").chmod(0)
    try:
        for pattern in ("*/app.log", "*/*.log", "**/app.log"):
            with eyes_of_another():
                found = reading(folder / pattern, quiet_ok=True)
            assert counted(found) == {"info": 1}
            assert "cannot be listed" in joined(found), pattern
            assert f"{folder.name}/b" in joined(found)
    finally:
        (folder / "b").chmod(0o755)


def test_folder_that_hides_what_was_rotated_away(folder: Path) -> None:
    (folder / "log").mkdir()
    path = write(folder / "log" / "app.log", [entry(NOON - 30 * HOUR), entry(NOON - 10)])
    write(folder / "log" / "app.log.1", ERRORS, NOON - HOUR)
    path.chmod(0o644)
    (folder / "log").chmod(0o711 if not os.geteuid() else 0o311)
    try:
        with eyes_of_another():
            found = reading(path, quiet_ok=True)
    finally:
        (folder / "log").chmod(0o755)
    assert counted(found) == {"info": 1}
    assert "log cannot be listed" in joined(found)


def test_pipe_and_folder_that_a_pattern_finds(tmp_path: Path) -> None:
    write(tmp_path / "app.log", [entry(NOON - 30 * HOUR)], NOON - 29 * HOUR)
    (tmp_path / "folder.log").mkdir()
    os.mkfifo(tmp_path / "pipe.log")
    found = reading(tmp_path / "*.log", quiet_ok=True)
    assert "folder.log is a folder" in joined(found)
    assert "pipe.log is not a file" in joined(found)
    assert reading(tmp_path / "*.log", quiet_ok=True, exclude=["folder.*", "pipe.*"])["doubts"] == []


# Lines


@pytest.mark.parametrize(
    "line",
    [
        f"{stamp(NOON - 9)} \x1b[1;31mERROR\x1b[0m it broke",
        f"\x1b[2m{stamp(NOON - 9)}\x1b[0m \x1b[31mERR\x1b[0m it broke",
        f"\x1b[90m{stamp(NOON - 9)}\x1b[0m [\x1b[38;5;196merror\x1b[0m] it broke",
        f"{stamp(NOON - 9)} #033[31mERROR#033[0m it broke",
        f'{{"time": "{stamp(NOON - 9)}", "level": "\\u001b[31merror\\u001b[39m", "message": "it broke"}}',
        f"\x1b]0;title\x07\x1b[31mERROR\x1b[m {stamp(NOON - 9)} it broke",
    ],
)
def test_levels_in_colour(tmp_path: Path, line: str) -> None:
    found = reading(write(tmp_path / "app.log", [entry(NOON - 30 * HOUR), f"{line}\n"]))
    assert counted(found) == {"error": 1}
    assert found["kinds"][0]["sample"] == "it broke"


CRASHES = {
    "rust": "thread 'main' panicked at src/book.rs:12:5:\nindex out of bounds\nnote: run with `RUST_BACKTRACE=1`",
    "rust stack": "\nthread 'tokio-runtime-worker' has overflowed its stack\nfatal runtime error: stack overflow",
    "python": "Fatal Python error: Segmentation fault\n\nCurrent thread 0x00 (most recent call first):",
    "c++": "terminate called after throwing an instance of 'std::out_of_range'\n  what():  vector",
    "c": "matcher: book.c:71: insert: Assertion `price > 0' failed.",
    "glibc": "*** stack smashing detected ***: terminated",
    "glibc heap": "double free or corruption (!prev)",
    "shell": "/opt/run.sh: line 3:  1717 Killed                  ./gateway",
    "bare": "Segmentation fault (core dumped)",
    "jvm": "#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n#  SIGSEGV (0xb)",
    "jvm memory": "java.lang.OutOfMemoryError: Java heap space\nDumping heap to java_pid1.hprof ...",
    "jvm thread": 'Exception in thread "main" java.lang.IllegalStateException: no book\n\tat x.Y.z(Y.java:1)',
    "jvm exit": "Terminating due to java.lang.OutOfMemoryError: Metaspace",
    "net": "Unhandled exception. System.InvalidOperationException: no book\n   at Book.Add()",
    "net fatal": "Process terminated. Assertion failed.",
    "node": "/app/book.js:12\n    throw x\n    ^\n\nTypeError: x is not a function\n    at Object.<anonymous>",
    "node memory": "<--- Last few GCs --->\n\n[1:0x1] 1000 ms: Mark-sweep",
    "go": "fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [chan receive]:\nmain.main()",
    "go panic": "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 7 [running]:",
    "go signal": "unexpected fault address 0x0",
    "elixir": "** (EXIT from #PID<0.99.0>) shell process exited with reason: killed",
    "erlang": "=CRASH REPORT==== 24-Nov-2026::11:59:00 ===",
    "php": "PHP Fatal error:  Uncaught Exception: no book in /app/book.php:3",
    "ruby": "book.rb:3:in `add': no book (RuntimeError)",
    "perl": "Can't locate object method add at book.pl line 7.",
    "haskell": "matcher: Prelude.head: empty list",
    "ocaml": 'Fatal error: exception Failure("no book")',
    "zig": "thread 1717 panic: index out of bounds",
    "sanitizer": "==17==ERROR: AddressSanitizer: heap-use-after-free on address 0x0",
    "linker": "./gateway: error while loading shared libraries: libpq.so.5: cannot open shared object file",
    "gnu": "gateway: error: cannot open book",
}


@pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES.keys())
def test_crash_between_entries_that_are_well(tmp_path: Path, crash: str) -> None:
    lines = [entry(NOON - 30 * HOUR), entry(NOON - 20), f"{crash}\n", entry(NOON - 5)]
    found = reading(write(tmp_path / "app.log", lines))
    assert found["counts"]["error"] + found["counts"]["critical"] >= 1
    # After an error that has nothing to do with it, it is a kind of its own.
    lines[1] = entry(NOON - 20, "ERROR", "venue refused")
    samples = " ".join(kind["sample"] for kind in reading(write(tmp_path / "app.log", lines))["kinds"])
    assert "venue refused" in samples
    assert len(samples) > len("venue refused")


def test_burst_of_lines_of_nothing_is_in_doubt(tmp_path: Path) -> None:
    """Whatever a runtime that nobody knows prints."""
    burst = "Guru Meditation 00000004.0000AAC0\n" + "".join(f"  frame {number}\n" for number in range(6))
    lines = [entry(NOON - 30 * HOUR), entry(NOON - 20), burst, entry(NOON - 5)]
    found = reading(write(tmp_path / "app.log", lines))
    assert "Guru Meditation" in joined(found)
    assert reading(tmp_path / "app.log", max_plain_lines=10)["doubts"] == []
    # What is indented goes on with its entry; so do a few lines, and the stack trace of a warning.
    stack = "java.net.SocketTimeoutException: Read timed out\n" + "\tat x.Y.z(Y.java:1)\n" * 9 + "Caused by: x.Z\n"
    lines[1:3] = [
        entry(NOON - 20),
        "  SELECT\n" * 9,
        entry(NOON - 15),
        "one\ntwo\n",
        entry(NOON - 10, "WARNING"),
        stack,
    ]
    found = reading(write(tmp_path / "app.log", lines))
    assert (counted(found), found["doubts"]) == ({"info": 3, "warning": 1}, [])


def test_level_behind_a_stack_longer_than_a_line_may_be(tmp_path: Path) -> None:
    begin = f'{{"time": "{stamp(NOON - 9)}", "context": {{"level": "debug"}}, "stack": "{"at x.Y.z; " * 3000}"'
    lines = [entry(NOON - 30 * HOUR), f'{begin}, "level": "error", "msg": "it broke"}}\n']
    found = reading(write(tmp_path / "app.log", lines))
    assert (counted(found), found["doubts"]) == ({"error": 1}, [])
    lines[1] = f'{begin.replace("level", "depth")}, "level": "error", "more": "{"z" * 9000}"}}\n'
    found = reading(write(tmp_path / "app.log", [*lines, *(entry(NOON - 5) for _ in range(50))]))
    assert "1 entry longer than max_line show no level" in joined(found)


def test_partial_line_of_kubernetes_without_its_level(tmp_path: Path) -> None:
    at = stamp(NOON - 9)
    lines = [f'{at} stderr P {{"stack": "aaaa\n', f'{at} stderr F bbb", "level": "error"}}\n']
    lines += [f"{at} stderr F INFO well\n"] * 50
    assert "show no level" in joined(reading(write(tmp_path / "app.log", lines)))


def test_level_that_nobody_knows_is_named(tmp_path: Path) -> None:
    line = f'{{"time": "{stamp(NOON - 9)}", "level": "info", "msg": "x"}}\n'
    lines = [entry(NOON - 30 * HOUR), *[line] * 99, line.replace("info", "ALARM")]
    found = reading(write(tmp_path / "app.log", lines))
    assert "levels that are not known: ALARM" in joined(found)
    assert reading(tmp_path / "app.log", levels={"alarm": "error"})["counts"]["error"] == 1


def test_errors_that_are_harmless_here_are_warnings(tmp_path: Path) -> None:
    lines = [entry(NOON - 9, "ERROR", "http2: stream closed"), entry(NOON - 8, "ERROR", "disk gone")]
    path = write(tmp_path / "app.log", [entry(NOON - 30 * HOUR), *lines])
    found = reading(path, harmless=["stream closed$"])
    assert (counted(found), [kind["sample"] for kind in found["kinds"]]) == ({"warning": 1, "error": 1}, ["disk gone"])
    assert "harmless is not a regular expression" in reading(path, harmless=["("])["problem"]


# Where each file was read up to


def again(found: dict[str, Any], path: Path, later: float = 60, **given: Any) -> dict[str, Any]:
    """The next run, later by so many seconds."""
    check = {"details": {"until": found["until"], "files": found["files"]}}
    before = last_read(options({"name": "app"})["sources"][0], options({"name": "app"}), [check])
    return reading(path, since=later + 1, until=NOON + later, last_read=before, fresh_ok=False, **given)


def append(path: Path, *lines: str, changed: float = NOON + 30) -> None:
    with path.open("a") as log:
        log.writelines(lines)
    os.utime(path, (changed, changed))


def test_errors_that_are_flushed_late_count_once(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log", [entry(NOON - 30 * HOUR), entry(NOON - 1), entry(NOON - 0.5, "ERROR", "a")])
    first = reading(path)
    assert counted(first) == {"info": 1, "error": 1}
    append(path, entry(NOON - 40, "ERROR", "flushed late"), entry(NOON + 20))
    second = again(first, path)
    assert (counted(second), second["doubts"]) == ({"info": 1, "error": 1}, [])
    assert second["kinds"][0]["sample"] == "flushed late"
    append(path, entry(NOON + 70), changed=NOON + 70)
    third = read_again(second, path)
    assert counted(third) == {"info": 1}


def read_again(found: dict[str, Any], path: Path) -> dict[str, Any]:
    before = {"until": found["until"], "files": found["files"]}
    return reading(path, since=61, until=NOON + 120, last_read=before, fresh_ok=False)


def test_crash_after_the_last_entry_of_the_run_before(tmp_path: Path) -> None:
    path = write(tmp_path / "app.log", [entry(NOON - 30 * HOUR), entry(NOON - 40)])
    first = reading(path)
    append(path, "Segmentation fault (core dumped)\n")
    assert counted(again(first, path)) == {"error": 1}
    path = write(tmp_path / "other.log", [entry(NOON - 30 * HOUR), entry(NOON - 40)])
    first = reading(path)
    append(path, *(f"word {number}\n" for number in range(9)))
    assert "many lines without time" in joined(again(first, path))


@pytest.mark.parametrize("way", ["renamed", "copied", "compressed", "to a folder", "removed"])
def test_rotated_since_the_last_run(tmp_path: Path, way: str) -> None:
    path = write(tmp_path / "app.log", [entry(NOON - 100 + number) for number in range(60)])
    first = reading(path)
    append(path, entry(NOON - 10, "ERROR", "flushed late"), changed=NOON + 10)
    old = path.read_bytes()
    if way == "copied":
        write(tmp_path / "app.log.1", old, NOON + 10)
    elif way == "renamed":
        path.rename(tmp_path / "app.log.1")
    else:
        path.unlink()
    if way == "compressed":
        write(tmp_path / "app-20261124.log.gz", gzip.compress(old), NOON + 10)
    elif way == "to a folder":
        (tmp_path / "archive").mkdir()
        write(tmp_path / "archive" / "app.log", old, NOON + 10)
    write(path, [entry(NOON + 20)], NOON + 20)
    second = again(first, path)
    if way in ("to a folder", "removed"):
        assert "app.log, read last time, is gone" in joined(second)
        assert counted(second) == {"info": 1}
    else:
        assert (counted(second), second["doubts"]) == ({"info": 1, "error": 1}, [])


def test_another_beginning_that_is_asked_for_forgets_the_place() -> None:
    check = {"details": {"until": "2026-11-24T12:00:00Z", "files": []}}
    plain = options({"name": "app"})
    assert last_read(plain["sources"][0], plain, [check])["until"] == "2026-11-24T12:00:00Z"
    assert last_read(plain["sources"][0], options({"name": "app"}, since="600"), [check]) == {}
    assert last_read(plain["sources"][0], plain, [{"details": {}}]) == {}
