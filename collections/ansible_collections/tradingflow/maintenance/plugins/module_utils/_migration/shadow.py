# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A database of our own that the project's revisions have made from nothing: what production should look like."""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator, List, Optional

from .._isolation.processes import end_inside
from .._postgres import instance as servers
from .._postgres import programs
from .._postgres.server import drop, rows, run, value
from .._postgres.sql import literal
from .._recovery_points.ids import new_id
from .._work.janitor import janitor
from .._work.job import Kind
from .._work.scratch import destination, locked
from ..database import connected, quoted
from ..errors import ConfigurationError, MigrationError
from .catalogue import Catalogue, catalogue
from .project import Answers, Project
from .session import Session, opened

KIND = Kind("migration-shadow", "migration")
#: Characters of a statement that are kept where its SQL is taken from here.
_SHOWN = 100_000

_ROLES = """SELECT rolname, rolsuper AND rolname = current_user, rolcreaterole, rolcreatedb, rolinherit, rolbypassrls
FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"""
_MEMBERS = """SELECT r.rolname, m.rolname FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid
JOIN pg_roles m ON m.oid = a.member WHERE m.rolname !~ '^pg_' ORDER BY 1, 2"""
#: What only a superuser can make, so that whoever owns the database found it there.
_EXTENSIONS = """SELECT x.extname, n.nspname FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace
WHERE x.extname <> 'plpgsql' AND (%s OR NOT EXISTS (SELECT FROM pg_available_extension_versions v
WHERE v.name = x.extname AND v.version = x.extversion AND v.trusted))"""
#: By what SQL of a database can reach others.
_REACHING = """SELECT 'the foreign server ' || srvname FROM pg_foreign_server UNION ALL
SELECT 'the extension ' || extname FROM pg_extension WHERE extname LIKE '%fdw'
OR extname IN ('dblink', 'http', 'pg_net', 'aws_s3', 'aws_lambda', 'pg_cron') UNION ALL
SELECT 'the language ' || lanname FROM pg_language WHERE NOT lanpltrusted
AND lanname NOT IN ('c', 'internal') ORDER BY 1"""
_PATH = """SELECT c FROM pg_db_role_setting s, unnest(s.setconfig) c
WHERE c LIKE 'search_path=%%' AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
ORDER BY s.setrole <> 0 DESC, s.setdatabase <> 0 DESC LIMIT 1"""


class Shadow:
    """A database on a server of its own. Leaving the context of shadow() ends it.

    :param database: the option "database" for it, as the role that production is changed as
    """

    def __init__(
        self, options: Dict[str, Any], session: Session, instance: servers.Instance, tick: Callable[[], None]
    ) -> None:
        self._options = options
        self._production = session
        self._instance = instance
        self._tick = tick
        self._database = _made(options["database"], session, instance)
        self._reached: List[str] = []
        self._every = False

    def build(self, targets: List[str]) -> Answers:
        """Carries out all revisions up to each of the targets.

        :raises MigrationError: one of them fails
        """
        answers = self.tried(targets)
        if answers.error:
            raise MigrationError(why(answers), "")
        return answers

    def tried(self, targets: List[str]) -> Answers:
        """The same, as far as they go; where one fails, once more with all of production's extensions."""
        answers = self._asked(targets)
        if answers.error and not self._every and _extended(self._options["database"], self._production, self._instance):
            # Whoever made them, the revisions or somebody before them.
            self._every = True
            again = self._asked([*self._reached, *targets])
            answers = answers if again.error else again
        self._reached += [event["revision"] for event in answers.of("reached")]
        return answers

    def _asked(self, targets: List[str]) -> Answers:
        milliseconds = max(1, int(self._options["statement_timeout"] * 1000))
        superuser = {**self._database, "user": self._instance.superuser}
        with opened(superuser, self._options, self._tick) as session:
            return Project(self._options["project"], self._database).ask(
                {
                    "mode": "build",
                    "targets": targets,
                    "token": session.token,
                    "lock_timeout_ms": milliseconds,
                    "statement_timeout_ms": milliseconds,
                    "idle_timeout_ms": milliseconds,
                    "shown": _SHOWN,
                },
                lambda _answers: self._tick(),
            )

    def catalogue(self) -> Catalogue:
        """What they have made."""
        with connected(self._database, pinned=True) as connection:
            return catalogue(connection)


def why(answers: Answers) -> str:
    """What ended Shadow.tried early, and at which statement; empty when nothing did."""
    if not answers.error:
        return ""
    last = answers.of("statement")[-1:]
    text = f"{answers.error['kind']}: {answers.error['message']}"
    return text + (f", at {' '.join(last[0]['sql'].split())[:200]}" if last else "")


def captured(answers: Answers, own: str = "alembic_version") -> Dict[str, str]:
    """SQL of each revision of Shadow.build, by the revision; without what alembic asks and writes for itself."""
    found: Dict[str, str] = {}
    statements: List[str] = []
    for event in answers.events:
        if event["event"] == "statement" and own not in event["sql"]:
            statements.append(event["sql"].strip().rstrip(";") + ";\n")
        elif event["event"] in ("begin", "commit") and not event["autocommit"]:
            statements.append(f"{event['event'].upper()};\n")
        elif event["event"] == "reached":
            found[event["revision"]] = "".join(statements)
            statements = []
    return found


@contextmanager
def shadow(options: Dict[str, Any], session: Session, tick: Callable[[], None]) -> Iterator[Shadow]:
    """An empty database for the project's revisions, on a server of production's version.

    It has production's roles (without passwords) and the extensions that only a superuser can make.

    :param session: on production
    :raises MaintenanceError: there can be none here
    """
    reaching = [row[0] for row in session.rows(_REACHING)]
    if reaching:
        raise ConfigurationError(
            f"Its revisions may reach other servers, by {', '.join(reaching[:5])}: they are not run once more.", ""
        )
    major = int(session.rows("SHOW server_version_num")[0][0]) // 10000
    tools = _tools(options, major)
    user = servers.account(options.get("run_as"))
    servers.check_place(options["scratch_directory"], user)
    mode = 0o711 if user else 0o700
    place = destination(options["environment_name"], options["storage"])
    run_id = new_id(datetime.now(timezone.utc))
    with (
        locked(options["scratch_directory"], place, run_id, kind=KIND, mode=mode, before_removal=end_inside) as scratch,
        janitor(scratch.path),
    ):
        folder = scratch.path / "instance"
        folder.mkdir()
        folder.chmod(mode)
        with servers.Instance(folder, tools, user, {}) as instance:
            instance.start(tick)
            yield Shadow(options, session, instance, tick)


def _tools(options: Dict[str, Any], major: int) -> Dict[str, str]:
    """Programs of production's major version: another one writes definitions in other words."""
    named = options.get("pg_bin_dir") or None
    seen: List[str] = []
    for place in [named] if named else [None, *programs.installed(major, newer=False)]:
        try:
            found = {name: programs.find(name, place) for name in ("initdb", "postgres")}
            version = programs.version(found["postgres"])[0]
        except ConfigurationError as error:
            seen.append(error.message)
            continue
        if version == major:
            return found
        seen.append(f"{os.path.dirname(found['postgres'])} has PostgreSQL {version}.")
    raise ConfigurationError(
        f"It needs the server's programs of PostgreSQL {major} on this host. {' '.join(dict.fromkeys(seen))}",
        "Install them, or set migration_pg_bin_dir to where they are.",
    )


def _made(production: Dict[str, Any], session: Session, instance: servers.Instance) -> Dict[str, Any]:
    name, user = production["name"], production["user"]
    with connected(instance.database("postgres"), pinned=True) as connection:
        for role, superuser, *rights in session.rows(_ROLES):
            words = ["SUPERUSER"] if superuser else []
            names = ("CREATEROLE", "CREATEDB", "INHERIT", "BYPASSRLS")
            words += [word if right else f"NO{word}" for word, right in zip(names, rights)]  # noqa: B905 Python 3.9
            run(connection, f"CREATE ROLE {quoted(role)} {' '.join(words)}")
        for role, member in session.rows(_MEMBERS):
            if not value(connection, "SELECT count(*) FROM pg_roles WHERE rolname = %s", (role,)):
                continue
            run(connection, f"GRANT {quoted(role)} TO {quoted(member)}")
    _filled(production, session, instance, every=False)
    instance.set_password(user)
    return {**instance.database(name), "user": user}


def _extended(production: Dict[str, Any], session: Session, instance: servers.Instance) -> bool:
    """Makes the database anew with all extensions of production's; False when it has no more than are there."""
    if len(session.rows(_EXTENSIONS, (True,))) == len(session.rows(_EXTENSIONS, (False,))):
        return False
    if production["name"] == "postgres":
        return False
    with connected(instance.database("postgres"), pinned=True) as connection:
        drop(connection, production["name"])
    _filled(production, session, instance, every=True)
    return True


def _filled(production: Dict[str, Any], session: Session, instance: servers.Instance, *, every: bool) -> None:
    """The database, with what somebody has made before the first revision."""
    name, user = production["name"], production["user"]
    with connected(instance.database("postgres"), pinned=True) as connection:
        if not value(connection, "SELECT count(*) FROM pg_database WHERE datname = %s", (name,)):
            run(connection, f"CREATE DATABASE {quoted(name)} TEMPLATE template0")
        run(connection, f"ALTER DATABASE {quoted(name)} OWNER TO {quoted(user)}")
    with connected(instance.database(name), pinned=True) as connection:
        for extension, schema in session.rows(_EXTENSIONS, (every,)):
            if rows(connection, "SELECT 1 FROM pg_available_extensions WHERE name = %s", (extension,)):
                if not schema.startswith("pg_"):
                    run(connection, f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
                run(connection, f"CREATE EXTENSION IF NOT EXISTS {quoted(extension)} SCHEMA {quoted(schema)}")
        for schema in session.path:
            # Where tables without a schema go.
            if schema != "public" and not schema.startswith("pg_"):
                run(connection, f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)} AUTHORIZATION {quoted(user)}")
        path = _path(session)
        if path:
            run(connection, f"ALTER DATABASE {quoted(name)} SET search_path = {path}")


def _path(session: Session) -> Optional[str]:
    """The search path that the database or the role sets, as SQL."""
    found = session.rows(_PATH.replace("%%", "%"))
    if not found:
        return None
    names = [part.strip() for part in found[0][0].partition("=")[2].split(",")]
    return ", ".join(literal(name[1:-1].replace('""', '"') if name[:1] == '"' else name) for name in names)
