"""Makes the environment .venv of what a lock names: ``python3 requirements/install.py sandbox`` (or dev). For make.

Of several that begin at once, one does it and the others wait. uv does not read pip's configuration: the index, the CA
and the like that pip.conf names are handed on. Runs before anything is installed, on Python 3.11 and newer.
"""

from __future__ import annotations

import ast
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

UV = "uv==0.13.9"

#: pip's options and what uv calls them.
OPTIONS = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "proxy": "ALL_PROXY",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}


def of_pip(listed: str) -> dict[str, str]:
    """Variables of uv for what ``pip config list`` says: what is for all commands, for install, and from variables.

    :raises SystemExit: it says something that is not understood
    """
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listed.splitlines():
            name, equals, value = line.partition("=")
            place, _, option = name.rpartition(".")
            if not equals or place != section or option not in OPTIONS:
                continue
            try:
                text = str(ast.literal_eval(value))
            except (SyntaxError, ValueError):
                sys.exit(f"pip's option {option} is not understood: look at it with pip config list.")
            if option == "find-links":
                text = ",".join(text.split())
            if option == "no-index" and text.lower() in ("0", "false", "no", "off"):
                continue
            found[OPTIONS[option]] = " ".join(text.split())
    return found


def cache_of(environment: dict[str, str]) -> str | None:
    """A folder for uv's cache where the usual one cannot be written, as without a home; None where it can."""
    if environment.get("UV_CACHE_DIR"):
        return None
    home = environment.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    try:
        os.makedirs(os.path.join(home, "uv"), exist_ok=True)
        with tempfile.TemporaryFile(dir=os.path.join(home, "uv")):
            return None
    except OSError:
        return os.path.abspath(".cache/uv")


@contextmanager
def alone() -> Iterator[None]:
    """Only one at a time; the others wait."""
    with open(".venv.lock", "w", encoding="ascii") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another make that installs here", flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def is_made(stamp: Path, source: Path) -> bool:
    return stamp.exists() and stamp.stat().st_mtime >= source.stat().st_mtime


def make(name: str, run: Callable[..., object] = subprocess.run) -> None:
    """Makes the environment, or brings it up to the lock."""
    python, began, stamp = Path(".venv/bin/python"), Path(".venv/uv.stamp"), Path(f".venv/{name}.stamp")
    source = Path(f"requirements/{name}.lock")
    with alone():
        if is_made(stamp, source):
            stamp.touch()
            return
        environment = dict(os.environ)
        if not began.exists():
            shutil.rmtree(".venv", ignore_errors=True)
            run([sys.executable, "-m", "venv", ".venv"], check=True)
            run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV], check=True)
            began.touch()
        print(f"Installing what {source} names (once, about a minute)", flush=True)
        listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True)
        environment = {**of_pip(listed.stdout), **environment}
        cache = cache_of(environment)
        if cache:
            environment["UV_CACHE_DIR"] = cache
        command = [
            python,
            "-m",
            "uv",
            "pip",
            "install",
            "--quiet",
            "--python",
            python,
            "--require-hashes",
            "-r",
            source,
        ]
        run(command, check=True, env=environment)
        stamp.touch()


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 -- whatever make finds
        sys.exit("Python 3.11 or newer is needed (PYTHON=...)")
    try:
        make(sys.argv[1])
    except subprocess.CalledProcessError as failure:
        sys.exit(failure.returncode)
