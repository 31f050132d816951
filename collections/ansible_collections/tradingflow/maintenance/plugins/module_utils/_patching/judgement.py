# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan is known by, what forbids it, and whether the host became what was planned."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, List

from ..words import plural, size
from .precheck import minimum

#: What the digest covers of a package.
ROW = ("package", "architecture", "from", "to", "sha256", "conffiles_changed")

#: States in which dpkg has done with a package.
_DONE = ("installed", "config-files")


def covered(plan: Dict[str, Any]) -> Dict[str, Any]:
    """All that would be done, which is what an approval covers."""
    return {
        "version": 4,
        "packages": [{key: row[key] for key in ROW} for row in plan["packages"]],
        "configure": plan["configure"],
        "restart": sorted(plan["restart"]),
        "conffiles": plan["conffiles"],
        # In the order in which they are halted.
        "units": plan["units"],
        "reboot": plan["reboot_mode"],
        "rollback": plan["rollback"],
        "open": plan["open"],
        "due": due(plan),
    }


def digest_of(plan: Dict[str, Any]) -> str:
    """SHA-256 over what an approval covers: the same on two hosts on which the same would be done."""
    return hashlib.sha256(json.dumps(covered(plan), sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()


def refusals(plan: Dict[str, Any], approved: List[str]) -> List[Dict[str, str]]:
    """Why nothing may be done, as name, message and remedy."""
    found = []

    def refuse(name: str, message: str, remedy: str) -> None:
        found.append({"name": name, "message": message, "remedy": remedy})

    if plan["broken"]:
        text = f"Dependencies of {plural(plan['broken'], 'package')} are not met as the host is."
        refuse("broken", text, "Look with apt-get check, and repair it first.")
    taken = {f"{row['package']}:{row['architecture']}" for row in plan["packages"]}
    taken |= {row["package"] for row in plan["packages"]}
    half = [name for name in plan["reinstall"] if name not in taken]
    if half:
        text = f"Half installed, and not in this plan: {', '.join(half)}."
        refuse("half_installed", text, "Put each in place anew first: apt-get install --reinstall PACKAGE.")
    if plan["no_way_back"]:
        text = f"There is no way back by apt: {'; '.join(plan['no_way_back'][:5])}."
        refuse("back", text, "Restore the host from its snapshot, or repair it forwards.")
    if plan["archives"]:
        text = f"It is not certain which archive would be put in place: {'; '.join(plan['archives'][:5])}."
        remedy = "Find out whose they are, and take one of the sources away or pin the package to the other one."
        refuse("archives", text, remedy)
    if plan["units_missing"]:
        text = f"Named in patching_units, and not on this host: {', '.join(plan['units_missing'])}."
        refuse("units", text, "Correct patching_units, for this host or its group.")
    if plan["unrecognised"]:
        text = f"In a state that is not known here: {', '.join(plan['unrecognised'])}."
        refuse("unrecognised", text, "Look with dpkg --audit.")
    for each in plan["locks"]:
        text = f"Another package manager is at work: {each['command']} (process {each['pid']}) holds {each['lock']}."
        refuse("lock", text, "Wait for it to end.")
        break
    if plan["policy"] == "foreign":
        text = "There is a /usr/sbin/policy-rc.d already, which is not this role's."
        refuse("policy", text, "Find out who put it there, and remove it or patch this host by hand.")
    if plan["packages"]:
        for each in plan["space"]:
            needed = minimum(plan, each["path"])
            # Where what goes is not known beforehand: each must have room for all.
            needed += plan["download"] + max(plan["grows"], 0) if each["path"] != "/boot" else 0
            if each["free"] < needed:
                text = f"{each['path']} has {size(each['free'])} free, and {size(needed)} are needed."
                option = "patching_minimum_free_boot" if each["path"] == "/boot" else "patching_minimum_free"
                refuse("space", text, f"Free space there, or lower {option}.")
    # What an earlier run began on the host is proven and resumed whatever was approved since, and restarted if that run
    # was to do it.
    restarts = due(plan) or (plan["reboot_mode"] == "always" and plan["open"])
    touches = plan["packages"] or plan["configure"] or (restarts and plan["reboot_before"] != plan["reboot_mode"])
    if approved and touches and plan["digest"] not in approved:
        text = f"The plan is {plan['digest']}, and that is not approved."
        refuse("approved", text, "Read the plan, and approve it (patching_approved).")
    return found


def due(found: Dict[str, Any]) -> bool:
    """Whether the host is to be restarted, by what it says itself."""
    if found["reboot_mode"] == "never":
        return False
    # A container runs the kernel of its host; what is in it itself says nothing.
    newer = (found.get("services") or found["running"])["newer_kernel"] and found["container"] is False
    return found["reboot_pending"] is not None or bool(newer)


def unplanned(
    before: Dict[str, Dict[str, str]],
    after: Dict[str, Dict[str, str]],
    rows: List[Dict[str, Any]],
    configured: List[str],
) -> List[str]:
    """What became different though no plan said so.

    :param before: version and state by package
    :param configured: packages that dpkg was to end with: their state may change, their version not
    """
    planned = {f"{row['package']}:{row['architecture']}" for row in rows}
    found = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one == other or name in planned:
            continue
        if one and other and configured and one["version"] == other["version"] and other["state"] == "installed":
            continue
        found.append(f"{name}: {said(one)} became {said(other)}")
    return found


def unfinished(after: Dict[str, Dict[str, str]]) -> List[str]:
    """Packages that dpkg has not done with, and how they are."""
    return [f"{name} is {said(state)}" for name, state in sorted(after.items()) if state["state"] not in _DONE]


def missed(result: Dict[str, Any]) -> List[str]:
    """Planned packages that are not as planned, and how they are."""
    found = []
    for row in result["packages"]:
        name = f"{row['package']}:{row['architecture']}"
        now = result["after"].get(name)
        if now != {"version": row["to"], "state": "installed"}:
            found.append(f"{name} should be {row['to']}, and is {said(now)}")
    return found


def said(state: Any) -> str:
    return f"{state['version']} ({state['state']})" if state else "not there"
