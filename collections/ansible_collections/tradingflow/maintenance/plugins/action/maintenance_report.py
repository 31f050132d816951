# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finish a maintenance run, on the controller."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils import ledger
from ..module_utils.checks import Check, as_dicts, judge, utc_now
from ..module_utils.errors import EvidenceError, MaintenanceError
from ..module_utils.lock import release
from ..module_utils.run import write_private, write_spool
from ..module_utils.storage import STORAGE_SPEC
from ..plugin_utils import report as reports
from ..plugin_utils.options import validated

display = Display()


class ActionModule(ActionBase):
    spec: dict[str, Any] = {
        "run": {"type": "dict", "required": True},
        "fail_on": {"type": "str", "default": "critical", "choices": ["warning", "critical", "never"]},
        "evidence": {"type": "dict", "options": ledger.SIGNING_SPEC},
        "history": {"type": "int", "default": 30},
        "interval": {"type": "int", "default": 0},
        "storage": {"type": "dict", "options": STORAGE_SPEC},
        "metrics": {"type": "dict", "options": reports.METRICS_SPEC},
    }

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = validated(self, self.spec)
        run = args["run"]
        try:
            result.update(changed=False, **self.finish(run, args))
        finally:
            if run.get("lock"):
                for note in release(run["lock"], storage=args["storage"]):
                    display.warning(note)
        return result

    def finish(self, run: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
        """Report, evidence and table. The run must have left evidence, or say why not in its report."""
        directory = Path(run["directory"])
        root = directory.parent.parent
        history = reports.load_history(
            root, run["playbook"], environment=run["environment"], limit=args["history"], before=run["run_id"]
        )
        # Partial runs come besides; they are not what is due.
        whole = reports.last_whole(history)
        if args["interval"] and whole:
            finding = punctual(whole, run, args["interval"])
            write_spool(directory, "schedule", "controller", as_dicts([finding]), [])

        def written() -> tuple[dict[str, Any], Path]:
            report = reports.build(directory, run, finished_at=utc_now(), fail_on=args["fail_on"], history=history)
            return report, reports.write(report, directory, history)["json"]

        report, path = written()
        unseen = self.published(report, path, args)
        if unseen:
            write_spool(directory, "metrics", "controller", as_dicts([unseen]), [])
            report, path = written()
        record: dict[str, Any] | None = None
        if not run["check_mode"]:
            try:
                record = self.record(report, path, args, root)
            except MaintenanceError as error:
                finding = Check("evidence.recorded", "Run recorded in the ledger", "critical", False)
                finding.message, finding.remedy = error.message, error.remedy
                write_spool(directory, "evidence", "controller", as_dicts([finding]), [])
                report, path = written()
                self.published(report, path, args)
        if reports.is_whole(report):
            reports.point_latest(directory)
        for line in reports.table(report):
            display.display(line)
        if glass := reports.glass.line(report):
            display.display(glass, color=C.COLOR_ERROR)
        html = path.with_suffix(".html")
        display.display(f"Report: {html}")
        if record:
            for note in record["notes"]:
                display.display(f"Note: {note}")
            display.display(f"Evidence: record {record['number']} of {run['environment']}'s ledger, {record['key']}")
        scope = f"Only {reports.narrowed(report)} of " if reports.is_partial(report) else ""
        findings = ", ".join(f"{report['counts'][status]} {status}" for status in ("critical", "unknown", "warning"))
        return {
            "passed": report["passed"],
            "report": str(path),
            "summary": reports.summary(report, directory),
            "verdict": f"{scope}{run['playbook']} of {run['environment']} did not pass: {findings}. Report: {html}",
        }

    def published(self, report: dict[str, Any], path: Path, args: dict[str, Any]) -> Check | None:
        """Hands the series of a whole run to monitoring. The finding that it cannot, None when it can or need not."""
        if not args["metrics"] or not reports.is_whole(report):
            return None
        try:
            reports.publish(report, path.with_suffix(".prom"), args["metrics"])
        except (OSError, LookupError) as error:
            finding = Check("metrics.written", "Series handed to monitoring", "critical", False)
            finding.message = f"What monitoring sees is that of an earlier run: {error}."
            finding.remedy = "Let this user write that folder and give files to that group (docs/report.md)."
            return finding
        return None

    def record(self, report: dict[str, Any], path: Path, args: dict[str, Any], root: Path) -> dict[str, Any]:
        """Puts the report into the store, appends the run to the ledger, and leaves its place in evidence.json."""
        evidence, storage = args["evidence"], args["storage"]
        if not evidence or not storage:
            raise EvidenceError(
                "This run leaves no evidence: no ledger is set up.",
                "Set tradingflow_evidence and tradingflow_storage in the inventory (docs/evidence.md).",
            )
        subject = reports.keep(report, path, storage)
        record: dict[str, Any] = ledger.append(
            storage,
            report["environment"],
            "run",
            actor=report["actor"],
            run_id=report["run_id"],
            subjects=[subject],
            content={
                **{key: report[key] for key in ("playbook", "started_at", "finished_at", "worst_status", "counts")},
                "scope": {key: value for key, value in report["scope"].items() if key != "left_out"},
                "not_looked_at": reports.left_out(report),
                "open_elsewhere": report["elsewhere"]["counts"],
                **({"answered": answered} if (answered := reports.answered(report)) is not None else {}),
                **({"checkpoints": counted} if (counted := reports.checkpoints(report)) else {}),
                **({"clocks": told} if (told := reports.clocks(report)) else {}),
                **({"break_glass": broken} if (broken := reports.glass.broken(report)) else {}),
            },
            signing_key=evidence["signing_key"] or evidence["signing_key_file"],
            trusted_keys=evidence["trusted_key_files"],
            lock_mode=evidence["lock_mode"],
            lock_days=evidence["lock_days"],
            witness=root / f"ledger-{report['environment']}.jsonl",
        )
        write_private(path.with_name("evidence.json"), json.dumps(record, indent=1))
        return record


def punctual(previous: dict[str, Any], run: dict[str, Any], interval: int) -> Check:
    """Whether a run was missed since the previous one, which began interval seconds ago at the most."""
    begun = [datetime.fromisoformat(one["started_at"]) for one in (previous, run)]
    hours = round((begun[1] - begun[0]).total_seconds() / 3600, 1)
    return judge(
        "schedule.previous_run",
        "Time since the previous run",
        hours,
        warning=round(interval / 3600, 1),
        critical=None,
        unit="h",
        message=f"The previous {run['playbook']} began {hours} h before; one is due every {interval / 3600:.0f} h. "
        "Partial runs do not count.",
        remedy="Find out why the scheduler did not start it; what it would have found stays unknown for that time.",
        source=f"report of {previous['run_id']}",
    )
