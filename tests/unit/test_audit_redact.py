"""Redaction, and the second look at what is packed."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import redact, scan
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.collected import Count, File, Source
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.packing import Scratch
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.rules import Rules, load
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, EvidenceError

from tests.journals import export

KEY = b"k" * 32
SECRET = "hunter2SecretValue99"
PEM = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"


def encoded(text: str, before: str = "") -> str:
    return base64.urlsafe_b64encode(f"{before}{text}".encode()).decode()


#: What a line says; {} is the secret. Each in every place where text can be.
SAID = [
    "password={}",
    "DB_PASSWORD={} and more",
    'password: "{}"',
    "password: '{}'",
    "passwd => {}",
    "aws_secret_access_key = {}",
    "x-api-key: {}",
    "stripe.secret.key={};",
    "password=a&{}",
    'password="a b {}"',
    "tokens: [a, {}]",
    "Authorization: Bearer {}",
    "authorization: Basic {}==",
    "Cookie: sid={}; theme=dark",
    "curl --token {} https://example.org",
    "connect postgres://trader:{}@db:5432/trading failed",
    "connect postgresql+psycopg2://trader:p/q#{}@db/trading failed",
    "redis://:{}@cache:6379/0",
    "GET /login?user=a&token={}&next=b HTTP/1.1",
    "GET /x?sig={} HTTP/1.1",
    "GET /go?to=https%3A%2F%2Fh%2F%3Fpassword%3D{}%26x%3D1",
    "url=postgres%3A%2F%2Ftrader%3A{}%40db",
    "ALTER ROLE a PASSWORD '{}'",
    "CREATE USER a IDENTIFIED BY '{}'",
    "8=FIX.4.4|35=A|553=user|554={}|10=0",
    "https://hooks.slack.com/services/T0/B0/{}",
    'said {{"user": "a", "password": "{}"}} to it',
    'said "{{\\"user\\": \\"a\\", \\"password\\": \\"{}\\"}}" to it',
    "key AKIA{}",
    "ghp_{}0123456789abcdef",
    "sk-{}0123456789abcdef",
    "glpat-{}",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{}",
]
#: The second look does not know these.
NAMED = [
    "DB_PASS={}",
    "smtp.pass: {}",
    "psk={}",
    "listenKey={}",
    "FERNET_KEY={}",
    "consumer_key={}",
    "Kennwort={}",
    "COMMAND=/usr/bin/sshpass -p {} ssh db",
    "COMMAND=/usr/bin/mysqldump -u root -p{} app",
    "curl -s -u admin:{} https://example.org",
    "<dbPassword>{}</dbPassword>",
]


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load(None, KEY)


def text(rules: Rules, *blocks: bytes, counts: dict[str, int] | None = None) -> bytes:
    out: list[bytes] = []
    redact.Redaction(rules, {} if counts is None else counts).text(iter(blocks), out.append)
    return b"".join(out)


def _secret(said: str) -> str:
    return SECRET.upper()[:16] if "AKIA" in said else SECRET


@pytest.mark.parametrize("said", [*SAID, *NAMED])
def test_a_secret_is_gone_wherever_it_stands(rules: Rules, said: str) -> None:
    line = said.format(_secret(said))
    before = scan.text_of(line.encode())
    places = {
        "line": f"2026-10-01T00:00:00Z INFO {line}\n",
        "json": json.dumps({"event": line, "at": 1}) + "\n",
        "json in json": json.dumps({"event": json.dumps({"message": line})}) + "\n",
        "escaped": '{"event": "' + "".join(f"\\u{ord(char):04x}" for char in line) + '"}\n',
        "base64url": f"data {encoded(line + ' password=' + _secret(said))}\n",
        "base64url shifted": f"data {encoded(' password=' + _secret(said), 'xy')}\n",
    }
    for place, given in places.items():
        found = text(rules, given.encode())
        assert _secret(said).encode() not in found, place
        assert b"[redacted:" in found, place
        if place.startswith("json"):
            json.loads(found)
        assert scan.text_of(found) == [], place
    # The second look knows most of it by itself.
    assert before or said in SAID + NAMED
    assert text(rules, text(rules, places["line"].encode())) == text(rules, places["line"].encode())


def test_the_second_look_finds_what_was_not_redacted() -> None:
    missed = [said for said in SAID if not scan.text_of(said.format(_secret(said)).encode())]
    assert len(missed) <= 3, missed
    assert scan.text_of(f"data {encoded('password=' + SECRET)}".encode()) == ["password or key by its name in base64"]
    address = b"to=x%3Fpassword%3D" + SECRET.encode()
    assert "password or key by its name in an encoded address" in scan.text_of(address)
    assert scan.text_of(f"-----BEGIN PRIVATE KEY-----\n{PEM}\n".encode()) == ["private key"]
    assert scan.stream(iter([b"x" * 100 + b" passw", b"ord=" + SECRET.encode()])) == [
        "password or key by its name near byte 0"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "2026-10-01T00:00:00Z INFO order accepted id=1234 token_count=5 password_changed_at=2026-01-01",
        "password=null secret: none token=*** passwd=12",
        f"sha256 {hashlib.sha256(b'x').hexdigest()}",
        "https://example.org:8443/path?x=a@b",
        '{"previous_hash": "' + "0" * 64 + '", "hash": "' + hashlib.sha256(b"y").hexdigest() + '", "price": 1.10}',
        "the secret of success",
        "bypass=reason compass: north, 12 passed, mysql --port 3306 and mkdir -p /srv/a",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_what_is_no_secret_stays_byte_for_byte(rules: Rules, line: str) -> None:
    assert text(rules, line.encode()) == line.encode()


def test_secrets_split_over_lines(rules: Rules) -> None:
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{PEM}\n{PEM[:30]}==\n-----END RSA PRIVATE KEY-----\n"
    for begin in ("", "2026-10-01T00:00:00Z INFO "):
        given = "before\n" + "".join(f"{begin}{line}\n" for line in key.splitlines()) + f"{begin}after\n"
        found = text(rules, given.encode()).decode()
        assert PEM[:20] not in found
        assert found.count("\n") == given.count("\n")
        assert found.startswith("before\n")
        assert found.endswith("after\n")
    cut = text(rules, f"-----BEGIN PRIVATE KEY-----\n{PEM}\n{PEM}\nan ordinary line\n".encode())
    assert PEM.encode() not in cut
    assert b"an ordinary line\n" in cut
    assert b"of a [redacted" not in text(rules, b"the text -----BEGIN PRIVATE KEY----- of a\nlog\n")
    split = ["token ghp_abcdefgh\nABCDEFGH0123 end\n", f"password:\n    {SECRET}\n", "jwt eyJhbGciOiJI.\neyJzdWIi.x\n"]
    for given in split:
        found = text(rules, given.encode()).decode()
        assert found.count("\n") == given.count("\n")
        assert not any(part in found for part in ("ABCDEFGH0123", SECRET, "eyJ"))
    dated = b"token ghp_0123456789abcdef0123456789abcdef012\n2026-10-01T00:00:00Z next\n"
    assert text(rules, dated).endswith(b"]\n2026-10-01T00:00:00Z next\n")


def test_nothing_is_missed_where_blocks_end(rules: Rules) -> None:
    lines = [f"2026-10-01T00:00:00Z line {number} {'x' * 50}\n" for number in range(3000)]
    for number in range(0, 3000, 37):
        lines[number] = f"password={SECRET}{number} rest\n"
    lines[1500] = f"-----BEGIN PRIVATE KEY-----\n{PEM}\n{PEM}\n-----END PRIVATE KEY-----\n"
    whole = "".join(lines).encode()
    expected = text(rules, whole)
    for size in (997, 40_000, 65_536):
        counts: dict[str, int] = {}
        blocks = [whole[place : place + size] for place in range(0, len(whole), size)]
        assert text(rules, *blocks, counts=counts) == expected
        assert counts["private_key"] == 1
        assert counts["secret"] == len(range(0, 3000, 37))
    assert SECRET.encode() not in expected
    assert PEM.encode() not in expected


def test_pseudonyms_are_the_same_for_the_same_and_need_the_key() -> None:
    assert text(load([{"name": "n", "fields": ["n"]}], KEY), b'{"n": 7, "pin_token": 7}\n') == (
        b'{"n": "[redacted:n]", "pin_token": 7}\n'
    )
    own: list[dict[str, Any]] = [
        {"name": "customer", "pattern": r"CUST-\d+", "action": "pseudonym"},
        {"name": "person", "fields": ["email", "full-name"], "action": "pseudonym"},
    ]
    rules, other = load(own, KEY), load(own, b"o" * 32)
    line = b'{"email": "a@b.c", "n": 1.10, "who": {"full_name": ["A", "B"]}, "event": "CUST-17 and CUST-17, CUST-18"}\n'
    found = text(rules, line)
    assert b"a@b.c" not in found
    assert b'"A"' not in found
    data = json.loads(found)
    one, two, three = data["event"].replace(" and ", ", ").split(", ")
    assert one == two != three
    assert one.startswith("[customer:")
    assert b'"n": 1.10' in found
    assert found != text(other, line)
    assert found == text(rules, line)
    # The same person in text, in another notation.
    person = data["email"].encode()
    assert person in text(rules, b"login email=a@b.c ok\n")
    assert person in text(rules, b'login Email: "a@b.c" ok\n')


def test_csv_keeps_its_records_and_its_nulls() -> None:
    rules = load([{"name": "person", "fields": ["actor"], "action": "pseudonym"}], KEY)
    given = (
        b'id,actor,details,"the token"\n'
        b'1,anna,"password=abc,d ""quoted""\nnext line",x\n'
        b'2,,"",\n'
        b"3,anna,plain,\n"
        b'4,"o""neil",token=0123456789,"' + SECRET.encode() + b'"\n'
    )
    out: list[bytes] = []
    counts: dict[str, int] = {}
    one = redact.Redaction(rules, counts)
    assert one.csv(iter([given[:60], given[60:61], given[61:]]), out.append) == 5
    found = b"".join(out)
    rows = list(csv.reader(io.StringIO(found.decode())))
    assert [len(row) for row in rows] == [4] * 5
    assert rows[0] == ["id", "actor", "details", "the token"]
    assert rows[1][1] == rows[3][1] != rows[4][1]
    assert rows[1][2].startswith("password=[redacted:secret] ")
    assert rows[1][2].endswith('"quoted"\nnext line')
    assert b'2,,"",\n' in found
    assert counts == {"person": 3, "secret": 3}
    assert SECRET.encode() not in found
    for bad in (b'a,b\n1,"x\n', b'a,b\n1,x"y"\n'):
        with pytest.raises(EvidenceError):
            one.csv(iter([bad]), out.append)


def test_the_journal_keeps_its_form() -> None:
    rules = load([{"name": "machine", "fields": ["_HOSTNAME"]}], KEY)
    given = export(
        [
            {"at": 1, "MESSAGE": "nothing", "_HOSTNAME": "app1"},
            {"at": 2, "MESSAGE": f"two\nlines password={SECRET}\nthree".encode(), "_CMDLINE": f"x --password {SECRET}"},
            {"at": 3, "MESSAGE": "plain", "DB_PASSWORD": SECRET, "SESSION_ID": "c12"},
            {"at": 4, "MESSAGE": b"\xff\x00 binary\n\n", "PRIORITY": "6"},
        ]
    )
    cursor = "__CURSOR=s=00;i={0:x};b=00;m=0;t={1:x};x=0\n"
    given = b"".join(
        cursor.format(number, number * 1_000_000).encode() + b"__REALTIME_TIMESTAMP=" + each
        for number, each in enumerate(given.split(b"__REALTIME_TIMESTAMP=")[1:], 1)
    )
    out: list[bytes] = []
    counts: dict[str, int] = {}
    assert redact.Redaction(rules, counts).export(iter([given]), out.append) == 4
    found = b"".join(out)
    assert SECRET.encode() not in found
    assert b"_HOSTNAME=[redacted:machine]\n" in found
    assert b"\nSESSION_ID=c12\n" in found
    assert b"lines password=[redacted:secret]\nthree\n" in found
    assert b"\xff\x00 binary\n\n" in found
    assert counts == {"machine": 1, "secret": 3}
    again: list[bytes] = []
    assert redact.Redaction(rules, {}).export(iter([found]), again.append) == 4
    assert b"".join(again) == found


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*a){20}", "(x+x+)+y", "([a-zA-Z]+)*!", "(a|aa)+$"])
def test_a_pattern_that_would_never_end_elsewhere_is_harmless(pattern: str) -> None:
    rules = load([{"name": "own", "pattern": pattern}], KEY)
    given = b"a" * 50_000 + b"x" * 50_000 + b"\n"
    before = time.process_time()
    text(rules, given)
    # By backtracking it would be beyond the end of the universe.
    assert time.process_time() - before < 60


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"name": "a", "pattern": "(?=x)y"}, "none that RE2 can run"),
        ({"name": "a", "pattern": r"(x)\1"}, "none that RE2 can run"),
        ({"name": "a", "pattern": "(?<!x)y"}, "none that RE2 can run"),
        ({"name": "a", "pattern": "("}, "none that RE2 can run"),
        ({"name": "a", "pattern": "x*"}, "matches nothing at all"),
        ({"name": "a", "pattern": "x", "fields": ["b"]}, "one of them"),
        ({"name": "a"}, "one of them"),
        ({"name": "a", "pattern": "x", "replace": "y"}, "which is unknown"),
        ({"name": "a", "pattern": "x", "action": "drop"}, "has the action"),
        ({"name": "secret", "pattern": "x"}, "cannot name"),
        ({"name": "A b", "pattern": "x"}, "cannot name"),
        ({"name": "a", "pattern": 5}, "not a text"),
        ({"name": "a", "fields": "email"}, "not a list of names"),
        ("x", "not a mapping"),
    ],
)
def test_rules_are_refused_when_they_are_loaded(rule: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        load([rule], KEY)
    with pytest.raises(ConfigurationError, match="key of pseudonyms"):
        load([], KEY[:31])


def test_no_mixture_is_left_that_the_second_look_finds(rules: Rules) -> None:
    dice = random.Random(4)
    glue = [" ", ",", "; ", '"', "'", "\\", "&", "\n", "{", "}", "[", "](", ": ", "=", "\\n", "%20", "\t", "://", "@"]
    secrets = [SECRET, SECRET.upper()[:16], "a b", "'", "(x", '\\"y']
    for _round in range(400):
        parts = range(dice.choice([1, 2, 4]))
        given = "".join(dice.choice(glue) + dice.choice(SAID).format(dice.choice(secrets)) for _part in parts)
        if dice.random() < 0.3:
            given = quote(given) if dice.random() < 0.5 else json.dumps({"token": given, "m": given})
        found = text(rules, given.encode() + b"\n")
        assert scan.text_of(found) == [], (given, found)


def test_json_stays_json_and_what_is_left_of_it_the_same(rules: Rules) -> None:
    given = (
        b'{"password": 1.5, "token": true, "n": 7, "event": "a password=\'x y\' z", "hash": "h"}\n'
        b'{"db.secret": [1, {"a": "b"}], "iban": null, "id": 12345678901234567890, "price": 1.10}\n'
    )
    first, second, end = text(rules, given).split(b"\n")
    assert json.loads(first) == {
        "password": "[redacted:secret]",
        "token": True,
        "n": 7,
        "hash": "h",
        "event": "a password='[redacted:secret]' z",
    }
    assert second == b'{"db.secret": "[redacted:secret]", "iban": null, "id": 12345678901234567890, "price": 1.10}'
    assert (end, scan.text_of(text(rules, given))) == (b"", [])


def _staged(folder: Path, name: str, kind: str, data: bytes, records: int) -> Source:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = gzip.compress(data, mtime=0)
    path.write_bytes(packed)
    file = File(name, len(packed), hashlib.sha256(packed).hexdigest(), records)
    counts = [Count("one", records), Count("other", records)]
    return Source(name.split("/")[0], kind, "complete", files=[file], records=records, counts=counts)


def _redacted(folder: Path, sources: list[Source], target: Path, rules: Rules) -> list[Source]:
    target.mkdir()
    return [redact.source(folder, each, Scratch(str(target), 1 << 40), rules) for each in sources]


def test_files(tmp_path: Path, rules: Rules) -> None:
    envelope = json.dumps({"payload": base64.b64encode(b'{"token": "abc"}' * 9).decode()}).encode() + b"\n"
    sources = [
        _staged(tmp_path / "from", "logs/app.gz", "log_file", f"a\npassword={SECRET}\nb".encode(), 3),
        _staged(tmp_path / "from", "tables/t.csv.gz", "table", f"id,password\n1,{SECRET}\n".encode(), 1),
        _staged(tmp_path / "from", "ledger/r.jsonl.gz", "ledger", envelope, 1),
    ]
    assert [found for source in sources for found in scan.files(tmp_path / "from", source)]
    result = _redacted(tmp_path / "from", sources, tmp_path / "to", rules)
    assert [source.redactions for source in result] == [{"secret": 1}, {"secret": 1}, {}]
    assert result == _redacted(tmp_path / "from", sources, tmp_path / "again", rules)
    for source in result:
        for file in source.files:
            data = (tmp_path / "to" / file.path).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)
            assert SECRET.encode() not in gzip.decompress(data)
        assert scan.files(tmp_path / "to", source) == []
    assert gzip.decompress((tmp_path / "to/ledger/r.jsonl.gz").read_bytes()) == envelope
    (tmp_path / "from/logs/app.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(EvidenceError, match="not what was collected"):
        _redacted(tmp_path / "from", sources, tmp_path / "third", rules)


def test_it_takes_little_memory(rules: Rules) -> None:
    line = b"2026-10-01T00:00:00Z INFO order accepted id=1234 strategy=alpha qty=100 price=1.2345\n"

    def given() -> Iterator[bytes]:
        for _number in range(60):
            yield line * 12_000

    size = [0]
    tracemalloc.start()
    try:
        count = redact.Redaction(rules, {}).text(given(), lambda data: size.__setitem__(0, size[0] + len(data)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (count, size[0]) == (60 * 12_000, 60 * 12_000 * len(line))
    assert peak < 20_000_000


def test_a_log_in_which_every_line_has_something_is_redacted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_LINE", 300_000)
    rules = load([{"name": "person", "fields": ["email"]}], KEY)
    line, sizes = b"GET /a email=a@b.c 200\n", []
    one = redact.Redaction(rules, {})
    block = line * 3000
    assert one.text(iter([block] * 12), lambda data: sizes.append(len(data))) == 36_000
    assert sum(sizes) == 36_000 * len(line.replace(b"a@b.c", b"[redacted:person]"))
    assert max(sizes) < 4 * len(block)
    with pytest.raises(EvidenceError, match="cannot be redacted as a whole"):
        one.text(iter([b"x" * 100_000] * 4), lambda data: None)


def test_json_that_is_deep_is_looked_at_as_text(rules: Rules) -> None:
    counts: dict[str, int] = {}
    deep = b'{"password": "' + SECRET.encode() + b'", "a": ' + b"[" * 900 + b"]" * 900 + b"}\n"
    found = text(rules, deep, counts=counts)
    assert (found, counts) == (deep.replace(SECRET.encode(), b"[redacted:secret]"), {"secret": 1})


def test_a_pattern_that_ends_within_a_character_leaves_json() -> None:
    found = text(load([{"name": "own", "pattern": "customer .{4}"}], KEY), '{"a": "customer abcä of"}\n'.encode())
    assert json.loads(found) == {"a": "[redacted:own]\ufffd of"}


def test_a_byte_that_is_no_text_hides_no_name(rules: Rules) -> None:
    for odd in (b"\xff", b"\t"):
        found = text(rules, b'{"pass\\u0077ord": "' + SECRET.encode() + b'", "a": "' + odd + b'"}\n')
        assert json.loads(found)["password"] == "[redacted:secret]"


def test_a_log_is_one_whatever_its_name(tmp_path: Path, rules: Rules) -> None:
    data = f'a "b\npassword={SECRET}\n'.encode()
    names = ["csv/0001-fills.csv.gz", "export/0001-x.export.gz"]
    sources = [_staged(tmp_path / "from", name, "log_file", data, 2) for name in names]
    _redacted(tmp_path / "from", sources, tmp_path / "to", rules)
    for name in names:
        assert gzip.decompress((tmp_path / "to" / name).read_bytes()) == b'a "b\npassword=[redacted:secret]\n'


def test_a_large_cell_takes_little_memory(rules: Rules) -> None:
    given = b'id,a\n1,"' + b'x""' * 500_000 + b'"\n'
    tracemalloc.start()
    try:
        assert redact.Redaction(rules, {}).csv(iter([given]), lambda data: None) == 2
        assert tracemalloc.get_traced_memory()[1] < 10 * len(given)
    finally:
        tracemalloc.stop()
