# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a host is fit to be patched, each as its own check."""

from __future__ import annotations

import subprocess
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from .._checks.clock import bounds, compared
from .._checks.guard import guarded
from .._work.asked import asked
from ..checks import CRITICAL, OK, WARNING, Check, judge, unknown
from ..words import plural, size
from . import commands

_KEPT = 500


def audit() -> Dict[str, Optional[str]]:
    """What dpkg finds wrong with its own notes: "said", empty when it finds nothing; or the "problem" of asking."""
    try:
        done = asked(["dpkg", "--audit"], commands.ENVIRONMENT, 600, stderr=subprocess.STDOUT)
    except OSError as error:
        return {"said": None, "problem": f"dpkg cannot be run: {error}"}
    said = commands.end_of(done.text)
    # It says that it found something by what it prints; newer ones by 1, too.
    if done.status not in (0, 1) or (done.status == 1 and not said):
        return {"said": None, "problem": f"dpkg --audit failed ({done.status}): {said}"}
    return {"said": said, "problem": None}


def minimum(plan: Dict[str, Any], path: str) -> int:
    """Bytes that must stay free on a file system. A /boot of its own is small on most hosts."""
    return int(plan["minimum_free_boot"] if path == "/boot" else plan["minimum_free"])


def checks(plan: Dict[str, Any]) -> List[Check]:
    """The pre-check of a plan."""
    judgements: List[Tuple[str, str, Callable[[str, str, Dict[str, Any]], Check]]] = [
        ("patching.broken", "Dependencies met", _broken),
        ("patching.held", "Held packages", _held),
        ("patching.audit", "dpkg's own notes", _audit),
        ("patching.lock", "Other package managers", _lock),
    ]
    found = [guarded(id, title, partial(judged, id, title, plan)) for id, title, judged in judgements]
    return [*found, *_space(plan)]


def clock(plan: Dict[str, Any], asked: Tuple[float, float], tolerance: float) -> Check:
    """The host's clock against the runner's: lists of packages expire by it, and so does what trades.

    :param asked: the runner's clock before and after
    """
    id, title = "patching.clock", "Clock of the host"

    def judged() -> Check:
        between = bounds(plan["clock"], *asked, began=plan["clock_began"])
        limit = {"warning": None, "critical": tolerance}
        return compared(id, title, limit, between, "The host's clock", "time of the host", plan.get("clock_kernel"))

    return guarded(id, title, judged)


def _broken(id: str, title: str, plan: Dict[str, Any]) -> Check:
    count = plan["broken"]
    if count:
        text = f"Dependencies of {plural(count, 'package')} are not met."
        return Check(id, title, CRITICAL, count, message=text, remedy="Look with apt-get check, and repair it first.")
    return Check(id, title, OK, 0, message="All dependencies of what is installed are met.", source="apt")


def _held(id: str, title: str, plan: Dict[str, Any]) -> Check:
    held = plan["held"]
    text = f"Held, and not touched: {', '.join(held[:10])}{' ...' if len(held) > 10 else ''}." if held else "None."
    return Check(id, title, OK, len(held), message=text, source="dpkg", details={"held": held[:_KEPT]})


def _audit(id: str, title: str, plan: Dict[str, Any]) -> Check:
    said, problem = plan["audit"]["said"], plan["audit"]["problem"]
    if said is None:
        return unknown(id, title, f"{problem or 'dpkg was not asked'}.", "Run dpkg --audit by hand.")
    if not said:
        return Check(id, title, OK, 0, message="dpkg --audit finds nothing.", source="dpkg --audit")
    text = f"dpkg --audit says: {said}"
    if plan["configure"] or plan["reinstall"]:
        # What is half done is ended by the plan, or forbids it: that is said beside.
        return Check(id, title, OK, 1, message=text, source="dpkg --audit")
    return Check(id, title, WARNING, 1, message=text, remedy="Put it right as dpkg says.", source="dpkg --audit")


def _lock(id: str, title: str, plan: Dict[str, Any]) -> Check:
    for each in plan["locks"]:
        text = f"{each['command']} (process {each['pid']}) holds {each['lock']}."
        remedy = "Wait for it to end."
        return Check(id, title, CRITICAL, 1, message=text, remedy=remedy, details={"locks": plan["locks"]})
    return Check(id, title, OK, 0, message="None is at work.", source="locks of apt and dpkg")


def _space(plan: Dict[str, Any]) -> List[Check]:
    return [
        judge(
            f"patching.space:{each['path']}",
            "Space for packages",
            each["free"],
            unit="bytes",
            below=True,
            warning=None,
            critical=minimum(plan, each["path"]),
            message=f"{each['path']} has {size(each['free'])} free.",
            remedy="Free space there: apt-get clean, journalctl --vacuum-size, older kernels.",
            source="statvfs",
        )
        for each in plan["space"]
    ]
