"""Area database on a real PostgreSQL: its statements and sequences, and what stands in the way of reading them."""

from __future__ import annotations

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks import database
from ansible_collections.tradingflow.maintenance.plugins.module_utils.database import OURS

from tests.integration.test_checks_on_postgresql import Server, measure, server  # noqa: F401 - a fixture

SLEEP = "SELECT pg_sleep(0.02) AS slept, 'hush' AS secret"


def test_slow_statement_is_named_without_its_constants(server: Server) -> None:  # noqa: F811
    server("GRANT pg_monitor TO {role}", *[SLEEP] * 10)
    check = measure(database, server.address, slow_statements={"warning": 20})["database.slow_statements"]
    assert check.status == "warning"
    first = check.details["statements"][0]
    assert (first["calls"], first["text"]) == (10, "SELECT pg_sleep($1) AS slept, $2 AS secret")
    assert int(first["queryid"])
    # What the maintenance user itself runs is its own affair.
    connection = psycopg2.connect(
        **{"dbname" if key == "name" else key: value for key, value in server.address.items()}
    )
    with connection, connection.cursor() as cursor:
        for _ in range(10):
            cursor.execute("SELECT pg_sleep(0.03) AS mine")
    connection.close()
    check = measure(database, server.address)["database.slow_statements"]
    assert "mine" not in str(check.details)
    # Nor is what backups do by other roles.
    server("SELECT pg_stat_statements_reset()", *[f"SELECT {OURS} pg_sleep(0.03)"] * 10)
    server(*["SELECT pg_create_restore_point('x'), pg_sleep(0.03)"] * 10)
    check = measure(database, server.address)["database.slow_statements"]
    assert check.value == 0, check.details


@pytest.mark.parametrize(
    ("change", "because"),
    [
        ("DROP EXTENSION pg_stat_statements", "is not installed"),
        ("CREATE SCHEMA closed; ALTER EXTENSION pg_stat_statements SET SCHEMA closed", "its schema is closed"),
        ("REVOKE SELECT ON pg_stat_statements FROM PUBLIC", "permission denied"),
        ("REVOKE pg_monitor FROM {role}", "hidden from this role"),
        (
            "ALTER EXTENSION pg_stat_statements DROP VIEW pg_stat_statements; DROP VIEW pg_stat_statements;"
            " CREATE VIEW pg_stat_statements AS SELECT s.* FROM pg_stat_statements(true) s, pg_sleep(30);"
            " GRANT SELECT ON pg_stat_statements TO PUBLIC",
            "ran into the timeout",
        ),
    ],
)
def test_statements_that_cannot_be_read_are_unknown_and_the_others_go_on(
    server: Server,  # noqa: F811
    change: str,
    because: str,
) -> None:
    server("GRANT pg_monitor TO {role}")
    server(change)
    found = measure(database, server.address, timeout=1)
    check = found.pop("database.slow_statements")
    assert (check.status, bool(check.remedy)) == ("unknown", True)
    assert because in check.message
    if "REVOKE pg_monitor" not in change:
        assert {other.id: other.message for other in found.values() if other.status != "ok"} == {}


def test_extension_in_a_schema_of_its_own(server: Server) -> None:  # noqa: F811
    server(
        "GRANT pg_monitor TO {role}",
        'CREATE SCHEMA "o\'dd Ü"',
        'ALTER EXTENSION pg_stat_statements SET SCHEMA "o\'dd Ü"',
        'GRANT USAGE ON SCHEMA "o\'dd Ü" TO {role}',
    )
    assert measure(database, server.address)["database.slow_statements"].status == "ok"


def test_sequence_of_a_column_that_ends_before_it(server: Server) -> None:  # noqa: F811
    server(
        "CREATE TABLE t (id integer, tiny smallserial)",
        "CREATE SEQUENCE big OWNED BY t.id",
        "SELECT setval('big', 2000000000)",
        "CREATE SEQUENCE downwards INCREMENT -1 MINVALUE -100 MAXVALUE 0",
        "SELECT setval('downwards', -50)",
        "CREATE SEQUENCE round CYCLE MAXVALUE 10",
        "SELECT setval('round', 10)",
    )
    check = measure(database, server.address)["database.sequences"]
    assert (check.status, "3 sequences are hidden" in check.message) == ("unknown", True)
    assert "pg_read_all_data" in check.remedy
    server("GRANT SELECT, USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
    check = measure(database, server.address)["database.sequences"]
    assert (check.status, check.value) == ("critical", 93.1)
    assert check.details["used"] == {"public.big": 93.1, "public.downwards": 50.0, "public.t_tiny_seq": 0.0}
