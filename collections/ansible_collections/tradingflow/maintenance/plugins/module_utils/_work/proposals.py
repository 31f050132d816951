# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proposals: files named by their content, handed to whoever decides. Nothing here is applied."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Tuple


def written(directory: str, name: str, content: bytes, ending: str = "patch") -> Tuple[str, bool]:
    """Puts a proposal into a file of its own; its path, and whether it is new.

    :raises OSError: it cannot be written
    """
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    plain = "".join(char if char.isalnum() else "-" for char in name)
    path = place / f"{plain}-{hashlib.sha256(content).hexdigest()[:16]}.{ending}"
    if path.exists() and path.read_bytes() == content:
        return str(path), False
    handle, part = tempfile.mkstemp(dir=place, prefix=".proposal-")
    with os.fdopen(handle, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    os.replace(part, path)
    return str(path), True
