"""What runs of Ansible in tests keep for the next ones is what those would make, and goes by its sources."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible._internal._datatag._tags import Origin
from ansible._internal._templating import _jinja_bits as bits
from ansible.parsing.dataloader import DataLoader

from tests import ready, warm


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(warm, "CACHE", tmp_path / "cache")
    return tmp_path / "cache"


def archive(**sources: str) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as into:
        for name, source in sources.items():
            into.writestr(f"{name}.py", source)
    return output.getvalue()


def said(path: Path) -> str:
    code = "import shown; print(shown.VALUE, shown.__file__)"
    return subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(path)}, check=True, capture_output=True, text=True
    ).stdout


def test_a_compiled_archive_runs_and_other_pythons_read_its_sources(tmp_path: Path) -> None:
    path = tmp_path / "payload.zip"
    path.write_bytes(warm.compiled(archive(shown="VALUE = 'of the source'")))
    assert said(path) == f"of the source {path}/shown.pyc\n"
    with zipfile.ZipFile(path) as made:
        assert sorted(made.namelist()) == ["shown.py", "shown.pyc"]
        source, code = made.read("shown.py"), made.read("shown.pyc")
    with zipfile.ZipFile(path, "w") as other:
        other.writestr("shown.py", source)
        other.writestr("shown.pyc", b"\0\0\0\0" + code[4:])
    assert said(path) == f"of the source {path}/shown.py\n"


def test_code_is_kept_by_its_source_and_by_what_else_it_depends_on() -> None:
    made: list[str] = []

    def code(key: str, source: str) -> Any:
        def compiled() -> Any:
            made.append(source)
            return compile(source, "x", "eval")

        return eval(warm.Kept("x").code((key,), source, compiled))

    assert [code("a", "1"), code("a", "1"), code("a", "2"), code("b", "1")] == [1, 1, 2, 1]
    assert made == ["1", "2", "1"]


def test_roles_are_loaded_as_they_are_each_time_as_a_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path
) -> None:
    plain = DataLoader.load_from_file
    monkeypatch.setattr(DataLoader, "load_from_file", plain)
    monkeypatch.setattr(warm, "_ROLES", (f"{tmp_path}/roles/",))
    warm.roles()
    path, other = tmp_path / "roles/x.yml", tmp_path / "secret.yml"
    path.parent.mkdir()
    for each in (path, other):
        each.write_text("a: [1, 'two {{ x }}']\n")
    wanted = plain(DataLoader(), str(path), trusted_as_template=True)
    loader, found = DataLoader(), []
    for _time in range(2):
        found.append(loader.load_from_file(str(path), trusted_as_template=True))
    assert found == [wanted, wanted]
    assert Origin.get_tag(found[1]["a"][1]) == Origin(path=str(path), line_num=1, col_num=8)
    found[0]["a"].append("changed")
    assert [found[1], loader.load_from_file(str(path), trusted_as_template=True)] == [wanted, wanted]
    path.write_text("a: [3]\n")
    assert DataLoader().load_from_file(str(path)) == {"a": [3]}
    kept = len(list((cache / "yaml").iterdir()))
    # What is not of this checkout may hold secrets.
    assert DataLoader().load_from_file(str(other)) == plain(DataLoader(), str(other))
    assert len(list((cache / "yaml").iterdir())) == kept == 2


def test_templates_are_kept_by_how_they_are_read(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(bits.AnsibleEnvironment, "compile", bits.AnsibleEnvironment.compile)
    warm.templates()
    results = []
    for _time in range(2):
        for settings in ({}, {"variable_start_string": "<<", "variable_end_string": ">>"}):
            with bits._TemplateCompileContext(escape_backslashes=False):
                results.append(bits.AnsibleEnvironment(**settings).compile("{{ 1 }} << 1 >>").co_consts)
    assert results[:2] == results[2:]
    assert results[0] != results[1]
    assert len(list((cache / "templates").iterdir())) == 2


def test_payloads_of_another_collection_are_not_those_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    plugins = root / "collections/ansible_collections/tradingflow/maintenance/plugins"
    (plugins.parent / "meta").mkdir(parents=True)
    (plugins.parent / "meta/runtime.yml").touch()
    plugins.mkdir()
    (plugins / "one.py").write_text("1")
    monkeypatch.setattr(warm, "ROOT", root)
    before = warm._key()
    assert warm._key() == before
    (plugins / "one.py").write_text("2")
    assert warm._key() != before


def test_a_run_takes_the_payload_that_another_made(cache: Path) -> None:
    shared = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    pings = ["localhost", "-i", "localhost,", "-c", "local", "-m", "ansible.builtin.ping"]
    pings += ["-e", f"ansible_python_interpreter={sys.executable}"]
    runs = ready.Ready(shared)
    for _time in range(2):
        output = cache.with_name("output")
        output.touch()
        assert runs.run(["adhoc", *pings], shared, str(output), 300) == 0, output.read_text()
        assert '"ping": "pong"' in output.read_text()
        (payload,) = (cache / "tradingflow-maintenance/ansible").glob("payloads-*/ansible.modules.ping-*")
        if not _time:
            first = payload.stat().st_ino
    assert payload.stat().st_ino == first
    # What is there is what runs.
    payload.write_bytes(payload.read_bytes()[:-9])
    assert runs.run(["adhoc", *pings], shared, str(output), 300) != 0


def test_without_a_place_to_keep_anything_nothing_is_kept(tmp_path: Path) -> None:
    nobody = {**os.environ, "XDG_CACHE_HOME": "/proc/nowhere"}
    output = tmp_path / "output"
    output.touch()
    assert ready.Ready(nobody).run(["playbook", "--version"], nobody, str(output), 300) == 0, output.read_text()


def test_what_was_made_long_ago_is_forgotten(cache: Path) -> None:
    (cache / "yaml").mkdir(parents=True)
    old, new = cache / "yaml/old", cache / "yaml/new"
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    warm._forget()
    assert list((cache / "yaml").iterdir()) == [new]
