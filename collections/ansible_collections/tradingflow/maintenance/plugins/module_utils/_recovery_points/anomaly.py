# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the newest recovery point is as large, and was made as fast, as those before it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from statistics import median
from typing import Any, Callable, Dict, Iterator, List, Optional

from .._storage.read import fetch
from ..checks import OK, Check, judge, limits, unknown
from ..storage import client, storage_errors
from ..words import size, span
from . import store
from .ids import suffix

#: Recovery points before the newest that it is compared with: at least, and at most.
ENOUGH, MOST = 3, 10
#: Runs that are looked at to find them.
LOOKED_AT = 60
#: Seconds more than usual that mean nothing: a small backup takes two seconds or five.
SLOWER = 60

SIZE, SIZE_TITLE = "backups.size_anomaly", "Database in the newest recovery point"
FILES, FILES_TITLE = "backups.files_anomaly", "Application files in the newest recovery point"
#: Roles of the objects that hold the dump.
_DUMP = ("table of contents", "data")
DURATION, DURATION_TITLE = "backups.duration_anomaly", "Duration of the newest backup"


def measure(
    storage: Dict[str, Any], environment_name: str, thresholds: Dict[str, Any], engine: str = "logical"
) -> List[Check]:
    """Size and duration of an engine's newest recovery point against the median of those before it.

    :raises StorageError: the store does not answer
    """
    prefix = store.prefix_of(storage, environment_name)
    s3 = client(storage, pool=8)
    ids = store.run_ids(s3, storage, prefix)[:LOOKED_AT]
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda run_id: (run_id, _body(s3, storage, f"{prefix}/{run_id}/{store.NAME}")), ids))
    finished = [(run_id, _facts(body, prefix, run_id)) for run_id, body in bodies if body is not None]
    # What cannot be read may be of any engine.
    finished = [(run_id, facts) for run_id, facts in finished if facts is None or facts["engine"] == engine]
    source = f"s3://{storage['bucket']}/{prefix}/"
    if not finished or finished[0][1] is None:
        text = "there is none." if not finished else f"{finished[0][0]} cannot be read."
        remedy = "Make another backup (playbooks/daily.yml --tags backup)."
        return [
            unknown(id + suffix(engine), title, f"{title}: {text}", remedy, source=source)
            for id, title in ((SIZE, SIZE_TITLE), (FILES, FILES_TITLE), (DURATION, DURATION_TITLE))
        ]
    newest = finished[0][1]
    others = [facts for _run_id, facts in finished[1:] if facts]
    return list(_judged(newest, others, thresholds, source))


def _body(s3: Any, storage: Dict[str, Any], key: str) -> Optional[bytes]:
    with storage_errors(storage, f"reading {key}"):
        found = fetch(s3, storage, key)
        return None if found is None else found.read()


def _facts(body: bytes, prefix: str, run_id: str) -> Optional[Dict[str, Any]]:
    """Id, engine, kind, pace, bytes of database and files, and seconds of a recovery point; None when it is none."""
    try:
        point = store.parse(body, prefix, run_id)
        files = (point.get("application") or {}).get("engine")
        begun, ended = (datetime.strptime(point[key], "%Y-%m-%dT%H:%M:%SZ") for key in ("created_at", "finished_at"))
        engine = point["engine"]
        physical = engine["name"] == "pgbackrest"
        return {
            "id": run_id,
            "engine": engine["name"],
            # Another compression or way to keep files gives another size, and says nothing of the data.
            "kind": [
                *([] if physical else [engine[key] for key in ("format", "compression", "level")]),
                files or "archive",
            ],
            "pace": engine.get("type"),
            # An incremental backup is as large as what was changed, and of files in a repository only what was new
            # went there: all of them say more. Apart, as large files hide an empty database, and the other way round.
            "bytes": int(engine["cluster_bytes"])
            if physical
            else sum(int(entry["size"]) for entry in point["objects"] if entry["role"] in _DUMP),
            "files": int(point["application"]["bytes"]),
            "seconds": int((ended - begun).total_seconds()),
        }
    except (ValueError, KeyError, TypeError):
        return None


def _judged(
    newest: Dict[str, Any], others: List[Dict[str, Any]], thresholds: Dict[str, Any], source: str
) -> Iterator[Check]:
    end = suffix(newest["engine"])
    alike = [each for each in others if each["kind"] == newest["kind"]][:MOST]
    for id, title, what, where in (
        (SIZE, SIZE_TITLE, "bytes", "database"),
        (FILES, FILES_TITLE, "files", "application's files"),
    ):
        usual = median(each[what] for each in alike) if alike else 0
        small = bool(alike) and newest[what] < usual
        yield _compared(
            id + end,
            title,
            newest[what],
            [each[what] for each in alike],
            # Against nothing, anything is too much.
            limits(thresholds, "size_low" if small else "size_high") if usual else {"warning": None, "critical": None},
            size,
            f"Find out what is gone from the {where}; restore nothing from it before."
            if small
            else "Find out what grew, and whether the store and the time of a restore allow for it.",
            unit="bytes",
            below=small,
            source=source,
            details={"id": newest["id"]},
        )
    limit = limits(thresholds, "duration_high")
    seconds = [each["seconds"] for each in alike if each["pace"] == newest["pace"]]
    if seconds and newest["seconds"] < median(seconds) + SLOWER:
        limit = {"warning": None, "critical": None}
    yield _compared(
        DURATION + end,
        DURATION_TITLE,
        newest["seconds"],
        seconds,
        limit,
        span,
        "Look at the load of database, host and network during the backup.",
        unit="s",
        source=source,
        details={"id": newest["id"]},
    )


def _compared(
    id: str,
    title: str,
    value: int,
    others: List[int],
    limit: Dict[str, Any],
    words: Callable[[float], str],
    remedy: str,
    **common: Any,
) -> Check:
    """A value against the median of others.

    :param limit: warning and critical, in % of the median
    """
    if len(others) < ENOUGH:
        text = f"{words(value)}. Not judged yet: {len(others)} of {ENOUGH} earlier recovery points of its kind."
        common.pop("below", None)
        return Check(id, title, OK, value, message=text, **common)
    usual = median(others)
    share = f", {100 * value / usual:.0f} %" if usual else ""
    common["details"].update(median=usual, compared_with=len(others))
    limit = {key: None if percent is None else round(usual * percent / 100) for key, percent in limit.items()}
    return judge(
        id,
        title,
        value,
        **limit,
        message=f"{words(value)}{share} against {words(usual)}, the median of the {len(others)} before it.",
        remedy=remedy,
        **common,
    )
