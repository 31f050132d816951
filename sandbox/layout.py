# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a sandbox keeps what, its state file, and its lock."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
#: Marks a folder as ours: nothing without it is ever deleted.
MARKER = ".tradingflow-sandbox"
SERVICES = ("postgres", "s3", "app")


class SandboxError(Exception):
    """What went wrong, and what to do about it."""


class Layout:
    """The paths of one sandbox, from the environment.

    TRADINGFLOW_SANDBOX_STATE names the state file (ending in .json) or its folder, TRADINGFLOW_SANDBOX_ROOT the
    folder of the data.
    """

    def __init__(self) -> None:
        given = os.environ.get("TRADINGFLOW_SANDBOX_STATE")
        path = Path(given or CHECKOUT / ".sandbox").expanduser().absolute()
        self.state_file = path if path.suffix == ".json" else path / "sandbox.json"
        self.lock_file = self.state_file.with_suffix(".lock")
        root = os.environ.get("TRADINGFLOW_SANDBOX_ROOT")
        if not root:
            # A state file of its own means a sandbox of its own.
            identity = os.path.realpath(self.state_file) if given else os.path.realpath(CHECKOUT)
            digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
            root = f"/var/tmp/tradingflow-sandbox-{os.getuid()}-{digest}"  # noqa: S108 - its owner is checked
        self.root = Path(root).expanduser().absolute()

    def prepare_state_folder(self) -> None:
        """Creates the folder of the state file, for the owner only."""
        self.state_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def prepare_root(self) -> None:
        """Creates the data root anew, empty.

        :raises SandboxError: the folder is someone else's, or not a sandbox
        """
        self.remove_root()
        try:
            # Others may pass, not look: PostgreSQL may run as another user than the caller.
            self.root.mkdir(mode=0o711, parents=True)
        except OSError as error:
            raise SandboxError(f"Cannot create {self.root}: {error}. Set TRADINGFLOW_SANDBOX_ROOT.") from None
        self.root.chmod(0o711)
        (self.root / MARKER).touch(mode=0o600)

    def remove_root(self) -> None:
        """Deletes the data root, if there is one and it is a sandbox of this user."""
        if not os.path.lexists(self.root):
            return
        if self.root.is_symlink() or not self.root.is_dir() or self.root.stat().st_uid != os.getuid():
            raise SandboxError(f"{self.root} is not a folder of this user. Set TRADINGFLOW_SANDBOX_ROOT.")
        if not (self.root / MARKER).exists() and any(self.root.iterdir()):
            raise SandboxError(f"{self.root} is not empty and not a sandbox. Set TRADINGFLOW_SANDBOX_ROOT.")
        for mount in sorted(mounts_below(self.root), reverse=True):
            done = subprocess.run(["umount", mount], capture_output=True, text=True)
            if done.returncode:
                raise SandboxError(f"Cannot unmount {mount}: {done.stderr.strip()}")
        # The marker goes last, so a killed removal can be finished later.
        for child in self.root.iterdir():
            if child.name != MARKER:
                shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
        shutil.rmtree(self.root)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one at a time starts or stops services of this sandbox; others wait."""
        while True:
            self.prepare_state_folder()
            try:
                descriptor = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # A "down" removed the folder just now.
                continue
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                same = os.fstat(descriptor).st_ino == os.stat(self.lock_file).st_ino
            except FileNotFoundError:
                same = False
            if same:
                break
            os.close(descriptor)
        try:
            yield
        finally:
            os.close(descriptor)


class State:
    """The content of sandbox.json, saved at each change."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._lock = threading.Lock()
        try:
            self.data: dict[str, Any] = json.loads(layout.state_file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            self.data = {}

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self.data.get(key, default)

    @property
    def complete(self) -> bool:
        """Whether a start once ran to its end, and the data is still there."""
        return bool(self.data.get("complete")) and (self.layout.root / MARKER).exists()

    def update(self, section: str | None = None, /, **values: Any) -> None:
        """Sets keys, of a section or of the top, and saves."""
        with self._lock:
            (self.data if section is None else self.data.setdefault(section, {})).update(values)
            write_private(self.layout.state_file, json.dumps(self.data, indent=1) + "\n")


def mounts_below(root: Path) -> set[Path]:
    """Where file systems are mounted below a folder."""
    found = set()
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[4])
        if root.resolve() in Path(place).parents:
            found.add(Path(place))
    return found


def write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Writes a file in one step, readable by the owner only."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(name, mode)
    os.replace(name, path)
