# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a recovery aims at: the end of the log, a time, a place in the log, or a named point."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Dict, List, Optional

from .._postgres.replay import number
from ..errors import ConfigurationError
from .loss import iso

#: A backup's end is known to the second only.
_SECOND = timedelta(seconds=1)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d(:?\d\d)?)")


@dataclass
class Target:
    """The aim.

    :param type: latest, time, lsn or name
    :param at: of a time, in UTC
    """

    type: str
    value: str
    at: Optional[datetime] = None

    @property
    def words(self) -> str:
        """For people."""
        if self.type == "latest":
            return "the end of the archived log"
        if self.at:
            return iso(self.at)
        return f"{'the point ' if self.type == 'name' else ''}{self.value}"

    def arguments(self) -> List[str]:
        """pgBackRest's options."""
        if self.type == "latest":
            return ["--type=default"]
        value = self.at.strftime("%Y-%m-%d %H:%M:%S.%f+00") if self.at else self.value
        return [f"--type={self.type}", f"--target={value}", "--target-action=promote"]

    def fits(self, backup: Any, point: Dict[str, Any]) -> bool:
        """Whether a recovery from a backup can get there.

        :param backup: of pgBackRest, see _pgbackrest/info.py
        """
        if self.at:
            return bool(backup.stopped_at + _SECOND <= self.at)
        if self.type == "lsn":
            return number(backup.lsn_stop) <= number(self.value)
        if self.type == "name" and self.value.startswith("tradingflow_"):
            return bool(point["engine"]["restore_point"] == self.value)
        return True


def target_of(options: Dict[str, Any]) -> Target:
    """The aim that the options ask for. Whether it is in the future, the server's clock says: see source.check_now.

    :raises ConfigurationError: it makes no sense
    """
    kind, value = options["target_type"], str(options.get("target") or "").strip()
    if kind == "latest":
        if value:
            raise ConfigurationError(
                "restore_target_type is latest, and restore_target says where to stop.",
                "Set restore_target_type to time, lsn or name, or leave restore_target empty.",
            )
        return Target(kind, "")
    if not value:
        raise ConfigurationError(f"No target {kind} is set.", "Set restore_target, or restore_target_type: latest.")
    if kind == "time":
        return _time(value)
    if kind == "lsn" and not re.fullmatch(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}", value):
        raise ConfigurationError(f"{value!r} is not a place in the write-ahead log.", "Write it like 0/3000148.")
    if len(value) > 63 or not value.isprintable():
        raise ConfigurationError(
            f"{value!r} cannot be a point's name.", "Write it as pg_create_restore_point was told."
        )
    return Target(kind, value)


def _time(value: str) -> Target:
    if not _TIME.fullmatch(value):
        raise ConfigurationError(
            f"{value!r} is not a time with a zone.",
            "Write it with its zone: 2026-11-24T18:30:00Z, or 2026-11-24 19:30:00+01:00.",
        )
    text = re.sub(r"([+-]\d\d)$", r"\1:00", value.replace("Z", "+00:00").replace(" ", "T", 1))
    text = re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text)
    fraction = re.search(r"\.(\d+)", text)
    if fraction:
        text = text.replace(fraction[0], f".{fraction[1]:0<6}")
    try:
        at = datetime.fromisoformat(text).astimezone(timezone.utc)
    except ValueError as error:
        raise ConfigurationError(f"{value!r} is not a time: {error}.", "Correct restore_target.") from None
    return Target("time", value, at)
