"""The operator's SQL: what is understood, what is refused, and that the declared change has one form."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.book import state_of
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.findings import broken_off
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.options import CHANGE_SPEC, checked
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.session import rechecks_tid
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.statements import prepared
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import ConfigurationError

from tests.conftest import COLLECTION, ROOT

SCHEMA = json.loads((COLLECTION / "schemas/data-update-1.json").read_text(encoding="utf-8"))


def read(predicate: str = "true", **more: Any) -> dict[str, Any]:
    return prepared({"predicate": predicate, "set": {"a": "1"}, "check": None, "invariants": [], **more})


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a > 1 -- and no more", "a > 1"),
        ("a LIKE '100%' /* x */ AND \"Order\" = E'it\\'s'", "a LIKE '100%' AND \"Order\" = 'it''s'"),
        ("(a OR b) AND NOT c", "(a OR b) AND NOT c"),
        ("a - (b - c) > -1", "a - (b - c) > -1"),
        ("CASE WHEN a THEN b ELSE NULL END IS DISTINCT FROM c", None),
        ("x ->> 'k' = ANY(ARRAY['v']) AND a IN (1, 2) AND b BETWEEN 1 AND 2", None),
        ("d AT TIME ZONE 'UTC' > '2026-01-01'::timestamp", None),
        ("trim(both ' ' from a) COLLATE \"C\" < substring(b from 1 for 2)", None),
        ("extract(epoch from d) > 0 AND position('x' in a) = 0", None),
        ("(r).f = 1 AND a[1] = 2", None),
    ],
)
def test_an_expression_is_written_as_it_was_read(text: str, written: str | None) -> None:
    found = read(text)["predicate"]
    assert written is None or found == written
    # It means the same, as read once more.
    assert read(found)["predicate"] == found


def test_the_time_of_day_is_pinned() -> None:
    found = read(
        "a < CURRENT_TIMESTAMP AND b < now() AND e < transaction_timestamp() AND c < current_date"
        " AND d < localtimestamp",
        invariants=[{"name": "i", "sql": "SELECT count(*) FROM t WHERE a < now()", "equals": "True"}],
    )
    moment = '"$tradingflow moment timestamptz"'
    assert found["predicate"].count(moment) == 3
    assert '"$tradingflow moment date"' in found["predicate"]
    assert '"$tradingflow moment timestamp"' in found["predicate"]
    assert moment in found["invariants"]["i"]
    assert found["functions"] == [["", "count"]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a; DROP TABLE t",
        "a) FROM x WHERE (b",
        "a), (b",
        "a) AS b, (c",
        "a) ORDER BY (b",
        "a) LIMIT (1",
        "a) FOR UPDATE --",
        "a UNION SELECT b",
        "(SELECT 1)",
        "EXISTS (SELECT FROM t)",
        "a IN (SELECT 1)",
        "$1",
        "DEFAULT",
        "*",
        "(t).*",
        "row(t.*)",
        "count(*) > 1",
        "sum(a) OVER () > 1",
        "row_number() OVER w",
        "xmin = '1'",
        "t.ctid IS NULL",
        "nextval('s') > 1",
        "pg_catalog.setval('s', 1) > 1",
        "set_config('a', 'b', false) = 'b'",
        "dblink('x', 'y')",
        "public.dblink_exec('x', 'y')",
        "pg_terminate_backend(1)",
        "pg_advisory_lock(1)",
        "query_to_xml('DELETE FROM t', true, true, '')",
        "lo_export(1, 'x')",
        "a < 'now'",
        "a < ' Yesterday '::date",
        "a < CURRENT_TIME",
        'a < "$tradingflow moment date"',
        "a = '$tradingflow moment date'",
    ],
)
def test_no_expression_of_a_row(text: str) -> None:
    for more in ({"predicate": text}, {"set": {"a": text}}, {"check": text or "("}):
        with pytest.raises(ConfigurationError, match="The change's"):
            read(**more)


@pytest.mark.parametrize(
    "text",
    [
        "UPDATE t SET a = 1",
        "WITH x AS (DELETE FROM t RETURNING 1) SELECT count(*) FROM x",
        "SELECT 1 INTO x",
        "SELECT 1 FROM t FOR UPDATE",
        "SELECT 1; SELECT 2",
        "SELECT nextval('s')",
        "DO $$ BEGIN END $$",
        "COPY t TO PROGRAM 'x'",
        "TABLE t; --",
    ],
)
def test_no_query_that_only_reads(text: str) -> None:
    if text.startswith("TABLE"):
        read(invariants=[{"name": "i", "sql": text, "equals": None}])
        return
    with pytest.raises(ConfigurationError, match="The change's invariant i"):
        read(invariants=[{"name": "i", "sql": text, "equals": None}])


def test_values_that_yaml_has_a_type_for() -> None:
    found = read(set={"a": None, "b": True, "c": 1.5, "d": -1, "e": "null"})["set"]
    assert found == {"a": "NULL", "b": "TRUE", "c": "1.5", "d": "-1", "e": "NULL"}


def test_a_column_of_postgresqls_own_is_not_set() -> None:
    with pytest.raises(ConfigurationError, match="sets ctid"):
        read(set={"ctid": "1"})


def properties(spec: dict[str, Any]) -> dict[str, Any]:
    """A spec of Ansible's as names, what is required, and defaults."""
    found: dict[str, Any] = {}
    for name, option in spec.items():
        inner = properties(option["options"]) if option.get("options") else None
        found[name] = (bool(option.get("required")), option.get("default"), inner)
    return found


def of_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The same of a JSON schema."""
    found: dict[str, Any] = {}
    for name, entry in schema["properties"].items():
        inner = entry.get("items", entry)
        nested = of_schema(inner) if "properties" in inner else None
        found[name] = (name in schema.get("required", []), entry.get("default"), nested)
    return found


def test_the_schema_is_what_the_module_accepts() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert of_schema(SCHEMA) == properties(CHANGE_SPEC)


def test_the_sandboxs_change_is_one() -> None:
    (file,) = (ROOT / "sandbox/data_updates").glob("*.yml")
    change = yaml.safe_load(file.read_text(encoding="utf-8"))
    jsonschema.validate(change, SCHEMA)
    change["invariants"] = [{"equals": None, **each} for each in change["invariants"]]
    assert "$tradingflow moment" in prepared(change)["predicate"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "With Space"}, "no id"),
        ({"reason": " "}, "no reason"),
        ({"set": {}}, "sets no column"),
        ({"expected": {"min": 2, "max": 1}}, "no sense"),
        ({"batch_rows": 0}, "batch_rows is 0"),
        ({"throttle": {"wal_rate": -1}}, "wal_rate is -1"),
        ({"throttle": {"patience": float("nan")}}, "patience is nan"),
        ({"invariants": [{"name": "i"}, {"name": "i"}]}, "same name"),
    ],
)
def test_what_no_type_can_tell(change: dict[str, Any], message: str) -> None:
    whole: dict[str, Any] = {"id": "a", "reason": "r", "set": {"a": "1"}, "expected": {"min": 0, "max": 1}}
    whole.update(batch_rows=1, sample_rows=0, throttle={"wal_rate": 0, "autovacuum": True}, invariants=[])
    options = {"lock_timeout": 1.0, "statement_timeout": 1.0, "attempts": 1, "purge_days": 0}
    checked({**options, "change": whole})
    with pytest.raises(ConfigurationError, match=message):
        checked({**options, "change": {**whole, **change}})
    for name, wrong in (
        ("purge_days", -1),
        ("attempts", 0),
        ("lock_timeout", 0.0),
        ("statement_timeout", float("inf")),
    ):
        with pytest.raises(ConfigurationError, match=f"data_update_{name} is"):
            checked({**options, name: wrong, "change": whole})


@pytest.mark.parametrize(
    ("version", "rechecks"),
    [
        (120022, False),
        (130022, False),
        (130023, True),
        (140019, False),
        (150014, False),
        (150018, True),
        (160011, True),
        (170006, False),
        (180000, False),
        (180001, True),
        (190000, True),
    ],
)
def test_which_server_looks_again_at_a_row_that_it_waited_for(version: int, rechecks: bool) -> None:
    assert rechecks_tid(version) is rechecks


def test_what_could_not_be_read_is_not_nothing() -> None:
    assert state_of(None, False, False) == "Nothing was changed."
    for changed in (False, True):
        assert "could not be read" in state_of(None, changed, True)
    assert "could not be read" in state_of(None, True, False)


def test_a_run_that_gave_no_result_has_an_end_in_the_ledger() -> None:
    found = broken_off("The table is another.", "DataUpdateError")
    assert (found["state"], found["worst_status"]) == ("ended", "critical")
    assert (found["changed"], found["purged"], found["problem"]) == (None, None, "The table is another.")
    assert broken_off("m", "DatabaseError")["worst_status"] == "unknown"
