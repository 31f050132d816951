# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prices of one moment as files, each with its SHA-256, and slices of them."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.sql import Row, reading
from .._checks.trading import CATALOGUE, SCHEMA, lack
from ..errors import ConfigurationError, DatabaseError
from .options import Instrument, Strategy

try:
    from psycopg2 import sql
except ImportError:
    sql = None  # type: ignore[assignment]

PRICES = {"instrument": "text", "currency": "text", "price": "exact", "observed_at": "time"}
#: If you like: days of which an instrument was in the universe, those that are gone among them.
UNIVERSE = {"instrument": "text", "valid_from": "date", "valid_until": "date"}
HEADER = b"observed_at,price\n"
#: Of a time as it is written: whole lines sort by it.
_FORM = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'

TODAY_SQL = "SELECT (now() AT TIME ZONE 'UTC')::date AS today, now() AS now"
ABOUT_SQL = """
SELECT instrument::text AS instrument, count(*) AS rows,
       count(*) FILTER (WHERE price IS NULL OR NOT (price::numeric > '-Infinity' AND price::numeric < 'Infinity'))
           AS no_number,
       count(*) FILTER (WHERE NOT isfinite(observed_at) OR observed_at IS NULL) AS no_time,
       count(*) - count(DISTINCT observed_at) - count(*) FILTER (WHERE observed_at IS NULL) AS twice,
       count(DISTINCT currency) + (count(*) <> count(currency))::int AS currencies, min(currency::text) AS currency
FROM maintenance.prices
WHERE instrument = ANY(%(instruments)s) AND (observed_at >= %(first)s AND observed_at < %(end)s
      OR observed_at IS NULL OR NOT isfinite(observed_at))
GROUP BY 1
"""
COPY_SQL = """
COPY (SELECT to_char(observed_at AT TIME ZONE 'UTC', {form}), price::numeric FROM maintenance.prices
      WHERE instrument = {instrument} AND observed_at >= {first} AND observed_at < {end} ORDER BY observed_at)
TO STDOUT (FORMAT csv)
"""
UNIVERSE_SQL = """
SELECT instrument::text AS instrument, valid_from, valid_until FROM maintenance.universe
WHERE instrument = ANY(%(instruments)s) ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Prices:
    """Of one instrument: its file is named by its SHA-256."""

    instrument: str
    currency: str
    rows: int
    sha256: str


@dataclass
class Snapshot:
    """Prices of all instruments.

    :param at: the moment, as the database said it
    :param until: the last day
    :param odd: instrument -> why its prices cannot be relied on
    :param universe: of the view; None when there is none
    """

    at: str
    until: date
    prices: Dict[str, Prices] = field(default_factory=dict)
    odd: Dict[str, str] = field(default_factory=dict)
    universe: Optional[Dict[str, List[Instrument]]] = None

    def data(self) -> Dict[str, Any]:
        """As JSON data."""
        listed = None
        if self.universe is not None:
            listed = [
                [one.name, one.first and str(one.first), one.last and str(one.last)]
                for name in sorted(self.universe)
                for one in self.universe[name]
            ]
        return {
            "schema": 1,
            "at": self.at,
            "until": str(self.until),
            "prices": [asdict(self.prices[name]) for name in sorted(self.prices)],
            "universe": listed,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, but for the moment: the same prices are the same."""
        told = {key: value for key, value in self.data().items() if key != "at"}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()

    @staticmethod
    def known(data: Mapping[str, Any]) -> "Snapshot":
        """One that was kept.

        :raises (KeyError, TypeError, ValueError): it is damaged
        """
        found = Snapshot(data["at"], date.fromisoformat(data["until"]))
        found.prices = {one["instrument"]: Prices(**one) for one in data["prices"]}
        if data["universe"] is not None:
            found.universe = {}
            for name, first, last in data["universe"]:
                ends = [date.fromisoformat(text) if text else None for text in (first, last)]
                found.universe.setdefault(name, []).append(Instrument(name, *ends))
        return found


def read(database: Row, timeout: int, until: Optional[date], strategies: Sequence[Strategy], folder: Path) -> Snapshot:
    """All prices that the strategies need, from one transaction that only reads.

    :param until: the last day, None for the last that is over
    :param strategies: as they are now, and as they were when they were last refreshed
    :param folder: where the files are kept by their digests
    :raises MaintenanceError: the database does not answer, or has not what is needed
    """
    names = sorted({one.name for strategy in strategies for one in strategy.instruments})
    with reading(database, timeout, "REPEATABLE READ") as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute(CATALOGUE, (SCHEMA,))
        catalogue: Dict[str, Dict[str, Row]] = {}
        for row in cursor.fetchall():
            catalogue.setdefault(row["view"], {})[row["column"]] = row
        views: Dict[str, Mapping[str, str]] = {"prices": PRICES}
        if "universe" in catalogue:
            views["universe"] = UNIVERSE
        lacking = lack(catalogue, views)
        if lacking:
            raise ConfigurationError(f"No snapshot of prices: {lacking[0]}", lacking[1])
        cursor.execute(TODAY_SQL)
        today, now = cursor.fetchone().values()
        until = until or today - timedelta(days=1)
        if until >= today:
            raise ConfigurationError(
                f"The last day of the refresh, {until}, is not over.", "Set backtest_refresh_until to an earlier day."
            )
        found = Snapshot(f"{now:%Y-%m-%dT%H:%M:%S.%fZ}", until)
        if "universe" in catalogue:
            cursor.execute(UNIVERSE_SQL, {"instruments": names})
            found.universe = {}
            for row in cursor.fetchall():
                one = Instrument(row["instrument"], row["valid_from"], row["valid_until"])
                found.universe.setdefault(one.name, []).append(one)
        first = min((begin(one) for one in strategies), default=until)
        # In words: its times are of UTC, as the transaction's.
        asked = {"instruments": names, "first": f"{first} 00:00+00", "end": f"{until + timedelta(days=1)} 00:00+00"}
        cursor.execute(ABOUT_SQL, asked)
        for row in cursor.fetchall():
            _one(cursor, row, asked, found, folder)
    for name in names:
        if name not in found.prices:
            found.odd.setdefault(name, "there is no price of it")
    return found


def begin(strategy: Strategy) -> date:
    """The first day of which any of its runs gets prices."""
    return strategy.first - timedelta(days=longer(strategy))


def longer(strategy: Strategy) -> int:
    """Days of its longer warm-up: twice what it says; one that says that it needs none gets a month."""
    return 2 * strategy.warm_up or 30


def _one(cursor: Any, about: Row, asked: Dict[str, Any], found: Snapshot, folder: Path) -> None:
    name = about["instrument"]
    for key, why in (
        ("no_number", "prices are no numbers"),
        ("no_time", "prices have no time"),
        ("twice", "prices have the time of another"),
    ):
        if about[key]:
            found.odd[name] = f"{about[key]} of its {why}"
    if about["currencies"] != 1:
        found.odd[name] = f"its prices are in {about['currencies']} currencies"
    temporary = folder / f".new-{os.getpid()}"
    statement = sql.SQL(COPY_SQL).format(
        form=sql.Literal(_FORM),
        instrument=sql.Literal(name),
        first=sql.Literal(asked["first"]),
        end=sql.Literal(asked["end"]),
    )
    try:
        with open(temporary, "wb") as file:
            os.chmod(temporary, 0o600)
            file.write(HEADER)
            # psycopg2 gives bytes to what has no encoding.
            cursor.copy_expert(statement.as_string(cursor.connection), file)
        digest = sha256(temporary)
        rows = about["rows"] - about["no_time"]
        if temporary.stat().st_size <= len(HEADER):
            return
        os.replace(temporary, folder / digest)
        found.prices[name] = Prices(name, about["currency"] or "", rows, digest)
    except OSError as error:
        raise DatabaseError(f"The snapshot of prices could not be written: {error}", "Free space there.") from None
    finally:
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """Of a file."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            found.update(data)
    return found.hexdigest()


@dataclass(frozen=True)
class Slice:
    """What a run gets to see, as files in a folder.

    :param digest: SHA-256 of its manifest, which has those of all files
    :param files: instrument -> its digest
    """

    folder: Path
    digest: str
    files: Dict[str, str]


def cut(
    snapshot: Snapshot,
    kept: Path,
    strategy: Strategy,
    first: date,
    last: date,
    universe: Sequence[Instrument],
    to: Path,
) -> Slice:
    """The strategy's prices from one day to another, both included, and the universe as it was known then.

    :param kept: folder of the snapshot's files
    :param to: a new folder, readable for others, as the program has no rights
    :raises (OSError, KeyError): a file of the snapshot is gone
    """
    for made in (to, to / "prices"):
        made.mkdir()
        made.chmod(0o755)
    listed, files = [], {}
    for number, name in enumerate(sorted({one.name for one in strategy.instruments}), 1):
        prices = snapshot.prices[name]
        target = to / "prices" / f"{number:04d}.csv"
        digest = _slice(kept / prices.sha256, target, str(first), str(last + timedelta(days=1)))
        files[name] = digest
        entry = {"instrument": name, "currency": prices.currency, "file": f"prices/{number:04d}.csv", "sha256": digest}
        listed.append(entry)
    lines = ["instrument,from,until"]
    for one in universe:
        # What nobody could know by then is left out: later entries, and ends that had not come.
        if one.first is None or one.first <= last:
            end = one.last if one.last is not None and one.last <= last else None
            lines.append(f"{_field(one.name)},{one.first or ''},{end or ''}")
    text = "\n".join(lines) + "\n"
    _write(to / "universe.csv", text.encode())
    told = {"schema": 1, "prices": listed, "universe": {"file": "universe.csv", "sha256": _digest(text.encode())}}
    manifest = json.dumps(told, indent=1, ensure_ascii=False).encode()
    _write(to / "manifest.json", manifest)
    return Slice(to, _digest(manifest), files)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if any(char in text for char in ',"\n\r') else text


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o444)


def _slice(source: Path, target: Path, first: str, end: str) -> str:
    """Lines from one day up to another, by halving: they are in order."""
    found = hashlib.sha256(HEADER)
    with open(source, "rb") as file, open(target, "wb") as out:
        out.write(HEADER)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            low, high = (_place(data, day.encode()) for day in (first, end))
            while low < high:
                part = data[low : min(high, low + (1 << 20))]
                found.update(part)
                out.write(part)
                low += len(part)
    target.chmod(0o444)
    return found.hexdigest()


def _place(data: Any, day: bytes) -> int:
    """Where the first line is that is not before a day."""
    low, high = len(HEADER), len(data)
    while low < high:
        middle = data.rfind(b"\n", low - 1, (low + high) // 2) + 1
        middle = max(middle, low)
        if data[middle : middle + 10] < day:
            low = data.find(b"\n", middle) + 1 or len(data)
        else:
            high = middle
    return low


def last_prices(path: Path) -> Dict[date, str]:
    """Day -> the last price of it, as it is written in a slice's file."""
    found: Dict[date, str] = {}
    with open(path, encoding="ascii") as file:
        next(file)
        for line in file:
            time, price = line.rstrip("\n").split(",")
            found[date.fromisoformat(time[:10])] = price
    return found


def changed(one: Slice, other: Slice) -> Tuple[str, ...]:
    """Instruments whose prices in two slices of the same days differ."""
    return tuple(sorted(name for name in {*one.files, *other.files} if one.files.get(name) != other.files.get(name)))
