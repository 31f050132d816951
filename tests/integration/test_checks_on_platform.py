"""Services of the whole platform stopped and started again: the right checks say so, and are green again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import application, database, trading
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import Sandbox


def measure(platform: Sandbox) -> dict[str, Check]:
    """The checks of application, database and trading, by id without the replica."""
    checks: list[Check] = []
    for spec, options in (
        (application.APPLICATION_SPEC, {"urls": [platform.state["app"]["url"]], "timeout": 5}),
        (database.CHECKS_SPEC, {"database": platform.database}),
        (trading.TRADING_SPEC, {"database": platform.database}),
    ):
        result = ArgumentSpecValidator(spec).validate(options)
        assert not result.error_messages
        given = result.validated_parameters
        if spec is application.APPLICATION_SPEC:
            checks += application.measure(given)[0]
        elif spec is database.CHECKS_SPEC:
            checks += database.measure(given["database"], given["thresholds"], given["timeout"])[0]
        else:
            checks += trading.measure(given["database"], given["thresholds"], given["timeout"])
    return {check.id.partition(":http")[0]: check for check in checks}


def bad(found: dict[str, Check], area: str) -> dict[str, str]:
    return {id: check.status for id, check in found.items() if check.status != "ok" and id.startswith(area)}


@contextmanager
def stopped(platform: Sandbox, service: str) -> Iterator[None]:
    """Without a service; all must be green again at most 30 s after it is back."""
    platform("stop", service)
    try:
        yield
    finally:
        platform("start", service)
    end = time.monotonic() + 300
    while (found := bad(measure(platform), "")) and time.monotonic() < end:
        time.sleep(0.5)
    assert found == {}


def test_healthy_platform_is_green(platform: Sandbox) -> None:
    found = measure(platform)
    assert {id: check.message for id, check in found.items() if check.status != "ok"} == {}
    assert found["application.version"].value == platform.state["app"]["version"]


def test_application_stopped(platform: Sandbox) -> None:
    with stopped(platform, "app"):
        found = measure(platform)
        assert found["application.answers"].status == "critical"
        assert set(bad(found, "application").values()) == {"critical", "unknown"}
        assert found["application.version"].status == "unknown"
        assert bad(found, "database") == {}


def test_database_stopped(platform: Sandbox) -> None:
    with stopped(platform, "postgres"):
        found = measure(platform)
        assert found["database.answers"].status == "critical"
        assert set(bad(found, "trading").values()) == {"unknown"}
        assert "trading.strategy_heartbeat" in found
        # The application answers, and says that it is not well.
        assert found["application.answers"].status == "ok"
        assert found["application.ready"].status == "critical"
