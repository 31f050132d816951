"""Helm: what its program is told and says, its revisions, and whether a client that left one pending is gone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm import client, revisions
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm.client import HELM_SPEC, Helm
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm.revisions import LABEL, Revision
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes import client as api
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import (
    Conflict,
    Missing,
    Refused,
    Unanswered,
)
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import owner
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.chart import Chart, values
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.target import Target
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ClusterError, ConfigurationError

SECRET = "k3pt-for-nobody-else"
CONTENT = {
    "name": "tradingflow",
    "version": 3,
    "info": {"status": "deployed"},
    "chart": {"metadata": {"name": "tradingflow", "version": "1.2.0"}},
    "config": {"replicas": 3},
    "manifest": "kind: ConfigMap\nmetadata: {name: flags}\n",
}


def options(**given: Any) -> dict[str, Any]:
    found = ArgumentSpecValidator({"helm": HELM_SPEC}).validate({"helm": given})
    assert not found.error_messages
    made: dict[str, Any] = found.validated_parameters["helm"]
    return made


def helm(folder: Path, script: str, **given: Any) -> Helm:
    """One whose program is a script."""
    program = folder / "helm"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o700)
    return Helm(options(program=str(program), chart="/chart", **given), {"kubeconfig": "/k", "context": "c"}, "staging")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress", Conflict),
        ('Error: conflict occurred while applying object staging/app: conflict with "kubectl-edit"', Conflict),
        ('Error: secrets is forbidden: User "m" cannot list resource', Refused),
        ("Error: Kubernetes cluster unreachable: dial tcp 127.0.0.1:1: connect: connection refused", Unanswered),
        ("Error: query: failed to query with labels: release: not found", Missing),
        ("Error: something that nobody has seen yet", ClusterError),
    ],
)
def test_what_helm_says_has_a_meaning(tmp_path: Path, said: str, kind: type[Exception]) -> None:
    with pytest.raises(ClusterError) as failed:
        helm(tmp_path, f"echo '{said}' >&2; exit 1").roll_back(3, served=True)
    assert type(failed.value) is kind


def test_a_chart_says_its_name_and_version(tmp_path: Path) -> None:
    assert helm(tmp_path, "echo 'name: app'; echo 'version: 1.2.0'").named() == "app 1.2.0"
    for said in ("", "name: app", "a: b: c", "- app"):
        with pytest.raises(ClusterError):
            helm(tmp_path, f"echo '{said}'").named()


def test_values_are_never_on_the_command_line_nor_in_a_message(tmp_path: Path) -> None:
    script = f"""echo "$@" >{tmp_path}/arguments
while [ "$1" != --values ]; do shift; done
stat -c %a "$2" >{tmp_path}/mode; cp "$2" {tmp_path}/given
env | grep -c '^HELM_DEBUG' >{tmp_path}/debug
echo "Error: spec.x: Invalid value: \\"{SECRET}\\": too short" >&2; exit 1"""
    os.environ["HELM_DEBUG"] = "1"
    try:
        with pytest.raises(ClusterError) as failed:
            helm(tmp_path, script).upgrade({"deep": [{"anything": SECRET}]}, {LABEL: "id"}, "why", served=True)
    finally:
        del os.environ["HELM_DEBUG"]
    assert SECRET not in str(failed.value.message)
    assert "too short" in failed.value.message
    arguments = (tmp_path / "arguments").read_text()
    assert SECRET not in arguments
    # Nothing is waited for, and nothing undone, by Helm.
    assert not [
        word for word in arguments.split() if word in ("--wait", "--atomic", "--rollback-on-failure", "--force")
    ]
    assert (tmp_path / "mode").read_text() == "600\n"
    assert json.loads((tmp_path / "given").read_text()) == {"deep": [{"anything": SECRET}]}
    assert (tmp_path / "debug").read_text() == "0\n"
    named = arguments.split()[arguments.split().index("--values") + 1]
    assert not Path(named).exists()


def test_a_client_that_is_killed_or_takes_too_long_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(Unanswered, match="signal 9"):
        helm(tmp_path, "kill -9 $$").roll_back(1, served=True)
    with pytest.raises(Unanswered, match="did not end"):
        helm(tmp_path, "exec sleep 60", timeout=1).roll_back(1, served=True)


def led(given: dict[str, Any]) -> str | None:
    return Helm(options(), given, "staging")._environment.get("KUBECONFIG")


def test_helm_goes_to_the_cluster_that_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It works in another folder, and in a pod it would prefer a file of the user's home to the pod's account."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["one", "/two", "", "~/three"]))
    assert led({}) == os.pathsep.join([f"{tmp_path}/one", "/two", os.path.expanduser("~/three")])
    assert led({"kubeconfig": "mine"}) == f"{tmp_path}/mine"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setattr(api, "_IN_CLUSTER", tmp_path / "token")
    assert led({}) is None
    (tmp_path / "token").touch()
    assert led({}) == os.devnull
    assert led({"kubeconfig": "/mine"}) == "/mine"


def test_what_a_wrapper_has_started_ends_with_it(tmp_path: Path) -> None:
    """A client that goes on after its time would write while it is taken back."""
    script = f"sleep 60 & echo $! >{tmp_path}/client; wait"
    with pytest.raises(Unanswered, match="did not end"):
        helm(tmp_path, script, timeout=1).roll_back(1, served=True)
    client_pid = int((tmp_path / "client").read_text())
    for _try in range(100):
        if not owner._described(client_pid) or "ended" in owner._described(client_pid):
            break
        time.sleep(0.1)
    else:
        os.kill(client_pid, 9)
        pytest.fail("it goes on")


@pytest.mark.parametrize("script", ["echo v5.0.0", "echo v2.17.0", "echo", "echo 'WARNING: v3.22.0'"])
def test_a_version_that_is_not_known_is_refused(tmp_path: Path, script: str) -> None:
    with pytest.raises(ConfigurationError):
        helm(tmp_path, script).version  # noqa: B018


def test_a_program_that_is_not_there_is_said() -> None:
    with pytest.raises(ConfigurationError, match="cannot be run"):
        Helm(options(program="/nowhere/helm"), {}, "staging").version  # noqa: B018


def test_both_versions_get_their_own_options(tmp_path: Path) -> None:
    for version, wanted, other in (("3.22.0", "--validate", "--dry-run"), ("4.3.1", "--dry-run=server", "--validate")):
        script = f"""case "$1" in version) echo v{version};; *) echo "$@" >{tmp_path}/arguments
echo 'kind: Service'; echo 'metadata: {{name: app}}';; esac"""
        assert [each["kind"] for each in helm(tmp_path, script).rendered({})] == ["Service"]
        arguments = (tmp_path / "arguments").read_text()
        assert wanted in arguments
        assert other not in arguments
        for served in (True, False):  # a release that was Helm 3's is not applied by the API
            helm(tmp_path, script, force_conflicts=True).roll_back(2, served=served)
            forced = "--force-conflicts" in (tmp_path / "arguments").read_text()
            assert forced == (version[0] == "4" and served)


@pytest.mark.parametrize("text", ["", "- 1", "kind: Service", "{", "a: b: c", "kind: 1\nmetadata: {name: x}"])
def test_what_is_no_object_is_no_chart(tmp_path: Path, text: str) -> None:
    program = helm(tmp_path, f"[ \"$1\" = version ] && echo v4.3.1 || printf '%s' '{text}'")
    with pytest.raises(ClusterError):
        program.rendered({})


class Listed:
    """Gives Secrets; no more is asked."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.found = list(items)

    def items(self, *_path: str, **_query: str) -> list[dict[str, Any]]:
        return self.found


def stored(version: str, status: str) -> dict[str, Any]:
    return {"metadata": {"name": "x", "labels": {"version": version, "status": status}}, "type": "helm.sh/release.v1"}


def test_revisions_are_sorted_and_a_status_that_is_not_known_is_unknown() -> None:
    cluster: Any = Listed(stored("10", "pending-upgrade"), stored("9", "deployed"), stored("2", "Deployed"))
    found = revisions.revisions(cluster, "staging", "tradingflow")
    assert [(each.number, each.status) for each in found] == [(2, "unknown"), (9, "deployed"), (10, "pending-upgrade")]
    newest, good = revisions.last(found), revisions.last(found, "deployed")
    assert (newest and newest.number, good and good.number) == (10, 9)
    damaged: Any = Listed(stored("", "deployed"))
    with pytest.raises(ClusterError):
        revisions.revisions(damaged, "staging", "tradingflow")


def test_a_revision_is_read_as_helm_writes_it() -> None:
    assert revisions.unpacked(revisions.packed(CONTENT)) == CONTENT
    same = {**CONTENT, "version": 9, "info": {"status": "superseded"}}
    assert revisions.identity(same) == revisions.identity(CONTENT)
    for other in ({"config": {"replicas": 4}}, {"manifest": ""}, {"chart": {"metadata": {"version": "2"}}}):
        assert revisions.identity({**CONTENT, **other}) != revisions.identity(CONTENT)


def test_secrets_are_compared_by_a_hash_that_nobody_can_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def held(password: str) -> Any:
        thing = {"kind": "Secret", "metadata": {"name": "app"}, "stringData": {"password": password}}
        return revisions.by_name([thing])["Secret/app"]

    assert held("1234") == held("1234") != held("1235")
    first = held("1234")
    assert "1234" not in json.dumps(first)
    monkeypatch.setattr(revisions, "_KEY", b"of another process")
    assert held("1234") != first


def test_objects_of_one_name_in_two_namespaces_are_two() -> None:
    both = [{"kind": "Role", "metadata": {"name": "app", "namespace": each}, "rules": [each]} for each in ("a", "b")]
    assert revisions.by_name(both) == {"Role/a/app": both[0], "Role/b/app": both[1]}


class Kept:
    """Keeps Secrets."""

    def __init__(self) -> None:
        self.there: dict[str, Any] = {}

    def items(self, *_path: str, **_query: str) -> list[Any]:
        return []

    def create(self, path: str, body: dict[str, Any]) -> None:
        name = f"{path}/{body['metadata']['name']}"
        if name in self.there:
            raise Conflict("already there", "")
        self.there[name] = body

    def get(self, path: str) -> Any:
        return self.there[path]


def test_a_copy_that_is_kept_already_comes_back_under_the_number_of_now() -> None:
    """An undo makes a revision that is as an earlier one, of which there is a copy."""
    cluster: Any = Kept()
    for number in (1, 3):
        secret = {"metadata": {}, "data": {"release": revisions.packed({**CONTENT, "version": number})}}
        digest = revisions.keep(cluster, "staging", "tradingflow", Revision(number, "deployed", "deployed", secret))
    revisions.back_in_history(cluster, "staging", "tradingflow", 3, digest)
    back = cluster.get("/api/v1/namespaces/staging/secrets/sh.helm.release.v1.tradingflow.v3")
    content = revisions.unpacked(back["data"]["release"])
    assert (content["version"], content["info"]["status"]) == (3, "superseded")
    assert revisions.identity(content) == digest
    (copy,) = [each for name, each in cluster.there.items() if "last-good" in name]
    copy["data"]["release"] = revisions.packed({**CONTENT, "config": {}})
    with pytest.raises(ClusterError, match="not what was kept"):
        revisions.back_in_history(cluster, "staging", "tradingflow", 4, digest)


@pytest.mark.parametrize("text", ["", "%", "AAAA", "SDRzSUFBQUFBQUFBLy9v", revisions.packed({"manifest": 1})])
def test_a_damaged_revision_is_no_revision(text: str) -> None:
    with pytest.raises(ClusterError):
        revisions.unpacked(text)


def test_a_revision_that_fills_the_memory_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "_MOST", 1000)
    with pytest.raises(ClusterError):
        revisions.unpacked(revisions.packed({"manifest": "x" * 100000}))


def test_values_have_the_flags_and_the_digest() -> None:
    target = Target("r/app", "v1", "sha256:1", ("sha256:1",))
    given = {"image": {"pullPolicy": "Always", "tag": "old"}, "app": {"flags": {"a": False, "b": 1}}}
    found = values(options(values=given, flags_value="app.flags"), {"a": True}, target)
    assert found["image"] == {"pullPolicy": "Always", "repository": "r/app", "tag": "v1", "digest": "sha256:1"}
    assert found["app"]["flags"] == {"a": True, "b": 1}
    assert given["image"] == {"pullPolicy": "Always", "tag": "old"}


def test_texts_of_values_are_hidden_the_longest_first() -> None:
    text = client.hidden(
        "bad: topsecret1 and topsecret, image r/app",
        {"a": "topsecret", "b": ["topsecret1"], "image": {"repository": "r/app"}},
    )
    assert text == "bad: *** and ***, image r/app"


KEY = "MIIEvQIBADANBgkqhkiG9w0" * 40


@pytest.mark.parametrize(
    ("value", "said"),
    [
        pytest.param(KEY, f'Invalid value: "{KEY}"', id="longer than what is told"),
        pytest.param(f"first\n{KEY}\nlast", f"Invalid value:\n first\n{KEY}\nlast\n", id="of several lines"),
        pytest.param('four "words"\tor\nmore', 'Invalid value: "four \\"words\\"\\tor\\nmore"', id="quoted"),
        pytest.param("kept-for-us", "Invalid value: a2VwdC1mb3ItdXM=", id="as a Secret holds it"),
    ],
)
def test_values_are_hidden_in_whatever_form_they_are_quoted(tmp_path: Path, value: str, said: str) -> None:
    (tmp_path / "said").write_text(f"Error: {said}", encoding="utf-8")
    with pytest.raises(ClusterError) as failed:
        helm(tmp_path, f"cat {tmp_path}/said >&2; exit 1").upgrade({"anything": value}, {}, "why", served=True)
    assert "Invalid value" in failed.value.message
    for part in ("MII", "first", "words", "a2Vw"):
        assert part not in failed.value.message


def test_a_roll_back_does_not_tell_the_values_of_then(tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as failed:
        helm(tmp_path, f"echo 'Error: bad {SECRET}' >&2; exit 1").roll_back(3, served=True, values={"anything": SECRET})
    assert SECRET not in failed.value.message


class Applying:
    """An API that says who manages what would be changed."""

    def __init__(self, *managers: str) -> None:
        self.managers = managers
        self.forced: list[bool] = []

    def applied(self, *_arguments: Any, manager: str, force: bool) -> dict[str, Any]:
        assert manager == "helm"
        self.forced.append(force)
        if not force:
            conflict = Conflict("conflicts", "")
            conflict.causes = [f'conflict with "{each}" using v1' for each in self.managers]
            raise conflict
        return {}


@pytest.mark.parametrize("managers", [("kubectl-edit",), ("tradingflow-maintenance", "kubectl-edit"), ()])
def test_what_others_manage_is_never_forced(managers: tuple[str, ...]) -> None:
    chart, api = object.__new__(Chart), Applying(*managers)
    chart._session, chart._options, chart._force = SimpleNamespace(cluster=api), {"force_conflicts": False}, False  # type: ignore[assignment]
    with pytest.raises(Conflict):
        chart._applied("/path", {})
    assert (api.forced, chart._force) == ([False], False)


def test_what_only_we_manage_is_taken_over() -> None:
    chart, api = object.__new__(Chart), Applying("tradingflow-maintenance", "tradingflow-maintenance")
    chart._session, chart._options, chart._force = SimpleNamespace(cluster=api), {"force_conflicts": False}, False  # type: ignore[assignment]
    chart._applied("/path", {})
    assert (api.forced, chart._force) == ([False, True], True)
