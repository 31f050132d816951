"""Secrets in text from outside, wherever it ends up."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import OK, Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import StorageError
from ansible_collections.tradingflow.maintenance.plugins.module_utils.masking import masked, masked_data
from ansible_collections.tradingflow.maintenance.plugins.module_utils.run import write_spool

SECRETS = {
    "https://alice:hunter2hush@app.example/login": ["hunter2hush", "alice"],
    "failed: postgresql://app:hush@db/x?sslmode=require after 3 s": ["hush"],
    "POST https://venue.example/v1?api_key=hushhush&x=1 gave 401": ["hushhush"],
    "seed phrase: abandon ability able about above absent": ["abandon", "able", "absent"],
    "seed_phrase=abandon ability able, wallet=cold": ["ability", "able"],
    'mnemonic="abandon ability able about"': ["abandon", "able", "about"],
    '{"mnemonic": "abandon ability able"}': ["abandon", "able"],
    "mnemonic is abandon ability able about above absent absorb abstract absurd abuse access accident": ["absorb"],
    "recovery phrase: 'abandon ability'": ["abandon", "ability"],
    "passphrase: correct horse battery staple": ["correct", "horse", "staple"],
    "passphrase=correct horse battery staple; user=bob": ["correct", "horse", "staple"],
    "password: correct horse battery": ["correct", "horse", "battery"],
    "the passphrase is 'correct horse'": ["correct", "horse"],
    "<password>hush</password>": ["hush"],
    '<ns:Password type="text">hush hush</ns:Password>': ["hush"],
    "<apiKey><![CDATA[hush<x]]></apiKey>": ["hush"],
    "<seedPhrase>abandon ability": ["abandon", "ability"],
    '<add key="ApiKey" value="hush"/>': ["hush"],
    '{"name": "DB_PASSWORD", "value": "hush"}': ["hush"],
    "dial app:hush@tcp(db:3306)/x failed": ["hush"],
    "redis bob:hush@cache.example:6379 refused": ["hush"],
    "api key: hush": ["hush"],
    # Without anything between the name and it, as people and programs write.
    "login failed with password hunter2hush": ["hunter2hush"],
    "The password is hunter2hush.": ["hunter2hush"],
    "my secret is hunter2hush, what now": ["hunter2hush"],
    "Incorrect API key provided: hunter2hush": ["hunter2hush"],
    "invalid token hunter2hush": ["hunter2hush"],
    "config: requirepass hunter2hush": ["hunter2hush"],
    "ALTER ROLE app PASSWORD $$hush hush$$": ["hush"],
    "ALTER ROLE app PASSWORD $x$hush$ $x$ VALID UNTIL 'infinity'": ["hush"],
    "ALTER ROLE app PASSWORD E'hush\\'hush'": ["hush"],
    # What venues and their protocols carry
    "8=FIX.4.4\x0135=A\x01553=desk\x01554=hush\x01925=hushnew\x0110=093\x01": ["hush"],
    "FIX out: 35=A|553=desk|554=hush|10=093": ["hush"],
    "OK-ACCESS-SIGN: hush": ["hush"],
    "POST /0/private API-Sign: hush": ["hush"],
    "listenKey=hush expired": ["hush"],
    "GET https://api.telegram.org/bot123456789:AAhushhushhushhushhushhushhushhushh/send": ["hush"],
    "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ": ["QQQQ"],
    "MASTER_KEY=hush": ["hush"],
    "private key = hush": ["hush"],
    "Passwort: hush hush": ["hush"],
    "ghp_0123456789abcdefghijklmnop was refused": ["ghp_0123456789abcdefghijklmnop"],
    "bot 123456789:AAEhBP0av28abcdefghijklmnopqrstuvwx said no": ["AAEhBP0av28"],
    "sk_live_0123456789abcdefghij expired": ["sk_live_0123456789abcdefghij"],
    "Server=x;User Id=sa;Password=hush hush;Encrypt=no": ["hush"],
    "jdbc:oracle:thin:scott/hush@db:1521/x": ["hush"],
    "ran curl -u bob:hush https://x": ["hush"],
    "sshpass -p hush ssh x": ["hush"],
    "redis-cli -h x -a hush ping": ["hush"],
    "mysql -ubob -phush": ["hush"],
    "x-api-key hushhushhush was refused": ["hush"],
    "POST https://hooks.slack.com/services/T0/B0/hush gave 404": ["hush"],
    "totp code 123456 is wrong": ["123456"],
    "PIN: 4711": ["4711"],
    "otp=123456 wrong": ["123456"],
    "SharedAccessKey=hush/hush=": ["hush"],
    # Queries, also URL-encoded, once or twice.
    "GET https://venue.example/v1?key=hush&symbol=BTC gave 403": ["hush"],
    "GET /oauth/callback?state=x1&code=hush HTTP/1.1": ["hush"],
    "redirected to https://x/login?next=%2Fv1%3Fpassword%3Dhush%26a%3D1": ["hush"],
    "body user%3Dbob%26api_key%3dhush": ["hush"],
    "next=%252Fv1%253Fsecret%253Dhush": ["hush"],
    "json %7B%22password%22%3A%22hush%22%7D": ["hush"],
    "GET /x?pw=hush": ["hush"],
    "GET /x?ticket=hush#a": ["hush"],
    # AUTH of several protocols.
    "redis: AUTH hush": ["hush"],
    "redis: AUTH default hush": ["hush"],
    '1700000000.1 [0 127.0.0.1:5] "AUTH" "bob" "hush"': ["hush"],
    "SMTP > AUTH PLAIN AGJvYgBodXNo": ["AGJvYgBodXNo"],
    "AUTH LOGIN aHVzaA==": ["aHVzaA"],
    "AUTHENTICATE PLAIN AGJvYgBodXNo": ["AGJvYgBodXNo"],
    "C: a1 LOGIN bob hush": ["hush"],
    "C: PASS hush": ["hush"],
    'Authorization: Digest username="bob", realm="x", nonce="n1", response="hush", opaque="hush2"': ["hush", "n1"],
    "WWW: Negotiate YIIhushhush==": ["hush"],
    "proxy said NTLM TlRMhushhush": ["hush"],
    # Connection strings, keys, command lines.
    "Driver={x};Server=y;Uid=sa;Pwd=hush;": ["hush"],
    "host=db user=app password='hush hush' dbname=x": ["hush"],
    "-----BEGIN RSA PRIVATE KEY-----\\nMIIhush\\n-----END RSA PRIVATE KEY-----": ["MIIhush"],
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQhush\n-----END PGP PRIVATE KEY BLOCK-----": ["lQhush"],
    "-----BEGIN%20PRIVATE%20KEY-----%0AMIIhush%0A-----END%20PRIVATE%20KEY-----": ["MIIhush"],
    "eyJhbGciOi.eyJodXNo.hushsign": ["hushsign", "eyJodXNo"],
    "eyJhbGciOi.hush1.hush2.hush3.hush4": ["hush"],
    "v2.local.hushhushhushhush": ["hushhush"],
    "docker login -u bob -p hush registry.example": ["hush"],
    "ldapsearch -x -D cn=a -w hush": ["hush"],
    "machine x login bob password hush": ["hush"],
    "consumer_key=hush": ["hush"],
    "Password for user app: hush": ["hush"],
    "ran sqlplus -s scott/hush@db": ["hush"],
    "credentials bob:hush were refused": ["hush"],
    "BASIC_AUTH=bob:hush": ["hush"],
    "CONFIG SET requirepass hush": ["hush"],
    "masterauth hush": ["hush"],
    "sentinel auth-pass main hush": ["hush"],
    "CREATE USER x IDENTIFIED BY hush": ["hush"],
    "wp_pass: hush": ["hush"],
    "Fernet key: hush": ["hush"],
    "2FA code: 123456": ["123456"],
    "your verification code 123456": ["123456"],
    "Ocp-Apim-Subscription-Key: hush": ["hush"],
    "license key: hush": ["hush"],
    "ya29.hushhushhushhushhush": ["hushhush"],
    "SG.hushhushhushhush00.hushhush": ["hushhush"],
    "hf_hushhushhushhushhush": ["hushhush"],
    "xapp-1-hushhushhushhush": ["hushhush"],
    "wallet L1aW4aubDFB7yfras2S1mN3bqg9nwySY8nkoLmJebSLD5BWv3ENZ imported": ["L1aW4aub"],
}


@pytest.mark.parametrize(("text", "secrets"), SECRETS.items())
def test_no_secret_is_left(text: str, secrets: list[str]) -> None:
    for version in (text, json.dumps({"error": text}), json.dumps({"a": json.dumps({"error": text})})):
        for secret in secrets:
            assert secret not in masked(version), version


@pytest.mark.parametrize(
    "text",
    [
        "order 7 of AAPL failed: price 12.50 is off",
        "author=bob passed 5 tests, broken by key order",
        "Check the server, the address, the password",
        "GRANT pg_monitor TO the maintenance user.",
        "InvalidAccessKeyId: The access key ID you provided does not exist in our records.",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "tx 0x9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 has no receipt",
        "mail to bob@example.com at 12:30",
        "postgresql on 127.0.0.1:5432 as app",
        "The password expires in 3 days",
        "seeded 5 rows",
        "Unexpected token '}' in JSON at position 5",
        "the token expired",
        "secret not found",
        "signature does not match",
        "35=D|55=BTC-USD|54=1|38=96",
        "duplicate key value violates unique constraint, primary key=orders_pkey",
        "exit code=1",
        "bypass: on, tests passed: 5",
        "security of the code 12 is low",
        "The password of bob expires in 3 days",
        "credentials of bob are missing",
        "status code=503",
        "foreign key: order_id",
        "AUTH failed for bob",
        "NOAUTH Authentication required.",
        "AUTH LOGIN is not offered",
        "AUTH PLAIN failed",
        "auth module loaded",
        "login of bob failed",
        "PASS tests/x.py",
        "negotiate a new price with the venue",
        "digest of the file differs",
        "GET /v1/orders?symbol=BTC&limit=100",
        "next=%2Fv1%3Fsymbol%3DBTC",
        "docker login failed",
        "key=BTC-USD is not known",
        "v2.local is no host",
    ],
)
def test_what_is_needed_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("word", ["пароль", "密码", "hasło", "lösenord"])
def test_words_of_other_languages(word: str) -> None:
    assert masked(f"{word}: hush") == f"{word}: ***"
    assert masked(f"{word}=hush x") == f"{word}=*** x"


def test_what_stands_around_a_secret_stays() -> None:
    assert masked("login password=x failed for bob") == "login password=*** failed for bob"
    assert masked("passphrase: a b c; user=bob") == "passphrase: ***; user=bob"
    assert masked("<password>x</password><user>bob</user>") == "<password>***</password><user>bob</user>"


def test_masking_twice_is_masking_once() -> None:
    for text in SECRETS:
        assert masked(masked(text)) == masked(text)


def test_names_of_data_count_too() -> None:
    data = {"db_password": "hush", "statement": ["api_key=hush"], "secret": "", "tokens": 3, "keys": ["a"]}
    assert masked_data(data) == {
        **data,
        "db_password": "***",
        "statement": ["api_key=***"],
    }


def test_checks_actions_and_errors_show_none(tmp_path: Path) -> None:
    text = "failed: https://a:hush@x/ <password>hush</password> seed phrase: hush hush hush"
    check = Check("a.b", "B", OK, text, message=text, source=text, details={"error": text, "more": [text]})
    write_spool(tmp_path, "a", "h", [check.as_dict()], [{"id": "x", "message": text, "details": {"m": text}}])
    written = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "hush" not in written
    assert "failed: https://***@x/" in written
    assert "hush" not in str(StorageError(text))


@pytest.mark.parametrize(
    "text",
    [each * 9000 for each in ("<", "a:", chr(34), "%3D")]
    + [
        each * 900
        for each in ("password: ", "seed ", "<a", "AUTH ", "login x ", "digest a=b, ", "&key=", "password%3D")
    ],
)
def test_no_text_takes_for_ever(text: Any) -> None:
    begun = time.process_time()
    masked(text + "@ password")
    assert time.process_time() - begun < 60
