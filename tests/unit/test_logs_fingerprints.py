"""Kinds of errors told apart, and secrets kept at home."""

from __future__ import annotations

import json
import uuid

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._logs.fingerprints import (
    Kinds,
    fingerprint_of,
    sample_of,
    template,
)
from hypothesis import assume, given
from hypothesis import strategies as st

TEMPLATES = (
    "order {} of {} failed after {} ms",
    "connection to {} lost ({})",
    "instrument '{}' has no price at {}",
    'relation "{}" does not exist, line {}',
    "user={} id={} denied",
)
values = st.one_of(
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=4).map(lambda number: f"{number:f}"),
    st.uuids().map(str),
    st.integers(1, 2**64).map(lambda number: f"0x{number:x}"),
    st.ip_addresses(v=4).map(str),
    st.datetimes().map(lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%S")),
    st.integers(1, 10**9).map(lambda number: f"ORD-{number}"),
)


@given(st.sampled_from(TEMPLATES), st.lists(values, min_size=3, max_size=3), st.lists(values, min_size=3, max_size=3))
def test_same_message_with_other_values_is_the_same_kind(text: str, one: list[str], other: list[str]) -> None:
    assert fingerprint_of(text.format(*one)) == fingerprint_of(text.format(*other))


@given(values)
def test_no_value_survives(value: str) -> None:
    assert template(f"order {value} failed") == "order # failed"


@given(st.ip_addresses(v=6).map(str), st.ip_addresses(v=6).map(str))
def test_addresses(one: str, other: str) -> None:
    assert fingerprint_of(f"no route to {one} now") == fingerprint_of(f"no route to {other} now")


@given(st.from_regex(r"[a-z]{3,7}", fullmatch=True), st.from_regex(r"[a-z]{3,7}", fullmatch=True))
def test_other_words_are_another_kind(one: str, other: str) -> None:
    assume(one != other)
    assert fingerprint_of(f"{one} failed") != fingerprint_of(f"{other} failed")


@given(st.text(max_size=5000))
def test_whatever_a_message_is(text: str) -> None:
    assert len(fingerprint_of(text)) == 12
    assert len(sample_of(text)) <= 300
    assert "\n" not in sample_of(text)
    kinds = Kinds()
    kinds.add("error", text)
    assert next(iter(kinds.found)) == fingerprint_of(text)


def test_kinds_are_bounded() -> None:
    kinds = Kinds(most=10)
    for number in range(5000):
        kinds.add("error", "".join(chr(97 + int(digit)) for digit in str(number)))
    assert len(kinds.found) == 10
    assert kinds.beyond == 4990


# Something that is no word of the messages around it.
secrets = st.from_regex(r"[A-Z][A-Za-z0-9!#%^*+~]{8,30}Q[0-9]", fullmatch=True)
CONTEXTS = (
    "login failed: password={} for bob",
    "PASSWORD = {} refused",
    "db_password: '{}' wrong",
    'started with --password "{}" --verbose',
    "started with --api-key {} now",
    "Authorization: Bearer {}",
    "Authorization: Basic {}==",
    "header Authorization={}, next",
    "Cookie: session={}; theme=dark",
    "curl https://user:{}@api.venue.example/orders failed",
    "postgresql://app:{}@db1/tradingflow?sslmode=require: timeout",
    "ALTER ROLE app PASSWORD '{}'",
    'CREATE USER x IDENTIFIED BY "{}"',
    "GET /orders?token={}&limit=3 401",
    "client_secret={}",
    "X-Api-Key: {}",
    "PGPASSWORD={} psql",
    "aws_secret_access_key => {}",
    "-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----",
)


@given(secrets, st.sampled_from(CONTEXTS))
def test_no_secret_in_a_sample(secret: str, context: str) -> None:
    text = context.format(secret)
    assert secret not in sample_of(text)
    assert secret not in sample_of(json.dumps({"event": text}))
    assert secret not in sample_of(json.dumps({"outer": json.dumps({"event": text})}))
    assert secret not in template(text)


@given(st.text(min_size=6, max_size=40))
def test_no_secret_of_a_field_whatever_is_in_it(secret: str) -> None:
    assume(secret.strip())
    text = json.dumps({"password": secret, "user": "bob"})
    assert sample_of(text).startswith('{"password": ***')
    assert json.dumps(secret)[1:-1] not in sample_of(text)


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_what_looks_like_a_secret_anywhere(secret: str) -> None:
    assert secret not in sample_of(f"venue refused {secret} today")


def test_what_is_needed_stays() -> None:
    identity = str(uuid.UUID(int=2**127 + 1))
    for text in (
        f"order {identity} of AAPL failed: price 12.50 is off",
        "open /var/lib/postgresql/18/main/base/16384/2619_vm: No space left on device",
        "author=bob passed 5 tests, broken by key order",
    ):
        assert sample_of(text) == text
