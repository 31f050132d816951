"""osv-scanner as a program: the one on the PATH, else built from its Go module once, in the shared cache."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import left_out

#: The newest that Go 1.26 builds.
VERSION = "v2.5.1"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradingflow-maintenance" / "osv-scanner"


def program() -> Path:
    found = shutil.which("osv-scanner")
    if found:
        return Path(found)
    place = CACHE / VERSION
    if not (place / "osv-scanner").is_file():
        # Where Go's own archive puts it is not on the PATH of every caller.
        go = shutil.which("go", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/local/go/bin")
        if not go:
            left_out("osv-scanner is not installed, and there is no Go to build it")
        partial = CACHE / f"{VERSION}.{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        module = f"github.com/google/osv-scanner/v2/cmd/osv-scanner@{VERSION}"
        done = subprocess.run(
            [go, "install", "-trimpath", "-ldflags", "-s -w", module],
            env={**os.environ, "GOBIN": str(partial), "CGO_ENABLED": "0", "GOFLAGS": ""},
            cwd=partial,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        if done.returncode:
            left_out(f"osv-scanner cannot be built: {done.stderr[-500:]}")
        try:
            partial.rename(place)
        except OSError:  # another worker was first
            shutil.rmtree(partial, ignore_errors=True)
    return place / "osv-scanner"
