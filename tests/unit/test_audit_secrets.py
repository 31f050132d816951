"""What redaction and the second look know: all that masking knows, what was thought of beyond, and what must stay."""

from __future__ import annotations

import csv
import io
import json
import random
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import redact, scan
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.rules import Rules, load

from tests.journals import export
from tests.unit.test_masking import SECRETS

CURSOR = b"__CURSOR=s=00;i=1;b=00;m=0;t=f4240;x=0\n"
S, T = "hunter2SecretValue99", "correct-Horse7battery"

#: Beyond masking's: text, and what must not be left of it.
MORE: dict[str, list[str]] = {
    # A marker is one as a whole only.
    f"password=[redacted:secret]{S}": [S],
    f"password=[secret:0123456789abcdef]{S}": [S],
    f"tokens: [[redacted:token], {S}]": [S],
    f'password="[redacted:secret] {S}"': [S],
    # Escapes of JSON in text that is none.
    f'INFO {{"url": "/x?a=1\\u0026password\\u003d{S}"}} sent': [S],
    f"INFO sent /x?a=1\\u0026token\\u003d{S}": [S],
    f'WARN payload={{"p\\u0061ssword": "{S}", "n": 1}} end': [S],
    f"&quot;password&quot;:&quot;{S} and {T}&quot;": [S, T],
    # A name beside its value.
    f'{{"env": [{{"name": "PASSWORD", "value": "{S}"}}, {{"name": "A", "value": "b"}}]}}': [S],
    f'{{"env": [{{"value": "{S}", "name": "SMTP_TOKEN"}}]}}': [S],
    f'{{"Env": ["A=b", "DB_PASSWORD={S} {T}"]}}': [S],
    f'{{"headers": [["authorization", "Bearer {S}"], ["x-api-key", "{T}"]]}}': [S, T],
    f"- name: DB_PASSWORD\n  value: {S}\n": [S],
    f"value: '{S}', name: 'DB_PASSWORD'": [S],
    # Commands, also as lists.
    f'{{"Cmd": ["redis-server", "--requirepass", "{S} {T}"]}}': [S, T],
    f'{{"args": ["sshpass", "-p", "{S}", "ssh", "db"]}}': [S],
    f"['mysqldump', '--password', '{S}']": [S],
    f"keytool -storepass {S} -keypass {T}": [S, T],
    f"openssl rsa -passin pass:{S}": [S],
    f"echo {S} | sudo -S id": [S],
    f"echo 'bob:{S}' | chpasswd": [S],
    f"COMMAND=/usr/bin/env PGPASSWORD={S} psql": [S],
    f"curl -u 'bob:{S}' -H 'X-Api-Key: {T}' https://x": [S, T],
    f"curl --password \\\n    {S} https://x": [S],
    # Values of several words, in brackets, with quotes within, and over lines.
    f"password='{S} it''s {T}' next": [S, T],
    f'password="a \\" {S}" next': [S],
    f"password=ab'{S} next": [S],
    f"password=a<b>{S} next": [S],
    f'secrets={{"a": {{"b": "{S}"}}, "c": ["{T}"]}} done': [S, T],
    f'config {{\n  "secrets": {{\n    "a": "{S}",\n    "b": "{T}"\n  }}\n}}\n': [S, T],
    f'password="first\n  {S}"\nnext\n': [S],
    f"DB_PASSWORD:\n  {S}\n": [S],
    f"DB_PASSWORD: |\n  {S}\n  {T}\nnext: 1\n": [S, T],
    f"- name: DB_PASSWORD\n  value: >-\n    {S}\n": [S],
    f"<password>\n{S}\n</password>": [S],
    # Names in all lengths.
    f"pw={S}": [S],
    f"dbPass={S}": [S],
    f"PGPASS={S}": [S],
    f"user.pwd={S}": [S],
    f"wsSig={S}": [S],
    f"becomepass: {S}": [S],
    f"SPRING_DATASOURCE_HIKARI_POOL_PRIMARY_PASSWORD={S}": [S],
    f"password_age={S}": [S],
    f"private_key: {S}": [S],
    f"client_assertion={S}": [S],
    # Addresses.
    f"https://{S}@sentry.example/4": [S],
    f"mongodb+srv://bob:p@{S}@cluster/x": [S],
    f"amqps://bob:{S}@mq:5671/%2f": [S],
    f"postgresql+asyncpg://bob:{S}@/x?host=/run": [S],
    f"GET /v1?signature={S}&x=1 HTTP/1.1": [S],
    f"AccountName=x;AccountKey={S}{S}==;Suffix=y": [S],
    # Headers.
    f"Authorization: AWS4-HMAC-SHA256 Credential={S}/x, SignedHeaders=a, Signature={T}": [S, T],
    f"authorization: Custom {S}": [S],
    f"Proxy-Authorization: Basic {S}": [S],
    f"Set-Cookie: sid={S}; Path=/; x={T}": [S, T],
    # By form, over lines.
    f"-----BEGIN OPENSSH PRIVATE KEY-----\n{'b3BlbnNzaC1rZXktdjE' * 4}\n-----END OPENSSH PRIVATE KEY-----\n": [
        "b3Blbn"
    ],
    "AKIAIOSFODNN7EXAMPLE": ["IOSFODNN7"],
    f"whsec_{S}": [S],
    # What JSON's own escapes hide: slashes, and a line's end before a word.
    f'{{"url": "postgres:\\/\\/bob:{S}@db\\/x"}}': [S],
    f"said\nghp_0123{S} and\nAKIAIOSFODNN7EXAMPLE": [S, "IOSFODNN7"],
    f"said\npassword\t{S}": [S],
    f"b'said\\nghp_0123{S}'": [S],
}
#: What the second look does not see, and redaction does.
ALSO: dict[str, list[str]] = {
    f"set password to {S}": [S],
    f"password -> {S}": [S],
    f"ENV DB_PASSWORD {S}": [S],
    f"aws configure set aws_secret_access_key {S}": [S],
    f"user[password]={S}&password[0]={T}": [S, T],
    f"password\\x3d{S}": [S],
    f"password&#x3D;{S}": [S],
    f"password=${{{S}}}": [S],
    f"password = <{S}>": [S],
    f"SET PASSWORD FOR 'bob' = '{S}'": [S],
    f"vault kv put secret/app key={S} other={T}": [S, T],
    f"kubectl create secret generic x --from-literal=a={S}": [S],
    f"rolpassword SCRAM-SHA-256$4096:{S}$" + S + "=:" + S + "=": [S],
    f"root:$6$salt${S}{S}:19000:0:99999:7:::": [S],
    f"пароль: {S}": [S],
}
#: What an audit needs.
HARMLESS = [
    "2026-10-01T00:00:00Z INFO order 7f3c9a2e-5b1d-4c8e-9f00-1234567890ab filled at 101.25 XNYS",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 pulled",
    "image registry.example:5000/app:1.2.3@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "nginx:1.25@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "isin US0378331005 cusip 037833100 lei 5493001KJTIIGC8Y1R12 account DE89370400440532013000",
    "8=FIX.4.4|35=D|11=ORD-20261001-000123|55=BTC-USD|54=1|38=96|44=101.5|10=093",
    '{"order_id": "ORD-20261001-000123", "account": "ACC-77", "key": "BTC-USD", "code": "XNYS", "hash": "ab12cd34"}',
    'FATAL: password authentication failed for user "bob"',
    "token 0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48 transferred 1000.00",
    "Basic authentication is off; digest of the file differs; bearer token missing",
    "GET https://dapi.binance.example/dapi/v1/order?symbol=BTCUSD&orderId=8389765 200",
    "ssh://git@git.example/x.git and mailto:bob@mail.example/x at 10:30",
    "tests pass: 12, fail: 3; bypass=manual; compass: north; passed: 7",
    "author: bob, authority: ca, signal: TERM, session 12 of user bob, sid=4711",
    "password_encryption=scram-sha-256 token_ttl=30m key_file=/etc/ssl/server.key secret_version=7",
    "duplicate key value violates unique constraint, Key (id)=(7) already exists",
    "pool secrets rotated: 5 of 5, tokens=3, max_tokens=4096",
    "AUTH failed for bob; authentication timeout 30s; login of bob failed",
    "docker run --user 1000:1000 -p 8080:80 app; mysql -P 3306 -h db; mkdir -p /srv/x",
    "npm_config_registry=https://npm.example.org/repository/internal/",
    "exit code=1 status code 503, verification of 123456 orders, security XS0123456789",
    "BEGIN; UPDATE orders SET state = 'filled' WHERE id = 7; COMMIT",
]


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load(None, b"k" * 32)


def redacted(rules: Rules, given: bytes, form: str = "text", counts: dict[str, int] | None = None) -> bytes:
    out: list[bytes] = []
    one = redact.Redaction(rules, {} if counts is None else counts)
    getattr(one, form)(iter([given]), out.append)
    return b"".join(out)


def places(text: str) -> dict[str, tuple[str, bytes]]:
    """The form and what it looks like, for each place where a text may stand."""
    cells = io.StringIO()
    csv.writer(cells, lineterminator="\n").writerows([["id", "details", "n"], ["1", text, "2"], ["2", "plain", "3"]])
    field: Any = text.encode() if any(char < " " for char in text) else text
    entry = export([{"at": 1, "MESSAGE": field, "boot": "f" * 32}, {"at": 1, "_CMDLINE": "x", "boot": "f" * 32}])
    return {
        "line": ("text", f"2026-10-01T00:00:00Z INFO {text}\n2026-10-01T00:00:01Z next\n".encode()),
        "json": ("text", json.dumps({"event": text, "at": 1}).encode() + b"\n"),
        "json in json": ("text", json.dumps({"log": json.dumps({"message": text})}).encode() + b"\n"),
        "json in a line": ("text", b"INFO sent " + json.dumps({"event": text}).encode() + b" to it\n"),
        "csv": ("csv", cells.getvalue().encode()),
        "csv of json": ("csv", b'id,d\n1,"' + json.dumps({"event": text}).replace('"', '""').encode() + b'"\n'),
        "journal": ("export", CURSOR + entry.replace(b"\n\n", b"\n\n" + CURSOR, 1)),
    }


@pytest.mark.parametrize(("text", "secrets"), [*SECRETS.items(), *MORE.items(), *ALSO.items()])
def test_no_secret_is_left_wherever_it_stands(rules: Rules, text: str, secrets: list[str]) -> None:
    for place, (form, given) in places(text).items():
        found = redacted(rules, given, form)
        left = [secret for secret in secrets if secret.encode() in found]
        assert not left, (place, found)
        assert found.count(b"\n") == given.count(b"\n") or form != "text", place
        assert scan.text_of(found) == [], (place, found)
        assert redacted(rules, found, form) == found, place
        if place.startswith("json") and place != "json in a line":
            json.loads(found)
        if form == "csv":
            assert [len(row) for row in csv.reader(io.StringIO(found.decode()))] == [
                len(row) for row in csv.reader(io.StringIO(given.decode()))
            ]


@pytest.mark.parametrize("text", [*SECRETS, *MORE])
def test_the_second_look_sees_what_was_not_redacted(text: str) -> None:
    assert scan.text_of(text.encode())
    assert scan.text_of(f"2026-10-01T00:00:00Z INFO {text}\n".encode())
    if text in SECRETS:
        assert scan.text_of(json.dumps({"event": text}).encode() + b"\n")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_an_audit_needs_stays(rules: Rules, text: str) -> None:
    for place, (form, given) in places(text).items():
        counts: dict[str, int] = {}
        assert redacted(rules, given, form, counts) == given, place
        assert counts == {}
        assert scan.text_of(given) == [], place


def test_a_name_beside_its_value_in_a_table(rules: Rules) -> None:
    given = b"setting,id,name\nabc def,1,smtp_password\n5432,2,port\n"
    given += b'"x,y z",3,api_token\nscram-sha-256,4,password_encryption\n'
    counts: dict[str, int] = {}
    assert redacted(rules, given, "csv", counts) == (
        b'"[redacted:secret]",1,smtp_password\n'.join([b"setting,id,name\n", b""])
        + b'5432,2,port\n"[redacted:secret]",3,api_token\nscram-sha-256,4,password_encryption\n'
    )
    assert counts == {"secret": 2}


def test_patterns_of_ones_own_see_one_value_at_a_time() -> None:
    rules = load([{"name": "customer", "pattern": r"^CUST-\d+$"}], b"k" * 32)
    assert redacted(rules, b"id,c\n1,CUST-7\n2,xCUST-7\n", "csv") == b'id,c\n1,"[redacted:customer]"\n2,xCUST-7\n'
    entry = CURSOR + b"__REALTIME_TIMESTAMP=1000000\nCUSTOMER=CUST-7\nMESSAGE=of CUST-7\n\n"
    assert b"\nCUSTOMER=[redacted:customer]\nMESSAGE=of CUST-7\n" in redacted(rules, entry, "export")


def test_nothing_is_missed_among_much_else(rules: Rules) -> None:
    dice = random.Random(7)
    known = [*SECRETS.items(), *MORE.items()]
    for _round in range(60):
        chosen = [dice.choice(known) for _each in range(3)]
        text = "\n".join(["2026-10-01T00:00:00Z " + text for text, _secrets in chosen]) + "\n"
        assert scan.text_of(redacted(rules, text.encode())) == [], text
