# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Statements on the database beside the project's, in a session of their own, while whoever watches sees us live."""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List

from .._postgres.server import run
from ..database import connected
from ..errors import MaintenanceError


def apart(database: Dict[str, Any], statements: List[str], seconds: float, tick: Callable[[], None]) -> None:
    """Runs statements in autocommit, one after the other.

    :param seconds: that each may take
    :raises DatabaseError: one failed; those before it stay
    """
    failed: List[MaintenanceError] = []

    def work() -> None:
        try:
            with connected(database, statement_timeout=int(seconds) + 1, pinned=True) as connection:
                for statement in statements:
                    run(connection, statement)
        except MaintenanceError as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="apart", daemon=True)
    thread.start()
    while thread.is_alive():
        tick()
        thread.join(0.2)
    if failed:
        raise failed[0]
