# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans and applies: the plan is made anew right before, and only when it is the approved one is anything touched."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from .._checks.clock import kernel as kernel_time
from ..errors import PatchingError
from . import back, commands, halt, health, host, kernel, precheck, proof, services, state
from .judgement import digest_of, due, refusals, unfinished, unplanned
from .notes import changed_conffiles, conffiles, status
from .solver import Solver, apt, compare

ROOT = Path("/")
#: In "configure": dpkg was interrupted between two of its own notes, and apt-get does nothing before that is ended.
JOURNAL = "dpkg's own notes"


def plan(options: Dict[str, Any]) -> Dict[str, Any]:
    """What would be done, and what forbids it.

    :raises MaintenanceError: it cannot be said
    """
    with commands.place(options["scratch_directory"]) as where:
        return planned(options, where)


def run(options: Dict[str, Any]) -> Dict[str, Any]:
    """Applies the plan of options["expected_digest"]; the plan, and what became of it.

    :raises MaintenanceError: nothing was touched
    """
    begun, directory = time.monotonic(), options["state_directory"]
    only_root()
    with state.locked(directory) as ours, commands.place(options["scratch_directory"]) as where:
        found = planned(options, where)
        result: Dict[str, Any] = {**found, "changed": False, "problem": None, "services": None}
        result.update(before={}, after={}, unplanned=[], unfinished=[], halted=[], reboot_due=False)
        if not options["expected_digest"]:
            raise PatchingError("No plan is named that is to be applied.", "Plan first, and give its digest.")
        if found["digest"] != options["expected_digest"]:
            text = f"The plan is {found['digest']} now, not {options['expected_digest']}: something changed since."
            found["refusals"].append(
                {"name": "digest", "message": text, "remedy": "Read the new plan and approve that one."}
            )
        if not ours:
            text = "Another patching of this host is at work, such as one whose connection broke."
            found["refusals"].append(
                {"name": "lock", "message": text, "remedy": "Wait for it to end, and run it again."}
            )
        if found["open"] or not ours:
            # Also when we are refused the host is not untouched: somebody began, and it did not end.
            kept = state.read(directory)
            result.update(changed=None, halted=halt.halted(directory, kept["units"], kept["ran"]) if kept else [])
        if not found["refusals"] and found["wanted"]:
            applied(options, where, result)
    result["seconds"] = round(time.monotonic() - begun, 3)
    return result


def only_root() -> None:
    """:raises PatchingError: we are somebody else"""
    if os.geteuid() != 0:
        raise PatchingError("Only root may ask apt and change packages.", "Set ansible_become, or run with -b.")


def planned(options: Dict[str, Any], where: commands.Place) -> Dict[str, Any]:
    """See plan."""
    only_root()
    began = time.time()
    services.check(options["restart"])
    halt.check(options["units"])
    kept = state.read(options["state_directory"])
    apt()
    commands.update(where)
    solver = Solver(options, where.lists, where.cache)
    solver.check()
    states, journal = solver.states(), host.journal(ROOT)
    broken = solver.broken()
    # With what is broken as it is, the solver would set out to repair it.
    rows, stay, unable = ([], [], []) if broken else wanted(solver, options, kept)
    changed = changed_conffiles(conffiles(), md5)
    for row in rows:
        row["conffiles_changed"] = changed.get(f"{row['package']}:{row['architecture']}", [])
    download, grows = solver.size(rows)
    found: Dict[str, Any] = {
        "scope": options["scope"],
        "packages": rows,
        "kept": stay,
        "configure": states["configure"] + ([JOURNAL] if journal else []),
        "reinstall": states["reinstall"],
        "unrecognised": states["unrecognised"],
        "broken": broken,
        "download": download,
        "grows": grows,
        "back": [] if broken or options["rollback"] else solver.back(rows),
        "rollback": options["rollback"],
        "no_way_back": unable,
        "archives": solver.unsure(rows),
        "conffiles": options["conffiles"],
        "units": options["units"],
        "units_missing": halt.missing(options["units"]),
        "units_ran": halt.ran(options["units"], kept["ran"] if kept and kept["open"] else []),
        "open": bool(kept and kept["open"]),
        "reboot_mode": options["reboot"],
        "reboot_before": kept.get("reboot") if kept and kept["open"] else None,
        "container": proof.container(),
        "reboot": sorted(row["package"] for row in rows if row["package"].startswith("linux-image-")),
        "restart": options["restart"],
        "space": host.space(ROOT, options["scratch_directory"]),
        "minimum_free": options["minimum_free"],
        "minimum_free_boot": options["minimum_free_boot"],
        "held": solver.held(),
        "audit": precheck.audit(),
        "locks": host.locks(ROOT),
        "reboot_pending": host.reboot_pending(ROOT),
        "policy": host.policy(ROOT),
        # Also when there is nothing to do: an earlier run's packages may wait for a restart still.
        "running": asked(options),
    }
    found.update(clock_began=began, clock=time.time(), clock_kernel=kernel_time())
    # Which kernel is to come up is asked only where a restart is to come.
    found["kernel_of"] = coming(found)["kernel_of"] if due(found) or options["reboot"] == "always" else None
    found["digest"] = digest_of(found)
    found["wanted"] = bool(rows or found["configure"] or found["policy"] == "ours" or found["open"] or due(found))
    found["refusals"] = refusals(found, options["approved"])
    return found


def applied(options: Dict[str, Any], where: commands.Place, result: Dict[str, Any]) -> None:
    """Does what was planned, and says in the result what became of it."""
    before = status()
    result["before"] = versions(before, result["packages"])
    directory = options["state_directory"]
    try:
        if result["packages"] and JOURNAL not in result["configure"]:
            # What trades is not halted while a mirror is slow, nor left halted when it does not answer.
            commands.download(where, result["packages"], options)
        earlier = state.read(directory)
        kept = state.begun(earlier, result, facts(options), before)
        # First this: should we be killed, the next run knows what is to be proven and resumed.
        state.write(directory, kept)
        result["halted"] = kept["units"]
        result["changed"] = True if kept["units"] else result["changed"]
        halt.halt(directory, kept["units"])
        host.forbid_restarts(ROOT)
        try:
            # From here on something may be changed, whatever comes of it.
            result["changed"] = True
            # On the way back what does not let itself be configured is what is to go.
            if result["configure"] and not options["rollback"]:
                commands.configure(options["conffiles"])
                again = Solver(options, where.lists, where.cache)
                rows = [] if again.broken() else again.solve()[0]
                if same(rows) != same(result["packages"]):
                    raise PatchingError(
                        "What dpkg had left half done is done, and the plan is another one with that.",
                        "Run it again: read the new plan and approve that one.",
                    )
            if result["packages"]:
                commands.install(where, result["packages"], options)
        finally:
            host.allow_restarts(ROOT)
        result["reboot_pending"] = host.reboot_pending(ROOT)
        result["services"] = asked(options)
        result["reboot_due"] = due(result) or options["reboot"] == "always"
        if result["reboot_due"]:
            awaited = coming(result)
            result["kernel_of"] = awaited["kernel_of"]
            state.write(directory, {**kept, **awaited})
        else:
            result["services"] = restarted(options)
    except (PatchingError, OSError) as error:
        remedy = getattr(error, "remedy", "") or "Read the message, look with dpkg --audit, and run it again."
        result["problem"] = {"message": getattr(error, "message", str(error)), "remedy": remedy}
    after = status()
    result["after"] = versions(after, result["packages"])
    result["unplanned"] = unplanned(before, after, result["packages"], result["configure"])
    result["unfinished"] = unfinished(after)


def facts(options: Dict[str, Any]) -> Dict[str, Any]:
    """How the host is before anything is done, and the platform as the runner sees it."""
    return {**proof.facts(), "health": health.measured(options["health"]), "platform": options["platform"]}


def wanted(solver: Solver, options: Dict[str, Any], kept: Optional[Dict[str, Any]]) -> Tuple[Any, Any, Any]:
    """What is put in place, what stays, and why there is no way back."""
    if options["rollback"]:
        rows, why = back.rows(solver, kept)
        return rows, [], why
    return (*solver.solve(), [])


def asked(options: Dict[str, Any]) -> Dict[str, Any]:
    """What runs old code; a newer kernel also where needrestart is not asked or does not know."""
    return kernel.completed(services.running(options["needrestart"]), ROOT, compare)


def coming(result: Dict[str, Any]) -> Dict[str, Any]:
    """What is kept of the kernel that the host is to run after its restart, and whose that is."""
    none: Dict[str, Any] = {"kernel": None, "kernels": []}
    if result["container"]:
        return {**none, "kernel_of": kernel.CONTAINER}
    try:
        found = kernel.coming((result.get("services") or result["running"]).get("expected_kernel"), ROOT, compare)
    except OSError:
        return {**none, "kernel_of": kernel.UNKNOWN}
    if found:
        return {"kernel": found[0].release, "kernels": [list(each) for each in found], "kernel_of": kernel.OWN}
    installed = [name for name, each in status().items() if each["state"] != "config-files"]
    shown = kernel.without(ROOT, [*installed, *(row["package"] for row in result["packages"])])
    return {**none, "kernel_of": kernel.ELSEWHERE if shown else kernel.UNKNOWN}


def restarted(options: Dict[str, Any]) -> Dict[str, Any]:
    """Restarts what may be, once each, after the last package."""
    first = asked(options)
    done = services.restarted(services.chosen(first["left"], options["restart"]))
    # What became of them is said also when needrestart does not answer a second time.
    return {**(asked({**options, "needrestart": True}) if done else first), "restarted": done}


def versions(of: Dict[str, Dict[str, str]], rows: List[Dict[str, Any]]) -> Dict[str, Optional[Dict[str, str]]]:
    """Version and state of the planned packages."""
    names = [f"{row['package']}:{row['architecture']}" for row in rows]
    return {name: of.get(name) for name in names}


def same(rows: List[Dict[str, Any]]) -> List[Any]:
    return [[row[key] for key in ("package", "architecture", "from", "to", "sha256")] for row in rows]


def md5(path: str) -> Optional[str]:
    """As dpkg keeps it of configuration files; None when the file is gone or is none."""
    try:
        return hashlib.new("md5", Path(path).read_bytes(), usedforsecurity=False).hexdigest()
    except (OSError, ValueError):
        return None
