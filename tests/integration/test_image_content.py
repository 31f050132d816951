"""What is in an image, from registries and layouts, by a real osv-scanner on databases made here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images.engine import examined
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images.findings import findings, summary
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests import osv_scanner
from tests.advisories import advisories, distributions, seed
from tests.images import Image, layer
from tests.registry import Registry, digest

NOW = datetime.now(UTC)
DEBIAN = layer(
    ("etc/os-release", "ID=debian\nVERSION_ID=12\n"),
    ("var/lib/dpkg/status", "Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2+b2\n"),
)
SITE = "usr/lib/python3.13/site-packages"
CLEAN = layer((f"{SITE}/requests-2.32.0.dist-info/METADATA", "Name: requests\nVersion: 2.32.0\n"))
VULNERABLE = layer((f"{SITE}/requests-2.19.0.dist-info/METADATA", "Name: requests\nVersion: 2.19.0\n"))


@pytest.fixture(scope="module")
def scanner() -> Path:
    return osv_scanner.program()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seed(tmp_path_factory.mktemp("osv"), {**advisories(), **distributions()})


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


@pytest.fixture
def options(scanner: Path, good: Path, tmp_path: Path) -> dict[str, Any]:
    given = {name: option.get("default") for name, option in SPEC.items()}
    (tmp_path / "scratch").mkdir()
    more = {"program": str(scanner), "database": str(good), "scratch_directory": str(tmp_path / "scratch")}
    return {**given, **more}


def one(reference: str, name: str = "app", **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"name": name, "reference": reference, "running": [], "follow": None, "base": None}
    return {**given, "platform": "linux/amd64", "known": [], **more}


def looked(options: dict[str, Any], *references: str, **more: Any) -> tuple[dict[str, Check], dict[str, Any]]:
    images = [one(text, f"app{number}", **more) for number, text in enumerate(references)]
    found = examined({**options, "images": images}, NOW, write=False)
    assert list(Path(options["scratch_directory"]).iterdir()) == []
    return {check.id: check for check in findings(found, "2026-01-01T00:00:00Z")[0]}, found


def pushed(registry: Registry, *layers: bytes, repository: str = "app") -> str:
    return f"{registry.address}/{repository}:1.2@{Image(*layers).push(registry, repository, '1.2')}"


def test_what_is_in_images_is_scanned_together(options: dict[str, Any], registry: Registry, tmp_path: Path) -> None:
    layout = Image(DEBIAN, VULNERABLE, layer((f"{SITE}/.wh.requests-2.19.0.dist-info", "")), CLEAN, packed=False)
    place = layout.layout(tmp_path / "layout", "1.2")
    checks, found = looked(
        options,
        pushed(registry, DEBIAN, CLEAN),
        pushed(registry, DEBIAN, VULNERABLE, repository="old"),
        f"oci:{place}:1.2@{digest(layout.manifest)}",
    )
    assert checks["images.scanner"].status == "ok"
    for name in ("Debian:12", "PyPI"):
        assert checks[f"images.canary:{name}"].status == "ok"
    assert checks["images.database:Debian"].status == checks["images.database:PyPI"].status == "ok"
    clean, old = checks["images.content:app0"], checks["images.content:app1"]
    assert (clean.status, clean.value) == ("ok", 0)
    assert "2 packages of debian 12" in clean.message
    assert (old.status, old.value) == ("critical", 1)
    assert "requests 2.19.0 (GHSA-x84v-xcm2-53pg, high)" in old.message
    # The whiteout took away what was vulnerable.
    assert checks["images.content:app2"].status == "ok"
    kept = summary(found, "critical")
    assert kept["images"][1]["content"]["found"][0]["package"] == "requests"
    assert kept["images"][0]["content"]["systems"] == [{"system": "debian 12", "packages": {"Debian:12": 1, "PyPI": 1}}]
    assert kept["scan"]["databases"]["Debian"]["records"] == 3
    assert json.dumps(kept)


def test_a_distribution_is_scanned_by_its_release(options: dict[str, Any], registry: Registry) -> None:
    status = "Package: bash\nStatus: install ok installed\nVersion: 5.1-2\n"
    old = layer(("var/lib/dpkg/status", status))
    checks, _found = looked(options, pushed(registry, DEBIAN, old))
    # 5.2.15 would be affected by the advisory of Debian 11, which is about another release.
    assert checks["images.content:app0"].status == "critical"
    assert "bash 5.1-2 (DEBIAN-CVE-2022-3715, high)" in checks["images.content:app0"].message
    accepted = {"advisory": "DEBIAN-CVE-2022-3715", "package": "bash", "reason": "no shell"}
    options["accepted"] = [{**accepted, "until": f"{NOW:%Y-%m-%d}"}]
    assert looked(options, pushed(registry, DEBIAN, old))[0]["images.content:app0"].status == "ok"
    installed = "P:libssl3\nV:3.3.1-r0\no:openssl\n"
    release = "ID=alpine\nVERSION_ID=3.20.3\n"
    alpine = layer(("etc/os-release", release), ("lib/apk/db/installed", installed))
    content = looked(options, pushed(registry, alpine))[0]["images.content:app0"]
    assert content.status == "warning"
    assert "openssl 3.3.1-r0 (ALPINE-CVE-2024-0001, medium)" in content.message


@pytest.mark.parametrize(
    ("name", "records", "word"),
    [
        ("Debian", [], "without an advisory"),
        ("Debian", None, "cannot be read"),
        ("Debian", distributions(NOW - timedelta(days=30))["Debian"], "more than 7 days ago"),
        ("Debian", distributions()["Debian"][1:], "The canary was missed"),
        ("PyPI", advisories()["PyPI"][1:], "The canary was missed"),
    ],
)
def test_a_database_that_proves_nothing(
    options: dict[str, Any], registry: Registry, tmp_path: Path, name: str, records: Any, word: str
) -> None:
    every: dict[str, Any] = {**advisories(), **distributions(), name: records}
    options["database"] = str(seed(tmp_path / "db", {key: each for key, each in every.items() if each is not None}))
    content = looked(options, pushed(registry, DEBIAN, CLEAN))[0]["images.content:app0"]
    assert content.status == "unknown"
    assert word in content.message


def test_without_a_canary_or_a_scanner_nothing_is_known(options: dict[str, Any], registry: Registry) -> None:
    reference = pushed(registry, DEBIAN)
    canaries = [each for each in options["canaries"] if each["ecosystem"] != "Debian"]
    content = looked({**options, "canaries": canaries}, reference)[0]["images.content:app0"]
    assert content.status == "unknown"
    assert "No canary is declared for Debian:12" in content.message
    for more in ({"database": None}, {"program": "/nonexistent"}):
        checks, _found = looked({**options, **more}, reference)
        assert checks["images.content:app0"].status == checks["images.scanner"].status == "unknown"
    assert not any(id.startswith("images.content") for id in looked({**options, "content": False}, reference)[0])


def test_one_image_takes_no_other_with_it(options: dict[str, Any], registry: Registry) -> None:
    broken = Image(DEBIAN)
    broken.data["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
    helm = Image(DEBIAN)
    helm.data["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
    lying = Image(DEBIAN)
    lying.data["layers"][0]["size"] += 1
    others = [f"{registry.address}/app:1.2@{each.push(registry, 'app')}" for each in (broken, helm, lying)]
    mixed = Image(DEBIAN, CLEAN)
    wrong = json.loads(mixed.config)
    wrong["rootfs"]["diff_ids"].reverse()
    mixed.config = json.dumps(wrong).encode()
    mixed.blobs[digest(mixed.config)] = mixed.config
    mixed.data["config"].update(digest=digest(mixed.config), size=len(mixed.config))
    others.append(f"{registry.address}/app:1.2@{mixed.push(registry, 'app')}")
    checks, _found = looked(options, pushed(registry, DEBIAN), *others, pushed(registry, layer(("server", b"\x7fELF"))))
    states = [checks[f"images.content:app{number}"].status for number in range(6)]
    assert states == ["ok", "unknown", "unknown", "critical", "critical", "unknown"]
    assert "/server" in checks["images.content:app5"].message
    # Two that run, of which one cannot be read: what is in the other counts all the same.
    bad = Image(DEBIAN, VULNERABLE).push(registry, "app", "1.2")
    running = [others[0].rpartition("@")[2], bad]
    both = looked(options, f"{registry.address}/app:1.2@{bad}", running=running)[0]["images.content:app0"]
    assert (both.status, both.value) == ("critical", 1)
    assert "zstd is not read" in both.message


def test_blobs_may_lie_elsewhere_and_may_be_forged(options: dict[str, Any], registry: Registry) -> None:
    reference = pushed(registry, DEBIAN)
    with Registry(("puller", "correct horse")) as store:
        # One that would ask for a login if it were not for the link alone.
        store.blobs = registry.blobs
        registry.elsewhere = f"http://{store.address}"
        assert looked(options, reference)[0]["images.content:app0"].status == "ok"
        registry.elsewhere = f"ftp://{store.address}"
        assert looked(options, reference)[0]["images.content:app0"].status == "unknown"
    registry.elsewhere = None
    name = json.loads(registry.manifests["app", "1.2"])["layers"][0]["digest"]
    registry.forged[name] = registry.blobs[name][:-1] + b"!"
    content = looked(options, reference)[0]["images.content:app0"]
    assert content.status == "critical"
    assert "hash to" in content.message
    registry.forged[name] = registry.blobs[name] + b"!"
    assert looked(options, reference)[0]["images.content:app0"].status != "ok"
    del registry.blobs[name]
    assert looked(options, reference)[0]["images.content:app0"].status == "unknown"


def test_it_costs_no_more_than_it_may(options: dict[str, Any], registry: Registry) -> None:
    reference = pushed(registry, DEBIAN)
    for more in ({"content_limit": 100}, {"content_timeout": 0}):
        assert looked({**options, **more}, reference)[0]["images.content:app0"].status == "unknown"


def test_a_real_rpm_database(options: dict[str, Any], registry: Registry, tmp_path: Path) -> None:
    """As rpm itself writes it."""
    spec = tmp_path / "tool.spec"
    spec.write_text(
        "Name: tool-libs\nVersion: 1.0\nRelease: 1\nEpoch: 2\nSummary: x\nLicense: x\nBuildArch: noarch\n"
        "%description\nx\n%install\nmkdir -p %{buildroot}/usr/bin\nprintf '\\177ELF' > %{buildroot}/usr/bin/tool\n"
        "%files\n/usr/bin/tool\n"
    )
    build = [
        "rpmbuild",
        "-bb",
        f"--define=_topdir {tmp_path / 'build'}",
        "--define=__os_install_post %{nil}",
        str(spec),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (package,) = (tmp_path / "build").rglob("*.rpm")
    root = tmp_path / "root"
    install = ["rpm", f"--root={root}", "--dbpath=/var/lib/rpm", "--define=_db_backend sqlite", "--nodeps", "-i"]
    subprocess.run([*install, str(package)], check=True, capture_output=True)
    files = [(f"var/lib/rpm/{path.name}", path.read_bytes()) for path in (root / "var/lib/rpm").glob("rpmdb.sqlite*")]
    release = ("etc/os-release", "ID=almalinux\nVERSION_ID=9.4\n")
    reference = pushed(registry, layer(release, ("usr/bin/tool", (root / "usr/bin/tool").read_bytes()), *files))
    checks, found = looked(options, reference)
    assert checks["images.content:app0"].status == "unknown"
    assert "AlmaLinux are listed, and not compared" in checks["images.content:app0"].message
    assert found["images"][0]["content"]["systems"][0]["packages"] == {"AlmaLinux:9": 1}
    assert "no package has" not in checks["images.content:app0"].message
