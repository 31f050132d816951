"""What compliance takes from the ledger: ends of chains that nobody can move back, and only evidence that is some."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.action.compliance_checks import ends
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance import assessment, trail
from ansible_collections.tradingflow.maintenance.plugins.module_utils._compliance.ledger_counts import (
    ACCEPTED,
    REPORT,
    Told,
    counts_as,
    told,
)

from tests.unit.ledger_fixtures import STORAGE, MemoryStore

VIEWS = ["trading_audit"]
LONG_AGO, AHEAD = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=1)
HEAD, CUT = {"entry_id": 900, "hash": "aa" * 32}, {"entry_id": 700, "hash": "bb" * 32}


def judged(known: dict[str, Any] | None, ends_unknown: list[str] | None = None, **change: Any) -> Any:
    row = {
        "entries": 700,
        "head": 700,
        "head_hash": CUT["hash"],
        "remembered": None,
        "strange": 0,
        "first_broken": None,
    }
    row |= dict.fromkeys(("broken", "unclear", "backwards", "twice"), 0)
    given = {"ends_unknown": ends_unknown or [], **({"trading_audit": known} if known else {})}
    (found,) = trail.PROBES[0].judge([row | change], {}, given)
    return found


def test_a_chain_that_was_cut_off_stays_so_in_every_later_report() -> None:
    gone = judged(HEAD)
    assert (gone.status, gone.details["head"]) == ("critical", HEAD)
    assert judged(gone.details["head"]).status == "critical"
    broken = judged(HEAD, remembered=HEAD["hash"], broken=1, first_broken=3)
    assert (broken.status, broken.details["head"]) == ("critical", HEAD)
    whole = judged(CUT, remembered=CUT["hash"])
    assert (whole.status, whole.details["head"]) == ("ok", CUT)


def test_an_end_that_an_earlier_report_should_have_told_is_unknown() -> None:
    assert judged(None).status == "ok"
    lost = judged(None, VIEWS)
    assert (lost.status, lost.details["head"]) == ("unknown", CUT)
    assert judged(CUT, VIEWS, remembered=CUT["hash"]).status == "ok"


@pytest.fixture
def write(store: MemoryStore, pair: tuple[Path, Path]) -> Any:
    def append(kind: str, **content: Any) -> None:
        options: dict[str, Any] = {"actor": "ada", "run_id": "r1", "subjects": [], "content": content}
        ledger.append(STORAGE, "production", kind, signing_key=pair[0], trusted_keys=[pair[1]], **options)

    return append


def read(pair: tuple[Path, Path], since: datetime = LONG_AGO) -> Told:
    found = told(STORAGE, {"trusted_key_files": [str(pair[1])]}, "production", since, VIEWS)
    assert found
    return found


def test_the_ledger_keeps_where_the_chain_ended(store: MemoryStore, pair: tuple[Path, Path], write: Any) -> None:
    assert read(pair) == Told()
    write("review", title=REPORT, heads={"trading_audit": HEAD})
    write("review", title=REPORT, heads={"trading_audit": {"entry_id": "9", "hash": 1}})
    # However old the report is.
    for since in (LONG_AGO, AHEAD):
        found = read(pair, since)
        assert (found.records, found.heads, found.reported, found.whole) == ({}, {"trading_audit": HEAD}, True, True)
    assert ends([], "runner", found) == {"trading_audit": HEAD}
    # Somebody put it on record that the chain ends elsewhere, for example after a restore.
    write("review", title=ACCEPTED, why="restored")
    found = read(pair)
    assert (found.heads, found.accepted is not None, found.records) == ({}, True, {})
    write("review", title=REPORT, heads={"trading_audit": CUT})
    assert read(pair).heads == {"trading_audit": CUT}


def test_a_ledger_that_does_not_verify_tells_no_ends(store: MemoryStore, pair: tuple[Path, Path], write: Any) -> None:
    write("review", title=REPORT, heads={"trading_audit": HEAD})
    write("run")
    store.objects[max(store.objects)] = b"{}"
    assert (read(pair).records, read(pair).heads, read(pair).whole) == (None, {}, False)


def report(head: Any, at: str, status: str = "ok") -> dict[str, Any]:
    check = {"host": "runner", "id": "compliance.audit_trail_chain", "status": status, "observed_at": at}
    return {"checks": [{**check, "details": {"head": head}}]}


def test_of_ends_that_are_known_the_later_counts() -> None:
    history = [report(HEAD, "2026-11-01T00:00:00Z"), report(CUT, "2026-11-02T00:00:00Z", "critical")]
    assert ends(history, "runner", None) == {"trading_audit": HEAD}
    assert ends(history[1:], "runner", Told(heads={"trading_audit": HEAD})) == {"trading_audit": HEAD}
    assert ends([report("x", "2026-11-01T00:00:00Z")], "runner", None) == {}
    accepted = Told(accepted=datetime(2026, 11, 1, 12, tzinfo=UTC))
    assert ends(history, "runner", accepted) == {"trading_audit": CUT}
    assert ends(history[:1], "runner", accepted) == {}


@pytest.mark.parametrize(
    ("kind", "content", "name"),
    [
        ("review", {"title": REPORT}, ""),
        ("review", {"title": ACCEPTED}, ""),
        ("review", {"strategies": []}, "review"),
        ("review", {"method": "strategy-review-1"}, ""),
        ("review", {"method": "backtest-refresh-1"}, ""),
        ("review", {"method": "model-validation-1"}, ""),
        ("review", {"title": "Performance report drafted"}, ""),
        ("drill", {"worst_status": "ok"}, "drill"),
        ("drill", {"worst_status": "critical"}, "drill:failed"),
        ("drill", {}, "drill:failed"),
        ("backup", {"verified": True}, "backup"),
        ("backup", {"verified": None}, "backup:failed"),
        ("patch", {"state": "begun"}, ""),
        ("patch", {"state": "ended", "well": False}, "patch:failed"),
        ("patch", {"state": "ended", "well": True}, "patch"),
        # What a scan of dependencies or images leaves patches nothing.
        ("patch", {"findings": []}, ""),
        ("incident", {"what": "x"}, "incident"),
        ("audit", {"sources": [{"outcome": "complete"}]}, "audit"),
        ("audit", {"sources": [{"outcome": "complete"}, {"outcome": "partial"}]}, "audit:failed"),
        ("audit", {"sources": [{"outcome": "failed"}]}, "audit:failed"),
        ("audit", {"sources": []}, "audit:failed"),
        ("audit", {}, "audit:failed"),
    ],
)
def test_only_what_tells_success_is_evidence(kind: str, content: dict[str, Any], name: str) -> None:
    assert counts_as(kind, content) == name


def test_failed_records_are_named(store: MemoryStore, pair: tuple[Path, Path], write: Any) -> None:
    write("drill", worst_status="critical")
    write("drill", worst_status="critical")
    (gap,) = assessment.evidence("ledger:drill", [], [], read(pair).records, 31)
    assert (gap["status"], "2 failed" in gap["message"]) == ("warning", True)
    write("drill", worst_status="ok")
    (found,) = assessment.evidence("ledger:drill", [], [], read(pair).records, 31)
    assert (found["status"], found["value"], "2 more failed" in found["message"]) == ("ok", 1, True)
    assert read(pair, AHEAD).records == {}
