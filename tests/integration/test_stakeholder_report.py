"""A month's report of a sandbox, drafted by the playbook, approved, and sent by a real mail server."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.action import stakeholder_mail, stakeholder_report
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger, storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders import engine, sending
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.options import SPEC, month_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils._stakeholders.past import (
    SENT,
    Event,
    Known,
    known,
)

from tests.conftest import Playbook, Sandbox, play_on
from tests.mail_server import MailServer, mail_server

FIRST, LAST = month_of("")
MONTH = f"{FIRST:%Y-%m}"
BOARD = {
    "name": "board",
    "title": None,
    "addresses": ["chair@example.com", "risk@example.com"],
    "sections": ["book", "strategies", "instruments"],
}


@pytest.fixture(scope="module")
def drafted(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Playbook:
    month = f"stakeholder_report_month={MONTH}"
    return play_on(platform, tmp_path_factory.mktemp("drafted"), "monthly", "--tags", "stakeholders", "-e", month)


def common(platform: Sandbox, **given: Any) -> dict[str, Any]:
    evidence = platform.state["evidence"]
    return {
        "storage": platform.storage,
        "environment_name": "mail",
        "evidence": {"signing_key_file": evidence["signing_key_file"]},
        "recipients": [BOARD],
        # Said: the tests may begin in one month, and go on in the next.
        "month": MONTH,
        **given,
    }


def draft(platform: Sandbox, **given: Any) -> engine.Drafted:
    rates = {"currency": "USD", "rates": {"EUR": "FXHUB:EUR-USD"}, "benchmark": {"instrument": "COINX:BTC-USD"}}
    options = common(platform, database=platform.database, **rates)
    result = ArgumentSpecValidator(SPEC).validate({**options, **given})
    assert not result.error_messages
    return engine.draft(result.validated_parameters, [])


def test_the_playbook_drafts_a_month(platform: Sandbox, drafted: Playbook) -> None:
    assert drafted.returncode == 0, drafted.output
    checks = {check["id"].removeprefix("stakeholders."): check for check in drafted.report("monthly")["checks"]}
    assert {id: check["status"] for id, check in checks.items()} == {
        **dict.fromkeys(("figures", "instruments", "benchmark", "draft:board", "draft:investors"), "ok"),
        "operations": "unknown",
    }
    # Executions, positions and prices on one side, the books on the other.
    assert 0 < checks["instruments"]["value"] < 1
    folder = next(drafted.artifacts.glob("monthly/2*"))
    body = (folder / "performance-board.pdf").read_bytes()
    assert hashlib.sha256(body).hexdigest() == checks["draft:board"]["value"]
    investors = (folder / "performance-investors.html").read_text(encoding="utf-8")
    board = (folder / "performance-board.html").read_text(encoding="utf-8")
    assert "maker-bitnord" in board
    assert "COINX:BTC-USD" in board
    assert "COINX:BTC-USD" not in investors
    assert {path.stat().st_mode & 0o777 for path in folder.glob("performance-*")} == {0o600}


def test_figures_are_those_of_the_tables(platform: Sandbox) -> None:
    made = draft(platform)
    data = made.data
    assert {check.id: check.status for check in made.checks}["stakeholders.instruments"] == "ok"
    rows = platform.sql(
        "superuser",
        "SELECT strategy_code, sum(pnl), sum(fees), exp(sum(ln(1 + pnl / (equity - pnl)))) - 1 FROM equity "
        f"WHERE day BETWEEN '{FIRST}' AND '{LAST}' GROUP BY 1",
    )
    found = {line["name"]: line["month"] for line in data["strategies"]}
    assert set(found) == {row[0] for row in rows}
    for name, pnl, fees, twr in rows:
        assert (Decimal(found[name]["pnl"]), Decimal(found[name]["fees"])) == (pnl, fees)
        assert found[name]["twr"] == pytest.approx(float(twr), rel=1e-9)
    # Without rates between, executions, positions and prices tell the books' results to the last digit.
    own = [row[0] for row in platform.sql("superuser", "SELECT code FROM strategies WHERE currency = 'USD'")]
    assert len(own) > 2
    assert {name: Decimal(data["attribution"]["unexplained"][name]) for name in own} == dict.fromkeys(own, 0)
    assert sum(data["attribution"]["contributions"].values()) == pytest.approx(data["book"]["month"]["twr"], rel=1e-9)
    first, last = (
        platform.sql(
            "superuser",
            f"SELECT price FROM prices WHERE instrument_code = 'COINX:BTC-USD' AND observed_at <= '{day} 00:00+00' "
            "ORDER BY observed_at DESC LIMIT 1",
        )[0][0]
        for day in (FIRST, LAST + timedelta(days=1))
    )
    assert data["benchmark"]["return"] == pytest.approx(float(last / first) - 1, rel=1e-12)


def test_what_an_incident_cost(platform: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    # A day of the month, and one that ended before it began.
    day = LAST - timedelta(days=3)
    times = (f"{day}T00:00:00Z", f"{day + timedelta(days=1)}T00:00:00Z")
    events = [Event(times[0], "incident", "Feed lost", "", "me", *order) for order in (times, times[::-1])]
    known = Known()
    known.operations.incidents = events
    monkeypatch.setattr(engine, "_known", lambda _options: known)
    found = [event["cost"] for event in draft(platform).data["operations"]["incidents"]]
    # Executions, positions and prices on one side, the books on the other.
    rates = dict(
        platform.sql(
            "superuser",
            # The last of the month: it may end on a weekend, when nobody trades currencies.
            "SELECT 'EUR', price FROM prices WHERE instrument_code = 'FXHUB:EUR-USD' "
            f"AND observed_at <= '{LAST + timedelta(days=1)} 00:00+00' ORDER BY observed_at DESC LIMIT 1",
        )
    )
    books = platform.sql("superuser", f"SELECT currency, sum(pnl + fees) FROM equity WHERE day = '{day}' GROUP BY 1")
    made = sum(Decimal(pnl) * {"USD": 1, **rates}[currency] for currency, pnl in books)
    assert found[0]["no_result"] == "", found[0]
    assert abs(Decimal(found[0]["result"]) - made) < Decimal("0.01"), (found[0]["result"], made)
    assert found[0]["missed_fills"] >= 0, found[0]
    assert "unknown" in found[1]


def test_a_wrong_book_is_not_told(platform: Sandbox) -> None:
    platform.sql("superuser", f"UPDATE equity SET pnl = pnl + 1 WHERE strategy_code = 'carry-fx' AND day = '{FIRST}'")
    try:
        found = draft(platform)
        checks = {check.id: check for check in found.checks}
        assert checks["stakeholders.figures"].status == "unknown"
        assert "carry-fx" in checks["stakeholders.figures"].message
        assert checks["stakeholders.instruments"].status == "unknown"
        assert found.data["book"]["month"] is None
        html = stakeholder_report.documents(found)[0]["board"]
        assert html.count("No figures:") == 2
    finally:
        platform.sql(
            "superuser", f"UPDATE equity SET pnl = pnl - 1 WHERE strategy_code = 'carry-fx' AND day = '{FIRST}'"
        )


class Post:
    """The way of one month: drafts kept and recorded, and what is sent."""

    def __init__(self, platform: Sandbox, server: MailServer) -> None:
        self.platform, self.server = platform, server
        self.broken = 0

    def record(self, content: dict[str, Any], name: str, sha256: str) -> None:
        if content["title"] == SENT and self.broken:
            self.broken -= 1
            raise KeyboardInterrupt
        self.append(content, [{"name": name, "digest": {"sha256": sha256}}])

    def append(self, content: dict[str, Any], subjects: list[dict[str, Any]]) -> None:
        ledger.append(
            self.platform.storage,
            "mail",
            "review",
            actor="anna",
            run_id="run",
            subjects=subjects,
            content=content,
            signing_key=self.platform.state["evidence"]["signing_key_file"],
        )

    def draft(self, **given: Any) -> str:
        """Drafts, keeps and records; returns the digest."""
        found = draft(self.platform, **given)
        bodies = stakeholder_report.documents(found)[1]
        documents = [
            engine.document_of(found.options, each, bodies[each["name"]]) for each in found.options["recipients"]
        ]
        engine.keep(found.options, documents, bodies)
        content = engine.content(found.options, found.data, documents)
        self.append(content, [{"name": each.key, "digest": {"sha256": each.sha256}} for each in documents])
        return documents[0].sha256

    def send(self, *approved: str, **given: Any) -> sending.Outcome:
        spec = {**stakeholder_mail.ActionModule.spec}
        mail = {key: value for key, value in self.server.options.items() if value is not None}
        options = common(self.platform, mail=mail, approved=list(approved), **given)
        result = ArgumentSpecValidator(spec).validate(options)
        assert not result.error_messages
        return sending.send(result.validated_parameters, self.record)


@pytest.fixture(scope="module")
def post(platform: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    with mail_server(tmp_path_factory.mktemp("mail")) as server:
        yield Post(platform, server)


def statuses(outcome: sending.Outcome) -> dict[str, str]:
    return {check.id.removeprefix("stakeholders."): check.status for check in outcome.checks}


def test_nothing_is_sent_before_it_is_drafted(post: Post) -> None:
    assert statuses(post.send("ab" * 32)) == {"draft": "unknown"}


@pytest.fixture(scope="module")
def approved(post: Post) -> str:
    return post.draft()


def test_what_waits_and_what_was_never_drafted(post: Post, approved: str) -> None:
    assert statuses(post.send()) == {"sent:board": "warning"}
    assert statuses(post.send("ab" * 32)) == {f"approved:{'ab' * 6}": "critical", "sent:board": "warning"}
    assert post.server.kept.mails == []


def test_other_addresses_need_another_draft(post: Post, approved: str) -> None:
    other = {**BOARD, "addresses": ["chair@example.com", "mallory@example.com"]}
    assert statuses(post.send(approved, recipients=[other])) == {"sent:board": "critical"}
    assert post.server.kept.mails == []


def test_another_file_in_its_place_is_not_sent(post: Post, approved: str) -> None:
    options = {
        "storage": post.platform.storage,
        "environment_name": "mail",
        "evidence": common(post.platform)["evidence"],
    }
    document = known({**options, "first": FIRST, "last": LAST}).drafts[0]["documents"][0]
    s3, bucket = storage.client(post.platform.storage), post.platform.storage["bucket"]
    body = s3.get_object(Bucket=bucket, Key=document["key"])["Body"].read()
    s3.put_object(Bucket=bucket, Key=document["key"], Body=body[:-1])
    try:
        assert statuses(post.send(approved)) == {"sent:board": "critical"}
    finally:
        s3.put_object(Bucket=bucket, Key=document["key"], Body=body)
    assert post.server.kept.mails == []


def test_sent_once_however_often_it_runs_and_wherever_it_is_killed(post: Post, approved: str) -> None:
    post.broken = 1
    with pytest.raises(KeyboardInterrupt):
        post.send(approved)
    # The first mail was taken, and no record says so: it goes again, as the same one. The second goes once.
    assert statuses(post.send()) == {"sent:board": "ok"}
    assert statuses(post.send(approved)) == {"sent:board": "ok"}
    mails = post.server.kept.messages()
    assert [mail["To"] for mail in mails] == ["chair@example.com", "chair@example.com", "risk@example.com"]
    assert mails[0]["Message-ID"] == mails[1]["Message-ID"] != mails[2]["Message-ID"]
    bodies = [part.get_payload(decode=True) for mail in mails for part in mail.walk() if part.get_filename()]
    assert {hashlib.sha256(body).hexdigest() for body in bodies if isinstance(body, bytes)} == {approved}


def test_a_new_draft_voids_the_approval_of_the_one_before(post: Post, approved: str) -> None:
    assert post.draft() == approved  # the same inputs, the same bytes
    newer = post.draft(title="Corrected report")
    assert newer != approved
    found = post.send(approved)
    assert statuses(found) == {f"approved:{approved[:12]}": "critical", "sent:board": "warning"}
    assert "earlier draft" in found.checks[0].message


def test_who_is_refused_gets_it_when_the_address_is_right(post: Post, approved: str) -> None:
    wrong = {**BOARD, "addresses": ["nobody@example.com", "new@example.com"]}
    digest = post.draft(recipients=[wrong])
    found = post.send(digest, recipients=[wrong])
    assert statuses(found) == {"sent:board": "critical"}
    assert (found.checks[0].value, found.sent) == (1, 1)
    assert "no such user" in found.checks[0].message


def test_no_address_is_in_the_ledger_and_no_password_anywhere(post: Post, approved: str) -> None:
    s3, bucket = storage.client(post.platform.storage), post.platform.storage["bucket"]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="evidence/mail/")["Contents"]
    texts = [json.loads(s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read())["payload"] for each in listed]
    assert len(texts) > 5
    for text in texts:
        plain = base64.b64decode(text).decode()
        assert "example.com" not in plain.replace("@example.com>", "")
        assert "chair" not in plain
        assert "hush" not in plain
