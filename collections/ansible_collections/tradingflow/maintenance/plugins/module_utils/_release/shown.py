# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A soak for the report: its stay as a timeline with what happened, its samples as small charts."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..checks import as_action
from .record import Release, moment_of
from .ticks import Ticked, told

#: Events that a report has: the newest.
MOST_EVENTS = 40


def actions(ticked: Ticked, where: str, started_at: str, *, dry_run: bool = False) -> List[Dict[str, Any]]:
    """One action of a tick, and one of its undo. That nothing soaks is one, too: that must not pass for a count.

    :param where: namespace/deployment
    :param dry_run: whether it only says what it would come to
    """
    release, done, undone = ticked.release, ticked.tick, ticked.undone
    stage = ticked.stage
    if release is None or (done is None and undone is None and stage is None):
        text = ticked.checks[0].message if ticked.checks else "Nothing soaks."
        return [as_action("release.soak", "Soak", "skipped", False, text, started_at, {"where": where})]
    failed = done.failed if done is not None else stage is None
    status = "planned" if dry_run else "failed" if failed or (stage is not None and stage.failed) else "ok"
    details: Dict[str, Any] = {"where": where, "release": release.id, "digest": release.digest, **stay(release)}
    if stage is not None and stage.events:
        details["rollout"] = stage.events
    found = [
        as_action("release.soak", f"Soak of {release.tag}", status, ticked.changed, told(ticked), started_at, details)
    ]
    if undone is not None and not undone.nothing:
        text = undone.failed or "; ".join(each.message for each in undone.forbidden)
        well = not text
        text = text or f"{where}: {undone.before.get('image', '')} -> {undone.after.get('image', '')}"
        more = {"rollout": undone.events, **undone.record}
        found.append(
            as_action(
                "release.undo", "Release undone", "ok" if well else "failed", undone.changed, text, started_at, more
            )
        )
    return found


def stay(release: Release) -> Dict[str, Any]:
    """{"charts": [...]}: the stay with its events, and what was sampled over time; and how much is counted."""
    samples = release.samples
    events = [{"at": event.at, "kind": event.kind, "text": event.text} for event in release.events[-MOST_EVENTS:]]
    intervals = [
        {"since": each["since"], "until": each["until"], "verdict": each["verdict"], "reasons": each["reasons"][:3]}
        for each in samples
    ]
    title = f"{release.tag} in {release.namespace}"
    charts = [
        {"kind": "stay", "title": title, "intervals": intervals, "events": events},
        _chart(samples, "Failed requests in %", lambda each: _same(each["error_percent"])),
        _chart(samples, "p95 in ms, with the bounds of its bucket", lambda each: _band(each["p95"])),
        _chart(samples, "Memory in MB, of the pod with the most", lambda each: _same(each["memory"], 1e6)),
        _chart(samples, "Requests a second", _rate),
    ]
    wanted = release.soak.get("wanted") or {}
    return {
        "counted_s": round(release.soak.get("counted") or 0),
        "wanted_s": round(3600 * float(wanted.get("hours") or 0)),
        "charts": [each for each in charts if each],
    }


def _same(value: Optional[float], unit: float = 1.0) -> Optional[List[float]]:
    return None if value is None else [value / unit] * 3


def _band(p95: Optional[List[Optional[float]]]) -> Optional[List[float]]:
    if not p95 or p95[0] is None or p95[1] is None:
        return None
    # Beyond the last bound nobody knows how much more it is.
    return [p95[0], p95[1], p95[1] if p95[2] is None else p95[2]]


def _rate(sample: Dict[str, Any]) -> Optional[List[float]]:
    if sample["requests"] is None or not sample["seconds"]:
        return None
    return [sample["requests"] / sample["seconds"]] * 3


def _chart(samples: List[Dict[str, Any]], title: str, value: Any) -> Optional[Dict[str, Any]]:
    """A chart over time; None where fewer than two samples have the value."""
    points = [[moment_of(each["until"]).timestamp(), *found] for each in samples if (found := value(each)) is not None]
    if len(points) < 2:
        return None
    first, last = samples[0]["since"], samples[-1]["until"]
    # Days say nothing of a soak of one.
    ends = (first[11:16], last[11:16]) if first[:10] == last[:10] else (first[:10], last[:10])
    return {"kind": "band", "title": title, "from": ends[0], "to": ends[1], "points": points}
