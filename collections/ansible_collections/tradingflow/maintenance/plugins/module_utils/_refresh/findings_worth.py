# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a refresh says of a strategy's figures: no number without its interval and sample."""

from __future__ import annotations

from typing import Any, Dict

from ..checks import CRITICAL, OK, WARNING, Check, limits, unknown
from ..words import plural
from .options import Settings
from .worth import Worth

SOURCE = "refreshed backtest"
LATER = "Refresh again when there is more history."
CORRECT = "Correct what the message names; docs/backtest.md has the contract."


def percent(value: Any) -> str:
    """As people read it."""
    return f"{float(value):.2f} %"


def performance(id: str, title: str, found: Worth, settings: Settings) -> Check:
    """By the Sharpe ratio's interval: what it does not exclude nobody knows."""
    data, limit = found.figures.data, limits(settings.thresholds, "sharpe")
    text = f"Net {percent(100 * data['twr'])} in {plural(found.figures.count, 'session')}."
    common: Dict[str, Any] = {"source": SOURCE, "details": {"figures": data}, **limit}
    if not found.figures.sharpe:
        return unknown(id, title, f"{text} No Sharpe ratio: {found.figures.why_no_sharpe}.", LATER, **common)
    low, high = data["sharpe_interval"]
    text += f" Sharpe ratio {data['sharpe']:.2f},"
    text += f" {100 * settings.confidence:g} % between {low:.2f} and {high:.2f}."
    text += f" Deepest drawdown {percent(100 * -data['maximum_drawdown'])}."
    if found.figures.count < settings.minimum:
        text += f" Too short to tell: fewer than {settings.minimum} sessions."
        return unknown(id, title, text, LATER, **common)
    value = round(data["sharpe"], 4)
    for status in (CRITICAL, WARNING):
        bound = limit[status]
        if bound is not None and high <= bound:
            text += f" Even the interval's upper end is not above {bound}."
            return Check(id, title, status, value, message=text, remedy="Decide whether it goes on.", **common)
    bounds = [limit[status] for status in (CRITICAL, WARNING) if limit[status] is not None]
    if bounds and low <= max(bounds):
        text += f" Too short to tell from {max(bounds)}."
        return unknown(id, title, text, LATER, **common)
    return Check(id, title, OK, value, message=text, **common)


def overfitting(id: str, title: str, found: Worth, settings: Settings) -> Check:
    """By the deflated Sharpe ratio and the probability of backtest overfitting."""
    dsr, limit = found.figures.data.get("dsr"), limits(settings.thresholds, "pbo")
    tried = plural(found.trials, "trial")
    text = f"{tried}; deflated Sharpe ratio {'undefined' if dsr is None else percent(100 * dsr)}"
    text += f", probability of overfitting {percent(100 * found.pbo)}." if found.pbo is not None else "."
    common: Dict[str, Any] = {"source": SOURCE, "unit": "%", **limit}
    value = None if found.pbo is None else round(100 * found.pbo, 4)
    remedy = "Its parameters were chosen among too many for so short a history: choose fewer, or wait."
    for status in (CRITICAL, WARNING):
        bound = limit[status]
        if value is not None and bound is not None and value >= bound:
            return Check(id, title, status, value, message=text, remedy=remedy, **common)
    if found.figures.count < settings.minimum:
        text += f" Too short to tell: fewer than {settings.minimum} sessions."
    elif dsr is None or dsr < settings.confidence:
        text += f" Not told from the best of {tried} without skill."
    elif found.pbo is None and found.trials >= 10:
        text += f" No probability of overfitting: {found.no_pbo}."
    else:
        shown = value if value is not None else round(100 * (1 - dsr), 4)
        return Check(id, title, OK, shown, message=text, **common)
    return unknown(id, title, text, remedy, **common)
