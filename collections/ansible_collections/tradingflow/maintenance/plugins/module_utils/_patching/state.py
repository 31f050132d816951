# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host itself keeps of its last patching: whoever comes after a killed run goes on from it, or back by it."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

from ..checks import utc_now
from ..errors import PatchingError

NAME = "patching.json"
LOCK = "patching.lock"
_KEYS = {
    "version",
    "open",
    "digest",
    "rollback",
    "begun_at",
    "rows",
    "before",
    "units",
    "ran",
    "kernel",
    "identity",
    "back",
}
_ROW = ("package", "architecture", "from", "to", "automatic")


def read(directory: str) -> Optional[Dict[str, Any]]:
    """What was kept; None when the host was never patched.

    :raises PatchingError: it is there and cannot be understood
    """
    path = Path(directory) / NAME
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from None
    if not isinstance(state, dict) or state.get("version") != 1 or not state.keys() >= _KEYS:
        raise _unreadable(path, "it is not as this version writes it")
    return state


@contextmanager
def locked(directory: str) -> Iterator[bool]:
    """Keeps others from patching or proving this host meanwhile; False when somebody else is at it.

    A connection that breaks does not end the module, and Ansible sends it a second time.

    :raises PatchingError: nobody can tell
    """
    try:
        Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(str(Path(directory) / LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PatchingError(
            f"{directory} cannot be locked: {error}", "Look at its permissions, and whether the disk is full."
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = True
        except BlockingIOError:
            ours = False
        yield ours
    finally:
        os.close(handle)


def _unreadable(path: Path, why: str) -> PatchingError:
    remedy = "Look which units the last run halted (systemctl, drop-ins 90-tradingflow-patching.conf), then remove it."
    return PatchingError(f"{path} cannot be read: {why}.", remedy)


def write(directory: str, state: Dict[str, Any]) -> None:
    """Keeps it, whole or not at all, and on the disk before anything goes on."""
    folder = Path(directory)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=str(folder), prefix=f".{NAME}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(state, stream, indent=1, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, folder / NAME)
    except BaseException:
        Path(name).unlink()
        raise


def begun(
    earlier: Optional[Dict[str, Any]],
    plan: Dict[str, Any],
    before: Dict[str, Any],
    installed: Dict[str, Dict[str, str]],
) -> Dict[str, Any]:
    """What is kept of a host on which something is about to be done.

    After a run that did not end, what was before that one counts: its units are still halted, and its versions are
    the way back.

    :param before: see proof.facts
    :param installed: version and state by package
    """
    rows = [{key: row[key] for key in _ROW} for row in plan["packages"]]
    state: Dict[str, Any] = {
        "version": 1,
        "open": True,
        "digest": plan["digest"],
        "rollback": plan["rollback"],
        "begun_at": utc_now(),
        "rows": rows,
        "before": before,
        "units": list(plan["units"]),
        "ran": list(plan["units_ran"]),
        # Whether it may be restarted: what was approved goes on after a killed run, and nothing else.
        "reboot": plan["reboot_mode"],
        # Of a restart that is to come, see kernel.coming.
        "kernel": None,
        "kernels": [],
        "kernel_of": None,
        "identity": before["identity"],
    }
    if earlier and earlier["open"]:
        state["before"] = earlier["before"]
        state["ran"] += [unit for unit in earlier["ran"] if unit not in state["ran"]]
        state["units"] += [unit for unit in earlier["units"] if unit not in state["units"]]
        if plan["reboot_mode"] != "never":
            # That run may have been killed after the restart: into which kernel is still to be proven.
            state["kernel"], state["kernels"] = earlier["kernel"], kernels(earlier)
            state["kernel_of"] = earlier.get("kernel_of")
        done = [row for row in earlier["rows"] if _is(installed, row)]
        state["rows"] = _joined(done, rows)
    # A run that only restarted the host takes nobody's way back.
    state["back"] = state["rows"] or (earlier["back"] if earlier else [])
    return state


def kernels(kept: Dict[str, Any]) -> List[List[Optional[str]]]:
    """Release and build of the kernels of which the host is to run one; also as an earlier version kept it."""
    found: List[List[Optional[str]]] = kept.get("kernels") or ([[kept["kernel"], None]] if kept["kernel"] else [])
    return found


def _is(installed: Dict[str, Dict[str, str]], row: Dict[str, Any]) -> bool:
    """Whether a package got the version that it was to get."""
    return bool((installed.get(f"{row['package']}:{row['architecture']}") or {}).get("version") == row["to"])


def _joined(earlier: List[Dict[str, Any]], later: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """From where the first of two changes began to where the second one goes."""
    found = {(row["package"], row["architecture"]): row for row in earlier}
    for row in later:
        key = (row["package"], row["architecture"])
        if key in found:
            first = found[key]
            was = sorted({*first.get("was", []), first["to"]})
            row = {**row, "from": first["from"], "automatic": first["automatic"], "was": was}
        found[key] = row
    return [found[key] for key in sorted(found)]
