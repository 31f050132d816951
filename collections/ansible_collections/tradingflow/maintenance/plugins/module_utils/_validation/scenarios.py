# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stress scenarios: what is held at the prices of now, and at shocked ones. Exact, as the books are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .._checks.risk import EXACT
from ..checks import CRITICAL, OK, UNKNOWN, WARNING, Check, limits, unknown, worst
from ..words import amount, printable

Row = Mapping[str, Any]
Scenario = Mapping[str, Any]

SOURCE = "views maintenance.positions, instruments and prices"
#: Days with a price that a deviation takes.
LEAST_CLOSES = 20
#: A quotient and a root have digits without end; what is made of them is exact again.
ROUNDED = Context(prec=28)
HUNDRED = Decimal(100)


class CannotTell(Exception):
    """Why the loss of a scenario is not known. The text begins in lower case."""


@dataclass(frozen=True)
class Position:
    """What is held of an instrument by a strategy."""

    strategy: str
    instrument: str
    asset_class: str
    currency: str
    units: Decimal
    price: Decimal


@dataclass
class Holdings:
    """All that is held, at the prices of now.

    :param doubt: why that is not known, empty when it is
    :param instruments: all that are known, whether or not they are held, with their asset class
    :param rates: currency -> what one is worth in the validation's
    """

    doubt: str = ""
    positions: List[Position] = field(default_factory=list)
    instruments: Dict[str, str] = field(default_factory=dict)
    rates: Dict[str, Decimal] = field(default_factory=dict)
    closes: Dict[str, List[Decimal]] = field(default_factory=dict)


def holdings(rows: Mapping[str, Sequence[Row]], currency: Optional[str], rates: Mapping[str, Any]) -> Holdings:
    """What the views say.

    :param rows: positions, instruments, prices, closes
    :param currency: that losses are in; None when all prices are in one
    :param rates: other currencies -> the instrument whose newest price, in that currency, is their rate
    """
    found = Holdings()
    multipliers: Dict[str, Decimal] = {}
    for row in rows["instruments"]:
        name, multiplier = row["instrument"] or "", row["multiplier"]
        if name in multipliers and (multipliers[name], found.instruments[name]) != (multiplier, row["asset_class"]):
            found.doubt = f"the instrument {printable(name, 40)} is there twice, and differs"
            return found
        multipliers[name] = multiplier
        found.instruments[name] = row["asset_class"] or ""
    prices = {row["instrument"]: row for row in rows["prices"]}
    for row in rows.get("closes", []):
        found.closes.setdefault(row["instrument"], []).append(row["price"])
    for row in rows["positions"]:
        name = row["instrument"] or ""
        shown = printable(name, 40)
        price = prices.get(name)
        if not _number(row["quantity"]) or not row["strategy"]:
            found.doubt = f"the position in {shown} has no strategy, or is no number"
        elif name not in multipliers:
            found.doubt = f"there is no instrument {shown}, of which something is held"
        elif not _number(multipliers[name]) or multipliers[name] <= 0:
            found.doubt = f"the multiplier of {shown} is not a number above 0"
        elif price is None or not _number(price["price"]) or price["price"] <= 0 or not price["currency"]:
            found.doubt = f"there is no recent price above 0 of {shown}"
        if found.doubt or price is None:
            return found
        with localcontext(EXACT):
            units = row["quantity"] * multipliers[name]
        asset_class = found.instruments[name]
        found.positions.append(Position(row["strategy"], name, asset_class, price["currency"], units, price["price"]))
    held = {one.currency for one in found.positions}
    if not currency and len(held) > 1:
        found.doubt = f"prices are in {', '.join(printable(one, 10) for one in sorted(held))}, and no currency is set"
    into = currency or next(iter(held), "")
    found.rates = {into: Decimal(1)}
    for name, instrument in rates.items():
        rate = prices.get(str(instrument))
        if name != into and rate and rate["currency"] == into and _number(rate["price"]) and rate["price"] > 0:
            found.rates[str(name)] = rate["price"]
    missing = sorted(held - found.rates.keys())
    if missing and not found.doubt:
        found.doubt = f"there is no rate of {printable(missing[0], 10)}"
    return found


def _number(value: Any) -> bool:
    return isinstance(value, Decimal) and value.is_finite()


def losses(scenario: Scenario, found: Holdings) -> Dict[str, Decimal]:
    """Of each strategy that holds something; a gain is below 0.

    :raises CannotTell: something that it names is not known
    """
    if found.doubt:
        raise CannotTell(found.doubt)
    by: Dict[str, Dict[str, Mapping[str, Any]]] = {}
    for shock in scenario["shocks"]:
        by.setdefault(shock["target"], {})[str(shock["of"])] = shock
    known = {
        "instrument": set(found.instruments),
        "asset_class": set(found.instruments.values()),
        "currency": set(found.rates),
    }
    for target, names in by.items():
        strange = sorted(names.keys() - known.get(target, names.keys()))
        if strange:
            raise CannotTell(f"there is no {target.replace('_', ' ')} {printable(strange[0], 40)}")
    result: Dict[str, Decimal] = {}
    with localcontext(EXACT):
        for one in found.positions:
            if by.get("asset_class") and not one.asset_class and one.instrument not in by.get("instrument", {}):
                raise CannotTell(f"nobody tells the asset class of {printable(one.instrument, 40)}, which is held")
            shock = by.get("instrument", {}).get(one.instrument) or by.get("asset_class", {}).get(one.asset_class)
            shock = shock or next(iter(by.get("everything", {}).values()), None)
            moved = Decimal(1) + _move(shock, one.instrument, found)
            rate = Decimal(1) + _move(by.get("currency", {}).get(one.currency), one.instrument, found)
            now = one.units * one.price * found.rates[one.currency]
            result[one.strategy] = result.get(one.strategy, Decimal(0)) + now - now * moved * rate
    return result


def _move(shock: Optional[Mapping[str, Any]], instrument: str, found: Holdings) -> Decimal:
    """By what share a price moves."""
    if shock is None:
        return Decimal(0)
    size: Decimal = shock["size"]
    if shock["by"] == "percent":
        return size.scaleb(-2)
    moved = ROUNDED.multiply(size, deviation(found.closes.get(instrument, []), instrument))
    # No price falls below 0, however many deviations that is.
    return max(Decimal(-1), moved)


def deviation(closes: Sequence[Decimal], instrument: str) -> Decimal:
    """[deviation] Of the daily moves of a price, as a share, with n - 1.

    :raises CannotTell: there are too few, or one is no price
    """
    shown = printable(instrument, 40)
    if len(closes) < LEAST_CLOSES + 1:
        raise CannotTell(f"there are {len(closes)} days with a price of {shown}, and it takes {LEAST_CLOSES + 1}")
    if any(not _number(price) or price <= 0 for price in closes):
        raise CannotTell(f"a price of {shown} is not a number above 0")
    with localcontext(ROUNDED):
        moves = [after / before - 1 for before, after in itertools.pairwise(closes)]
        mean = sum(moves, Decimal(0)) / len(moves)
        return (sum(((move - mean) ** 2 for move in moves), Decimal(0)) / (len(moves) - 1)).sqrt()


def planned(scenario: Scenario) -> Tuple[str, str]:
    """Id and title of a scenario's check."""
    shown = printable(scenario["name"])
    return f"validation.stress:{shown}", f"Loss in the scenario {shown}"


def judged(
    scenario: Scenario, found: Holdings, accounts: Mapping[str, str], currency: str, thresholds: Dict[str, Any]
) -> Check:
    """A scenario's losses against the limits that are declared for it.

    :param accounts: strategy -> its account
    """
    id, title = planned(scenario)
    try:
        by_strategy = losses(scenario, found)
        stranger = next((name for name in sorted(by_strategy) if name not in accounts), None)
        if stranger is not None:
            raise CannotTell(f"{printable(stranger, 40)} holds something, and is no strategy")
        known = {"book": Decimal(0), **{f"strategy/{name}": Decimal(0) for name in accounts}}
        known.update({f"account/{name}": Decimal(0) for name in accounts.values() if name})
        with localcontext(EXACT):
            for name, loss in by_strategy.items():
                known["book"] += loss
                known[f"strategy/{name}"] += loss
                if accounts[name]:
                    known[f"account/{accounts[name]}"] += loss
        homeless = any(not accounts[name] for name in by_strategy)
        wrong = [name for name in scenario["limits"] if name not in known]
        if wrong:
            raise CannotTell(f"its limit of {printable(wrong[0], 60)} is of nothing that there is")
        if homeless and any(name.startswith("account/") for name in scenario["limits"]):
            raise CannotTell("a strategy without an account holds something, and an account has a limit")
    except CannotTell as error:
        remedy = "Provide what is missing, or correct model_validation_scenarios."
        return unknown(id, title, f"{title}: {error}.", remedy, source=SOURCE)
    return _against(id, title, scenario, known, currency, thresholds)


def _against(
    id: str, title: str, scenario: Scenario, known: Dict[str, Decimal], currency: str, thresholds: Dict[str, Any]
) -> Check:
    limit = limits(thresholds, "stress")
    money = f" {currency}" if currency else ""
    details: Dict[str, Any] = {
        "losses": {name: str(value) for name, value in sorted(known.items()) if value},
        "limits": {name: str(value) for name, value in scenario["limits"].items()},
    }
    loss = known["book"]
    text = f"The book would {'lose' if loss >= 0 else 'gain'} {amount(abs(round(loss, 2)))}{money}."
    worst_of = sorted(((value, name) for name, value in known.items() if name.startswith("strategy/")), reverse=True)
    if worst_of and worst_of[0][0] > 0:
        text += f" Most by {worst_of[0][1].partition('/')[2]}: {amount(round(worst_of[0][0], 2))}."
    if not scenario["limits"]:
        text += " No limit is declared for this scenario."
        return unknown(id, title, text, "Declare limits in the scenario.", source=SOURCE, details=details)
    uses = {name: ROUNDED.divide(known[name] * HUNDRED, value) for name, value in scenario["limits"].items()}
    statuses = dict.fromkeys(uses, OK)
    for name, use in uses.items():
        for state in (CRITICAL, WARNING):
            if limit[state] is not None and use >= Decimal(str(limit[state])):
                statuses[name] = state
                break
    status = worst(statuses.values())
    top = max(uses, key=lambda name: uses[name])
    value = max(Decimal(0), round(uses[top], 1))
    text += f" {printable(top, 60)} uses {amount(value)} % of its limit of {amount(scenario['limits'][top])}{money}."
    remedy = "Reduce what loses most, or hedge it, as the risk policy says."
    common: Dict[str, Any] = {"unit": "%", "source": SOURCE, "details": details, "message": text, **limit}
    return Check(id, title, status, value, remedy="" if status in (OK, UNKNOWN) else remedy, **common)
