# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan, or what became of it, means for the report and the ledger."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from ..checks import CRITICAL, OK, WARNING, Check, as_action, unknown, worst
from ..words import plural, size, span
from . import precheck
from .judgement import ROW, covered, due, missed
from .kernel import UNKNOWN as NOT_KNOWN

Found = Tuple[List[Check], List[Dict[str, Any]]]
TITLE = "Patches"
#: Rows that details keep.
_KEPT = 500


def planned(plan: Dict[str, Any], started_at: str) -> Found:
    """Checks and the action of --check."""
    checks = [*_plan(plan), _services_known(plan)]
    text = f"Would {_what(plan)}. The plan is known by {plan['digest']}." if plan["wanted"] else "Nothing to do."
    text += _withheld(plan)
    if plan["refusals"]:
        text = plan["refusals"][0]["message"]
    status = "failed" if plan["refusals"] else "planned" if plan["wanted"] else "ok"
    return checks, [_action(status, False, text, started_at, _details(plan))]


def findings(result: Dict[str, Any], started_at: str) -> Tuple[List[Check], List[Dict[str, Any]], Dict[str, Any]]:
    """Checks and the action of a host that was patched, and what the ledger keeps of it."""
    checks = _plan(result)
    begun = not result["refusals"] and result["wanted"]
    if not begun:
        checks.append(_services_known(result))
    else:
        checks += [_applied(result), _unplanned(result), *_problem(result), *_services(result)]
    bad = [check for check in checks if check.status not in (OK, WARNING)]
    if bad and result["halted"]:
        checks += isolated(result["halted"])
    if not result["wanted"] and not bad:
        text = f"Nothing to do.{_withheld(result)}"
    elif bad:
        # What ended it says more than what follows from it.
        text = (result["problem"] or {}).get("message") or sorted(bad, key=_worst_first)[0].message
    else:
        names = [row["package"] for row in result["packages"]]
        text = f"{plural(len(names), 'package')} in {span(result['seconds'])}, as planned{': ' if names else ''}"
        text += f"{_some(names)}."
        restarted = [each["service"] for each in (result["services"] or {}).get("restarted", [])]
        text += f" Restarted: {_some(restarted)}." if restarted else ""
    details = {**_details(result), "before": result["before"], "after": result["after"]}
    done = "failed" if result["refusals"] or bad else "ok"
    action = _action(done, result["changed"] is not False, text, started_at, details)
    return checks, [action], summary(result, worst(check.status for check in checks))


def isolated(units: List[str]) -> List[Check]:
    """That the host was left halted."""
    if not units:
        return []
    text = f"Left halted, as the host is not proven: {', '.join(units)}. A restart of the host does not start them."
    remedy = "Put right what is said beside it, and run the playbook again: it proves the host and starts them."
    return [Check("patching.isolated", "Host isolated", CRITICAL, len(units), message=text, remedy=remedy)]


def intent(plan: Dict[str, Any], host: str) -> Dict[str, Any]:
    """What the ledger keeps of a host that is about to be patched: all that the digest is of, and what explains it."""
    return {
        **covered(plan),
        "packages": [{key: row[key] for key in (*ROW, "reason")} for row in plan["packages"]],
        "state": "begun",
        "host": host,
        "scope": plan["scope"],
        "digest": plan["digest"],
        "back": plan["back"],
    }


def summary(result: Dict[str, Any], status: str) -> Dict[str, Any]:
    """What the ledger keeps of a host that was patched, without the host's name and the packages' list."""
    services = result["services"] or {}
    return {
        "state": "ended",
        "scope": result["scope"],
        "digest": result["digest"],
        "changed": result["changed"],
        "worst_status": status,
        "problem": (result["problem"] or {}).get("message"),
        "refused": [refusal["name"] for refusal in result["refusals"]],
        "before": result["before"],
        "after": result["after"],
        "unplanned": result["unplanned"][:_KEPT],
        "restarted": [each["service"] for each in services.get("restarted", [])],
        "reboot_pending": result["reboot_pending"],
        "reboot": result["reboot_due"],
        "rollback": result["rollback"],
        "conffiles": result["conffiles"],
        "conffiles_changed": [path for row in result["packages"] for path in row["conffiles_changed"]][:_KEPT],
        "halted": result["halted"],
        "seconds": result["seconds"],
    }


def failure(message: str, remedy: str, started_at: str) -> Found:
    """Check and action of a host about which nothing could be said, and on which nothing was done."""
    check = unknown("patching.planned", "Patches planned", message, remedy)
    return [check], [_action("failed", False, f"{message} {remedy}".rstrip(), started_at, {})]


def lost(message: str, started_at: str) -> Found:
    """Check and action of a host whose connection failed while it was being patched."""
    text = f"The connection failed, and whether anything was changed is not known: {message}"
    remedy = "Look at the host: what had begun there goes on without us. Run the playbook again once it answers."
    check = Check("patching.connection", "Connection while patching", CRITICAL, False, message=text, remedy=remedy)
    return [check], [_action("failed", False, text, started_at, {})]


def way_back(check: Check) -> Check:
    """The check as one of the way back, which stands beside that of the patching."""
    check.id = check.id.replace("patching.", "patching.rollback_", 1)
    return check


def _worst_first(check: Check) -> bool:
    return check.status != CRITICAL


def well(result: Dict[str, Any]) -> bool:
    """Whether the host is as planned."""
    return not (
        result["refusals"] or result["problem"] or result["unplanned"] or result["unfinished"] or missed(result)
    ) and not [each for each in (result["services"] or {}).get("restarted", []) if each["problem"]]


def _action(status: str, changed: bool, message: str, started_at: str, details: Dict[str, Any]) -> Dict[str, Any]:
    return as_action("patching.patch", TITLE, status, changed, message, started_at, details)


def _details(plan: Dict[str, Any]) -> Dict[str, Any]:
    names = ("digest", "scope", "configure", "back", "restart", "reboot", "locks", "conffiles", "units", "reboot_mode")
    found = {name: plan[name] for name in names}
    # What is not, or none, is noise on a screen.
    found.update({f"{name}_bytes": plan[name] for name in ("download", "grows") if plan[name]})
    found.update({name: True for name in ("rollback", "open") if plan[name]})
    return {**found, "packages": plan["packages"][:_KEPT], "kept": plan["kept"][:_KEPT]}


def _some(names: List[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _security(plan: Dict[str, Any]) -> List[Dict[str, Any]]:
    """Security updates that somebody keeps back. Those that are phased come by themselves."""
    return [each for each in plan["kept"] if each["security"] and each["reason"] in ("hold", "pin")]


def _withheld(plan: Dict[str, Any]) -> str:
    names = [f"{each['package']} ({each['reason']})" for each in _security(plan)]
    return (
        f" {'Security updates are' if len(names) > 1 else 'A security update is'} kept back: {_some(names)}."
        if names
        else ""
    )


def _what(plan: Dict[str, Any]) -> str:
    parts = []
    if plan["configure"]:
        parts.append(f"first end what dpkg left half done ({', '.join(plan['configure'][:5])})")
    if plan["policy"] == "ours":
        parts.append("take away the policy-rc.d that a killed run left")
    if plan["packages"]:
        rows = [f"{row['package']} {row['from'] or 'new'} -> {row['to']}" for row in plan["packages"][:10]]
        more = f" and {len(plan['packages']) - 10} more" if len(plan["packages"]) > 10 else ""
        parts.append(f"put in place {', '.join(rows)}{more}, {size(plan['download'])} to download")
    if plan["open"]:
        parts.append("prove and resume what an earlier run began")
    if due(plan):
        parts.append("restart the host")
    return ", then ".join(parts)


def _plan(plan: Dict[str, Any]) -> List[Check]:
    rows, source = plan["packages"], "apt's solver on the host"
    count = plural(len(rows), "package")
    text = f"{count}, {size(plan['download'])} to download. The plan is {plan['digest']}." if rows else "Nothing newer."
    if plan["broken"]:
        # The solver was not asked: that it names nothing says nothing.
        text, remedy = "Not planned: the dependencies of what is installed are not met.", "Repair that first."
        checks = [
            unknown("patching.packages", "Packages to patch", text, remedy),
            unknown("patching.kept", "Packages kept", text, remedy),
        ]
    else:
        checks = [Check("patching.packages", "Packages to patch", OK, len(rows), message=text, source=source)]
        checks.append(_kept(plan))
    checks += [
        Check(f"patching.refused:{each['name']}", "Patching refused", CRITICAL, False, message=each["message"], **rest)
        for each in plan["refusals"]
        for rest in [{"remedy": each["remedy"]}]
    ]
    checks += [*precheck.checks(plan), *_idle(plan), *_conffiles(plan), *_half_done(plan), *_back(plan), _reboot(plan)]
    return checks


def _kept(plan: Dict[str, Any]) -> Check:
    """What stays though there is something newer: somebody's decision, and a warning where it leaves a hole open."""
    kept = plan["kept"]
    decided = ("hold", "not security", "pin", "phased")
    stuck = [each for each in kept if each["reason"] not in decided]
    listed = [f"{each['package']} {each['installed']} ({each['reason']}: {each['text']})" for each in kept[:10]]
    more = f" and {len(kept) - 10} more" if len(kept) > 10 else ""
    text = f"{plural(len(kept), 'package')} kept: {'; '.join(listed)}{more}." if kept else "No package is kept back."
    status, remedy = OK, ""
    if stuck:
        status, remedy = WARNING, "Look why with apt-get -s install PACKAGE: a removal is nobody's but yours to decide."
    elif secure := _security(plan):
        status = WARNING
        text += f" {plural(len(secure), 'security update')} among them."
        remedy = "Ask who holds or pins them, and why (apt-mark showhold, apt-cache policy); apt-mark unhold PACKAGE."
    details = {"kept": kept[:_KEPT]}
    return Check("patching.kept", "Packages kept", status, len(kept), message=text, remedy=remedy, details=details)


def _conffiles(plan: Dict[str, Any]) -> List[Check]:
    changed = [path for row in plan["packages"] for path in row["conffiles_changed"]]
    if not changed:
        return []
    files = f"{', '.join(changed[:10])}."
    if plan["conffiles"] == "keep":
        text = f"Changed on the host, and kept as they are: {files}"
        text += " What a package ships instead is put beside, as .dpkg-dist."
    else:
        text = f"Changed on the host, and replaced where the package ships another one: {files}"
        text += " The host's own is put beside, as .dpkg-old."
    details = {"files": changed[:_KEPT]}
    id, title = "patching.conffiles", "Configuration files changed locally"
    return [Check(id, title, OK, len(changed), message=text, details=details)]


def _idle(plan: Dict[str, Any]) -> List[Check]:
    """Units that are halted and that nobody starts."""
    idle = [unit for unit in plan["units"] if unit not in plan["units_ran"]]
    if not idle:
        return []
    text = f"Not running before, and not started afterwards: {', '.join(idle)}."
    remedy = "Start them before the host is patched, or take them out of patching_units, if they are to run."
    return [Check("patching.units", "Units to halt", WARNING, len(idle), message=text, remedy=remedy)]


def _half_done(plan: Dict[str, Any]) -> List[Check]:
    if not plan["configure"] and plan["policy"] != "ours" and not plan["open"]:
        return []
    text = f"An earlier change did not end: the plan begins with that. It would {_what(plan)}."
    if plan["open"] and "changed" not in plan:
        # What it halted stays halted until then.
        remedy = "Run the playbook: it proves the host, and starts what was halted."
        return [Check("patching.found", "An earlier change", WARNING, 1, message=text, remedy=remedy)]
    return [Check("patching.found", "An earlier change", OK, len(plan["configure"]), message=text)]


def _back(plan: Dict[str, Any]) -> List[Check]:
    # The way back itself is refused where there is none.
    if not plan["packages"] or plan["rollback"]:
        return []
    id, title = "patching.back", "Way back"
    if not plan["back"]:
        text = "The versions of now are still to be had, and go with what is added: going back removes nothing."
        return [Check(id, title, OK, True, message=text)]
    text = f"There is no way back by apt: {'; '.join(plan['back'][:5])}."
    return [Check(id, title, WARNING, False, message=text, remedy="Make sure of a snapshot or a spare host first.")]


def _reboot(plan: Dict[str, Any]) -> Check:
    id, title, pending = "patching.reboot", "Restart of the host", plan["reboot_pending"]
    remedy = "Restart the host in a window, or let patching_reboot do it."
    if plan.get("reboot_due") or due(plan):
        why = ", ".join((pending or [])[:5]) or ("its kernel" if pending is None else "it asks for that")
        text = f"The host is restarted (patching_reboot is {plan['reboot_mode']}): {why}."
        if plan["kernel_of"] == NOT_KNOWN:
            text += " Which kernel is to come up is not known: /boot has no image, and needrestart does not say."
            return unknown(id, title, text, "Install needrestart, or look why /boot is empty, before it is restarted.")
        return Check(id, title, OK, True, message=text)
    if pending is not None:
        text = f"The host waits for a restart{': ' + ', '.join(pending[:5]) if pending else ''}."
        return Check(id, title, WARNING, True, message=text, remedy=remedy, source="/run/reboot-required")
    if plan["reboot"]:
        text = f"With {', '.join(plan['reboot'])} the host is to be restarted."
        return Check(id, title, WARNING, True, message=text, remedy=remedy)
    if plan["container"]:
        text = "The host does not ask for a restart. It is a container: its kernel is its host's, and not patched here."
        return Check(id, title, OK, False, message=text, source="systemd-detect-virt")
    running = plan.get("services") or plan["running"]
    source = "needrestart" if running["asked"] and not running["unknown"] else "/boot"
    if running["newer_kernel"] is None and not running["asked"]:
        text = "Whether a newer kernel waits for a restart is not asked (patching_needrestart), and /boot does not say."
        return Check(id, title, WARNING, None, message=text, remedy="Compare uname -r with the newest kernel in /boot.")
    if running["newer_kernel"] is None:
        why = running["unknown"] or "needrestart cannot say."
        text = f"Whether a newer kernel waits for a restart is not known: {why}"
        return unknown(id, title, text, "Compare uname -r with the newest kernel in /boot.")
    if running["newer_kernel"]:
        text = "The host runs an older kernel than the newest that is installed."
        return Check(id, title, WARNING, True, message=text, remedy=remedy, source=source)
    return Check(id, title, OK, False, message="The host does not ask for a restart.", source=source)


def _services_known(plan: Dict[str, Any]) -> Check:
    """What runs old code before anything is done."""
    running = plan["running"]
    check = old_code(running)
    if running["asked"] and not running["unknown"] and plan["wanted"] and not plan["refusals"]:
        named = ", ".join(plan["restart"]) or "none: patching_restart names those that may be"
        check.message += f" It is asked again afterwards. Restarted are {named}."
    return check


def old_code(running: Dict[str, Any]) -> Check:
    """By needrestart's word, or that it gave none."""
    id, title, left = "patching.services", "Services on old code", [*running["left"], *running["others"]]
    if not running["asked"]:
        return _not_asked(id, title)
    if running["unknown"]:
        text = f"Which services run old code cannot be known: {running['unknown']}"
        return unknown(id, title, text, "Install needrestart, or restart by hand what the patches concern.")
    if not left:
        return Check(id, title, OK, 0, message="No service runs old code, by needrestart's word.")
    more = f" and {len(left) - 10} more" if len(left) > 10 else ""
    text = f"Still run old code: {', '.join(left[:10])}{more}."
    remedy = (
        "Restart them in a window, or name services in patching_restart for the next patches. Sessions: log in anew."
    )
    details = {"services": running["left"], "others": running["others"]}
    return Check(id, title, WARNING, len(left), message=text, remedy=remedy, details=details)


def _not_asked(id: str, title: str) -> Check:
    text = "Which services run old code is not asked (patching_needrestart), and none is restarted."
    return Check(id, title, WARNING, None, message=text, remedy="Restart by hand what the patches concern.")


def _applied(result: Dict[str, Any]) -> Check:
    id, title = "patching.versions", "Versions as planned"
    wrong = missed(result)
    wrong += [text for text in result["unfinished"] if text.split(" ")[0] not in {each.split(" ")[0] for each in wrong}]
    count = len(result["packages"])
    if wrong:
        text = f"{plural(len(wrong), 'package')} not as planned: {'; '.join(wrong[:5])}."
        remedy = "Read why below; run it again: it goes on from what the host has."
        return Check(id, title, CRITICAL, len(wrong), message=text, remedy=remedy, details={"wrong": wrong[:50]})
    text = f"{plural(count, 'package')} as planned, by dpkg's word."
    return Check(id, title, OK, count, message=text, source="/var/lib/dpkg/status")


def _unplanned(result: Dict[str, Any]) -> Check:
    id, title, more = "patching.unplanned", "Nothing else changed", result["unplanned"]
    if more:
        text = f"Not in the plan, and changed: {'; '.join(more[:5])}."
        remedy = "Find out who else changed packages meanwhile (/var/log/dpkg.log)."
        return Check(id, title, CRITICAL, len(more), message=text, remedy=remedy, details={"packages": more[:50]})
    return Check(id, title, OK, 0, message="No other package changed.", source="/var/lib/dpkg/status")


def _problem(result: Dict[str, Any]) -> List[Check]:
    problem: Optional[Dict[str, str]] = result["problem"]
    if problem is None:
        return []
    id, title = "patching.failed", "Patching ended"
    return [Check(id, title, CRITICAL, False, message=problem["message"], remedy=problem["remedy"])]


def _services(result: Dict[str, Any]) -> List[Check]:
    services = result["services"]
    id, title = "patching.services", "Services on old code"
    if services is None:
        return [unknown(id, title, "Not asked, as the patches did not end well.", "Put that right first.")]
    if not services["asked"]:
        return [_not_asked(id, title)]
    if result["reboot_due"]:
        # Each would be restarted twice.
        return [Check(id, title, OK, len(services["left"]), message="The host is restarted, and with it all of them.")]
    checks = []
    for each in services["restarted"]:
        if each["problem"]:
            text = f"{each['service']} did not come back: {each['problem']}"
            remedy = f"journalctl -u {each['service']}"
            checks.append(
                Check(f"patching.restarted:{each['service']}", "Service", CRITICAL, False, message=text, remedy=remedy)
            )
        else:
            text = f"{each['service']} was restarted, once, and is active."
            checks.append(Check(f"patching.restarted:{each['service']}", "Service", OK, True, message=text))
    return [*checks, old_code(services)]
