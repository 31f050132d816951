# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Metrics in Prometheus's text format and OpenMetrics: read strictly, as a number misread is worse than none."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Dict, Iterable, List, Tuple

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|(?=\}))')
_NUMBER = re.compile(r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|[Ii]nf(?:inity)?)|[Nn]a[Nn]")
_ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class BadMetrics(Exception):
    """What was read tells nothing. The text says why, as the end of a sentence."""


@dataclass
class Sample:
    """One value of a metric."""

    labels: Dict[str, str]
    value: float


Samples = Dict[str, List[Sample]]


def parse(body: bytes) -> Samples:
    """All samples by the name of their metric.

    :raises BadMetrics: a line is none of the format; then nothing of it is trusted
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise BadMetrics("is not UTF-8") from None
    if text.lstrip()[:1] == "<":
        raise BadMetrics("is a page of HTML, no metrics")
    result: Samples = {}
    ended = False
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line:
            continue
        if ended:
            raise BadMetrics(f"goes on after its end (line {number})")
        if line.startswith("#"):
            ended = line == "# EOF"
            continue
        try:
            name, labels, rest = series(line)
            # What follows " # " in OpenMetrics is an example; a number after the value is a time stamp.
            value, *stamp = rest.split(" # ", 1)[0].split()
            if len(stamp) > 1 or not all(_NUMBER.fullmatch(each) for each in (value, *stamp)):
                raise ValueError
        except ValueError:
            raise BadMetrics(f"has a line that is not a metric (line {number})") from None
        result.setdefault(name, []).append(Sample(labels, float(value)))
    if not result:
        raise BadMetrics("holds no metrics")
    return result


def series(text: str) -> Tuple[str, Dict[str, str], str]:
    """Name and labels at the beginning of a text, and what follows them.

    :raises ValueError: it does not begin with a series
    """
    match = _NAME.match(text)
    if not match:
        raise ValueError("no name")
    name, place, labels = match.group(), match.end(), {}
    while text[place : place + 1] == " ":
        place += 1
    if text[place : place + 1] == "{":
        place += 1
        while True:
            label = _LABEL.match(text, place)
            if not label:
                break
            if label.group(1) in labels:
                raise ValueError("a label twice")
            labels[label.group(1)] = re.sub(r"\\.", lambda found: _ESCAPES.get(found.group(), found.group()), label[2])
            place = label.end()
        rest = text[place:].lstrip()
        if rest[:1] != "}":
            raise ValueError("labels without an end")
        return name, labels, rest[1:]
    if text[match.end() : match.end() + 1] not in ("", " ", "\t"):
        raise ValueError("a name with something else in it")
    return name, labels, text[match.end() :]


def find(samples: Samples, selectors: Iterable[str]) -> List[Sample]:
    """The samples of the first selector that has any, without the labels that the selector names.

    :param selectors: names of metrics, such as name or name{label="value"}
    :raises BadMetrics: there are none, one is there twice, or one is no finite number
    """
    names = list(selectors)
    for selector in names:
        try:
            name, wanted, rest = series(selector.strip())
        except ValueError:
            name, wanted, rest = "", {}, selector
        if rest.strip():
            raise BadMetrics(f"cannot be searched for {selector!r}, which is not the name of a metric")
        found = [
            Sample({key: value for key, value in each.labels.items() if key not in wanted}, each.value)
            for each in samples.get(name, [])
            if wanted.items() <= each.labels.items()
        ]
        if not found:
            continue
        if len({tuple(sorted(each.labels.items())) for each in found}) < len(found):
            raise BadMetrics(f"has {selector} twice with the same labels")
        for each in found:
            if not math.isfinite(each.value):
                raise BadMetrics(f"says {each.value} for {selector}")
            if each.value < 0:
                raise BadMetrics(f"says {each.value:g} for {selector}, which is below zero")
        return found
    raise BadMetrics(f"has no {' nor '.join(names)}")
