# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the sample strategies share: a small engine of daily bars in plain Python. The contract: docs/backtest.md.

It reads request.json and prices from the folder that BACKTEST_REQUEST names, and leaves equity.csv, fills.csv and
trials.json in the current directory.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

LOT = Decimal("0.0001")
CENT = Decimal("0.01")

#: instrument -> day -> last price
Closes = dict[str, dict[str, Decimal]]
#: (closes, instrument, days, place, parameters) -> 1, 0 or -1: how it wants to be invested
Decide = Callable[[dict[str, Decimal], list[str], int, dict[str, Any]], int]


class Market:
    """What was handed in."""

    def __init__(self) -> None:
        folder = Path(os.environ["BACKTEST_REQUEST"]).parent
        self.request: dict[str, Any] = json.loads((folder / "request.json").read_text(encoding="utf-8"))
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.closes: Closes = {}
        self.times: dict[tuple[str, str], str] = {}
        for entry in manifest["prices"]:
            closes = self.closes[entry["instrument"]] = {}
            with open(folder / entry["file"], encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    # In order of time: the last one of a day stays.
                    day = row["observed_at"][:10]
                    closes[day] = Decimal(row["price"])
                    self.times[entry["instrument"], day] = row["observed_at"]


def run(market: Market, decide: Decide, *, ahead: int = 0) -> None:
    """Plays the window, and writes what came out.

    :param ahead: bars that it looks into the future: 0 is honest, and fills one bar after the decision
    """
    request = market.request
    parameters = request["parameters"]
    equity, fills = played(market, decide, parameters, ahead)
    with open("equity.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["day", "equity", "flow", "fees"])
        writer.writerows([day, f"{value:f}", "0", f"{fees:f}"] for day, value, fees in equity)
    with open("fills.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["time", "instrument", "side", "quantity", "price", "fee"])
        writer.writerows(fills)
    trials = [returns(market, decide, {**parameters, **variant}, ahead) for variant in parameters.get("tried", [])]
    told: dict[str, Any] = {"schema": 1, "trials": len(trials) or 1}
    if trials:
        told |= {"days": [day for day, _value, _fees in equity], "returns": trials}
    Path("trials.json").write_text(json.dumps(told), encoding="utf-8")


def returns(market: Market, decide: Decide, parameters: dict[str, Any], ahead: int) -> list[float]:
    """The return of each day of a variant."""
    before, found = Decimal(market.request["capital"]), []
    for _day, value, _fees in played(market, decide, parameters, ahead)[0]:
        found.append(float(value / before - 1))
        before = value
    return found


def played(
    market: Market, decide: Decide, parameters: dict[str, Any], ahead: int
) -> tuple[list[tuple[str, Decimal, Decimal]], list[list[Any]]]:
    """Equity of each day, with its fees, and the fills."""
    request = market.request
    capital = Decimal(request["capital"])
    rate = Decimal(str(request["costs"].get("fee_bps", 0))) / 10_000
    first, delay = request["window"]["from"], request["execution"]["delay_bars"]
    share = capital / len(market.closes)
    cash, held, last = capital, dict.fromkeys(market.closes, Decimal(0)), dict[str, Decimal]()
    orders: dict[tuple[str, int], int] = {}
    equity, fills = [], []
    days = sorted({day for closes in market.closes.values() for day in closes})
    bars = {name: sorted(closes) for name, closes in market.closes.items()}
    place = dict.fromkeys(market.closes, -1)
    for day in days:
        paid = Decimal(0)
        for name, closes in market.closes.items():
            if day not in closes:
                continue
            place[name] += 1
            here, price = place[name], closes[day]
            last[name] = price
            if day < first:
                continue
            if 0 <= here + ahead < len(bars[name]):
                wanted = decide(closes, bars[name], here + ahead, parameters)
                orders[name, here + (1 - ahead) + delay] = wanted
            if (name, here) in orders:
                target = (share * orders.pop((name, here)) / price).quantize(LOT, ROUND_DOWN)
                change = target - held[name]
                if change:
                    fee = (abs(change) * price * rate).quantize(CENT)
                    side = "buy" if change > 0 else "sell"
                    row = [market.times[name, day], name, side]
                    fills.append([*row, *(f"{value:f}" for value in (abs(change), price, fee))])
                    held[name] = target
                    cash -= change * price + fee
                    paid += fee
        if day >= first:
            equity.append((day, cash + sum(held[name] * last[name] for name in last), paid))
    fills.sort(key=lambda fill: (fill[0], fill[1]))
    return equity, fills


def trend(closes: dict[str, Decimal], days: list[str], place: int, parameters: dict[str, Any]) -> int:
    """Long above the average of the last days, else out."""
    span = int(parameters["days"])
    if place + 1 < span:
        return 0
    known = [closes[day] for day in days[place + 1 - span : place + 1]]
    return 1 if known[-1] * span > sum(known) else 0
