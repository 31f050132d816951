# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What compliance asks for: the audit trail of trading, and papers of which a few are honestly missing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from .reference import STRATEGIES
from .text import Ints
from .trading import CANCELLED, Orders

#: Columns of the trail.
TRAIL = ("id", "at", "actor", "event", "object", "details", "hash")
_EVENTS = ("order", "cancel", "limit")
_CODES = [strategy.code for strategy in STRATEGIES]


class Trail:
    """Entries of orders, cancels and limits by time.

    :param limits: how many there are, each changed at a time
    """

    def __init__(self, book: Orders, limits: int, changed: int) -> None:
        cancelled = np.flatnonzero(book.status == CANCELLED)
        number = np.arange(1, book.count + 1)
        self._at: Ints = np.concatenate([book.created, book.closed[cancelled], np.full(limits, changed)])
        self._event: Ints = np.repeat([0, 1, 2], [book.count, len(cancelled), limits])
        self._object: Ints = np.concatenate([number, cancelled + 1, np.arange(1, limits + 1)])
        self._strategy: Ints = np.concatenate([book.strategy, book.strategy[cancelled], np.zeros(limits, np.int64)])
        self._order = np.lexsort((self._object, self._event, self._at))
        self.count = len(self._at)

    def lines(self) -> Iterator[bytes]:
        """Rows as COPY wants them."""
        order = self._order
        times = np.datetime_as_string(self._at[order].astype("datetime64[us]"), unit="us").tolist()
        rows = zip(
            times,
            self._event[order].tolist(),
            self._object[order].tolist(),
            self._strategy[order].tolist(),
            strict=True,
        )
        before, chunk = "0" * 64, []
        for number, (at, event, thing, strategy) in enumerate(rows, 1):
            actor, word = "risk desk" if event == 2 else _CODES[strategy], _EVENTS[event]
            before = hashlib.sha256(f"{before}\n{number}\n{at}Z\n{actor}\n{word}\n{thing}\n".encode()).hexdigest()
            chunk.append(f"{number}\t{at}\t{actor}\t{word}\t{thing}\t\t\\\\x{before}\n")
            if len(chunk) == 20_000:
                yield "".join(chunk).encode()
                chunk = []
        if chunk:
            yield "".join(chunk).encode()


def tables(
    random: np.random.Generator, anchor: datetime, accounts: Sequence[Sequence[Any]]
) -> list[tuple[str, str, list[tuple[Any, ...]]]]:
    """Name, columns and rows of the others.

    :param accounts: rows of accounts
    """
    clients = [row for row in accounts if row[1] == "client" and row[5] == "active"]
    return [
        ("kyc_documents", "id account_code kind expires_on verified_at", documents(random, anchor, clients)),
        ("kyc_screenings", "id account_code screened_at result", screenings(random, anchor, clients)),
        (
            "data_requests",
            "code account_code kind regime received_at extended_at closed_at outcome",
            requests(anchor),
        ),
        ("risk_assessments", "id assessment assessed_at next_due_on", assessments(anchor)),
        ("regulatory_reports", "id report period_end sent_at acknowledged_at status", reports(anchor)),
    ]


def documents(random: np.random.Generator, anchor: datetime, clients: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """id, account_code, kind, expires_on, verified_at; those of a few clients have expired.

    :param clients: rows of accounts that are served
    """
    rows = []
    for number, row in enumerate(clients, 1):
        expires = anchor + timedelta(days=int(random.integers(60, 2500)))
        if number % 37 == 0:
            expires = anchor - timedelta(days=12)
        rows.append((number, row[0], ("passport", "identity_card")[number % 2], expires.date(), row[8]))
    return rows


def screenings(
    random: np.random.Generator, anchor: datetime, clients: Sequence[Sequence[Any]]
) -> list[tuple[Any, ...]]:
    """id, account_code, screened_at, result; a few are too old."""
    rows = []
    for number, row in enumerate(clients, 1):
        days = 400 if number % 29 == 0 else int(random.integers(1, 300))
        result = "dismissed" if number % 15 == 0 else "clear"
        rows.append((number, row[0], anchor - timedelta(days=days), result))
    return rows


def requests(anchor: datetime) -> list[tuple[Any, ...]]:
    """code, account_code, kind, regime, received_at, extended_at, closed_at, outcome."""

    def ago(days: int) -> datetime:
        return anchor - timedelta(days=days)

    return [
        ("DR-0001", "CLIENT-00003", "rectification", "gdpr", ago(70), None, ago(66), "fulfilled"),
        # Who asked for it is gone.
        ("DR-0002", "CLIENT-99001", "erasure", "gdpr", ago(64), None, ago(41), "fulfilled"),
        ("DR-0003", "CLIENT-00008", "access", "gdpr", ago(11), None, None, None),
        ("DR-0004", "CLIENT-00012", "opt_out", "ccpa", ago(6), None, None, None),
    ]


def assessments(anchor: datetime) -> list[tuple[Any, ...]]:
    """id, assessment, assessed_at, next_due_on; that of DORA is overdue."""
    subjects = (("algorithmic trading", 190), ("market abuse", 100), ("ICT risk management", 403))
    return [(number, name, anchor - timedelta(days=days), None) for number, (name, days) in enumerate(subjects, 1)]


def reports(anchor: datetime) -> list[tuple[Any, ...]]:
    """id, report, period_end, sent_at, acknowledged_at, status; to one of them nobody answered."""
    rows: list[tuple[Any, ...]] = []
    midnight = anchor.replace(hour=0, minute=0, second=0, microsecond=0)
    for days in range(60, 0, -1):
        end = midnight - timedelta(days=days)
        ends = [("transactions", end.weekday() < 5), ("positions", (end + timedelta(days=1)).day == 1)]
        for report in (name for name, due in ends if due):
            sent = end + timedelta(days=1, hours=4)
            if sent >= anchor:
                continue
            # In the middle of a week, whatever today is.
            silent = report == "transactions" and 12 <= days < 19 and end.weekday() == 2
            answered = None if silent or sent + timedelta(minutes=20) >= anchor else sent + timedelta(minutes=20)
            status = "sent" if answered is None else "acknowledged"
            rows.append((len(rows) + 1, report, end.date(), sent, answered, status))
    return rows
