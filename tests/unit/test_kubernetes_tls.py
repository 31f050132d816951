"""Certificates and keys of a kubeconfig lie nowhere but in it."""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._images import cluster as images
from ansible_collections.tradingflow.maintenance.plugins.module_utils._kubernetes.client import Cluster, Unanswered
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

from tests.kubernetes_api import KubernetesApi


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the library would put them."""
    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_it_logs_in_by_certificate_and_leaves_no_key(tmp_path: Path, temporary: Path) -> None:
    with KubernetesApi(tmp_path) as api:
        where: dict[str, Any] = {"kubeconfig": api.kubeconfig(embedded=True)}
        # Twice: the library remembers files that it has written.
        for _time in range(2):
            cluster = Cluster(where)
            assert list(temporary.iterdir()) == []
            assert cluster.items("/api/v1/pods") == []
            assert list(temporary.iterdir()) == []
        assert images._containers(where, None, 10.0) == []
        assert list(temporary.iterdir()) == []
        assert api.names == ["operator"] * 3


def test_by_paths_it_still_trusts_nobody_else(tmp_path: Path, temporary: Path) -> None:
    with KubernetesApi(tmp_path) as api:
        path = api.kubeconfig()
        assert Cluster({"kubeconfig": path}).items("/api/v1/pods") == []
        assert api.names == [""]
        config = json.loads(Path(path).read_text())
        del config["clusters"][0]["cluster"]["certificate-authority"]
        Path(path).write_text(json.dumps(config))
        with pytest.raises(Unanswered, match="certificate verify failed"):
            Cluster({"kubeconfig": path}).items("/api/v1/pods")
    assert list(temporary.iterdir()) == []


def test_what_is_no_key_is_told_and_left_nowhere(tmp_path: Path, temporary: Path) -> None:
    with KubernetesApi(tmp_path) as api:
        path = api.kubeconfig(embedded=True)
        config = json.loads(Path(path).read_text())
        config["users"][0]["user"]["client-key-data"] = "bm8ga2V5"
        Path(path).write_text(json.dumps(config))
        with pytest.raises(ConfigurationError, match="certificate or key"):
            Cluster({"kubeconfig": path})
        assert list(temporary.iterdir()) == []


def test_one_thread_does_not_remove_what_another_has_just_written(tmp_path: Path, temporary: Path) -> None:
    with KubernetesApi(tmp_path) as api:
        where = {"kubeconfig": api.kubeconfig(embedded=True)}

        def ask(_number: int) -> list[Any]:
            return Cluster(where).items("/api/v1/pods")

        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(ask, range(40))) == [[]] * 40
    assert list(temporary.iterdir()) == []
