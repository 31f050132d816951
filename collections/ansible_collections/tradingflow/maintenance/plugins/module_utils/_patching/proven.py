# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the proof of a patched host means for the report and the ledger."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from ..checks import CRITICAL, OK, WARNING, Check, as_action, unknown, worst
from ..words import plural
from . import health
from .findings import isolated, old_code
from .kernel import ELSEWHERE, UNKNOWN
from .precheck import clock

ID = "patching.proof"
_TITLE = "Host proven"
#: Check -> title, and what is said when it is well.
_PROVEN = {
    "rebooted": ("Host restarted", "The host was restarted: its first process is another one."),
    "kernel": ("Kernel as planned", "The host runs kernel {kernel}, as planned."),
    "system": ("systemd", "systemd is {system}, as before or better, and no other unit failed."),
    "units": ("Services run again", "What ran before and starts by itself runs: {units}."),
    "versions": ("Versions after all", "Of what was put in place, {rows} as planned."),
}
_REMEDY = {
    "rebooted": "Restart it by hand, and run the playbook again: it goes on from there.",
    "kernel": "Look at the boot loader (/boot, update-grub), and run the playbook again.",
    "system": "systemctl --failed; journalctl -b -p err. Run the playbook again once it is well.",
    "units": "systemctl status UNIT; journalctl -u UNIT. Run the playbook again once they run.",
    "versions": "Find out who changed packages meanwhile (/var/log/dpkg.log).",
}


#: Where no release was planned.
_KERNELS = {
    ELSEWHERE: "The host runs kernel {kernel}, which somebody else starts for it: no package of a kernel is "
    "installed, and there are neither modules nor an image in /boot.",
    UNKNOWN: "The host runs kernel {kernel}, and no newer one waits for a restart.",
}
#: Of two that may have come up, it is that of before.
_AGAIN = (
    "The host runs kernel {kernel} again, which somebody else starts for it: there is neither its image in /boot "
    "nor are there its modules."
)
_WHICH = (
    "Install needrestart, or look why /boot is empty (is it mounted?), and run the playbook again. With "
    "patching_reboot: never, nobody asks any more."
)


def proven(result: Dict[str, Any], asked: Tuple[float, float], tolerance: float) -> List[Check]:
    """Checks of a host that answered.

    :param asked: the runner's clock before and after
    """
    now, faults = result["now"], result["faults"]
    names = ["rebooted"] if result["rebooted"] else []
    unsaid = result["untold"]
    if (result["rebooted"] or result["kernels"] or unsaid) and not now["container"]:
        names.append("kernel")
    names += ["system", "units", "versions"]
    words = {
        "kernel": now["kernel"],
        "system": now["system"],
        "units": plural(len(result["before"]["enabled"]), "service"),
        "rows": plural(result["count"], "package"),
    }
    checks = [
        Check("patching.connection", "A second connection", OK, True, message="A new connection was made and answered.")
    ]
    for name in names:
        title, text = _PROVEN[name]
        id = f"patching.proven:{name}"
        if name == "kernel":
            text = _kernel(result)
        if name in faults:
            checks.append(Check(id, title, CRITICAL, False, message=faults[name], remedy=_REMEDY[name]))
        elif name in unsaid:
            checks.append(unknown(id, title, unsaid[name], _WHICH))
        else:
            checks.append(Check(id, title, OK, True, message=text.format(**words)))
    checks += _others(result["gone"])
    told = clock(result, asked, tolerance)
    told.id = "patching.proven:clock"
    checks.append(told)
    if result["health"] is not None:
        checks.append(health.compared("system", result["before"].get("health"), result["health"]))
    for each in result["resumed"]:
        id = f"patching.resumed:{each['unit']}"
        if each["problem"]:
            text = f"{each['unit']} does not start: {each['problem']}"
            checks.append(
                Check(id, "Started again", CRITICAL, False, message=text, remedy=f"journalctl -u {each['unit']}")
            )
        else:
            checks.append(Check(id, "Started again", OK, True, message=f"{each['unit']} runs again."))
    if result["services"] is not None:
        checks.append(old_code(result["services"]))
    return [*checks, *isolated(result["halted"])]


def _others(names: List[str]) -> List[Check]:
    """What ran and was started by hand, or by another unit: whether it is to run, nobody on the host says."""
    if not names:
        return []
    text = f"Ran before and do not run now, and nothing on the host starts them: {', '.join(names[:10])}"
    text += f" and {len(names) - 10} more." if len(names) > 10 else "."
    remedy = "Start them if they are to run, and enable them (systemctl enable), or name them in patching_units."
    id, title = "patching.proven:others", "Services started by hand"
    return [Check(id, title, WARNING, len(names), message=text, remedy=remedy, details={"units": names[:50]})]


def _kernel(result: Dict[str, Any]) -> str:
    """What is said of a kernel that is well."""
    if result["kernel_of"] in _KERNELS:
        return _KERNELS[result["kernel_of"]]
    again = len(result["kernels"]) > 1 and result["now"]["kernel"] == result["kernels"][1][0]
    return _AGAIN if again else _PROVEN["kernel"][1]


def well(checks: List[Check]) -> bool:
    """Whether the host is proven."""
    # What was bad before is named, and is not the patching's.
    counted = [check for check in checks if check.id != "patching.services" and not _before(check)]
    return worst(check.status for check in counted) == OK


def _before(check: Check) -> bool:
    named = check.id.startswith("patching.health:") or check.id == "patching.proven:others"
    return named and check.status == WARNING


def as_planned(checks: List[Check]) -> bool:
    """Whether what is halted may be started."""
    return well([check for check in checks if check.id != "patching.isolated"])


def summary(result: Dict[str, Any], checks: List[Check]) -> Dict[str, Any]:
    """What the ledger keeps of it."""
    return {
        "proven": well(checks),
        "rebooted": result["rebooted"],
        "kernel": [result["before"]["kernel"], result["now"]["kernel"]],
        "system": result["now"]["system"],
        "resumed": [each["unit"] for each in result["resumed"]],
        "halted": result["halted"],
        "faults": result["faults"],
        "untold": result["untold"],
        "health": {check.id: check.status for check in checks if check.id.startswith("patching.health:")},
    }


def action(checks: List[Check], changed: bool, started_at: str) -> Dict[str, Any]:
    """The action of the report."""
    bad = [check for check in checks if check.status == CRITICAL] or [each for each in checks if each.value is None]
    again = any(check.id.startswith("patching.resumed:") for check in checks)
    well = f"The host is as planned{', and what was halted runs again' if again else ''}."
    text = bad[0].message if bad else well
    return as_action(ID, _TITLE, "failed" if bad else "ok", changed, text, started_at, {})


def silent(message: str) -> List[Check]:
    """Checks of a host that does not answer."""
    text = f"The host does not answer a new connection: {' '.join(message.split())[:500]}"
    remedy = "Look at its console. It stays as it is, with what was halted; run the playbook again once it answers."
    return [Check("patching.connection", "A second connection", CRITICAL, False, message=text, remedy=remedy)]


def unproven(message: str, remedy: str) -> List[Check]:
    """Checks of a host of which nothing could be said."""
    return [unknown("patching.proven", _TITLE, message, remedy)]
