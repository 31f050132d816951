"""Real journals of declared entries, made by systemd-journal-remote."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.conftest import left_out
from tests.debian import program

BOOT = "0123456789abcdef0123456789abcdef"
ROOT = {"_UID": "0", "_TRANSPORT": "journal"}


def export(entries: Iterable[dict[str, str | bytes | int]]) -> bytes:
    """Entries in the export format. "at": seconds since 1970; "boot": 32 hexadecimal digits."""
    out = []
    for number, given in enumerate(entries, 1):
        entry = dict(given)
        at, boot = float(str(entry.pop("at"))), str(entry.pop("boot", BOOT))
        out.append(f"__REALTIME_TIMESTAMP={round(at * 1e6)}\n__MONOTONIC_TIMESTAMP={number * 1000}\n".encode())
        out.append(f"_BOOT_ID={boot}\n".encode())
        for name, value in entry.items():
            if isinstance(value, bytes):
                out.append(name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n")
            else:
                out.append(f"{name}={value}\n".encode())
        out.append(b"\n")
    return b"".join(out)


def journal(path: Path, entries: Iterable[dict[str, str | bytes | int]], *, compact: bool = True) -> Path:
    """A file of the journal with these entries.

    :param compact: in the form that systemd 252 brought
    """
    if not shutil.which("journalctl"):
        left_out("there is no journalctl")
    remote, environment = program("systemd-journal-remote", "systemd-journal-remote", libraries=True)
    environment = {**environment, "SYSTEMD_JOURNAL_COMPACT": str(int(compact))}
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [str(remote), "--split-mode=none", "-o", str(path), "-"]
    subprocess.run(command, input=export(entries), env=environment, check=True, capture_output=True, timeout=300)
    return path
