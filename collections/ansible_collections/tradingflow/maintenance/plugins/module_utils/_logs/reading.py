# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One source of logs over its window, as numbers and samples."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import partial
from typing import Any, Callable, Dict, Optional

from .._checks import printable
from ..errors import ConfigurationError, MaintenanceError
from .entries import Entries
from .files import Files, Truncated
from .programs import Programs
from .tally import Tally
from .times import Times

#: How far to look back when nobody says it, in seconds.
SINCE = "86400"


def moment(text: str, until: float) -> float:
    """A beginning as seconds since the epoch.

    :param text: seconds before until, or a time as RFC 3339 with a zone
    :raises ConfigurationError: it is neither
    """
    try:
        back = float(text)
        if 0 < back < 1e9:
            return until - back
    except ValueError:
        try:
            found = datetime.fromisoformat(text.replace("Z", "+00:00"))
            if found.tzinfo:
                return found.timestamp()
        except ValueError:
            pass
    raise ConfigurationError(
        f"{text!r} is no beginning", "Set since to seconds, or to a time with its zone such as 2026-11-24T06:00:00Z."
    )


def stamp(at: Optional[float]) -> Optional[str]:
    """Seconds since the epoch as RFC 3339 in UTC, to the millisecond."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read(source: Dict[str, Any], since: str, until: Optional[float] = None) -> Dict[str, Any]:
    """What a source says of its window, up to now.

    :param source: see LOGS_SPEC
    :param since: see moment
    :returns: name, where, since, until; problem and remedy when nothing can be said; else doubts (why it may not be
        all), counts (by level), begins and seconds (what the entries really cover), bytes, kinds (of errors,
        commonest first: fingerprint, level, count, sample), kinds_beyond (errors of kinds past those told apart)
    """
    now = time.time if until is None else partial(float, until)
    until = now()
    where = source["path"] if source["kind"] == "file" else source["unit"] or source["container"]
    result: Dict[str, Any] = {"name": source["name"], "where": printable(where), "until": stamp(until), "remedy": ""}
    try:
        begin = moment(since, until)
        if begin >= until:
            # The host's clock was set back since.
            begin = until - float(SINCE)
        return {**result, "since": stamp(begin), **_read(source, begin, until, now)}
    except MaintenanceError as error:
        return {**result, "problem": error.message, "remedy": error.remedy}
    except OSError as error:
        return {**result, "problem": f"it cannot be read: {error.strerror or error}"}


def _read(source: Dict[str, Any], since: float, until: float, now: Callable[[], float]) -> Dict[str, Any]:
    times = Times(source["time_zone"], until)
    entries = Entries(source, times)
    wanted = {"file": "path", "journal": "unit", "container": "container"}[source["kind"]]
    if not source.get(wanted):
        raise ConfigurationError(f"A source of kind {source['kind']} needs {wanted}", f"Set {wanted}.")
    for attempt in (1, 2, 3):
        tally = Tally(since, until, now)
        reader: Any = (Files if source["kind"] == "file" else Programs)(source, entries, tally)
        try:
            reader.read()
            tally.begin()
            break
        except Truncated as error:
            if attempt == 3:
                reader.doubts.append(f"{printable(error)} is truncated again and again while it is read")
    doubts = list(dict.fromkeys(reader.doubts))
    if tally.untimed:
        doubts.append(f"{tally.untimed:,} lines have no time that can be read (time_pattern, time_format)")
    if tally.ahead:
        doubts.append(f"times are up to {tally.ahead / 60:.0f} min ahead of the host's clock (time_zone)")
    if tally.kinds.beyond:
        doubts.append(
            f"more than {tally.kinds.most} kinds of errors: {tally.kinds.beyond:,} errors are of further ones"
        )
    # Nothing older was there to be seen: the log may be younger than the window.
    begins = since if tally.older or tally.first is None else tally.first
    return {
        "problem": reader.problem,
        "doubts": [doubt[:300] for doubt in doubts[:5]],
        "counts": tally.counts,
        "begins": stamp(begins),
        "seconds": round(until - begins, 3),
        "bytes": tally.bytes,
        "guessed": tally.guessed,
        "sources": reader.names[:10],
        "kinds": tally.kinds.commonest(),
        "kinds_beyond": tally.kinds.beyond,
    }
