# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area system: the health of one managed host, from /proc, statvfs and systemd.

Runs on the host itself: standard library only, Python 3.9 or newer, small.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from ..checks import Check, judge, limit_spec, limits, thresholds_spec, unknown
from ..words import size, span
from .activity import PRESSURE, failed_units, oom_kills, pressure, processors, reboot_needed, zombies
from .clock import Bounds, bounds, compared, narrowed
from .guard import escaped
from .host import Host
from .mounts import disks, read_only_mounts

SYSTEM_SPEC: Dict[str, Any] = {
    "thresholds": thresholds_spec(
        {
            "disk_space": (85, 95),
            "inodes": (85, 95),
            "memory_available": (10, 5),
            "swap_used": (50, 90),
            "load": (4, 8),
            "cpu_used": (None, None),
            "cpu_steal": (50, 80),
            "cpu_pressure": (90, 98),
            "memory_pressure": (10, 40),
            "io_pressure": (60, 90),
            "zombies": (20, 200),
            "oom_kills": (None, None),
            "failed_units": (1, None),
            "reboot_needed": (1, None),
            "read_only_mounts": (None, 1),
            "uptime": (None, None),
            "clock_skew": (2, 10),
        }
    ),
    "mounts": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "disk_space": limit_spec(),
            "inodes": limit_spec(),
            "read_only": {"type": "bool", "default": False},
            "ignore": {"type": "bool", "default": False},
        },
    },
}


def measure(options: Dict[str, Any], **host: Any) -> List[Check]:
    """All checks of this host. What cannot be read is unknown.

    :param options: see SYSTEM_SPEC
    :raises ConfigurationError: a threshold makes no sense
    """
    for name in options["thresholds"]:
        limits(options["thresholds"], name)
    context = Host(options["thresholds"], {mount["path"]: mount for mount in options["mounts"]}, **host)
    checks: List[Check] = []
    for name, title, function in CHECKS:
        try:
            checks += function(context)
        except (OSError, ValueError, LookupError) as error:
            text = f"{title} could not be measured: {type(error).__name__}: {error}"
            checks.append(unknown(f"system.{name}", title, text, "Check that /proc is mounted and readable there."))
        except Exception as error:
            checks.append(escaped(f"system.{name}", title, error))
    return checks


def meminfo(host: Host) -> Dict[str, int]:
    """/proc/meminfo in bytes."""
    values = {}
    for line in host.read("/proc/meminfo").splitlines():
        key, _separator, rest = line.partition(":")
        if rest.split():
            values[key] = int(rest.split()[0]) * 1024
    return values


def memory(host: Host) -> Iterator[Check]:
    """Memory available, in % of the whole."""
    values = meminfo(host)
    total, available = values["MemTotal"], values.get("MemAvailable")
    percent = None if available is None else round(100 * available / total, 1)
    yield judge(
        "system.memory_available",
        "Memory available",
        percent,
        unit="%",
        below=True,
        **limits(host.thresholds, "memory_available"),
        message=f"{percent} % of the memory is available, {size(available or 0)} of {size(total)}.",
        remedy="Find the largest processes (ps aux --sort=-rss | head) and restart or limit them, or add memory.",
        source="/proc/meminfo",
        details={"available_bytes": available, "total_bytes": total},
    )


def swap(host: Host) -> Iterator[Check]:
    """Swap used, in %; none where there is none."""
    values = meminfo(host)
    total, free = values["SwapTotal"], values["SwapFree"]
    used = round(100 * (total - free) / total, 1) if total else 0
    yield judge(
        "system.swap_used",
        "Swap used",
        used,
        unit="%",
        **limits(host.thresholds, "swap_used"),
        message=f"{used} % of {size(total)} swap is used." if total else "There is no swap.",
        remedy="Memory was short: find out what grew (ps aux --sort=-rss | head) before it slows trading down.",
        source="/proc/meminfo",
        details={"total_bytes": total, "used_bytes": total - free},
    )


def load(host: Host) -> Iterator[Check]:
    """Load of the last 5 minutes per core."""
    averages = [float(value) for value in host.read("/proc/loadavg").split()[:3]]
    cores = len(re.findall(r"^cpu\d+ ", host.read("/proc/stat"), re.MULTILINE))
    if not cores or len(averages) < 3:
        raise ValueError("no core or no load average is listed")
    value = round(averages[1] / cores, 2)
    yield judge(
        "system.load",
        "Load per core",
        value,
        **limits(host.thresholds, "load"),
        message=f"The load of 5 minutes is {averages[1]:g} on {cores} core{'s' if cores > 1 else ''}, {value:g} each.",
        remedy="See what runs (top) and whether it waits for disks (vmstat 1: column wa) or for processors.",
        source="/proc/loadavg",
        details={"load_1_5_15": averages, "cores": cores},
    )


def uptime(host: Host) -> Iterator[Check]:
    """Time since the host was started."""
    seconds = float(host.read("/proc/uptime").split()[0])
    yield judge(
        "system.uptime",
        "Time since start",
        round(seconds),
        unit="s",
        below=True,
        **limits(host.thresholds, "uptime"),
        message=f"The host was started {span(seconds)} ago.",
        remedy="Find out why it was restarted (journalctl --list-boots; last -x) and that everything came back.",
        source="/proc/uptime",
    )


def clock_skew(
    thresholds: Dict[str, Any], clock: float, before: float, after: float, more: Sequence[Bounds] = (), held: Any = None
) -> Check:
    """The host's clock against the runner's.

    :param clock: the host's clock, read at some time between the runner's before and after, all in s since the epoch
    :param more: what further answers say
    :param held: see clock.kernel
    """
    found = narrowed([bounds(clock, before, after), *more])
    limit = limits(thresholds, "clock_skew")
    source = "time of the host and of the runner"
    return compared("system.clock_skew", "Clock against the runner's", limit, found, "The clock", source, held)


#: Name, title and function of what is unknown as one when it cannot be read.
CHECKS: Tuple[Tuple[str, str, Callable[[Host], Iterator[Check]]], ...] = (
    ("disk_space", "Disk space and inodes", disks),
    ("read_only_mounts", "Mounts wrongly read-only", read_only_mounts),
    ("memory_available", "Memory available", memory),
    ("swap_used", "Swap used", swap),
    ("load", "Load per core", load),
    ("cpu_used", "Processors used", processors),
    *((f"{kind}_pressure", title, partial(pressure, kind=kind)) for kind, (title, _what, _remedy) in PRESSURE.items()),
    ("zombies", "Zombie processes", zombies),
    ("oom_kills", "Processes killed for lack of memory", oom_kills),
    ("failed_units", "Failed units", failed_units),
    ("reboot_needed", "Restart of the host needed", reboot_needed),
    ("uptime", "Time since start", uptime),
)
