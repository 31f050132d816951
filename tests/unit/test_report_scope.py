"""Partial runs: what they say of themselves, and what they must not hide, replace or stand for."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check, as_dicts
from ansible_collections.tradingflow.maintenance.plugins.module_utils.run import write_spool
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import report as reports
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report import html as page
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.scope import overall, standing
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.text import markdown, verdict

from tests.unit.report_fixtures import LAST, run_of, stamp

PLAN = [
    {"area": "system", "hosts": ["app1", "db1"], "tags": ["health", "system"]},
    {"area": "trading", "hosts": ["runner"], "tags": ["trading"]},
]
GOOD = {("system", "app1"): "ok", ("system", "db1"): "ok", ("trading", "runner"): "ok"}


class Days:
    """Runs one after the other, an hour apart, each with its report kept as the next one's history."""

    def __init__(self, root: Path) -> None:
        self.root, self.at = root, LAST

    def __call__(
        self, found: dict[tuple[str, str], str], tags: str = "all", limit: str = "", check_mode: bool = False
    ) -> dict[str, Any]:
        """A run that finds a status in each area of a host it looks at."""
        self.at += timedelta(hours=1)
        within = limit.split(",") if limit else ["app1", "db1", "runner"]
        plan, scope = reports.scope_of(PLAN, tags=tags.split(","), skip_tags=[], limit=limit, within=within)
        infix = reports.PARTIAL if scope["partial"] else "-"
        run = run_of(self.at, plan=plan, scope=scope, check_mode=check_mode)
        run["run_id"] = f"{self.at:%Y%m%dT%H%M%SZ}-daily{infix}abc123"
        self.directory = self.root / "daily" / run["run_id"]
        for item in plan:
            status = found[item["area"], item["host"]]
            check = Check(f"{item['area']}.it", f"It of {item['area']}", status, 1, message=f"{status} it is")
            check.observed_at = stamp(self.at)
            write_spool(self.directory, item["area"], item["host"], as_dicts([check]), [])
        self.history = reports.load_history(self.root, "daily", environment="production", before=run["run_id"])
        report = reports.build(
            self.directory, run, finished_at=stamp(self.at), fail_on="critical", history=self.history
        )
        reports.write(report, self.directory, self.history)
        return report


@pytest.fixture
def day(tmp_path: Path) -> Days:
    return Days(tmp_path)


def forms(day: Days, report: dict[str, Any]) -> dict[str, str]:
    return {
        "table": "\n".join(reports.table(report)),
        "markdown": markdown(report),
        "html": page.html(report, day.history),
    }


def test_a_partial_run_after_a_critical_one_keeps_it_in_view(day: Days) -> None:
    whole = day({**GOOD, ("trading", "runner"): "critical"})
    partial = day(GOOD, tags="system")
    assert partial["worst_status"] == "ok"
    assert overall(partial) == "critical"
    assert partial["elsewhere"]["counts"] == {"warning": 0, "unknown": 0, "critical": 1}
    assert [check["id"] for check in partial["elsewhere"]["checks"]] == ["trading.it"]
    assert partial["elsewhere"]["run_id"] == whole["run_id"]
    for form, text in forms(day, partial).items():
        assert "--tags system" in text, form
        assert "It of trading" in text, form
        assert whole["run_id"] in text, form
        assert "All good" not in text, form
    assert verdict(partial) == "Partial run: nothing bad where it looked; 1 critical still open elsewhere"
    assert '<header class="critical">' in forms(day, partial)["html"]
    summary = reports.summary(partial, day.directory)
    assert summary["partial"] is True
    assert summary["scope"] == "--tags system"
    assert summary["elsewhere_critical"] == 1
    assert summary["last_whole_run"] == whole["run_id"]
    assert len(json.dumps(summary)) < 1000


def test_a_limit_is_a_scope_of_its_own(day: Days) -> None:
    day({**GOOD, ("system", "db1"): "unknown"})
    partial = day(GOOD, limit="app1")
    assert reports.narrowed(partial) == "--limit app1"
    assert reports.left_out(partial) == "system of db1, trading"
    assert [check["host"] for check in partial["elsewhere"]["checks"]] == ["db1"]


def test_what_a_later_partial_run_saw_replaces_what_the_whole_one_said(day: Days) -> None:
    day({**GOOD, ("trading", "runner"): "critical", ("system", "db1"): "critical"})
    assert day(GOOD, tags="trading")["elsewhere"]["counts"]["critical"] == 1
    last = day(GOOD, limit="app1")
    assert [check["area"] for check in last["elsewhere"]["checks"]] == ["system"]
    # A whole run says it all anew, and nothing is elsewhere.
    assert day(GOOD)["elsewhere"]["counts"] == {"warning": 0, "unknown": 0, "critical": 0}


def test_without_a_whole_run_nothing_is_known(day: Days) -> None:
    partial = day(GOOD, tags="system")
    assert overall(partial) == "unknown"
    assert all("No whole run is known" in text for text in forms(day, partial).values())


def test_a_finding_is_lost_also_behind_a_partial_run(day: Days) -> None:
    def other(report: dict[str, Any]) -> dict[str, Any]:
        return {**report, "checks": [{**check, "id": f"{check['area']}.other"} for check in report["checks"]]}

    day({**GOOD, ("trading", "runner"): "critical"})
    day(GOOD, tags="system")
    last = other(day(GOOD))
    found = reports.build.__globals__["changes"](last, day.history)
    assert {(change["area"], change["id"]) for change in found["lost"]} >= {("trading", "trading.it")}


def test_only_a_whole_run_has_series(day: Days) -> None:
    day(GOOD)
    assert (day.directory / "report.prom").exists()
    for how in ({"tags": "system"}, {"limit": "db1"}, {"check_mode": True}):
        day(GOOD, **how)
        assert (day.directory / "report.json").exists()
        assert not (day.directory / "report.prom").exists(), how


def test_junit_counts_what_was_left_out_as_skipped(day: Days) -> None:
    day(GOOD, tags="system")
    root = ElementTree.fromstring((day.directory / "report.xml").read_text(encoding="utf-8"))
    assert root.get("skipped") == "1"
    (case,) = root.findall("testsuite/testcase[skipped]")
    assert case.get("name") == "trading [runner]"
    assert "--tags system" in str(case.find("skipped").get("message"))  # type: ignore[union-attr]


def test_many_partial_runs_do_not_push_the_last_whole_one_out_of_sight(day: Days) -> None:
    whole = day({**GOOD, ("trading", "runner"): "critical"})
    for _ in range(8):
        day(GOOD, tags="system")
    few = reports.load_history(day.root, "daily", environment="production", limit=4)
    assert len(few) == 5
    assert reports.last_whole(few)["run_id"] == whole["run_id"]  # type: ignore[index]
    assert standing(few)["trading", "runner"][0]["status"] == "critical"


def test_a_scope_is_made_harmless(day: Days) -> None:
    texts = forms(day, day(GOOD, limit="db1,<i>\u202e@here`x`"))
    assert "--limit db1" in texts["html"]
    assert "<i>" not in texts["html"]
    assert "@here" not in texts["markdown"]
    assert all("\u202e" not in text for text in texts.values())


def test_what_is_open_elsewhere_is_one_matter_on_all_its_hosts(day: Days) -> None:
    day({**GOOD, ("system", "app1"): "critical", ("system", "db1"): "critical"})
    partial = day(GOOD, tags="trading")
    assert partial["elsewhere"]["counts"]["critical"] == 2
    shown = forms(day, partial)
    table = [line for line in shown["table"].splitlines() if line.startswith("open ")]
    assert table == ["open      It of system  ·  2 hosts: critical it is"]
    assert "app1: 1, db1: 1" in shown["table"]
    assert shown["markdown"].count("open: It of system (`2 hosts`) app1: 1, db1: 1") == 1
    section = shown["html"].partition('<section class="partial">')[2].partition("</section>")[0]
    assert section.count("<b>It of system</b>") == 1
    assert "<li>app1: 1</li><li>db1: 1</li>" in section
