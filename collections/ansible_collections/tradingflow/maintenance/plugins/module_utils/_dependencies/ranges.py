# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""npm's ranges of versions, by the grammar that its documentation of semver gives."""

from __future__ import annotations

import re
from typing import Any, List, Optional, Tuple

from .versions import parsed

_PARTIAL = re.compile(
    r"[v=\s]*(?P<major>[xX*]|\d+)(?:\.(?P<minor>[xX*]|\d+)(?:\.(?P<patch>[xX*]|\d+)"
    r"(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?)?)?"
)
_HYPHEN = re.compile(r"\s*(\S+)\s+-\s+(\S+)\s*")
_TERM = re.compile(r"(?P<sign><=|>=|<|>|=|~>|~|\^)?\s*(?P<rest>[^\s<>=~^]+)")
#: A comparator: sign, and what it compares with.
_Comparator = Tuple[str, Any]


def satisfies(text: str, version: str) -> Optional[bool]:
    """Whether a version is in a range; None when the range is none that is understood, such as a tag or an address."""
    found = parsed("npm", version)
    if found is None:
        return None
    sets = [_set(part) for part in text.split("||")]
    if None in sets:
        return None
    return any(_inside(each, found) for each in sets if each is not None)


def of_package(spec: str, package: str) -> Optional[str]:
    """The range in what a package asks for; None when that is another package, or no range."""
    if spec.startswith("npm:"):
        name, at, text = spec[4:].rpartition("@")
        return text if at and name == package else None
    return None if re.match(r"[a-z+]+:|\.|/|~/|[\w-]+/", spec) else spec


def _inside(comparators: List[_Comparator], version: Any) -> bool:
    for sign, limit in comparators:
        if sign == "none":
            return False
        good = {
            "<": version < limit,
            "<=": version <= limit,
            ">": version > limit,
            ">=": version >= limit,
            "=": version == limit,
        }
        if not good[sign]:
            return False
    if not version.is_prerelease:
        return True
    # A pre-release is only wanted by whoever names one of the same version.
    return any(limit.is_prerelease and limit.parts == version.parts for _sign, limit in comparators if limit)


def _set(text: str) -> Optional[List[_Comparator]]:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen:
        return _hyphen(hyphen[1], hyphen[2])
    text = text.strip()
    found: List[_Comparator] = []
    at = 0
    while at < len(text):
        term = _TERM.match(text, at)
        if not term or (term.end() < len(text) and not text[term.end()].isspace()):
            return None
        more = _term(term["sign"] or "", term["rest"])
        if more is None:
            return None
        found += more
        at = term.end() + len(text[term.end() :]) - len(text[term.end() :].lstrip())
    return found


def _numbers(text: str) -> Optional[Tuple[List[int], str]]:
    """The numbers before the first that is left open, and the pre-release."""
    match = _PARTIAL.fullmatch(text)
    if not match:
        return None
    numbers: List[int] = []
    for name in ("major", "minor", "patch"):
        if match[name] is None or match[name] in "xX*":
            break
        numbers.append(int(match[name]))
    if len([name for name in ("major", "minor", "patch") if (match[name] or "").isdigit()]) != len(numbers):
        return None  # 1.x.3
    return numbers, (match["pre"] or "") if len(numbers) == 3 else ""


def _version(numbers: List[int], pre: str = "") -> Any:
    full = [*numbers, 0, 0, 0][:3]
    return parsed("npm", ".".join(map(str, full)) + (f"-{pre}" if pre else ""))


def _after(numbers: List[int], place: int) -> Any:
    """Just below the next one at a place: its lowest pre-release."""
    return _version([*numbers[:place], numbers[place] + 1], "0")


def _hyphen(low: str, high: str) -> Optional[List[_Comparator]]:
    first, last = _numbers(low), _numbers(high)
    if first is None or last is None:
        return None
    found: List[_Comparator] = [(">=", _version(*first))] if first[0] else []
    if len(last[0]) == 3:
        found.append(("<=", _version(*last)))
    elif last[0]:
        found.append(("<", _after(last[0], len(last[0]) - 1)))
    return found


def _term(sign: str, text: str) -> Optional[List[_Comparator]]:
    read = _numbers(text)
    if read is None:
        return None
    numbers, pre = read
    whole = len(numbers) == 3
    if not numbers:
        return [("none", None)] if sign in ("<", ">") else []
    if sign in ("~", "~>"):
        return [(">=", _version(numbers, pre)), ("<", _after(numbers, min(1, len(numbers) - 1)))]
    if sign == "^":
        place = next((index for index, number in enumerate(numbers) if number), len(numbers) - 1)
        return [(">=", _version(numbers, pre)), ("<", _after(numbers, place))]
    if whole:
        return [(sign or "=", _version(numbers, pre))]
    next_one = _after(numbers, len(numbers) - 1)
    first = _version(numbers)
    if sign in ("", "="):
        return [(">=", first), ("<", next_one)]
    if sign == ">":
        return [(">=", _version([*numbers[:-1], numbers[-1] + 1]))]
    if sign == ">=":
        return [(">=", first)]
    return [("<", _version(numbers, "0"))] if sign == "<" else [("<", next_one)]
