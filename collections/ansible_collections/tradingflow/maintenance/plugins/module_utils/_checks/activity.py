# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host's processors and processes do, and what systemd and the kernel complain of."""

from __future__ import annotations

import errno
import operator
import os
import re
from typing import Iterator, List

from ..checks import Check, judge, limits
from ..words import printable
from .host import Host

#: Seconds over which the use of processors is measured: long enough for 1 %, short enough for a sweep over many hosts.
SAMPLE = 0.4

PRESSURE = {
    "cpu": (
        "Waiting for processors",
        "for processors",
        "See what runs (top), and move or limit it, or add processors.",
    ),
    "memory": (
        "Waiting for memory",
        "for memory",
        "See what grew (ps aux --sort=-rss | head), and limit it or add memory.",
    ),
    "io": ("Waiting for disks", "for disks", "See what reads and writes (iotop -ao), and move or limit it."),
}


def ticks(host: Host) -> List[int]:
    """The line "cpu" of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal."""
    first = host.read("/proc/stat").split("\n", 1)[0].split()
    if not first or first[0] != "cpu" or len(first) < 9:
        raise ValueError("/proc/stat has no line cpu with eight numbers")
    return [int(value) for value in first[1:9]]


def processors(host: Host) -> Iterator[Check]:
    """Processor time used, and taken away by the hypervisor, in % over a short while."""
    before = ticks(host)
    host.sleep(SAMPLE)
    spent = list(map(operator.sub, ticks(host), before))
    whole = sum(spent)
    if whole <= 0 or min(spent[:3] + spent[5:]) < 0:
        raise ValueError("the counters of /proc/stat did not move forward")
    used, steal = (round(100 * part / whole, 1) for part in (whole - spent[3] - spent[4] - spent[7], spent[7]))
    yield judge(
        "system.cpu_used",
        "Processors used",
        used,
        unit="%",
        **limits(host.thresholds, "cpu_used"),
        message=f"{used} % of the processors' time was used over {SAMPLE:g} s.",
        remedy="See what runs (top).",
        source="/proc/stat",
    )
    yield judge(
        "system.cpu_steal",
        "Processor time taken by other machines",
        steal,
        unit="%",
        **limits(host.thresholds, "cpu_steal"),
        message=f"{steal} % of the processors' time went to other machines of the hypervisor over {SAMPLE:g} s.",
        remedy="Ask who runs the hypervisor for processors of your own, or move the machine.",
        source="/proc/stat",
    )


def pressure(host: Host, kind: str) -> Iterator[Check]:
    """Share of the last 5 minutes in which some task waited, in %. Kernels without PSI have no such check.

    :param kind: see PRESSURE
    """
    title, what, remedy = PRESSURE[kind]
    path = f"/proc/pressure/{kind}"
    if not host.exists(path):
        return
    try:
        text = host.read(path)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:  # built in, but not switched on
            return
        raise
    match = re.search(r"^some .*\bavg300=([0-9.]+)", text, re.MULTILINE)
    if not match:
        raise ValueError(f"{path} has no avg300")
    value = float(match.group(1))
    yield judge(
        f"system.{kind}_pressure",
        title,
        value,
        unit="%",
        **limits(host.thresholds, f"{kind}_pressure"),
        message=f"In {value:g} % of the last 5 minutes something waited {what}.",
        remedy=remedy,
        source=path,
    )


def zombies(host: Host) -> Iterator[Check]:
    """Processes that ended and that nobody collects."""
    names = []
    looked_at = 0
    for pid in os.listdir(host.path("/proc")):
        if not pid.isdigit():
            continue
        try:
            text = host.read(f"/proc/{pid}/stat")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        # The name stands in parentheses and may contain any of these characters itself.
        name, _separator, rest = text.partition("(")[2].rpartition(")")
        looked_at += 1
        if rest.split()[:1] == ["Z"]:
            names.append(printable(name, 30))
    yield judge(
        "system.zombies",
        "Zombie processes",
        len(names) if looked_at else None,
        **limits(host.thresholds, "zombies"),
        message=f"{len(names)} of {looked_at} processes are zombies.",
        remedy="Restart their parent (ps -eo pid,ppid,stat,comm | grep Z), which does not collect its children.",
        source="/proc/*/stat",
        details={"processes": looked_at, "names": sorted(set(names))[:20]},
    )


def oom_kills(host: Host) -> Iterator[Check]:
    """Processes the kernel killed for lack of memory, since the host was started."""
    match = re.search(r"^oom_kill (\d+)$", host.read("/proc/vmstat"), re.MULTILINE)
    value = int(match.group(1)) if match else None
    yield judge(
        "system.oom_kills",
        "Processes killed for lack of memory",
        value,
        **limits(host.thresholds, "oom_kills"),
        message=f"{value} processes were killed for lack of memory since the host was started.",
        remedy="The kernel's log names them (journalctl -k | grep -i 'out of memory').",
        source="/proc/vmstat",
    )


def failed_units(host: Host) -> Iterator[Check]:
    """Units of systemd that failed. Hosts that systemd does not run have no such check."""
    if not host.exists("/run/systemd/system"):
        return
    text = host.run(["systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager"])
    units = [printable(line.split()[0]) for line in text.splitlines() if line.split()]
    yield judge(
        "system.failed_units",
        "Failed units",
        len(units),
        **limits(host.thresholds, "failed_units"),
        message=f"{len(units)} units failed: {', '.join(units[:5])}." if units else "No unit failed.",
        remedy="Read systemctl status of each, fix it, start it, or forget it (systemctl reset-failed).",
        source="systemctl",
        details={"units": units[:50]},
    )


def reboot_needed(host: Host) -> Iterator[Check]:
    """Whether packages ask for a restart, or a kernel was installed since the host was started.

    Hosts that boot no kernel of their own (containers) and have nobody who asks have no such check.
    """
    boot = host.path("/boot")
    kernels = [name for name in os.listdir(boot) if name.startswith("vmlinuz-")] if os.path.isdir(boot) else []
    asked = host.exists("/run/reboot-required") or host.exists("/var/run/reboot-required")
    if not kernels and not asked:
        return
    match = re.search(r"^btime (\d+)$", host.read("/proc/stat"), re.MULTILINE)
    if not match:
        raise ValueError("/proc/stat does not say when the host was started")
    running = host.read("/proc/sys/kernel/osrelease").strip()
    newer = [
        name
        for name in sorted(kernels)
        if name != f"vmlinuz-{running}" and os.stat(os.path.join(boot, name)).st_ctime > int(match.group(1))
    ]
    reasons = (["packages ask for it"] if asked else []) + [f"{printable(name)} was installed" for name in newer]
    yield judge(
        "system.reboot_needed",
        "Restart of the host needed",
        len(reasons),
        **limits(host.thresholds, "reboot_needed"),
        message=f"The host should be restarted: {', '.join(reasons[:5])}." if reasons else "No restart is needed.",
        remedy="Restart it in the next maintenance window.",
        source="/run/reboot-required and /boot",
        details={"running": printable(running)},
    )
