# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Access logs of a period, with what was rotated away, also while that happens: counted, and compared with before."""

from __future__ import annotations

import os
import stat
import statistics
from collections import Counter
from contextlib import ExitStack
from typing import Any, BinaryIO, Dict, Iterator, List, Optional, Tuple

from .._logs.names import listed
from .._logs.packed import DAMAGED, magic, unpacked
from ..errors import HousekeepingError
from ..words import printable
from .access_lines import Reader
from .access_times import Times

_DAY = 86400.0
#: Networks and routes that are told apart; what comes beyond is counted together.
_MOST = 50000
_TOP = 10
_LONGEST = 65536
_FILES = 400
_RIGHTS = "Run it as root (become: true), or as a user who may read the log."


class Tally:
    """What was counted."""

    def __init__(self, times: Optional[Times] = None) -> None:
        self.times = times
        self.requests = self.unparsed = self.before = self.later = 0
        self.first = self.last = 0.0
        self.clients: "Counter[str]" = Counter()
        self.paths: "Counter[str]" = Counter()
        self.statuses: "Counter[int]" = Counter()
        self.failed: "Counter[str]" = Counter()

    def data(self, since: float, until: float) -> Dict[str, Any]:
        """As JSON data."""
        by_class = {f"{each}xx": 0 for each in range(1, 6)}
        for status, number in self.statuses.items():
            if 1 <= status // 100 <= 5:
                by_class[f"{status // 100}xx"] += number
        # A log that was rotated away in part covers less than the period.
        covered = (until - max(since, self.first if not self.before else since)) / _DAY
        return {
            "requests": self.requests,
            "unparsed": self.unparsed,
            "other": self.before + self.later,
            "days": round(max(covered, 1 / 24), 3),
            "first": int(self.first),
            "last": int(self.last),
            "classes": by_class,
            "statuses": {str(status): n for status, n in self.statuses.most_common(30)},
            "clients": [[client, n] for client, n in self.clients.most_common(_TOP)],
            "paths": [[path, n] for path, n in self.paths.most_common(_TOP)],
            "failing": [[path, n] for path, n in self.failed.most_common(_TOP)],
            **({"times": self.times.data()} if self.times else {}),
        }


def review(options: Dict[str, Any], now: float) -> Dict[str, Any]:
    """Reads a log.

    :param options: see options.ACCESS
    :param now: in s since 1970
    :raises HousekeepingError: there is none, or it cannot be read
    """
    since = now - float(options["days"]) * _DAY
    reader = Reader(options["format"], options["fields"], _bits(options), _timed(options))
    tally, damaged = Tally(Times(options["request_time_left_out"]) if options["request_time"] else None), []
    left = int(options["maximum_lines"])
    with ExitStack() as stack:
        for path, file, live in _opened(stack, str(options["path"]), since):
            try:
                left -= _count(file, reader, tally, since, now, live, left)
            except DAMAGED as error:
                damaged.append(f"{printable(path)}: {printable(error, 100)}")
    return {**tally.data(since, now), "damaged": damaged, "cut": left <= 0}


def _bits(options: Dict[str, Any]) -> Tuple[int, int]:
    return options["ipv4_bits"], options["ipv6_bits"]


def _timed(options: Dict[str, Any]) -> Tuple[str, str]:
    return options["request_time"], options["request_time_unit"]


def _opened(stack: ExitStack, pattern: str, since: float) -> List[Tuple[str, BinaryIO, bool]]:
    """The files of a log that may have something of the period, and whether they are written to.

    All are open before the first one is read. A rotation meanwhile renames them; so their list is made again, until it
    has the same files.
    """
    files: Dict[Tuple[int, int], Tuple[str, BinaryIO, bool]] = {}
    for _round in range(5):
        found = listed(pattern)
        if found.closed:
            raise HousekeepingError(f"{printable(found.closed[0])} cannot be read.", _RIGHTS)
        new = False
        for path in found.paths:
            try:
                # What is no file, such as a pipe, would not end.
                file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise HousekeepingError(f"{printable(path)} cannot be read: {error.strerror}.", _RIGHTS) from None
            status = os.fstat(file.fileno())
            identity = (status.st_dev, status.st_ino)
            if identity in files or (status.st_mtime < since and path not in found.direct):
                file.close()
                continue
            stack.callback(file.close)
            if not stat.S_ISREG(status.st_mode):
                raise HousekeepingError(f"{printable(path)} is no file.", "Correct housekeeping_access_logs.")
            files[identity] = (path, file, path in found.direct)
            new = True
            if len(files) > _FILES:
                raise HousekeepingError(f"{printable(pattern)} has too many files.", "Review it in parts.")
        if not new:
            break
    if not files:
        raise HousekeepingError(f"There is no log {printable(pattern)}.", "Correct housekeeping_access_logs.")
    return list(files.values())


def _count(file: BinaryIO, reader: Reader, tally: Tally, since: float, until: float, live: bool, left: int) -> int:
    """Counts the lines of a file.

    :param live: it is still written to: its last line may be half of one
    :returns: how many were read
    :raises DAMAGED: it cannot be unpacked to its end
    """
    kind = magic(file)
    if kind == "plain":
        return _lines(file, reader, tally, since, until, live, left)
    with unpacked(kind, file) as stream:
        if stream is None:
            raise OSError(f"{kind} cannot be read on this host")
        return _lines(stream, reader, tally, since, until, False, left)


def _lines(stream: Any, reader: Reader, tally: Tally, since: float, until: float, live: bool, left: int) -> int:
    count = 0
    for line in _whole(stream, live):
        if count >= left:
            break
        count += 1
        request = reader.read(line) if len(line) < _LONGEST else None
        if request is None:
            tally.unparsed += bool(line.strip())
            continue
        if request.at < since:
            tally.before += 1
            continue
        if request.at > until:
            # A clock that is ahead, or what came while we read.
            tally.later += 1
            continue
        tally.requests += 1
        tally.first = min(tally.first or request.at, request.at)
        tally.last = max(tally.last, request.at)
        tally.statuses[request.status] += 1
        _add(tally.clients, request.client)
        _add(tally.paths, request.path)
        if request.status >= 500:
            _add(tally.failed, request.path)
        if tally.times:
            tally.times.add(request.path, request.took)
    return count


def _whole(stream: Any, live: bool) -> Iterator[bytes]:
    while True:
        line = stream.readline(_LONGEST)
        if not line:
            return
        if not line.endswith(b"\n") and len(line) == _LONGEST:
            # The rest of an endless line belongs to it.
            while True:
                more = stream.readline(_LONGEST)
                if not more or more.endswith(b"\n"):
                    break
        elif not line.endswith(b"\n") and live:
            return
        yield line.rstrip(b"\r\n") if len(line) < _LONGEST else line


def _add(counter: "Counter[str]", name: str) -> None:
    counter[name if name in counter or len(counter) < _MOST else "(others)"] += 1


def baseline(found: Dict[str, Any]) -> Dict[str, Any]:
    """What later runs compare with."""
    requests = found["requests"]

    def share(count: int) -> float:
        return round(100 * count / requests, 4) if requests else 0.0

    return {
        "requests_per_day": round(requests / found["days"], 1),
        "4xx": share(found["classes"]["4xx"]),
        "5xx": share(found["classes"]["5xx"]),
        "largest_client": share(found["clients"][0][1]) if found["clients"] else 0.0,
        "clients": [client for client, _n in found["clients"]],
    }


#: By how much a value must differ at least, whatever the earlier ones were: a share of the median, or in %.
_LEAST = {"requests_per_day": 0.5, "4xx": 2.0, "5xx": 0.5, "largest_client": 10.0}
_NAMES = {
    "requests_per_day": "requests a day",
    "4xx": "% of requests with status 4xx",
    "5xx": "% of requests with status 5xx",
    "largest_client": "% of requests from one network",
}
#: Earlier runs that are needed to say what is usual, and of how many at most.
ENOUGH, REMEMBERED = 4, 12
_BEYOND = 4 * 1.4826


def unusual(now: Dict[str, Any], earlier: List[Dict[str, Any]]) -> List[str]:
    """What differs from earlier runs: by four standard deviations, which the median of the distances stands for.

    :param earlier: baselines, at least ENOUGH
    """
    found = []
    for name, words in _NAMES.items():
        values = [float(each[name]) for each in earlier]
        middle = statistics.median(values)
        spread = statistics.median(abs(value - middle) for value in values)
        least = _LEAST[name] * (middle if name == "requests_per_day" else 1)
        if abs(now[name] - middle) > max(_BEYOND * spread, least):
            found.append(f"{now[name]:g} {words}, where {middle:g} is usual")
    seen = {client for each in earlier for client in each["clients"]}
    if now["clients"] and now["clients"][0] not in seen and now["largest_client"] >= _LEAST["largest_client"]:
        found.append(f"most requests come from {now['clients'][0]}, which was never among the first {_TOP}")
    return found
