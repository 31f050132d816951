"""Fixtures of the tests of the ledger and of what reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._ledger import places
from hypothesis import HealthCheck, settings

from tests.alone import alone
from tests.conftest import left_out
from tests.unit.ledger_fixtures import MemoryStore, make_key

# Whatever else the machine does meanwhile.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key that signs, and its public half."""
    return make_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """What the ledger writes to and reads from."""
    memory = MemoryStore()
    monkeypatch.setattr(places, "client", lambda storage, pool=10: memory)
    return memory


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Tests that are marked so run in namespaces of their own, see tests/alone.py."""
    if pyfuncitem.get_closest_marker("alone") is None:
        return None
    if os.geteuid():
        left_out("namespaces of its own need root")
    names = pyfuncitem._fixtureinfo.argnames
    alone(pyfuncitem.obj, {name: pyfuncitem.funcargs[name] for name in names})
    return True
