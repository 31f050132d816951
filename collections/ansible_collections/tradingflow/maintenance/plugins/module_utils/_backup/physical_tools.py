# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a physical backup needs: pgBackRest and its repository, and a server that can be backed up so."""

from __future__ import annotations

from typing import Any, Dict

from .._pgbackrest import configuration, info, messages, program
from ..database import connected
from ..errors import BackupError, ConfigurationError

_SETUP = "Run playbooks/backup_setup.yml on the database's host."


class Tools:
    """pgBackRest of a run, and the repository it writes to, checked before any work starts.

    :param options: of the module
    """

    def __init__(self, options: Dict[str, Any]) -> None:
        chosen = options.get("pgbackrest")
        if not chosen:
            raise ConfigurationError("The engine pgbackrest has no stanza.", "Set backup_pgbackrest_stanza.")
        self.options: Dict[str, Any] = chosen
        self.pgbackrest = program.PgBackRest(chosen)
        self.repository = configuration.repository(chosen["config_file"], chosen["stanza"], chosen["repository"])
        if self.repository.bucket != options["storage"]["bucket"]:
            raise ConfigurationError(
                f"pgBackRest's repository {self.repository.number} is in the bucket {self.repository.bucket}, "
                f"the recovery points are in {options['storage']['bucket']}.",
                "Choose another backup_pgbackrest_repository, or correct backup_storage.",
            )

    @property
    def version(self) -> str:
        """Its version in words."""
        return ".".join(map(str, self.pgbackrest.version))

    def stanza(self) -> info.Stanza:
        """The stanza as the repository has it.

        :raises MaintenanceError: it cannot be read, or is not there
        """
        number = self.repository.number
        text = self.pgbackrest.checked("info", f"--repo={number}", "--output=json")
        stanza = info.parse(text, self.pgbackrest.stanza, number)
        if not stanza.exists:
            raise ConfigurationError(f"The stanza {self.pgbackrest.stanza} does not exist: {stanza.problem}.", _SETUP)
        if stanza.problem:
            raise messages.explained(
                f"The repository's stanza {self.pgbackrest.stanza} cannot be read",
                stanza.problem,
                BackupError,
                "Check the store and backup_pgbackrest_cipher_pass, and read pgBackRest's log.",
            )
        return stanza


def server_of(database: Dict[str, Any], tools: Tools, stanza: info.Stanza) -> Dict[str, Any]:
    """What has to be known of the server: size, tables, segment (bytes), system_identifier.

    :raises ConfigurationError: it cannot be backed up so
    """
    with connected(database, pinned=True) as connection, connection.cursor() as cursor:
        program.check_server(tools.pgbackrest.version, connection.server_version // 10000)
        cursor.execute(
            "SELECT pg_is_in_recovery(), current_setting('archive_mode'), pg_size_bytes(current_setting("
            "'wal_segment_size')), pg_database_size(current_database()), (SELECT count(*) FROM pg_tablespace),"
            " has_function_privilege('pg_create_restore_point(text)', 'EXECUTE')"
            " AND has_function_privilege('pg_switch_wal()', 'EXECUTE'),"
            " (SELECT sum(pg_database_size(oid)) FROM pg_database WHERE has_database_privilege(oid, 'CONNECT')"
            " OR pg_has_role('pg_read_all_stats', 'MEMBER'))"
        )
        standby, archiving, segment, size, _spaces, allowed, cluster = cursor.fetchone()
        cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
        identifier = str(cursor.fetchone()[0])
    if standby:
        raise ConfigurationError(
            "The database is a standby, on which no restore point can be named.", "Back up the primary."
        )
    if archiving == "off":
        raise ConfigurationError("The server does not archive its WAL (archive_mode is off).", _SETUP)
    if not allowed:
        raise ConfigurationError(f"{database['user']} may not name a restore point and switch the WAL.", _SETUP)
    if stanza.system_identifier != identifier:
        raise ConfigurationError(
            f"The stanza is of another cluster: its system identifier is {stanza.system_identifier}, "
            f"the server's is {identifier}.",
            "After a major upgrade, upgrade the stanza (backup_pgbackrest_upgrade_stanza); else correct the stanza.",
        )
    return {"size": int(size), "segment": int(segment), "system_identifier": identifier, "cluster": int(cluster or 0)}
