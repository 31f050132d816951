"""Scanners' answers as they were captured, lock files by their grammar, and versions that fix something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._advisories import answers
from ansible_collections.tradingflow.maintenance.plugins.module_utils._advisories.answers import Vulnerability
from ansible_collections.tradingflow.maintenance.plugins.module_utils._advisories.database import moment, now
from ansible_collections.tradingflow.maintenance.plugins.module_utils._dependencies import engine, locks
from ansible_collections.tradingflow.maintenance.plugins.module_utils._dependencies.findings import findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils._dependencies.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils._dependencies.versions import (
    affects,
    fixed_version,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    ConfigurationError,
    DependencyError,
)

#: Of pip-audit 2.10.1, with OSV's API.
PIP_AUDIT: dict[str, Any] = {
    "dependencies": [
        {"name": "jinja2", "version": "2.10", "vulns": [
            {"id": "CVE-2019-10906", "fix_versions": ["2.10.1"], "aliases": ["GHSA-462w-v97r-4m45"], "description": "x"}
        ]},
        {"name": "requests", "version": "2.19.0", "vulns": [
            {"id": "CVE-2018-18074", "fix_versions": ["2.20.0"], "aliases": ["GHSA-x84v-xcm2-53pg"], "description": "x"}
        ]},
        {"name": "foo-bar", "version": "1.0", "vulns": []},
    ],
    "fixes": [],
}  # fmt: skip
ADVISORY = {
    "source": 1179,
    "name": "minimist",
    "dependency": "minimist",
    "title": "Prototype Pollution",
    "url": "https://github.com/advisories/GHSA-vh95-rmgr-6w4m",
    "severity": "moderate",
    "cwe": ["CWE-1321"],
    "cvss": {"score": 5.6, "vectorString": "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:L/I:L/A:L"},
    "range": "<0.2.1",
}
#: Of npm 11.19.1, with the canary in it.
NPM_AUDIT = {
    "auditReportVersion": 2,
    "vulnerabilities": {
        "minimist": {
            "name": "minimist",
            "severity": "moderate",
            "isDirect": True,
            "via": [ADVISORY],
            "effects": [],
            "range": "0.0.8",
            "nodes": ["node_modules/tradingflow-maintenance-canary-0"],
            "fixAvailable": {"name": "minimist", "version": "1.2.8", "isSemVerMajor": True},
        }
    },
    "metadata": {
        "vulnerabilities": {"info": 0, "low": 0, "moderate": 1, "high": 0, "critical": 0, "total": 1},
        "dependencies": {"prod": 3, "dev": 0, "optional": 0, "peer": 0, "peerOptional": 0, "total": 2},
    },
}


def scanned(tmp_path: Path, scanner: str, answer: Any, status: int, lock: str) -> dict[str, Check]:
    """The checks when a scanner answers so."""
    said = tmp_path / "answer"
    said.write_text(answer if isinstance(answer, str) else json.dumps(answer))
    program = tmp_path / "scanner"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo 9.9 && exit\ncat "{said}"\nexit {status}\n')
    program.chmod(0o755)
    (tmp_path / "lock").write_text(lock)
    format = "package-lock" if scanner == "npm-audit" else "requirements"
    given: dict[str, Any] = {name: option.get("default") for name, option in SPEC.items()}
    given.update(scanner=scanner, program=str(program), database=str(tmp_path))
    given["sources"] = [{"name": "lock", "path": str(tmp_path / "lock"), "format": format}]
    found = engine.examined(given, now(), write=False)
    return {check.id: check for check in findings(found, "2026-01-01T00:00:00Z")[0]}


def test_pip_audit_is_believed_with_its_canary(tmp_path: Path) -> None:
    made = scanned(tmp_path, "pip-audit", PIP_AUDIT, 1, "requests==2.19.0\nFoo.bar==1.0\n")
    assert made["dependencies.canary:PyPI"].status == "ok"
    vulnerable = made["dependencies.vulnerable:lock"]
    # It says no severity: how bad it is, is not known.
    assert (vulnerable.status, vulnerable.value) == ("unknown", 1)
    assert "CVE-2018-18074, unrated" in vulnerable.message
    assert scanned(tmp_path, "pip-audit", PIP_AUDIT, 1, "foo-bar==1.0\nrequests==2.19.0\n")


WITHOUT_CANARY = {"dependencies": [{**PIP_AUDIT["dependencies"][0], "vulns": []}, PIP_AUDIT["dependencies"][2]]}
SKIPPED = {"dependencies": [PIP_AUDIT["dependencies"][0], {"name": "foo-bar", "skip_reason": "not found"}]}


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        (WITHOUT_CANARY, 1, "The canary was missed"),
        (WITHOUT_CANARY, 0, "found nothing"),
        (SKIPPED, 1, "1 package of 1 not looked at"),
        ({"dependencies": PIP_AUDIT["dependencies"]}, 1, "which no file has"),
        ("", 1, "failed with exit status 1"),
        ("[]", 1, "no object"),
        ("{", 1, "no JSON"),
        ({"other": []}, 1, "not understood"),
        (PIP_AUDIT, 2, "exit status 2"),
    ],
)
def test_pip_audit_is_not_believed(tmp_path: Path, answer: Any, status: int, word: str) -> None:
    vulnerable = scanned(tmp_path, "pip-audit", answer, status, "foo-bar==1.0\n")["dependencies.vulnerable:lock"]
    assert vulnerable.status == "unknown"
    assert word in vulnerable.message


LOCK = {"name": "web", "lockfileVersion": 3, "packages": {"": {}, "node_modules/left-pad": {"version": "1.3.0"}}}


def test_npm_audit_is_believed_with_its_canary(tmp_path: Path) -> None:
    made = scanned(tmp_path, "npm-audit", NPM_AUDIT, 1, json.dumps(LOCK))
    assert made["dependencies.canary:npm"].status == "ok"
    assert (made["dependencies.vulnerable:lock"].status, made["dependencies.vulnerable:lock"].value) == ("ok", 0)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"vulnerabilities": {}}, "The canary was missed"),
        ({"auditReportVersion": 3}, "version 3"),
        ({"error": {"code": "ENOAUDIT"}}, "ENOAUDIT"),
        ({"metadata": {"dependencies": {"total": 1}}}, "not looked at"),
        ({"metadata": {}}, "not understood"),
    ],
)
def test_npm_audit_is_not_believed(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    made = scanned(tmp_path, "npm-audit", {**NPM_AUDIT, **change}, 1, json.dumps(LOCK))
    assert made["dependencies.vulnerable:lock"].status == "unknown"
    assert word in made["dependencies.vulnerable:lock"].message


def test_a_scanner_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("six==1.16.0\n")
    given: dict[str, Any] = {name: option.get("default") for name, option in SPEC.items()}
    given["program"] = str(tmp_path / "none")
    given["sources"] = [{"name": "lock", "path": str(tmp_path / "lock"), "format": "requirements"}]
    made = findings(engine.examined(given, now(), write=False), "2026-01-01T00:00:00Z")[0]
    assert {check.status for check in made} == {"unknown"}
    given["sources"] = []
    made = findings(engine.examined(given, now(), write=False), "2026-01-01T00:00:00Z")[0]
    assert [check.status for check in made] == ["unknown"]


@pytest.mark.parametrize(
    ("word", "score", "wanted"),
    [
        ("MODERATE", None, "medium"),
        ("info", "", "low"),
        ("LOW", "9.8", "critical"),
        (None, "7.0", "high"),
        (None, "0.0", "none"),
        ("severe", None, "unrated"),
        (None, "11", "unrated"),
        (None, None, "unrated"),
    ],
)
def test_severities_are_a_closed_vocabulary(word: Any, score: Any, wanted: str) -> None:
    assert answers.severity(word, score) == wanted


REQUIREMENTS = """\
--index-url https://index.example/simple
# one
Flask[async]==2.0.0 ; python_version >= "3.8" \\
    --hash=sha256:aa \\
    --hash=sha256:bb  # both
    # via -r x.in

zope.interface == 5.0
"""


def test_requirements_are_read_and_rewritten() -> None:
    found = locks.pins("requirements", REQUIREMENTS, "x")
    assert [(pin.name, pin.version, pin.hashes) for pin in found] == [
        ("flask", "2.0.0", True),
        ("zope-interface", "5.0", False),
    ]
    changes = {
        ("flask", "2.0.0"): {"to": "2.0.1", "hashes": ["cc"]},
        ("zope-interface", "5.0"): {"to": "5.1", "hashes": []},
    }
    text = locks.rewritten(REQUIREMENTS, "x", changes)
    assert 'Flask[async]==2.0.1 ; python_version >= "3.8" \\\n    --hash=sha256:cc  # both\n' in text
    assert "zope.interface == 5.1\n" in text
    assert text.splitlines()[:2] == REQUIREMENTS.splitlines()[:2]


@pytest.mark.parametrize(
    "line",
    [
        "six",
        "six>=1",
        "six==1.*",
        "six==1,!=2",
        "-r other.txt",
        "-e .",
        "six @ https://x/six.whl",
        "six===1.0",
        "--odd",
    ],
)
def test_what_is_not_pinned_is_refused(line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Line 2 of x"):
        locks.pins("requirements", f"a==1\n{line}\n", "x")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"lockfileVersion": 1, "packages": {}}',
        '{"lockfileVersion": 3, "packages": {"node_modules/x": {}}}',
    ],
)
def test_a_package_lock_that_is_none(text: str) -> None:
    with pytest.raises(ConfigurationError):
        locks.pins("package-lock", text, "x")


def test_links_and_workspaces_of_a_package_lock_are_no_packages() -> None:
    packages = {"": {}, "lib/a": {"version": "1.0.0"}, "node_modules/a": {"link": True, "resolved": "lib/a"}}
    packages["node_modules/@scope/b"] = {"version": "2.0.0"}
    packages["node_modules/c/node_modules/d"] = {"version": "3.0.0", "name": "real"}
    found = locks.pins("package-lock", json.dumps({"lockfileVersion": 2, "packages": packages}), "x")
    assert [(pin.name, pin.version) for pin in found] == [("@scope/b", "2.0.0"), ("real", "3.0.0")]


def branches(*events: dict[str, str], kind: str = "ECOSYSTEM") -> Vulnerability:
    fixed = [event["fixed"] for event in events if "fixed" in event]
    part = {"package": {"name": "x"}, "ranges": [{"type": kind, "events": list(events)}]}
    return Vulnerability("A", [], "x", "1.0", "high", fixed, [part])


def test_the_lowest_version_without_any_of_them() -> None:
    two = branches({"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "2.0"}, {"fixed": "2.3"})
    assert fixed_version("PyPI", "1.0", [two]) == "1.2"
    assert fixed_version("PyPI", "2.1", [two]) == "2.3"
    # 1.9 fixes the one, and has the other still.
    assert fixed_version("PyPI", "1.0", [branches({"introduced": "0"}, {"fixed": "1.9"}), two]) == "1.9"
    later = branches({"introduced": "1.5"}, {"fixed": "2.5"})
    assert fixed_version("PyPI", "1.0", [two, branches({"introduced": "0"}, {"fixed": "1.9"}), later]) == "2.5"
    assert fixed_version("PyPI", "1.0", [branches({"introduced": "0"}, {"last_affected": "9"})]) is None
    # Release candidates are for those who have one.
    assert fixed_version("PyPI", "1.0", [branches({"introduced": "0"}, {"fixed": "1.2rc1"})]) is None
    assert (
        fixed_version("npm", "1.0.0", [branches({"introduced": "0"}, {"fixed": "1.10.0"}, kind="SEMVER")]) == "1.10.0"
    )


def test_without_ranges_only_what_is_above_every_fix_counts() -> None:
    bare = Vulnerability("A", [], "x", "3.0", "high", ["2.2.27", "3.2.12", "4.0.2"])
    assert [affects("PyPI", bare, each) for each in ("2.3", "3.2.12", "3.3", "4.0.2", "5.0", "?")] == [
        True,
        False,
        True,
        False,
        False,
        True,
    ]
    assert affects("npm", branches({"introduced": "0"}, {"odd": "1"}, kind="SEMVER"), "9.0.0")
    assert not affects("npm", branches({"introduced": "0"}, {"fixed": "1.0.0"}, kind="SEMVER"), "1.0.0")
    assert affects("npm", branches({"introduced": "0"}, {"fixed": "1.0.0"}, kind="SEMVER"), "1.0.0-rc.1")


def test_a_scanner_that_speaks_of_another_file_is_not_understood() -> None:
    text = json.dumps({"results": [{"source": {"path": "/else"}, "packages": []}]})
    with pytest.raises(DependencyError, match="not given"):
        answers.osv_scanner(text, {"/here": "0"})


def test_one_vulnerability_that_two_publishers_tell_of() -> None:
    def record(id: str, aliases: list[str], fixed: str, ecosystem: str = "PyPI", **more: Any) -> dict[str, Any]:
        ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]
        package = {"ecosystem": ecosystem, "name": "Foo.Bar"}
        return {"id": id, "aliases": aliases, "affected": [{"package": package, "ranges": ranges}], **more}

    records = [
        record("GHSA-1", ["CVE-1"], "1.2", database_specific={"severity": "MODERATE"}),
        record("PYSEC-1", ["CVE-1"], "1.3"),
        record("GHSA-2", [], "9.0", "npm"),
    ]
    groups = [{"ids": ["GHSA-1", "PYSEC-1"], "max_severity": ""}, {"ids": ["GHSA-2"], "max_severity": "9.8"}]
    package = {"name": "foo-bar", "version": "1.0", "ecosystem": "PyPI"}
    packages = [{"package": package, "vulnerabilities": records, "groups": groups}]
    text = json.dumps({"results": [{"source": {"path": "/lock"}, "packages": packages}]})
    one, other = answers.osv_scanner(text, {"/lock": "0"}).found["0"]
    assert (one.id, one.aliases, one.severity, one.fixed) == ("GHSA-1", ["CVE-1", "PYSEC-1"], "medium", ["1.2", "1.3"])
    # In one publisher's words 1.2 has it still.
    assert fixed_version("PyPI", "1.0", [one]) == "1.3"
    # What fixes npm's package of the same name fixes nothing here.
    assert (other.severity, other.fixed) == ("critical", [])
    # Without groups each is one of its own, and none is lost.
    assert len(answers.osv_scanner(text.replace("groups", "more"), {"/lock": "0"}).found["0"]) == 3


@pytest.mark.parametrize(
    "text", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.1+00:00"]
)
def test_times_of_advisories(text: str) -> None:
    found = moment(text)
    assert found
    assert (found.year, found.second) == (2026, 5)


@pytest.mark.parametrize("text", [None, 5, "", "yesterday", "2026-01-02T03:04:05"])
def test_what_is_no_time(text: Any) -> None:
    assert moment(text) is None
