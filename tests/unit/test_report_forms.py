"""The forms of a report: files, HTML, Markdown, JUnit, OpenMetrics, the terminal's table."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import unicodedata
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils.run import write_private
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import report as reports

from tests.unit import report_fixtures as days
from tests.unit.test_report import action, build, check

HOSTILE = (
    "<script>alert(1)</script> \"><img src=x onerror='x'> {{ 7*7 }} ]]> & \\ \x00\x1b[31mred\x07 \u202eright\u202c "
    "Börse 東京 🔥 |a|`b`*c*_d_[e](http://evil.example) @channel \nsecond line\t%s %d \ufffe\u2028end"
)
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags are closed, and collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID and not (self.get_starttag_text() or "").endswith("/>"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, list[dict[str, Any]]]:
    report, directory, history = days.month(tmp_path_factory.mktemp("bad"), bad=True)
    reports.write(report, directory, history)
    return report, directory, history


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, list[dict[str, Any]]]:
    report, directory, history = days.month(tmp_path_factory.mktemp("good"), bad=False, runs=4)
    reports.write(report, directory, history)
    return report, directory, history


def spool(directory: Path, records: list[dict[str, Any]]) -> None:
    """Writes the spool as a foreign program might: escapes for what no encoder takes."""
    for number, record in enumerate(records):
        write_private(directory / "spool" / f"{number}.json", json.dumps(record))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    directory = tmp_path_factory.mktemp("hostile")
    text = HOSTILE + "\ud800"
    given = {
        **check("a.x", "critical", text, warning=text, critical=text),
        **dict.fromkeys(("title", "remedy", "source", "unit"), text),
        "id": f"a.x:{text}",
        "message": text * 3,
        "details": {text: text, "list": [text, {text: [text]}], "nan": float("nan")},
    }
    done = action("failed", message=text, details={text: text, "phases": {text: 3.5}, "size_bytes": 10**12})
    record = {
        "area": text,
        "host": text,
        "checks": [given, check("a.y")],
        "actions": [{**done, "id": text, "title": text}],
    }
    spool(directory, [record])
    report = build(
        directory, plan=[{"area": HOSTILE, "host": "other"}], actor=HOSTILE, notes=[HOSTILE], environment=HOSTILE
    )
    reports.write(report, directory, [])
    return report, directory


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """10,000 findings with long messages on 500 hosts, none like another, and 2,000 good checks."""
    directory = tmp_path_factory.mktemp("many")
    text = "Something is wrong here, and this is why: " + "reason " * 40
    for host in range(500):
        findings = [
            check(f"system.disk:{host}-{n}", "warning", n, message=text, remedy=text, unit="%") for n in range(20)
        ]
        fine = [check(f"system.fine:{n}", "ok", n) for n in range(4)]
        write_private(
            directory / "spool" / f"{host}.json",
            json.dumps({"area": "system", "host": f"web{host}", "checks": findings + fine, "actions": [action()]}),
        )
    report = build(directory)
    reports.write(report, directory, [report])
    return report, directory


class TestFiles:
    def test_five_private_files_and_nothing_else(self, bad: tuple[dict[str, Any], Path, list[Any]]) -> None:
        report, directory, _ = bad
        names = {f"report.{form}" for form in ("json", "html", "md", "xml", "prom")}
        assert {path.name for path in directory.iterdir()} == {"spool", *names}
        assert {stat.S_IMODE((directory / name).stat().st_mode) for name in names} == {0o600}
        assert json.loads((directory / "report.json").read_text(encoding="utf-8")) == report

    def test_summary(self, bad: tuple[dict[str, Any], Path, list[Any]]) -> None:
        report, directory, _ = bad
        assert reports.summary(report, directory) == {
            "run_id": report["run_id"],
            "environment": "production",
            "playbook": "daily",
            "worst_status": "critical",
            "passed": False,
            "ok": 24,
            "warning": 1,
            "unknown": 2,
            "critical": 3,
            "expected_missing": 1,
            "partial": False,
            "scope": "whole",
            "elsewhere_warning": 0,
            "elsewhere_unknown": 0,
            "elsewhere_critical": 0,
            "last_whole_run": report["run_id"],
            "report": str(directory / "report.json"),
            "sha256": hashlib.sha256((directory / "report.json").read_bytes()).hexdigest(),
        }

    def test_latest_is_replaced_in_one_step_and_relative(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("1", "2"):
            (tmp_path / name).mkdir()
        reports.point_latest(tmp_path / "1")
        assert os.readlink(tmp_path / "latest") == "1"
        seen = []
        replace = os.replace

        def watched(source: Any, target: Any) -> None:
            seen.append(os.readlink(target))
            replace(source, target)

        monkeypatch.setattr(os, "replace", watched)
        reports.point_latest(tmp_path / "2")
        assert seen == ["1"], "latest was gone before it was replaced"
        assert os.readlink(tmp_path / "latest") == "2"

    def test_latest_that_cannot_be_replaced_leaves_no_litter(self, tmp_path: Path) -> None:
        (tmp_path / "1").mkdir()
        (tmp_path / "latest" / "in the way").mkdir(parents=True)
        with pytest.raises(OSError, match="latest"):
            reports.point_latest(tmp_path / "1")
        assert {path.name for path in tmp_path.iterdir()} == {"1", "latest"}


class TestHtml:
    def page(self, directory: Path) -> tuple[str, Page]:
        text = (directory / "report.html").read_text(encoding="utf-8")
        return text, Page(text)

    @pytest.mark.parametrize("name", ["good", "bad", "hostile", "many"])
    def test_self_contained_and_accessible(self, name: str, request: pytest.FixtureRequest) -> None:
        text, page = self.page(request.getfixturevalue(name)[1])
        assert not {"script", "iframe", "object", "img", "form"} & set(page.tags)
        links = {value for _, attribute, value in page.attributes if attribute in ("href", "src", "xlink:href")}
        assert links <= {"#ok", "#warning", "#unknown", "#critical", "data:,"}
        assert not any(attribute.startswith("on") for _, attribute, _ in page.attributes)
        assert "url(" not in text
        assert "@import" not in text
        assert ("html", "lang", "en") in page.attributes
        levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))

    def test_is_it_good(self, good: tuple[Any, Path, Any], bad: tuple[Any, Path, Any]) -> None:
        assert "All good The run passed" in self.page(good[1])[1].text
        assert "Action needed: 3 critical, 2 unknown, 1 warning The run did not pass" in self.page(bad[1])[1].text

    def test_a_finding_has_all_an_operator_needs_worst_first(self, bad: tuple[dict[str, Any], Path, Any]) -> None:
        text = self.page(bad[1])[1].text
        told = text[text.index("What needs you") : text.index("Changed since")]
        places = [
            told.index(title)
            for title in (
                "critical Backup completed",
                "Longest transaction",
                "Heartbeat of carry-fx",
                "Response time of",
            )
        ]
        assert places == sorted(places)
        for part in (
            "1\u00a0h 7\u00a0min critical from 1\u00a0h, warning from 5\u00a0min",
            "idle in transaction for 1 h 7 min",
            "What to do Ask its owner",
            "pg_stat_activity · 20:40:30\u00a0UTC · database.longest_transaction",
            "risk-engine",
        ):
            assert " ".join(part.split()) in told

    def test_a_finding_names_the_first_things_it_counts(self, tmp_path: Path) -> None:
        first = [{"venue": f"V<{number}>", "our_fee": "1000.50"} for number in range(10)]
        counted = check("a.x", "critical", 10_000, critical=1, details={"count": 10_000, "first": first})
        spool(tmp_path, [{"area": "a", "host": "h", "checks": [counted], "actions": []}])
        reports.write(build(tmp_path), tmp_path, [])
        text = self.page(tmp_path)[1].text
        assert "venue V<0> · our fee 1,000.50 venue V<1> · our fee" in text
        assert "and 9,997 more" in text

    def test_missing_and_changes_and_actions(self, bad: tuple[dict[str, Any], Path, Any]) -> None:
        text = self.page(bad[1])[1].text
        assert "Expected, but missing 1" in text
        assert "system of db2" in text
        assert "new Longest transaction ok → critical, 39.6 s → 1 h 7 min" in text
        assert "503 SlowDown after 5 attempts" in text

    def test_what_was_done(self, good: tuple[dict[str, Any], Path, Any]) -> None:
        text = self.page(good[1])[1].text
        assert "ok Daily backup" in text
        for fact in ("objects 1,872", "rows 61,204,117", "schema head 0042_fees"):
            assert fact in text
        assert re.search(r"Phases prepare 1.4 s backup 1 min \d+ s seal 800 ms verify 1\d(\.\d)? s", text)

    def test_closest_to_a_threshold(self, tmp_path: Path) -> None:
        given = {
            "far": (10, 80, 95),
            "near": (60, 80, 95),
            "nearest": (78, 80, 95),
            "low": (12, 10, 5),
            "perfect": (100, 99, 50),
            "none": (5, None, None),
        }
        checks = [check(f"a.{key}", "ok", v, warning=w, critical=c, unit="%") for key, (v, w, c) in given.items()]
        spool(tmp_path, [{"area": "a", "host": "h", "checks": checks, "actions": []}])
        reports.write(build(tmp_path), tmp_path, [])
        text = self.page(tmp_path)[1].text
        text = text[text.index("Closest to a threshold") : text.index("Areas")]
        assert re.findall(r"a\.(\w+)", text) == ["nearest", "low", "near"]

    def test_hostile_text_stays_text(self, hostile: tuple[dict[str, Any], Path]) -> None:
        text, page = self.page(hostile[1])
        assert "<script>alert(1)</script>" in page.text
        assert "<img" not in text
        assert "{{ 7*7 }}" in text
        assert "\x1b" not in text
        assert "\u202e" not in text

    def test_ten_thousand_findings_are_bounded_and_counted(self, many: tuple[dict[str, Any], Path]) -> None:
        text, page = self.page(many[1])
        assert len(text.encode()) < 3_000_000
        assert "10,000 warning" in page.text
        cards, rows = page.tags.count("article") - 60, page.tags.count("tr") - len(re.findall("<thead>", text)) - 1500
        (more,) = re.findall(r"And ([\d,]+) more in report.json", page.text[: page.text.index("What was done")])
        assert cards > 100
        assert cards + rows + int(more.replace(",", "")) == 10_000

    def test_check_mode_says_so(self, tmp_path: Path) -> None:
        report = build(tmp_path, check_mode=True)
        reports.write(report, tmp_path, [])
        assert "check mode, nothing was changed" in self.page(tmp_path)[1].text


class TestMarkdown:
    def test_worst_first_with_what_to_do(self, bad: tuple[dict[str, Any], Path, Any]) -> None:
        text = (bad[1] / "report.md").read_text(encoding="utf-8")
        assert text.startswith("🔴 **Action needed: 3 critical, 2 unknown, 1 warning** · daily · production")
        order = [text.index(f"**{status}**") for status in ("critical", "unknown", "warning")]
        assert order == sorted(order)
        assert "→ Ask its owner; then" in text
        assert "failed: Daily backup" in text

    def test_fits_a_chat_message_and_says_how_many_more(self, many: tuple[dict[str, Any], Path]) -> None:
        text = (many[1] / "report.md").read_text(encoding="utf-8")
        assert len(text) <= 3500
        shown = text.count("⚠️ **warning**")
        assert shown > 3
        assert f"and {10_000 - shown:,} more in the report" in text

    def test_hostile_text_is_no_markup_and_calls_nobody(self, hostile: tuple[dict[str, Any], Path]) -> None:
        text = (hostile[1] / "report.md").read_text(encoding="utf-8")
        assert len(text) <= 3500
        assert not re.search(r"(?<!\\)<|@channel|(?<!\\)\]\(|\x1b", text)


class TestJunit:
    def test_suites_by_area(self, bad: tuple[dict[str, Any], Path, Any]) -> None:
        root = ElementTree.parse(bad[1] / "report.xml").getroot()
        assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "30", "3", "2")
        suites = {suite.get("name"): suite for suite in root}
        assert set(suites) == {"system", "application", "database", "trading", "backup", "backups"}
        for suite in suites.values():
            cases = suite.findall("testcase")
            for kind, tag in (("tests", "."), ("failures", "failure"), ("errors", "error")):
                assert int(suite.get(kind) or -1) == sum(case.find(tag) is not None for case in cases)
        failure = suites["database"].find("testcase/failure")
        assert failure is not None
        assert "critical from 1" in (failure.text or "")
        warning = next(case for case in suites["application"] if "orders" in (case.get("name") or ""))
        assert [child.tag for child in warning] == ["system-out"]

    def test_a_warning_fails_where_the_run_fails_on_warnings(self, tmp_path: Path) -> None:
        spool(tmp_path, [{"area": "a", "host": "h", "checks": [check("a.x", "warning")], "actions": []}])
        reports.write(build(tmp_path, fail_on="warning"), tmp_path, [])
        assert ElementTree.parse(tmp_path / "report.xml").getroot().get("failures") == "1"

    def test_hostile_text_parses(self, hostile: tuple[dict[str, Any], Path]) -> None:
        root = ElementTree.parse(hostile[1] / "report.xml").getroot()
        assert any("<script>" in (case.get("name") or "") for case in root.iter("testcase"))


class TestOpenMetrics:
    def samples(self, directory: Path) -> dict[str, list[tuple[dict[str, str], float]]]:
        parser = pytest.importorskip("prometheus_client.openmetrics.parser")
        text = (directory / "report.prom").read_text(encoding="utf-8")
        assert text.endswith("# EOF\n")
        result: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in parser.text_string_to_metric_families(text):
            for sample in family.samples:
                result.setdefault(sample.name, []).append((sample.labels, sample.value))
        return result

    def test_parses_and_says_what_the_report_says(self, bad: tuple[dict[str, Any], Path, Any]) -> None:
        report, directory, _ = bad
        samples = self.samples(directory)
        status = {(labels["host"], labels["check"]): value for labels, value in samples["tradingflow_check_status"]}
        names = ["ok", "warning", "unknown", "critical"]
        assert status == {(item["host"], item["id"]): names.index(item["status"]) for item in report["checks"]}
        value = {labels["check"]: number for labels, number in samples["tradingflow_check_value"]}
        assert value["database.longest_transaction"] == 4021
        assert value["trading.net_position"] == 1204417.25
        assert value["database.answers"] == 1
        assert not {"application.version", "system.missing"} & set(value)
        run = {"environment": "production", "playbook": "daily"}
        assert samples["tradingflow_run_worst_status"] == [(run, 3)]
        assert samples["tradingflow_run_expected_missing"] == [(run, 1)]
        assert samples["tradingflow_run_duration_seconds"] == [(run, 142)]
        assert samples["tradingflow_run_started_timestamp_seconds"] == [(run, days.LAST.timestamp())]

    def test_labels_survive(self, hostile: tuple[dict[str, Any], Path]) -> None:
        samples = self.samples(hostile[1])
        hosts = {labels["host"] for labels, _ in samples["tradingflow_check_status"]}
        assert hosts == {item["host"] for item in hostile[0]["checks"]}

    def test_quotes_backslashes_and_newlines_in_labels(self, tmp_path: Path) -> None:
        odd = 'a"b\\c\nd\\n'
        reports.write({**build(tmp_path), "environment": odd}, tmp_path, [])
        assert {labels["environment"] for labels, _ in self.samples(tmp_path)["tradingflow_run_passed"]} == {odd}

    def test_every_line_is_a_comment_or_a_sample(self, hostile: tuple[dict[str, Any], Path]) -> None:
        """Needs no parser: what a newline or a quote in a label would break."""
        sample = re.compile(r'tradingflow_\w+\{(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)*\} -?\d+(?:\.\d+)?(?:e[+-]?\d+)?')
        for line in (hostile[1] / "report.prom").read_text(encoding="utf-8").removesuffix("\n").split("\n"):
            assert re.match("# (TYPE|HELP|UNIT|EOF)", line) or sample.fullmatch(line), line


class TestTable:
    @pytest.mark.parametrize("width", [80, 100, 120])
    @pytest.mark.parametrize("name", ["good", "bad", "hostile", "many"])
    def test_fits_the_terminal(self, name: str, width: int, request: pytest.FixtureRequest) -> None:
        lines = reports.table(request.getfixturevalue(name)[0], width=width)
        wide = [sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line) for line in lines]
        assert max(wide) <= width
        assert not any(unicodedata.category(c) in ("Cc", "Cf") for line in lines for c in line)
        assert len(lines) < 600

    def test_says_what_is_wrong_and_what_to_do(self, bad: tuple[dict[str, Any], Path, Any]) -> None:
        lines = reports.table(bad[0])
        text = " ".join(" ".join(lines).split())
        places = [text.index(word) for word in ("CRITICAL", "UNKNOWN", "WARNING", "Changes since", "Actions", "Areas")]
        assert places == sorted(places)
        assert "1 h 7 min (critical from 1 h, warning from 5 min)" in text
        assert "-> Ask its owner" in text
        assert any(re.fullmatch(r"system +app1 +4 ok", line) for line in lines)
        assert "daily of production: CRITICAL, did not pass (fails on critical and unknown)" in text
        assert lines[-1] == "3 critical, 2 unknown, 1 warning, 24 ok, 1 area missing, took 2 min 22 s"

    def test_a_good_day_is_short(self, good: tuple[dict[str, Any], Path, Any]) -> None:
        lines = reports.table(good[0])
        assert any("size 20" in line for line in lines)
        assert len(lines) < 25
        assert not any("Findings" in line for line in lines)
