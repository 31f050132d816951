"""The gates' playbook: a question with --check, an answer that counts without it, and a break-glass on the record."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.conftest import Playbook, Sandbox
from tests.end_to_end.test_daily import ids, keys, statements

OVERRIDDEN = ["market", "trading_state", "backup", "findings", "error_budget"]


def test_the_window(platform: Sandbox, play: Callable[..., Playbook]) -> None:
    asked = play("window", "--check")
    # Nobody measures availability here: it is refused, and whoever asks gets the answer and the next windows.
    assert asked.returncode == 0, asked.output
    assert "Window from Sat" in asked.output or "Window from Sun" in asked.output
    answer = next(check for check in asked.report("window")["checks"] if check["id"] == "gate.answer")
    assert (answer["value"], answer["status"]) == ("refuse", "critical")

    over = json.dumps(
        {"maintenance_window_override": OVERRIDDEN, "maintenance_window_reason": "the venue moves tonight"}
    )
    before = len(list(keys(platform, "evidence/local/")))
    done = play("window", "-e", over)
    assert done.returncode == 0, done.output
    assert "BREAK-GLASS" in done.output
    report = done.report("window")
    assert next(check for check in report["checks"] if check["id"] == "gate.answer")["value"] == "allow"
    # Nobody measures availability here. Whether the newest daily is well depends on who else used this platform.
    assert "gate.overridden:error_budget" in ids(report, "warning")
    html = (done.artifacts / "window" / report["run_id"] / "report.html").read_text(encoding="utf-8")
    assert '<section class="glass">' in html
    override, run = (each["predicate"] for each in statements(platform, 2))
    assert len(list(keys(platform, "evidence/local/"))) == before + 2
    assert (override["kind"], override["run_id"], run["run_id"]) == ("override", report["run_id"], report["run_id"])
    assert override["content"]["reason"] == "the venue moves tonight"
    assert "error_budget" in override["content"]["gates"]
    assert override["actor"] == run["actor"]
    assert {each["gate"] for each in run["content"]["break_glass"]} == set(override["content"]["gates"])
