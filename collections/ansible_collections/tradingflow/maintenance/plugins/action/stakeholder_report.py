# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area stakeholders, from the runner: drafts of a month's performance report, one for each class of recipients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..module_utils._stakeholders.document import AREAS
from ..module_utils._stakeholders.engine import Drafted, addresses_digest, content, document_of, draft, keep, recorded
from ..module_utils._stakeholders.options import SPEC, month_of
from ..module_utils._stakeholders.past import bounds
from ..module_utils.checks import OK, UNKNOWN, Check, as_action, unknown, utc_now
from ..module_utils.run import read_spool, standing, write_private
from ..plugin_utils.area import AreaAction, Findings
from ..plugin_utils.project import within
from ..plugin_utils.report.history import load_history
from ..plugin_utils.report.pdf import NoPdf, pdf
from ..plugin_utils.report.performance import page

#: Playbooks whose newest findings a report tells.
PLAYBOOKS = ("weekly", "monthly")


class ActionModule(AreaAction):
    area = "stakeholders"
    title = "Performance report drafted"
    spec = SPEC

    def collect(self, args: dict[str, Any], task_vars: dict[str, Any]) -> Findings:
        run, started_at = args.get("run") or {}, utc_now()
        found = draft(
            {name: value for name, value in args.items() if name != "run"},
            findings(run, str(month_of(args["month"])[0])),
        )
        if not found.data:
            return Findings(found.checks)
        try:
            pages, bodies = documents(found)
        except NoPdf as error:
            found.checks.append(
                unknown("stakeholders.draft", "Drafts", str(error), "Without a PDF there is nothing to approve.")
            )
            return Findings(found.checks)
        directory = run.get("directory") or (args["directory"] and str(within(args["directory"], task_vars)))
        wanted = [document_of(found.options, each, bodies[each["name"]]) for each in found.options["recipients"]]
        number = recorded(found.known, wanted)
        new = number is None and not self._task.check_mode
        # Also what is on record: the store may have lost it since.
        if not self._task.check_mode:
            keep(found.options, wanted, bodies)
        files = []
        for document in wanted if directory else []:
            for ending, body in (("html", pages[document.name].encode()), ("pdf", bodies[document.name])):
                path = Path(str(directory)) / f"performance-{document.name}.{ending}"
                write_private(path, body)
                files.append(str(path))
        month = f"{found.options['first']:%Y-%m}"
        for document in wanted:
            word = "is" if number is not None else "would be" if self._task.check_mode else "was"
            text = f"{month} {word} drafted: {document.sha256}"
            check = Check(f"stakeholders.draft:{document.name}", f"Draft for {document.name}", OK, document.sha256)
            check.message = f"{text}. Read it before it is approved."
            found.checks.append(check)
        text = f"{len(wanted)} documents of {month}" + (f" in {directory}." if directory else ".")
        status = "planned" if self._task.check_mode else "ok"
        actions = [
            as_action(
                "stakeholders.draft", "Performance report drafted", status, new, text, started_at, {"files": files}
            )
        ]
        extra: dict[str, Any] = {"documents": [vars(document) for document in wanted], "files": files}
        if new:
            extra["subjects"] = [{"name": document.key, "digest": {"sha256": document.sha256}} for document in wanted]
            extra["record"] = content(found.options, found.data, wanted)
        return Findings(found.checks, actions, changed=new, extra=extra)


def documents(found: Drafted) -> tuple[dict[str, str], dict[str, bytes]]:
    """Pages and PDFs by class of recipients.

    :raises NoPdf: a PDF cannot be made here
    """
    _begin, end = bounds(found.options["first"], found.options["last"])
    pages = {
        each["name"]: page(found.data, {**each, "digest": addresses_digest(each["addresses"])})
        for each in found.options["recipients"]
    }
    return pages, {name: pdf(html, int(end.timestamp())) for name, html in pages.items()}


def findings(run: dict[str, Any], since: str) -> list[dict[str, Any]]:
    """Newest findings of the areas that a report tells: of this run, else of the last ones since a day."""
    known: dict[tuple[str, str], list[dict[str, Any]]] = {}
    if not {"directory", "environment", "run_id"} <= run.keys():
        return []
    root = Path(run["directory"]).parent.parent
    for name in PLAYBOOKS:
        history = load_history(root, name, environment=run["environment"], before=run["run_id"])
        known.update(standing([report for report in history if str(report["started_at"]) >= since]))
    own: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in read_spool(Path(run["directory"])):
        place = own.setdefault((record["area"], record["host"]), [])
        place += [{**check, "area": record["area"]} for check in record["checks"]]
    known.update(own)
    told = [check for (area, _host), checks in sorted(known.items()) if area in AREAS for check in checks]
    none = {"status": UNKNOWN, "message": "No run since the month began tells of it."}
    lacking = sorted(AREAS.keys() - {area for area, _host in known})
    return told + [{"id": f"{area}.measured", "area": area, "title": area.capitalize(), **none} for area in lacking]
