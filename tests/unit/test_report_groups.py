"""A hundred hosts: what is one matter is one card, one line and one bullet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check, as_dicts, judge, unknown
from ansible_collections.tradingflow.maintenance.plugins.module_utils.run import write_spool
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import report as reports
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.groups import grouped
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.html import html
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils.report.text import markdown

from tests.unit.report_fixtures import LAST, run_of, stamp

REFUSED = "Cannot connect to database tf on db1:5432 as tf: connection refused"
HIDDEN = [f"trading.check_{number}" for number in range(25)]


def fleet(directory: Path, *, dead: bool = True) -> dict[str, Any]:
    """100 hosts: 70 with a full disk, 3 that cannot be reached; and a dead database."""
    for number in range(100):
        host = f"app{number:03}"
        if number >= 97:
            message = f"The host cannot be reached: ssh to 10.0.0.{number} timed out"
            for area in ("logs", "system"):
                gone = unknown(f"{area}.measured", f"{area} measured", message, "Check that it runs.")
                write_spool(directory, area, host, as_dicts([gone]), [])
            continue
        used = 81 + number / 10 if number < 70 else 40
        disk = judge(
            "system.disk_space:/",
            "Disk space of /",
            used,
            warning=80,
            critical=95,
            unit="%",
            message=f"/ is {used} % full.",
            remedy="Find what grew.",
            observed_at=stamp(LAST),
        )
        write_spool(directory, "system", host, as_dicts([disk]), [])
    if dead:
        answers = Check("database.answers", "Database answers", "critical", False, message=REFUSED, remedy="Start it.")
        others = [
            unknown(
                f"database.{name}", name, f"{name}: the database does not answer.", "Get the database to answer first."
            )
            for name in ("connections", "locks", "size")
        ]
        write_spool(directory, "database", "runner", as_dicts([answers, *others]), [])
        hidden = [unknown(id, id, f"{id}: not measured. {REFUSED}", "Start it.", source=f"view {id}") for id in HIDDEN]
        write_spool(directory, "trading", "runner", as_dicts(hidden), [])
    return reports.build(directory, run_of(LAST, plan=[]), finished_at=stamp(LAST), fail_on="critical", history=[])


def bad(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [check for check in report["checks"] if check["status"] != "ok"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return fleet(tmp_path_factory.mktemp("fleet"))


def test_what_is_one_matter_is_one_group(report: dict[str, Any]) -> None:
    unreachable, database, disk = grouped(bad(report))
    assert (unreachable.title, unreachable.hosts) == ("3 hosts cannot be reached", ["app097", "app098", "app099"])
    assert database.lead["id"] == "database.answers"
    assert {check["id"] for check in database.hidden} == {
        *HIDDEN,
        *(f"database.{n}" for n in ("connections", "locks", "size")),
    }
    assert database.hides() == "28 checks of database, trading unknown because of this"
    assert disk.title == "Disk space of /"
    assert disk.place == "system · 70 hosts"
    # The worst of them stands for all.
    assert disk.lead["host"] == "app069"
    assert disk.members()[:2] == ["app069: 87.9\u00a0%", "app068: 87.8\u00a0%"]


def test_nothing_is_dropped(report: dict[str, Any]) -> None:
    told = [check for group in grouped(bad(report)) for check in (*group.checks, *group.hidden)]
    assert len(told) == len(bad(report)) == 6 + 1 + 3 + 25 + 70
    assert {(check["host"], check["id"]) for check in told} == {(check["host"], check["id"]) for check in bad(report)}


def test_page_has_a_card_for_each_and_names_every_host(report: dict[str, Any]) -> None:
    page = html(report, [])
    cards = page.count("<article")
    assert cards == 3
    assert [
        page.index(text) for text in ("3 hosts cannot be reached", "Database answers", "Disk space of /")
    ] == sorted(page.index(text) for text in ("3 hosts cannot be reached", "Database answers", "Disk space of /"))
    assert all(f"app{number:03}: " in page for number in range(70))
    assert len(page) < 120_000


def test_screen_and_chat_are_short(report: dict[str, Any]) -> None:
    lines = reports.table(report)
    findings = lines[: next(place for place, line in enumerate(lines) if line.startswith("--- Areas"))]
    assert len(findings) < 30
    assert "3 hosts cannot be reached" in findings[2]
    assert any("70 hosts" in line for line in findings)
    text = markdown(report)
    assert text.count("\n- ") == 3
    assert "more in the report" not in text


def test_what_only_resembles_is_not_folded() -> None:
    def finding(host: str, status: str, message: str, id: str = "system.load", **more: Any) -> dict[str, Any]:
        return {**Check(id, "Load", status, 1, message=message, **more).as_dict(), "area": "system", "host": host}

    critical = finding("a", "critical", "no")
    groups = grouped([critical, finding("b", "warning", "no"), finding("c", "unknown", "no answer here")])
    assert [len(group.checks) for group in groups] == [1, 1, 1]
    assert not any(group.hidden for group in groups)
    # Unknown for reasons of their own.
    groups = grouped([finding("a", "unknown", "Load: no file x"), finding("b", "unknown", "Load: no file y")])
    assert len(groups) == 2
    # Another host's dead database hides nothing here.
    dead = {**finding("db1", "critical", REFUSED, "database.answers"), "area": "database"}
    here = finding("db2", "unknown", "Load: the database does not answer.")
    assert [group.hidden for group in grouped([dead, here])] == [[], []]


def test_numbers_are_never_broken(report: dict[str, Any]) -> None:
    page = html(report, [])
    style = page[page.index("<style>") : page.index("</style>")]
    assert re.search(r"\.q \{[^}]*white-space: nowrap", style)
    shown = re.findall(r'<b class="([^"]*)">([^<]*)</b>', page)
    assert shown
    assert all("q" in names.split() for names, text in shown if len(text) <= 24)
