"""Rotation of logs, by Debian's own logrotate."""

from __future__ import annotations

import fcntl
import grp
import gzip
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping import state
from ansible_collections.tradingflow.maintenance.plugins.module_utils._housekeeping.rotation import Rotation
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    HousekeepingError,
)

from tests.debian import program

TOP = b"logrotate state -- version 2\n"


class Host:
    """A folder with a configuration of logrotate, its state and logs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "log"
        self.parts = folder / "logrotate.d"
        self.config = folder / "logrotate.conf"
        self.state = folder / "status"
        for each in (self.logs, self.parts):
            each.mkdir(mode=0o755)
        self.config.write_text(f"weekly\nrotate 4\ncreate\ninclude {self.parts}\n", encoding="utf-8")
        self.config.chmod(0o644)
        path, environment = program("logrotate", "logrotate", libraries=True)
        self.program, self.environment = str(path), environment

    def part(self, name: str, text: str) -> None:
        (self.parts / name).write_text(text, encoding="utf-8")
        (self.parts / name).chmod(0o644)

    def log(self, name: str, age: float = 0) -> Path:
        path = self.logs / name
        path.write_text("something\n", encoding="utf-8")
        os.utime(path, (time.time() - age * 86400,) * 2)
        return path

    def rotation(self, *managed: dict[str, Any], rotated: list[str] | None = None) -> Rotation:
        return Rotation(
            {
                "config": str(self.config),
                "state": str(self.state),
                "program": self.program,
                "environment": self.environment,
                "managed": list(managed),
                "rotated": rotated or [],
            }
        )

    def rotate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [self.program, "-s", str(self.state), *arguments, str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **self.environment})


@pytest.fixture
def host() -> Iterator[Host]:
    # Not in a folder that others may write to: logrotate refuses that.
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="rotation-")))
    yield Host(folder)
    shutil.rmtree(folder)


def managed(host: Host, **more: Any) -> dict[str, Any]:
    user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
    return {
        "name": "app",
        "paths": [f"{host.logs}/app.log"],
        "frequency": "daily",
        "keep": 9,
        "create": f"0640 {user} {group}",
        "reopen": "true",
        "maximum_size": "",
        "su": "",
        **more,
    }


def applied(made: Rotation) -> dict[str, Any]:
    return made.apply([item["token"] for item in made.plan()["items"]])


STATES = {
    "well": TOP + b'"/var/log/a.log" 2026-11-20-1:2:3\n\n/b 1900-1-1\n',
    "first version": b'logrotate state -- version 1\n"/a" 2026-11-20\n',
    "empty": b"",
    "quotes": TOP + b'"/a \\"b\\" \\c" 2026-11-20-1:2:3\n',
    "junk after a date": TOP + b"/ab 2026-11-20junk\n",
    "blanks": TOP + b'  "/a"\t2026-11-20-1:2:3  \n',
    "carriage return": TOP + b'"/a" 2026-11-20-1:2:3\r\n',
    "31 February": TOP + b'"/a" 2026-02-31-1:2:3\n',
    "garbage": TOP + b'"/a" 2026-11-20-1:2:3\ngarbage\n',
    "version": b"logrotate state -- version 3\n",
    "blank before": b" " + TOP,
    "cut off": TOP + b'"/a" 2026-11-20-1:2',
    "month": TOP + b'"/a" 2026-13-20-1:2:3\n',
    "hour": TOP + b'"/a" 2026-11-20-24:2:3\n',
    "year": TOP + b'"/a" 2101-11-20-1:2:3\n',
    "negative": TOP + b'"/a" 2026--1-20-1:2:3\n',
    "zeros": TOP + b"\0" * 20 + b"\n",
    "zero inside": TOP + b'"/a\0b" 2026-11-20-1:2:3\n',
    "three words": TOP + b'"/a b" 2026-11-20-1:2:3 x\n',
    "open quote": TOP + b'"/a b 2026-11-20-1:2:3\n',
    "no date": TOP + b'"/a"\n',
    "long": TOP + b"/" + b"a" * 17000 + b" 2026-11-20-1:2:3\n",
    "zeros alone": b"\0" * 64,
    "ends with a backslash": TOP + b"/a \\",
}


@pytest.mark.parametrize("name", STATES)
def test_state_is_read_as_logrotate_reads_it(host: Host, name: str) -> None:
    host.state.write_bytes(STATES[name])
    host.state.chmod(0o640)
    said = host.rotate("-d")
    refused = " in state file " in said.stderr or "reading top line" in said.stderr
    assert bool(state.parsed(STATES[name]).faults) == refused, said.stderr


def test_state_is_written_as_it_is_read() -> None:
    entries = {b"/a b": b"2026-11-20-1:2:3", b'/q"uote': b"2026-1-2-3:4:5", b"/back\\slash": b"2026-1-2-3:4:5"}
    never = {b"/new\nline": b"2026-1-2-3:4:5", b"/ends\\": b"2026-1-2-3:4:5"}
    assert state.parsed(state.written({**entries, **never})) == (entries, [])


def test_a_damaged_state_is_repaired_from_the_files(host: Host) -> None:
    host.part("app", f"{host.logs}/*.log {{\n daily\n create\n}}\n")
    for name in ("kept.log", "lost.log", "never.log"):
        host.log(name)
    host.log("lost.log.1", age=3)
    host.log("lost.log.2", age=4)
    damaged = TOP + f'"{host.logs}/kept.log" 2026-11-20-1:2:3\nxx\n"/after" 2026-11-21-1:2:3\n'.encode()
    host.state.write_bytes(damaged)
    host.state.chmod(0o640)
    made = host.rotation()
    plan = made.plan()
    assert plan["faults"] == ["line 3"]
    assert [item["what"] for item in plan["items"]] == ["state"]
    assert host.state.read_bytes() == damaged
    after = applied(made)
    assert after["faults"] == []
    assert after["done"]["failed"] == []
    (row,) = after["done"]["written"]
    assert Path(row["kept"]).read_bytes() == damaged
    assert host.state.stat().st_mode & 0o777 == 0o640
    known = state.parsed(host.state.read_bytes()).entries
    assert known[f"{host.logs}/kept.log".encode()] == b"2026-11-20-1:2:3"
    assert known[b"/after"] == b"2026-11-21-1:2:3"
    lost = state.moment(known[f"{host.logs}/lost.log".encode()])
    assert lost is not None
    # When it was rotated, not when it was last written to before that.
    assert abs((host.logs / "lost.log.1").stat().st_ctime - lost.timestamp()) < 60
    assert f"{host.logs}/never.log".encode() not in known


def test_a_repaired_state_does_not_rotate_again_what_was_rotated_lately(host: Host) -> None:
    """A log that is seldom written to: of the one file that is kept of it, nothing may go before its time."""
    host.part("app", f"{host.logs}/*.log {{\n monthly\n rotate 1\n}}\n")
    host.log("seldom.log")
    kept = host.log("seldom.log.1", age=40)
    host.state.write_bytes(b"damaged\n")
    host.state.chmod(0o640)
    assert applied(host.rotation())["done"]["failed"] == []
    before = kept.stat().st_ino
    done = host.rotate()
    assert done.returncode == 0, done.stderr
    assert kept.stat().st_ino == before


def test_no_rotation_lies_in_the_future(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    log = host.log("app.log")
    host.log("app.log.1")
    monkeypatch.setattr(f"{Rotation.__module__}.time.time", lambda: 1000.0)
    assert host.rotation()._rotated(str(log)) == 1000.0


def test_a_state_that_logrotate_holds_is_left_alone(host: Host) -> None:
    host.part("app", f"{host.logs}/*.log {{\n daily\n}}\n")
    host.state.write_bytes(b"damaged\n")
    made = host.rotation()
    with host.state.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        done = applied(made)["done"]
    assert done["written"] == []
    assert "logrotate is at work" in done["failed"][0]["why"]
    assert host.state.read_bytes() == b"damaged\n"


def test_copytruncate_is_found_where_it_counts(host: Host) -> None:
    host.part(
        "bad",
        f"# copytruncate\n{host.logs}/a.log\n{host.logs}/b.log {{\n  copytruncate\n}}\n"
        f"{host.logs}/c.log {{\n  postrotate\n    copytruncate }}\n  endscript\n}}\n",
    )
    host.part("undone", f"{host.logs}/d.log {{\n copytruncate\n nocopytruncate\n}}\n")
    host.part("other.dpkg-old", "copytruncate\n")
    assert host.rotation().plan()["copied"] == [f"{host.parts}/bad: {host.logs}/a.log {host.logs}/b.log"]


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("{a} {{\n copytruncate\n}}\n{b} {{\n nocopytruncate\n}}\n", "{a}"),
        ("{a}\n{{\n daily\n}}\n{b}\n{{\n copytruncate\n}}\n", "{b}"),
        ("{a} {{ daily copytruncate }}\n{b} {{\n daily\n}}\n", "{a}"),
        ("{b} {{ rotate 3\n}}\n{a} {{ copytruncate\n}}\n", "{a}"),
        ("{a} {{\n copytruncate=\n}}\n{b} {{\n daily\n}}\n", "{a}"),
        ("copytruncate\n{a} {{\n daily\n}}\n{b} {{\n nocopytruncate\n}}\n", "all logs"),
        ("copytruncate\nnocopytruncate\n{a} {{\n daily\n}}\n", ""),
        ("{a} {{\n copytruncate\n nocopytruncate # copytruncate\n}}\n", ""),
        ("{a} {{\n postrotate\n  copytruncate }}\n endscript\n}}\n{b} {{\n daily\n}}\n", ""),
    ],
)
def test_copytruncate_is_found_as_logrotate_understands_it(host: Host, text: str, lost: str) -> None:
    logs = {"a": str(host.log("a.log")), "b": str(host.log("b.log"))}
    host.part("app", text.format(**logs))
    # What it would do is what it says of itself.
    said = host.rotate("-d", "-f")
    assert ("truncating " in said.stderr + said.stdout) == bool(lost)
    assert host.rotation().plan()["copied"] == ([f"{host.parts}/app: {lost.format(**logs)}"] if lost else [])


def test_logs_that_nobody_rotates(host: Host) -> None:
    host.part("app", f"{host.logs}/known.log {{\n daily\n}}\n")
    for name in ("known.log", "alone.log", "by-itself.log", "by-itself.log.1"):
        host.log(name)
    (host.logs / "empty.log").touch()
    found = host.rotation(rotated=[f"{host.logs}/*.log"]).plan()["unrotated"]
    assert found == [{"log": f"{host.logs}/alone.log", "bytes": 10}]


def test_a_log_that_is_late(host: Host) -> None:
    host.part("app", f"{host.logs}/*.log {{\n daily\n}}\n{host.logs}/size.txt {{\n size 1k\n}}\n")
    for name in ("late.log", "well.log"):
        host.log(name)
    host.log("size.txt")
    yesterday = time.strftime("%Y-%m-%d-3:0:0", time.localtime(time.time() - 86400))
    times = {"late.log": "2026-1-1-1:1:1", "well.log": yesterday, "size.txt": "2026-1-1"}
    lines = "".join(f'"{host.logs}/{name}" {at}\n' for name, at in times.items())
    host.state.write_bytes(TOP + lines.encode())
    (late,) = host.rotation().plan()["late"]
    assert late["log"] == f"{host.logs}/late.log"
    assert late["period"] == 1


def test_a_logrotate_that_never_ran(host: Host) -> None:
    plan = host.rotation().plan()
    assert (plan["logs"], plan["never"]) == (0, "")
    host.part("app", f"{host.logs}/*.log {{\n daily\n}}\n")
    host.log("app.log")
    assert host.rotation().plan()["never"] == str(host.state)
    host.state.write_bytes(TOP)
    assert host.rotation().plan()["never"] == str(host.state)
    host.state.unlink()
    assert host.rotate().returncode == 0
    assert host.rotation().plan()["never"] == ""


def test_a_log_that_the_state_does_not_know_is_late_in_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.part("app", f"{host.logs}/*.log {{\n daily\n}}\n")
    host.log("young.log", age=2)
    host.log("late.log", age=9)
    host.log("empty.log", age=9).write_text("", encoding="utf-8")
    host.state.write_bytes(TOP + b'"/other" 2026-11-20-1:2:3\n')
    assert [row["log"] for row in host.rotation().plan()["late"]] == [f"{host.logs}/late.log"]
    # What is written to all the time is as old as its file.
    ahead = time.time() + 20 * 86400
    os.utime(host.logs / "young.log", (ahead, ahead))
    monkeypatch.setattr(f"{Rotation.__module__}.time.time", lambda: ahead)
    late = host.rotation().plan()["late"]
    assert [(row["log"], round(row["days"])) for row in late] == [
        (f"{host.logs}/late.log", 29),
        (f"{host.logs}/young.log", 20),
    ]


def test_an_unknown_option_is_an_error_though_logrotate_ends_well(host: Host) -> None:
    host.part("bad", f"{host.logs}/a.log {{\n dailly\n missingok\n}}\n")
    assert host.rotate("-d").returncode == 0
    assert host.rotation().plan()["errors"] == ["bad:2 unknown option 'dailly' -- ignoring line"]


def test_managed_configuration_is_put_in_place_once(host: Host) -> None:
    made = host.rotation(managed(host))
    assert [item["name"] for item in made.plan()["items"]] == [f"{host.parts}/app"]
    assert list(host.parts.iterdir()) == []
    after = applied(made)
    assert after["items"] == []
    assert after["errors"] == []
    assert (host.parts / "app").stat().st_mode & 0o777 == 0o644
    assert applied(made)["done"] == {"written": [], "failed": []}


def test_what_was_written_is_told_though_it_cannot_be_looked_at_again(host: Host) -> None:
    made = host.rotation(managed(host))
    tokens = [item["token"] for item in made.plan()["items"]]
    made._late = lambda periods, known: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    after = made.apply(tokens)
    assert [row["what"] for row in after["done"]["written"]] == ["configuration"]
    assert "ZeroDivisionError" in after["error"]["message"]


def test_configuration_that_logrotate_refuses_leaves_what_was_there(host: Host) -> None:
    host.part("other", f"{host.logs}/app.log {{\n weekly\n}}\n")
    host.part("app", "# mine\n")
    host.log("app.log")
    done = applied(host.rotation(managed(host)))["done"]
    assert done["written"] == []
    assert "duplicate log entry" in done["failed"][0]["why"]
    assert (host.parts / "app").read_text(encoding="utf-8") == "# mine\n"
    assert sorted(path.name for path in host.parts.iterdir()) == ["app", "other"]


@pytest.mark.parametrize(
    "more",
    [
        {"name": "../passwd"},
        {"name": "app.bak"},
        {"paths": ["/var/log/x { }"]},
        {"paths": ["relative"]},
        {"paths": []},
        {"create": "0640"},
        {"create": "0640 root root\n}"},
        {"frequency": "sometimes"},
        {"keep": 0},
        {"reopen": " "},
        {"reopen": "endscript"},
        {"maximum_size": "1 GB"},
        {"su": "root"},
    ],
)
def test_configuration_that_would_be_another_one(host: Host, more: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        host.rotation(managed(host, **more)).plan()


def test_without_logrotate(host: Host) -> None:
    made = host.rotation()
    made.program = str(host.folder / "none")
    with pytest.raises(HousekeepingError, match="cannot be asked"):
        made.plan()


WRITER = """
import os, signal, sys
path, opened, left, number = sys.argv[1], 0, 20000, 0
again = False
def reopen(*_):
    global again
    again = True
signal.signal(signal.SIGHUP, reopen)
out = open(path, "ab", buffering=0)
print("ready", flush=True)
# As long as it is rotated, and some more: a busy machine rotates slowly.
while left and number < 20000000:
    if again:
        again = False
        opened += 1
        out.close()
        out = open(path, "ab", buffering=0)
        print("opened", flush=True)
    out.write(b"%d\\n" % number)
    number += 1
    left -= opened == 4
print(number)
"""


def test_not_a_line_is_lost(host: Host) -> None:
    """A program that writes numbered lines without a pause, through four rotations of a managed log."""
    log = host.log("app.log")
    log.unlink()
    command = [sys.executable, "-S", "-c", WRITER, str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == "ready\n"
        made = host.rotation(managed(host, reopen=f"kill -HUP {writer.pid}"))
        assert applied(made)["done"]["failed"] == []
        rotations = 0
        while rotations < 4 and writer.poll() is None:
            done = host.rotate("-f")
            assert done.returncode == 0, done.stderr
            if writer.stdout.readline() != "opened\n":
                break
            rotations += 1
        assert rotations == 4
        lines = int(writer.stdout.read())
    assert writer.returncode == 0
    files = list(host.logs.iterdir())
    assert len(files) == 5
    found: list[int] = []
    for path in files:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        found += map(int, raw.split())
    assert sorted(found) == list(range(lines))
