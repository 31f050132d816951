"""The compliance report's forms: HTML that escapes, PDF that fetches nothing, OSCAL with identifiers that stay."""

from __future__ import annotations

import copy
import http.server
import json
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.action import compliance_checks
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance import assessment, oscal, requirements
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report import compliance, pdf

from tests import trestle
from tests.conftest import COLLECTION, left_out
from tests.unit.oscal import problems

CATALOGUE = requirements.load(COLLECTION / "compliance/requirements.json")
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script> & 'quotes'"


def check(id: str, status: str, **change: Any) -> dict[str, Any]:
    return {"id": id, "title": id, "status": status, "message": "", "remedy": "", "host": "", **change}


def assessed(**change: Any) -> dict[str, Any]:
    checks = [check("compliance.kyc_reviews", "critical", message=EVIL, title=EVIL, remedy=EVIL, value=3)]
    checks += [check("compliance.audit_trail_orders", "ok", message="Each has its entry.", value=9)]
    checks += [check(f"compliance.clock_synchronisation:{host}", "unknown") for host in ("a", "b")]
    chosen = CATALOGUE.within(["EU"])
    given = {"environment": "test", "now": NOW, "days": 31, "checks": checks, "others": [], "records": {"audit": 1}}
    return assessment.assess(CATALOGUE, chosen, **{**given, "seen": {}, "owners": {"aml": EVIL}, **change})


def test_what_comes_from_outside_is_escaped() -> None:
    html = compliance.page(assessed(), "run-1")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "src=" not in html.replace("img-src", "")


def test_a_page_bears_very_many_gaps() -> None:
    many = assessed()
    many["gaps"] = [{**many["gaps"][0], "id": str(number)} for number in range(1000)]
    html = compliance.page(many, "run-1")
    assert "And 700 more in compliance.json." in html
    assert len(html) < 1_000_000


class Listening(http.server.BaseHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: Any) -> None:
        """Silent."""


def test_a_pdf_is_made_and_nothing_is_fetched_for_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret.css"
    secret.write_text("body { color: red }")
    with http.server.HTTPServer(("127.0.0.1", 0), Listening) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_address[1]}"
        page = (
            f'<link rel="stylesheet" href="{at}/a.css"><img src="{at}/b.png"><img src="{secret.as_uri()}"><p>Gaps</p>'
        )
        try:
            made = pdf.pdf(page)
        except pdf.NoPdf as error:
            left_out(str(error))
        finally:
            server.shutdown()
    assert made.startswith(b"%PDF-")
    assert Listening.asked == []


def test_without_pango_the_report_says_so_and_has_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    written, problem = compliance_checks.write(tmp_path, assessed(), "run-1")
    assert [each["name"] for each in written] == ["compliance.html", "compliance.json", "compliance.oscal.json"]
    assert "Pango" in problem
    found = compliance_checks._report_check(written, problem)
    assert (found.status, found.message) == ("warning", problem)


def document(run_id: str, **change: Any) -> dict[str, Any]:
    made: dict[str, Any] = oscal.document(json.loads(json.dumps(assessed(**change))), run_id, "0.1.0")
    return made


def test_oscal_is_of_its_form() -> None:
    assert problems(document("run-1")) == []
    # Nothing bad, nothing known: no list may be empty.
    assert problems(document("run-1", records=None)) == []


@pytest.mark.parametrize("damage", ["", "extra", "state", "time"])
def test_oscal_is_of_the_form_of_its_official_models(damage: str) -> None:
    made = copy.deepcopy(document("run-1"))
    result = made["assessment-results"]["results"][0]
    if damage == "extra":
        result["more"] = 1
    elif damage == "state":
        result["findings"][0]["target"]["status"]["state"] = "perhaps"
    elif damage == "time":
        result["start"] = "yesterday"
    assert bool(trestle.problems(made)) == bool(damage)


def test_findings_stay_and_runs_are_their_own() -> None:
    one, other = (document(name)["assessment-results"] for name in ("run-1", "run-2"))
    first, second = one["results"][0], other["results"][0]
    for name in ("findings", "risks"):
        assert {each["uuid"] for each in first[name]} == {each["uuid"] for each in second[name]}
    assert one["uuid"] != other["uuid"]
    assert first["uuid"] != second["uuid"]
    assert not {each["uuid"] for each in first["observations"]} & {each["uuid"] for each in second["observations"]}
    assert document("run-1")["assessment-results"] == one
    elsewhere = document("run-1", environment="other")["assessment-results"]["results"][0]
    assert not {each["uuid"] for each in first["findings"]} & {each["uuid"] for each in elsewhere["findings"]}


def test_what_is_unknown_is_not_satisfied() -> None:
    (result,) = document("run-1")["assessment-results"]["results"]
    states = {each["target"]["target-id"]: each["target"]["status"] for each in result["findings"]}
    assert states["eu-rts25-2025-1155"] == {"state": "not-satisfied", "reason": "other"}
    assert states["eu-aml-customer-due-diligence"] == {"state": "not-satisfied", "reason": "fail"}


@pytest.mark.parametrize("damage", ["empty", "extra", "twice", "loose"])
def test_a_document_of_another_form_would_be_seen(damage: str) -> None:
    made = copy.deepcopy(document("run-1"))
    result = made["assessment-results"]["results"][0]
    if damage == "empty":
        result["risks"] = []
    elif damage == "extra":
        result["more"] = 1
    elif damage == "twice":
        result["risks"].append(result["risks"][0])
    else:
        del result["risks"]
    assert problems(made)
