# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files a log is: those of its pattern, and beside each what was rotated away from it."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from dataclasses import dataclass, field
from glob import has_magic
from typing import List, Sequence, Set

_WORDS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun"
#: A number or a date, with a time perhaps: .1, -20261129, .2026-11-29.0, _2026-11-29T10-00-00.123456Z, -Mon
_NUMBER = rf"[._-]{{1,2}}(?:\d|{_WORDS})(?:[\d._:@+-]|[TtZzWwhms](?![A-Za-z])|{_WORDS})*"
_PACKED = r"\.(?:gz|bz2|xz|lzma|zst|zstd|lz4|lzo|lz|Z|z|zip|br|sz|7z)"
_KEPT = r"(?:[._-](?:old|OLD|bak|BAK|backup|prev|previous|last|orig|saved?|rotated|archived?)|~| ?\(\d+\))"
_TAIL = rf"(?:{_PACKED}|{_KEPT}|{_NUMBER})"
#: Before the ending: app-2026-11-29.log, app.1.log, app20261129.log, app.old.log
_MIDDLE = rf"(?:{_NUMBER}|{_KEPT}|(?<!\d)(?:\d{{6}}|\d{{4}}-\d\d)[\d._-]*)"
_BEFORE = r"\d{4}-?\d\d-?\d\d[\dT:_-]*[._-]"
#: What programs lay beside a log and is none.
_NO_LOG = re.compile(
    r"(?i).*(?:[.-](?:lock|lck|pid|pos|position|filepos|offset|off|state|status|idx|index|cursor|seek|sincedb|registry"
    r"|sw[opx]|tmp|temp|part|filepart|md5|sha\d*|sum|asc|sig|conf|cfg|ya?ml|ini|audit\.json)|\.\d*lck)"
)


@dataclass
class Listing:
    """The files of a log.

    :param paths: those of the pattern first, then those rotated away
    :param direct: those of the pattern
    :param strange: beside them, named after them, and of no name that is known
    :param closed: folders in which more may lie that cannot be seen
    """

    paths: List[str] = field(default_factory=list)
    direct: Set[str] = field(default_factory=set)
    strange: List[str] = field(default_factory=list)
    closed: List[str] = field(default_factory=list)


def listed(pattern: str, exclude: Sequence[str] = ()) -> Listing:
    """The files of a pattern and what was rotated away beside them.

    :param exclude: patterns of names that are none of it
    """
    result = Listing()
    paths, folders = _expanded(pattern, result.closed)
    paths = [path for path in paths if not _excluded(path, exclude)]
    result.direct = set(paths)
    found = dict.fromkeys(paths)
    name = os.path.basename(pattern)
    own, beside = _rotated(name), re.compile(f"{_regex(name)}[._~-].+", re.DOTALL)
    for folder in folders:
        for other in _names(folder, result.closed):
            path = os.path.join(folder, other)
            if path in found or _excluded(path, exclude):
                continue
            if own.fullmatch(other):
                found[path] = None
            elif beside.fullmatch(other) and not _NO_LOG.fullmatch(other):
                result.strange.append(path)
    rotated = set(found) - result.direct
    result.paths = [path for path in found if not _twice(path, rotated)]
    result.closed = list(dict.fromkeys(result.closed))
    return result


def log_of(path: str) -> str:
    """The path without what a rotation adds: files of one log have it in common."""
    folder, name = os.path.split(path)
    stem, ending = os.path.splitext(_without(_ENDS, name))
    stem = _without(_MIDDLES, _BEGINS.sub("", stem)) if ending else stem
    return os.path.join(folder, stem + ending)


_ENDS = re.compile(rf"(?<=.){_TAIL}$")
_MIDDLES = re.compile(rf"(?<=.){_MIDDLE}$")
_BEGINS = re.compile(rf"^{_BEFORE}(?=.)")


def _without(pattern: "re.Pattern[str]", name: str) -> str:
    """A name without all endings of a form, one after the other: a repetition could take very long."""
    before = ""
    while before != name:
        before, name = name, pattern.sub("", name)
    return name


def _twice(path: str, rotated: Set[str]) -> bool:
    """Whether a file is just being compressed: what it is made from lies beside it still, and is no newer."""
    plain = re.sub(rf"{_PACKED}$", "", path)
    if plain == path or plain not in rotated:
        return False
    try:
        return os.stat(path).st_mtime >= os.stat(plain).st_mtime
    except OSError:
        return False


def _excluded(path: str, exclude: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path if "/" in each else os.path.basename(path), each) for each in exclude)


def _regex(name: str) -> str:
    """A name or a pattern of names as a regular expression without an end."""
    if not has_magic(name):
        return re.escape(name)
    match = re.fullmatch(r"\(\?s:(.*)\)\\[Zz]", fnmatch.translate(name), re.DOTALL)
    return match[1] if match else re.escape(name)


def _rotated(name: str) -> "re.Pattern[str]":
    stem, ending = os.path.splitext(name)
    ways = [rf"(?:{_BEFORE})?{_regex(name)}{_TAIL}*"]
    if ending and not has_magic(ending) and stem.count("[") == stem.count("]"):
        # Some leave the ending out, or say .log where the file itself is an .out.
        ways.append(rf"{_regex(stem)}{_MIDDLE}(?:{re.escape(ending)}|\.log){_TAIL}*")
        ways.append(f"{_regex(stem)}{_NUMBER}{_TAIL}*")
    return re.compile("|".join(f"(?:{way})" for way in ways), re.DOTALL)


def _names(folder: str, closed: List[str]) -> List[str]:
    try:
        return sorted(os.listdir(folder or "."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        closed.append(folder or ".")
        return []


def _expanded(pattern: str, closed: List[str]) -> "tuple[List[str], List[str]]":
    """The paths of a pattern, and the folders they lie in. Unlike glob, it tells what it could not look into."""
    if not has_magic(pattern):
        return [pattern], [os.path.dirname(pattern)]
    parts = [part for part in pattern.split("/") if part]
    places = ["/" if pattern.startswith("/") else ""]
    folders: List[str] = []
    for number, part in enumerate(parts, 1):
        last, after = number == len(parts), []
        if last:
            folders = list(places)
        for place in places:
            if part == "**":
                below = _below(place, closed)
                after += [path for each in below for path in _files(each, closed)] if last else below
            elif has_magic(part):
                names = fnmatch.filter(_names(place, closed), part)
                after += [os.path.join(place, name) for name in names if name[0] != "." or part[0] == "."]
            else:
                after.append(os.path.join(place, part))
        places = [path for path in dict.fromkeys(after) if _is_there(path, not last, closed)]
    return places, folders


def _is_there(path: str, folder: bool, closed: List[str]) -> bool:
    """Whether a path is there, as a folder if it must be one."""
    try:
        if not folder:
            os.lstat(path)
            return True
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        closed.append(os.path.dirname(path) or ".")
        return False


def _files(folder: str, closed: List[str]) -> List[str]:
    paths = [os.path.join(folder, name) for name in _names(folder, closed) if not name.startswith(".")]
    return [path for path in paths if not os.path.isdir(path)]


def _below(place: str, closed: List[str]) -> List[str]:
    """A folder and all below it; none twice, as links may go in circles."""
    found: List[str] = []
    seen: Set["tuple[int, int]"] = set()
    waiting = [place]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder or ".")
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        found.append(folder)
        paths = [os.path.join(folder, name) for name in _names(folder, closed) if not name.startswith(".")]
        waiting += [path for path in reversed(paths) if os.path.isdir(path)]
    return found
