"""Lines judged together are judged as each by itself would be, and a large log takes little memory from end to end."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import selection
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.selection import Selection

from tests.conftest import ROOT

BEGIN, END = (datetime(2026, month, 1, tzinfo=UTC).timestamp() for month in (10, 11))
SOURCE: dict[str, Any] = {"time_zone": "UTC", "time_pattern": "", "time_format": "", "format": "auto"}


def selected(data: bytes, size: int, source: dict[str, Any] = SOURCE) -> tuple[bytes, int, int, int]:
    out: list[bytes] = []
    one = Selection(source, BEGIN, END, END, out.append)
    for place in range(0, len(data), size):
        one.add(data[place : place + size])
    one.end()
    return b"".join(out), one.kept, one.left, one.strange


ZONES = ["Z", "+00:00", "+02:00", "-05:00", "", " UTC", " CET", " +0100"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("form", ["json", "text", "quoted"])
@pytest.mark.parametrize("of_source", ["UTC", "Europe/Berlin", "America/New_York"])
def test_at_the_ends_of_the_period_it_is_the_same(
    zone: str, form: str, of_source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for end in (BEGIN, END):
        lines = []
        for number in range(150):
            stamp = f"{datetime.fromtimestamp(end + (number - 75) * 480, UTC):%Y-%m-%dT%H:%M:%S}.000{zone}"
            if form == "json":
                lines.append(json.dumps({"time": stamp, "n": number}))
            else:
                lines.append(
                    f"{stamp} order {number}" if form == "text" or number < 3 else f'said "{stamp}" of {number}'
                )
        data = "".join(f"{each}\n" for each in lines).encode()
        source = {**SOURCE, "time_zone": of_source}
        found = selected(data, 1500, source)
        with monkeypatch.context() as patched:
            patched.setattr(Selection, "_at_once", lambda *_given: None)
            assert selected(data, 1500, source) == found


def line(form: str, at: datetime, dice: random.Random) -> str:
    stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{dice.randrange(1000):03}Z"
    other = dice.choice(["", "", "", " until 2026-10-15T00:00:00Z", " of 2026-10-15 10:00:00", " ref 123456789012"])
    if form == "json":
        data: dict[str, Any] = {"time": stamp, "message": f"order {dice.randrange(1000)}{other}"}
        if dice.random() < 0.02:
            data |= dice.choice([{"at": int(at.timestamp()) - 86400 * 90}, {"instant": {"epochSecond": 1}}])
        return json.dumps(data if dice.random() < 0.99 else dict(reversed(data.items())))
    if form == "slash":
        return f"{at:%Y/%m/%d %H:%M:%S} order {dice.randrange(1000)}{other}"
    return f"[{stamp}] INFO order {dice.randrange(1000)}{other}" if dice.random() < 0.99 else "  goes on"


@pytest.mark.parametrize("form", ["json", "slash", "text"])
def test_together_and_one_by_one_it_is_the_same(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(form)
    for _round in range(6):
        begin = dice.choice([BEGIN - 200_000, BEGIN + 5 * 86400, END - 200_000])
        step = dice.choice([1, 60, 600])
        lines = [line(form, datetime.fromtimestamp(begin + number * step, UTC), dice) for number in range(700)]
        if dice.random() < 0.5:
            lines[300:400] = dice.sample(lines[300:400], 100)
        data = "".join(f"{each}\n" for each in lines).encode()
        size = dice.choice([1000, 7000, 1 << 20])
        found = selected(data, size)
        with monkeypatch.context() as patched:
            patched.setattr(Selection, "_at_once", lambda *_given: None)
            assert selected(data, size) == found


def test_lines_that_begin_alike_are_judged_by_their_times_alone() -> None:
    lines = [f'{{"time": "2026-10-{day:02}T00:00:00Z", "n": {day}}}\n' for day in (3, 2, 4)]
    whole = "".join(lines).encode()
    expected = {f"2026-10-0{day}T00:00:00".encode() for day in (2, 3, 4)}
    zones = [selection._UTC]
    assert selection._leading(whole, 3, zones) == (expected, True)
    assert selection._leading(whole.replace(b'"n": 3', b'"n": 123456789012'), 3, zones) == (expected, True)
    assert selection._leading(whole.replace(b"02T00:00:00Z", b"02T00:00:00+02:00"), 3, zones) == (expected, False)
    assert selection._leading(whole.replace(b"Z", b""), 3, zones) == (expected, False)
    assert selection._leading(whole.replace(b"Z", b""), 3, [selection._NO_ZONE]) == (expected, True)
    quoted = whole.replace(b"{", b"said ").replace(b"}", b"")
    assert selection._leading(quoted, 3, zones) == (expected, False)
    for other in (b'"at": 1234567890', b'"ts": {"s": 1}', b'"n": "2026-10-01T00:00:00"', b'"n": "2026/10/01 00:00:00"'):
        assert selection._leading(whole.replace(b'"n": 4', other), 3, zones) == (None, False)
    assert selection._leading(whole + b"more\n", 4, zones) == (None, False)
    assert selection._leading(b"more\n" + whole, 4, zones) == (None, False)


LARGE = """
import resource, sys
from pathlib import Path
sys.path.insert(0, "collections")
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import log_files, redact, scan
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Period
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.packing import Scratch
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.rules import load
folder = Path(sys.argv[1])
rules = load(None, b"k" * 32)
taken = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (taken + 90_000_000,) * 2)
given = {"name": "app", "path": str(folder / "app.log"), "exclude": [], "time_zone": "UTC", "fresh_ok": True}
period = Period("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
for name in "ab":
    (folder / name).mkdir()
source = log_files.collect(Scratch(str(folder / "a"), 1 << 40), period, given)
done = redact.source(folder / "a", source, Scratch(str(folder / "b"), 1 << 40), rules)
print(source.outcome, source.records, done.redactions, scan.files(folder / "b", done))
"""


def test_a_large_log_takes_little_memory(tmp_path: Path) -> None:
    """It is larger than the memory that may be taken, also by the engines of patterns, which Python does not see."""
    text = '{{"time": "2026-10-05T10:00:00Z", "n": {0}, "message": "order {0} filled at 101.25 {1}"{2}}}\n'
    lines = [text.format(number, "x" * 200, ', "password": "hunter22"' * (number % 500 == 0)) for number in range(4000)]
    chunk = "".join(lines).encode()
    with (tmp_path / "app.log").open("wb") as log:
        for _time in range(120):
            log.write(chunk)
    command = [sys.executable, "-c", LARGE, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"complete {4000 * 120} {{'secret': {8 * 120}}} []\n"


@pytest.mark.parametrize("stamp", ["2026-13-05T00:00:00Z", "2026-31-12T10:00:00Z", "2026-11-05T24:10:00Z"])
def test_a_time_that_there_is_not_says_nothing(stamp: str) -> None:
    """It is no time of after the period: such lines go with the one before."""
    data = "".join(f"{each} order\n" for each in ["2026-10-05T00:00:00Z"] * 30 + [stamp] * 30).encode()
    assert selected(data, 22 * 30)[1:] == (60, 0, 0)
