# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A scanner as a program: which one it is, how it is run, and osv-scanner with its database and canaries."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, TypeVar

from .._work.asked import asked
from .._work.programs import child_setup, last_words
from ..errors import DependencyError
from ..words import printable
from . import database
from .answers import Answer, osv_scanner

#: What of the environment a scanner gets, so that it finds its service.
_PASSED = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")
_Result = TypeVar("_Result")


def identity(wanted: str, name: str) -> Dict[str, Any]:
    """The scanner that would be run: name, program, digest, version.

    :param wanted: its program, with or without a path
    :param name: which scanner it is
    :raises DependencyError: it is not there, or does not say its version
    """
    found = shutil.which(wanted)
    if not found:
        raise DependencyError(
            f"The scanner {wanted} is not there.", "Install it, or name its program in patching_dependencies_program."
        )
    path = os.path.realpath(found)
    try:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise DependencyError(f"The scanner {path} cannot be read: {error.strerror}.", "Check its rights.") from None
    status, said, messages = run([path, "--version"], 60, None)
    if status or not said.strip():
        raise DependencyError(f"{path} --version fails: {last_words(messages)}", "Install the scanner anew.")
    version = printable(said.splitlines()[0].strip())
    return {"name": name, "program": path, "sha256": digest, "version": version}


def run(arguments: List[str], timeout: int, folder: Optional[Path], **more: str) -> Tuple[int, str, bytes]:
    """Exit status, output and messages of a program.

    :raises DependencyError: it did not run, or not to its end
    """
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
    environment.update(PATH=os.environ.get("PATH", ""), LC_ALL="C.UTF-8", HOME=str(folder or "/nonexistent"), **more)
    name = os.path.basename(arguments[0])
    try:
        done = asked(arguments, environment, timeout, cwd=folder, preexec_fn=child_setup(0))
    except TimeoutError:
        raise DependencyError(
            f"{name} did not end within {timeout} s.", "Raise patching_dependencies_timeout."
        ) from None
    except OSError as error:
        raise DependencyError(f"{name} did not run: {error}.", "Install the scanner anew.") from None
    return done.status, done.text, done.messages


def osv(options: Dict[str, Any], program: str, files: Dict[str, Tuple[str, str]], scratch: Path) -> Answer:
    """osv-scanner, offline.

    :param files: path of a lock file -> its format as the scanner names it, and the key of its source
    :param scratch: an empty private folder
    :raises DependencyError: there is no answer that could be believed
    """
    if not options["database"]:
        raise DependencyError(
            "osv-scanner has no database.", "Set patching_dependencies_database to the folder that has PyPI/all.zip."
        )
    place = scratch / "database"
    place.mkdir()
    for name in ("osv-scalibr", "osv-scanner"):  # where version 2.3 and newer look, and where older ones do
        (place / name).symlink_to(os.path.abspath(options["database"]))
    arguments = [program, "scan", "source", "--offline", "--no-resolve", "--all-packages", "--all-vulns"]
    arguments += ["--format=json", f"--local-db-path={place}"]
    arguments += [f"--lockfile={format}:{path}" for path, (format, _key) in files.items()]
    status, said, messages = run(arguments, options["timeout"], scratch)
    ended("osv-scanner", status, said, messages)
    return osv_scanner(said, {path: key for path, (_format, key) in files.items()})


def ended(name: str, status: int, said: str, messages: bytes) -> None:
    """With the canary among what is scanned, a scanner must end with 1: found something. Some fail with that, too."""
    if status == 0:
        raise DependencyError(
            f"{name} says that it found nothing, also not in the canary.",
            "Seed its database anew, or check its service.",
        )
    if status != 1 or not said.strip():
        text = f"{name} failed with exit status {status}: {last_words(messages)}"
        raise DependencyError(text, "Read the message; nothing is known until it runs.")


def watched(
    options: Dict[str, Any],
    ecosystems: List[str],
    databases: Dict[str, Dict[str, Any]],
    now: datetime,
    scan: Callable[[], _Result],
) -> _Result:
    """What a scan returns, with the databases looked at before and after.

    :param databases: ecosystem -> state of its database, filled in here; what an earlier scan found is kept in mind
    """
    before = {name: database.state(database.archive(options["database"], name)) for name in ecosystems}
    try:
        return scan()
    finally:
        for name, state in before.items():
            after = None
            with suppress(OSError):
                after = database.identity(database.archive(options["database"], name))
            state["problem"] = database.problem(state, after, options["database_age"], now)
            earlier = databases.get(name)
            if earlier and (earlier["problem"] or earlier["sha256"] != state["sha256"]):
                state["problem"] = earlier["problem"] or "it was changed between two scans"
            databases[name] = state


def canaries_of(ecosystem: str, canaries: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Those of one ecosystem; of a release such as Debian:12 also those that are for all releases."""
    return [each for each in canaries if each["ecosystem"] in (ecosystem, ecosystem.partition(":")[0])]


def canary(ecosystem: str, canaries: List[Dict[str, Any]], answer: Answer) -> Dict[str, Any]:
    """Whether each canary of an ecosystem was found by the advisory that names it."""
    wanted = canaries_of(ecosystem, canaries)
    found = answer.found.get(f"canary:{ecosystem}", [])
    missed = [
        f"{each['name']} {each['version']} ({each['advisory']})"
        for each in wanted
        if not any(
            (one.package, one.version) == (each["name"], each["version"]) and each["advisory"] in one.names
            for one in found
        )
    ]
    return {"declared": len(wanted), "missed": missed}
