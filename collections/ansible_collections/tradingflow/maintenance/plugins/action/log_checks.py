# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area logs: the module of the same name reads on the host; judged is here, where the earlier reports are."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..module_utils._checks.guard import each
from ..module_utils._checks.logs import LOGS_SPEC, TITLES, check_options, judged, last_read, no_sources, since_of
from ..module_utils.checks import Check
from ..module_utils.words import printable
from ..plugin_utils.area import Findings
from ..plugin_utils.on_host import HostAreaAction
from ..plugin_utils.report.history import of_check


class ActionModule(HostAreaAction):
    area = "logs"
    module = "log_checks"
    title = "Logs of the host measured"
    spec = LOGS_SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        check_options(args)
        if not args["sources"]:
            return Findings([no_sources(args["expected"])])
        history, host = self.earlier(args), task_vars["inventory_hostname"]
        earlier = {
            source["name"]: {
                kind: of_check(history, host, f"logs.{kind}:{printable(source['name'])}", unmeasured=True)
                for kind in ("errors", "new_errors")
            }
            for source in args["sources"]
        }
        sources = [
            {
                **source,
                "since": since_of(source, args, earlier[source["name"]]["errors"]),
                "last_read": last_read(source, args, earlier[source["name"]]["errors"]),
            }
            for source in args["sources"]
        ]
        result = self.on_host({**args, "sources": sources}, task_vars)
        try:
            pairs = list(zip(result["readings"], sources, strict=True))
        except (KeyError, TypeError, ValueError) as error:
            raise self.not_understood(error) from error
        checks: list[Check] = []
        for reading, source in pairs:
            name = printable(source["name"])
            planned = [(f"logs.{kind}:{name}", title.format(name)) for kind, title in TITLES.items()]
            checks += each(partial(judged, reading, source, args, earlier[source["name"]]), *planned)
        return Findings(checks)
