# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area compliance, from the runner: controls, what they support, and the report of it."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..module_utils._checks.guard import escaped
from ..module_utils._compliance import assessment, oscal, requirements
from ..module_utils._compliance.engine import measure, recovery_points
from ..module_utils._compliance.ledger_counts import Told, sound, told
from ..module_utils._compliance.options import SPEC
from ..module_utils.checks import OK, UNKNOWN, WARNING, Check, as_action, plain, unknown, utc_now
from ..module_utils.errors import MaintenanceError
from ..module_utils.run import read_spool, standing, write_private
from ..plugin_utils.area import AreaAction, Findings, as_data
from ..plugin_utils.project import within
from ..plugin_utils.report.build import versions
from ..plugin_utils.report.compliance import page
from ..plugin_utils.report.history import load_history, of_check
from ..plugin_utils.report.pdf import NoPdf, pdf

#: Runs whose checks support requirements, and after how many days they no longer do: a run was missed by then.
STALE = {"daily": 2, "weekly": 9, "drill": 9, "dependencies": 9, "monthly": 32, "patch": 92}
REQUIREMENTS = Path(__file__).resolve().parents[2] / "compliance/requirements.json"
CHAINS = {"trading_audit": "compliance.audit_trail_chain", "audit_log": "compliance.audit_log_chain"}


class ActionModule(AreaAction):
    area = "compliance"
    title = "Compliance assessed"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at, host = utc_now(), task_vars["inventory_hostname"]
        run, days = args.get("run") or {}, args["period_days"]
        path = within(args["requirements_file"], task_vars) if args["requirements_file"] else REQUIREMENTS
        catalogue = requirements.load(path)
        wanted = catalogue.within(args["jurisdictions"])
        since = datetime.now(UTC) - timedelta(days=days)
        history = self.earlier(args)
        reports = self._reports(run, since)
        missing: list[Check] = []
        points = _or_none(
            missing, "recovery_points", lambda: recovery_points(args["storage"], args["environment_name"])
        )
        ledger: Told | None = _or_none(
            missing,
            "ledger",
            lambda: told(args["storage"], args["evidence"], args["environment_name"], since, list(CHAINS)),
        )
        heads = ends(history, host, ledger)
        unread = bool(missing) and missing[-1].id == "compliance.ledger"
        unread = unread or (ledger is not None and (not ledger.whole or (ledger.reported and not ledger.accepted)))
        checks = measure(args, wanted, reports["daily"], heads, points, list(CHAINS) if unread else [])
        seen_heads = {**heads, **{view: head for view, id in CHAINS.items() if (head := _head(checks, id))}}
        before = of_check(history, host, assessment.ID, unmeasured=True)
        seen = ((before[-1].get("details") or {}).get("first_seen") or {}) if before else {}
        assessed = assessment.assess(
            catalogue,
            wanted,
            args["environment_name"],
            datetime.now(UTC),
            days,
            [{**as_data(check), "host": ""} for check in checks],
            assessment.newest([*_standing(reports, datetime.now(UTC)), *_of_this_run(run)]),
            ledger.records if ledger else None,
            seen,
            args["owners"],
        )
        checks += [*missing, assessment.summary(assessed)]
        actions: list[dict[str, Any]] = []
        written: list[dict[str, Any]] = []
        directory = run.get("directory") or (args["directory"] and str(within(args["directory"], task_vars)))
        if directory:
            run_id = run.get("run_id") or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-compliance-{secrets.token_hex(3)}"
            try:
                written, problem = write(Path(directory), assessed, run_id)
                checks.append(_report_check(written, problem))
            except Exception as error:  # what the controls found is still told
                checks.append(escaped("compliance.report", "Compliance report written", error))
            details = {"files": [each["name"] for each in written], "gaps": len(assessed["gaps"])}
            text = f"{len(written)} files in {directory}."
            actions.append(
                as_action("compliance.report", "Compliance report written", "ok", True, text, started_at, details)
            )
        subjects = [{"name": each["name"], "digest": {"sha256": each["sha256"]}} for each in written]
        counts = {
            "heads": seen_heads,
            "requirements": len(assessed["requirements"]),
            "gaps": len(assessed["gaps"]),
            "overdue": sum(gap["overdue"] for gap in assessed["gaps"]),
        }
        return Findings(
            checks, actions, changed=bool(written), extra={"files": written, "subjects": subjects, "summary": counts}
        )

    def _reports(self, run: dict[str, Any], since: datetime) -> dict[str, list[dict[str, Any]]]:
        """Reports of the period by playbook, oldest first."""
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in STALE}
        if not {"directory", "environment", "run_id"} <= run.keys():
            return found
        root, first = Path(run["directory"]).parent.parent, f"{since:%Y-%m-%d}"
        for name in STALE:
            loaded = load_history(root, name, environment=run["environment"], limit=200, before=run["run_id"])
            found[name] = [report for report in loaded if str(report["started_at"])[:10] >= first]
        return found


def ends(history: list[dict[str, Any]], host: str, ledger: Told | None) -> dict[str, dict[str, Any]]:
    """Where earlier reports saw the ends of the chains, by the ledger and the artifacts of this runner.

    A chain only grows: of two ends the later counts.
    """
    begun = f"{ledger.accepted:%Y-%m-%dT%H:%M:%SZ}" if ledger and ledger.accepted else ""
    found: dict[str, dict[str, Any]] = {}
    for view, id in CHAINS.items():
        known = [ledger.heads[view]] if ledger and view in ledger.heads else []
        for check in of_check(history, host, id, unmeasured=True):
            head: Any = (check.get("details") or {}).get("head")
            if head and sound(head) and str(check.get("observed_at") or "") >= begun:
                known.append(head)
        if known:
            found[view] = max(known, key=lambda head: head["entry_id"])
    return found


def _head(checks: list[Check], id: str) -> dict[str, Any] | None:
    head = next((check.details.get("head") for check in checks if check.id == id), None)
    return head if sound(head) else None


def _standing(reports: dict[str, list[dict[str, Any]]], now: datetime) -> list[dict[str, Any]]:
    return [
        assessment.aged(check, now, STALE[name])
        for name, history in reports.items()
        for checks in standing(history).values()
        for check in checks
    ]


def _of_this_run(run: dict[str, Any]) -> list[dict[str, Any]]:
    if not run.get("directory"):
        return []
    spool = read_spool(Path(run["directory"]))
    return [{**check, "host": record["host"]} for record in spool for check in record["checks"]]


def _or_none(missing: list[Check], name: str, ask: Callable[[], Any]) -> Any:
    """What the store says; None, and a finding, if it does not answer."""
    titles = {"recovery_points": "Recovery points listed", "ledger": "Ledger read"}
    try:
        return ask()
    except MaintenanceError as error:
        missing.append(unknown(f"compliance.{name}", titles[name], error.message, error.remedy))
    except Exception as error:
        missing.append(escaped(f"compliance.{name}", titles[name], error))
    return None


def write(directory: Path, assessed: dict[str, Any], run_id: str) -> tuple[list[dict[str, Any]], str]:
    """Writes the report in all its forms, mode 0600.

    :returns: name, path and sha256 of each file, and why there is no PDF
    """
    assessed = plain(assessed)
    html = page(assessed, run_id)
    texts = {
        "compliance.json": json.dumps(assessed, indent=1, ensure_ascii=False),
        "compliance.oscal.json": json.dumps(
            oscal.document(assessed, run_id, versions()["tool"]), indent=1, ensure_ascii=False
        ),
        "compliance.html": html,
    }
    for name, text in texts.items():
        write_private(directory / name, text)
    names, problem = list(texts), ""
    try:
        write_private(directory / "compliance.pdf", pdf(html))
        names.append("compliance.pdf")
    except NoPdf as error:
        problem = str(error)
    except Exception as error:  # of WeasyPrint or Pango
        problem = f"There is no PDF: {type(error).__name__}."
    return [
        {
            "name": name,
            "path": str(directory / name),
            "sha256": hashlib.sha256((directory / name).read_bytes()).hexdigest(),
        }
        for name in sorted(names)
    ], problem


def _report_check(written: list[dict[str, Any]], problem: str) -> Check:
    names = ", ".join(each["name"] for each in written)
    status = WARNING if problem else OK
    return Check(
        "compliance.report",
        "Compliance report written",
        status if written else UNKNOWN,
        len(written),
        message=problem or f"Written: {names}.",
        remedy="Read the HTML page instead, or print it." if problem else "",
        details={"files": [each["name"] for each in written]},
    )
