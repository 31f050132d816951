"""Role database_tuning: approved, gated, carried out, on the record, and undone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.tradingflow.maintenance.plugins.module_utils.run import read_spool

from tests import ready
from tests.conftest import ROOT, Sandbox

PLAY: list[dict[str, Any]] = [
    {
        "hosts": "tradingflow_runner",
        "gather_facts": False,
        "tasks": [
            {
                "import_role": {"name": "tradingflow.maintenance.database_tuning"},
                "vars": {"database_tuning_action": "{{ first | default('analyse') }}"},
            },
            {
                "include_role": {"name": "tradingflow.maintenance.database_tuning"},
                "vars": {"database_tuning_action": "undo"},
                "when": "first is defined",
            },
        ],
    }
]
HEAP = (
    "CREATE TABLE tuned (n int) WITH (autovacuum_enabled = off)",
    "CREATE INDEX tuned_one ON tuned (n)",
    "CREATE INDEX tuned_two ON tuned (n)",
    "ALTER TABLE tuned OWNER TO tradingflow",
    "INSERT INTO tuned SELECT generate_series(1, 5000)",
)


def run(platform: Sandbox, folder: Path, *more: str, **variables: Any) -> str:
    book = folder / "tune.yml"
    book.write_text(json.dumps(PLAY), encoding="utf-8")
    values = {"tradingflow_artifacts_dir": str(folder), "database_tuning_drop_indexes": ["public.tuned_two"]}
    arguments = ["-i", str(ROOT / "inventories/local"), str(book), "-e", json.dumps({**values, **variables}), *more]
    done = ready.run("playbook", arguments, platform.environment)
    assert platform.state["postgres"]["owner_password"] not in done.stdout
    return f"{done.returncode}\n{done.stdout}"


def test_approved_carried_out_and_undone(platform: Sandbox, tmp_path: Path) -> None:
    for statement in HEAP:
        platform.sql("superuser", statement)
    indexes = "SELECT relname FROM pg_class WHERE relname LIKE 'tuned_%' ORDER BY 1"
    try:
        # Only to be looked at: there is no plan that could be approved.
        said = run(platform, tmp_path, "--check")
        assert said.startswith("0\n"), said
        assert not (tmp_path / "tuning-plans-local").exists()
        # Looked at only, with a plan for whoever approves it.
        said = run(platform, tmp_path)
        assert said.startswith("0\n"), said
        assert len(list((tmp_path / "tuning-plans-local").glob("*.json"))) == 1
        assert not (tmp_path / "tuning-local.jsonl").exists()
        # Who forgets the digest is told, and nothing is done.
        (tmp_path / "run/spool").mkdir(parents=True)
        begun = {"directory": str(tmp_path / "run")}
        run(platform, tmp_path, first="apply", database_tuning_expected_digest="", maintenance_run=begun)
        told = [each for record in read_spool(tmp_path / "run") for each in record["checks"]]
        (missing,) = [each for each in told if each["id"] == "tuning.approved"]
        assert missing["status"] == "warning"
        assert not (tmp_path / "tuning-local.jsonl").exists()
        # Undo, which comes after it, finds no journal, and is on the record.
        before = len((tmp_path / "ledger-local.jsonl").read_text("utf-8").splitlines())
        # A freeze holds it.
        frozen = [{"name": "close", "from": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z", "reason": "x"}]
        said = run(platform, tmp_path, first="apply", maintenance_window_freezes=frozen)
        assert said.startswith("2\n"), said
        assert not (tmp_path / "tuning-local.jsonl").exists()
        assert len(platform.sql("superuser", indexes)) == 2
        # What nobody has read is approved on the sandbox alone.
        said = run(platform, tmp_path, first="apply", database_tuning_environment="production")
        assert said.startswith("2\n"), said
        assert "approves what nobody has read" in said
        # Outside a run nobody else would tell that nothing was done; the ledger knows how it ended.
        said = run(platform, tmp_path, first="apply", database_tuning_expected_digest="0" * 64)
        assert said.startswith("2\n"), said
        assert "There is no plan with the digest" in said
        ledger = [json.loads(line) for line in (tmp_path / "ledger-local.jsonl").read_text("utf-8").splitlines()]
        assert len(ledger) == before + 2
        # Allowed, it is carried out, and in the same run undone again.
        said = run(platform, tmp_path, first="apply")
        assert said.startswith("0\n"), said
        journal = [json.loads(line) for line in (tmp_path / "tuning-local.jsonl").read_text("utf-8").splitlines()]
        assert [line["event"] for line in journal if line["event"] != "done"] == ["drop begun", "undone"]
        assert {line["kind"] for line in journal if line["event"] == "done"} == {"analyze", "drop"}
        assert len(platform.sql("superuser", indexes)) == 2
        ledger = [json.loads(line) for line in (tmp_path / "ledger-local.jsonl").read_text("utf-8").splitlines()]
        assert len(ledger) == before + 6
    finally:
        platform.sql("superuser", "DROP TABLE tuned")
