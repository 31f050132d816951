"""What the tests of data updates share: a database of their own, tables, and the module's options."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update import engine
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.findings import findings
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.options import CHANGE_SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils._data_update.statements import prepared
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.progress import Progress
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import quoted

from tests.conftest import Sandbox

POINT = {"id": "20261129T170152Z-8b9bdd", "key": "k", "sha256": "0" * 64, "created_at": "2026-11-29T17:01:52Z"}
#: The manual's example, on a table of a hundred users of whom every second has not logged in for long.
LAST_LOGIN = {
    "id": "last-login",
    "reason": "as the manual has it",
    "table": "users",
    "predicate": "last_login < CURRENT_TIMESTAMP - INTERVAL '90 days'",
    "set": {"last_login": "CURRENT_TIMESTAMP"},
    "expected": {"min": 40, "max": 60},
    "check": "last_login = CURRENT_TIMESTAMP",
    "invariants": [{"name": "users", "sql": "SELECT count(*) FROM users"}],
    "batch_rows": 10,
}
USERS = """CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, last_login timestamptz, note text);
INSERT INTO users SELECT i, 'u' || i, now() - make_interval(days => CASE WHEN i % 2 = 0 THEN 100 ELSE 1 END), 'n'
FROM generate_series(1, 100) i"""


def with_defaults(spec: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What Ansible makes of options."""
    assert given.keys() <= spec.keys()
    result: dict[str, Any] = {}
    for name, option in spec.items():
        value = given.get(name, option.get("default"))
        if option.get("options") and option["type"] == "dict":
            value = with_defaults(option["options"], value or {})
        elif option.get("options"):
            value = [with_defaults(option["options"], each) for each in value]
        result[name] = value
    return result


class Place:
    """A database of the test's own, that the platform's owner owns."""

    def __init__(self, platform: Sandbox) -> None:
        postgres = platform.state["postgres"]
        self.name = f'changed "é" {secrets.token_hex(3)}'
        self.owner = postgres["owner"]
        self.database = {
            **platform.database,
            "name": self.name,
            "user": postgres["owner"],
            "password": postgres["owner_password"],
        }

    def options(self, change: dict[str, Any], **others: Any) -> dict[str, Any]:
        """The module's options, with the change's SQL as the controller reads it."""
        whole = with_defaults(CHANGE_SPEC, change)
        return {
            "storage": {},
            "environment_name": "local",
            "database": self.database,
            "role": None,
            "change": whole,
            "prepared": json.loads(json.dumps(prepared(whole))),
            "action": "run",
            "expected_digest": None,
            "purge_before": None,
            "purge_days": 30,
            "recovery_point_age": 3600,
            "lock_timeout": 0.3,
            "statement_timeout": 120.0,
            "attempts": 3,
            "retry_pause": 0.05,
            **others,
        }

    @contextmanager
    def session(self) -> Iterator[Any]:
        """A cursor in a transaction of its own, rolled back at the end."""
        database = self.database
        connection = psycopg2.connect(
            host=database["host"],
            port=database["port"],
            dbname=self.name,
            user=database["user"],
            password=database["password"],
            application_name="somebody",
        )
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def sql(self, statement: str, arguments: Any = None) -> list[Any]:
        """Carries a statement out, and gives its rows."""
        with self.session() as cursor:
            cursor.execute(statement, arguments)
            rows = cursor.fetchall() if cursor.description else []
            cursor.connection.commit()
            return list(rows)

    def run(self, change: dict[str, Any], **others: Any) -> tuple[dict[str, Check], dict[str, Any]]:
        """Carries a change out: its checks by id, and the result."""
        result = engine.run(self.options(change, **others), Progress())
        json.dumps(result)
        checks, _actions, _summary = findings(result, "2026-11-29T17:00:00Z")
        return {check.id: check for check in checks}, result

    def refused(self, change: dict[str, Any], **others: Any) -> dict[str, str]:
        """Names of what the plan refuses, with the words."""
        plan = engine.plan(self.options(change, **others))
        return {each["name"]: each["message"] for each in plan["refusals"]}


@pytest.fixture
def place(platform: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """An empty database; a recovery point is taken for granted."""
    made = Place(platform)
    monkeypatch.setattr(engine, "recent", lambda options, database, kind: dict(POINT))
    admin = platform.connect("superuser", "postgres")
    admin.autocommit = True
    try:
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {quoted(made.name)} OWNER {quoted(made.owner)}")
            try:
                yield made
            finally:
                cursor.execute(f"DROP DATABASE {quoted(made.name)} WITH (FORCE)")
    finally:
        admin.close()
