# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What came of a plan, for the report and the ledger."""

from __future__ import annotations

from typing import Any, Dict, List

from ..checks import CRITICAL, OK, WARNING, Check, as_action
from ..words import plural, size

APPLIED = ("tuning.applied", "Plan carried out")
UNDONE = ("tuning.undone", "Dropped indexes brought back")
LEFT = ("tuning.leftovers", "Leftovers of a rebuild that was killed")

#: Skipped is what is as it was wanted; refused is what was approved and must not, or cannot, be done any more.
DONE, SKIPPED, REFUSED, FAILED, STOPPED = "done", "skipped", "refused", "failed", "stopped"


class Outcome:
    """What came of it.

    :param results: {"kind", "object", "state", "reason", "before", "after"} of each operation
    """

    def __init__(self) -> None:
        self.checks: List[Check] = []
        self.actions: List[Dict[str, Any]] = []
        self.results: List[Dict[str, Any]] = []
        self.leftovers: List[str] = []

    @property
    def changed(self) -> bool:
        """Whether anything was changed."""
        return any(one["state"] == DONE for one in self.results) or bool(self.leftovers)

    def record(self) -> Dict[str, Any]:
        """For the ledger."""
        return {"results": self.results, "leftovers_removed": self.leftovers, "changed": self.changed}


def action_of(result: Dict[str, Any], started: str) -> Dict[str, Any]:
    status = {DONE: "ok", FAILED: "failed"}.get(result["state"], "skipped")
    text, details = result["reason"], dict(result)
    if result["state"] == DONE and "after" in result:
        text = f"{size(result['before'])} before, {size(result['after'])} after"
        pair = [result["object"], result["before"] / 1e6, result["after"] / 1e6]
        details["charts"] = [{"kind": "changes", "title": "Size before and after", "unit": "MB", "bars": [pair]}]
    title = f"{result['kind']} {result['object']}"
    return as_action(
        f"tuning.{result['kind']}:{result['object']}", title, status, status == "ok", text, started, details
    )


def judged(outcome: Outcome, apply: bool) -> Check:
    states = [one["state"] for one in outcome.results]
    failed = [one for one in outcome.results if one["state"] == FAILED]
    stopped = [one for one in outcome.results if one["state"] == STOPPED]
    refused = [one for one in outcome.results if one["state"] == REFUSED]
    text = f"{plural(states.count(DONE), 'operation')} done, {states.count(SKIPPED)} skipped, {len(refused)} refused, "
    text += f"{len(failed)} failed, {len(stopped)} left."
    if failed:
        text += f" {failed[0]['object']}: {failed[0]['reason']}."
    elif stopped:
        text += f" Stopped before {stopped[0]['object']}: {stopped[0]['reason']}."
    if refused:
        text += f" Refused: {refused[0]['object']}: {refused[0]['reason']}."
    status = CRITICAL if failed else WARNING if stopped or refused else OK
    remedy = "Run again with the same digest: what is done is skipped." if status != OK else ""
    if refused:
        remedy += " What is refused for good needs a new plan."
    return Check(
        *(APPLIED if apply else UNDONE),
        status,
        states.count(DONE),
        message=text,
        remedy=remedy,
        source="the journal",
        details={"results": outcome.results[:200], "leftovers_removed": outcome.leftovers},
    )
