# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report for people: one HTML file, without scripts or outside resources."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ...module_utils.checks import STATUSES
from . import words
from .history import series
from .sparkline import sparkline
from .text import CHANGES, change_text, changed, passing, verdict

#: What the page shows at most; the rest is counted and is in report.json.
MOST_CARDS, MOST_BAD_ROWS, MOST_OK_ROWS, MOST_SPARKLINES, MOST_CHANGES, MOST_ACTIONS = 150, 1000, 1500, 500, 60, 60

RUNS = 30


@cache
def _environment() -> Environment:
    folder = Path(__file__).resolve().parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["quantity"] = lambda check: words.quantity(check["value"], check["unit"])
    environment.filters["thresholds"] = words.thresholds
    environment.filters["duration"] = words.duration
    environment.filters["counted"] = words.counted
    environment.filters["facts"] = words.facts
    environment.filters["phases"] = words.phases
    environment.filters["changed"] = change_text
    environment.filters["plural"] = words.plural
    environment.filters["evidence"] = _evidence
    environment.globals["style"] = Markup((folder / "report.css").read_text(encoding="utf-8"))  # noqa: S704 -- ours
    return environment


def html(report: dict[str, Any], history: list[dict[str, Any]]) -> str:
    """The report as one HTML page.

    :param history: earlier reports, oldest first; the last 30 runs, this one among them, become sparklines
    """
    history = history[-(RUNS - 1) :]
    lines = _Lines(report, history)
    ended = words.moment(report["finished_at"])
    bad = [check for check in report["checks"] if check["status"] != "ok"]
    everything = changed(report)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            verdict=verdict(report),
            passing=passing(report),
            when=lambda text: words.when(text, ended),
            ended=words.when(report["finished_at"]),
            news={(change["host"], change["id"]): kind for kind, change in everything if change["after"]},
            cards=bad[:MOST_CARDS],
            rows=bad[MOST_CARDS : MOST_CARDS + MOST_BAD_ROWS],
            more_bad=max(0, len(bad) - MOST_CARDS - MOST_BAD_ROWS),
            changes=everything[:MOST_CHANGES],
            more_changes=max(0, len(everything) - MOST_CHANGES),
            change_words=CHANGES,
            actions=sorted(report["actions"], key=lambda action: action["status"] != "failed")[:MOST_ACTIONS],
            more_actions=max(0, len(report["actions"]) - MOST_ACTIONS),
            areas=_areas(report),
            line=lines,
            strip=_strip([*history, report]),
        )
    )


class _Lines:
    """Sparklines by check, the first so many of them: each costs about a kilobyte."""

    def __init__(self, report: dict[str, Any], history: list[dict[str, Any]]) -> None:
        self.series = series(history, report)
        self.left = MOST_SPARKLINES

    def __call__(self, check: dict[str, Any]) -> Markup:
        if self.left <= 0:
            return Markup("")
        drawn = sparkline(self.series[(check["host"], check["id"])])
        self.left -= bool(drawn)
        return drawn


def _areas(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Areas, worst first: name, worst status, counts, hosts, ok checks (bounded over all areas), and how many more."""
    result: dict[str, dict[str, Any]] = {}
    left = MOST_OK_ROWS
    for check in report["checks"]:
        area = result.setdefault(
            check["area"],
            {"name": check["area"], "counts": dict.fromkeys(STATUSES, 0), "hosts": set(), "ok": [], "more": 0},
        )
        area["counts"][check["status"]] += 1
        area["hosts"].add(check["host"])
        if check["status"] == "ok":
            if left > 0:
                area["ok"].append(check)
            else:
                area["more"] += 1
            left -= 1
    for area in result.values():
        area["worst"] = next(status for status in reversed(STATUSES) if area["counts"][status])
    return list(result.values())


def _strip(runs: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Worst status and time of each run, oldest first."""
    return [
        {
            "status": run["worst_status"] if run["worst_status"] in STATUSES else "unknown",
            "text": f"{words.when(run['started_at'])}: {run['worst_status']}",
        }
        for run in runs
    ]


def _evidence(details: dict[str, Any]) -> str:
    """Details as text, cut to what a page bears."""
    return words.clean(json.dumps(details, indent=1, ensure_ascii=False), 3000)
