# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report for machines: JUnit XML for CI, OpenMetrics for monitoring."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from ...module_utils.checks import STATUSES
from .scope import WHOLE, narrowed
from .words import clean, moment, number, quantity, thresholds


def junit(report: dict[str, Any]) -> str:
    """The report as JUnit XML: a suite per area, a case per check and host.

    Critical is a failure and unknown an error, always. A warning is a failure where the run fails on warnings; else the
    case passes and its text is in system-out.
    """
    root = ElementTree.Element("testsuites", name=clean(f"{report['playbook']} {report['environment']}"))
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for area in sorted({check["area"] for check in report["checks"]}):
        checks = [check for check in report["checks"] if check["area"] == area]
        suite = ElementTree.SubElement(root, "testsuite", name=clean(area))
        counts = dict.fromkeys(totals, 0) | {"tests": len(checks)}
        for check in checks:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=clean(f"{report['playbook']}.{area}"),
                name=clean(f"{check['id']} [{check['host']}]"),
                time="0",
            )
            bad = check["status"] in ("critical", "unknown") or (check["status"], report["fail_on"]) == (
                "warning",
                "warning",
            )
            if bad:
                kind = "error" if check["status"] == "unknown" else "failure"
                counts["errors" if kind == "error" else "failures"] += 1
                told = ElementTree.SubElement(
                    case, kind, type=check["status"], message=clean(check["message"] or check["title"])
                )
                told.text = clean(_text(check))
            elif check["status"] == "warning":
                ElementTree.SubElement(case, "system-out").text = clean(_text(check))
        for key, count in counts.items():
            suite.set(key, str(count))
            totals[key] += count
        suite.set("time", "0")
        suite.set("timestamp", clean(report["started_at"].removesuffix("Z")))
    left_out = (report.get("scope") or WHOLE)["left_out"]
    if left_out:
        # A partial run is none that passed as a whole: what it did not look at was skipped.
        suite = ElementTree.SubElement(root, "testsuite", name="not looked at", tests=str(len(left_out)))
        suite.set("skipped", str(len(left_out)))
        for item in left_out:
            name = clean(f"{item['area']} [{item['host']}]")
            case = ElementTree.SubElement(suite, "testcase", classname=clean(report["playbook"]), name=name, time="0")
            ElementTree.SubElement(case, "skipped", message=clean(f"partial run: {narrowed(report)}"))
        totals["tests"] += len(left_out)
        totals["skipped"] += len(left_out)
    for key, count in totals.items():
        root.set(key, str(count))
    root.set("time", f"{report['duration_s']:g}")
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _text(check: dict[str, Any]) -> str:
    lines = [
        f"{check['status']}: {check['title']}",
        f"value: {quantity(check['value'], check['unit'])}",
        f"threshold: {thresholds(check)}",
        check["message"],
        f"what to do: {check['remedy']}",
        f"source: {check['source']}, {check['observed_at']}",
    ]
    return "\n".join(line for line in lines if line and not line.endswith(": "))


def openmetrics(report: dict[str, Any]) -> str:
    """The report of a whole run as OpenMetrics text, also readable by Prometheus' textfile collector."""
    run = {"environment": report["environment"], "playbook": report["playbook"]}
    began, ended = moment(report["started_at"]), moment(report["finished_at"])
    status = "0 ok, 1 warning, 2 unknown, 3 critical"
    lines: list[str] = []

    def family(name: str, help: str, samples: list[tuple[dict[str, str], float]], unit: str = "") -> None:
        lines.append(f"# TYPE tradingflow_{name} gauge")
        if unit:
            lines.append(f"# UNIT tradingflow_{name} {unit}")
        lines.append(f"# HELP tradingflow_{name} {help}")
        for labels, value in samples:
            written = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
            lines.append(f"tradingflow_{name}{{{written}}} {int(value) if value == int(value) else repr(float(value))}")

    labelled = [
        ({**run, "area": check["area"], "host": check["host"], "check": check["id"]}, check)
        for check in report["checks"]
    ]
    values = [(labels, number(check["value"], check)) for labels, check in labelled]
    family("check_status", f"Status of a check: {status}.", [(la, STATUSES.index(c["status"])) for la, c in labelled])
    family("check_value", "What a check measured, in its own unit.", [(la, v) for la, v in values if v is not None])
    counts = [({**run, "status": name}, report["counts"][name]) for name in STATUSES]
    family("run_checks", "Checks of the run by status.", counts)
    family("run_worst_status", f"Worst status of the run: {status}.", [(run, STATUSES.index(report["worst_status"]))])
    family("run_passed", "Whether the run passed: 1 or 0.", [(run, report["passed"])])
    family("run_expected_missing", "Areas of hosts that handed in nothing.", [(run, len(report["expected_missing"]))])
    failed = sum(action["status"] == "failed" for action in report["actions"])
    family("run_actions_failed", "Actions of the run that failed.", [(run, failed)])
    family("run_duration_seconds", "How long the run took.", [(run, report["duration_s"])], "seconds")
    for name, at in (("started", began), ("finished", ended)):
        if at:
            help = f"When the run {name}, Unix time."
            family(f"run_{name}_timestamp_seconds", help, [(run, at.timestamp())], "seconds")
    return "\n".join([*lines, "# EOF", ""])


def _label(text: str) -> str:
    text = clean(text, 300)
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
