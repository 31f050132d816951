# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: operator
type: stdout
short_description: Shows a maintenance run as an operator wants it
version_added: "0.1.0"
description:
  - Area by area with its findings, progress of long work, and nothing about tasks that went well.
  - Failures and unreachable hosts are shown in full, as the default callback does.
  - With C(-v) and above it is the default callback.
  - Goes on in silence when nobody reads its output any more, as after C(| head) or the end of a pager.
  - Needs no terminal. AWX and ansible-runner see the same lines.
author: TradingFlow Maintenance contributors (@tradingflow)
extends_documentation_fragment:
  - ansible.builtin.default_callback
  - ansible.builtin.result_format_callback
"""

import os
import sys
import textwrap
from typing import Any

from ansible import constants as C
from ansible.plugins.callback.default import CallbackModule as Default

from ..plugin_utils.options import plain_types
from ..plugin_utils.report.scope import narrowed

COLORS = {"ok": C.COLOR_OK, "warning": C.COLOR_WARN, "unknown": C.COLOR_UNREACHABLE, "critical": C.COLOR_ERROR}
# Role argument validation runs whatever the tags.
SILENT = ("ansible.builtin.validate_argument_spec", "validate_argument_spec", "meta")
#: Characters of a message on one line of the screen.
_LONGEST = 240
VERDICTS = ("ansible.builtin.fail", "fail")


class Lasting:
    """A stream that swallows what is written once nobody reads it any more.

    Ansible's thread of results ends at the first error of such a write, and the run then waits for it for ever, with
    its lock.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except BrokenPipeError:
            self._mute()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._mute()

    def _mute(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)


class CallbackModule(Default):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "tradingflow.maintenance.operator"

    _header = ""
    _broken = False
    _begun = False
    _reporting = False

    @property
    def _quiet(self) -> bool:
        return bool(self._display.verbosity == 0)

    def v2_playbook_on_start(self, playbook: Any) -> None:
        sys.stdout, sys.stderr = Lasting(sys.stdout), Lasting(sys.stderr)
        super().v2_playbook_on_start(playbook)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if not self._quiet:
            super().v2_playbook_on_play_start(play)
            return
        self._play = play
        suffix = " [check mode: nothing is changed]" if play.check_mode else ""
        # Shown with the first task that does something: with tags, many plays do nothing.
        self._header = f"== {play.get_name().strip()}{suffix}"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        if self._quiet:
            # What Default needs to name the task when it fails.
            self._last_task_name = task.get_name().strip()
            self._last_task_banner = None
            self._begun = True
            if self._header and task.action not in SILENT:
                self._display.display(self._header, color=C.COLOR_HIGHLIGHT)
                self._header = ""
        else:
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_no_hosts_matched(self) -> None:
        # A group that this environment does not have; nothing at all is said.
        if not self._quiet or not self._begun:
            super().v2_playbook_on_no_hosts_matched()

    def v2_runner_on_ok(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_on_ok(result)
        # Of a loop, the items have said it.
        elif "results" not in field(result, "result"):
            self._show(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_item_on_ok(result)
        else:
            self._show(result)

    def _show(self, result: Any) -> None:
        data = field(result, "result")
        host = field(result, "host").get_name()
        if "checks" in data and "area" in data:
            # Within a run, an area asked only in passing (the version for a backup) is not one of its findings.
            self._reporting = self._reporting or bool(data.get("reported"))
            if data.get("reported") or not self._reporting:
                self._show_area(host, data)
        elif isinstance(run := data.get("run"), dict) and (run.get("scope") or {}).get("partial"):
            self._display.display(
                f"   PARTIAL RUN: {narrowed(run)}. It does not stand for the {run['playbook']}.", color=C.COLOR_WARN
            )
        elif data.get("changed"):
            item = self._get_item_label(data)
            suffix = f" ({item})" if isinstance(item, str) else ""
            self._display.display(f"   changed  {host}  {field(result, 'task').name}{suffix}", color=C.COLOR_CHANGED)
            for step in data.get("steps", []):
                self._display.display(f"     - {step}")
        # What a task warns of is said to people; each once.
        self._handle_warnings(data)

    def _show_area(self, host: str, data: dict[str, Any]) -> None:
        checks = data["checks"]
        actions = data.get("actions", [])
        planned = not checks and actions and all(action["status"] == "planned" for action in actions)
        status = "planned" if planned else data.get("worst_status", "unknown")
        counts = [f"{sum(check['status'] == s for check in checks)} {s}" for s in COLORS]
        counts = [count for count in counts if not count.startswith("0 ")]
        nothing = "" if planned else "nothing measured"
        self._display.display(
            f"   {status:<8} {data['area']:<18} {host:<20} {', '.join(counts) or nothing}".rstrip(),
            color=COLORS.get(status),
        )
        # Some only carry charts for the page.
        for action in (each for each in actions if each["message"]):
            self._display.display(f"            {action['title']}: {action['message']}")
        # The report has them all; the screen shows the worst of them, and each reason once.
        told = reasons([check for check in checks if check["status"] != "ok"])
        for status, text, _count in told[:10]:
            self._display.display(f"            {status}: {shortened(text)}", color=COLORS[status])
        if more := sum(count for _status, _text, count in told[10:]):
            self._display.display(f"            and {more} more")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        # The run's verdict is a task that fails on purpose, after the report: its message is all there is to say.
        if self._quiet and field(result, "task").action in VERDICTS:
            self._display.display(f"FAILED: {field(result, 'result').get('msg')}", color=C.COLOR_ERROR)
            return
        self._broken = True
        data = field(result, "result")
        for key in ("msg", "argument_errors"):
            if isinstance(data.get(key), str):
                data[key] = plain_types(data[key])
            elif isinstance(data.get(key), list):
                data[key] = [plain_types(str(error)) for error in data[key]]
        super().v2_runner_on_failed(result, ignore_errors)

    def v2_runner_on_skipped(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_on_skipped(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_item_on_skipped(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if not self._quiet:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not self._quiet or self._broken or any(stats.dark.values()):
            super().v2_playbook_on_stats(stats)


def shortened(text: str) -> str:
    """A message for one line of the screen: whole words. The findings at the end have all of it."""
    return textwrap.shorten(text, _LONGEST, placeholder=" …") if len(text) > _LONGEST else text


def reasons(bad: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """Status, text and number of checks, worst first; what several checks say word for word stands there once."""
    found: dict[tuple[str, str], list[str]] = {}
    for check in bad:
        title = f"{check['title']}: "
        reason = check["message"].removeprefix(title)
        found.setdefault((check["status"], reason), []).append(title + reason)
    worst = sorted(found.items(), key=lambda entry: list(COLORS).index(entry[0][0]), reverse=True)
    return [
        (status, texts[0] if len(texts) == 1 else f"{len(texts)} checks: {reason}", len(texts))
        for (status, reason), texts in worst
    ]


def field(result: Any, name: str) -> Any:
    """A field of a task result: public since ansible-core 2.19, with an underscore before."""
    return getattr(result, name) if hasattr(result, name) else getattr(result, f"_{name}")
