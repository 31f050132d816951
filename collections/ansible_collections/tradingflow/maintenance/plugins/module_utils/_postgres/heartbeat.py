# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The newest heartbeat in a database."""

from __future__ import annotations

from typing import Any, Dict

from ..database import connected

try:
    import psycopg2
except ImportError:
    psycopg2 = None  # type: ignore[assignment]


def heartbeat(database: Dict[str, Any]) -> Any:
    """When the platform last gave a sign of life, None when it says nothing or is locked for more than 10 s.

    :raises DatabaseError: the database does not answer
    """
    with connected(database, statement_timeout=60) as connection, connection.cursor() as cursor:
        try:
            # It only says how much is lost: a restore does not stand still for it.
            cursor.execute("SET lock_timeout = '10s'")
            cursor.execute("SELECT pg_catalog.max(beat_at)::pg_catalog.timestamptz FROM maintenance.heartbeat")
            return cursor.fetchone()[0]
        except psycopg2.Error:
            if connection.closed:
                raise
            return None
