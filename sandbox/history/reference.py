# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Venues, instruments, strategies and house accounts of the sample platform: made up, and always the same."""

from __future__ import annotations

from dataclasses import dataclass

#: Places after the point of the integers that stand for prices, quantities and their products.
PRICE, QUANTITY, MONEY = 5, 4, 9


@dataclass(frozen=True)
class Venue:
    """fee: in hundred-thousandths of the value traded. latency: typical ms to an acknowledgement."""

    code: str
    name: str
    calendar: str
    timezone: str
    opens: str | None
    closes: str | None
    fee: int
    latency: float
    prefix: str


@dataclass(frozen=True)
class Instrument:
    """price: at the start. tick and lot in the units of PRICE and QUANTITY. volatility: of a year."""

    venue: str
    symbol: str
    name: str
    asset_class: str
    currency: str
    price: str
    tick: int
    lot: int
    volatility: float

    @property
    def code(self) -> str:
        """Unique over all venues."""
        return f"{self.venue}:{self.symbol}"


@dataclass(frozen=True)
class Strategy:
    """instruments: by code. share: of all orders. skill: how much its positions know of what comes."""

    code: str
    name: str
    account: str
    calendar: str
    currency: str
    capital: int
    state: str
    heartbeat: int
    share: float
    skill: float
    long_only: bool
    instruments: tuple[str, ...]


VENUES = (
    Venue("COINX", "CoinX", "24/7", "UTC", None, None, 20, 18.0, "CX"),
    Venue("BITNORD", "BitNord Børs", "24/7", "UTC", None, None, 16, 24.0, "BN"),
    Venue("FXHUB", "FX Hub", "24/5", "UTC", None, None, 2, 4.0, "FX"),
    Venue("XNYS", "New York Stock Exchange", "XNYS", "America/New_York", "09:30", "16:00", 5, 3.0, "NY"),
    Venue("XETR", "Xetra", "XETR", "Europe/Berlin", "09:00", "17:30", 6, 3.5, "XE"),
)

_CENT, _CRYPTO = 1000, "crypto"
INSTRUMENTS = (
    Instrument("COINX", "BTC-USD", "Bitcoin", _CRYPTO, "USD", "64250.00", _CENT, 1, 0.55),
    Instrument("COINX", "ETH-USD", "Ether", _CRYPTO, "USD", "3150.00", _CENT, 10, 0.65),
    Instrument("COINX", "SOL-USD", "Solana", _CRYPTO, "USD", "148.50", _CENT, 100, 0.80),
    Instrument("COINX", "ADA-USD", "Cardano", _CRYPTO, "USD", "0.45210", 1, 10_000, 0.75),
    Instrument("COINX", "XRP-USD", "XRP", _CRYPTO, "USD", "0.61340", 1, 10_000, 0.70),
    Instrument("COINX", "LTC-USD", "Litecoin", _CRYPTO, "USD", "84.20", _CENT, 100, 0.65),
    Instrument("BITNORD", "BTC-USD", "Bitcoin", _CRYPTO, "USD", "64250.00", _CENT, 1, 0.55),
    Instrument("BITNORD", "ETH-USD", "Ether", _CRYPTO, "USD", "3150.00", _CENT, 10, 0.65),
    Instrument("BITNORD", "DOT-USD", "Polkadot", _CRYPTO, "USD", "6.120", 10, 1000, 0.75),
    Instrument("FXHUB", "EUR-USD", "Euro", "fx", "USD", "1.08520", 1, 10_000_000, 0.08),
    Instrument("FXHUB", "GBP-USD", "Pound Sterling", "fx", "USD", "1.27180", 1, 10_000_000, 0.09),
    Instrument("FXHUB", "AUD-USD", "Australian Dollar", "fx", "USD", "0.66310", 1, 10_000_000, 0.11),
    Instrument("FXHUB", "NZD-USD", "New Zealand Dollar", "fx", "USD", "0.60150", 1, 10_000_000, 0.11),
    Instrument("XNYS", "NWND", "Northwind Traders", "equity", "USD", "182.40", _CENT, 10_000, 0.28),
    Instrument("XNYS", "CNTS", "Contoso", "equity", "USD", "96.15", _CENT, 10_000, 0.32),
    Instrument("XNYS", "FBRK", "Fabrikam", "equity", "USD", "41.70", _CENT, 10_000, 0.38),
    Instrument("XNYS", "ADWK", "Adventure Works", "equity", "USD", "268.90", _CENT, 10_000, 0.30),
    Instrument("XNYS", "TAIL", "Tailspin Toys", "equity", "USD", "22.35", _CENT, 10_000, 0.45),
    Instrument("XNYS", "WIDE", "Wide World Importers", "equity", "USD", "131.05", _CENT, 10_000, 0.26),
    Instrument("XETR", "MÜL", "Müller & Söhne AG", "equity", "EUR", "58.20", _CENT, 10_000, 0.27),
    Instrument("XETR", "BÄR", "Bärenhaus SE", "equity", "EUR", "112.60", _CENT, 10_000, 0.30),
    Instrument("XETR", "STRM", "Stromwerk AG", "equity", "EUR", "17.45", _CENT, 10_000, 0.35),
    Instrument("XETR", "HAFN", "Hafenlogistik AG", "equity", "EUR", "74.30", _CENT, 10_000, 0.25),
)


def _codes(venue: str, *symbols: str) -> tuple[str, ...]:
    return tuple(f"{venue}:{symbol}" for symbol in symbols)


_COINS, _US, _FX = "HOUSE-COINS", "HOUSE-US", "HOUSE-FX"
_US_ALL = _codes("XNYS", "NWND", "CNTS", "FBRK", "ADWK", "TAIL", "WIDE")
STRATEGIES = (
    Strategy(
        "trend-coins",
        "Trend following, coins",
        _COINS,
        "24/7",
        "USD",
        6_000_000,
        "running",
        10,
        0.11,
        0.08,
        False,
        _codes("COINX", "BTC-USD", "ETH-USD", "SOL-USD"),
    ),
    Strategy(
        "reversion-coins",
        "Mean reversion, coins",
        _COINS,
        "24/7",
        "USD",
        4_000_000,
        "running",
        10,
        0.12,
        0.06,
        False,
        _codes("COINX", "ADA-USD", "XRP-USD", "LTC-USD", "SOL-USD"),
    ),
    Strategy(
        "arbitrage-coins",
        "Arbitrage CoinX/BitNord",
        _COINS,
        "24/7",
        "USD",
        5_000_000,
        "running",
        5,
        0.15,
        0.05,
        False,
        (*_codes("COINX", "BTC-USD", "ETH-USD"), *_codes("BITNORD", "BTC-USD", "ETH-USD")),
    ),
    Strategy(
        "maker-bitnord",
        "Market making, BitNord",
        _COINS,
        "24/7",
        "USD",
        3_000_000,
        "running",
        5,
        0.14,
        0.04,
        False,
        _codes("BITNORD", "BTC-USD", "ETH-USD", "DOT-USD"),
    ),
    Strategy(
        "carry-fx",
        "Carry",
        _FX,
        "24/5",
        "USD",
        8_000_000,
        "running",
        15,
        0.06,
        0.15,
        False,
        _codes("FXHUB", "AUD-USD", "NZD-USD"),
    ),
    Strategy(
        "breakout-fx",
        "Breakout",
        _FX,
        "24/5",
        "USD",
        7_000_000,
        "running",
        15,
        0.08,
        0.2,
        False,
        _codes("FXHUB", "EUR-USD", "GBP-USD"),
    ),
    Strategy("basket-us", "Basket, New York", _US, "XNYS", "USD", 9_000_000, "running", 15, 0.09, 0.2, True, _US_ALL),
    Strategy(
        "pairs-us",
        "Pairs, New York",
        _US,
        "XNYS",
        "USD",
        5_000_000,
        "running",
        15,
        0.08,
        0.25,
        False,
        _codes("XNYS", "NWND", "CNTS", "WIDE", "ADWK"),
    ),
    Strategy(
        "opening-us",
        "Opening range, New York",
        _US,
        "XNYS",
        "USD",
        3_000_000,
        "running",
        15,
        0.05,
        0.1,
        False,
        _codes("XNYS", "FBRK", "TAIL"),
    ),
    Strategy(
        "value-eu",
        "Value, Xetra",
        "HOUSE-EU",
        "XETR",
        "EUR",
        6_000_000,
        "running",
        15,
        0.05,
        0.2,
        True,
        _codes("XETR", "MÜL", "BÄR", "STRM", "HAFN"),
    ),
    Strategy(
        "news-eu",
        "News, Xetra",
        "HOUSE-EU",
        "XETR",
        "EUR",
        3_000_000,
        "running",
        15,
        0.04,
        0.15,
        False,
        _codes("XETR", "BÄR", "STRM"),
    ),
    Strategy(
        "grid-o'brien",
        "O'Brien's \"50 %\" grid – très étroit",
        _COINS,
        "24/7",
        "USD",
        1_000_000,
        "paused",
        30,
        0.03,
        0.05,
        False,
        _codes("COINX", "LTC-USD", "XRP-USD"),
    ),
)

#: code, holder, country, currency
HOUSE_ACCOUNTS = (
    (_COINS, "TradingFlow Digital Ltd", "IE", "USD"),
    (_FX, "TradingFlow Markets Ltd", "GB", "USD"),
    (_US, "TradingFlow Capital LLC", "US", "USD"),
    ("HOUSE-EU", "TradingFlow Europe GmbH & Co. KG", "DE", "EUR"),
)
