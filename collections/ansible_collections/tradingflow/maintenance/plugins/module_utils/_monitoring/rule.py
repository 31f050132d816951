# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One rule of Prometheus, with the series that it must fire on and those that it must not."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Set, Tuple

#: (series, its values in promtool's notation)
Series = Tuple[str, str]
#: Minutes of series in a unit test, and the minute at which it looks; later than any rule waits for.
MINUTES, LOOK = 15, 10
_BOUND = re.compile(r',?le="[^"]*"')


@dataclass
class Rule:
    """One alert.

    :param expr: PromQL
    :param severity: warning, unknown or critical, as the statuses of checks; watchdog for the one that always fires
    :param hold: how long it must be so, such as 5m
    :param needs: what it is silent without for ever, as (selector, names of hosts that must each have it; empty when
        any will do); what looks for absence itself needs nothing
    :param firing: series on which it fires: at the threshold
    :param silent: series on which it does not: just before it
    :param threshold: of the check, None when there is none
    :param bucket: buckets of a histogram, and the least that their last finite bound must be for it ever to fire
    :param measure: PromQL of what is compared with it, bad from there on, or down when below
    :param mount: the one that it is for, when that has thresholds of its own
    :param host: the one that it is for, where its series, being absent, cannot say so
    """

    name: str
    expr: str
    severity: str
    summary: str
    remedy: str
    hold: str = "5m"
    needs: List[Tuple[str, Tuple[str, ...]]] = field(default_factory=list)
    firing: Sequence[Series] = ()
    silent: Optional[Sequence[Series]] = ()
    threshold: Optional[float] = None
    unit: str = ""
    mount: str = ""
    host: str = ""
    bucket: Optional[Tuple[str, float]] = None
    measure: str = ""
    below: bool = False

    def as_data(self, labels: Dict[str, str]) -> Dict[str, Any]:
        """As a rules file has it."""
        result: Dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.hold:
            result["for"] = self.hold
        result["labels"] = {**labels, **self.labels}
        result["annotations"] = {"summary": self.summary, "remedy": self.remedy}
        return result

    @property
    def labels(self) -> Dict[str, str]:
        """What Prometheus tells it by from rules of the same name."""
        found = {"severity": self.severity}
        if self.threshold is not None:
            found["threshold"] = f"{self.threshold:.15g}{self.unit}"
        if self.mount:
            found["mount"] = self.mount
        if self.host:
            found["host"] = self.host
        return found

    @property
    def alerts(self) -> str:
        """PromQL of its alerts that fire."""
        wanted = {"alertname": self.name, "alertstate": "firing", "mount": "", **self.labels}
        return f"ALERTS{{{','.join(f'{name}={text(value)}' for name, value in wanted.items())}}}"

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.name}/{self.severity}: {self.expr}"


def text(value: str) -> str:
    """A text within PromQL, quoted."""
    return json.dumps(value, ensure_ascii=False)


def instances(hosts: Sequence[str]) -> str:
    """The matcher of these hosts' targets, with or without a port."""
    return f"instance=~{text('(' + '|'.join(re.escape(host) for host in hosts) + ')(:[0-9]+)?')}"


def selector(metric: str, *matchers: str) -> str:
    """metric{matchers}; metric may have matchers of its own."""
    name, _brace, own = metric.partition("{")
    inner = ",".join(part for part in (own.rstrip("}"), *matchers) if part)
    return f"{name}{{{inner}}}" if inner else name


def constant(series: str, value: float) -> Series:
    """A series that stands still."""
    return series, f"{value:.12g}x{MINUTES}"


def missing(series: str) -> Series:
    """A series without a value. It is named so that no other rule's test gives it one meanwhile."""
    return series, f"_x{MINUTES}"


def growing(series: str, step: float) -> Series:
    """A counter that grows by a step each minute."""
    return series, f"0+{step:.12g}x{MINUTES}"


def unit_tests(rules: Sequence[Rule], rules_file: str) -> Dict[str, Any]:
    """A document for promtool test rules: each rule fires on one set of series, and not on another.

    A rule that has nothing to be silent on (it always fires) is only tested to fire. Rules whose series do not get in
    each other's way share a case: promtool makes a database for each.
    """
    cases: List[Dict[str, Any]] = []
    for expected in (1, 0):
        packed: List[Tuple[Dict[str, Set[Series]], List[Rule]]] = []
        for rule in rules:
            given = rule.firing if expected else rule.silent
            if given is None:
                continue
            # Buckets of a histogram are one thing.
            wanted: Dict[str, Set[Series]] = {}
            for name, values in given:
                wanted.setdefault(_BOUND.sub("", name), set()).add((name, values))
            place = next(
                (one for one in packed if all(one[0].get(name, it) == it for name, it in wanted.items())), None
            )
            if place is None:
                packed.append(place := ({}, []))
            place[0].update(wanted)
            place[1].append(rule)
        for series, members in packed:
            told = [{"labels": "{}", "value": 1}] if expected else []
            asked = [
                {"expr": f"count({rule.alerts})", "eval_time": f"{LOOK}m", "exp_samples": told} for rule in members
            ]
            every = sorted(set().union(*series.values()))
            given_series = [{"series": name, "values": values} for name, values in every]
            cases.append({"interval": "1m", "input_series": given_series, "promql_expr_test": asked})
    return {"rule_files": [rules_file], "evaluation_interval": "1m", "tests": cases}
