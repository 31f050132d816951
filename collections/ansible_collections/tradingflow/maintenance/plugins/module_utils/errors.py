# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors of this collection. Every message says what happened and what to do next; none carries a secret."""

from __future__ import annotations

from .masking import masked


class MaintenanceError(Exception):
    """Base of all expected failures.

    :param message: what happened, one sentence, no secret in it
    :param remedy: what the operator should do next
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        # What others' programs say often ends without a stop.
        message = masked(message)
        self.message = message if message.endswith((".", "!", "?")) else f"{message}."
        super().__init__(self.message)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".rstrip()


class ConfigurationError(MaintenanceError):
    """A variable is missing or makes no sense."""


class DatabaseError(MaintenanceError):
    """The database is unreachable, refuses us or a statement failed."""


class StorageError(MaintenanceError):
    """The S3 store is unreachable, refuses us or lost something."""


class BackupError(MaintenanceError):
    """A backup could not be made or does not verify."""


class RestoreError(MaintenanceError):
    """A recovery point does not come back as it should."""


class MigrationError(MaintenanceError):
    """A database's schema cannot be changed, or did not become what it should."""


class HousekeepingError(MaintenanceError):
    """Something cannot be cleaned up, or it cannot be told whether it may be."""


class DataUpdateError(MaintenanceError):
    """Rows cannot be changed as declared, or did not become what they should."""


class PatchingError(MaintenanceError):
    """A host's packages cannot be changed, or did not become what they should."""


class DependencyError(MaintenanceError):
    """Locked dependencies cannot be scanned, or an answer about them cannot be believed."""


class ImageError(MaintenanceError):
    """A container image or its registry does not answer as it must."""


class ClusterError(MaintenanceError):
    """A cluster of Kubernetes does not answer as it must, or refuses us."""


class ReleaseError(MaintenanceError):
    """A release cannot be rolled out, soaked, promoted or undone, or it cannot be told whether it may be."""


class LockedError(MaintenanceError):
    """Another run of the same procedure is under way in this environment."""


class EvidenceError(MaintenanceError):
    """The ledger cannot be written or does not verify."""
