# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the clocks agree: recovery to a time is only as good as they are."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict, Optional

from .._ledger.places import store_date
from ..checks import Check, judge, unknown
from ..storage import storage_errors
from ..words import span
from .server import Server

STORE, STORE_TITLE = "backups.clock:store", "Clock of the store"
DATABASE, DATABASE_TITLE = "backups.clock:database", "Clock of the database"


def apart(begun: datetime, ended: datetime, there: datetime, resolution: float = 0.0) -> float:
    """Seconds that another's clock is surely off ours: positive when it is ahead.

    :param begun, ended: when it was asked and had answered, by our clock
    :param resolution: s of its time, which is cut off
    """
    latest = there + timedelta(seconds=resolution)
    if latest < begun:
        return (latest - begun).total_seconds()
    return max(0.0, (there - ended).total_seconds())


def of_store(s3: Any, storage: Dict[str, Any], limit: Dict[str, Any]) -> Check:
    """The store's clock against this machine's.

    :raises StorageError: the store does not answer
    """
    source = f"header Date of s3://{storage['bucket']}"
    begun = datetime.now(timezone.utc)
    with storage_errors(storage, "asking for the time"):
        answer = s3.list_objects_v2(Bucket=storage["bucket"], MaxKeys=1)
    ended, there = datetime.now(timezone.utc), store_date(answer)
    if there is None:
        text = "The store does not say what time it is."
        return unknown(STORE, STORE_TITLE, text, "Look for what removes the header Date.", source=source)
    return _judged(STORE, STORE_TITLE, "store", apart(begun, ended, there, 1.0), limit, source)


def of_database(server: Optional[Server], limit: Dict[str, Any], why: str = "", remedy: str = "") -> Check:
    """The database's clock against this machine's.

    :param server: None when it does not answer
    """
    source = "clock_timestamp()"
    if server is None:
        return unknown(DATABASE, DATABASE_TITLE, why, remedy, source=source)
    off = apart(server.asked_at, server.asked_at + timedelta(seconds=server.took), server.now)
    return _judged(DATABASE, DATABASE_TITLE, "database", off, limit, source)


def _judged(id: str, title: str, whose: str, off: float, limit: Dict[str, Any], source: str) -> Check:
    way = "ahead of" if off > 0 else "behind"
    text = f"The {whose}'s clock and this machine's agree."
    if abs(off) >= 0.5:
        text = f"The {whose}'s clock is {span(abs(off))} {way} this machine's."
    remedy = "Synchronise the clocks (chrony or systemd-timesyncd), this machine's too."
    return judge(id, title, round(abs(off), 1), unit="s", **limit, message=text, remedy=remedy, source=source)
