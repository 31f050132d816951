# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Units that trade: halted before a host is patched, started once it is proven, and not by a restart in between."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..errors import ConfigurationError, PatchingError
from . import commands, steady

FLAG = "patching-halted"
DROP_IN = "90-tradingflow-patching.conf"
UNITS = Path("/etc/systemd/system")
#: ActiveState of a unit that is up or about to be, also by itself after it failed; and of one that is not.
_UP = ("active", "activating", "reloading", "refreshing")
_DOWN = ("inactive", "failed", "deactivating", "maintenance")
_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(?:service|timer|socket|path|target)")
#: Without these nobody reaches the host again, or asks systemd anything.
_NEVER = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket", "dbus.service", "dbus.socket")


def check(units: List[str]) -> None:
    """That units are named by their whole names.

    :raises ConfigurationError: one is not
    """
    for unit in units:
        if not _NAME.fullmatch(unit) or unit.endswith("@.service"):
            raise ConfigurationError(
                f"patching_units names {unit!r}, which is no unit.", "Give whole names, such as strategies.service."
            )
        if unit in _NEVER or unit.startswith("systemd-"):
            raise ConfigurationError(f"patching_units names {unit}, which the patching needs itself.", "Remove it.")


def missing(units: List[str]) -> List[str]:
    """Those that the host does not have."""
    return [unit for unit in units if shown(unit, "LoadState") != "loaded"]


def ran(units: List[str], earlier: List[str]) -> List[str]:
    """Those that run, and that are to run again once the host is proven.

    :param earlier: those that ran before an earlier run halted them
    :raises PatchingError: it cannot be said of one
    """
    found = []
    for unit in units:
        said = shown(unit, "ActiveState")
        if said not in _UP and said not in _DOWN:
            raise PatchingError(f"Whether {unit} runs is not known: systemd says {said!r}.", f"systemctl status {unit}")
        if said in _UP or unit in earlier:
            found.append(unit)
    return found


def shown(unit: str, name: str) -> str:
    """A property of a unit.

    :raises PatchingError: systemd does not say
    """
    return commands.run(["systemctl", "show", "-p", name, "--value", "--", unit]).strip()


def halt(directory: str, units: List[str]) -> None:
    """Stops them, and lets nobody start them until resume(): not even the host when it restarts.

    :raises PatchingError: one does not stop
    """
    if not units:
        return
    flag = Path(directory) / FLAG
    flag.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flag.touch(mode=0o600)
    for unit in units:
        drop_in = UNITS / f"{unit}.d" / DROP_IN
        drop_in.parent.mkdir(exist_ok=True)
        drop_in.write_text(f"# Halted while the host is patched.\n[Unit]\nAssertPathExists=!{flag}\n", encoding="utf-8")
    commands.run(["systemctl", "daemon-reload"])
    for unit in units:
        commands.run(["systemctl", "stop", "--", unit])
        state = shown(unit, "ActiveState")
        if state not in ("inactive", "failed"):
            raise PatchingError(f"{unit} was stopped, and is {state}.", f"systemctl status {unit}")


def halted(directory: str, units: List[str], start: List[str]) -> List[str]:
    """Those that cannot be started now, or that ran before and do not.

    :raises PatchingError: it cannot be said of one
    """
    there = (Path(directory) / FLAG).exists()
    held = [unit for unit in units if there and (UNITS / f"{unit}.d" / DROP_IN).exists()]
    return [unit for unit in units if unit in held or (unit in start and not ran([unit], []))]


def resume(directory: str, units: List[str], start: List[str]) -> List[Dict[str, Any]]:
    """Lets them be started again, and starts those that ran before, in the order opposite to halting."""
    # First what forbids it: killed after this, they start with the next restart at least.
    flag = Path(directory) / FLAG
    if flag.exists():
        flag.unlink()
    for unit in units:
        drop_in = UNITS / f"{unit}.d" / DROP_IN
        if drop_in.exists():
            drop_in.unlink()
            if not any(drop_in.parent.iterdir()):
                drop_in.parent.rmdir()
    if units:
        commands.run(["systemctl", "daemon-reload"])
    found: Dict[str, Optional[str]] = {}
    for unit in reversed(units):
        if unit not in start:
            continue
        found[unit] = None
        try:
            commands.run(["systemctl", "start", "--", unit])
        except PatchingError as error:
            found[unit] = error.message
    found.update(steady.problems([unit for unit, problem in found.items() if problem is None]))
    return [{"unit": unit, "problem": problem} for unit, problem in found.items()]
