# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area stakeholders, from the runner: sends what is approved."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from ..module_utils import ledger
from ..module_utils._stakeholders.mail import MAIL_SPEC
from ..module_utils._stakeholders.options import COMMON_SPEC
from ..module_utils._stakeholders.sending import send
from ..module_utils.checks import as_action, utc_now
from ..plugin_utils.actor import actor
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.project import within


class ActionModule(AreaAction):
    area = "stakeholders"
    title = "Performance report sent"
    spec: dict[str, Any] = {
        **COMMON_SPEC,
        "approved": {"type": "list", "elements": "str", "default": []},
        "mail": {"type": "dict", "required": True, "options": MAIL_SPEC},
        "witness": {"type": "path"},
    }

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        run, started_at = args.get("run") or {}, utc_now()
        evidence = args["evidence"]
        run_id = run.get("run_id") or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-stakeholders-{secrets.token_hex(3)}"
        who = run.get("actor") or actor(task_vars)

        def record(content: dict[str, Any], name: str, sha256: str) -> None:
            ledger.append(
                args["storage"],
                args["environment_name"],
                "review",
                actor=who,
                run_id=run_id,
                subjects=[{"name": name, "digest": {"sha256": sha256}}],
                content=content,
                signing_key=evidence["signing_key"] or evidence["signing_key_file"],
                trusted_keys=evidence["trusted_key_files"],
                lock_mode=evidence["lock_mode"],
                lock_days=evidence["lock_days"],
                witness=within(args["witness"], task_vars) if args["witness"] else None,
            )

        given = {name: value for name, value in args.items() if name != "run"}
        outcome = send(given, record, asking=bool(self._task.check_mode))
        actions = []
        if outcome.sent or outcome.steps:
            text = "; ".join(outcome.steps) or f"{outcome.sent} sent"
            status = "planned" if self._task.check_mode else "ok"
            actions.append(
                as_action("stakeholders.sent", "Mails sent", status, bool(outcome.sent), f"{text}.", started_at, {})
            )
        return Findings(outcome.checks, actions, changed=bool(outcome.sent), extra={"sent": outcome.sent})
