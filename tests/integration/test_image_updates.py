"""Running images against a registry, and OCI layouts: what is newer, what is forged, and what cannot be known."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images.engine import examined
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images.findings import findings, summary
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils._registry.reference import Reference, parsed
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError, MaintenanceError

from tests.registry import DOCKER_IMAGE, DOCKER_LIST, INDEX, Registry, digest, error, image, index

NOW = datetime.now(UTC)
BASE = image("debian", "python")
APP = image("debian", "python", "app 1.2.0")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        running.push("python", BASE, "3.13")
        running.push("app", APP, "1.2")
        yield running


def declared(registry: Registry, content: bytes = APP, **more: Any) -> dict[str, Any]:
    reference = f"{registry.address}/app:1.2@{digest(content)}"
    base = f"{registry.address}/python:3.13"
    given: dict[str, Any] = {"name": "app", "reference": reference, "running": [], "follow": None, "base": base}
    return {**given, "platform": "linux/amd64", "known": [], **more}


def checks(found: dict[str, Any]) -> dict[str, Check]:
    return {check.id: check for check in findings(found, "2026-01-01T00:00:00Z")[0]}


def looked(*images: dict[str, Any], write: bool = False, **more: Any) -> dict[str, Any]:
    options: dict[str, Any] = {name: option.get("default") for name, option in SPEC.items()}
    return examined({**options, "images": list(images), "content": False, **more}, NOW, write=write)


def states(found: dict[str, Any]) -> list[str]:
    """Of pinned, running, newer and base of the first image."""
    return [check.status for check in checks(found).values()][:4]


def test_nothing_newer(registry: Registry, tmp_path: Path) -> None:
    found = looked(declared(registry), write=True, proposals_directory=str(tmp_path / "proposals"))
    assert states(found) == ["ok"] * 4
    assert not (tmp_path / "proposals").exists()
    # One request for each manifest, whatever is asked of it.
    assert len(registry.asked) == len(set(registry.asked)) == 3


def test_proposes_another_digest_and_a_rebuild_once(registry: Registry, tmp_path: Path) -> None:
    newer = registry.push("app", image("debian", "python", "app 1.2.1"), "1.2")
    base = registry.push("python", image("debian 2", "python"), "3.13")
    options: dict[str, Any] = {"write": True, "proposals_directory": str(tmp_path / "proposals")}
    found = looked(declared(registry), **options)
    assert states(found) == ["ok", "ok", "warning", "warning"]
    (path,) = (tmp_path / "proposals").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert str(path) in checks(found)["images.newer:app"].remedy
    proposal = json.loads(path.read_text())
    assert proposal["proposed"] == [
        {"why": "another digest", "from": [digest(APP)], "to": f"{registry.address}/app:1.2@{newer}"},
        {
            "why": "rebuild",
            "from": [digest(APP)],
            "base_was": None,
            "base": f"{registry.address}/python:3.13@{base}",
        },
    ]
    assert found["changed"]
    assert not looked(declared(registry), **options)["changed"]
    assert summary(found, "warning")["images"][0]["proposed"] == proposal["proposed"]


@pytest.mark.parametrize(
    ("name", "said"), [("app", "has no digest"), ("app:1.2", "has no digest"), ("app:latest", ":latest")]
)
def test_what_is_not_pinned_is_refused(registry: Registry, name: str, said: str) -> None:
    registry.push("app", APP, "latest")
    found = looked(declared(registry, reference=f"{registry.address}/{name}"))
    pinned = checks(found)["images.pinned:app"]
    assert pinned.status == "critical"
    assert said in pinned.message
    # And of what nobody knows the digest, nothing is ok.
    assert states(found)[1:] == ["unknown"] * 3
    latest = looked(declared(registry, reference=f"{registry.address}/app:latest@{digest(APP)}"))
    assert states(latest)[0] == "critical"
    assert states(looked(declared(registry, follow="latest", base=f"{registry.address}/python:latest")))[2:] == [
        "unknown",
        "unknown",
    ]


def test_content_that_is_not_its_digest(registry: Registry, tmp_path: Path) -> None:
    registry.push("python", image("debian 2"), "3.13")
    registry.forged[digest(APP)] = image("debian", "python", "miner")
    found = looked(declared(registry), write=True, proposals_directory=str(tmp_path / "proposals"))
    assert states(found)[1] == "critical"
    assert "hashes to" in checks(found)["images.running:app"].message
    assert not (tmp_path / "proposals").exists()
    # Also where only the registry's own header says what it should be.
    registry.forged = {"1.2": image("debian", "python", "miner")}
    found = looked(declared(registry), write=True, proposals_directory=str(tmp_path / "proposals"))
    assert states(found)[2:] == ["critical", "warning"]
    # Of a registry whose content is not what it says, nothing is handed on.
    assert not (tmp_path / "proposals").exists()


def test_what_the_registry_does_not_have(registry: Registry) -> None:
    del registry.manifests["app", digest(APP)]
    found = looked(declared(registry))
    assert states(found)[1] == "critical"
    assert "cannot be pulled again" in checks(found)["images.running:app"].message
    del registry.manifests["app", "1.2"]
    assert states(looked(declared(registry)))[2] == "unknown"


def test_something_else_runs_than_declared(registry: Registry) -> None:
    other = registry.push("app", image("debian", "python", "app 1.1.0"))
    found = looked(declared(registry, running=[digest(APP), other]))
    assert states(found)[1:3] == ["critical", "warning"]


@pytest.mark.parametrize("kind", [INDEX, DOCKER_LIST])
def test_an_index_and_the_image_of_a_platform(registry: Registry, kind: str) -> None:
    mine = registry.push("app", APP)
    many = index(("linux/arm64/v8", image("other")), ("linux/amd64", APP), kind=kind)
    registry.push("app", many, "1.2")
    for content in (many, APP):
        found = looked(declared(registry, many, running=[digest(content)]))
        assert states(found) == ["ok"] * 4, mine
    assert states(looked(declared(registry, many, platform="linux/s390x")))[3] == "unknown"
    # For another platform it was built on something else.
    registry.push("app", image("other"))
    assert states(looked(declared(registry, many, platform="linux/arm64")))[3] == "warning"


def test_the_base_by_its_annotations(registry: Registry) -> None:
    name = f"{registry.address}/python:3.13"
    built = image("debian", "python", "app", name=name, digest=digest(BASE))
    registry.push("app", built, "1.2")
    assert states(looked(declared(registry, built, base=None))) == ["ok"] * 4
    base = registry.push("python", image("debian 2", "python"), "3.13")
    found = looked(declared(registry, built, base=None))
    assert found["images"][0]["rows"][0]["base_was"] == digest(BASE)
    # An annotation alone is a claim.
    claims = image("debian", "python", "app", name=name, digest=base)
    registry.push("app", claims, "1.2")
    assert states(looked(declared(registry, claims, base=None)))[3] == "unknown"
    bare = image("debian", "python", "app", kind=DOCKER_IMAGE)
    registry.push("app", bare, "1.2")
    assert states(looked(declared(registry, bare, base=None))) == ["ok", "ok", "ok", "unknown"]


@pytest.mark.parametrize(
    "answer",
    [
        (500, "text/html", b"<html>"),
        (404, "text/html", b"not here"),
        (403, "application/json", error("DENIED")),
        (429, "application/json", error("TOOMANYREQUESTS")),
        (301, "text/plain", b""),
        (200, "text/html", b"<html>"),
        (200, "application/vnd.docker.distribution.manifest.v1+json", b'{"schemaVersion": 1}'),
        (200, INDEX, APP),
        (200, DOCKER_IMAGE, APP),
        (200, INDEX, b"[]"),
    ],
)
def test_what_a_registry_says_else_is_unknown(registry: Registry, answer: tuple[int, str, bytes]) -> None:
    registry.answers["1.2"] = answer
    assert states(looked(declared(registry))) == ["ok", "ok", "unknown", "ok"]
    # Not found, and not in the API's own words, is not the word that it is gone.
    registry.answers = {digest(APP): answer}
    wanted = "critical" if answer[0] == 200 and answer[2] != APP else "unknown"
    assert states(looked(declared(registry)))[1] == wanted


def test_one_that_does_not_answer(registry: Registry) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # and does not listen
        base = f"127.0.0.1:{deaf.getsockname()[1]}/python:3.13"
        assert states(looked(declared(registry, base=base))) == ["ok", "ok", "ok", "unknown"]


def test_a_registry_that_wants_a_login(tmp_path: Path) -> None:
    with Registry(("puller", "correct horse")) as registry:
        registry.push("python", BASE, "3.13")
        registry.push("app", APP, "1.2")
        found = looked(declared(registry))
        assert states(found) == ["ok", "unknown", "unknown", "unknown"]
        assert "refuses app" in checks(found)["images.running:app"].message
        file = tmp_path / "auth.json"
        for password, wanted in (("wrong", "unknown"), ("correct horse", "ok")):
            secret = base64.b64encode(f"puller:{password}".encode()).decode()
            file.write_text(json.dumps({"auths": {registry.address: {"auth": secret}}}))
            found = looked(declared(registry), auth_file=str(file))
            assert states(found)[1:] == [wanted] * 3
            assert password not in json.dumps(found)
            assert secret not in json.dumps(found)
        file.write_text("{}")
        with pytest.raises(ConfigurationError):
            looked(declared(registry), auth_file=str(file))


def layout(folder: Path, **tags: bytes) -> Path:
    (folder / "blobs/sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entries = []
    for tag, content in tags.items():
        name = digest(content)
        (folder / "blobs/sha256" / name.partition(":")[2]).write_bytes(content)
        entry = {"mediaType": json.loads(content)["mediaType"], "digest": name, "size": len(content)}
        entries.append({**entry, "annotations": {"org.opencontainers.image.ref.name": tag.replace("_", ".")}})
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    return folder


def test_an_oci_layout_on_disk(tmp_path: Path) -> None:
    place = layout(tmp_path / "store", v1_2=APP, py=BASE)
    one: dict[str, Any] = {"name": "app", "reference": f"oci:{place}:v1.2@{digest(APP)}", "running": [], "follow": None}
    one.update(base=f"oci:{place}:py", platform="linux/amd64", known=[])
    assert states(looked(one)) == ["ok"] * 4
    blob = place / "blobs/sha256" / digest(APP).partition(":")[2]
    blob.write_bytes(APP.replace(b"layers", b"layerS"))
    assert states(looked(one))[1] == "critical"
    blob.unlink()
    assert states(looked(one))[1] == "critical"
    (place / "index.json").write_text("{}")
    assert states(looked(one))[1:] == ["unknown"] * 3


def test_nothing_declared_is_not_ok(registry: Registry) -> None:
    assert [check.status for check in checks(looked()).values()] == ["unknown"]
    assert states(looked(declared(registry, reference="App:1"))) == ["unknown"] * 4
    assert states(looked(declared(registry, running=["sha256:12"]))) == ["unknown"] * 4


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("python", Reference("registry-1.docker.io", "library/python", None, None)),
        ("docker.io/tradingflow/app:v1", Reference("registry-1.docker.io", "tradingflow/app", "v1", None)),
        ("localhost/app", Reference("localhost", "app", None, None)),
        ("r.example:5000/a/b__c:1.2", Reference("r.example:5000", "a/b__c", "1.2", None)),
        ("[::1]:5000/a", Reference("[::1]:5000", "a", None, None)),
        ("oci:/x/y:z", Reference("", "", "z", None, "/x/y")),
        ("oci:/x/y", Reference("", "", None, None, "/x/y")),
    ],
)
def test_references(text: str, wanted: Reference) -> None:
    assert parsed(text) == wanted
    assert parsed(f"{text}@{digest(b'')}").digest == digest(b"")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "App",
        "a:b:c",
        "r.example/",
        "r.example/a@sha256:12",
        "r.example/a@md5:12",
        "r.example/a:-x",
        "u@r.example/a",
        "oci:",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(MaintenanceError):
        parsed(text)
