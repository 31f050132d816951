"""A real osv-scanner on databases made here: what it finds, what it must not be believed, and what is proposed."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._dependencies.engine import examined
from ansible_collections.tradingflow.maintenance.plugins.module_utils._dependencies.findings import findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils._dependencies.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests import osv_scanner
from tests.advisories import advisories, seed
from tests.npm_registry import NpmRegistry

NOW = datetime.now(UTC)
LOCK = """# as pip-compile writes it
requests==2.19.0
    # via app
six==1.16.0 ; python_version >= "3.8"
Typing_Extensions==4.0.0
"""


@pytest.fixture(scope="module")
def scanner() -> Path:
    return osv_scanner.program()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seed(tmp_path_factory.mktemp("osv"), advisories())


@pytest.fixture
def options(tmp_path: Path, scanner: Path, good: Path) -> dict[str, Any]:
    (tmp_path / "requirements.lock").write_text(LOCK)
    sources = [{"name": "application", "path": str(tmp_path / "requirements.lock"), "format": "requirements"}]
    given: dict[str, Any] = {name: option.get("default") for name, option in SPEC.items()}
    proposals = str(tmp_path / "proposals")
    return {
        **given,
        "program": str(scanner),
        "sources": sources,
        "database": str(good),
        "proposals_directory": proposals,
    }


def checks(options: dict[str, Any]) -> dict[str, Check]:
    found = examined(options, NOW, write=True)
    return {check.id: check for check in findings(found, "2026-01-01T00:00:00Z")[0]}


def test_finds_and_proposes_what_fixes_it(options: dict[str, Any], tmp_path: Path) -> None:
    before = (tmp_path / "requirements.lock").read_bytes()
    found = examined(options, NOW, write=True)
    made = {check.id: check for check in findings(found, "2026-01-01T00:00:00Z")[0]}
    assert made["dependencies.scanner"].status == "ok"
    assert "2.5" in made["dependencies.scanner"].value
    assert found["scanner"]["sha256"] == hashlib.sha256(Path(options["program"]).read_bytes()).hexdigest()
    assert made["dependencies.database:PyPI"].status == made["dependencies.canary:PyPI"].status == "ok"
    vulnerable = made["dependencies.vulnerable:application"]
    assert (vulnerable.status, vulnerable.value) == ("critical", 1)
    assert "requests 2.19.0 (GHSA-x84v-xcm2-53pg, high)" in vulnerable.message
    (path,) = (tmp_path / "proposals").iterdir()
    assert str(path) in vulnerable.remedy
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "requirements.lock").read_bytes() == before
    subprocess.run(["git", "apply", str(path)], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "requirements.lock").read_text() == LOCK.replace("2.19.0", "2.20.0")
    # What was proposed was scanned, and is clean; so is the file once it is applied.
    assert made["dependencies.proposal:application"].status == "ok"
    again = checks(options)
    assert (again["dependencies.vulnerable:application"].status, again["dependencies.canary:PyPI"].status) == (
        "ok",
        "ok",
    )


def test_writes_a_proposal_once_and_none_in_check_mode(options: dict[str, Any], tmp_path: Path) -> None:
    assert not examined(options, NOW, write=False)["changed"]
    assert not (tmp_path / "proposals").exists()
    assert examined(options, NOW, write=True)["changed"]
    assert not examined(options, NOW, write=True)["changed"]
    assert len(list((tmp_path / "proposals").iterdir())) == 1


@pytest.mark.parametrize(
    ("records", "word"),
    [
        ({"PyPI": []}, "without an advisory"),
        ({}, "cannot be read"),
        ({"PyPI": advisories(NOW - timedelta(days=30))["PyPI"]}, "more than 7 days ago"),
        ({"PyPI": advisories(NOW + timedelta(days=30))["PyPI"]}, "cannot be"),
        ({"PyPI": advisories()["PyPI"][1:]}, ""),
    ],
    ids=["empty", "missing", "old", "of-tomorrow", "without-the-canary"],
)
def test_a_database_that_proves_nothing(
    options: dict[str, Any], tmp_path: Path, records: dict[str, Any], word: str
) -> None:
    options["database"] = str(seed(tmp_path / "db", records))
    # Nothing in it is vulnerable by what these databases say, so that only the doubt keeps it from being ok.
    (tmp_path / "requirements.lock").write_text("six==1.16.0\n")
    made = checks(options)
    assert made["dependencies.vulnerable:application"].status == "unknown"
    database = made["dependencies.database:PyPI"]
    assert (database.status == "unknown" and word in database.message) if word else database.status == "ok"


def test_a_database_that_changes_meanwhile(options: dict[str, Any], tmp_path: Path, scanner: Path) -> None:
    options["database"] = str(seed(tmp_path / "db", advisories()))
    (tmp_path / "requirements.lock").write_text("six==1.16.0\n")
    swap = tmp_path / "osv-scanner"
    archive = tmp_path / "db/PyPI/all.zip"
    swap.write_text(f'#!/bin/sh\n"{scanner}" "$@"; code=$?\n[ "$1" = --version ] || touch "{archive}"\nexit $code\n')
    swap.chmod(0o755)
    options["program"] = str(swap)
    made = checks(options)
    assert "changed during the scan" in made["dependencies.database:PyPI"].message
    assert made["dependencies.vulnerable:application"].status == "unknown"


def test_both_ecosystems_each_with_a_canary(options: dict[str, Any], tmp_path: Path) -> None:
    packages = {"": {"name": "web"}, "node_modules/minimist": {"version": "0.0.8"}}
    lock = {"name": "web", "lockfileVersion": 3, "packages": packages}
    (tmp_path / "package-lock.json").write_text(json.dumps(lock))
    source = {"name": "web", "path": str(tmp_path / "package-lock.json"), "format": "package-lock"}
    options["sources"].append(source)
    made = checks(options)
    assert made["dependencies.canary:npm"].status == made["dependencies.canary:PyPI"].status == "ok"
    web = made["dependencies.vulnerable:web"]
    assert web.status == "warning"
    assert "minimist 0.0.8 (GHSA-vh95-rmgr-6w4m, medium)" in web.message
    assert "minimist 0.0.8 -> 0.2.1" in made["dependencies.proposal:web"].message
    # One ecosystem's doubt is not the other's.
    options["canaries"] = [each for each in options["canaries"] if each["ecosystem"] == "PyPI"]
    made = checks(options)
    assert made["dependencies.vulnerable:web"].status == "unknown"
    assert made["dependencies.vulnerable:application"].status == "critical"


def test_a_patch_of_npms_lock_file(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "package-lock.json"
    with NpmRegistry() as registry:
        for version in ("0.0.8", "0.2.1"):
            registry.publish("minimist", version)
        old = registry.documents["minimist"]["versions"]["0.0.8"]["dist"]
        entry = {"version": "0.0.8", "resolved": old["tarball"], "integrity": old["integrity"]}
        root = {"name": "web", "dependencies": {"minimist": ">=0.0.8"}}
        lock = {"name": "web", "lockfileVersion": 3, "packages": {"": root, "node_modules/minimist": entry}}
        path.write_text(json.dumps(lock, indent=2) + "\n")
        options["sources"] = [{"name": "web", "path": str(path), "format": "package-lock"}]
        assert "without patching_dependencies_npm_registry" in checks(options)["dependencies.proposal:web"].message
        options["npm_registry"] = registry.address
        # Without the project's file nobody knows what it overrides.
        assert checks(options)["dependencies.proposal:web"].status == "unknown"
        (tmp_path / "package.json").write_text(json.dumps(root))
        made = checks(options)
        assert made["dependencies.proposal:web"].status == "ok"
        (proposal,) = (tmp_path / "proposals").iterdir()
        assert str(proposal) in made["dependencies.vulnerable:web"].remedy
        subprocess.run(["git", "apply", str(proposal)], cwd=tmp_path, check=True, capture_output=True)
    new = registry.documents["minimist"]["versions"]["0.2.1"]["dist"]
    wanted = {"version": "0.2.1", "resolved": new["tarball"], "integrity": new["integrity"]}
    assert json.loads(path.read_text())["packages"]["node_modules/minimist"] == wanted
    assert checks(options)["dependencies.vulnerable:web"].status == "ok"
    versions: tuple[Any, ...] = (1, 4, "3")
    for version in versions:
        path.write_text(json.dumps({**lock, "lockfileVersion": version}))
        assert checks(options)["dependencies.vulnerable:web"].status == "unknown"


def test_an_accepted_finding_counts_again_after_its_day(options: dict[str, Any]) -> None:
    one = {"advisory": "CVE-2018-18074", "package": "requests", "reason": "not reachable"}
    options["accepted"] = [{**one, "until": f"{NOW:%Y-%m-%d}"}]
    made = checks(options)["dependencies.vulnerable:application"]
    assert made.status == "ok"
    assert "1 finding is accepted" in made.message
    options["accepted"] = [{**one, "until": f"{NOW - timedelta(days=1):%Y-%m-%d}"}]
    assert checks(options)["dependencies.vulnerable:application"].status == "critical"


class Index(BaseHTTPRequestHandler):
    """A package index, PEP 691 with PEP 700."""

    def do_GET(self) -> None:
        name = self.path.strip("/").rpartition("/")[2]
        days = {"requests": {"2.20.0": 1, "2.31.0": 400}, "six": {"1.17.0": 3, "1.16.1": 90}}.get(name)
        files = [
            {
                "filename": f"{name}-{version}.tar.gz",
                "hashes": {"sha256": hashlib.sha256(f"{name}{version}".encode()).hexdigest()},
                "upload-time": (NOW - timedelta(days=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            }
            for version, age in (days or {}).items()
        ]
        right = self.headers["Accept"] == "application/vnd.pypi.simple.v1+json"
        body = json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode()
        self.send_response(200 if days is not None and right else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


def test_a_fresh_release_waits_unless_it_fixes_something(options: dict[str, Any], tmp_path: Path, index: str) -> None:
    old = "a" * 64
    hashed = "".join(f"{name}=={version} \\\n    --hash=sha256:{old}\n" for name, version in (("requests", "2.19.0"),))
    (tmp_path / "requirements.lock").write_text(hashed + f"six==1.16.0 \\\n    --hash=sha256:{old}\n")
    options.update(index=index, upgrade="all")
    found = examined(options, NOW, write=True)
    rows = {row["package"]: row for row in found["sources"][0]["rows"]}
    # Uploaded yesterday, and it fixes something.
    assert rows["requests"]["to"] == "2.20.0"
    assert "not waited for" in rows["requests"]["why"]
    # 1.17.0 is three days old.
    assert rows["six"]["to"] == "1.16.1"
    assert "1.17.0" in rows["six"]["why"]
    text = Path(found["sources"][0]["proposal"]["path"]).read_text()
    assert f"+    --hash=sha256:{hashlib.sha256(b'requests2.20.0').hexdigest()}\n" in text
    assert f"+    --hash=sha256:{hashlib.sha256(b'six1.16.1').hexdigest()}\n" in text
    # Without the index their digests are not known: nothing is proposed that could not be installed.
    options["index"] = None
    assert examined(options, NOW, write=True)["sources"][0]["proposal"] is None


def test_an_index_that_does_not_answer_holds_no_fix_back(options: dict[str, Any]) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        options.update(index=f"http://127.0.0.1:{deaf.getsockname()[1]}/simple", upgrade="all")
        rows = {row["package"]: row for row in examined(options, NOW, write=False)["sources"][0]["rows"]}
    assert rows["requests"]["taken"]
    assert "does not say which releases" in rows["requests"]["why"]
    assert not rows["six"]["taken"]
    assert rows["six"]["why"]
