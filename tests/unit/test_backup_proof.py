"""When a restore was last proven, from a ledger of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import ledger
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import proven as proof
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.unit.ledger_fixtures import STORAGE, MemoryStore, error, make_key

DEFAULT = {"warning": 8, "critical": 35}
NONE = {"warning": None, "critical": None}
NOW = datetime.now(UTC).replace(microsecond=0)
CONTENT = {"recovery_point": "20261123T204030Z-3fa9c1", "engine": "logical", "rto_seconds": 40, "rpo_seconds": 900}

Append = Callable[..., dict[str, Any]]


@pytest.fixture
def append(store: MemoryStore, pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Append:
    """append(days ago, kind, worst status) as the drill will do it."""

    def write(
        days: float,
        kind: str = "drill",
        status: Any = "ok",
        key: Path | None = None,
        environment: str = "production",
        engine: Any = "logical",
    ) -> dict[str, Any]:
        at = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        monkeypatch.setattr(ledger, "utc_now", lambda: at)
        content = {**CONTENT, "engine": engine, "worst_status": status} if kind == "drill" else {}
        return ledger.append(
            *(STORAGE, environment, kind),
            actor="ada",
            run_id="r1",
            subjects=[],
            content=content,
            signing_key=key or pair[0],
            trusted_keys=[pair[1], key] if key else [pair[1]],
        )

    return write


@pytest.fixture
def measured(store: MemoryStore, pair: tuple[Path, Path]) -> Callable[..., Check]:
    def measure(limit: dict[str, Any] = DEFAULT, now: datetime = NOW, **evidence: Any) -> Check:
        (check,) = proof.measure(STORAGE, "production", evidence or {"trusted_key_files": [pair[1]]}, limit, now)
        return check

    return measure


@pytest.mark.parametrize(
    ("days", "status"), [(0, "ok"), (7.9, "ok"), (8, "warning"), (34.9, "warning"), (35, "critical"), (60, "critical")]
)
def test_age_of_the_last_drill_that_went_well(
    append: Append, measured: Callable[..., Check], days: float, status: str
) -> None:
    append(days)
    for _ in range(20):
        append(days / 2, "run")
    check = measured()
    assert (check.status, check.value, check.unit) == (status, days, "days")
    assert check.details["record"] == 1
    assert (check.details["engine"], check.details["rto_seconds"]) == ("logical", 40)
    assert str(CONTENT["recovery_point"]) in check.message


@pytest.mark.parametrize(
    ("limit", "status"), [(DEFAULT, "critical"), ({"warning": 8, "critical": None}, "warning"), (NONE, "ok")]
)
def test_never_is_as_bad_as_the_worst_threshold(
    append: Append, measured: Callable[..., Check], limit: dict[str, Any], status: str
) -> None:
    assert measured(limit).status == status, "an empty ledger"
    append(1, "backup")
    append(1, "drill", "critical")
    check = measured(limit)
    assert (check.status, check.value) == (status, "never")
    assert "ended critical" in check.message


@pytest.mark.parametrize("said", ["warning", "unknown", "critical", None, True, ["ok"], "OK"])
def test_only_a_drill_that_went_well_proves_anything(append: Append, measured: Callable[..., Check], said: Any) -> None:
    append(20)
    append(1, "drill", said)
    assert (measured().status, measured().value) == ("warning", 20.0)


def test_a_later_drill_that_failed_is_a_warning(append: Append, measured: Callable[..., Check]) -> None:
    append(5)
    append(1, "drill", "critical")
    check = measured()
    assert (check.status, check.value) == ("warning", 5.0)
    assert "last drill failed" in check.remedy
    assert measured(NONE).status == "ok"
    append(0)
    assert measured().status == "ok"


def test_each_engine_is_proven_by_its_own_drills(append: Append, store: MemoryStore, pair: tuple[Path, Path]) -> None:
    both = ["logical", "pgbackrest"]

    def measured(engines: list[str]) -> dict[str, tuple[str, Any]]:
        keys = {"trusted_key_files": [pair[1]]}
        checks = proof.measure(STORAGE, "production", keys, DEFAULT, NOW, engines)
        return {check.id: (check.status, check.value) for check in checks}

    append(10, engine="pgbackrest")
    append(2)
    append(1, engine=["unheard of"])
    assert measured(both[:1]) == {"backups.proven_restore": ("ok", 2.0)}
    physical = "backups.proven_restore:pgbackrest"
    assert measured(both) == {"backups.proven_restore": ("ok", 2.0), physical: ("warning", 10.0)}
    append(1, status="critical", engine="pgbackrest")
    append(0, engine="pgbackrest", environment="staging")
    assert measured(both)[physical] == ("warning", 10.0)
    append(0, engine="pgbackrest")
    assert measured(both) == {"backups.proven_restore": ("ok", 2.0), physical: ("ok", 0.0)}
    assert list(measured(both[1:])) == [physical]


def test_forged_and_missing_records_count_as_nothing(
    append: Append, measured: Callable[..., Check], store: MemoryStore, tmp_path: Path
) -> None:
    other, _ = make_key(tmp_path, "other")
    old = append(9)
    drill = append(3)
    append(2, key=other)
    # Signed by a key that is not trusted, put in another's place, altered, gone.
    store.objects[store.keys()[-1][:-13] + "00000004.json"] = store.objects[old["key"]]
    store.objects[drill["key"]] = store.objects[drill["key"]].replace(b'"payload"', b'"payload" ')
    store.objects[store.keys()[-1][:-13] + "00000006.json"] = b"\xff"
    check = measured()
    assert (check.status, check.value) == ("warning", 9.0)
    assert check.details["unproven_records"] == [6, 5, 4, 3, 2]
    assert "do not verify" in check.message


def test_drill_of_another_environment_proves_nothing(
    append: Append, measured: Callable[..., Check], store: MemoryStore
) -> None:
    drill = append(1, environment="staging")
    assert measured().value == "never"
    store.objects[drill["key"].replace("staging", "production")] = store.objects[drill["key"]]
    assert (measured().status, measured().value) == ("critical", "never")


def test_record_from_the_future_is_unknown(append: Append, measured: Callable[..., Check]) -> None:
    append(0)
    assert measured(now=NOW - timedelta(seconds=200)).value == 0
    assert measured(now=NOW - timedelta(hours=2)).status == "unknown"


def test_walking_back_is_bounded(
    append: Append, measured: Callable[..., Check], store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(400)
    for _ in range(90):
        append(300, "run")
    store.calls.clear()
    assert measured().value == "never"
    assert store.calls.count("get") <= 8, "the first batch is old enough"
    monkeypatch.setattr(proof, "MOST", 20)
    store.calls.clear()
    check = measured({"warning": None, "critical": 10_000})
    assert (check.status, check.value) == ("critical", "never")
    assert store.calls.count("get") <= 72


@pytest.mark.parametrize("call", ["list_objects_v2", "get_object"])
def test_ledger_that_may_not_be_read_is_unknown(
    append: Append, measured: Callable[..., Check], store: MemoryStore, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    append(1)

    def refuse(**_: Any) -> None:
        raise error("AccessDenied", 403)

    monkeypatch.setattr(store, call, refuse)
    for limit in (DEFAULT, NONE):
        check = measured(limit)
        assert (check.status, bool(check.remedy)) == ("unknown", True)
        assert "AccessDenied" in check.message


def test_keys_of_the_ledger(append: Append, measured: Callable[..., Check], pair: tuple[Path, Path]) -> None:
    append(1)
    assert measured(signing_key_file=str(pair[0])).status == "ok"
    assert measured(signing_key=pair[0].read_text(), trusted_key_files=[]).status == "ok"
    check = measured(trusted_key_files=["/nowhere.pub"])
    assert (check.status, "nowhere" in check.message) == ("unknown", True)


def test_without_a_ledger_it_is_unknown_or_left_out_but_never_ok(store: MemoryStore) -> None:
    for evidence in (None, {}, {"signing_key": "", "trusted_key_files": [], "lock_mode": "governance"}):
        (check,) = proof.measure(STORAGE, "production", evidence, DEFAULT)
        assert (check.status, bool(check.remedy)) == ("unknown", True)
        assert proof.measure(STORAGE, "production", evidence, NONE) == []
