"""The newest recovery point against those before it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import backups as checks
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import anomaly, store
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.unit.test_backup_judgement import NOW, STORAGE, Store, point

SIZE, FILES, DURATION = "backups.size_anomaly", "backups.files_anomaly", "backups.duration_anomaly"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setattr(anomaly, "client", lambda *_, **__: made)
    return made


def add(fake: Store, *sizes: int, seconds: tuple[int, ...] = (), compression: str = "gzip") -> None:
    """Recovery points, oldest first, the last of them now."""
    for number, size in enumerate(sizes):
        begun = NOW - timedelta(days=len(sizes) - 1 - number)
        made = point(f"{begun:%Y%m%dT%H%M%SZ}-{compression == 'zstd':06x}", begun)
        made["objects"][0]["size"], made["objects"][1]["size"] = 0, size
        made["engine"]["compression"] = compression
        ended = begun + timedelta(seconds=seconds[number] if seconds else 100)
        made["finished_at"] = f"{ended:%Y-%m-%dT%H:%M:%SZ}"
        fake.add(made)


def measured(**given: Any) -> dict[str, Check]:
    options = {"storage": {"bucket": "b"}, "environment_name": "env", "thresholds": given}
    result = ArgumentSpecValidator(checks.CHECKS_SPEC).validate(options)
    assert not result.error_messages
    return {check.id: check for check in anomaly.measure(STORAGE, "env", result.validated_parameters["thresholds"])}


@pytest.mark.parametrize(
    ("newest", "status"),
    [
        (1000, "ok"),
        (501, "ok"),
        (500, "warning"),
        (101, "warning"),
        (100, "critical"),
        (0, "critical"),
        (1999, "ok"),
        (2000, "warning"),
        (10**6, "warning"),
    ],
)
def test_size_against_the_median(fake: Store, newest: int, status: str) -> None:
    add(fake, 900, 1000, 50_000, newest)
    check = measured()[SIZE]
    assert (check.status, check.value, check.details["median"]) == (status, newest, 1000)
    assert bool(check.remedy) == (status != "ok")


def test_size_has_thresholds_of_its_own(fake: Store) -> None:
    add(fake, 1000, 1000, 1000, 900)
    assert measured(size_low={"warning": 95})[SIZE].status == "warning"
    add(fake, 1000, 1000, 1000, 100)
    off = {"warning": float("inf"), "critical": float("inf")}
    assert measured(size_low=off)[SIZE].status == "ok"


def test_fewer_than_three_are_no_history(fake: Store) -> None:
    add(fake, 1000, 1000, 1)
    found = measured()
    for id in (SIZE, DURATION):
        assert found[id].status == "ok"
        assert "Not judged yet: 2 of 3" in found[id].message
    assert found[SIZE].value == 1


def test_other_compression_is_no_history(fake: Store) -> None:
    add(fake, *[1000] * 5, 1000)
    add(fake, 100, compression="zstd")
    # Same moment, later id: the newest is the one of the other compression.
    check = measured()[SIZE]
    assert (check.status, check.value) == ("ok", 100)
    assert "0 of 3" in check.message


@pytest.mark.parametrize(
    ("seconds", "status"),
    [
        ((100, 100, 100, 199), "ok"),
        ((100, 100, 100, 200), "warning"),
        ((100, 100, 100, 1), "ok"),
        # A few seconds are a few seconds, however many times more.
        ((2, 2, 2, 50), "ok"),
        ((2, 2, 2, 62), "warning"),
    ],
)
def test_duration_against_the_median(fake: Store, seconds: tuple[int, ...], status: str) -> None:
    add(fake, 1, 1, 1, 1, seconds=seconds)
    check = measured()[DURATION]
    assert (check.status, check.value) == (status, seconds[-1])


def test_unfinished_and_broken_ones_do_not_count(fake: Store) -> None:
    add(fake, 1000, 1000, 1000, 1000, 1000)
    fake.heads["p/backups/env/20991231T000000Z-abcdef/database/toc.dat"] = {"ContentLength": 1}
    broken = f"p/backups/env/{NOW - timedelta(days=1):%Y%m%dT%H%M%SZ}-000000/{store.NAME}"
    fake.bodies[broken] = b"{"
    assert measured()[SIZE].details["compared_with"] == 3


@pytest.mark.parametrize("change", [{"application": {}}, {"finished_at": "later"}, {"engine": None}, {"objects": []}])
def test_newest_that_cannot_be_read_is_unknown(fake: Store, change: dict[str, Any]) -> None:
    add(fake, 1000, 1000, 1000, 1000)
    fake.bodies[max(fake.bodies)] = json.dumps({**json.loads(fake.bodies[max(fake.bodies)]), **change}).encode()
    assert {check.status for check in measured().values()} == {"unknown"}


def test_no_recovery_point_at_all(fake: Store) -> None:
    found = measured()
    assert {check.status for check in found.values()} == {"unknown"}
    assert all(check.remedy for check in found.values())


def test_database_and_files_are_judged_apart(fake: Store) -> None:
    def made(days: int, database: int, files: int) -> dict[str, Any]:
        begun = NOW - timedelta(days=days)
        result = point(f"{begun:%Y%m%dT%H%M%SZ}-000000", begun)
        result["objects"][1]["size"], result["application"]["bytes"] = database, files
        fake.add(result)
        return result

    for days in (3, 2, 1):
        made(days, 1000, 10**9)
    made(0, 20, 10**9)
    found = measured()
    assert (found[SIZE].status, found[FILES].status) == ("critical", "ok")
    made(0, 1000, 0)
    found = measured()
    assert (found[SIZE].status, found[FILES].status, found[FILES].value) == ("ok", "critical", 0)
    assert "files" in found[FILES].remedy


def test_no_files_then_and_now_or_now_the_first(fake: Store) -> None:
    for days, size in ((3, 0), (2, 0), (1, 0), (0, 0)):
        begun = NOW - timedelta(days=days)
        made = point(f"{begun:%Y%m%dT%H%M%SZ}-000000", begun)
        made["application"].update(files=0, bytes=size)
        fake.add(made)
    assert measured()[FILES].status == "ok"
    made["application"].update(files=1, bytes=5)
    fake.add(made)
    assert measured()[FILES].status == "ok"


def test_files_in_a_repository_count_whole(fake: Store) -> None:
    for days, size in ((4, 10), (3, 1000), (2, 1000), (1, 1000), (0, 90)):
        begun = NOW - timedelta(days=days)
        made = point(f"{begun:%Y%m%dT%H%M%SZ}-000000", begun)
        made["application"].update(engine="archive" if days == 4 else "restic", bytes=size)
        fake.add(made)
    check = measured()[FILES]
    # Little was uploaded each time; that most of the files are gone is seen all the same.
    assert (check.status, check.value, check.details["compared_with"]) == ("critical", 90, 3)
