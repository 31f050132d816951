# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Quantities of resources as Kubernetes writes them: 100m, 64Mi, 1e3."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ..errors import ClusterError
from ..words import printable

_QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]{1,3})|([numkMGTPE]|[KMGTPE]i)?)")
_FACTORS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}


def quantity(text: Any) -> Decimal:
    """A quantity as a number, exactly.

    :raises ClusterError: it is none
    """
    found = _QUANTITY.fullmatch(str(text).strip())
    if not found:
        raise ClusterError(f"{printable(text, 60)} is no quantity of a resource", "Correct it.")
    number, exponent, suffix = found.groups()
    return Decimal(f"{number}{exponent}") if exponent else Decimal(number) * _FACTORS[suffix or ""]
