# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as text: the table of the terminal, and Markdown for a chat."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from typing import Any

from ...module_utils.checks import STATUSES
from . import glass
from .actions import facts, objectives, phases
from .groups import Group, grouped
from .scope import is_partial, left_out, narrowed, open_words, overall
from .words import NBSP, clean, counted, duration, plural, quantity, thresholds, when

#: Most findings, changes and areas that the table lists.
MOST_FINDINGS, MOST_CHANGES, MOST_AREAS, MOST_ACTIONS = 40, 12, 40, 20

#: Longest Markdown, in characters.
MARKDOWN_LIMIT = 3500

_ICONS = {"ok": "✅", "warning": "⚠️", "unknown": "❔", "critical": "🔴"}

#: How each kind of change reads.
CHANGES = {
    "new": "new",
    "worse": "worse",
    "lost": "lost sight of",
    "better": "better",
    "resolved": "resolved",
}


def verdict(report: dict[str, Any]) -> str:
    """The run in a few words: is it good?"""
    counts = report["counts"]
    bad = counted({**counts, "ok": 0})
    if is_partial(report):
        # Never a word of the whole: most of it may be bad.
        open_ = counted({**report["elsewhere"]["counts"], "ok": 0})
        rest = f"; {open_} still open elsewhere" if open_ else ""
        return f"Partial run: {bad or 'nothing bad where it looked'}{rest}"
    if report["worst_status"] == "ok":
        return "All good"
    if report["worst_status"] == "warning":
        return f"{'Passed' if report['passed'] else 'Not passed'}: {bad}"
    if report["worst_status"] == "unknown":
        return f"Not proven good: {bad or 'nothing measured'}"
    return f"Action needed: {bad}"


#: By which rule a run passes, by fail_on.
RULES = {"warning": "fails on warnings too", "critical": "fails on critical and unknown", "never": "never fails"}


def passing(report: dict[str, Any]) -> str:
    """Whether the run passed, and by which rule."""
    return f"{'passed' if report['passed'] else 'did not pass'} ({RULES[report['fail_on']]})"


def change_text(change: dict[str, Any]) -> str:
    """A change in words, e.g. "ok → critical, 71 % → 97 %"."""
    before, after = change["before"] or "not seen before", change["after"] or "no longer reported"
    text = f"{before} → {after}"
    values = [change["value_before"], change["value_after"]]
    if None not in values and values[0] != values[1]:
        text += ", " + " → ".join(quantity(value, change["unit"]) for value in values)
    return clean(text, 160, one_line=True)


def changed(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All changes, worst news first, each with its kind."""
    return [(kind, change) for kind in CHANGES for change in report["changes"][kind]]


def by_area(report: dict[str, Any]) -> dict[tuple[str, str], dict[str, int]]:
    """Counts of each area and host, worst first."""
    result: dict[tuple[str, str], dict[str, int]] = {}
    for check in report["checks"]:
        counts = result.setdefault((check["area"], check["host"]), dict.fromkeys(STATUSES, 0))
        counts[check["status"]] += 1
    return result


def table(report: dict[str, Any], *, width: int = 100) -> list[str]:
    """The report for a terminal, plain lines no longer than width: findings, changes, actions, areas, total."""
    lines: list[str] = []

    def add(text: str, indent: int = 0, hang: int | None = None) -> None:
        lines.extend(_wrapped(text, width, indent, indent if hang is None else hang))

    bad = [check for check in report["checks"] if check["status"] != "ok"]
    if bad:
        lines += ["", _rule("Findings", width)]
    groups = grouped(bad)
    for group in groups[:MOST_FINDINGS]:
        check = group.lead
        where = group.place.partition(" · ")[2]
        id = "" if group.kind in ("reason", "unreachable") else f"  ·  {check['id']}"
        add(f"{check['status'].upper():<10}{group.title}  ·  {where}{id}", 0, 10)
        bounds = thresholds(check)
        if group.kind in ("", "hosts"):
            add(f"{quantity(check['value'], check['unit'])}{f' ({bounds})' if bounds else ''}", 10)
        if group.message:
            add(clean(group.message, 600, one_line=True), 10)
        for text in filter(None, (group.named(), group.hides())):
            add(text, 10)
        if check["remedy"]:
            add(f"-> {clean(check['remedy'], 400, one_line=True)}", 10, 13)
    if len(groups) > MOST_FINDINGS:
        left = sum(len(group.checks) for group in groups[MOST_FINDINGS:])
        lines.append(f"{'':10}and {left:,} more: see the report")

    everything = changed(report)
    if everything:
        lines += ["", _rule(f"Changes since {report['previous_run_id']}", width)]
        for kind, change in everything[:MOST_CHANGES]:
            add(f"{CHANGES[kind]:<15}{change['title']}  ·  {change['host']}: {change_text(change)}", 0, 15)
        if len(everything) > MOST_CHANGES:
            lines.append(f"{'':15}and {len(everything) - MOST_CHANGES:,} more: see the report")

    # What only carries charts says nothing here.
    actions = [
        each for each in report["actions"] if each["message"] or each["status"] != "ok" or facts(each, brief=True)
    ]
    if actions:
        lines += ["", _rule("Actions", width)]
    for action in sorted(actions, key=lambda action: action["status"] != "failed")[:MOST_ACTIONS]:
        add(f"{action['status']:<10}{action['title']}  ·  {action['host']}", 0, 10)
        if action["message"]:
            add(clean(action["message"], 600, one_line=True), 10)
        told = [f"{name} {value}" for name, value in facts(action, brief=True)]
        if told:
            add(", ".join(told), 10)
        spent = [f"{name} {duration(seconds)}" for name, seconds in phases(action["details"])]
        if spent:
            add("phases: " + ", ".join(spent), 10)
        for name, seconds, objective, status in objectives(action["details"]):
            measured = "not measured" if seconds is None else duration(seconds)
            add(f"{name}: {measured}, objective {duration(objective)} ({status})", 10)
    if len(actions) > MOST_ACTIONS:
        lines.append(f"{'':10}and {len(actions) - MOST_ACTIONS:,} more: see the report")

    lines += ["", _rule("Areas", width)]
    for (area, host), counts in _areas(report):
        lines.append(_fit(f"{_pad(area, 20)}{_pad(host, 28)}{counted(counts)}", width))
    for note in report.get("notes", []):
        add(f"Note: {note}")
    lines += ["", _rule("", width)]
    looked = " in check mode" if report["check_mode"] else ""
    name = f"{report['playbook']} of {report['environment']}{looked}"
    if is_partial(report):
        add(f"Partial run ({narrowed(report)}). Not looked at: {left_out(report)}. {open_words(report)}")
        open_ = _open(report)
        for group in open_[:MOST_CHANGES]:
            where = group.place.partition(" · ")[2]
            add(f"open      {group.title}  ·  {where}: {clean(group.message, 200, one_line=True)}", 0, 10)
            for text in filter(None, (group.named(), group.hides())):
                add(text, 10)
        if len(open_) > MOST_CHANGES:
            left = sum(len(group.checks) for group in open_[MOST_CHANGES:])
            lines.append(f"{'':10}and {left:,} more: see the report")
        name = f"Only {narrowed(report)} of {name}"
    add(f"{name}: {report['worst_status'].upper()}, {passing(report)}")
    missing = plural(len(report["expected_missing"]), "area") + " missing" if report["expected_missing"] else ""
    told = [counted(report["counts"]), missing, f"took {duration(report['duration_s'])}"]
    add(", ".join(part for part in told if part))
    return [line.rstrip() for line in lines]


def _open(report: dict[str, Any]) -> list[Group]:
    """What is critical where a partial run did not look, as matters, with what is unknown because of it."""
    return [group for group in grouped(report["elsewhere"]["checks"]) if group.lead["status"] == "critical"]


def _areas(report: dict[str, Any]) -> list[tuple[tuple[str, str], dict[str, int]]]:
    """Counts by area and host; by area alone when that would be too many lines."""
    pairs = by_area(report)
    if len(pairs) <= MOST_AREAS:
        return sorted(pairs.items())
    hosts: dict[str, int] = {}
    totals: dict[str, dict[str, int]] = {}
    for (area, _host), counts in pairs.items():
        hosts[area] = hosts.get(area, 0) + 1
        total = totals.setdefault(area, dict.fromkeys(STATUSES, 0))
        for status, count in counts.items():
            total[status] += count
    return [((area, plural(hosts[area], "host")), totals[area]) for area in sorted(totals)][:200]


def _rule(text: str, width: int) -> str:
    return _fit(f"--- {text} ".ljust(width, "-") if text else "-" * width, width)


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _fit(text: str, width: int) -> str:
    """Text on one line, cut to the width."""
    text = clean(text, one_line=False).replace("\n", " ").replace("\t", " ").replace(NBSP, " ")
    if _columns(text) <= width:
        return text
    while text and _columns(text) > width - 1:
        text = text[:-1]
    return f"{text}…"


def _pad(text: str, width: int) -> str:
    text = _fit(text, width - 1)
    return text + " " * (width - _columns(text))


def _wrapped(text: str, width: int, indent: int, hang: int) -> list[str]:
    text = clean(text).replace("\n", " ").replace("\t", " ")
    # Wide characters take two columns: a narrower line is the cheap way to keep within the width.
    room = width if _columns(text) == len(text) else max(indent, hang) + (width - max(indent, hang)) // 2
    wrapped = textwrap.wrap(
        text,
        room,
        initial_indent=" " * indent,
        subsequent_indent=" " * hang,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )
    return [line.replace(NBSP, " ") for line in wrapped]


def markdown(report: dict[str, Any], limit: int = MARKDOWN_LIMIT) -> str:
    """The report for a chat message, at most limit characters: worst first, and how many more there are."""
    icon = _ICONS[overall(report)]
    head = [
        f"{icon} **{_md(verdict(report), 80)}** · {_md(report['playbook'], 60)} · {_md(report['environment'], 60)}"
        + (" · check mode" if report["check_mode"] else ""),
        "",
        f"{counted(report['counts'], zeros=True)} · {passing(report)} · {when(report['finished_at'])}"
        f" · took {duration(report['duration_s'])} · by {_md(report['actor'], 60)}",
        "",
    ]
    if broken := glass.line(report):
        head += [f"{_ICONS['critical']} **{_md(broken, 500)}**", ""]
    if is_partial(report):
        said = f"Only {narrowed(report)}; not looked at: {left_out(report)}. {open_words(report)}"
        head += [_md(said, 500), ""]
        worst_open = _open(report)
        for group in worst_open[:5]:
            named = f" {_md(group.named(3), 160)}" if group.others else ""
            where = _code(group.place.partition(" · ")[2], 40)
            head.append(f"- {_ICONS['critical']} open: {_md(group.title, 80)} (`{where}`){named}")
        head += [""] if worst_open else []
    # Actions first find their room: a failed backup is among the findings as well, a good one is what people look for.
    tail: list[str] = []
    for action in sorted(report["actions"], key=lambda action: action["status"] != "failed")[:5]:
        told = ", ".join(f"{_md(name, 30)} {_md(value, 60)}" for name, value in facts(action, brief=True)[:6])
        message = _md(action["message"], 160)
        host = _code(action["host"], 40)
        tail.append(f"- {action['status']}: {_md(action['title'], 60)} (`{host}`) {message} {told}".rstrip())
    if len(report["actions"]) > 5:
        tail.append(f"- and {len(report['actions']) - 5:,} more actions")
    changes = [f"{len(report['changes'][kind]):,} {word}" for kind, word in CHANGES.items() if report["changes"][kind]]
    unchanged = "nothing changed where it looked" if is_partial(report) else "nothing changed"
    if report["previous_run_id"]:
        tail += ["", f"Since `{_code(report['previous_run_id'], 60)}`: {', '.join(changes) or unchanged}"]
    tail += [f"Run `{_code(report['run_id'], 80)}`"]

    bad = [check for check in report["checks"] if check["status"] != "ok"]
    left = limit - len("\n".join(head + tail)) - 40
    shown: list[str] = []
    covered = 0
    for group in grouped(bad):
        check = group.lead
        bounds = thresholds(check)
        value = quantity(check["value"], check["unit"]) + (f" ({bounds})" if bounds else "")
        where = group.place.partition(" · ")[2]
        measured = f" {_md(value, 120)}." if group.kind in ("", "hosts") else ""
        entry = (
            f"- {_ICONS[check['status']]} **{check['status']}** {_md(group.title, 80)} "
            f"(`{_code(where, 40)}`):{measured} {_md(group.message, 240)}"
        ).rstrip(". ")
        # What was cut off ends as it is.
        entry += "" if entry.endswith("…") else "."
        for more in filter(None, (group.named(3), group.hides())):
            entry += f" {_md(more, 160)}."
        if check["remedy"]:
            entry += f" → {_md(check['remedy'], 160)}"
        if left - len(entry) - 1 < 0:
            break
        left -= len(entry) + 1
        shown.append(entry)
        covered += len(group.checks) + len(group.hidden)
    if covered < len(bad):
        shown.append(f"- … and {len(bad) - covered:,} more in the report")
    return "\n".join([*head, *shown, *([""] if shown else []), *tail]) + "\n"


def _md(text: str, limit: int) -> str:
    """Text that stays text in Markdown, and calls nobody."""
    text = clean(text, one_line=True).replace(NBSP, " ")
    text = text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
    text = re.sub(r"([\\`*\[\]<>|~#])", r"\\\1", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)
    return text.replace("@", "@\u200b")


def _code(text: str, limit: int) -> str:
    text = clean(text, one_line=True).translate({ord("`"): "'", ord("<"): "‹", ord(">"): "›", ord("@"): "@\u200b"})
    return text if len(text) <= limit else text[: limit - 1] + "…"
