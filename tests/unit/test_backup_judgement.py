"""What the backup and the checks of the store say: recovery points, findings, listings, lines of progress."""

from __future__ import annotations

import copy
import io
import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._backup import options
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import snapshot, toc
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import store, verify
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points.ids import new_id
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.job import BACKUP
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError
from ansible_collections.tradingflow.maintenance.plugins.plugin_utils import job
from botocore.exceptions import ClientError

from tests.conftest import COLLECTION

NOW = datetime(2026, 11, 23, 20, 40, 30, tzinfo=UTC)
STORAGE = {"bucket": "b", "endpoint": "http://x", "prefix": "p"}
THRESHOLDS = {"newest_age": {"warning": 93600.0, "critical": 180000.0}}


def point(run_id: str = "20261123T204030Z-3fa9c1", created: datetime = NOW) -> dict[str, Any]:
    base = f"p/backups/env/{run_id}"

    def entry(name: str, role: str) -> dict[str, Any]:
        return {"key": f"{base}/{name}", "size": 3, "sha256": "0" * 64, "role": role, "checksum": "c", "etag": "e"}

    return {
        "schema_version": 1,
        "id": run_id,
        "environment": "env",
        "created_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "finished_at": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "tool_version": "0.1.0",
        "engine": {"name": "logical", "format": "directory", "compression": "gzip", "level": 1, "pg_dump": "18.6"},
        "database": {
            "name": "tf",
            "server_version": "18.6",
            "server_version_num": 180006,
            "snapshot_at": "2026-11-23T20:40:30.123456Z",
            "encoding": "UTF8",
            "size": 1,
            "schema_head": None,
            "large_objects": 0,
            "tables": [
                {
                    "oid": 16390,
                    "schema": "public",
                    "name": "we ird",
                    "rows": 2,
                    "digest": "-12",
                    "algorithm": snapshot.HASH_RECORD,
                }
            ],
        },
        "application": {"name": "tf", "version": "1.2.3", "image": None, "files": 1, "bytes": 5},
        "objects": [entry("database/toc.dat", "table of contents"), entry("database/3456.dat.gz", "data")],
        "totals": {"objects": 2, "bytes": 6, "rows": 2},
    }


def result(**changes: Any) -> dict[str, Any]:
    made = {
        "recovery_point": point(),
        "key": "p/backups/env/20261123T204030Z-3fa9c1/recovery-point.json",
        "sha256": "1" * 64,
        "notes": {"changed_files": [], "skipped_files": [], "unfinished": []},
        "verification": {"ok": True, "problems": [], "mode": "full", "objects": 2},
        "phases": {"backup": 1.0, "verify": 0.5},
    }
    return {**made, **changes}


def test_recovery_point_fits_its_schema_and_a_wrong_one_does_not() -> None:
    schema = json.loads((COLLECTION / "schemas/recovery-point-1.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(point(), schema)
    for path, value in (
        (("id",), "yesterday"),
        (("database", "tables", 0, "rows"), -1),
        (("objects", 0, "sha256"), "short"),
        (("surprise",), 1),
    ):
        wrong: Any = copy.deepcopy(point())
        place = wrong
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_ids_sort_by_time_and_fit_the_pattern() -> None:
    ids = [new_id(NOW + timedelta(seconds=seconds)) for seconds in (0, 1, 3600, 86400 * 400)]
    assert ids == sorted(ids)
    assert all(store.ID.fullmatch(run_id) for run_id in ids)


def test_a_backup_that_verifies_is_green() -> None:
    checks, (done,) = options.findings(result(), "2026-11-23T20:40:30Z")
    found = {check.id: check.status for check in checks}
    assert found == {"backup.completed": "ok", "backup.contents": "ok", "backup.verified": "ok"}
    assert done["status"] == "ok"
    assert done["details"]["recovery_point"]["verified"] is True


def test_a_backup_that_does_not_verify_has_failed() -> None:
    broken = {"ok": False, "problems": ["a is missing", "b", "c", "d"], "mode": "full", "objects": 2}
    checks, (done,) = options.findings(result(verification=broken), "2026-11-23T20:40:30Z")
    verified = next(check for check in checks if check.id == "backup.verified")
    assert (verified.status, done["status"]) == ("critical", "failed")
    assert "a is missing; b; c and 1 more" in verified.message
    assert done["message"] == verified.message
    assert done["details"]["recovery_point"]["verified"] is False


def test_a_backup_that_was_not_verified_is_not_green() -> None:
    checks, (done,) = options.findings(result(verification=None), "2026-11-23T20:40:30Z")
    assert next(check for check in checks if check.id == "backup.verified").status == "unknown"
    assert done["details"]["recovery_point"]["verified"] is None


def test_a_backup_without_data_is_not_green_nor_one_with_uncounted_tables() -> None:
    def contents(rows: int | None, unmeasured: str = "", tables: int = 1) -> Any:
        made = point()
        entry = {**made["database"]["tables"][0], "rows": rows, **({"unmeasured": unmeasured} if unmeasured else {})}
        made["database"]["tables"] = [entry] * tables
        made["totals"]["rows"] = (rows or 0) * tables
        jsonschema.validate(made, json.loads((COLLECTION / "schemas/recovery-point-1.json").read_text()))
        return next(c for c in options.findings(result(recovery_point=made), "now")[0] if c.id == "backup.contents")

    assert (contents(2).status, contents(2).value) == ("ok", 2)
    empty, nothing, uncounted, unhashed = (
        contents(0),
        contents(None, tables=0),
        contents(None, "why"),
        contents(2, "why"),
    )
    assert (empty.status, nothing.status) == ("critical", "critical")
    assert "1 tables without a single row" in empty.message
    assert "tf has no tables" in nothing.message
    # How many rows there are is not known: neither that there are none.
    assert (uncounted.status, unhashed.status) == ("unknown", "unknown")
    assert "public.we ird" in uncounted.message
    assert "why" in unhashed.message


def test_rows_that_are_not_known_are_not_compared_with_the_dump() -> None:
    made = point()
    assert len(verify.compare_contents(CONTENTS, made, {"3456.dat": 1})) == 1
    made["database"]["tables"][0]["rows"] = None
    assert not verify.compare_contents(CONTENTS, made, {"3456.dat": 1})


def test_files_that_changed_are_a_warning() -> None:
    checks, _ = options.findings(result(notes={"changed_files": ["a", "b"]}), "2026-11-23T20:40:30Z")
    (warned,) = [check for check in checks if check.status == "warning"]
    assert (warned.id, warned.value) == ("backup.application_files", 2)


def test_failure_is_critical_with_the_next_step() -> None:
    (check,), (done,) = options.failure("It broke.", "Do this.", "2026-11-23T20:40:30Z")
    assert (check.status, check.remedy, done["status"]) == ("critical", "Do this.", "failed")


CONTENTS = [
    toc.Entry(215, "TABLE", "public", "we ird", "postgres", oid=16390),
    toc.Entry(3456, "TABLE DATA", "public", "we ird", "postgres", oid=16390),
    toc.Entry(3457, "TABLE DATA", "public", "other", "postgres", oid=16400),
    # In words like the rows of a table.
    toc.Entry(216, "TABLE", "DATA", "public other postgres", "me", oid=16390),
]


def test_contents_are_compared_by_oid() -> None:
    assert verify.compare_contents(CONTENTS, point(), {}) == []
    without_file = point()
    without_file["objects"].pop()
    (problem,) = verify.compare_contents(CONTENTS, without_file, {})
    assert "public.we ird (3456.dat)" in problem
    (problem,) = verify.compare_contents([CONTENTS[0], CONTENTS[2]], point(), {})
    assert problem == "table public.we ird is not in the dump"
    with_objects = point()
    with_objects["database"]["large_objects"] = 1
    assert verify.compare_contents(CONTENTS, with_objects, {}) == ["the dump has 0 large objects, the database 1"]


def test_rows_of_the_dump_are_compared_with_those_of_the_snapshot() -> None:
    rows = point()["database"]["tables"][0]["rows"]
    assert verify.compare_contents(CONTENTS, point(), {"3456.dat": rows}) == []
    (problem,) = verify.compare_contents(CONTENTS, point(), {"3456.dat": rows - 1})
    assert problem == f"the dump has {rows - 1} rows of table public.we ird, its snapshot had {rows}"


def test_what_has_passwords_is_said() -> None:
    notes = {"subscriptions": ["feed"], "user_mappings": ["venue for trader"]}
    checks, _ = options.findings(result(notes=notes), "2026-11-23T20:40:30Z")
    found = {check.id: check for check in checks}
    assert found["backup.subscriptions"].status == "ok"
    assert "feed" in found["backup.subscriptions"].message
    assert found["backup.user_mappings"].status == "warning"
    assert "venue for trader" in found["backup.user_mappings"].message


def test_digest_of_a_row_does_not_depend_on_oids_or_order() -> None:
    columns = [{"name": "b", "portable": False}, {"name": 'a"', "portable": True}]
    expected = 'hash_record_extended(ROW("a""", "b"::text COLLATE "C"), 0)'
    assert snapshot.digest_expression(columns, 180000) == expected
    assert snapshot.digest_expression(columns[::-1], 180000) == expected
    cast = snapshot.digest_expression([{"name": "c", "portable": False, "cast": True}], 180000)
    assert "::text" not in cast
    assert "hashtextextended(ROW(" in snapshot.digest_expression(columns, 130000)
    assert snapshot.algorithm(130000) == snapshot.HASH_TEXT


class Store:
    """A store in memory, for the calls the checks make."""

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.heads: dict[str, dict[str, Any]] = {}

    def add(self, made: dict[str, Any]) -> None:
        self.bodies[f"p/backups/env/{made['id']}/{store.NAME}"] = json.dumps(made).encode()
        for entry in made["objects"]:
            self.heads[entry["key"]] = {"ContentLength": entry["size"], "ChecksumSHA256": entry["checksum"]}

    def get_paginator(self, _: str) -> Store:
        return self

    def paginate(self, *, Bucket: str, Prefix: str, Delimiter: str) -> list[dict[str, Any]]:
        keys = [key[len(Prefix) :] for key in (*self.bodies, *self.heads) if key.startswith(Prefix)]
        folders = sorted({key.split("/")[0] for key in keys})
        return [{"CommonPrefixes": [{"Prefix": f"{Prefix}{folder}/"} for folder in folders]}]

    def head_object(self, *, Bucket: str, Key: str, ChecksumMode: str) -> dict[str, Any]:
        if Key in self.bodies:
            return {"ContentLength": len(self.bodies[Key])}
        if Key in self.heads:
            return self.heads[Key]
        raise ClientError({"Error": {"Code": "404"}}, "HeadObject")

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        if Key not in self.bodies:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self.bodies[Key])}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setattr(store, "client", lambda *_, **__: made)
    return made


def statuses(now: datetime = NOW) -> dict[str, str]:
    return {check.id: check.status for check in store.measure(STORAGE, "env", THRESHOLDS, now)}


def test_age_is_judged_by_the_recovery_points_own_time(fake: Store) -> None:
    assert statuses() == {"backups.newest_age": "critical", "backups.newest_intact": "unknown"}
    fake.add(point())
    for hours, expected in ((0, "ok"), (25.9, "ok"), (26, "warning"), (49.9, "warning"), (50, "critical")):
        assert statuses(NOW + timedelta(hours=hours)) == {
            "backups.newest_age": expected,
            "backups.newest_intact": "ok",
        }
    older = point("20260101T000000Z-ffffff", NOW - timedelta(days=300))
    fake.add(older)
    assert statuses()["backups.newest_age"] == "ok"


def test_clock_behind_is_unknown_not_fresh(fake: Store) -> None:
    fake.add(point())
    assert statuses(NOW - timedelta(seconds=200))["backups.newest_age"] == "ok"
    assert statuses(NOW - timedelta(hours=2))["backups.newest_age"] == "unknown"


def test_unfinished_runs_do_not_count(fake: Store) -> None:
    fake.add(point())
    fake.heads["p/backups/env/20261124T000000Z-abcdef/database/toc.dat"] = {"ContentLength": 1}
    checks = store.measure(STORAGE, "env", THRESHOLDS, NOW)
    assert checks[0].status == "ok"
    assert checks[0].details["unfinished_since"] == ["20261124T000000Z-abcdef"]
    del fake.bodies[f"p/backups/env/{point()['id']}/{store.NAME}"]
    (age, _) = store.measure(STORAGE, "env", THRESHOLDS, NOW)
    assert age.status == "critical"
    assert "only 2 unfinished ones" in age.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"schema_version": 2}',
        json.dumps({**point(), "id": "20261123T204030Z-000000"}).encode(),
        json.dumps({**point(), "objects": []}).encode(),
        json.dumps({**point(), "created_at": "soon"}).encode(),
        json.dumps({**point(), "objects": [{**point()["objects"][0], "key": "elsewhere"}]}).encode(),
        json.dumps({key: value for key, value in point().items() if key != "created_at"}).encode(),
        b"\xff\xfe",
    ],
)
def test_unreadable_recovery_point_is_critical(fake: Store, body: bytes) -> None:
    fake.add(point("20261122T204030Z-3fa9c1", NOW - timedelta(days=1)))
    fake.bodies[f"p/backups/env/{point()['id']}/{store.NAME}"] = body
    assert set(statuses().values()) == {"critical"}


@pytest.mark.parametrize(
    "answer",
    [
        {"ContentLength": 2, "ChecksumSHA256": "c"},
        {"ContentLength": 3, "ChecksumSHA256": "other"},
        {"ContentLength": 3, "ETag": '"other"'},
        None,
    ],
)
def test_damaged_object_is_critical(fake: Store, answer: dict[str, Any] | None) -> None:
    made = point()
    fake.add(made)
    key = made["objects"][1]["key"]
    if answer is None:
        del fake.heads[key]
    else:
        fake.heads[key] = answer
    checks = store.measure(STORAGE, "env", THRESHOLDS, NOW)
    assert checks[1].status == "critical"
    assert key in checks[1].message


def test_store_without_checksums_is_judged_by_its_etag(fake: Store) -> None:
    made = point()
    fake.add(made)
    fake.heads[made["objects"][1]["key"]] = {"ContentLength": 3, "ETag": '"e"'}
    assert statuses()["backups.newest_intact"] == "ok"


@pytest.mark.parametrize("name", ["", "a/b", ".", ".."])
def test_environment_that_cannot_be_a_key_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        store.prefix_of(STORAGE, name)


def test_line_of_progress() -> None:
    state = {"phase": "backup", "seconds": 4.0, "bytes_done": 400 * 10**6, "bytes_total": 1200 * 10**6}
    assert job.line(BACKUP, "h", state) == "PROGRESS backup h backup 400 MB of ~1.2 GB 33% 100 MB/s ETA 0:08"
    # An estimate that was too low is no reason to say 120%, or a negative time.
    late = job.line(BACKUP, "h", {**state, "bytes_done": 2400 * 10**6})
    assert "99%" in late
    assert "ETA 0:00" in late
    assert job.line(BACKUP, "h", {**state, "bytes_done": 0}) == "PROGRESS backup h backup 4 s"


def test_lines_come_at_most_every_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    lines: list[str] = []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(job.display, "display", lines.append)
    shown = job.Lines(BACKUP, "h")
    state = {"phase": "backup", "seconds": 1.0, "bytes_done": 0, "bytes_total": 0}
    for step in (0.5, 1.0, 1.0, 0.5, 1.4, 0.2):
        now[0] += step
        shown.show({**state, "seconds": now[0]})
    # Nothing before the first interval is over, and then one per interval.
    assert len(lines) == 2


def test_defaults_of_role_and_module_agree() -> None:
    text = (COLLECTION / "plugins/modules/recovery_point.py").read_text()
    for name, spec in options.SPEC.items():
        if "default" in spec and not isinstance(spec["default"], list):
            block = re.search(rf"^  {name}:\n(?:    .*\n|\n)*?    default: (.*)\n", text, re.MULTILINE)
            assert block, name
            assert block.group(1) == str(spec["default"])
