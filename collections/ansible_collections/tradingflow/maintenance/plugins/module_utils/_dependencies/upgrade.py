# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which versions are proposed: fixes at once, other releases once they are old enough to have been seen through."""

from __future__ import annotations

import difflib
from datetime import datetime, timedelta
from typing import Any, Callable, Dict, List, Optional

from .._advisories.answers import Vulnerability
from ..errors import MaintenanceError
from .index import Release
from .locks import Pin
from .versions import fixed_version, parsed

Releases = Callable[[str], Dict[str, Release]]


def proposed(
    ecosystem: str,
    pins: List[Pin],
    found: List[Vulnerability],
    options: Dict[str, Any],
    releases: Optional[Releases],
    now: datetime,
) -> List[Dict[str, Any]]:
    """A row for each package that has something newer which is wanted: taken, or kept and why.

    :param releases: asks the index about a package; None without an index
    """
    rows = []
    for pin in dict.fromkeys(pin._replace(where=None) for pin in pins):
        mine = [each for each in found if (each.package, each.version) == (pin.name, pin.version)]
        if not mine and options["upgrade"] != "all":
            continue
        row: Dict[str, Any] = {"package": pin.name, "from": pin.version, "to": None, "taken": False, "why": ""}
        row.update(fixes=sorted({each.id for each in mine}), released=None, hashes=[])
        try:
            known = releases(pin.name) if releases else {}
            if mine:
                _security(ecosystem, pin, mine, row, known, options, now)
            else:
                _routine(ecosystem, pin, row, known, options, now)
        except MaintenanceError as error:
            if not mine:
                row["why"] = error.message
            else:
                _security(ecosystem, pin, mine, row, {}, options, now)
                row["why"] += f" {error.message}"
        if row["to"] or row["why"]:
            rows.append(row)
    return rows


def _security(
    ecosystem: str,
    pin: Pin,
    mine: List[Vulnerability],
    row: Dict[str, Any],
    known: Dict[str, Release],
    options: Dict[str, Any],
    now: datetime,
) -> None:
    row["to"] = fixed_version(ecosystem, pin.version, mine)
    if row["to"] is None:
        row["why"] = "No advisory names a version that has none of these."
        return
    release = known.get(str(parsed(ecosystem, row["to"])))
    if known and (release is None or release.yanked):
        row["why"] = f"{row['to']} would fix it, and is {'withdrawn' if release else 'not in the index'}."
        return
    if pin.hashes and not (release and release.hashes):
        row["why"] = f"{row['to']} fixes it; its digests are not known without patching_dependencies_index."
        return
    row.update(taken=True, hashes=sorted(release.hashes) if release else [])
    row["why"] = "It fixes what is known."
    if release and release.uploaded:
        row["released"] = release.uploaded.isoformat()
        if now - release.uploaded < timedelta(days=options["cooldown_days"]):
            row["why"] = f"It fixes what is known, so that {options['cooldown_days']} days are not waited for."


def _routine(
    ecosystem: str, pin: Pin, row: Dict[str, Any], known: Dict[str, Release], options: Dict[str, Any], now: datetime
) -> None:
    """The newest release that is old enough."""
    mine = parsed(ecosystem, pin.version)
    newer = {}
    for text, release in known.items():
        version = parsed(ecosystem, text)
        if mine is None or version is None or release.yanked or version.is_prerelease:
            continue
        if version > mine:
            newer[text] = version
    young: List[str] = []
    for text in sorted(newer, key=lambda each: newer[each], reverse=True):
        uploaded = known[text].uploaded
        if uploaded is None or now - uploaded < timedelta(days=options["cooldown_days"]):
            young.append(text)
            continue
        row.update(to=text, taken=True, released=uploaded.isoformat(), hashes=sorted(known[text].hashes))
        break
    if young:
        row["why"] = f"Younger than {options['cooldown_days']} days, or of an unknown age: {', '.join(young[:5])}."


def patch(before: str, after: str, name: str) -> str:
    """The proposal as a unified diff, which patch -p1 and git apply take."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    # A last line without an end is said so, as patch wants it.
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
