"""Runs all benchmarks."""

from __future__ import annotations

import sys

from . import backup

if __name__ == "__main__":
    sys.exit(backup.main())
