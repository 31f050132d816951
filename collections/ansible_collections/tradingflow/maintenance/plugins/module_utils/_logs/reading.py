# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One source of logs over its window, as numbers and samples."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import partial
from typing import Any, Callable, Dict, List, Optional

from ..errors import ConfigurationError, MaintenanceError
from ..words import plural, printable
from .entries import CUT, Entries, compiled
from .files import Files, Truncated
from .fingerprints import sample_of
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
        commonest first: fingerprint, level, count, sample), kinds_beyond (errors of kinds past those told apart),
        files (see positions.py)
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
    harmless = [compiled(text, "harmless") for text in source["harmless"]]
    wanted = {"file": "path", "journal": "unit", "container": "container"}[source["kind"]]
    if not source.get(wanted):
        raise ConfigurationError(f"A source of kind {source['kind']} needs {wanted}", f"Set {wanted}.")
    for attempt in (1, 2, 3):
        tally = Tally(since, until, now, source["max_plain_lines"], harmless)
        reader: Any = (Files if source["kind"] == "file" else Programs)(source, entries, tally)
        try:
            reader.read()
            tally.begin()
            break
        except Truncated as error:
            if attempt == 3:
                reader.doubts.append(f"{printable(error)} is truncated again and again while it is read")
    doubts = list(dict.fromkeys([*reader.doubts, *_doubts(tally), *_beginning(source, reader, tally)]))
    # Nothing older was there to be seen: the log may be younger than the window.
    begins = since if tally.older or tally.first is None else tally.first
    return {
        "problem": reader.problem,
        "doubts": [doubt[:300] for doubt in doubts[:5]],
        "counts": tally.counts,
        "begins": stamp(begins),
        "seconds": round(max(until - begins, 0.0), 3),
        "bytes": tally.bytes,
        "guessed": tally.guessed,
        "sources": reader.names[:10],
        "kinds": tally.kinds.commonest(),
        "kinds_beyond": tally.kinds.beyond,
        "files": getattr(reader, "read_up_to", []),
    }


def _doubts(tally: Tally) -> List[str]:
    """What was read and cannot be relied on."""
    found: List[str] = []
    if tally.untimed:
        found.append(f"{tally.untimed:,} lines have no time that can be read (time_pattern, time_format)")
    if tally.ahead:
        found.append(f"times are up to {tally.ahead / 60:.0f} min ahead of the host's clock (time_zone)")
    if tally.kinds.beyond:
        found.append(f"more than {tally.kinds.most} kinds of errors: {tally.kinds.beyond:,} errors are of further ones")
    cut = tally.strange.pop(CUT, 0)
    if cut:
        found.append(f"{plural(cut, 'entry', 'entries')} longer than max_line show no level")
    if tally.strange:
        words = ", ".join(sample_of(word) for word in list(tally.strange)[:5])
        found.append(f"{sum(tally.strange.values()):,} entries have levels that are not known: {words} (levels)")
    if tally.bursts:
        sample = sample_of(tally.bursts[0])[:100]
        found.append(
            "many lines without time and level follow an entry that is no error "
            f"({plural(len(tally.bursts), 'time')}), as when a program dies: {sample} (max_plain_lines)"
        )
    return found


def _beginning(source: Dict[str, Any], reader: Any, tally: Tally) -> List[str]:
    """Whether something may be missing between the last run, or the begin of the window, and what was read."""
    if source["fresh_ok"] or reader.problem:
        return []
    positions = getattr(reader, "positions", None)
    if positions and positions.known:
        missing = positions.missing()
        if not missing:
            return []
        names = ", ".join(missing[:3])
        return [f"{names}, read last time, is gone: what was written to it since is unknown (fresh_ok)"]
    if tally.older:
        return []
    begins = f"begins at {stamp(tally.first)}" if tally.first else "is empty"
    return [f"the log {begins}, and nothing older is there: what came before may be somewhere else (fresh_ok)"]
