"""Where tests keep what is made of thousands of files and thrown away."""

from __future__ import annotations

import os
from pathlib import Path

#: Bytes that must be free in memory: each worker may have a sandbox there, which takes up to half a gigabyte.
_ROOM = 6 << 30
_MEMORY = Path("/dev/shm")


def quick() -> str:
    """A folder for private folders: in memory where there is room, else on disk.

    A cluster has a thousand files. To make them anew for each restore, after those before were deleted, is what a
    disk spends a third of such tests on, and pgBackRest writes each through to the disk.
    """
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return "/var/tmp"
    return str(_MEMORY) if found.f_bavail * found.f_frsize >= _ROOM and os.access(_MEMORY, os.W_OK) else "/var/tmp"
