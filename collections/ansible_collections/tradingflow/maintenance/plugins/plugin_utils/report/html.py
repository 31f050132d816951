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
from . import glass, words
from .actions import facts, objectives, phases, steps
from .charts import charts
from .groups import Group, grouped
from .history import series
from .scope import is_partial, is_whole, left_out, narrowed, open_words, overall
from .sparkline import bars, sparkline
from .text import CHANGES, RULES, change_text, changed, verdict
from .timeline import timeline

#: What the page shows at most; the rest is counted and is in report.json.
MOST_CARDS, MOST_BAD_ROWS, MOST_OK_ROWS, MOST_SPARKLINES, MOST_CHANGES, MOST_ACTIONS, MOST_AREAS = (
    150,
    1000,
    1500,
    500,
    60,
    60,
    100,
)

RUNS = 30

#: Lines of what cards stand for, in all, and those of each that are seen before any click.
MOST_MEMBERS, FIRST_MEMBERS = 3000, 6


@cache
def environment() -> Environment:
    folder = Path(__file__).resolve().parent / "templates"
    made = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["quantity"] = lambda check: words.quantity(check["value"], check["unit"])
    made.filters["whole"] = lambda text: "q" if len(text) <= 24 else ""
    made.filters["thresholds"] = words.thresholds
    made.filters["first_threshold"] = lambda check: words.thresholds(check).rpartition(", ")[2]
    made.filters["duration"] = words.duration
    made.filters["counted"] = words.counted
    made.filters["facts"] = facts
    made.filters["phases"] = phases
    made.filters["objectives"] = objectives
    made.filters["steps"] = steps
    made.filters["timeline"] = timeline
    made.filters["charts"] = charts
    made.filters["changed"] = change_text
    made.filters["plural"] = words.plural
    made.filters["examples"] = words.examples
    made.filters["evidence"] = _evidence
    made.globals["style"] = Markup((folder / "report.css").read_text(encoding="utf-8"))  # noqa: S704 -- ours
    return made


def html(report: dict[str, Any], history: list[dict[str, Any]]) -> str:
    """The report as one HTML page.

    :param history: earlier reports, oldest first; the last 30 runs, this one among them, become sparklines
    """
    history = history[-(RUNS - 1) :]
    lines = _Lines(report, history)
    ended = words.moment(report["finished_at"])
    # What is missing has a place of its own on the page.
    missing = {(item["area"], item["host"]) for item in report["expected_missing"]}
    bad = [
        check
        for check in report["checks"]
        if check["status"] != "ok"
        and not (check["id"].endswith(".missing") and (check["area"], check["host"]) in missing)
    ]
    groups = grouped(bad)
    everything = changed(report)
    areas = _areas(report, [*history, report])
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            verdict=verdict(report),
            first_members=FIRST_MEMBERS,
            status=overall(report),
            glass=glass.line(report),
            partial=is_partial(report),
            narrowed=narrowed(report),
            left_out=left_out(report, 20),
            open_words=open_words(report),
            rule=RULES[report["fail_on"]],
            when=lambda text: words.when(text, ended),
            ended=words.when(report["finished_at"]),
            news={(change["host"], change["id"]): kind for kind, change in everything if change["after"]},
            findings=len(bad),
            cards=groups[:MOST_CARDS],
            rows=groups[MOST_CARDS : MOST_CARDS + MOST_BAD_ROWS],
            more_bad=sum(len(group.checks) for group in groups[MOST_CARDS + MOST_BAD_ROWS :]),
            members=_Members(),
            elsewhere=grouped(report["elsewhere"]["checks"]) if is_partial(report) else [],
            changes=everything[:MOST_CHANGES],
            more_changes=max(0, len(everything) - MOST_CHANGES),
            change_words=CHANGES,
            actions=sorted(report["actions"], key=lambda action: action["status"] != "failed")[:MOST_ACTIONS],
            more_actions=max(0, len(report["actions"]) - MOST_ACTIONS),
            areas=areas[:MOST_AREAS],
            more_areas=max(0, len(areas) - MOST_AREAS),
            nearest=_nearest(report["checks"]),
            hosts=len({check["host"] for check in report["checks"]}),
            line=lines,
            # A partial run is not one of the row.
            strip=_strip([*filter(is_whole, history), report]),
        )
    )


class _Members:
    """What belongs to a card besides its lead, a line each, so many in all."""

    def __init__(self) -> None:
        self.left = MOST_MEMBERS

    def __call__(self, group: Group) -> tuple[list[str], int]:
        """The lines, and how many are left out."""
        lines = [*group.members(), *(f"unknown: {check['title']} · {check['host']}" for check in group.hidden)]
        shown = lines[: max(0, self.left)]
        self.left -= len(shown)
        return [words.clean(line, 200, one_line=True) for line in shown], len(lines) - len(shown)


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


def _areas(report: dict[str, Any], runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Areas, worst first: name, worst status, counts, hosts, ok checks (bounded in all), how many more, past runs."""
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
    past: list[dict[str, str]] = []
    for run in runs:
        worst: dict[str, str] = {}
        for check in run["checks"]:
            before = worst.setdefault(check["area"], check["status"])
            worst[check["area"]] = max(before, check["status"], key=STATUSES.index)
        past.append(worst)
    for name, area in result.items():
        area["worst"] = past[-1][name]
        area["strip"] = bars([worst.get(name) for worst in past])
    return list(result.values())


def _nearest(checks: list[dict[str, Any]], most: int = 6) -> list[dict[str, Any]]:
    """The good checks that have used up most of the way to their first threshold, at least half of it."""
    found = []
    for check in checks:
        bound = words.number(check["warning"] if check["warning"] is not None else check["critical"], check)
        value = words.number(check["value"], check)
        if check["status"] == "ok" and value and bound and value > 0 and bound > 0:
            below = words.is_below(check)
            used = bound / value if below else value / bound
            # 100 % of something good cannot get better, however near its threshold is.
            best = below and check["unit"] == "%" and value >= 100
            if 0.5 <= used <= 1 and not best:
                found.append((used, check))
    found.sort(key=lambda pair: -pair[0])
    return [check for _used, check in found[:most]]


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
