"""Plans by a real dnf, in an installroot with a repository of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching.rpm_findings import planned

from tests.conftest import ROOT, left_out

HEAD = """Name: tf
Version: {version}
Release: 1
Summary: packages of the tests
License: MIT
BuildArch: noarch
%description
Packages of the tests.
"""
PART = """%package -n {name}
Summary: a package of the tests
{more}
%description -n {name}
A package of the tests.
%files -n {name}
"""
#: Runs the plan with the system's Python, for which dnf is built.
PROGRAM = """
import json, sys
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import rpm
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.job import outcome
print(json.dumps(outcome(lambda: rpm.plan(json.loads(sys.argv[1])))))
"""
Plan = Callable[..., dict[str, Any]]


def build(folder: Path, version: str, *names: str, **more: str) -> None:
    """Packages of one version, by one run of rpmbuild.

    :param more: name without its beginning -> further lines of its head
    """
    spec = folder.parent / f"{version}.spec"
    parts = [PART.format(name=f"tf-{name}", more=more.get(name, "")) for name in names]
    spec.write_text(HEAD.format(version=version) + "".join(parts))
    defined = [f"_topdir {folder.parent}/build", f"_rpmdir {folder}"]
    run("rpmbuild", "-bb", "--quiet", *[part for each in defined for part in ("--define", each)], str(spec))


def advisory(id: str, kind: str, severity: str, name: str, version: str) -> str:
    package = f'<package name="{name}" version="{version}" release="1" epoch="0" arch="noarch"/>'
    return (
        f'<update from="nobody" status="stable" type="{kind}" version="1"><id>{id}</id><title>{id}</title>'
        f'<severity>{severity}</severity><issued date="2026-01-01 00:00:00"/><references><reference href="x" '
        f'id="CVE-2026-0001" type="cve" title="x"/></references><pkglist><collection short="x"><name>x</name>'
        f"{package}</collection></pkglist></update>"
    )


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with older packages: one held by excludepkgs and one by versionlock."""
    for program, package in (("dnf", "dnf"), ("rpmbuild", "rpm"), ("createrepo_c", "createrepo-c")):
        if not shutil.which(program):
            left_out(f"dnf's plan needs {program}: apt-get install {package}")
    if not Path("/usr/lib/python3/dist-packages/dnf-plugins/versionlock.py").is_file():
        left_out("dnf's plan needs versionlock: apt-get install dnf-plugins-core")
    if os.geteuid() != 0:
        left_out("an installroot needs root")
    folder = tmp_path_factory.mktemp("rpm")
    names = ("agent", "held", "tool", "locked")
    build(folder / "old", "1.0", *names)
    build(folder / "repository", "1.1", *names, "data", agent="Requires: tf-data")
    run("createrepo_c", "-q", str(folder / "repository"))
    told = [
        advisory("TF-1", "security", "Important", "tf-agent", "1.1"),
        advisory("TF-2", "security", "Critical", "tf-held", "1.1"),
        advisory("TF-3", "bugfix", "None", "tf-tool", "1.1"),
        advisory("TF-4", "security", "Odd", "tf-locked", "1.1"),
    ]
    (folder / "updateinfo.xml").write_text(f'<?xml version="1.0"?><updates>{"".join(told)}</updates>')
    run("modifyrepo_c", str(folder / "updateinfo.xml"), str(folder / "repository/repodata"))
    root = folder / "host"
    for path, text in {
        "etc/yum.repos.d/tf.repo": f"[tf]\nname=tf\nbaseurl=file://{folder}/repository\nenabled=1\ngpgcheck=0\n",
        "etc/dnf/dnf.conf": "[main]\nexcludepkgs=tf-held\nskip_if_unavailable=True\n",
        "etc/dnf/plugins/versionlock.conf": f"[main]\nenabled=1\nlocklist={root}/etc/dnf/plugins/versionlock.list\n",
        "etc/dnf/plugins/versionlock.list": "tf-locked-0:1.0-1.*\n",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    run("rpm", "--root", str(root), "--nodeps", "-i", *map(str, sorted((folder / "old").rglob("*.rpm"))))
    return root


@pytest.fixture
def plan(host: Path, tmp_path: Path) -> Plan:
    def ask(**more: Any) -> dict[str, Any]:
        given = {"scope": "security", "packages": [], "approved": [], "installroot": str(host)}
        options = json.dumps({**given, "scratch_directory": str(tmp_path), **more})
        done = subprocess.run(
            ["/usr/bin/python3", "-c", PROGRAM, options],
            env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return ask


def packages(found: dict[str, Any]) -> list[tuple[str, str | None, str, str]]:
    return [(row["package"], row["from"], row["to"], row["reason"]) for row in found["packages"]]


def test_security_updates_with_what_they_depend_on(plan: Plan, host: Path) -> None:
    before = run("rpm", "--root", str(host), "-qa")
    found = plan()
    assert packages(found) == [
        ("tf-agent", "1.0-1", "1.1-1", "security"),
        ("tf-data", None, "1.1-1", "dependency"),
    ]
    (told,) = found["packages"][0]["advisories"]
    assert told == {"id": "TF-1", "type": "security", "severity": "high", "references": ["CVE-2026-0001"]}
    assert {row["package"]: row["reason"] for row in found["kept"]} == {
        "tf-held": "hold",
        "tf-locked": "hold",
        "tf-tool": "not security",
    }
    assert run("rpm", "--root", str(host), "-qa") == before
    checks, (action,) = planned(found, "2026-01-01T00:00:00Z")
    states = {check.id: check.status for check in checks}
    assert states == {"patching.packages": "warning", "patching.kept": "warning"}
    assert action["status"] == "planned"
    assert "tf-held (hold, TF-2)" in checks[1].message
    # The same again, and known by its digest; another approved one refuses it.
    assert plan(approved=[found["digest"]])["refusals"] == []
    assert [each["name"] for each in plan(approved=["0" * 64])["refusals"]] == ["approved"]


def test_a_repository_without_advisories_does_not_say_what_is_about_security(
    plan: Plan, host: Path, tmp_path: Path
) -> None:
    build(tmp_path / "more", "1.2", "tool")
    run("createrepo_c", "-q", str(tmp_path / "more"))
    repository = host / "etc/yum.repos.d/more.repo"
    repository.write_text(f"[more]\nname=more\nbaseurl=file://{tmp_path}/more\nenabled=1\ngpgcheck=0\n")
    try:
        found = plan(packages=["tf-tool"])
    finally:
        repository.unlink()
    (tool,) = (row for row in found["kept"] if row["package"] == "tf-tool")
    assert (tool["version"], tool["reason"], tool["repository"]) == ("1.2-1", "no advisories", "more")
    checks, (action,) = planned(found, "2026-01-01T00:00:00Z")
    assert {check.id: check.status for check in checks} == {"patching.packages": "unknown", "patching.kept": "unknown"}
    assert "tf-tool (more)" in checks[1].message
    # What is held back is still said.
    assert "tf-held (hold, TF-2)" in checks[1].message
    assert all(check.remedy for check in checks)
    assert action["status"] == "ok"


def test_everything_that_is_newer(plan: Plan) -> None:
    assert ("tf-tool", "1.0-1", "1.1-1", "update") in packages(plan(scope="all"))
    assert packages(plan(scope="all", packages=["tf-tool"])) == [("tf-tool", "1.0-1", "1.1-1", "update")]


def test_what_cannot_be_known_is_no_plan(plan: Plan, host: Path) -> None:
    assert "Not installed: tf-other" in plan(packages=["tf-other"])["error"]["message"]
    repository = host / "etc/yum.repos.d/more.repo"
    try:
        # skip_if_unavailable is the host's own setting, and does not make a silent repository an empty one.
        repository.write_text(f"[more]\nname=more\nbaseurl=file://{host}/none\nenabled=1\ngpgcheck=0\n")
        assert "dnf cannot plan" in plan()["error"]["message"]
        empty = host.parent / "empty"
        empty.mkdir()
        run("createrepo_c", "-q", str(empty))
        repository.write_text(f"[tf]\nname=tf\nbaseurl=file://{empty}\nenabled=1\ngpgcheck=0\n")
        (host / "etc/yum.repos.d/tf.repo").rename(host.parent / "tf.repo")
        assert "No repository gives advisories" in plan()["error"]["message"]
    finally:
        repository.unlink()
        (host.parent / "tf.repo").rename(host / "etc/yum.repos.d/tf.repo")
