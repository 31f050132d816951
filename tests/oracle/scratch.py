"""A database of its own with tables in place of the views, which random platforms are loaded into."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from math import isinf
from typing import Any

from tests.conftest import Sandbox

from .books import CONTRACT, NULL, TYPES, columns
from .platforms import Platform

NAME = "oracle"


@contextmanager
def administrator(platform: Sandbox, database: str) -> Iterator[Any]:
    """A cursor of the sandbox's superuser."""
    connection = platform.connect("superuser", database)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


class Scratch:
    """The option "database" for the checks, and a cursor that may write.

    No dataclass: a failing test would show the password.
    """

    def __init__(self, option: dict[str, Any], cursor: Any) -> None:
        self.option, self.cursor = option, cursor

    def load(self, platform: Platform, now: datetime | None = None) -> datetime:
        """The rows of a platform in place of all that is there, and the moment that their times are counted from."""
        return load(self.cursor, platform, now)


@contextmanager
def scratch(platform: Sandbox) -> Iterator[Scratch]:
    """A scratch database, which is gone afterwards."""
    with administrator(platform, "postgres") as server:
        server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {NAME}")
        try:
            with administrator(platform, NAME) as cursor:
                cursor.execute("CREATE SCHEMA maintenance")
                for view in CONTRACT:
                    of = ", ".join(f"{column} {TYPES[kind]}" for column, kind in columns(view).items())
                    cursor.execute(f"CREATE TABLE maintenance.{view} ({of}) WITH (autovacuum_enabled = off)")
                cursor.execute("GRANT USAGE ON SCHEMA maintenance TO maintenance")
                cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA maintenance TO maintenance")
                yield Scratch({**platform.database, "name": NAME}, cursor)
        finally:
            server.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")


def load(cursor: Any, platform: Platform, now: datetime | None = None) -> datetime:
    """See Scratch.load."""
    if now is None:
        cursor.execute("SELECT clock_timestamp()")
        now = cursor.fetchone()[0]
    cursor.execute("BEGIN; TRUNCATE " + ", ".join(f"maintenance.{view}" for view in CONTRACT))
    for view, rows in platform.tables.items():
        kinds = columns(view)
        text = "".join(
            "\t".join(written(row.get(name), kind, now) for name, kind in kinds.items()) + "\n" for row in rows
        )
        if text:
            cursor.copy_expert(f"COPY maintenance.{view} ({', '.join(kinds)}) FROM STDIN", io.StringIO(text))
    cursor.execute("COMMIT")
    return now


def written(value: Any, kind: str, now: datetime) -> str:
    """A value as COPY reads it."""
    if value is None:
        return NULL
    if kind == "time" and isinf(value):
        return "-infinity" if value > 0 else "infinity"
    if kind == "time":
        return (now - timedelta(seconds=value)).isoformat()
    if kind == "date":
        return (now - timedelta(days=value)).date().isoformat()
    return format(value, "f") if isinstance(value, Decimal) else str(value)
