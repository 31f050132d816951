"""What tests cost: their own and their children's processor time, and the time on the clock. A plugin, see conftest."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Generator
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

#: Reports carry them from the workers to the one that prints.
_PROCESSOR = "processor"

#: Files that need a cluster, one at a time. They are one worker's, who begins with them: others would wait for it.
CLUSTER = (
    "integration/test_release_rollout.py",
    "integration/test_release_helm.py",
    "integration/test_release_soaking.py",
    "integration/test_release_trouble.py",
    "integration/test_release_strategies.py",
    "integration/test_release_major.py",
    "integration/test_cluster.py",
)

#: Files that take longer than two minutes on the clock, the longest first: they begin first, so that none is left
#: to run alone when all others have ended.
LONG = (
    *CLUSTER,
    "integration/test_restore_timelines.py",
    "integration/test_trading_oracle.py",
    "integration/test_restore_point_in_time.py",
    "end_to_end/test_molecule.py",
    "end_to_end/test_fleet.py",
    "end_to_end/test_daily.py",
    "integration/test_drill_physical.py",
    "end_to_end/test_machine.py",
    "end_to_end/test_trouble.py",
    "integration/test_restore_text.py",
    "end_to_end/test_production.py",
    "end_to_end/test_patch.py",
    "integration/test_restore_trouble.py",
    "integration/test_migration_verify.py",
    "integration/test_restore.py",
    "integration/test_backup_trouble.py",
    "integration/test_pgbackrest_trouble.py",
    "integration/test_migration.py",
    "end_to_end/test_migrate.py",
    "integration/test_restore_unprivileged.py",
    "end_to_end/test_fresh_checkout.py",
    "integration/test_sandbox.py",
    "integration/test_pgbackrest.py",
    "integration/test_isolation.py",
    "integration/test_migration_leftovers.py",
    "integration/test_retention_physical.py",
    "unit/test_logs_files.py",
    "integration/test_stakeholder_report.py",
    "integration/test_monitoring_rollout.py",
    "integration/test_drill.py",
    "integration/test_files.py",
    "end_to_end/test_daily_elsewhere.py",
    "integration/test_npm_lock.py",
    "integration/test_files_retention.py",
    "integration/test_migration_optuna.py",
)

_last = os.times()
#: What processes took that somebody else waited for.
_more = 0.0


def add(seconds: float) -> None:
    """Counts processor time of the present test that was spent by processes of others."""
    global _more
    _more += seconds


class Scheduling(LoadFileScheduling):
    """A file's tests are one worker's, and so are those of all files that need a cluster."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "cluster" if file.removeprefix("tests/") in CLUSTER else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """For ``--dist loadfile``."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Long files first, the others as they are."""
    places = {f"tests/{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_runtest_logstart() -> None:
    """What collecting took is no test's."""
    global _last
    _last = os.times()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Adds to each phase's report what the process and the children it waited for took since the one before."""
    global _last, _more
    report: Any = yield
    now = os.times()
    setattr(report, _PROCESSOR, sum(now[:4]) - sum(_last[:4]) + _more)
    _last, _more = now, 0.0
    return report


def table(reports: list[Any], most: int) -> list[str]:
    """Lines: the tests that took the most processor time, set-up and tear-down included, and the files.

    :param reports: of all phases
    """
    tests: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    files: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for report in reports:
        spent = getattr(report, _PROCESSOR, 0.0), report.duration
        for name, into in ((report.nodeid, tests), (report.nodeid.partition("::")[0], files)):
            into[name] = [before + more for before, more in zip(into[name], spent, strict=True)]
    lines = []
    for title, into in (("test", tests), ("file", files)):
        lines.append(f"processor s  clock s  slowest {most} of {len(into)} {title}s")
        dearest = sorted(into.items(), key=lambda item: item[1], reverse=True)[:most]
        lines += [f"{processor:11.1f}  {clock:7.1f}  {name}" for name, (processor, clock) in dearest]
    total = sum(processor for processor, _ in tests.values())
    return [*lines, f"{total:11.1f}           in all, without what runs on its own (servers)"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Where TRADINGFLOW_TEST_TIMES says how many, the dearest tests and files."""
    most = int(os.environ.get("TRADINGFLOW_TEST_TIMES", "0"))
    reports = [one for found in terminalreporter.stats.values() for one in found if hasattr(one, "duration")]
    if most and reports:
        terminalreporter.section("times")
        terminalreporter.write("\n".join([*table(reports, most), ""]))
