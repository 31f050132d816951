"""A schema with indexes of every kind, and what has to be said of each. One database per test file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.tradingflow.maintenance.plugins.module_utils._checks.sql import reading
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning import catalogue, engine, usage
from ansible_collections.tradingflow.maintenance.plugins.module_utils._tuning.options import SPEC
from ansible_collections.tradingflow.maintenance.plugins.module_utils.checks import Check

from tests.conftest import Sandbox

NAME = "tuning"

SCHEMA = """
CREATE EXTENSION pgstattuple; CREATE EXTENSION pg_stat_statements;
CREATE SCHEMA "odd. schema";
CREATE TABLE accounts (id bigserial PRIMARY KEY, code text UNIQUE, email text, opened date, region text);
CREATE UNIQUE INDEX accounts_email ON accounts (email);
CREATE INDEX accounts_email_plain ON accounts (email);
CREATE UNIQUE INDEX accounts_email_nulls ON accounts (email) NULLS NOT DISTINCT;
CREATE INDEX accounts_opened ON accounts (opened);
CREATE INDEX accounts_region ON accounts (region) WITH (fillfactor = 90);
CREATE INDEX accounts_region_loose ON accounts (region) WITH (fillfactor = 50);
CREATE TABLE trades (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account bigint REFERENCES accounts, venue text, symbol text,
    side text, price numeric, quantity numeric, at timestamptz, note text, tags text[], doc jsonb, span tstzrange
);
CREATE INDEX trades_account ON trades (account);
CREATE INDEX trades_account_at ON trades (account, at);
CREATE INDEX trades_symbol ON trades (symbol);
CREATE INDEX trades_symbol_again ON trades (symbol);
CREATE INDEX trades_symbol_like ON trades (symbol text_pattern_ops);
CREATE INDEX trades_symbol_c ON trades (symbol COLLATE "C");
CREATE INDEX trades_symbol_down ON trades (symbol DESC);
CREATE INDEX trades_symbol_hash ON trades USING hash (symbol);
CREATE INDEX trades_buys ON trades (symbol) WHERE side = 'buy';
CREATE INDEX trades_buys_again ON trades (symbol) WHERE side = 'buy';
CREATE INDEX trades_sells ON trades (symbol) WHERE side = 'sell';
CREATE INDEX trades_note ON trades (lower(note));
CREATE INDEX trades_note_again ON trades (lower(note));
CREATE INDEX trades_note_upper ON trades (upper(note));
CREATE INDEX trades_at ON trades (at);
CREATE INDEX trades_at_price ON trades (at) INCLUDE (price);
CREATE INDEX trades_at_price_again ON trades (at) INCLUDE (price);
CREATE INDEX trades_venue ON trades (venue);
CREATE INDEX trades_venue_price ON trades (venue, price);
CREATE INDEX trades_venue_like ON trades (venue text_pattern_ops, quantity);
CREATE INDEX trades_tags ON trades USING gin (tags);
CREATE INDEX trades_doc ON trades USING gin (doc jsonb_path_ops);
CREATE INDEX trades_at_brin ON trades USING brin (at);
CREATE INDEX trades_price_brin ON trades USING brin (price);
CREATE INDEX trades_span ON trades USING gist (span);
CREATE INDEX trades_quantity ON trades (quantity);
CREATE INDEX trades_quantity_ccnew ON trades (quantity);
CREATE INDEX trades_side_bad ON trades (side);
CREATE TABLE bookings (id int PRIMARY KEY, during tstzrange, EXCLUDE USING gist (during WITH &&));
CREATE TABLE feed (key text NOT NULL, value text);
CREATE UNIQUE INDEX feed_key ON feed (key);
ALTER TABLE feed REPLICA IDENTITY USING INDEX feed_key;
CREATE TABLE legs (a int, b int, c int, FOREIGN KEY (a) REFERENCES bookings (id));
CREATE TABLE pairs (a int, b int, PRIMARY KEY (a, b));
CREATE TABLE uses (x int, y int, z int, FOREIGN KEY (x, y) REFERENCES pairs (a, b));
CREATE INDEX uses_pair ON uses (y, x, z);
CREATE INDEX uses_z ON uses (z, x);
CREATE TABLE partly (x int, y int, z int, FOREIGN KEY (x, y) REFERENCES pairs (a, b));
CREATE INDEX partly_y ON partly (y);
CREATE TABLE quotes (id int, at timestamptz);
CREATE INDEX quotes_at ON quotes (at);
ALTER TABLE quotes CLUSTER ON quotes_at;
CREATE TABLE events (id bigint, at date NOT NULL, kind text, other text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
CREATE INDEX events_kind ON events (kind);
CREATE INDEX events_other ON events (other);
CREATE TABLE "odd. schema"."T" ("Col umn" int);
CREATE INDEX "odd "" index" ON "odd. schema"."T" ("Col umn");
INSERT INTO accounts (code, email, opened, region)
    SELECT 'a' || n, 'e' || n, date '2020-01-01' + n % 1000, 'r' || n % 5 FROM generate_series(1, 2000) n;
INSERT INTO trades (account, venue, symbol, side, price, quantity, at, note, tags, doc)
    SELECT 1 + n % 2000, 'v' || n % 7, 's' || n % 500, CASE n % 2 WHEN 0 THEN 'buy' ELSE 'sell' END, (n * 7919) % 1000,
           n, timestamptz '2026-01-01' + n * interval '1 minute', 'note ' || n, ARRAY['t' || n % 9], '{"k": 1}'
    FROM generate_series(1, 30000) n;
INSERT INTO events SELECT n, date '2026-01-01' + n % 300, 'k' || n % 300, 'o' FROM generate_series(1, 3000) n;
UPDATE pg_index SET indisvalid = false
WHERE indexrelid IN ('trades_quantity_ccnew'::regclass, 'trades_side_bad'::regclass);
"""

#: Read once each: the planner cannot choose another, and what was read stays counted.
READ = """
BEGIN;
SET LOCAL enable_seqscan TO off;
DROP INDEX trades_symbol_again, trades_symbol_hash, trades_symbol_down, trades_symbol_c, trades_symbol_like;
SELECT count(*) FROM trades WHERE symbol = 's7';
SELECT count(*) FROM events_1 WHERE kind = 'k7';
ROLLBACK
"""

STAYS = "stays"
#: Unread index -> verdict after a whole business cycle; what is not here is read, invalid or attached.
UNUSED = {
    **dict.fromkeys(
        (
            *("accounts_code_key", "accounts_email", "accounts_email_nulls", "trades_pkey"),
            *("trades_account", "trades_account_at", "bookings_pkey", "bookings_during_excl", "feed_key", "pairs_pkey"),
            *("uses_pair", "partly_y", "events_pkey"),
        ),
        STAYS,
    ),
    **dict.fromkeys(
        (
            *("accounts_email_plain", "accounts_opened", "accounts_region", "accounts_region_loose"),
            *(
                "trades_symbol_again",
                "trades_symbol_like",
                "trades_symbol_c",
                "trades_symbol_down",
                "trades_symbol_hash",
                "trades_buys",
            ),
            *("trades_buys_again", "trades_sells", "trades_at", "trades_at_price", "trades_at_price_again"),
            *("trades_venue", "trades_venue_price", "trades_venue_like", "trades_tags", "trades_doc", "trades_at_brin"),
            *("trades_price_brin", "trades_span", "trades_quantity", "uses_z", 'odd. schema.odd " index'),
        ),
        "safe",
    ),
    **dict.fromkeys(("trades_note", "trades_note_again", "trades_note_upper", "quotes_at", "events_other"), "review"),
}
#: Superfluous index -> (verdict, the one that is kept).
DUPLICATES = {
    "accounts_email_plain": ("safe", "accounts_email"),
    "accounts_region_loose": ("review", "accounts_region"),
    "trades_symbol_again": ("safe", "trades_symbol"),
    "trades_buys_again": ("safe", "trades_buys"),
    "trades_note_again": ("safe", "trades_note"),
    "trades_at_price_again": ("safe", "trades_at_price"),
    "trades_account": ("review", "trades_account_at"),
    "trades_venue": ("review", "trades_venue_price"),
}
INVALID = {"trades_quantity_ccnew": "safe", "trades_side_bad": "review"}


class Tuned:
    """The database of the seeded schema."""

    def __init__(self, platform: Sandbox) -> None:
        self.platform = platform
        self.address = {**platform.database, "name": NAME}

    def connect(self) -> Any:
        """As the superuser, in autocommit."""
        connection = self.platform.connect("superuser", NAME)
        connection.autocommit = True
        return connection

    def __call__(self, *statements: str) -> list[Any]:
        """The rows of the last statement."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def options(self, **more: Any) -> dict[str, Any]:
        """Options as the module gets them."""
        found = ArgumentSpecValidator(SPEC).validate({"database": self.address, "least_bytes": 100_000, **more})
        assert not found.error_messages
        options: dict[str, Any] = found.validated_parameters
        return options

    def analyse(self, before: dict[str, Any] | None = None, **more: Any) -> dict[str, Check]:
        """Checks by id."""
        found = engine.analyse(self.options(**more), lambda id: (before or {}).get(id, {})).checks
        assert len({check.id for check in found}) == len(found)
        return {check.id: check for check in found}

    def read(self) -> tuple[list[catalogue.Index], usage.Uses]:
        """What is read of indexes, without any judgement."""
        with reading(self.address, 60) as cursor:
            found = catalogue.indexes(cursor, psycopg2.errors.LockNotAvailable)
            return found, usage.uses(cursor, self.address, [], 60)


def aged(uses: usage.Uses, days: float) -> usage.Uses:
    """The same counts, begun so many days ago."""
    then = time.time() - days * usage.DAY
    return usage.Uses([replace(use, reset=then, begun=then) for use in uses.servers], uses.problem)


@pytest.fixture(scope="module")
def tuned(platform: Sandbox) -> Iterator[Tuned]:
    drop = f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"
    for statement in (drop, f"CREATE DATABASE {NAME}"):
        platform.sql("superuser", statement, "postgres")
    made = Tuned(platform)
    made(SCHEMA)
    # Apart: a transaction's own rows would count as changed since.
    made("VACUUM ANALYZE", READ)
    yield made
    platform.sql("superuser", drop, "postgres")
