# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Services that run code which is not on the disk any more, by needrestart's word; each is restarted once at most."""

from __future__ import annotations

import shutil
import subprocess
from fnmatch import fnmatchcase
from typing import Any, Dict, List, Optional

from ..errors import PatchingError
from . import commands

#: What needrestart -b says; a key that is none of these makes its answer unknown.
_KEYS = {
    *("VER", "KCUR", "KEXP", "KSTA", "SVC", "SESS", "CONT", "PID", "UCSTA", "UCCUR", "UCEXP"),
    *("VM", "USER"),
}
#: NEEDRESTART-KSTA: unknown, no newer kernel, one of the same ABI, a newer one.
_KERNELS = {"0": None, "1": False, "2": True, "3": True}


def parsed(text: str) -> Dict[str, Any]:
    """services, and whether a newer kernel waits for a restart (None when needrestart does not know).

    :raises PatchingError: it says something that is not known here
    """
    services: List[str] = []
    kernel: Optional[bool] = None
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
    if not version:
        raise PatchingError("needrestart gives no answer", "Run needrestart -b by hand.")
    return {"services": sorted(set(services)), "newer_kernel": kernel}


def there() -> bool:
    return shutil.which("needrestart", path=commands.ENVIRONMENT["PATH"]) is not None


def asked() -> Dict[str, Any]:
    """See parsed.

    :raises PatchingError: needrestart is not there, fails, or is not understood
    """
    if not there():
        raise PatchingError("needrestart is not installed", "Install the package needrestart on the host.")
    try:
        done = subprocess.run(
            ["needrestart", "-b", "-r", "l"],
            # Suspended it would say nothing.
            env={key: value for key, value in commands.ENVIRONMENT.items() if key != "NEEDRESTART_SUSPEND"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=600,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PatchingError(f"needrestart cannot be run: {error}", "Run needrestart -b by hand.") from None
    if done.returncode:
        raise PatchingError(f"needrestart failed ({done.returncode})", "Run needrestart -b by hand.")
    return parsed(done.stdout.decode("utf-8", "replace"))


def chosen(services: List[str], patterns: List[str]) -> List[str]:
    """Those that may be restarted."""
    return [name for name in services if any(fnmatchcase(name, pattern) for pattern in patterns)]


def restart(name: str) -> Dict[str, Any]:
    """Restarts a service and looks whether it runs."""
    try:
        commands.run(["systemctl", "restart", "--", name])
        commands.run(["systemctl", "is-active", "--", name])
    except PatchingError as error:
        return {"service": name, "problem": error.message}
    return {"service": name, "problem": None}
