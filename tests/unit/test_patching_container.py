"""In a container needrestart does not look at the kernel: only there that is no doubt."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._patching import commands, services
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import PatchingError


@pytest.mark.parametrize(
    ("said", "container", "newer_kernel"),
    [
        ("NEEDRESTART-VER: 3.6\n", True, False),
        ("NEEDRESTART-VER: 3.6\n", False, None),
        # What it says itself counts, also that it does not know.
        ("NEEDRESTART-VER: 3.6\nNEEDRESTART-KSTA: 0\n", True, None),
        ("NEEDRESTART-VER: 3.6\nNEEDRESTART-KSTA: 3\n", True, True),
    ],
)
def test_the_kernel_of_a_container(
    monkeypatch: pytest.MonkeyPatch, said: str, container: bool, newer_kernel: bool | None
) -> None:
    def asked_systemd(command: list[str], *_: Any, **__: Any) -> str:
        assert command == ["systemd-detect-virt", "--container", "--quiet"]
        if not container:
            raise PatchingError("systemd-detect-virt failed (1)", "")
        return ""

    monkeypatch.setattr(services, "there", lambda: True)
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=0, stdout=said.encode(), stderr=b"")
    )
    monkeypatch.setattr(commands, "run", asked_systemd)
    assert services.asked()["newer_kernel"] is newer_kernel
