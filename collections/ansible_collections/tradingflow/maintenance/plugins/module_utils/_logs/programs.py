# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logs that a program gives out: journalctl, docker, podman, crictl."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import tempfile
import time
from contextlib import suppress
from datetime import datetime, timezone
from itertools import islice
from typing import Any, Dict, Iterator, List, Optional

from ..errors import ConfigurationError
from ..words import size
from .encoding import decoded
from .entries import CUT, Entries, Line
from .files import END
from .fingerprints import sample_of
from .tally import Tally

#: A journal's entry as JSON is longer than its message.
JSON_OVERHEAD = 4096
_NAME = re.compile(r"[\w][\w.@:/-]*")
_NO_RIGHT = ("not seeing messages", "insufficient permissions", "No journal files were opened")
_NO_JOURNAL = "No journal files were found"
_PRIORITIES = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")
_CARRIED = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)) (?:(?:stdout|stderr) [FP] )?")


class Program:
    """A program's output in lines, bounded in time and size.

    :param arguments: never a shell
    :param merged: whether what it says on stderr is part of the output
    """

    def __init__(self, arguments: List[str], timeout: float, merged: bool = False) -> None:
        self.arguments = arguments
        self._end = time.monotonic() + timeout
        self._timeout = timeout
        self._merged = merged
        self.stderr = ""
        self.last = b""

    def lines(self, longest: int) -> Iterator[bytes]:
        """Its lines, each cut to the longest.

        :raises OSError: it is not there, failed or took too long
        """
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                self.arguments,
                env={**os.environ, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if self._merged else said,
            )
            try:
                for line in self._split(process, longest):
                    self.last = line[:1000]
                    yield line
                process.wait(max(0.1, self._end - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"{self.arguments[0]} did not end in {self._timeout:.0f} s") from None
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()
                if process.stdout:
                    process.stdout.close()
            said.seek(0)
            self.stderr = said.read(4000).decode("utf-8", "replace").strip()
            if process.returncode:
                text = self.stderr or self.last.decode("utf-8", "replace")
                raise OSError(f"{self.arguments[0]} failed: {sample_of(text) if text.strip() else process.returncode}")

    def _split(self, process: Any, longest: int) -> Iterator[bytes]:
        descriptor, rest, head = process.stdout.fileno(), b"", b""
        while True:
            ready, _writable, _failed = select.select([descriptor], [], [], max(0.0, self._end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"{self.arguments[0]} did not end in {self._timeout:.0f} s")
            chunk = os.read(descriptor, 65536)
            if not chunk:
                break
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield _cut(head, line, longest)
                head = b""
            if len(rest) > longest + END:
                head, rest = head or rest[:longest], rest[-END:]
        if rest or head:
            yield _cut(head, rest, longest)


def _cut(head: bytes, rest: bytes, longest: int) -> bytes:
    """A line, of a longer one its beginning and its end."""
    if not head and len(rest) <= longest:
        return rest
    return (head + b" ... " + rest[-END:]) if head else (rest[:longest] + b" ... " + rest[longest:][-END:])


class Programs:
    """Reads the output of programs into a tally.

    :param source: kind, unit or container and runtime, max_bytes, max_line, timeout
    """

    def __init__(self, source: Dict[str, Any], entries: Entries, tally: Tally) -> None:
        self._source, self._entries, self._tally = source, entries, tally
        self.names: List[str] = []
        self.doubts: List[str] = []
        self.problem = ""

    def read(self) -> None:
        """Reads what is of the window.

        :raises ConfigurationError: a name that is none
        """
        journal = self._source["kind"] == "journal"
        name = self._source["unit"] if journal else self._source["container"]
        if not journal and not _NAME.fullmatch(name):
            raise ConfigurationError(f"{name!r} is not a container", "Correct the source's container.")
        try:
            if journal:
                self._journal(name)
            else:
                self._container(name)
        except OSError as error:
            self._tally.end()
            if self._tally.entries:
                self.doubts.append(f"reading stopped early ({error})")
            else:
                self.problem = str(error)

    def _journal(self, unit: str) -> None:
        # --all: without it journalctl leaves out messages of more than 4 kB.
        every = ["journalctl", "--output=json", "--no-pager", "--all"]
        base = [*every, f"--unit={unit}"]
        self.names = [f"journal of {unit}"]
        window = [f"--since=@{int(self._tally.since)}", f"--until=@{int(self._tally.until) + 1}"]
        fields = ["--output-fields=MESSAGE,PRIORITY"]
        said = self._all([*base, *window, *fields], self._journal_line, self._source["max_line"] + JSON_OVERHEAD)
        self._tally.end()
        if any(text in said for text in _NO_RIGHT):
            self._doubt_or_problem("the journal cannot be read: the user is in neither systemd-journal nor adm")
            return
        if _NO_JOURNAL in said:
            self._doubt_or_problem("there is no journal on this host")
            return
        before = ["--lines=1", f"--until=@{int(self._tally.since)}"]
        ever = self._ever([*base, *before])
        # A journal that goes back further covers the window, also for a unit that is younger.
        self._tally.older = ever or self._ever([*every, *before])
        if not self._tally.entries and not ever:
            self.problem = f"the journal has no entry of {unit}: there is no such unit, or it never logged"

    def _ever(self, arguments: List[str]) -> bool:
        """Whether the journal has an entry before the window: what is quiet now is there at all."""
        said = Program(arguments, self._source["timeout"]).lines(1000)
        return any(line.startswith(b"{") for line in islice(said, 10))

    def _doubt_or_problem(self, text: str) -> None:
        if self._tally.entries:
            self.doubts.append(text)
        else:
            self.problem = text

    def _container(self, name: str) -> None:
        runtime, since = self._source["runtime"], _rfc3339(self._tally.since)
        if runtime == "crictl":
            # A pod that was restarted has one more container of the same name.
            found = Program(
                ["crictl", "ps", "--all", "--quiet", "--name", f"^{re.escape(name)}$"], self._source["timeout"]
            )
            ids = [line.decode("ascii", "replace").strip() for line in found.lines(200)]
            commands = [["crictl", "logs", "--timestamps", f"--since={since}", id] for id in ids if id.isalnum()]
        else:
            until = _rfc3339(self._tally.until + 1)
            commands = [[runtime, "logs", "--timestamps", f"--since={since}", f"--until={until}", name]]
        self.names = [f"{runtime} container {name}"]
        if not commands:
            self.problem = f"{runtime} knows no container {name}"
        for command in commands:
            self._tally.begin()
            self._all(command, self._container_line, self._source["max_line"], merged=True)
            first = self._first([each for each in command if not each.startswith(("--since=", "--until="))])
            self._tally.older |= first is not None and first <= self._tally.since

    def _first(self, arguments: List[str]) -> Optional[float]:
        """When the oldest line that a runtime still has is of: it throws away what is too much, and with a container
        all it wrote."""
        for raw in islice(Program(arguments, self._source["timeout"], merged=True).lines(1000), 10):
            match = _CARRIED.match(decoded(raw)[0])
            if match:
                return self._entries.times.value(match[1])
        return None

    def _all(self, arguments: List[str], understood: Any, longest: int, merged: bool = False) -> str:
        """All lines of a program into the tally, and what it said on stderr."""
        program = Program(arguments, self._source["timeout"], merged)
        for raw in program.lines(longest):
            self._tally.bytes += len(raw) + 1
            if self._tally.bytes > self._source["max_bytes"]:
                most = size(self._source["max_bytes"])
                self.doubts.append(f"there is more than {most} of the time in question; only the oldest was read")
                break
            line = understood(raw)
            if line:
                if line.begins and line.level is None and len(raw) > longest:
                    line.strange = CUT
                self._tally.add(line)
        return program.stderr

    def _journal_line(self, raw: bytes) -> Optional[Line]:
        text, _guessed = decoded(raw)
        if not text.startswith("{"):
            return None  # -- No entries --
        cut = False
        try:
            fields = json.loads(text)
        except ValueError:
            # Cut: what stands at its beginning and at its end is still there.
            fields = dict(re.findall(r"\"(\w+)\" ?: ?\"((?:[^\"\\]|\\.)*)", text))
            cut = True
        message = fields.get("MESSAGE")
        if cut and isinstance(message, str):
            with suppress(ValueError):  # Else it stays as it is escaped.
                message = json.loads(f'"{message}"')
        if isinstance(message, list):
            # Not UTF-8: the bytes themselves; of a field that comes several times the values.
            numbers = all(isinstance(item, int) and 0 <= item < 256 for item in message)
            message = decoded(bytes(message))[0] if numbers else " ".join(map(str, message))
        stamp, priority = str(fields.get("__REALTIME_TIMESTAMP", "")), str(fields.get("PRIORITY", ""))
        at = int(stamp) / 1e6 if stamp.isdigit() else None
        level = _PRIORITIES[int(priority)] if priority in tuple("01234567") else None
        if message is None:
            message = "(a message longer than journalctl shows)"
        line = self._entries.record(str(message), at, level, whole=True)
        if cut and str(message).startswith("{") and self._entries.line(str(message)).level is None:
            line.strange = CUT
        return line

    def _container_line(self, raw: bytes) -> Optional[Line]:
        text, guessed = decoded(raw)
        self._tally.guessed += guessed
        match = _CARRIED.match(text)
        if not match:
            return self._entries.record(text, None)
        return self._entries.record(text[match.end() :], self._entries.times.value(match[1]))


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(int(at), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
