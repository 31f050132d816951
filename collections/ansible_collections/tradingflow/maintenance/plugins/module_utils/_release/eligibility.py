# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a release may be promoted: one question, one answer, asked anew each time and never kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, List, Mapping, Optional

from ..refusal import Refusal
from ..words import plural, span
from .analysis import HEALTHY
from .live import Live
from .record import SOAKING, Release, moment_of, said
from .soak import CLOCK_TOLERANCE, drift, strangers

WAIT = "Wait for it; playbooks/soak.yml counts."


@dataclass
class Verdict:
    """The answer.

    :param eligible: True only when nothing speaks against it
    :param reasons: all that does
    """

    eligible: bool
    reasons: List[Refusal] = field(default_factory=list)

    @property
    def text(self) -> str:
        """For people."""
        return "It may be promoted." if self.eligible else " ".join(each.message for each in self.reasons)

    def as_data(self) -> Dict[str, Any]:
        """As JSON data."""
        return {"eligible": self.eligible, "reasons": [each.as_dict() for each in self.reasons]}


def eligible(
    record: Optional[Release],
    now: datetime,
    live: Optional[Live],
    *,
    digest: Optional[str] = None,
    at_least: Optional[Mapping[str, Any]] = None,
) -> Verdict:
    """Whether the soak of a release allows its promotion.

    :param record: of where it soaks; None when there is none
    :param live: what runs there now; None when it could not be seen
    :param digest: the image that somebody wants to promote; None for that of the record
    :param at_least: WANTED_SPEC of whoever promotes; the stricter of it and the record's counts
    """
    if record is None:
        return _no("record", "No release soaks there.", "Release to it first: playbooks/release.yml.")
    found: List[Refusal] = []
    if digest is not None and digest != record.digest:
        text = f"What soaks is {record.tag} ({record.digest}), not {digest}."
        found.append(Refusal("digest", text, "Promote what has soaked, or release the other one first."))
    if record.state != SOAKING:
        text = f"Release {record.id} ({record.tag}) is {said(record.state)}, not soaking"
        text += f": {record.reason}" if record.reason else "."
        found.append(Refusal("state", text, "What has failed never counts again: release anew."))
        return Verdict(False, found)
    if not record.verified_at:
        found.append(Refusal("verified", "Its rollout was never verified.", "Run playbooks/release.yml again."))
    found += _counted(record, dict(at_least or {}))
    found += _fresh(record, now)
    found += _same(record, live)
    return Verdict(not found, found)


def _no(name: str, text: str, remedy: str) -> Verdict:
    return Verdict(False, [Refusal(name, text, remedy)])


def _counted(record: Release, at_least: Mapping[str, Any]) -> List[Refusal]:
    """Whether it has soaked enough."""
    soak = record.soak
    wanted = soak.get("wanted") or {}
    if not soak.get("stay") or not wanted:
        return [Refusal("begun", f"Its soak has not begun{_hold(soak)}", "Run playbooks/soak.yml.")]
    found = []
    need = {name: max(wanted.get(name, 0), at_least.get(name, 0)) for name in ("hours", "requests", "market_minutes")}
    if not any(each["verdict"] == HEALTHY and each["since"] >= soak["since"] for each in record.samples):
        found.append(Refusal("healthy", "No interval of this stay was found healthy.", WAIT))
    missing = need["hours"] * 3600 - soak["counted"]
    if not missing <= 0:
        text = (
            f"It has soaked for {span(soak['counted'])} of {span(need['hours'] * 3600)}: {span(missing)} are missing."
        )
        found.append(Refusal("hours", text, WAIT))
    if not soak["requests"] >= need["requests"]:
        text = f"It has answered {plural(int(soak['requests']), 'request')} of {need['requests']:,} while it soaked."
        found.append(Refusal("requests", text, "Wait for traffic, or send it some."))
    if not soak["market"] >= need["market_minutes"] * 60:
        text = f"A market was open for {span(soak['market'])} of its soak, of {span(need['market_minutes'] * 60)}."
        found.append(Refusal("market_minutes", text, "Wait for the session."))
    return found


def _hold(soak: Mapping[str, Any]) -> str:
    return f": {soak['hold']}" if soak.get("hold") else "."


def _fresh(record: Release, now: datetime) -> List[Refusal]:
    """Whether what was counted is still true: the last tick was just now, and found it healthy."""
    soak = record.soak
    if not soak.get("last") or not soak.get("stay"):
        return []
    found = []
    if soak.get("hold"):
        found.append(Refusal("hold", f"Its soak holds. {soak['hold']}", "See what the reason says."))
    newest = record.samples[-1] if record.samples else None
    if newest is not None and newest["verdict"] != HEALTHY and not soak.get("hold"):
        found.append(Refusal("hold", "Its last interval was not healthy.", WAIT))
    age = (now - moment_of(soak["last"]["at"])).total_seconds()
    most = (soak.get("wanted") or {}).get("max_gap", 0)
    if age > most:
        text = f"Nobody has looked at it for {span(age)}, of at most {span(most)}."
        found.append(Refusal("age", text, "Run playbooks/soak.yml, by cron or a schedule."))
    if age < -CLOCK_TOLERANCE:
        text = f"Its last tick is of {soak['last']['at']}, which is yet to come: a clock is wrong."
        found.append(Refusal("clock", text, "Set the clocks right, and run playbooks/soak.yml."))
    passed = (now - moment_of(soak["since"])).total_seconds()
    if soak["counted"] > passed + CLOCK_TOLERANCE:
        text = f"{span(soak['counted'])} are counted, and {span(max(0.0, passed))} have passed: a clock is wrong."
        found.append(Refusal("clock", text, "Set the clocks right, and run playbooks/soak.yml."))
    return found


def _same(record: Release, live: Optional[Live]) -> List[Refusal]:
    """Whether what soaked is what runs."""
    if live is None:
        return [Refusal("live", "What runs there now could not be seen.", "See that the cluster answers.")]
    foreign = strangers(record, live)
    if foreign:
        return [Refusal("drift", " ".join(foreign), "Release it again, or undo what was changed by hand.")]
    found = []
    stay = record.soak.get("stay")
    changed = drift(stay, live) if stay else []
    if changed:
        text = f"It has changed since it was looked at: {' '.join(changed)}"
        found.append(Refusal("drift", text, "Its soak begins anew with the next playbooks/soak.yml."))
    if live.unsettled:
        found.append(Refusal("unsettled", live.unsettled, "Wait until it is settled."))
    return found
