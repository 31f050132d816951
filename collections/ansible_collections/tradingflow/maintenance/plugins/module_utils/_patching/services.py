# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that run code which is not on the disk any more, by needrestart's word; each is restarted once at most."""

from __future__ import annotations

import shutil
from fnmatch import fnmatchcase
from typing import Any, Dict, List, Optional

from .._work.asked import asked as asked_of
from ..errors import ConfigurationError, PatchingError
from . import commands, steady

#: What needrestart -b says; a key that is none of these makes its answer unknown.
_KEYS = {
    *("VER", "KCUR", "KEXP", "KSTA", "SVC", "SESS", "CONT", "PID", "UCSTA", "UCCUR", "UCEXP"),
    *("VM", "USER"),
}
#: What runs old code and is no service.
_OTHERS = {"SESS": "session", "CONT": "container", "PID": "process", "VM": "virtual machine", "USER": "user"}
#: NEEDRESTART-KSTA: unknown, no newer kernel, one of the same ABI, a newer one.
_KERNELS = {"0": None, "1": False, "2": True, "3": True}


def parsed(text: str) -> Dict[str, Any]:
    """What runs old code, services and others, and whether a newer kernel waits (None: needrestart does not know).

    :raises PatchingError: it says something that is not known here
    """
    services: List[str] = []
    others: List[str] = []
    kernel: Optional[bool] = None
    expected: Optional[str] = None
    version = ""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        name = key[len("NEEDRESTART-") :] if key.startswith("NEEDRESTART-") else ""
        value = value.strip()
        if not colon or name not in _KEYS or (name == "KSTA" and value not in _KERNELS):
            raise PatchingError(f"needrestart says what is not known here: {line[:100]!r}", "Run needrestart by hand.")
        if name == "VER":
            version = value
        elif name == "SVC":
            services.append(value)
        elif name == "KSTA":
            kernel = _KERNELS[value]
        elif name == "KEXP":
            expected = value or None
        elif name in _OTHERS:
            others.append(f"{_OTHERS[name]} {value}")
    if not version:
        raise PatchingError("needrestart gives no answer", "Run needrestart -b by hand.")
    found: Dict[str, Any] = {"services": sorted(set(services)), "others": sorted(set(others)), "newer_kernel": kernel}
    return {**found, "expected_kernel": expected}


def there() -> bool:
    return shutil.which("needrestart", path=commands.ENVIRONMENT["PATH"]) is not None


def asked() -> Dict[str, Any]:
    """See parsed.

    :raises PatchingError: needrestart is not there, fails, or is not understood
    """
    if not there():
        raise PatchingError("needrestart is not installed", "Install the package needrestart on the host.")
    try:
        # Suspended it would say nothing.
        awake = {key: value for key, value in commands.ENVIRONMENT.items() if key != "NEEDRESTART_SUSPEND"}
        said = asked_of(["needrestart", "-b", "-r", "l"], awake, 600)
    except OSError as error:
        raise PatchingError(f"needrestart cannot be run: {error}", "Run needrestart -b by hand.") from None
    if said.status:
        raise PatchingError(f"needrestart failed ({said.status})", "Run needrestart -b by hand.")
    text = said.text
    found = parsed(text)
    if "NEEDRESTART-KSTA" not in text and contained():
        # There it does not ask: the kernel is the machine's, and no restart of this host changes it.
        found["newer_kernel"] = False
    return found


def contained() -> bool:
    """Whether the host is a container, as systemd sees it."""
    try:
        commands.run(["systemd-detect-virt", "--container", "--quiet"])
    except PatchingError:
        return False
    return True


def check(patterns: List[str]) -> None:
    """That services are named, not all of them allowed.

    :raises ConfigurationError: a pattern matches any service
    """
    for pattern in patterns:
        # No unit has this name.
        if fnmatchcase("\N{REPLACEMENT CHARACTER}.service", pattern):
            raise ConfigurationError(
                f"patching_restart allows every service to be restarted: {pattern!r}.",
                "Name the units that may be restarted, such as cron.service, and none that trades.",
            )


def running(wanted: bool) -> Dict[str, Any]:
    """What runs old code as it is, or why that is not known; nothing on the host changes."""
    found: Dict[str, Any] = {"asked": wanted, "restarted": [], "left": [], "others": []}
    found.update(newer_kernel=None, expected_kernel=None, unknown=None)
    if wanted:
        try:
            said = asked()
            found.update(left=said["services"], others=said["others"], newer_kernel=said["newer_kernel"])
            found["expected_kernel"] = said.get("expected_kernel")
        except PatchingError as error:
            found["unknown"] = error.message
    return found


def chosen(services: List[str], patterns: List[str]) -> List[str]:
    """Those that may be restarted."""
    return [name for name in services if any(fnmatchcase(name, pattern) for pattern in patterns)]


def restarted(names: List[str]) -> List[Dict[str, Any]]:
    """Restarts services, and looks whether they stay up."""
    found: Dict[str, Optional[str]] = dict.fromkeys(names)
    for name in names:
        try:
            commands.run(["systemctl", "restart", "--", name])
        except PatchingError as error:
            found[name] = error.message
    found.update(steady.problems([name for name, problem in found.items() if problem is None]))
    return [{"service": name, "problem": problem} for name, problem in found.items()]
