"""The report to stakeholders: options, what made a result, and mails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.identity import Day
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.instruments import instruments
from ansible_collections.tradingflow.maintenance.plugins.module_utils._performance.returns import Undefined
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders import mail
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.month import linked
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.options import classes, month_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.past import of_mail
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report import pdf, performance

from tests.conftest import left_out
from tests.mail_server import MailServer, mail_server

ONE = {"name": "board", "title": None, "addresses": ["a@example.com"], "sections": ["book"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "The Board"}, "small letters"),
        ({"name": ""}, "small letters"),
        ({"addresses": []}, "no address"),
        ({"addresses": ["a@example.com", "a@example.com"]}, "twice"),
        ({"addresses": ["a@example.com\nBcc: b@example.com"]}, "no mail address"),
        ({"addresses": ["a@example.com, b@example.com"]}, "no mail address"),
        ({"addresses": ["Anna <a@example.com>"]}, "no mail address"),
        ({"sections": []}, "see nothing"),
    ],
)
def test_recipients_that_are_none(change: dict[str, Any], said: str) -> None:
    assert classes([ONE]) == [ONE]
    with pytest.raises(ConfigurationError, match=said):
        classes([{**ONE, **change}])


def test_a_class_is_there_once() -> None:
    with pytest.raises(ConfigurationError, match="twice"):
        classes([ONE, ONE])


@pytest.mark.parametrize("text", ["2026", "2026-13", "2026-00", "26-10", "2026-10-01", "October", "2026-1"])
def test_months_that_are_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="month is none"):
        month_of(text)


def test_months() -> None:
    assert month_of("2028-02") == (date(2028, 2, 1), date(2028, 2, 29))
    first, last = month_of("")
    assert first.day == 1
    assert (last + timedelta(days=1)).replace(day=1) == datetime.now(UTC).date().replace(day=1)


def day(at: int, base: str, pnl: str) -> Day:
    return Day(date(2026, 10, at), Decimal(base) + Decimal(pnl), Decimal(pnl), Decimal(0), Decimal(base), Decimal(0))


def test_contributions_add_up_to_the_return() -> None:
    up = [day(1, "60", "6"), day(2, "66", "-3.3"), day(3, "62.7", "0")]
    down = [day(1, "40", "-4"), day(2, "36", "7.2"), day(3, "43.2", "-4.32")]
    book = [day(1, "100", "2"), day(2, "102", "3.9"), day(3, "105.9", "-4.32")]
    found = linked(book, {"up": up, "down": down})
    total = 1.02 * (1 + 3.9 / 102) * (1 - 4.32 / 105.9) - 1
    assert math.isclose(sum(found.values()), total, rel_tol=1e-12)
    # By hand, for one of them: daily shares times ln(1 + r) / r, over the same of the whole.
    parts = [(6 / 100, 0.02), (-3.3 / 102, 3.9 / 102)]
    by_hand = sum(share * math.log1p(r) / r for share, r in parts) / (math.log1p(total) / total)
    assert math.isclose(found["up"], by_hand, rel_tol=1e-12)


def test_contributions_where_nothing_was_earned() -> None:
    book = [day(1, "100", "0"), day(2, "100", "0")]
    halves = {"a": [day(1, "50", "5"), day(2, "55", "0")], "b": [day(1, "50", "-5"), day(2, "45", "0")]}
    assert linked(book, halves) == {"a": 0.05, "b": -0.05}
    with pytest.raises(Undefined, match="lost all"):
        linked([day(1, "100", "-100")], {})


ROW = {
    "strategy": "s",
    "instrument": "X",
    "held": Decimal(5),
    "later": Decimal(-5),
    "during": Decimal(4),
    "paid": Decimal(90),
    "multiplier": Decimal(10),
    "begin_price": Decimal(20),
    "end_price": Decimal(25),
    "currency": "EUR",
}


def test_what_an_instrument_brought() -> None:
    # 6 at the beginning for 20 each, 4 more for 90, 10 at the end for 25; 10 units each, at 1.2.
    found = instruments([ROW], {"EUR": Decimal("1.2")})
    assert found.results == {"s": {"X": Decimal(250 - 120 - 90) * 10 * Decimal("1.2")}}
    assert found.doubts == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"during": Decimal("NaN")}, "quantity, price, side or time"),
        ({"paid": Decimal("NaN")}, "quantity, price, side or time"),
        ({"instrument": None}, "without an instrument"),
        ({"multiplier": None}, "no one multiplier"),
        ({"multiplier": Decimal(0)}, "no one multiplier"),
        ({"begin_price": None}, "at the beginning"),
        ({"end_price": Decimal("NaN")}, "at the end"),
        ({"currency": None}, "no one currency"),
        ({"currency": "JPY"}, "no rate of JPY"),
    ],
)
def test_an_instrument_that_cannot_be_told_leaves_its_strategy_untold(change: dict[str, Any], said: str) -> None:
    found = instruments([{**ROW, **change}, {**ROW, "instrument": "Y"}], {"EUR": Decimal(1)})
    assert found.results == {}
    assert said in found.doubts["s"]


def test_what_was_bought_and_sold_again_counts() -> None:
    flat = {**ROW, **dict.fromkeys(("held", "later", "during"), Decimal(0)), "begin_price": None, "end_price": None}
    assert instruments([{**flat, "paid": Decimal(-500)}], {"EUR": Decimal(1)}).results == {"s": {"X": Decimal(5000)}}
    found = instruments([{**flat, "paid": Decimal("NaN")}], {"EUR": Decimal(1)})
    assert "quantity, price, side or time" in found.doubts["s"]


def test_the_largest_contributions_are_shown_whatever_their_sign() -> None:
    given = {f"s{place}": 0.001 for place in range(230)} | {f"l{place}": -0.01 for place in range(60)}
    bars = performance.waterfall(given)
    assert len(bars) == performance.MOST_ROWS
    assert sum(bar["name"].startswith("l") for bar in bars) == 60
    assert math.isclose(sum(bar["value"] for bar in bars), sum(given.values()))
    assert [bar["name"] for bar in bars if "smaller" in bar["name"]] == ["91 smaller ones"]


def test_what_was_sent_is_known_whoever_sent_it() -> None:
    ids = {mail.message_id("ab" * 32, "a@example.com", sender) for sender in ("r@a.example", "r@b.example")}
    assert len(ids) == 2
    assert len({of_mail(id) for id in ids}) == 1


def test_what_was_never_held_in_the_month_needs_no_price() -> None:
    late = {
        **ROW,
        "during": Decimal(0),
        "later": Decimal(5),
        "begin_price": None,
        "end_price": None,
        "paid": Decimal(0),
    }
    found = instruments([late], {})
    assert (found.results, found.doubts) == ({}, {})


def test_the_page_escapes_what_comes_from_outside_and_tells_only_what_its_readers_may_see() -> None:
    evil = "<script>alert(1)</script>"
    data: dict[str, Any] = {
        **dict.fromkeys(("method", "title", "month", "first", "last", "currency", "code_sha256", "inputs_sha256"), "x"),
        "environment": evil,
        "benchmark": None,
        "no_benchmark": evil,
        "book": {"name": "", "currency": "USD", "equity": None, "month": None, "all": {}, "doubt": evil},
        "accounts": [],
        "strategies": [{"name": evil, "currency": "", "equity": None, "month": None, "all": {}, "doubt": "none"}],
        "ended": [],
        "attribution": {
            "contributions": {evil: 0.1},
            "fees": None,
            "currency_effect": "0",
            "instruments": {"secret strategy": {"X": "1"}},
            "no_instruments": {},
            "unexplained": {},
        },
        "findings": [],
        "operations": {
            "problem": "",
            "days": 31,
            "days_answered": 0,
            "days_down": 0,
            "runs": {},
            **{f"{more}{name}": [] for name in ("incidents", "changes", "overrides") for more in ("", "more_")},
            "incidents": [{"at": "2026-10-02", "kind": "incident", "what": "x", "how": "", "told": "<b> not known"}],
        },
        "changed_methods": [],
        "definitions": [],
    }
    readers = {"name": "investors", "title": None, "sections": ["book", "attribution", "operations"], "digest": "d"}
    page = performance.page(data, readers)
    assert "<script" not in page
    assert "secret strategy" not in page
    assert "&lt;b&gt; not known" in page
    assert "secret strategy" in performance.page(data, {**readers, "sections": ["instruments"]})
    assert "No figures: &lt;script" in page


def test_the_same_page_gives_the_same_pdf() -> None:
    try:
        first = pdf.pdf("<h1>Ä</h1>", 1_790_000_000)
    except pdf.NoPdf as error:
        left_out(str(error))
    assert first == pdf.pdf("<h1>Ä</h1>", 1_790_000_000)
    assert first != pdf.pdf("<h1>Ö</h1>", 1_790_000_000)


GIVEN = {"title": "Report Ä", "environment": "x", "month": "2026-10", "sha256": "ab" * 32, "sender": "r@example.com"}
WHEN = datetime(2026, 11, 2, 8, tzinfo=UTC)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    with mail_server(tmp_path) as running:
        yield running


def test_a_mail_arrives_as_it_was_made(server: MailServer) -> None:
    kept = server.kept
    with mail.connected(server.options) as mailer:
        mailer.send(mail.message(b"%PDF-", "board.pdf", GIVEN, "a@example.com", WHEN))
        mailer.send(mail.message(b"%PDF-", "board.pdf", GIVEN, "b@example.com", WHEN))
    assert [each.rcpt_tos for each in kept.mails] == [["a@example.com"], ["b@example.com"]]
    text = kept.mails[0].content
    assert isinstance(text, bytes)
    assert b"b@example.com" not in text
    assert mail.message_id("ab" * 32, "a@example.com", "r@example.com").encode() in text
    assert b'filename="board.pdf"' in text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ca_file": None}, "certificate is not trusted"),
        ({"password": "wrong"}, "refused: 535"),
        ({"tls": "none"}, "in clear"),
        ({"tls": "none", "user": None}, "530"),
        ({"port": 1}, "cannot be used"),
        ({"tls": "implicit"}, "cannot be used"),
    ],
)
def test_a_server_that_cannot_be_used(server: MailServer, change: dict[str, Any], said: str) -> None:
    options = {**server.options, **change}
    wrong = pytest.raises((mail.MailError, ConfigurationError), match=said)
    with wrong as caught, mail.connected(options) as mailer:
        mailer.send(mail.message(b"", "x.pdf", GIVEN, "a@example.com", WHEN))
    assert "hush" not in str(caught.value)


def test_an_address_that_is_refused_and_a_connection_that_is_lost(server: MailServer) -> None:
    with mail.connected(server.options) as mailer:
        with pytest.raises(mail.MailError, match="no such user") as refused:
            mailer.send(mail.message(b"", "x.pdf", GIVEN, "nobody@example.com", WHEN))
        mailer.send(mail.message(b"", "x.pdf", GIVEN, "a@example.com", WHEN))
        server.kept.lose = True
        with pytest.raises(mail.MailError, match="is not known") as lost:
            mailer.send(mail.message(b"", "x.pdf", GIVEN, "a@example.com", WHEN))
    assert (refused.value.unsure, lost.value.unsure) == (False, True)
