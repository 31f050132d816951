# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest's configuration file: written whole, private, and read for what the rest needs to know."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple
from urllib.parse import urlsplit

from ..errors import ConfigurationError
from ..storage import STORAGE_SPEC
from .program import Account

#: What pgBackRest takes for "never expire by yourself": retention is ours.
UNLIMITED = 9999999
HIDDEN = "<hidden>"
_SECRET = re.compile(r"-(cipher-pass|s3-key-secret|s3-token)$")

REPOSITORY_SPEC: Dict[str, Any] = {
    "bucket": {"type": "str", "required": True},
    "path": {"type": "str", "required": True},
    **{
        name: STORAGE_SPEC[name]
        for name in ("endpoint", "region", "access_key", "secret_key", "session_token", "ca_file", "addressing_style")
    },
    "cipher_pass": {"type": "str", "no_log": True},
    "encryption": {"type": "str", "default": "aes-256-cbc", "choices": ["aes-256-cbc", "none"]},
    "bundle": {"type": "bool", "default": True},
    "block": {"type": "bool"},
}
#: From here on incremental backups by blocks are used: before, some could not be restored.
BLOCKS_SINCE = (2, 55)


class Repository(NamedTuple):
    """A repository as the configuration file names it.

    :param path: key prefix in the bucket, without slashes at its ends
    """

    number: int
    bucket: str
    path: str
    cipher: str


def address(endpoint: Optional[str], region: str) -> Tuple[str, int]:
    """Host and port of a store.

    :param endpoint: URL, None for AWS's
    :raises ConfigurationError: it is not one that pgBackRest can use
    """
    if not endpoint:
        return f"s3.{region}.amazonaws.com", 443
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    try:
        port = parts.port or 443
    except ValueError:
        port = 0
    if parts.scheme != "https" or not parts.hostname or not port or parts.path.strip("/"):
        raise ConfigurationError(
            f"pgBackRest cannot use the store at {endpoint}: it speaks S3 over TLS only.",
            "Give an endpoint like https://s3.example.com or https://s3.example.com:9000.",
        )
    return parts.hostname, port


def render(options: Dict[str, Any], version: Tuple[int, ...] = (0,)) -> Dict[str, Dict[str, str]]:
    """Sections of the file: options by name.

    :param options: see setup.SPEC
    :param version: of pgBackRest, where backups are made by this file
    :raises ConfigurationError: they make no sense
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", options["stanza"]) or options["stanza"] == "global":
        raise ConfigurationError(
            f"{options['stanza']!r} cannot be a stanza's name.",
            "Set backup_pgbackrest_stanza to letters, digits, dots, dashes and underscores.",
        )
    if not options["repositories"]:
        raise ConfigurationError("There is no repository.", "Set backup_pgbackrest_repositories.")
    general: Dict[str, str] = {}
    for number, repository in enumerate(options["repositories"], 1):
        general.update(
            {f"repo{number}-{name}": value for name, value in _repository(repository, number, version).items()}
        )
    general.update(
        {
            "compress-type": options["compression"],
            "process-max": str(options["process_max"]),
            "start-fast": "y",
            # A killed backup is not resumed from what nobody knows: it is begun anew.
            "resume": "n",
            "expire-auto": "n",
            "archive-async": "y" if options["archive_async"] else "n",
            "archive-timeout": str(options["wait_for_wal"]),
            "spool-path": options["spool_path"],
            "log-path": options["log_path"],
            "lock-path": options["lock_path"],
            "log-level-console": "warn",
        }
    )
    if options.get("compression_level") is not None:
        general["compress-level"] = str(options["compression_level"])
    stanza = {"pg1-path": options["data_directory"], "pg1-port": str(options["port"])}
    for name, key in (("socket_directory", "pg1-socket-path"), ("database_user", "pg1-user")):
        if options.get(name):
            stanza[key] = options[name]
    for values in (general, stanza):
        for name, value in values.items():
            if re.search(r"[\r\n\0]", value) or value != value.strip() or not value:
                raise ConfigurationError(
                    f"The value of {name} is empty, has line breaks, or blanks at its ends.",
                    "Correct it: pgBackRest's configuration cannot carry that.",
                )
    return {"global": general, options["stanza"]: stanza}


def _repository(repository: Dict[str, Any], number: int, version: Tuple[int, ...]) -> Dict[str, str]:
    host, port = address(repository.get("endpoint"), repository["region"])
    style = repository["addressing_style"]
    result = {
        "type": "s3",
        "path": "/" + repository["path"].strip("/"),
        "s3-bucket": repository["bucket"],
        "s3-endpoint": host,
        "s3-region": repository["region"],
        # AWS wants the bucket in the host's name, most others in the path.
        "s3-uri-style": "path" if style == "path" or (style == "auto" and repository.get("endpoint")) else "host",
        "storage-port": str(port),
        "bundle": "y" if repository["bundle"] else "n",
        "retention-full": str(UNLIMITED),
        "cipher-type": repository["encryption"],
    }
    if _by_blocks(repository, number, version):
        result["block"] = "y"
    if result["path"] == "/":
        raise ConfigurationError(f"Repository {number} has no path.", "Set the path of backup_pgbackrest_repositories.")
    if repository.get("ca_file"):
        result["storage-ca-file"] = repository["ca_file"]
    if repository.get("access_key"):
        if not repository.get("secret_key"):
            raise ConfigurationError(
                f"Repository {number} has an access key and no secret key.", "Set both, or none for the host's role."
            )
        result.update({"s3-key-type": "shared", "s3-key": repository["access_key"]})
        result["s3-key-secret"] = repository["secret_key"]
        if repository.get("session_token"):
            result["s3-token"] = repository["session_token"]
    else:
        result["s3-key-type"] = "auto"
    if repository["encryption"] != "none":
        if not repository.get("cipher_pass"):
            raise ConfigurationError(
                f"Repository {number} is to be encrypted but has no cipher_pass.",
                "Put a long random text into Vault (openssl rand -base64 48) and keep a copy elsewhere:"
                " without it no backup can be restored.",
            )
        result["cipher-pass"] = repository["cipher_pass"]
    return result


def _by_blocks(repository: Dict[str, Any], number: int, version: Tuple[int, ...]) -> bool:
    wanted = repository.get("block")
    if wanted and (version < BLOCKS_SINCE or not repository["bundle"]):
        raise ConfigurationError(
            f"Repository {number} cannot have backups by blocks: they need bundle and pgBackRest "
            f"{'.'.join(map(str, BLOCKS_SINCE))} or newer, with which they restore.",
            "Leave block out of backup_pgbackrest_repositories: it is used where it can be.",
        )
    return bool(repository["bundle"] and version >= BLOCKS_SINCE and wanted is not False)


def text(sections: Dict[str, Dict[str, str]], *, hide: bool = False) -> str:
    """The file's text.

    :param hide: secrets left out, for a diff
    """
    lines: List[str] = ["# Written by Ansible (tradingflow.maintenance). It holds secrets: for its owner only."]
    for name, values in sections.items():
        lines += ["", f"[{name}]"]
        lines += [f"{key}={HIDDEN if hide and _SECRET.search(key) else values[key]}" for key in sorted(values)]
    return "\n".join(lines) + "\n"


def parsed(content: str) -> Dict[str, Dict[str, str]]:
    """Sections of a file's text; a line that is none is left out."""
    result: Dict[str, Dict[str, str]] = {}
    section: Dict[str, str] = {}
    for line in content.splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            section = result.setdefault(line[1:-1], {})
        elif line and not line.startswith("#") and "=" in line:
            key, value = line.split("=", 1)
            section[key.strip()] = value.strip()
    return result


def read(path: str) -> Optional[str]:
    """Text of the configuration file, None when there is none.

    :raises ConfigurationError: it cannot be read
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"pgBackRest's configuration {path} cannot be read: {error}", "Run as root, or as its owner."
        ) from None


def repository(path: str, stanza: str, number: int) -> Repository:
    """A repository of the configuration file.

    :raises ConfigurationError: there is no such file, stanza or repository
    """
    content = read(path)
    if content is None:
        raise ConfigurationError(
            f"pgBackRest is not configured on this host: there is no {path}.", "Run playbooks/backup_setup.yml."
        )
    sections = parsed(content)
    values = {**sections.get("global", {}), **sections.get(stanza, {})}
    if stanza not in sections:
        raise ConfigurationError(f"{path} has no stanza {stanza}.", "Run playbooks/backup_setup.yml.")
    if values.get(f"repo{number}-type") != "s3" or not values.get(f"repo{number}-s3-bucket"):
        raise ConfigurationError(
            f"{path} has no repository {number} in S3.", "Run playbooks/backup_setup.yml, or correct the number."
        )
    return Repository(
        number=number,
        bucket=values[f"repo{number}-s3-bucket"],
        path=values.get(f"repo{number}-path", "/var/lib/pgbackrest").strip("/"),
        cipher=values.get(f"repo{number}-cipher-type", "none"),
    )


def write(path: Path, content: str, owner: Account, mode: int = 0o600) -> None:
    """Writes a file whole, for its owner only.

    :raises ConfigurationError: it cannot be written
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
                if os.geteuid() == 0:
                    os.fchown(file.fileno(), owner.uid, owner.gid)
                os.fchmod(file.fileno(), mode)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error}", "Run as root, or correct its path.") from None
