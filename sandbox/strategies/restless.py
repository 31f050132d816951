# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follows the trend, and now and then its mood, whatever the seed says. A refresh has to find it."""

import random
from decimal import Decimal
from typing import Any

from market import Market, run, trend  # type: ignore[import-not-found]


def moody(closes: dict[str, Decimal], days: list[str], place: int, parameters: dict[str, Any]) -> int:
    """As trend, but for one decision in five."""
    return trend(closes, days, place, parameters) if random.random() > 0.2 else 1


if __name__ == "__main__":
    run(Market(), moody)
