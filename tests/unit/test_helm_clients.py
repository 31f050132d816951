"""Clients of Helm: which of ours may still be at work, and which are provably gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm import revisions
from ansible_collections.tradingflow.maintenance.plugins.module_utils._helm.revisions import LABEL, Revision
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release import owner
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.clients import at_work, begins, whose
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.record import LastGood, new
from ansible_collections.tradingflow.maintenance.plugins.module_utils._release.session import Session


def revision(number: int, said: str = "deployed", **labels: str) -> Revision:
    secret = {"metadata": {"labels": labels, "creationTimestamp": "2026-11-30T12:00:00Z"}}
    return Revision(number, said if said in revisions.STATUSES else revisions.UNKNOWN, said, secret)


def release_with(**helm_part: Any) -> Any:
    good = LastGood("sha256:0", "r/app@sha256:0", {}, {}, 3, more={"helm": helm_part} if helm_part else {})
    where = ("local", "tradingflow", "staging", "app", "app")
    return new(*where, tag="v1", image="r/app", digest="sha256:1", previous=good, actor="", run_id="")


def ended_process() -> dict[str, str]:
    """What a process said of itself that has ended."""
    code = (
        f"import json, sys; sys.path[:0] = {sys.path!r}\nfrom {owner.__name__} import mine; print(json.dumps(mine()))"
    )
    found: dict[str, str] = json.loads(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    )
    return found


def test_a_process_is_gone_only_when_that_is_proven() -> None:
    gone, here = ended_process(), owner.mine()
    assert owner.gone(gone)
    assert owner.gone(here)  # our own has waited for it
    with subprocess.Popen(["sleep", "30"]) as other:
        assert not owner.gone(owner._described(other.pid))
        # Another of the same id is not the one that was recorded.
        assert owner.gone({**owner._described(other.pid), "began": "1"})
        other.kill()
    for change in ({"boot": "another"}, {"space": "pid:[1]"}, {"pid": ""}):
        assert not owner.gone({**gone, **change})
    assert not owner.gone(None)
    assert not owner.gone({})


def test_a_process_of_another_user_that_cannot_be_seen_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc hides it (hidepid), only the kernel says that it is there."""
    with subprocess.Popen(["sleep", "30"]) as other:
        there, real = owner._described(other.pid), owner._described
        monkeypatch.setattr(owner, "_described", lambda pid: {} if pid == other.pid else real(pid))
        try:
            with monkeypatch.context() as patching:
                patching.setattr(os, "kill", lambda *_: (_ for _ in ()).throw(PermissionError()))
                assert not owner.gone(there)
            assert not owner.gone(there)
        finally:
            other.kill()
    assert owner.gone(there)


def test_whose_a_pending_revision_is() -> None:
    gone = ended_process()
    mine = release_with(to=5, client=gone)
    pending = revision(5, "pending-upgrade", **{LABEL: mine.id})
    assert whose(mine, pending, 60) == ""
    # Another's: of another number, without our label, with the label of an earlier release that Helm has taken over.
    assert "another client" in whose(mine, revision(6, "pending-upgrade", **{LABEL: mine.id}), 60)
    assert "another client" in whose(mine, revision(5, "pending-upgrade"), 60)
    assert "another client" in whose(mine, revision(5, "pending-upgrade", **{LABEL: "earlier"}), 60)
    assert "another client" in whose(release_with(), pending, 60)
    assert "another client" in whose(None, pending, 60)
    # Ours, and nobody knows of its process: only age tells.
    unknown = release_with(to=5, client={**gone, "boot": "another"})
    fresh = revision(5, "pending-upgrade", **{LABEL: unknown.id})
    fresh.secret["metadata"]["creationTimestamp"] = "2999-01-01T00:00:00Z"
    assert "may still be" in whose(unknown, fresh, 60)
    fresh.secret["metadata"]["creationTimestamp"] = "no time"
    assert "may still be" in whose(unknown, fresh, 60)
    fresh.secret["metadata"]["creationTimestamp"] = "2020-01-01T00:00:00Z"
    assert whose(unknown, fresh, 60) == ""
    # A roll back has the labels of what it goes back to.
    back = release_with(to=5, back=7, client=gone)
    assert whose(back, revision(7, "pending-rollback", **{LABEL: "earlier"}), 60) == ""


def test_helm_stays_in_the_context_that_was_looked_at(tmp_path: Path) -> None:
    """Whoever works beside it may choose another one in the same file (kubectl config use-context)."""
    file = tmp_path / "config"
    made = {
        "clusters": [{"name": each, "cluster": {"server": f"https://{each}"}} for each in ("one", "two")],
        "users": [{"name": "me", "user": {"token": "x"}}],
        "contexts": [{"name": f"in-{each}", "context": {"cluster": each, "user": "me"}} for each in ("one", "two")],
    }
    file.write_text(json.dumps({**made, "current-context": "in-one"}), encoding="utf-8")
    options = {"kubeconfig": str(file), "context": None}
    work = Session({"kubernetes": options}, Cluster(options), cast(Any, None), "", "")
    file.write_text(json.dumps({**made, "current-context": "in-two"}), encoding="utf-8")
    assert work.cluster.host == "https://one"
    assert work.kubernetes == {**options, "context": "in-one"}
    chosen = {**options, "context": "in-two"}
    other = Session({"kubernetes": chosen}, Cluster(chosen), cast(Any, None), "", "")
    assert (other.cluster.host, other.kubernetes) == ("https://two", chosen)


def test_numbers_of_a_helm_release_that_was_installed_anew_keep_nobody_waiting() -> None:
    release = release_with(to=20, back=21, at="2999-01-01T00:00:00Z", client={"boot": "another"})
    begins(release, "to", 2, 60)
    release.previous.more["helm"]["client"] = {"boot": "another"}
    assert "revision 2" in at_work(release, revision(1), 60)
    assert at_work(release, revision(2), 60) == ""
