# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Findings as people take them in: one check on 70 hosts is one matter, and so is all that a dead database hides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...module_utils.checks import CRITICAL, STATUSES, UNKNOWN
from .words import clean, is_below, number, plural, quantity

_UNREACHABLE = "The host cannot be reached"
_DEAD = "the database does not answer."
#: A message that is shorter is not held for another one's reason.
_TELLING = 24


@dataclass
class Group:
    """Findings that are one matter.

    :param lead: the one that stands for all
    :param others: the further ones, worst first
    :param kind: hosts (one check on several hosts), reason (unknown for one reason), unreachable; empty when alone
    :param hidden: what is unknown because of the lead
    """

    lead: dict[str, Any]
    others: list[dict[str, Any]] = field(default_factory=list)
    kind: str = ""
    hidden: list[dict[str, Any]] = field(default_factory=list)

    @property
    def checks(self) -> list[dict[str, Any]]:
        return [self.lead, *self.others]

    @property
    def hosts(self) -> list[str]:
        return list(dict.fromkeys(check["host"] for check in self.checks))

    @property
    def title(self) -> str:
        if self.kind == "unreachable":
            count = len(self.hosts)
            return f"{plural(count, 'host')} cannot be reached"
        if self.kind == "reason":
            return f"{plural(len(self.checks), 'check')} unknown for one reason"
        return str(self.lead["title"])

    @property
    def message(self) -> str:
        if self.kind == "reason":
            return _upper(reason(self.lead))
        return str(self.lead["message"])

    @property
    def place(self) -> str:
        """Where it is: area and host, or how many hosts."""
        areas = list(dict.fromkeys(check["area"] for check in self.checks))
        hosts = self.hosts
        where = hosts[0] if len(hosts) == 1 else plural(len(hosts), "host")
        return f"{', '.join(areas[:4])}{' …' if len(areas) > 4 else ''} · {where}"

    def members(self) -> list[str]:
        """A line for each of several findings: what differs between them."""
        if self.kind == "unreachable":
            by_host: dict[str, list[str]] = {}
            for check in self.checks:
                by_host.setdefault(check["host"], []).append(check["area"])
            return [f"{host}: {', '.join(areas)}" for host, areas in by_host.items()]
        if self.kind == "hosts":
            return [f"{check['host']}: {quantity(check['value'], check['unit'])}" for check in self.checks]
        if self.kind == "reason":
            several = len(self.hosts) > 1
            return [f"{check['title']}{' · ' + check['host'] if several else ''}" for check in self.checks]
        return []

    def named(self, most: int = 6) -> str:
        """The first members in one line, and how many more there are; empty for a finding alone."""
        members = self.members()
        more = f" and {len(members) - most:,} more" if len(members) > most else ""
        return clean(", ".join(members[:most]) + more, 600, one_line=True)

    def hides(self) -> str:
        """How much is unknown because of it; empty when nothing is."""
        if not self.hidden:
            return ""
        areas = list(dict.fromkeys(check["area"] for check in self.hidden))
        return f"{plural(len(self.hidden), 'check')} of {', '.join(areas)} unknown because of this"


def reason(check: dict[str, Any]) -> str:
    """Why a check is unknown: its message without its own title."""
    message = str(check["message"])
    start = f"{check['title']}: "
    return message[len(start) :] if message.startswith(start) else message


def grouped(findings: Iterable[dict[str, Any]]) -> list[Group]:
    """Findings as matters, worst first; hosts that cannot be reached before all, as nothing else is known of them."""
    unreachable: list[dict[str, Any]] = []
    rest: list[dict[str, Any]] = []
    for check in findings:
        gone = check["status"] == UNKNOWN and reason(check).startswith(_UNREACHABLE)
        (unreachable if gone else rest).append(check)
    groups: dict[Any, Group] = {}
    causes: list[Group] = []
    for check in rest:
        if check["status"] == UNKNOWN:
            continue
        group = groups.setdefault((check["id"], check["status"]), Group(check))
        if group.lead is not check:
            group.others.append(check)
        elif check["status"] == CRITICAL:
            causes.append(group)
    for check in rest:
        if check["status"] == UNKNOWN and not _follows(check, causes):
            alone = not reason(check) or len(reason(check)) < 4
            key = (check["id"], UNKNOWN) if alone else (reason(check), check["remedy"], UNKNOWN)
            group = groups.setdefault(key, Group(check))
            if group.lead is not check:
                group.others.append(check)
    for group in groups.values():
        _settle(group)
    found = sorted(groups.values(), key=lambda group: -STATUSES.index(group.lead["status"]))
    return [Group(unreachable[0], unreachable[1:], "unreachable"), *found] if unreachable else found


def _settle(group: Group) -> None:
    if not group.others:
        return
    if len({check["id"] for check in group.checks}) > 1:
        group.kind = "reason"
        return
    group.kind = "hosts"
    values = [number(check["value"], check) for check in group.checks]
    if None not in values:
        sign = 1 if is_below(group.lead) else -1
        ordered = sorted(group.checks, key=lambda check: sign * (number(check["value"], check) or 0))
        group.lead, group.others = ordered[0], ordered[1:]


def _follows(check: dict[str, Any], causes: list[Group]) -> bool:
    """Whether a check is unknown because of something critical; then it is put there."""
    for group in causes:
        for cause in group.checks:
            told = len(cause["message"]) >= _TELLING and cause["message"] in check["message"]
            dead = (cause["id"], cause["host"]) == ("database.answers", check["host"]) and reason(check) == _DEAD
            if told or dead:
                group.hidden.append(check)
                return True
    return False


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
