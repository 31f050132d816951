# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL's client programs: where they are, what they can do, and running them so that none outlives us."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import suppress
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..errors import BackupError, ConfigurationError
from . import squeeze

_PR_SET_PDEATHSIG = 1
#: Bytes of a program's messages that are kept.
_SAID = 8192
try:
    _libc: Any = ctypes.CDLL(None, use_errno=True)
except OSError:  # no dynamic libc
    _libc = None

#: Level of each compression when none is asked for: what one core keeps up with.
DEFAULT_LEVELS = {"zstd": 1, "lz4": 1, "gzip": 1, "none": 0}
#: What pg_restore says of a compression that it was built without, as a warning first: it lists the dump all the same.
NOT_BUILT = "does not support compression"
SUFFIXES = {"zstd": ".zst", "lz4": ".lz4", "gzip": ".gz", "none": ""}


def find(name: str, directory: Optional[str]) -> str:
    """Path of a client program.

    :param directory: where to look; None for the PATH
    :raises ConfigurationError: it is not there
    """
    path = shutil.which(name, path=directory or None)
    if path is None:
        raise ConfigurationError(
            f"{name} was not found in {directory or 'the PATH'}.",
            "Install the PostgreSQL client of the server's version, or correct backup_pg_bin_dir.",
        )
    return path


def version(program: str) -> Tuple[int, int]:
    """Major and minor version a client program says it has.

    :raises ConfigurationError: it does not run
    """
    try:
        text = subprocess.run([program, "--version"], check=True, capture_output=True, text=True, timeout=30).stdout
        match = re.search(r"\(PostgreSQL\) (\d+)(?:\.(\d+))?", text)
        if match:
            return int(match.group(1)), int(match.group(2) or 0)
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{program} does not run: {error}", "Reinstall the PostgreSQL client.") from None
    raise ConfigurationError(f"{program} does not say its version: {text!r}", "Check backup_pg_bin_dir.")


def compression(
    pg_dump: str, major: int, wanted: str, level: Optional[int], *, free_bytes: int
) -> Tuple[str, int, bool]:
    """Name and level of the best compression to be had, or of the one asked for, and whether ISA-L does it.

    :param wanted: auto, zstd, lz4, gzip or none
    :param free_bytes: of scratch space
    :raises ConfigurationError: the client was built without the one asked for
    """
    for name in ["zstd", "gzip by ISA-L", "lz4", "gzip", "none"] if wanted == "auto" else [wanted]:
        if name.startswith("gzip") and squeeze.available(free_bytes) and (level is None or level in squeeze.LEVELS):
            return "gzip", DEFAULT_LEVELS["gzip"] if level is None else level, True
        if name == "gzip by ISA-L":
            continue
        chosen = DEFAULT_LEVELS[name] if level is None else level
        if name == "none":
            return name, 0, False
        if _accepts(pg_dump, compress_arguments(major, name, chosen)):
            return name, chosen, False
    raise ConfigurationError(
        f"{pg_dump} cannot compress with {wanted} at level {level}.",
        "Use backup_compression=auto, or a client that was built with it.",
    )


def compress_arguments(major: int, name: str, level: int) -> List[str]:
    """pg_dump's option; before version 16 there is only gzip, by level."""
    if major >= 16:
        return ["--compress=none" if name == "none" else f"--compress={name}:{level}"]
    return [f"--compress={level if name == 'gzip' else 0}"] if name in ("gzip", "none") else [f"--compress={name}"]


def _accepts(pg_dump: str, arguments: List[str]) -> bool:
    # pg_dump judges --compress before it connects; a socket directory without a socket ends it right after.
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [pg_dump, "-Fd", "-f", os.path.join(empty, "dump"), *arguments, "-h", empty, "-d", "none", "-w"],
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
        )
        return "connection to server" in done.stderr or "could not connect" in done.stderr


def child_setup(nice: int, farewell: int = signal.SIGKILL) -> Callable[[], None]:
    """What a child does before exec: die with us, be a group of its own, be nice.

    :param farewell: the signal it gets when we die
    """
    parent = os.getpid()

    def setup() -> None:
        os.setpgid(0, 0)
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, farewell, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        if nice:
            os.nice(nice)

    return setup


class Program:
    """A running client program; leaving the context kills what still runs of it."""

    def __init__(self, arguments: List[str], environment: Dict[str, str], nice: int = 0) -> None:
        self.name = os.path.basename(arguments[0])
        self._stopped = False
        self._said = b""
        self.process = subprocess.Popen(
            arguments,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=child_setup(nice),
        )
        # Kept in memory: the disk may be what is full.
        self._listener = threading.Thread(target=self._listen, name="messages", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        if self.process.stderr is not None:
            with self.process.stderr as messages:
                for line in messages:
                    self._said = (self._said + line)[-_SAID:]

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self._signal(signal.SIGKILL)
        self.process.wait()

    def finished(self) -> bool:
        """Whether it ended.

        :raises BackupError: it ended badly; the message has its last words
        """
        code = self.process.poll()
        if code is None:
            return False
        if code:
            self._listener.join(5)
            said = last_words(self._said)
            remedy = "Read the message; docs/backup.md lists the rights the database user needs."
            if "No space left" in said:
                remedy = "Free space in backup_scratch_directory, or choose another."
            raise BackupError(f"{self.name} failed with exit status {code}: {said}", remedy)
        return True

    def pause(self, on: bool) -> None:
        """Stops or continues the whole group: the only brake pg_dump has.

        The group is in our session, so that the kernel continues and hangs it up should we die meanwhile.
        """
        if on != self._stopped and self.process.poll() is None:
            self._signal(signal.SIGSTOP if on else signal.SIGCONT)
            self._stopped = on

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)


def last_words(said: bytes, limit: int = 600) -> str:
    """The end of a program's messages, on one line."""
    text = " ".join(said.decode("utf-8", "replace").split())
    if len(text) > limit:
        text = "... " + text[-limit:].partition(" ")[2]
    return text or "(it said nothing)"


def run_to_text(
    arguments: List[str], environment: Dict[str, str], timeout: float = 300, *, fatal: Optional[str] = None
) -> str:
    """Standard output of a program.

    :param fatal: words that make its warning a failure
    :raises BackupError: it failed
    """
    try:
        done = subprocess.run(
            arguments,
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            preexec_fn=child_setup(0),
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise BackupError(
            f"{os.path.basename(arguments[0])} did not run: {error}", "Check backup_pg_bin_dir."
        ) from None
    if done.returncode or (fatal and fatal.encode() in done.stderr):
        what = f"failed with exit status {done.returncode}" if done.returncode else "warned"
        raise BackupError(
            f"{os.path.basename(arguments[0])} {what}: {last_words(done.stderr)}",
            "Read the message; docs/backup.md lists the rights the database user needs.",
        )
    return done.stdout.decode("utf-8", "surrogateescape")
