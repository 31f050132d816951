# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pgBackRest's errors mean, and what to do about them."""

from __future__ import annotations

import re
from typing import Dict, Tuple, Type

from ..errors import BackupError, ConfigurationError, DatabaseError, LockedError, MaintenanceError, StorageError

#: What to do about pgBackRest's errors, by its number: see its src/build/error/error.yaml.
_REMEDIES: Dict[int, Tuple[Type[MaintenanceError], str]] = {
    28: (ConfigurationError, "Run playbooks/backup_setup.yml; after a change of the cluster, upgrade the stanza."),
    29: (BackupError, "Check backup_pgbackrest_cipher_pass: the repository is encrypted with another, or damaged."),
    31: (ConfigurationError, "Run playbooks/backup_setup.yml again: the configuration is not pgBackRest's."),
    32: (ConfigurationError, "Run playbooks/backup_setup.yml again: the configuration is not pgBackRest's."),
    37: (ConfigurationError, "Run playbooks/backup_setup.yml again: an option is missing."),
    41: (ConfigurationError, "Check that backup_pgbackrest_run_as may read the database's files and its own."),
    45: (BackupError, "A segment of WAL is there twice with different contents: find out who else archives here."),
    49: (StorageError, "Check that the store runs, its endpoint and CA (backup_pgbackrest_repositories)."),
    50: (LockedError, "Wait for the other one to end, then run it again."),
    51: (BackupError, "A backup is under way in the server: wait for it to end, then run it again."),
    55: (StorageError, "Run playbooks/backup_setup.yml: the repository has no such stanza, or has lost files."),
    56: (DatabaseError, "Check that the server runs, and backup_pgbackrest_socket and _port."),
    58: (DatabaseError, "Check backup_pgbackrest_database_user's rights."),
    73: (StorageError, "Make room, or check the rights of backup_pgbackrest_run_as."),
    82: (BackupError, "WAL does not arrive in the repository: read pg_stat_archiver and pgBackRest's log."),
    87: (ConfigurationError, "Run playbooks/backup_setup.yml with backup_pgbackrest_restart: true."),
    95: (StorageError, "Check that the store runs, its endpoint and its CA (backup_pgbackrest_repositories)."),
    99: (StorageError, "Read what the store says, and its log."),
    101: (StorageError, "Check the store's CA (backup_pgbackrest_repositories)."),
    102: (StorageError, "Check the store's address (backup_pgbackrest_repositories)."),
    103: (BackupError, "Run playbooks/backup_setup.yml: the repository cannot be read; the message says why."),
}


_DOWN = (
    "The store is overloaded or down: look at its health, load and log, and run again once it answers. Change nothing"
    " in the repository."
)

#: What is in a message says more than its number: "unable to ..." is one, whatever the store answered.
_WORDS: Tuple[Tuple[str, Type[MaintenanceError], str], ...] = (
    ("InvalidAccessKeyId", StorageError, "Correct the access key (backup_pgbackrest_repositories)."),
    ("SignatureDoesNotMatch", StorageError, "Correct the secret key (backup_pgbackrest_repositories)."),
    ("ExpiredToken", StorageError, "Get new temporary credentials, and run playbooks/backup_setup.yml."),
    ("AccessDenied", StorageError, "Grant the key the rights listed in roles/backup/README.md."),
    ("SlowDown", StorageError, _DOWN),
    ("ServiceUnavailable", StorageError, _DOWN),
    ("InternalError", StorageError, _DOWN),
    ("failed with 500", StorageError, _DOWN),
    ("failed with 502", StorageError, _DOWN),
    ("failed with 503", StorageError, _DOWN),
    ("failed with 504", StorageError, _DOWN),
    ("NoSuchBucket", StorageError, "Create the bucket, or correct backup_pgbackrest_repositories."),
    ("No space left", BackupError, "Free space on that file system."),
    ("CryptoError", BackupError, "Check backup_pgbackrest_cipher_pass: the repository is encrypted with another."),
    ("unable to flush", BackupError, "Check backup_pgbackrest_cipher_pass: the repository is encrypted with another."),
    ("HostConnectError", StorageError, "Check that the store runs, and its address (backup_pgbackrest_repositories)."),
    ("unable to connect to", StorageError, "Check that the store runs, and its address."),
)


def explained(doing: str, text: str, kind: Type[MaintenanceError], remedy: str) -> MaintenanceError:
    """An error from what pgBackRest says.

    :param kind: with remedy, what it is when its words say no more
    """
    text = " ".join(text.split())
    # Of what the store answered, its code and its message.
    text = re.sub(r"\*\*\* Path/Query.*?<Code>(.*?)</Code>.*?<Message>(.*?)</Message>.*", r"\1: \2", text)
    for word, better, what in _WORDS:
        if word in text:
            kind, remedy = better, what
            break
    return kind(f"{doing}: {text[-600:] or '(it said nothing)'}", remedy)


def failure(command: str, code: int, said: str) -> MaintenanceError:
    """The error that a command failed, from its exit status and its messages."""
    errors = re.findall(r"ERROR: (\[\d+\]: .*(?:\n {4,}.*)*)", said)
    text = " ".join(errors or [said])
    number = re.match(r"\[0*(\d+)\]", text)
    kind, remedy = _REMEDIES.get(
        int(number.group(1)) if number else code, (BackupError, "Read the message, and pgBackRest's log.")
    )
    ended = "was ended by a signal" if code < 0 else f"failed with exit status {code}"
    return explained(f"pgBackRest's {command} {ended}", text, kind, remedy)
