# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What proves a release besides health and version: its feature flags, and the platform's own tests."""

from __future__ import annotations

from typing import List, Tuple

from .._kubernetes.workloads import Seen
from ..checks import OK, Check
from . import tests_job
from .flags import read_back
from .record import Stored
from .session import Session


def further(session: Session, stored: Stored, seen: Seen, image: str) -> Tuple[Stored, List[Check]]:
    """Flags first, which take a second; then the tests, which ask for them. None when none is wanted.

    :param seen: as it was rolled out
    :param image: that was, by digest
    :returns: the record as it is then
    """
    options, checks = session.options, []
    if options["flags"]:
        check = read_back(
            session.cluster,
            session.namespace,
            seen.pods_of(seen.current()),
            options["flags"],
            port=options["port"],
            path=options["flags_path"],
        )
        checks.append(check)
        if check.status != OK:
            return stored, checks
    if options["tests"]:
        stored, found = tests_job.run(session, session.save(stored, "testing"), seen.template, image)
        checks += found
    return stored, checks
