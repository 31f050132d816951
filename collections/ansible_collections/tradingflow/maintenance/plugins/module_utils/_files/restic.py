# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restic: content-addressed, encrypted storage of the application's files. What it says counts, not only its status."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Type
from urllib.parse import quote

from .._storage.read import head
from ..errors import BackupError, ConfigurationError, LockedError, MaintenanceError, StorageError
from ..storage import describe, storage_errors
from .restic_process import Running

try:
    import boto3
except ImportError:
    boto3 = None  # type: ignore[assignment]

#: Older ones write repositories that cannot be compressed.
OLDEST = (0, 14)
#: Credentials that expire, and that restic can renew by itself.
_RENEWED = ("iam-role", "container-role", "assume-role-with-web-identity")


def find() -> str:
    """Path of restic.

    :raises ConfigurationError: it is not there
    """
    path = shutil.which("restic", path=os.environ.get("PATH", "") + ":/usr/local/bin:/usr/bin")
    if path is None:
        raise ConfigurationError(
            "restic was not found in the PATH, and the application's files are stored by it.",
            "Install restic 0.14 or newer (Debian and Ubuntu: apt-get install restic), or set backup_files_engine to"
            " archive for new backups.",
        )
    return path


def need(password: Optional[str]) -> str:
    """Path of restic.

    :raises ConfigurationError: it, or the password, is missing
    """
    if not password:
        raise ConfigurationError(
            "The application's files are stored by restic, and there is no password for them.",
            "Set backup_files_password (tradingflow_files_password), from Ansible Vault.",
        )
    return find()


class Restic:
    """restic on one repository in the store.

    :param prefix: key prefix of the repository, without a slash at its end
    :param scratch: folder of ours for its cache and what waits to be uploaded
    :param tick: called often; may raise to end what is under way
    :raises ConfigurationError: it is not there, too old, or there is no password
    """

    def __init__(
        self,
        s3: Any,
        storage: Dict[str, Any],
        prefix: str,
        password: Optional[str],
        scratch: Path,
        *,
        tick: Callable[[], None] = lambda: None,
        nice: int = 0,
        bandwidth_limit: int = 0,
    ) -> None:
        self.s3 = s3
        self.storage = storage
        self.prefix = prefix
        self.program = need(password)
        self.tick = tick
        self._password = password or ""
        self._scratch = scratch
        self._nice = nice
        self._limit = ["--limit-upload", str(max(1, bandwidth_limit // 1024))] if bandwidth_limit else []
        self.version = self._version()

    def _version(self) -> str:
        try:
            text = subprocess.run(
                [self.program, "version"], capture_output=True, text=True, timeout=30, check=True, env=_plain()
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise ConfigurationError(f"{self.program} does not run: {error}", "Reinstall restic.") from None
        found = re.match(r"restic (\d+)\.(\d+)(\.\d+)?", text)
        if not found or (int(found[1]), int(found[2])) < OLDEST:
            raise ConfigurationError(f"{text.strip()!r} is too old.", "Install restic 0.14 or newer.")
        return "".join([found[1], ".", found[2], found[3] or ""])

    def environment(self) -> Dict[str, str]:
        """Of restic: the secrets are here and nowhere else."""
        return {
            **_plain(),
            "RESTIC_PASSWORD": self._password,
            "RESTIC_CACHE_DIR": str(self._scratch / "restic-cache"),
            "TMPDIR": str(self._scratch),
            "RESTIC_PROGRESS_FPS": "2",
            **_credentials(self.storage),
        }

    def command(self, *arguments: str, repository: Optional[str] = None) -> List[str]:
        """The command line; there is no secret on it."""
        storage, options = self.storage, ["-r", repository or url(self.storage, self.prefix)]
        if repository is None:
            options += ["-o", f"s3.bucket-lookup={_LOOKUP[storage.get('addressing_style') or 'auto']}"]
            options += ["-o", f"s3.region={storage['region']}"] if storage.get("region") else []
            options += ["--cacert", str(storage["ca_file"])] if storage.get("ca_file") else []
            options += self._limit
        return [self.program, *options, *arguments]

    @contextmanager
    def running(
        self,
        *arguments: str,
        cwd: Optional[Path] = None,
        repository: Optional[str] = None,
        silence: Callable[[], None] = lambda: None,
    ) -> Iterator[Running]:
        """restic under way; whatever still runs of it when the context ends is killed.

        :param silence: called, after the store was asked, when it says nothing for long; may raise to end it
        """

        def ask() -> None:
            self.ask()
            silence()

        if repository is None:
            # Where the store does not answer when it begins, restic does not try again.
            self.ask()
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        command = self.command(*arguments, repository=repository)
        running = Running(command, self.environment(), cwd, self._nice, self.tick, ask)
        try:
            yield running
        finally:
            running.end()

    def ask(self) -> None:
        """Whether the store is still there."""
        with storage_errors(self.storage, "waiting for restic"):
            self.s3.list_objects_v2(Bucket=self.storage["bucket"], Prefix=f"{self.prefix}/config", MaxKeys=1)

    def text(self, *arguments: str, repository: Optional[str] = None) -> str:
        """Standard output of a short command.

        :raises MaintenanceError: it failed
        """
        with self.running(*arguments, repository=repository) as running:
            said = b"".join(running)
            running.check(self.failed)
        return said.decode("utf-8", "replace")

    def snapshots(self) -> List[Dict[str, Any]]:
        """All snapshots: id, tree, tags, hostname, time.

        :raises MaintenanceError: they cannot be listed
        """
        try:
            found = json.loads(self.text("snapshots", "--json", "--no-lock") or "null") or []
            return [{"tags": [], **each, "id": str(each["id"]), "tree": str(each["tree"])} for each in found]
        except (ValueError, KeyError, TypeError) as error:
            raise BackupError(f"restic's list of snapshots is not understood: {error}", "Update restic.") from None

    def check(self) -> List[str]:
        """What is wrong with the repository's structure.

        Every pack that the index names must be there in its size, and all trees and blobs of snapshots in the index.

        :raises MaintenanceError: it cannot be said
        """
        with self.running("check", "--no-lock") as running:
            said = b"".join(running).decode("utf-8", "replace")
            code = running.wait()
            errors = [line for line in running.messages() if line.strip() and not _NOISE.match(line)]
            if code == 0 and "no errors were found" in said:
                return []
            error = self.failed(code, running.said())
            if "contains errors" not in running.said() and not isinstance(error, BackupError):
                raise error
        found = [f"restic check: {line.strip()[:300]}" for line in errors if not line.startswith("Fatal: repository c")]
        return found[:20] or [f"restic check ended with status {code} and did not say that all is well"]

    def dump(self, snapshot: str, silence: Callable[[], None] = lambda: None) -> Any:
        """A snapshot as a tar, as a context like running."""
        return self.running("dump", "--no-lock", "--archive", "tar", snapshot, "/", silence=silence)

    def judge(self, running: Running, snapshot: str) -> List[str]:
        """What a dump that ended says of the snapshot, in words; nothing when it went well.

        :raises MaintenanceError: it says nothing of the snapshot
        """
        code = running.wait()
        if not code:
            return []
        error = self.failed(code, running.said())
        if not isinstance(error, BackupError):
            raise error
        return [f"restic cannot read snapshot {snapshot}: {running.said()}"]

    def failed(self, code: int, said: str) -> MaintenanceError:
        """What restic's last words mean."""
        where = f"the repository {describe(self.storage)}, {self.prefix}"
        for words, kind, text, remedy in _MEANINGS:
            if re.search(words, said):
                if remedy is _LOST:
                    return self._unopened(where, said)
                return kind(text.format(where=where, said=said), remedy)
        return BackupError(
            f"restic failed with exit status {code}: {said}", "Read restic's message; see docs/backup.md."
        )

    def _unopened(self, where: str, said: str) -> MaintenanceError:
        """restic says the same of a repository that has lost its config, and of a store that did not give it."""
        try:
            lost = head(self.s3, self.storage, f"{self.prefix}/config") is None
        except StorageError as error:
            return error
        if lost:
            return StorageError(f"{where} has lost its object config: {said}", _LOST)
        return StorageError(
            f"{where} could not be opened, though its config is there: {said}",
            "Look at the store's health and log, and run again. Change nothing in the repository.",
        )


_LOOKUP = {"auto": "auto", "path": "path", "virtual": "dns"}
_NOISE = re.compile(r"(using temporary cache|created new cache|repository \w+ opened|\[\d+:\d+\]|load indexes|check )")
_LOCKED = "Wait for it to end, then run again. The lock of a dead process goes by itself after 30 minutes."
_LOST = "Restore config and keys/ from older versions; tradingflow/init.json there has them as they were made."
_MEANINGS: List[Tuple[str, Type[MaintenanceError], str, str]] = [
    (
        r"wrong password or no key found",
        ConfigurationError,
        "The password does not open {where}.",
        "Correct backup_files_password. If it is right, the repository's key (keys/) is lost or damaged: restore its"
        " older version.",
    ),
    (
        r"SlowDown|reduce your request rate|Service ?Unavailable|InternalError|internal error|\b50[0234] [A-Z]"
        r"|connection (refused|reset)|i/o timeout|timed? ?out|Timeout|timeout|no such host|server misbehaving"
        r"|network is unreachable|no route to host|broken pipe",
        StorageError,
        "The store of {where} is overloaded, down or out of reach: {said}",
        "Look at the store's health, load and log, and run again once it answers. Change nothing in the repository.",
    ),
    (r"already locked", LockedError, "Another restic is at work on {where}: {said}", _LOCKED),
    (
        r"AccessDenied|Access Denied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken",
        StorageError,
        "The store refuses restic {where}: {said}",
        "Correct the key, or grant it its rights (roles/backup/README.md).",
    ),
    (
        r"certificate|x509",
        StorageError,
        "restic does not trust the store of {where}: {said}",
        "Check the store's certificate, its CA (tradingflow_storage.ca_file) and the clock of this machine.",
    ),
    (
        r"Is there a repository at|config (file )?(or key|cannot be loaded|does not exist)|unable to open config",
        StorageError,
        "",
        _LOST,
    ),
    (
        r"no space left",
        ConfigurationError,
        "restic has no space: {said}",
        "Free space in the scratch directory, or choose another.",
    ),
]


def _plain() -> Dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def url(storage: Dict[str, Any], prefix: str) -> str:
    """A repository as restic names it."""
    endpoint = storage.get("endpoint")
    if not endpoint:
        region = storage.get("region") or "us-east-1"
        endpoint = f"https://s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
    return f"s3:{endpoint.rstrip('/')}/{storage['bucket']}/{quote(prefix)}"


def _credentials(storage: Dict[str, Any]) -> Dict[str, str]:
    """The same keys as our own client uses, for restic's environment."""
    keys = [storage.get("access_key"), storage.get("secret_key"), storage.get("session_token")]
    passed = {name: value for name, value in os.environ.items() if re.match(r"AWS_|HOME$", name)}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"):
        passed.pop(name, None)
    if not keys[0] and boto3 is not None:
        found = boto3.session.Session().get_credentials()
        if found is None or found.method in _RENEWED:
            return passed
        keys = list(found.get_frozen_credentials())
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    # A profile in the environment would be another identity than the keys.
    return {name: str(value) for name, value in zip(names, keys) if value}  # noqa: B905 (Python 3.9)
