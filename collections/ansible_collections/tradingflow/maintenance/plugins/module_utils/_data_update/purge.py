# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Removes before-images that nothing needs any more: a step of its own, with a date."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List

from .._recovery_points.fetch import choose
from .._recovery_points.recent import created
from .._work.job import DATA_UPDATE, described
from ..errors import ConfigurationError, RestoreError
from ..storage import client
from ..words import plural
from .book import DONE, UNDONE, Book, images
from .session import Session, StatementError


def looked(options: Dict[str, Any], session: Session, database: Dict[str, Any]) -> Dict[str, Any]:
    """Which before-images would go, and which stay and why.

    :param database: name and system_identifier
    """
    before = _date(options["purge_before"])
    limit = datetime.now(timezone.utc) - timedelta(days=options["purge_days"])
    refusals: List[Dict[str, str]] = []
    if before > limit:
        refusals.append(
            {
                "name": "date",
                "message": f"Before-images are kept for {options['purge_days']} days: {before.date()} is later.",
                "remedy": f"Name {limit.date()} or an earlier day.",
            }
        )
    go: List[Dict[str, Any]] = []
    stay: List[Dict[str, Any]] = []
    newest = _newest_point(options, database)
    book = Book(session)
    for update in book.all():
        if update["purged_at"] or not book.has_images(update["number"]):
            continue
        why = _needed(update, before, newest, book)
        entry = {name: update[name] for name in ("number", "change", "state", "rows", "ended_at")}
        (stay if why else go).append({**entry, "why": why})
    nothing = "" if go else "Nothing to remove."
    return {
        "table": None,
        "digest": None,
        "go": go,
        "stay": stay,
        "refusals": refusals,
        "wanted": bool(go),
        "nothing": nothing,
        "update": None,
        "fresh": False,
        "before": str(before.date()),
    }


def _date(text: Any) -> datetime:
    try:
        return datetime.strptime(str(text), "%Y-%m-%d").replace(tzinfo=timezone.utc)
    except ValueError:
        raise ConfigurationError(
            f"data_update_purge_before is {text!r}.", "Name the day before which updates must have ended: 2026-11-29."
        ) from None


def _newest_point(options: Dict[str, Any], database: Dict[str, Any]) -> Any:
    """When the newest recovery point was made; None when there is none, or it is of another database."""
    try:
        chosen = choose(
            client(options["storage"]), options["storage"], options["environment_name"], "newest", kind=DATA_UPDATE
        )
    except (ConfigurationError, RestoreError):
        return None
    of = chosen.point["database"]
    same = all(of.get(part) == known for part, known in database.items())
    return created(chosen.point) if same else None


def _needed(update: Dict[str, Any], before: datetime, newest: Any, book: Book) -> str:
    """What still needs an update's before-images; nothing when they may go."""
    if update["state"] not in (DONE, UNDONE):
        return f"it is {update['state']}"
    ended = datetime.fromisoformat(_iso(update["ended_at"]))
    if ended >= before:
        return "it ended later"
    if sum(book.left_alone(update["number"])["counts"].values()):
        return "rows were left alone when it was undone, and this is all that is known of them"
    if newest is None or newest <= ended:
        return "no recovery point was made since"
    return ""


def _iso(text: str) -> str:
    """PostgreSQL's time as Python 3.9 reads it."""
    day, _space, rest = text.partition(" ")
    clock, _plus, _zone = rest.partition("+")
    whole, _point, part = clock.partition(".")
    return f"{day}T{whole}.{(part or '0').ljust(6, '0')[:6]}+00:00"


def carried_out(options: Dict[str, Any], session: Session, result: Dict[str, Any]) -> None:
    """Drops the tables of those that may go, each in a transaction of its own, and says so in our book.

    The numbers of those that went are in the result; what ended it early is its problem.
    """
    book = Book(session)
    gone = result["gone"] = []
    for entry in result["go"]:
        dropped = False
        try:
            session.begin(options["lock_timeout"], options["statement_timeout"])
            update = book.locked(entry["number"])
            if update["state"] == entry["state"] and update["ended_at"] == entry["ended_at"]:
                dropped = True
                session.rows(f"DROP TABLE {images(entry['number'])}")
                session.rows(
                    "UPDATE tradingflow_data_update.updates SET purged_at = clock_timestamp() WHERE number = %s",
                    (entry["number"],),
                )
            session.end("COMMIT")
        except StatementError as error:
            session.roll_back()
            state = f"Those of {plural(len(gone), 'update')} of {len(result['go'])} are gone."
            if dropped and error.in_doubt:
                result["changed"] = True
                state += f" Whether those of update {entry['number']} are is not known."
            result["problem"] = {"phase": "purge", **described(error), "state": state}
            return
        except BaseException:
            session.roll_back()
            raise
        if dropped:
            gone.append(entry["number"])
            result["changed"] = True
