# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a strategy leaves, by its grammar: what is not exactly that is no output."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, Optional, Tuple

from ..words import printable

EQUITY, FILLS, TRIALS = "equity.csv", "fills.csv", "trials.json"
NAMES = (EQUITY, FILLS, TRIALS)
EQUITY_COLUMNS = ["day", "equity", "flow", "fees"]
FILL_COLUMNS = ["time", "instrument", "side", "quantity", "price", "fee"]
#: Rows and trials that are read.
MOST_DAYS, MOST_FILLS, MOST_TRIALS = 40_000, 5_000_000, 10_000
_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?Z")
#: Two results agree within this share of the larger one.
NEAR = Decimal("1e-9")


class BadOutput(Exception):
    """It is not what the contract says. The text says why, beginning in lower case."""


@dataclass(frozen=True)
class Equity:
    """One day, in the strategy's currency."""

    day: date
    equity: Decimal
    flow: Decimal
    fees: Decimal


@dataclass(frozen=True)
class Fill:
    """One fill. time is as it was written; quantity is negative for what was sold."""

    time: str
    day: date
    instrument: str
    quantity: Decimal
    price: Decimal
    fee: Decimal


@dataclass
class Outputs:
    """All that a run left.

    :param trials: how many variants it says that were tried
    :param returns: of each trial, a list of one return per day; empty when it does not tell
    :param digests: name -> SHA-256
    """

    days: List[Equity]
    fills: List[Fill]
    trials: int = 1
    returns: List[List[float]] = field(default_factory=list)
    digests: Dict[str, str] = field(default_factory=dict)

    def until(self, last: date) -> "Outputs":
        """What it has up to a day."""
        return Outputs([one for one in self.days if one.day <= last], [one for one in self.fills if one.day <= last])


def parse(folder: Path, first: date, last: date, instruments: Collection[str]) -> Outputs:
    """The three files of a run.

    :param first: the window's first day; nothing lies outside
    :raises BadOutput: one of them is not as it must be
    """
    digests = {}
    for name in NAMES:
        try:
            digests[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError:
            raise BadOutput(f"there is no {name}") from None
    days = _equity(folder / EQUITY, first, last)
    fills = _fills(folder / FILLS, first, last, instruments)
    trials, returns = _trials(folder / TRIALS, [one.day for one in days])
    return Outputs(days, fills, trials, returns, digests)


def _rows(path: Path, columns: List[str], most: int) -> Iterator[Tuple[int, List[str]]]:
    """Number of the line, and its fields."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = next(lines, [])
            if header != columns:
                raise BadOutput(f"{path.name} does not begin with the columns {','.join(columns)}")
            for number, row in enumerate(lines, 2):
                if number > most + 1:
                    raise BadOutput(f"{path.name} has more than {most:,} rows")
                if len(row) != len(columns):
                    raise BadOutput(f"line {number} of {path.name} has {len(row)} fields instead of {len(columns)}")
                yield number, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise BadOutput(f"{path.name} is no CSV: {printable(error, 80)}") from None


def _number(text: str, what: str, path: Path, line: int) -> Decimal:
    if not _NUMBER.fullmatch(text):
        raise BadOutput(f"{what} in line {line} of {path.name} is no number: {printable(text, 20)}")
    return Decimal(text)


def _date(text: str, path: Path, line: int) -> date:
    try:
        if not _DAY.fullmatch(text):
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise BadOutput(f"line {line} of {path.name} has no day: {printable(text, 20)}") from None


def _equity(path: Path, first: date, last: date) -> List[Equity]:
    found: List[Equity] = []
    for line, (text, *numbers) in _rows(path, EQUITY_COLUMNS, MOST_DAYS):
        day = _date(text, path, line)
        if found and day <= found[-1].day:
            what = "is there twice" if day == found[-1].day else "is not in order"
            raise BadOutput(f"{day} in line {line} of {path.name} {what}")
        if not first <= day <= last:
            raise BadOutput(f"{day} in line {line} of {path.name} is not in the window")
        found.append(
            Equity(day, *(_number(n, what, path, line) for n, what in zip(numbers, EQUITY_COLUMNS[1:])))  # noqa: B905
        )
    if not found:
        raise BadOutput(f"{path.name} has no day")
    return found


def _fills(path: Path, first: date, last: date, instruments: Collection[str]) -> List[Fill]:
    found: List[Fill] = []
    for line, (time, instrument, side, *numbers) in _rows(path, FILL_COLUMNS, MOST_FILLS):
        match = _TIME.fullmatch(time)
        if not match:
            raise BadOutput(f"line {line} of {path.name} has no time in UTC: {printable(time, 40)}")
        day = _date(match[1], path, line)
        if found and sortable(time) < sortable(found[-1].time):
            raise BadOutput(f"{time} in line {line} of {path.name} is not in order")
        if not first <= day <= last:
            raise BadOutput(f"{day} in line {line} of {path.name} is not in the window")
        if instrument not in instruments:
            raise BadOutput(f"{printable(instrument, 40)} in line {line} of {path.name} is none of its instruments")
        if side not in ("buy", "sell"):
            raise BadOutput(f"line {line} of {path.name} says neither buy nor sell: {printable(side, 20)}")
        quantity, price, fee = (
            _number(n, what, path, line)
            for n, what in zip(numbers, FILL_COLUMNS[3:])  # noqa: B905
        )
        if quantity <= 0:
            raise BadOutput(f"the quantity in line {line} of {path.name} is not above 0")
        found.append(Fill(time, day, instrument, quantity if side == "buy" else -quantity, price, fee))
    return found


def sortable(time: str) -> str:
    """However many digits the seconds have."""
    return time[:-1].ljust(26, "0") if "." in time else f"{time[:-1]}.000000"


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no number")


def _trials(path: Path, days: List[date]) -> Tuple[int, List[List[float]]]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadOutput(f"{path.name} is no JSON: {printable(error, 80)}") from None
    if not isinstance(told, dict) or told.get("schema") != 1:
        raise BadOutput(f"{path.name} has no schema 1")
    if set(told) - {"schema", "trials", "days", "returns"}:
        raise BadOutput(f"{path.name} has keys that nobody knows: {printable(sorted(told), 80)}")
    count = told.get("trials")
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST_TRIALS:
        raise BadOutput(f"trials in {path.name} is no number from 1 to {MOST_TRIALS:,}")
    returns = told.get("returns", [])
    if not returns:
        return count, []
    if told.get("days") != [str(day) for day in days]:
        raise BadOutput(f"days in {path.name} are not those of {EQUITY}")
    if not isinstance(returns, list) or len(returns) > count:
        raise BadOutput(f"{path.name} has returns of more trials than it counts")
    for one in returns:
        if not isinstance(one, list) or len(one) != len(days) or not all(map(_finite, one)):
            raise BadOutput(f"the returns of a trial in {path.name} are not one number for each day")
    return count, [[float(value) for value in one] for one in returns]


def _finite(value: Any) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def difference(one: Outputs, other: Outputs) -> Optional[str]:
    """How two runs that should be the same differ, for people; None if they do not.

    Fills are the same exactly, equity within 1e-9 of the larger one: last digits differ by processor and library.
    """
    mine, theirs = {row.day: row for row in one.days}, {row.day: row for row in other.days}
    apart = sorted(mine.keys() ^ theirs.keys())
    if apart:
        return f"equity of {apart[0]} is in one of them only"
    fills = [_exact(fill) for fill in one.fills], [_exact(fill) for fill in other.fills]
    if fills[0] != fills[1]:
        at = next((place for place, (a, b) in enumerate(zip(*fills)) if a != b), min(map(len, fills)))  # noqa: B905
        which = [run.fills[at] for run in (one, other) if at < len(run.fills)]
        first = min(which, key=lambda fill: fill.time)
        count = " and ".join(str(len(each)) for each in fills)
        return f"fills differ from {first.day} on ({printable(first.instrument, 40)}; {count} fills)"
    for day, row in mine.items():
        for what in ("equity", "flow", "fees"):
            a, b = getattr(row, what), getattr(theirs[day], what)
            if abs(a - b) > NEAR * max(abs(a), abs(b)):
                return f"{what} of {day} is {a:f} and {b:f}"
    return None


def _exact(fill: Fill) -> Tuple[str, str, Decimal, Decimal, Decimal]:
    return sortable(fill.time), fill.instrument, fill.quantity, fill.price, fill.fee
