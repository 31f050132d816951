"""The sandbox itself: it comes up whatever was before, its history holds together, and nothing is left of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from alembic import command
from alembic.config import Config
from botocore.exceptions import ClientError

from sandbox import application, lifecycle, postgres, processes, storage
from sandbox.history import History, market
from sandbox.layout import CHECKOUT, Layout, SandboxError, State
from sandbox.processes import marked, start_time


class Box:
    """A sandbox of the tests' own, in a folder with a name that people do give to folders."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tradingflow-test-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        place = self.folder / "a place, 100% O'Brien's – très"
        self.state_file = place / "state/sandbox.json"
        self.root = place / "root"
        self.environment = {
            **os.environ,
            "TRADINGFLOW_SANDBOX_STATE": str(self.state_file.parent),
            "TRADINGFLOW_SANDBOX_ROOT": str(self.root),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sandbox", *arguments],
            cwd=CHECKOUT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, *arguments: str, expect: int = 0) -> str:
        process = self.start(*arguments)
        output = process.communicate(timeout=300)[0]
        assert process.returncode == expect, output
        return output

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.state_file.read_text(encoding="utf-8"))
        return found

    def rows(self, query: str, user: str = "maintenance") -> list[tuple[Any, ...]]:
        with postgres.cursor(self.state["postgres"], user) as cursor:
            cursor.execute(query)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.state["app"]["url"] + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def processes(self) -> set[int]:
        """Pids of the sandbox that were started as services, not by these."""
        return set(marked(self.root))

    def remove(self) -> None:
        self("down")
        shutil.rmtree(self.folder)


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Waits for something that is bound to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    made = Box()
    try:
        made("up", "--size", "small", "--seed", "7")
        yield made
    finally:
        made.remove()


@pytest.fixture
def fresh() -> Iterator[Box]:
    made = Box()
    try:
        yield made
    finally:
        made.remove()


# Up, status, down


def test_a_second_up_changes_nothing(box: Box) -> None:
    before = box.state
    assert box("up") == "The sandbox is up.\n"
    assert box.state == before


def test_up_with_another_size_or_seed_is_refused(box: Box) -> None:
    assert "has the size small, not large" in box("up", "--size", "large", expect=1)
    assert "has the seed 7, not 8" in box("up", "--seed", "8", expect=1)


def test_status_names_everything(box: Box) -> None:
    assert box("path").strip() == str(box.state_file)
    found = json.loads(box("status", "--json"))
    assert found["healthy"]
    assert set(found["services"]) == {"postgres", "s3", "app"}
    for service in found["services"].values():
        assert service["status"] == "up"
        assert start_time(service["pid"])
        assert service["version"]
        assert service["size"] > 0
        assert Path(service["log_file"]).exists()
    text = box("status")
    assert box.state["s3"]["endpoint"] in text
    assert str(box.root) in text


def test_secrets_are_the_owners_alone(box: Box) -> None:
    assert stat.S_IMODE(box.state_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(box.state_file.parent.stat().st_mode) == 0o700
    state = box.state
    secrets = [state["s3"]["secret_key"]]
    secrets += [state["postgres"][f"{name}_password"] for name in ("superuser", "owner", "maintenance")]
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in box.processes()]
    logs = [path.read_text(encoding="utf-8", errors="replace") for path in (box.root / "log").iterdir()]
    statements = [row[0] for row in box.rows("SELECT query FROM pg_stat_statements", "superuser")]
    for text in (*lines, *logs, *statements):
        assert not any(secret in text for secret in secrets)
    # Others may pass through the root only to the programs of the server, which may run as another user.
    folders = [path for path in box.root.iterdir() if path.is_dir() and path.name != "postgres"]
    for folder in (*folders, box.root / "postgres/cluster"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_it_listens_on_loopback_only(box: Box) -> None:
    sockets = set()
    for pid in box.processes():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                sockets.add(os.readlink(link))
            except FileNotFoundError:
                continue
    addresses = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                addresses.add(fields[1])
    loopback = "0100007F" if sys.byteorder == "little" else "7F000001"
    assert len(addresses) >= 10
    assert {address.split(":")[0] for address in addresses} == {loopback}


def test_a_killed_start_is_made_good_by_two_at_once(fresh: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    process = fresh.start("up", "--size", "empty")
    until(lambda: (fresh.root / "postgres/cluster/data/PG_VERSION").exists() and "pid" in fresh.state["s3"])
    process.kill()
    process.communicate()
    assert "did not finish" in fresh("status", expect=1)
    left = fresh.processes()
    assert left

    both = [fresh.start("up", "--size", "empty") for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sorted(output == "The sandbox is up.\n" for output in outputs) == [False, True]
    assert not left & fresh.processes()
    state = fresh.state
    assert {state[name]["pid"] for name in ("postgres", "s3", "app")} <= fresh.processes()

    # An empty platform is one too, and the models are what all migrations make; the last is left to `make migrate`.
    assert fresh.rows("SELECT count(*) FROM maintenance.orders") == [(0,)]
    assert fresh.get("/api/orders") == (200, "[]")
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_STATE", str(fresh.state_file))
    monkeypatch.setenv("TRADINGFLOW_DATABASE_URL", application.environment(State(Layout()))["TRADINGFLOW_DATABASE_URL"])
    alembic = Config(CHECKOUT / "sandbox/app/alembic.conf")
    assert fresh.rows("SELECT version_num FROM alembic_version") == [(application.SEEDED,)]
    command.upgrade(alembic, "head")
    command.check(alembic)
    command.downgrade(alembic, "base")
    command.upgrade(alembic, "head")

    assert fresh("down") == "The sandbox is gone.\n"
    assert fresh.processes() == set()
    assert not fresh.root.exists()
    assert not fresh.state_file.parent.exists()
    # Of its own services: others that were killed may have had these ports, and left theirs.
    own = [(name.removesuffix("_grpc"), port) for name, port in state["s3"]["ports"].items() if name.endswith("_grpc")]
    assert own
    assert not [name for name, port in own if Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").exists()]
    assert fresh("down") == "There is no sandbox.\n"


def test_an_outdated_history_is_built_anew_with_its_size(fresh: Box) -> None:
    fresh("up", "--size", "empty", "--without-app")
    assert fresh("up", "--newer-than", "20", "--without-app") == "The sandbox is up.\n"
    state = fresh.state
    state["history"]["anchor"] = "2025-01-01T00:00:00+00:00"
    fresh.state_file.write_text(json.dumps(state), encoding="utf-8")
    assert "building it anew" in fresh("up", "--newer-than", "20", "--without-app")
    assert fresh.state["history"]["anchor"] > "2026"
    assert fresh.state["history"]["size"] == "empty"


def test_a_folder_of_someone_else_is_left_alone(fresh: Box) -> None:
    fresh.root.mkdir(parents=True)
    letter = fresh.root / "letter.txt"
    letter.write_text("mine", encoding="utf-8")
    assert "not a sandbox" in fresh("up", expect=1)
    assert "not a sandbox" in fresh("down", expect=1)
    assert letter.read_text(encoding="utf-8") == "mine"
    shutil.rmtree(fresh.root)


def test_a_root_that_postgresql_cannot_reach_is_named(fresh: Box) -> None:
    fresh.root.parent.mkdir(mode=0o700)
    if os.getuid() != 0:  # PostgreSQL runs as the caller, who can reach it.
        assert fresh("up", "--size", "empty", "--without-app")
        return
    output = fresh("up", expect=1)
    assert f"only the owner may enter {fresh.root.parent}" in output
    assert "Traceback" not in output


def test_a_recycled_pid_is_not_killed(fresh: Box) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        fresh.state_file.parent.mkdir(parents=True)
        section = {"pid": stranger.pid, "pid_started": (start_time(stranger.pid) or 0) - 1}
        state = {"data_root": str(fresh.root), **dict.fromkeys(("postgres", "s3", "app"), section)}
        fresh.state_file.write_text(json.dumps(state), encoding="utf-8")
        fresh("down")
        assert stranger.poll() is None
        stranger.terminate()


# One service at a time


@pytest.mark.parametrize("name", ["postgres", "s3", "app"])
def test_a_service_comes_back_with_its_port_and_data(box: Box, name: str) -> None:
    before = box.state
    key = "ports" if name == "s3" else "port"
    store = storage.client(before["s3"])
    if name == "s3":
        store.put_object(Bucket="tradingflow-backups", Key="kept ü", Body=b"kept")
    orders = box.rows("SELECT count(*) FROM maintenance.orders")
    box("stop", name)
    assert f"{name} " in box("status", expect=1)
    assert json.loads(box("status", "--json", expect=1))["services"][name]["status"] == "down"
    if name == "postgres":
        assert box.get("/health")[0] == 200
        assert box.get("/ready") == (503, '{"error": "database unavailable"}')
    box("start", name)
    after = box.state
    assert after[name][key] == before[name][key]
    assert after[name]["pid"] != before[name]["pid"]
    assert box.rows("SELECT count(*) FROM maintenance.orders") == orders
    if name == "s3":
        assert store.get_object(Bucket="tradingflow-backups", Key="kept ü")["Body"].read() == b"kept"
    assert box("status")
    assert box.get("/ready")[0] == 200


def test_a_restarted_store_has_its_ports_and_leaves_nothing_outside(box: Box) -> None:
    ports = box.state["s3"]["ports"]
    pids = [box.state["s3"]["pid"]]
    for _ in range(4):
        box("restart", "s3")
        assert box.state["s3"]["ports"] == ports
        pids.append(box.state["s3"]["pid"])
    assert not [path for pid in pids for path in Path("/tmp").glob(f"weed.*.{pid}")]


@pytest.mark.parametrize("name", ["postgres", "s3", "app"])
def test_a_port_taken_at_the_last_moment_is_another_one(box: Box, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    box("stop", name)
    before = box.state[name]
    port = before["ports"]["s3"] if name == "s3" else before["port"]
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_STATE", str(box.state_file))
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_ROOT", str(box.root))
    looks: list[int] = []
    free = processes.is_free

    def at_first(wanted: int) -> bool:
        looks.append(wanted)
        return looks == [port] or free(wanted)

    monkeypatch.setattr(processes, "is_free", at_first)
    if name == "s3":
        # The last that it listens on; the others are looked at before.
        monkeypatch.setattr(storage, "PORTS", ("s3", *(each for each in storage.PORTS if each != "s3")))
    with socket.create_server(("127.0.0.1", port)):
        lifecycle.start(Layout(), name)
        after = box.state[name]
        assert (after["ports"]["s3"] if name == "s3" else after["port"]) != port
        assert lifecycle.MODULES[name].problem(after) is None
    # It asks a database on another port from its next start on.
    box("restart", "app")
    assert box("status")
    assert box.get("/ready")[0] == 200


def test_ports_are_of_the_range_that_the_caller_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADINGFLOW_SANDBOX_PORTS", "30001-30003")
    assert sorted(processes.free_ports(["a", "b", "c"], {}).values()) == [30001, 30002, 30003]
    with pytest.raises(SandboxError, match=r"No free port on 127\.0\.0\.1 between 30001 and 30003"):
        processes.free_ports(["a", "b", "c", "d"], {})
    for wrong in ("30001", "30003-30001", "80-90", "30001-70000", "a-b"):
        monkeypatch.setenv("TRADINGFLOW_SANDBOX_PORTS", wrong)
        with pytest.raises(SandboxError, match="TRADINGFLOW_SANDBOX_PORTS"):
            processes.free_ports(["a"], {})


def test_a_process_is_there_while_its_threads_end() -> None:
    """Its main thread is a zombie by then, and its ports are not free yet."""
    code = "import threading, ctypes, time; threading.Thread(target=time.sleep, args=(60,)).start(); print(flush=True)"
    leave = "ctypes.CDLL(None).pthread_exit(None)"
    process = subprocess.Popen([sys.executable, "-c", f"{code}; {leave}"], stdout=subprocess.PIPE)
    try:
        assert process.stdout
        process.stdout.readline()
        state = Path(f"/proc/{process.pid}/stat")
        until(lambda: state.read_text().rpartition(")")[2].split()[0] == "Z")
        assert start_time(process.pid) is not None
    finally:
        process.kill()
    until(lambda: start_time(process.pid) is None)
    process.wait()


def test_a_killed_server_is_restarted_by_up(box: Box) -> None:
    before = box.state["postgres"]
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: start_time(before["pid"]) is None)
    assert box("up").startswith("postgres restarted")
    assert box.state["postgres"]["port"] == before["port"]
    assert box.rows("SELECT count(*) > 0 FROM maintenance.orders") == [(True,)]


# What it offers


def test_the_bucket_keeps_versions_and_locks(box: Box) -> None:
    store, bucket = storage.client(box.state["s3"]), "tradingflow-backups"
    assert store.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    version = store.put_object(
        Bucket=bucket,
        Key="locked",
        Body=b"x",
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=datetime.now().astimezone().replace(year=datetime.now().year + 1, day=1),
    )["VersionId"]
    with pytest.raises(ClientError):
        store.delete_object(Bucket=bucket, Key="locked", VersionId=version)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        store.put_object(Bucket=bucket, Key="locked", Body=b"y", IfNoneMatch="*")


def test_the_maintenance_user_reads_all_and_writes_nothing(box: Box, tmp_path: Path) -> None:
    section = box.state["postgres"]
    environment = {
        "PGHOST": section["host"],
        "PGPORT": str(section["port"]),
        "PGUSER": section["maintenance_user"],
        "PGPASSWORD": section["maintenance_password"],
        "PGDATABASE": section["database"],
    }
    tools = Path(section["bin_dir"])
    for tool, *arguments in (
        ["pg_dump", "-Fd", "-f", str(tmp_path / "dump")],
        ["pg_dumpall", "--globals-only", "--no-role-passwords"],
    ):
        subprocess.run([tools / tool, *arguments], env=environment, check=True, capture_output=True)
    for statement in (
        "UPDATE public.heartbeat SET sequence = 0",
        "CREATE TABLE public.mine ()",
        "DELETE FROM maintenance.orders",
        "CREATE VIEW maintenance.mine AS SELECT 1",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            box.rows(statement)


def test_the_app_answers_and_counts(box: Box) -> None:
    assert json.loads(box.get("/health")[1])["status"] == "ok"
    version = json.loads(box.get("/version")[1])
    assert version["version"] == box.state["app"]["version"]
    assert version["image"] == box.state["app"]["image"]
    assert [(version["schema"],)] == box.rows("SELECT version_num FROM public.alembic_version")
    assert len(json.loads(box.get("/api/strategies")[1])) >= 10
    assert json.loads(box.get("/api/positions")[1])
    assert len(json.loads(box.get("/api/orders?limit=3")[1])) == 3
    assert box.get("/api/orders?limit=0")[0] == 400
    assert box.get("/nothing")[0] == 404
    metrics = dict(line.rsplit(" ", 1) for line in box.get("/metrics")[1].splitlines() if not line.startswith("#"))
    assert int(metrics['tradingflow_http_requests_total{route="/api/orders",code="400"}']) >= 1
    count = metrics['tradingflow_http_request_duration_seconds_count{route="/health"}']
    assert metrics['tradingflow_http_request_duration_seconds_bucket{route="/health",le="+Inf"}'] == count
    assert float(metrics["process_resident_memory_bytes"]) > 1e7
    assert float(metrics["tradingflow_db_pool_size"]) == 5
    assert float(metrics["tradingflow_heartbeat_age_seconds"]) < 60
    log = Path(box.state["app"]["log_file"]).read_text(encoding="utf-8").splitlines()
    assert any(json.loads(line).get("path") == "/nothing" for line in log)


def test_heartbeats_go_on(box: Box) -> None:
    def beats() -> list[tuple[Any, ...]]:
        return box.rows(
            "SELECT max(sequence), (SELECT min(last_heartbeat_at) FROM maintenance.strategies) FROM heartbeat"
        )

    before = beats()[0]
    until(lambda: all(now > then for now, then in zip(beats()[0], before, strict=True)))
    assert box.rows("SELECT count(*) FROM strategies WHERE observed_state IS DISTINCT FROM expected_state") == [(0,)]


# The history. Each query counts rows, and those which are wrong.

EFFECTIVE = """
    WITH effective AS (
        SELECT *, CASE side WHEN 'buy' THEN quantity ELSE -quantity END AS signed FROM maintenance.executions e
        WHERE kind <> 'cancel' AND NOT EXISTS (
            SELECT FROM maintenance.executions a WHERE a.venue = e.venue AND a.reference = e.venue_execution_id)),
    latest AS (SELECT max(as_of) AS at FROM maintenance.venue_statements)"""
ORACLE = {
    "positions follow from executions": f"""{EFFECTIVE}, sums AS (
        SELECT strategy, account, instrument, sum(signed) q, sum(signed * price) c FROM effective GROUP BY 1, 2, 3)
        SELECT count(*), count(*) FILTER (WHERE q IS DISTINCT FROM quantity OR c IS DISTINCT FROM net_cost)
        FROM sums FULL JOIN maintenance.positions USING (strategy, account, instrument)""",
    "filled quantities follow from executions": f"""{EFFECTIVE},
        sums AS (SELECT order_id, sum(quantity) q FROM effective GROUP BY 1)
        SELECT count(*), count(*) FILTER (WHERE coalesce(q, 0) <> filled_quantity
            OR (status = 'filled') <> (quantity = coalesce(q, 0)))
        FROM maintenance.orders LEFT JOIN sums USING (order_id)""",
    "cash follows from transactions": """
        SELECT count(*), count(*) FILTER (WHERE balance IS DISTINCT FROM total) FROM maintenance.cash FULL JOIN (
            SELECT account, venue, currency, sum(amount) total FROM maintenance.transactions
            WHERE status = 'settled' GROUP BY 1, 2, 3) t USING (account, venue, currency)""",
    "transactions follow from executions": f"""{EFFECTIVE},
        sums AS (SELECT order_id, -sum(signed * price) v FROM effective GROUP BY 1),
        moved AS (SELECT order_id, sum(amount) v FROM maintenance.transactions WHERE order_id > 0 GROUP BY 1)
        SELECT count(*), count(*) FILTER (WHERE coalesce(sums.v, 0) <> coalesce(moved.v, 0))
        FROM sums FULL JOIN moved USING (order_id)""",
    "fees follow from executions": f"""{EFFECTIVE}
        SELECT count(*), count(*) FILTER (WHERE charged IS DISTINCT FROM due) FROM (
            SELECT strategy, venue, sum(fee) due FROM effective, latest WHERE executed_at <= at GROUP BY 1, 2) e
        FULL JOIN (SELECT strategy, venue, -sum(amount) charged FROM maintenance.transactions
            WHERE kind = 'fee' GROUP BY 1, 2) t USING (strategy, venue)""",
    "venues report our executions up to the cut-off": f"""{EFFECTIVE}
        SELECT count(*), count(*) FILTER (WHERE e.execution_id IS NULL
            OR (v.statement_id IS NULL) <> (e.executed_at > at)
            OR (v.quantity, v.price, v.fee, v.side, v.instrument, v.account, v.executed_at, v.kind)
                <> (e.quantity, e.price, e.fee, e.side, e.instrument, e.account, e.executed_at, e.kind)
            OR v.reference IS DISTINCT FROM e.reference AND v.statement_id IS NOT NULL)
        FROM maintenance.executions e CROSS JOIN latest
        FULL JOIN maintenance.venue_executions v USING (venue, venue_execution_id)""",
    "statements cover their period": """
        SELECT count(*), count(*) FILTER (WHERE executed_at > s.as_of OR executed_at <= period_start)
        FROM maintenance.venue_executions JOIN maintenance.venue_statements s USING (statement_id)""",
    "statements count their records": """
        SELECT count(*), count(*) FILTER (WHERE record_count <> found) FROM (
            SELECT statement_id, record_count, count(l.statement_id) found FROM maintenance.venue_statements s
            LEFT JOIN maintenance.venue_executions l USING (statement_id) WHERE s.kind = 'executions'
            GROUP BY 1, 2) s""",
    "venues' positions agree at the cut-off": f"""{EFFECTIVE},
        ours AS (SELECT account, venue, instrument, sum(signed) q FROM effective, latest WHERE executed_at <= at
            GROUP BY 1, 2, 3),
        theirs AS (SELECT * FROM maintenance.venue_positions, latest WHERE as_of = at)
        SELECT count(*), count(*) FILTER (WHERE coalesce(q, 0) <> coalesce(quantity, 0))
        FROM ours FULL JOIN theirs USING (account, venue, instrument)""",
    "venues' cash agrees at the cut-off": f"""{EFFECTIVE},
        ours AS (SELECT account, venue, currency, sum(amount) q FROM maintenance.transactions, latest
            WHERE settled_at <= at GROUP BY 1, 2, 3),
        theirs AS (SELECT * FROM maintenance.venue_cash, latest WHERE as_of = at)
        SELECT count(*), count(*) FILTER (WHERE q IS DISTINCT FROM balance)
        FROM ours FULL JOIN theirs USING (account, venue, currency)""",
    "equity follows from executions and prices": f"""{EFFECTIVE},
        gained AS (SELECT strategy, -sum(signed * price) - sum(fee) v FROM effective GROUP BY 1),
        prices AS (SELECT DISTINCT ON (instrument) * FROM maintenance.prices ORDER BY instrument, observed_at DESC),
        worth AS (SELECT strategy, sum(quantity * price) w FROM maintenance.positions JOIN prices USING (instrument)
            GROUP BY 1),
        newest AS (SELECT DISTINCT ON (strategy) * FROM maintenance.equity ORDER BY strategy, day DESC)
        SELECT count(*), count(*) FILTER (WHERE equity <> capital + v + w) FROM newest
        JOIN maintenance.strategies USING (strategy) JOIN gained USING (strategy) JOIN worth USING (strategy)""",
    "the day's result is the change of equity": """
        SELECT count(*), count(*) FILTER (WHERE pnl <> change) FROM (
            SELECT pnl, equity - lag(equity, 1, capital) OVER (PARTITION BY strategy ORDER BY day) change
            FROM maintenance.equity JOIN maintenance.strategies USING (strategy)) e""",
    "no limit is breached": """
        WITH prices AS (SELECT DISTINCT ON (instrument) * FROM maintenance.prices
            ORDER BY instrument, observed_at DESC),
        held AS (SELECT strategy, account, instrument, quantity * price v FROM maintenance.positions
            JOIN prices USING (instrument)),
        exposed AS (
            SELECT 'strategy' scope, strategy subject, sum(abs(v)) gross, abs(sum(v)) net, max(abs(v)) largest
            FROM held GROUP BY strategy
            UNION ALL SELECT 'account', account, sum(abs(v)), abs(sum(v)), max(abs(v)) FROM held GROUP BY account),
        newest AS (SELECT DISTINCT ON (strategy) strategy, account, equity.equity, -pnl loss
            FROM maintenance.equity JOIN maintenance.strategies USING (strategy) ORDER BY strategy, day DESC),
        worth AS (SELECT strategy subject, equity, loss FROM newest
            UNION ALL SELECT account, sum(equity), sum(loss) FROM newest GROUP BY account),
        minutes AS (SELECT strategy, account, count(*) n FROM maintenance.orders
            GROUP BY strategy, account, date_trunc('minute', created_at)),
        busiest AS (SELECT strategy subject, max(n) rate FROM minutes GROUP BY 1
            UNION ALL SELECT account, max(n) FROM minutes GROUP BY 1)
        SELECT count(*), count(*) FILTER (WHERE limit_value <= CASE metric WHEN 'gross_exposure' THEN gross
            WHEN 'net_exposure' THEN net WHEN 'daily_loss' THEN loss WHEN 'concentration' THEN largest / equity
            WHEN 'leverage' THEN gross / equity WHEN 'order_rate' THEN rate END) + 96 - count(*)
        FROM maintenance.risk_limits JOIN exposed USING (scope, subject) JOIN worth USING (subject)
        JOIN busiest USING (subject)""",
    "the audit log is a chain": """
        SELECT count(*), count(*) FILTER (WHERE previous_hash <> coalesce(before, repeat('0', 64))
            OR hash <> encode(sha256(convert_to(concat_ws(E'\\n', previous_hash, entry_id,
                to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), actor, action, object, details),
                'UTF8')), 'hex'))
        FROM (SELECT *, lag(hash) OVER (ORDER BY entry_id) before FROM maintenance.audit_log) a""",
    "every reference leads somewhere": """
        SELECT count(*), count(*) FILTER (WHERE o.id IS NULL OR o.strategy_code <> e.strategy_code
            OR o.instrument_code <> e.instrument_code OR o.side <> e.side)
        FROM public.executions e LEFT JOIN public.orders o ON o.id = e.order_id""",
    "times are in order and not in the future": """
        SELECT count(*), count(*) FILTER (WHERE sent_at < created_at OR acknowledged_at < sent_at OR closed_at < sent_at
            OR greatest(acknowledged_at, closed_at, created_at) > now()) FROM maintenance.orders""",
    "New York trades in its hours": """
        SELECT count(*), count(*) FILTER (WHERE extract(isodow FROM executed_at AT TIME ZONE 'America/New_York') > 5
            OR (executed_at AT TIME ZONE 'America/New_York')::time NOT BETWEEN '09:30' AND '16:00')
        FROM maintenance.executions WHERE venue = 'XNYS' AND kind = 'trade'""",
    "limits hold for limit orders": """
        SELECT count(*), count(*) FILTER (WHERE price <> limit_price AND (o.side = 'buy') = (price > limit_price))
        FROM maintenance.executions e JOIN maintenance.orders o USING (order_id)
        WHERE order_type = 'limit' AND kind = 'trade'""",
}


@pytest.mark.parametrize("name", ORACLE)
def test_the_history_holds_together(box: Box, name: str) -> None:
    rows, wrong = box.rows(ORACLE[name])[0]
    assert rows > 0
    assert wrong == 0


def test_the_history_has_what_real_ones_have(box: Box) -> None:
    kinds = dict(box.rows("SELECT kind, count(*) FROM maintenance.executions GROUP BY 1"))
    assert set(kinds) == {"trade", "cancel", "correct"}
    statuses = {row[0] for row in box.rows("SELECT DISTINCT status FROM maintenance.orders")}
    assert {"filled", "cancelled", "rejected", "expired"} <= statuses
    assert box.rows("SELECT count(*) > 0 FROM maintenance.transactions WHERE status = 'failed'") == [(True,)]
    names = [path.name for path in Path(box.state["app"]["data_dir"]).rglob("*") if path.is_file()]
    assert len(names) > 30
    for character in "'\"% é":
        assert any(character in name for name in names)


def test_the_same_seed_and_anchor_give_the_same_rows(box: Box) -> None:
    history = box.state["history"]

    def digest(seed: int) -> str:
        made = History(seed=seed, anchor=datetime.fromisoformat(history["anchor"]), size="small")
        for table in made.tables:
            assert sum(1 for _ in made.chunks(table)) >= 1
        return made.digest

    assert digest(7) == history["digest"]
    assert digest(8) != history["digest"]


def test_the_default_size_is_an_honest_one() -> None:
    made = History(seed=1, anchor=datetime.fromisoformat("2026-03-30T08:17:00+00:00"), size="default")
    counts = {table.name: table.count for table in made.tables}
    assert counts["orders"] >= 200_000
    assert counts["executions"] >= 500_000
    assert counts["strategies"] >= 10


@pytest.mark.parametrize(
    "anchor", ["2026-11-23T00:02:00+00:00", "2026-03-29T01:30:00+00:00", "2027-01-01T23:59:00+00:00"]
)
def test_any_moment_can_be_the_anchor(anchor: str) -> None:
    made = History(seed=3, anchor=datetime.fromisoformat(anchor), size="small")
    assert all(sum(map(len, made.chunks(table))) for table in made.tables)


def test_holidays_are_those_of_the_exchanges() -> None:
    days = "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25"
    assert market.holidays("XNYS", 2026) == {date.fromisoformat(f"2026-{day}") for day in days.split()}
    days = "01-01 04-03 04-06 05-01 12-24 12-25 12-26 12-31"
    assert market.holidays("XETR", 2026) == {date.fromisoformat(f"2026-{day}") for day in days.split()}
    # New Year's Day of 2028 is a Saturday, which New York does not make up for.
    assert date(2027, 12, 31) not in market.holidays("XNYS", 2027)
    assert market.closes_early("XNYS", date(2026, 11, 27))


def test_the_documented_views_are_those_there_are(box: Box) -> None:
    families = {
        "character varying": "text",
        "timestamp with time zone": "timestamptz",
        "time without time zone": "time",
    }
    found: dict[str, str] = {}
    for view, column, kind in box.rows(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'maintenance' ORDER BY table_name, ordinal_position"
    ):
        text = f"`{column}` {families.get(kind, kind)}"
        found[view] = f"{found[view]}, {text}" if view in found else text
    documented = {}
    pages = ("sandbox", "compliance", "validation")
    texts = [(CHECKOUT / f"docs/{name}.md").read_text(encoding="utf-8") for name in pages]
    for line in "\n".join(texts).splitlines():
        cells = line.strip("| ").split(" | ")
        # Tables of views list columns; others of these pages tell.
        if line.startswith("| `") and len(cells) == 2 and cells[1].startswith("`"):
            documented[cells[0].strip("`")] = cells[1]
    assert documented == found
