# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Versions of PyPI (PEP 440) and npm (semantic versioning), and whether an advisory affects one."""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Any, Dict, List, Optional, Tuple

from .._advisories.answers import Vulnerability

try:
    from packaging.version import Version
except ImportError:  # only the controller needs it, where ansible-core brings it
    Version = None  # type: ignore[assignment,misc]

_SEMVER = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


@total_ordering
class _Semver:
    def __init__(self, text: str) -> None:
        match = _SEMVER.fullmatch(text)
        if not match:
            raise ValueError(text)
        self.parts = tuple(int(match[number]) for number in (1, 2, 3))
        self.is_prerelease = match[4] is not None
        each = match[4].split(".") if match[4] else []
        self.pre: List[Tuple[int, int, str]] = [
            (0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in each
        ]

    def _key(self) -> Any:
        return self.parts, not self.is_prerelease, self.pre

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Semver) and self._key() == other._key()

    def __lt__(self, other: _Semver) -> bool:
        less: bool = self._key() < other._key()
        return less

    def __hash__(self) -> int:
        return hash(str(self._key()))


def parsed(ecosystem: str, text: str) -> Any:
    """A version that can be compared with others of its ecosystem; None when it is none."""
    try:
        return Version(text) if ecosystem == "PyPI" else _Semver(text)
    except ValueError:
        return None


def affects(ecosystem: str, vulnerability: Vulnerability, version: str) -> bool:
    """Whether a version has a vulnerability. What is not known counts as yes."""
    wanted = parsed(ecosystem, version)
    if wanted is None:
        return True
    if not vulnerability.affected:
        # The scanner knows the versions of the fixes only; there may be several branches.
        fixes = [parsed(ecosystem, each) for each in vulnerability.fixed]
        return version not in vulnerability.fixed and (None in fixes or not fixes or wanted < max(fixes))
    return any(_part_affects(ecosystem, part, version, wanted) for part in vulnerability.affected)


def _part_affects(ecosystem: str, part: Dict[str, Any], version: str, wanted: Any) -> bool:
    if version in (part.get("versions") or []):
        return True
    ranges = [range for range in part.get("ranges") or [] if range.get("type") in ("ECOSYSTEM", "SEMVER")]
    if not ranges:
        return not part.get("versions")
    for range in ranges:
        inside = False
        for kind, limit in _events(ecosystem, range):
            if limit is None:
                return True
            if kind == "introduced" and wanted >= limit:
                inside = True
            elif (kind == "fixed" and wanted >= limit) or (kind == "last_affected" and wanted > limit):
                inside = False
        if inside:
            return True
    return False


def _events(ecosystem: str, range: Dict[str, Any]) -> List[Tuple[str, Any]]:
    """In the order of their versions; one that is not understood has None, and comes first."""
    found = []
    for event in range.get("events") or []:
        for kind, text in event.items():
            if kind in ("introduced", "fixed", "last_affected"):
                zero = "0.dev0" if ecosystem == "PyPI" else "0.0.0-0"
                found.append((kind, parsed(ecosystem, zero if text == "0" else str(text))))
            elif kind != "limit":
                found.append((kind, None))
    unknown = [event for event in found if event[1] is None]
    return unknown or sorted(found, key=lambda event: event[1])


def fixed_version(ecosystem: str, version: str, vulnerabilities: List[Vulnerability]) -> Optional[str]:
    """The lowest version that has none of these vulnerabilities; None when no advisory names one."""
    now = parsed(ecosystem, version)
    candidates = {}
    for text in {fix for vulnerability in vulnerabilities for fix in vulnerability.fixed}:
        candidate = parsed(ecosystem, text)
        if now is None or candidate is None or (candidate.is_prerelease and not now.is_prerelease):
            continue
        if candidate > now:
            candidates[text] = candidate
    for text in sorted(candidates, key=lambda each: candidates[each]):
        if not any(affects(ecosystem, each, text) for each in vulnerabilities):
            return text
    return None
