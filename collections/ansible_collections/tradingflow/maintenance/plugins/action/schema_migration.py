# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area migration: has an alembic project's revisions carried out on the host, and hands the findings to the report."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from ..module_utils._ledger.unended import Unended, unended
from ..module_utils._migration import required, review
from ..module_utils._migration.findings import broken, failure, findings, intent, late, planned
from ..module_utils._migration.options import SPEC
from ..module_utils._work.job import MIGRATION
from ..module_utils.checks import Check, as_dicts, utc_now, worst
from ..module_utils.errors import MaintenanceError
from ..module_utils.run import write_spool
from ..plugin_utils.area import Findings
from ..plugin_utils.job import JobAction, WorkError

#: What is the controller's: the ledgers, and the keys to read them by.
_OURS = ("evidence", "requires", "overrides")


class ActionModule(JobAction):
    area = "migration"
    module = "schema_migration"
    kind = MIGRATION
    spec = SPEC

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._review: list[Check] = []
        result = super().run(tmp, task_vars)
        if self._review:
            found = as_dicts(self._review)
            run = self._task.args.get("run") or {}
            if run:
                # Apart: what the plan says is replaced by what was done, and the review is not.
                write_spool(
                    Path(run["directory"]), self.area, (task_vars or {})["inventory_hostname"], found, [], "review"
                )
            result["checks"] += found
            result["worst_status"] = worst(check["status"] for check in result["checks"])
        return result

    def reviewed(self, plan: dict[str, Any], args: dict[str, Any]) -> list[Check]:
        """The review sheet as checks; what forbids the migration becomes a refusal of the plan."""
        if not plan["pending"]:
            return []
        if args["accepted"] and not args["reason"]:
            plan["refusals"].append(
                {
                    "name": "reason",
                    "message": "Rules of the review are accepted without a reason.",
                    "remedy": "Say why: migration_reason.",
                }
            )
        try:
            found = review.sheet(plan["pending"], plan["facts"], args["review"])
        except MaintenanceError as error:
            plan["refusals"].append({"name": "review", "message": error.message, "remedy": error.remedy})
            return []
        rules = review.refused(found, args["accepted"])
        if rules:
            plan["refusals"].append(
                {
                    "name": "review",
                    "message": f"The review forbids what is dangerous here: {', '.join(rules)}.",
                    "remedy": "Write it as the findings say, or accept these rules with a reason"
                    " (migration_accepted, migration_reason).",
                }
            )
        plan["review"] = found
        return review.checks(found, args["accepted"])

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at = utc_now()
        run_id = str((args.get("run") or {}).get("run_id", ""))
        options = {name: value for name, value in args.items() if name not in ("run", *_OURS)}
        try:
            if self._task.check_mode:
                plan = self.planned(options, task_vars)["plan"]
                self._review = [*self.reviewed(plan, args), *required.judged(plan, args)]
                earlier = unended(args, "migration", {"database": plan["database"]}, run_id)
                checks, actions = planned(plan, earlier.began, started_at)
                status = worst(check.status for check in checks)
                checks += earlier.checks(self.area, args["environment_name"])
                return Findings(
                    checks,
                    actions,
                    extra={
                        "plan": plan,
                        "intent": {
                            **intent(plan),
                            **{name: args[name] for name in ("accepted", "reason")},
                            "overridden": plan["overridden"],
                        },
                        "late": late(plan, earlier.sure, status),
                    },
                )
            required.must_be_planned(args)
            result = self.worked(options, task_vars)
        except MaintenanceError as error:
            kind = getattr(error, "kind", type(error).__name__)
            checks, actions = failure(error.message, error.remedy, kind, started_at)
            ended: dict[str, Any] = {"migrated": False}
            if isinstance(error, WorkError) and not self._task.check_mode:
                # The ledger has it that it began. What was lost sight of stays so: nobody knows how it ended.
                ended["migration"] = broken(error.message, kind, worst(check.status for check in checks))
            return Findings(checks, actions, extra=ended)
        earlier = Unended(None, None)
        # The plan has read the same; a store that is gone since must not hide what was done.
        with suppress(MaintenanceError):
            earlier = unended(args, "migration", {"database": result["database"]}, run_id)
        checks, actions, summary = findings(result, earlier.began, started_at)
        checks += [*earlier.checks(self.area, args["environment_name"]), *required.within(result, args)]
        extra = {"migration": summary, "migrated": not result["problem"] and not result["refusals"]}
        return Findings(checks, actions, changed=result["changed"], extra=extra)
