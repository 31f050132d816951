"""Proposed changes of package-lock.json, against npm itself and a registry on loopback."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._advisories.answers import Vulnerability
from ansible_collections.tradingflow.maintenance.plugins.module_utils._dependencies import npm_registry, npm_upgrade
from ansible_collections.tradingflow.maintenance.plugins.module_utils._dependencies.ranges import satisfies
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import MaintenanceError

from tests.conftest import left_out
from tests.npm_registry import NpmRegistry

NOW = datetime.now(UTC)
OPTIONS: dict[str, Any] = {"upgrade": "security", "cooldown_days": 7}


@pytest.fixture(scope="module")
def npm() -> str:
    found = shutil.which("npm")
    if not found:
        left_out("npm is not installed")
    return found


@pytest.fixture
def registry() -> Iterator[NpmRegistry]:
    with NpmRegistry() as running:
        for version in ("1.0.0", "1.0.1", "1.2.0", "2.0.0"):
            running.publish("weak", version, license="MIT")
        running.publish("weak", "1.2.1", days=1, license="MIT", bin="./cli.js", engines={"node": ">=10"})
        running.publish("user", "1.0.0", dependencies={"weak": "~1.0.0"}, license="ISC")
        running.publish("user", "1.1.0", dependencies={"weak": "^1.0.0"}, license="ISC")
        running.publish("@scope/other", "3.0.0", dependencies={"weak": "^1.0.0"})
        yield running


class Project:
    """A folder with package.json and the lock file that npm makes of it."""

    def __init__(self, npm: str, registry: NpmRegistry, folder: Path) -> None:
        self.npm, self.registry, self.folder = npm, registry, folder

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        places = [f"--{name}={self.folder.parent / name}" for name in ("cache", "userconfig", "globalconfig")]
        command = [self.npm, *arguments, f"--registry={self.registry.address}", "--ignore-scripts", "--no-audit"]
        command += [*places, "--no-fund", "--no-update-notifier"]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False)

    def locked(self, lock_version: int = 3, **project: Any) -> str:
        """Locks what was published so far."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "package.json").write_text(json.dumps({"name": "web", "version": "1.0.0", **project}, indent=2))
        done = self.run("install", "--package-lock-only", f"--lockfile-version={lock_version}")
        assert done.returncode == 0, done.stderr
        return self.lock.read_text()

    @property
    def lock(self) -> Path:
        return self.folder / "package-lock.json"

    def proposed(self, *weak: str, fixed: str = "1.2.1", **options: Any) -> tuple[dict[str, dict[str, Any]], str]:
        """Rows by their path, and the lock file, when these versions of weak are vulnerable."""
        events = [{"introduced": "0"}, {"fixed": fixed}]
        affected = [{"ranges": [{"type": "SEMVER", "events": events}]}]
        found = [Vulnerability("GHSA-1", [], "weak", version, "high", [fixed], affected) for version in weak]

        def versions(name: str) -> dict[str, npm_registry.Version]:
            return npm_registry.versions(self.registry.address, name)

        project = (self.folder / "package.json").read_text()
        rows, text = npm_upgrade.proposed(self.lock.read_text(), project, found, {**OPTIONS, **options}, versions, NOW)
        return {row["path"]: row for row in rows}, text

    def accepts(self, text: str) -> None:
        """Whether npm takes a lock file as it is, and would write it in the same way."""
        self.lock.write_text(text)
        done = self.run("ci", "--dry-run")
        assert done.returncode == 0, done.stderr
        done = self.run("install", "--package-lock-only")
        assert done.returncode == 0, done.stderr
        assert self.lock.read_text() == text


@pytest.fixture
def project(npm: str, registry: NpmRegistry, tmp_path: Path) -> Project:
    return Project(npm, registry, tmp_path / "web")


def without(registry: NpmRegistry, name: str, version: str) -> Any:
    del registry.documents[name]["time"][version]
    return registry.documents[name]["versions"].pop(version)


def test_direct_and_transitive_where_ranges_allow_it(project: Project, registry: NpmRegistry) -> None:
    later = {version: without(registry, "weak", version) for version in ("1.2.1", "2.0.0")}
    before = project.locked(dependencies={"weak": "^1.0.0", "@scope/other": "^3.0.0"})
    registry.documents["weak"]["versions"].update(later)
    registry.documents["weak"]["time"]["1.2.1"] = NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    rows, text = project.proposed("1.2.0")
    row = rows["node_modules/weak"]
    assert (row["from"], row["to"], row["taken"]) == ("1.2.0", "1.2.1", True)
    # Out since today, and it fixes something.
    assert "not waited for" in row["why"]
    entry = json.loads(text)["packages"]["node_modules/weak"]
    assert entry["resolved"] == later["1.2.1"]["dist"]["tarball"]
    assert entry["integrity"] == later["1.2.1"]["dist"]["integrity"]
    assert entry["bin"] == {"weak": "cli.js"}
    assert text != before
    project.accepts(text)
    # And npm itself, without a network, with what it has.
    assert project.run("install", "--package-lock-only", "--offline").returncode == 0


def test_a_range_that_keeps_it(project: Project, registry: NpmRegistry) -> None:
    without(registry, "user", "1.1.0")
    before = project.locked(dependencies={"weak": "1.0.0", "user": "1.0.0", "@scope/other": "3.0.0"})
    rows, text = project.proposed("1.0.0", "1.0.1")
    assert text == before
    assert not rows["node_modules/weak"]["taken"]
    assert "the range 1.0.0 of package.json keeps it out" in rows["node_modules/weak"]["why"]
    before = project.locked(dependencies={"weak": "^1.2.0", "user": "1.0.0"})
    nested = "node_modules/user/node_modules/weak"
    assert nested in json.loads(before)["packages"]
    rows, text = project.proposed("1.0.0", "1.0.1", fixed="1.0.2")
    assert "the range ~1.0.0 of node_modules/user keeps it out" in rows[nested]["why"]
    assert text == before


def test_a_nested_entry_alone(project: Project, registry: NpmRegistry) -> None:
    later = without(registry, "weak", "1.0.1")
    project.locked(dependencies={"weak": "^1.2.0", "user": "1.0.0"})
    registry.documents["weak"]["versions"]["1.0.1"] = later
    rows, text = project.proposed("1.0.0", fixed="1.0.1")
    assert [path for path, row in rows.items() if row["taken"]] == ["node_modules/user/node_modules/weak"]
    assert json.loads(text)["packages"]["node_modules/weak"]["version"] == "1.2.1"
    project.accepts(text)


@pytest.mark.parametrize("lock_version", [2, 3])
def test_what_a_version_brings_and_leaves_behind(project: Project, registry: NpmRegistry, lock_version: int) -> None:
    registry.publish("old-help", "1.0.0")
    registry.publish("new-help", "1.0.0", dependencies={"deep": "^1.0.0"})
    registry.publish("new-help", "1.0.1", days=2)
    registry.publish("deep", "1.5.0")
    registry.publish("needy", "1.0.0", dependencies={"old-help": "^1.0.0"})
    project.locked(lock_version, dependencies={"weak": "1.0.0"}, devDependencies={"needy": "^1.0.0"})
    registry.publish("needy", "1.0.1", dependencies={"new-help": "^1.0.0"})
    affected = [{"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.0.1"}]}]}]
    found = [Vulnerability("GHSA-2", [], "needy", "1.0.0", "high", ["1.0.1"], affected)]
    texts = project.lock.read_text(), (project.folder / "package.json").read_text()
    versions = {name: npm_registry.versions(registry.address, name) for name in registry.documents}
    rows, text = npm_upgrade.proposed(*texts, found, OPTIONS, versions.__getitem__, NOW)
    assert rows[0]["brings"] == ["node_modules/new-help", "node_modules/deep"]
    packages = json.loads(text)["packages"]
    assert "node_modules/old-help" not in packages
    # What nothing forces on us waits, also where it comes along.
    assert packages["node_modules/new-help"]["version"] == "1.0.0"
    assert packages["node_modules/deep"]["dev"] is True
    project.accepts(text)


NOT_TAKEN: list[tuple[dict[str, Any], str]] = [
    ({"scripts": {"postinstall": "node x.js"}}, "run a script"),
    ({"dependencies": {"nowhere": "^1.0.0"}}, "does not say which versions"),
    ({"dependencies": {"fresh": "^1.0.0"}}, "old enough"),
    ({"peerDependencies": {"fresh": "^1.0.0"}}, "does not have"),
    ({"bundleDependencies": ["x"]}, "of its own"),
    ({"deprecated": "do not use"}, "No version in the registry"),
    ({"dependencies": {"fresh": "git+https://example.org/x"}}, "does not have"),
]


def test_a_version_that_is_not_taken(project: Project, registry: NpmRegistry) -> None:
    for version in ("1.2.1", "2.0.0"):
        without(registry, "weak", version)
    before = project.locked(dependencies={"weak": "^1.0.0"})
    registry.publish("fresh", "1.0.0", days=1)
    for more, word in NOT_TAKEN:
        registry.publish("weak", "1.2.1", **more)
        rows, text = project.proposed("1.2.0")
        assert not rows["node_modules/weak"]["taken"], word
        assert word in rows["node_modules/weak"]["why"]
        assert text == before


def test_a_fresh_release_waits_where_nothing_is_to_be_fixed(project: Project, registry: NpmRegistry) -> None:
    fresh = without(registry, "weak", "1.2.1"), without(registry, "weak", "1.2.0")
    without(registry, "weak", "2.0.0")
    project.locked(dependencies={"weak": "^1.0.0"})
    for each, day in zip(fresh, (NOW, datetime(2020, 1, 1, tzinfo=UTC)), strict=True):
        registry.documents["weak"]["versions"][each["version"]] = each
        registry.documents["weak"]["time"][each["version"]] = day.strftime("%Y-%m-%dT%H:%M:%SZ")
    rows, text = project.proposed(upgrade="all")
    assert rows["node_modules/weak"]["to"] == "1.2.0"
    project.accepts(text)
    assert project.proposed()[0] == {}


def test_overrides(project: Project, registry: NpmRegistry) -> None:
    before = project.locked(dependencies={"user": "1.0.0"}, overrides={"weak": "1.2.0"})
    rows, text = project.proposed("1.2.0")
    assert (rows["node_modules/weak"]["taken"], text) == (False, before)
    assert "the range 1.2.0 of node_modules/user keeps it out" in rows["node_modules/weak"]["why"]
    # An override lets in what the range of the dependent would not.
    later = without(registry, "weak", "1.2.1")
    project.lock.unlink()
    project.locked(dependencies={"user": "1.0.0"}, overrides={"weak": "^1.2.0"})
    registry.documents["weak"]["versions"]["1.2.1"] = later
    rows, text = project.proposed("1.2.0")
    assert rows["node_modules/weak"]["taken"]
    project.accepts(text)
    project.locked(dependencies={"user": "1.0.0"}, overrides={"user": {"weak": "^1.2.0"}})
    rows, _text = project.proposed("1.2.0", "1.2.1", fixed="1.2.2")
    assert "overrides in package.json name it" in rows["node_modules/weak"]["why"]


def test_a_lock_file_that_is_not_changed(project: Project) -> None:
    text = project.locked(dependencies={"weak": "^1.0.0"})
    manifest = (project.folder / "package.json").read_text()
    for lock, other in (
        (text, None),
        (text, "{"),
        (text, manifest.replace("^1.0.0", "^1.1.0")),
        (text.replace("  ", "   ", 1), manifest),
    ):
        with pytest.raises(MaintenanceError):
            npm_upgrade.proposed(lock, other, [], OPTIONS, lambda _name: {}, NOW)


RANGES = (
    "* | x | 1 | 1.x | 1.2 | 1.2.3 | =1.2.3 | v1.2.3 | ^1.2.3 | ^0.2.3 | ^0.0.3 | ^0 | ^0.0 | ^1.2 | ~1.2.3 | ~1 | ~0"
    " | >1.2.3 | <1.2.3 | <=1.2 | >1.2 | >1 | <1 | <=1 | >=1.2.3 <2.0.0 | 1.2.3 - 2.3.4 | 1.2 - 2.3 | 1 - 2 | a b"
    " | ^1.2.3-beta.2 | >1.2.3-a | ~1.2.3-beta.2 | 1.2.3-beta.2 | > 1.2.3 | ^ 1.2 | latest | git+https://x | <* | >=*"
    " | ^0.0.0 | 1.2.3+b | >=1<2 | ^1.x | 1.x.3"
)
VERSIONS = (
    "0.0.0 0.0.3 0.0.4 0.2.3 0.3.0 1.0.0 1.2.0 1.2.3 1.2.3-beta.1 1.2.3-beta.2 1.2.3-beta.10 1.2.4 1.2.4-beta 1.3.0"
    " 2.0.0 2.0.0-0 2.0.0-rc.1 2.3.4 2.3.5 3.0.0"
)


def test_ranges_as_npm_has_them(npm: str) -> None:
    place = Path(npm).resolve().parents[1]  # npm's own
    ranges = [*RANGES.split(" | "), "", "^1.2.3 || ^2.0.0-rc.1", " ^1.2.3 "]
    versions = VERSIONS.split()
    script = (
        "const [place, ranges, versions] = JSON.parse(process.argv[1]); "
        "const semver = require(require.resolve('semver', {paths: [place]}));"
        "console.log(JSON.stringify(ranges.map(r => semver.validRange(r) === null ? null"
        " : versions.map(v => semver.satisfies(v, r)))))"
    )
    asked = json.dumps([str(place), ranges, versions])
    done = subprocess.run(["node", "-e", script, asked], capture_output=True, text=True, check=True, timeout=60)
    for text, wanted in zip(ranges, json.loads(done.stdout), strict=True):
        mine = [satisfies(text, version) for version in versions]
        assert mine == (wanted or [None] * len(versions)), text
