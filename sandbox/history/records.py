# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Users, clients, the audit log and the application's files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from .reference import HOUSE_ACCOUNTS, STRATEGIES

FIRST = (
    "Ana",
    "Béla",
    "Chloé",
    "Dörte",
    "Eoin",
    "Fátima",
    "Grace",
    "Håkon",
    "İlker",
    "Jürgen",
    "Kasia",
    "Łukasz",
    "Mei",
    "Noël",
    "Olga",
    "Paweł",
    "Quentin",
    "Røskva",
    "Søren",
    "Thảo",
    "Ursula",
    "Vít",
    "Wanda",
    "Xóchitl",
    "Yūko",
    "Žofie",
)
LAST = (
    "Álvarez",
    "Brown",
    "Çelik",
    "D'Angelo",
    "Eriksson",
    "Fournier",
    "García",
    "Hansen",
    "Ivanova",
    "Jørgensen",
    "Kowalska",
    "Lefèvre",
    "Müller",
    "Nguyễn",
    "O'Neill",
    "Peña",
    "Quist",
    "Rossi",
    "Šimek",
    "Tanaka",
    "Ueda",
    "Vogel",
    "Wójcik",
    "Xu",
    "Yılmaz",
    "Zieliński",
)
COUNTRIES = ("DE", "FR", "IE", "PL", "SE", "ES", "US", "GB", "NL", "JP")
ROLES = ("trader", "quant", "operations", "risk", "compliance", "support")
ACTIONS = (
    ("login", "session", "ok"),
    ("strategy.parameters", "strategy", "risk_scale 1.00 -> 0.95"),
    ("limit.review", "risk_limit", "no change"),
    ("report.export", "report", "50% of clients, CSV"),
    ("client.review", "account", "documents checked"),
    ("statement.import", "statement", "accepted"),
)


def users(random: np.random.Generator, anchor: datetime, count: int) -> list[tuple[Any, ...]]:
    """id, email, name, role, last_login, created_at; some have not logged in for long, some never."""
    rows = []
    for number in range(1, count + 1):
        first, last = FIRST[random.integers(len(FIRST))], LAST[random.integers(len(LAST))]
        created = anchor - timedelta(days=int(random.integers(100, 900)), minutes=int(random.integers(1440)))
        idle = timedelta(minutes=int(random.exponential(20 * 1440)) + 5)
        login = None if number % 17 == 0 else max(anchor - idle, created)
        rows.append(
            (
                number,
                f"user{number:04d}@tradingflow.example",
                f"{first} {last}",
                ROLES[number % len(ROLES)],
                login,
                created,
            )
        )
    return rows


def accounts(random: np.random.Generator, anchor: datetime, count: int) -> list[tuple[Any, ...]]:
    """House accounts, then clients: most verified and not due for review soon, a few being taken on."""
    verified = anchor - timedelta(days=120)
    rows: list[tuple[Any, ...]] = [
        (
            code,
            "house",
            holder,
            country,
            currency,
            "active",
            "verified",
            "low",
            verified,
            anchor + timedelta(days=245),
            anchor - timedelta(days=800),
        )
        for code, holder, country, currency in HOUSE_ACCOUNTS
    ]
    for number in range(1, count + 1):
        holder = f"{FIRST[random.integers(len(FIRST))]} {LAST[random.integers(len(LAST))]}"
        country = COUNTRIES[random.integers(len(COUNTRIES))]
        opened = anchor - timedelta(days=int(random.integers(30, 1200)))
        risk = ("low", "low", "low", "medium", "high")[random.integers(5)]
        new = number % 40 == 0
        checked = max(opened, anchor - timedelta(days=int(random.integers(1, 300))))
        due = checked + timedelta(days={"low": 730, "medium": 545, "high": 365}[risk])
        rows.append(
            (
                f"CLIENT-{number:05d}",
                "client",
                holder,
                country,
                "USD" if country in ("US", "JP") else "EUR",
                "onboarding" if new else "active",
                "pending" if new else "verified",
                risk,
                None if new else checked,
                None if new else due,
                opened,
            )
        )
    return rows


def audit_log(random: np.random.Generator, anchor: datetime, days: int, people: Sequence[Any], count: int) -> list[Any]:
    """id, at, actor, action, object, details, previous_hash, hash: a chain, see entry_hash."""
    ages = np.sort(random.integers(60, days * 86400, count))[::-1]
    picks = random.integers(0, [[len(people), len(ACTIONS), 400]], (count, 3))
    previous, rows = "0" * 64, []
    for number, (age, (person, action, thing)) in enumerate(zip(ages, picks, strict=True), 1):
        name, kind, details = ACTIONS[action]
        entry = (number, anchor - timedelta(seconds=int(age)), people[person][1], name, f"{kind}/{thing}", details)
        digest = entry_hash(previous, *entry)
        rows.append((*entry, previous, digest))
        previous = digest
    return rows


def entry_hash(previous: str, number: int, at: datetime, *fields: str) -> str:
    """SHA-256 over previous hash, number, time as 2026-01-31T12:00:00.000000Z and texts, line feeds between."""
    text = "\n".join((previous, str(number), at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), *fields))
    return hashlib.sha256(text.encode()).hexdigest()


def config_file(code: str) -> str:
    """Where a strategy's configuration is, in the data folder."""
    return f"strategies/{code}.json"


def files(random: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Path and content of the application's files, with the names that people give to files."""
    for strategy in STRATEGIES:
        settings = {
            "strategy": strategy.code,
            "name": strategy.name,
            "instruments": strategy.instruments,
            "risk_scale": "0.95",
        }
        yield config_file(strategy.code), json.dumps(settings, indent=1, ensure_ascii=False).encode()
        for version in (1, 2):
            yield f"models/{strategy.code}/v{version}/weights.bin", random.bytes(int(random.integers(20_000, 120_000)))
    names = (
        "limits 2026 (final).csv",
        "100% hedged.txt",
        "Müller's “notes”.md",
        'the "big" one.json',
        "日本株.csv",
        "naïve model – été.pkl",
        "tab\tname.txt",
        "-rf",
        "$HOME; echo",
        "trailing space ",
    )
    for number, name in enumerate(names):
        yield f"shared files/{name}", (f"{name}\n" * (10 + number)).encode()
    for number in range(8):
        yield f"reports/2026/week {number + 30}.csv", b"strategy,pnl\n" + b"trend-coins,1.00\n" * 500
    yield "shared files/empty.dat", b""


def write_files(random: np.random.Generator, folder: Path) -> None:
    """Writes the application's files."""
    for name, content in files(random):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
