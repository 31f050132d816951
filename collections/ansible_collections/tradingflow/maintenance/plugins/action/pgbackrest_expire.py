# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Area retention: has pgBackRest delete backups on its host, and proves by the store's listing what has gone."""

from __future__ import annotations

from typing import Any

from ..module_utils._pgbackrest.expire import EXPIRE_SPEC, SPEC
from ..module_utils._retention.expired import failure, findings
from ..module_utils._wal.repository import look
from ..module_utils.checks import utc_now
from ..module_utils.errors import MaintenanceError
from ..module_utils.storage import client
from ..plugin_utils.area import Findings
from ..plugin_utils.on_host import HostAreaAction


class ActionModule(HostAreaAction):
    area = "retention"
    part = "pgbackrest"
    module = "pgbackrest_expire"
    title = "Backups of pgBackRest"
    spec = {name: option for name, option in EXPIRE_SPEC.items() if name != "run"}

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        if result.get("worst_status") not in ("ok", "warning", None) and not self._task.args.get("run"):
            result.update(failed=True, msg=result["checks"][0]["message"])
        return result

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        started_at, check_mode = utc_now(), bool(self._task.check_mode)
        storage = args["storage"]
        try:
            before = look(client(storage), storage, args["repository_path"], args["stanza"])
            theirs = {name: args[name] for name in SPEC if args.get(name) is not None}
            # The host needs no key of this store.
            where = {"repository_path": args["repository_path"], "storage": {"bucket": storage["bucket"]}}
            said = self.on_host({**theirs, **where}, task_vars)
            after = before if check_mode else look(client(storage), storage, args["repository_path"], args["stanza"])
        except MaintenanceError as error:
            return Findings(*failure(error, started_at))
        checks, actions = findings(before, after, said, args["backups"], check_mode, started_at)
        names = ("expired", "refused", "wal", "wal_refused", "wal_needed")
        extra: dict[str, Any] = {name: said[name] for name in names}
        if self._task.diff:
            left = before.labels - set(said["expired"]) if check_mode else after.labels
            texts = ["".join(f"{label}\n" for label in sorted(labels)) for labels in (before.labels, left)]
            headers = {f"{when}_header": "backups in the repository" for when in ("before", "after")}
            extra["diff"] = {"before": texts[0], "after": texts[1], **headers}
        return Findings(checks, actions, changed=bool(said["expired"] or said["wal"]), extra=extra)

    def broke_off(self, text: str) -> MaintenanceError:
        return MaintenanceError(
            f"pgBackRest's backups were not deleted: {' '.join(text.split())[:500]}",
            "Fix what the message names; the next run continues from there.",
        )
