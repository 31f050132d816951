"""The playbook that scans dependencies and compares images: its report, its proposals and what the ledger keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage as s3_storage

from tests import osv_scanner
from tests.advisories import advisories, distributions, seed
from tests.conftest import Playbook, Sandbox
from tests.images import Image, layer
from tests.registry import Registry, image
from tests.unit.ledger_fixtures import predicate


def vulnerable() -> Image:
    """A Debian with a library that has a known vulnerability."""
    files = [("etc/os-release", "ID=debian\nVERSION_ID=12\n")]
    files.append(("var/lib/dpkg/status", "Package: bash\nStatus: install ok installed\nVersion: 5.2.15-2\n"))
    files.append(("app/requests-2.19.0.dist-info/METADATA", "Name: requests\nVersion: 2.19.0\n"))
    return Image(layer(*files))


def test_what_is_vulnerable_and_what_is_newer(platform: Sandbox, play: Callable[..., Playbook], tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("requests==2.19.0\n")
    with Registry() as registry:
        running = vulnerable().push(registry, "app")
        registry.push("app", image("base", "app 1.2.1"), "1.2")
        registry.push("python", image("base"), "3.13")
        one = {"name": "app", "reference": f"{registry.address}/app:1.2@{running}"}
        given = {
            "patching_dependencies": [{"name": "app", "path": str(lock), "format": "requirements"}],
            "patching_dependencies_program": str(osv_scanner.program()),
            "patching_dependencies_database": str(seed(tmp_path / "osv", {**advisories(), **distributions()})),
            "patching_dependencies_proposals": str(tmp_path / "proposals"),
            "patching_images": [{**one, "base": f"{registry.address}/python:3.13"}],
            "patching_images_program": str(osv_scanner.program()),
            "patching_images_proposals": str(tmp_path / "proposals"),
        }
        done = play("dependencies", "-e", json.dumps(given))
    assert done.returncode == 2, done.output
    report = done.report("dependencies")
    statuses = {check["id"]: check["status"] for check in report["checks"]}
    assert statuses["dependencies.canary:PyPI"] == "ok"
    assert statuses["dependencies.vulnerable:app"] == "critical"
    assert (statuses["images.running:app"], statuses["images.newer:app"]) == ("ok", "warning")
    assert statuses["images.canary:Debian:12"] == statuses["images.canary:PyPI"] == "ok"
    assert statuses["images.content:app"] == "critical"
    assert sorted(path.suffix for path in (tmp_path / "proposals").iterdir()) == [".json", ".patch"]
    assert lock.read_text() == "requests==2.19.0\n"
    s3 = s3_storage.client(platform.storage)
    listed = s3.list_objects_v2(Bucket=platform.storage["bucket"], Prefix="evidence/local/")["Contents"]
    bodies = [s3.get_object(Bucket=platform.storage["bucket"], Key=each["Key"])["Body"].read() for each in listed]
    mine = [record for record in map(predicate, bodies) if record["run_id"] == report["run_id"]]
    kept = [record["content"] for record in mine if record["kind"] == "patch"]
    assert [sorted(content.keys() & {"scanner", "images"}) for content in kept] == [["scanner"], ["images"]]
    assert kept[0]["databases"]["PyPI"]["records"] == 2
    assert kept[1]["images"][0]["running"] == [running]
    assert kept[1]["images"][0]["content"]["found"][0]["package"] == "requests"


def test_a_host_that_does_not_say_what_runs(play: Callable[..., Playbook], tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text("tradingflow_containers: {hosts: {localhost: }}\n")
    with Registry() as registry:
        one = {"name": "app", "reference": f"{registry.address}/app:1.2@{registry.push('app', image('base'), '1.2')}"}
        given = {
            "patching_images": [one],
            "patching_images_proposals": "",
            "patching_images_content": False,
            "patching_images_engines": ["crictl"],
            "patching_images_become": False,
        }
        # As on a host that has none: what it lacks is said, and ends nothing.
        done = play("dependencies", "-i", str(tmp_path / "more.yml"), "--tags", "images", "-e", json.dumps(given))
    statuses = {check["id"]: check["status"] for check in done.report("dependencies")["checks"]}
    assert statuses["images.source:crictl on localhost"] == "unknown", done.output
    assert statuses["images.running:app"] == statuses["images.undeclared"] == "unknown"
