# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves a host that was patched: what runs on it, which kernel, and that it was restarted when it was to be."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from .._work.asked import asked
from ..errors import PatchingError
from . import commands, halt, health, kernel, services, state
from .notes import status
from .solver import apt, compare
from .units import listed, shown, systemd

#: systemctl is-system-running; of these two the second is only as good as it was before.
_UP, _DEGRADED = "running", "degraded"
#: Everything else that it may say.
_NOT_UP = ("initializing", "starting", "maintenance", "stopping", "offline", "unknown")
#: Seconds for which what starts by itself is waited for.
WAIT = 120.0
_SESSIONS = ("user@", "user-runtime-dir@", "session-", "getty@", "serial-getty@", "systemd-")
_ENABLED = ("enabled", "enabled-runtime", "generated")


def identity(root: Path) -> Dict[str, str]:
    """What is another one after a restart: the kernel's boot, or in a container only the first process.

    :raises PatchingError: it cannot be read
    """
    try:
        boot = (root / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        stat = (root / "proc/1/stat").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PatchingError(f"When the host was started cannot be read: {error}") from None
    # The name of the process, in parentheses, may have anything in it; the start is the 22nd field.
    fields = stat.rpartition(")")[2].split()
    if len(fields) < 20 or not boot:
        raise PatchingError("When the host was started cannot be read: /proc/1/stat is not understood.")
    return {"boot_id": boot, "started": fields[19]}


def enabled() -> List[str]:
    """Services that run and that a restart of the host starts again; others come and go by themselves."""
    running = [name for name in listed("running") if name.endswith(".service")]
    if not running:
        return []
    blocks = shown(running, "Id", "UnitFileState")
    return sorted(block["Id"] for block in blocks if "Id" in block and block.get("UnitFileState") in _ENABLED)


def others() -> List[str]:
    """Services that run and that a restart of the host does not start: somebody, or another unit, started them.

    Those that come and go by themselves are left out: of sessions, of a moment, and what is started when it is asked.
    """
    running = [name for name in listed("running") if name.endswith(".service") and not name.startswith(_SESSIONS)]
    if not running:
        return []
    found = []
    for block in shown(running, "Id", "UnitFileState", "Type", "Transient", "TriggeredBy"):
        passing = (
            block.get("Type") in ("dbus", "oneshot") or block.get("Transient") == "yes" or block.get("TriggeredBy")
        )
        if "Id" in block and not passing and block.get("UnitFileState") not in _ENABLED:
            found.append(block["Id"])
    return sorted(found)


def container() -> Optional[bool]:
    """Whether the host is one, which has another's kernel; None when nobody says."""
    try:
        said = asked(["systemd-detect-virt", "--container", "--quiet"], commands.ENVIRONMENT, 60)
    except OSError:
        return None
    return said.status == 0


def facts() -> Dict[str, Any]:
    """How the host is.

    :raises PatchingError: it cannot be said
    """
    now = kernel.running()
    return {
        "identity": identity(Path("/")),
        "system": systemd(["is-system-running"], fails=True).strip(),
        "failed": listed("failed"),
        "enabled": enabled(),
        "others": others(),
        # A unit that reads its configuration anew runs.
        "active": listed("active,reloading,refreshing"),
        "kernel": now.release,
        "build": now.build,
        "container": container(),
    }


def settled(kept: Dict[str, Any]) -> Dict[str, Any]:
    """How the host is, once what starts by itself has started; or after a while, as it is then."""
    end = time.monotonic() + WAIT
    while True:
        try:
            now = facts()
            over = now["system"] in (_UP, _DEGRADED) and not absent(kept, now)
            if over or time.monotonic() > end:
                return now
        except PatchingError:
            # systemd itself may not answer yet.
            if time.monotonic() > end:
                raise
        time.sleep(1)


def recovered(
    before: Optional[health.Checks], options: Optional[Dict[str, Any]], wait: float
) -> Optional[health.Checks]:
    """The host's health, once it is no worse than before; or after a while, as it is then. None when nobody asks."""
    end = time.monotonic() + wait
    while True:
        now = health.measured(options)
        if now is None or not health.unsettled(before, now) or time.monotonic() > end:
            return now
        time.sleep(5)


def absent(kept: Dict[str, Any], now: Dict[str, Any]) -> List[str]:
    """Services that ran before, and do not; those that are halted left out."""
    return [name for name in kept["before"]["enabled"] if name not in now["active"] and name not in kept["units"]]


def gone(kept: Dict[str, Any], now: Dict[str, Any]) -> List[str]:
    """Services that ran before and do not, and that nothing on the host starts; those that are halted left out."""
    return [
        name for name in kept["before"].get("others") or [] if name not in now["active"] and name not in kept["units"]
    ]


def faults(kept: Dict[str, Any], now: Dict[str, Any], rebooted: bool) -> Dict[str, str]:
    """What is not proven, by check: rebooted, kernel, system, units. Empty when the host is as it is to be.

    :param kept: what the host kept before, see state.py
    :param now: see facts
    :param rebooted: whether it was to be restarted
    """
    before, found = kept["before"], {}
    if rebooted and now["identity"] == kept["identity"]:
        found["rebooted"] = "The host was to be restarted, and was not: its boot and its first process are the same."
    planned = state.kernels(kept)
    # Also when an earlier run restarted it, and did not come to its proof.
    if (planned or (rebooted and kept.get("kernel_of") is None)) and not now["container"]:
        other = kernel.fault(planned or [[before["kernel"], None]], kernel.Kernel(now["kernel"], now.get("build")))
        if other:
            found["kernel"] = other
    failed = [name for name in now["failed"] if name not in before["failed"]]
    if now["system"] not in (_UP, _DEGRADED):
        word = now["system"] if now["system"] in _NOT_UP else f"in a state that is not known here ({now['system']!r})"
        found["system"] = f"systemd is {word}."
    elif failed or (now["system"] == _DEGRADED and before["system"] == _UP and not now["failed"]):
        found["system"] = f"Units failed that had not before: {', '.join(failed) or 'systemd does not say which'}."
    missing = absent(kept, now)
    if missing:
        found["units"] = f"Services that ran before do not: {', '.join(missing)}."
    return found


def untold(kept: Dict[str, Any], now: Dict[str, Any], waiting: Optional[bool]) -> Dict[str, str]:
    """What cannot be said, by check: which kernel was to come up, unless it is known that no newer one waits still.

    :param kept: what the host kept before, see state.py
    :param now: see facts
    :param waiting: whether a newer kernel waits for a restart, by needrestart or /boot; None when that is not known
    """
    if kept.get("kernel_of") != kernel.UNKNOWN or now["container"] or waiting is False:
        return {}
    text = (
        f"The host runs kernel {now['kernel']}. Which one was to come up is not known: there are packages or modules "
    )
    text += "of a kernel, no image was in /boot, and needrestart did not say."
    return {"kernel": f"{text} A newer one waits for a restart." if waiting else text}


def prove(options: Dict[str, Any]) -> Dict[str, Any]:
    """Proves the host by what it kept; resumes it when it is proven.

    :raises MaintenanceError: nothing can be said
    """
    with state.locked(options["state_directory"]) as ours:
        if not ours:
            raise PatchingError(
                "Another patching of this host is at work, such as one whose connection broke.",
                "Wait for it to end, and run the playbook again.",
            )
        return _proven(options)


def _proven(options: Dict[str, Any]) -> Dict[str, Any]:
    began = time.time()
    kept = state.read(options["state_directory"])
    if kept is None or not kept["open"]:
        raise PatchingError("Nothing is to be proven: the host keeps no patching that was begun.", "Run the plan.")
    apt().init_config()
    apt().init_system()
    now = settled(kept)
    sound = recovered(kept["before"].get("health"), options["health"], options["health_wait"])
    found = faults(kept, now, options["rebooted"])
    after = status()
    wrong = []
    for row in kept["rows"]:
        name = f"{row['package']}:{row['architecture']}"
        if after.get(name) != {"version": row["to"], "state": "installed"}:
            wrong.append(f"{name} should be {row['to']}, and is {after.get(name)}")
    if wrong:
        found["versions"] = f"Not as planned: {'; '.join(wrong[:5])}."
    unsure = kept.get("kernel_of") == kernel.UNKNOWN
    running = services.running(options["needrestart"]) if options["rebooted"] or unsure else None
    waiting = kernel.completed(running, Path("/"), compare)["newer_kernel"] if running and unsure else None
    unsaid = untold(kept, now, waiting)
    result: Dict[str, Any] = {
        "faults": found,
        "untold": unsaid,
        "gone": gone(kept, now),
        "kernel_of": kept.get("kernel_of"),
        "now": now,
        "before": kept["before"],
        "health": sound,
        "rebooted": options["rebooted"],
        "kernel": kept["kernel"],
        "kernels": state.kernels(kept),
        "count": len(kept["rows"]),
        "resumed": [],
        "halted": halt.halted(options["state_directory"], kept["units"], kept["ran"]),
        "services": running if options["rebooted"] else None,
        "changed": False,
    }
    if not found and not unsaid and options["resume"]:
        result["changed"] = bool(kept["units"])
        result["resumed"] = halt.resume(options["state_directory"], kept["units"], kept["ran"])
        result["halted"] = []
        if options["close"] and not any(each["problem"] for each in result["resumed"]):
            state.write(options["state_directory"], {**kept, "open": False})
    result.update(clock_began=began, clock=time.time())
    return result
