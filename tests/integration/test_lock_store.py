"""The lock of a run across controllers, in a real S3 store."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils import lock as locks
from ansible_collections.tradingflow.maintenance.plugins.module_utils import lock_keeper as keeper
from ansible_collections.tradingflow.maintenance.plugins.module_utils import storage
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import LockedError
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session

from tests.conftest import ROOT, Sandbox
from tests.unit.ledger_fixtures import shared_client


class Controllers:
    """Several controllers, each with a folder of runs of its own, before one store."""

    def __init__(self, store: dict[str, Any], folder: Path) -> None:
        self.store, self.folder = store, folder
        self.s3 = storage.client(store)

    def acquire(self, controller: str, run_id: str = "", pid: int | None = None, ttl_s: int = 3600) -> dict[str, Any]:
        return locks.acquire(
            self.folder / controller,
            "production",
            "daily",
            run_id=run_id or f"run of {controller}",
            owner_pid=pid or os.getpid(),
            storage=self.store,
            ttl_s=ttl_s,
        )

    def release(self, lock: dict[str, Any]) -> list[str]:
        return locks.release(lock, storage=self.store)

    def left(self) -> tuple[int, int]:
        """Versions and delete markers that lie in the store."""
        found = self.s3.list_object_versions(Bucket=self.store["bucket"], Prefix=f"{self.store['prefix']}/locks/")
        return len(found.get("Versions", [])), len(found.get("DeleteMarkers", []))

    def contest(self, count: int) -> tuple[list[dict[str, Any]], list[LockedError]]:
        won: list[dict[str, Any]] = []
        lost: list[LockedError] = []
        start = threading.Barrier(count)

        def run(name: str) -> None:
            start.wait()
            try:
                won.append(self.acquire(name))
            except LockedError as error:
                lost.append(error)

        threads = [threading.Thread(target=run, args=(f"c{number}",)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return won, lost


@pytest.fixture(params=["versioned", "plain"])
def two(
    platform: Sandbox, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Controllers]:
    monkeypatch.setattr(locks, "client", shared_client)
    made = Controllers({**platform.storage, "prefix": f"tést {secrets.token_hex(4)}"}, tmp_path)
    if request.param == "versioned":
        yield made
        return
    made.store["bucket"] = name = f"plain-{secrets.token_hex(4)}"
    made.s3.create_bucket(Bucket=name)
    yield made
    for entry in made.s3.list_objects_v2(Bucket=name).get("Contents", []):
        made.s3.delete_object(Bucket=name, Key=entry["Key"])
    made.s3.delete_bucket(Bucket=name)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """What is locked in this context is locked by another machine."""
    with monkeypatch.context() as patch:
        yield patch


def machine(patch: pytest.MonkeyPatch, name: str) -> None:
    other = {**locks._machine(), "host": name, "machine": name, "boot_id": name}
    patch.setattr(locks, "_machine", lambda: other)


def test_one_controller_at_a_time(two: Controllers) -> None:
    first = two.acquire("a")
    assert first["notes"] == []
    with pytest.raises(LockedError) as caught:
        two.acquire("b")
    assert "run of a" in caught.value.message
    assert first["remote"]["key"] in caught.value.remedy
    # Who lost left nothing behind that would lock its own controller.
    assert two.release(first) == []
    assert two.left() == (0, 0)
    second = two.acquire("b")
    assert second["notes"] == []
    two.release(second)
    assert two.left() == (0, 0)


def test_ten_controllers_at_once(two: Controllers) -> None:
    won, lost = two.contest(10)
    assert (len(won), len(lost)) == (1, 9)
    assert won[0]["remote"]


def test_dead_owner_is_taken_over_by_one(two: Controllers) -> None:
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    dead = two.acquire("dead", pid=running.pid)
    with pytest.raises(LockedError):
        two.acquire("b")
    running.kill()
    running.communicate()
    won, lost = two.contest(10)
    assert (len(won), len(lost)) == (1, 9)
    (note,) = won[0]["notes"]
    assert "run of dead" in note
    assert "its process is gone" in note
    assert two.left() == (1, 0)
    # The dead one's late release takes nothing from who has it now.
    two.release(dead)
    with pytest.raises(LockedError):
        two.acquire("again")
    two.release(won[0])
    assert two.left() == (0, 0)


def test_another_machine_keeps_it_until_its_time_is_over(two: Controllers, elsewhere: pytest.MonkeyPatch) -> None:
    machine(elsewhere, "other")
    two.acquire("other", pid=2**22 + 1)
    elsewhere.undo()
    with pytest.raises(LockedError, match=r"on other, .* its lock ends at \d{4}-.*Z by the store's clock"):
        two.acquire("a")


@pytest.mark.parametrize("year", [2001, 2101])
def test_the_stores_clock_counts(two: Controllers, elsewhere: pytest.MonkeyPatch, year: int) -> None:
    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Wrong:
            return cls(year, 1, 1, tzinfo=tz or UTC)

    machine(elsewhere, "other")
    two.acquire("other", pid=2**22 + 1, ttl_s=3600)
    elsewhere.undo()
    elsewhere.setattr(locks, "datetime", Wrong)
    with pytest.raises(LockedError):
        two.acquire("a")
    elsewhere.undo()
    key = f"{two.store['prefix']}/locks/production/daily.json"
    two.s3.delete_object(Bucket=two.store["bucket"], Key=key)
    machine(elsewhere, "other")
    two.acquire("other 2", pid=2**22 + 1, ttl_s=0)
    elsewhere.undo()
    elsewhere.setattr(locks, "datetime", Wrong)
    assert "its time is over" in two.acquire("a")["notes"][0]


def test_lock_that_nobody_can_read(two: Controllers) -> None:
    key = f"{two.store['prefix']}/locks/production/daily.json"
    two.s3.put_object(Bucket=two.store["bucket"], Key=key, Body=b"\xff")
    with pytest.raises(LockedError):
        two.acquire("a")
    assert "its time is over" in two.acquire("b", ttl_s=0)["notes"][0]


def test_answer_lost_on_the_way(two: Controllers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store takes the lock, its answer never arrives, and the SDK tries again: it is ours all the same."""
    send, lost = URLLib3Session.send, list[int]()

    def losing(self: Any, request: Any) -> Any:
        answer = send(self, request)
        if request.method == "PUT" and not lost:
            lost.append(answer.status_code)
            raise HTTPClientError(error=OSError("connection reset"))
        return answer

    monkeypatch.setattr(URLLib3Session, "send", losing)
    lock = two.acquire("a")
    assert lost == [200]
    assert lock["notes"] == []
    assert lock["remote"]
    two.release(lock)
    two.release(two.acquire("b"))


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "https://localhost:1"},
        {"secret_key": "wrong-secret-of-mine"},
        {"bucket": "there-is-none"},
        {"ca_file": "/there/is/none.pem"},
    ],
)
def test_store_in_trouble(two: Controllers, changes: dict[str, Any]) -> None:
    secret, good = two.store["secret_key"], dict(two.store)
    two.store.update(changes)
    lock = two.acquire("a")
    (note,) = lock["notes"]
    assert note.startswith("Only this controller is locked against a second daily: ")
    assert secret not in note
    assert "wrong-secret-of-mine" not in note
    with pytest.raises(LockedError):
        two.acquire("a", "second")
    assert two.release(lock) == []
    # What went down meanwhile is a note too.
    two.store.update(good)
    lock = two.acquire("a")
    two.store.update(changes)
    (note,) = two.release(lock)
    assert "was left in the store" in note
    two.store.update(good)
    two.release(lock)


def test_without_a_store(two: Controllers) -> None:
    lock = locks.acquire(two.folder, "production", "daily", run_id="r", owner_pid=os.getpid(), storage=None, ttl_s=3600)
    assert (lock["remote"], lock["notes"]) == (None, [])
    assert two.left() == (0, 0)


def test_renewed_while_it_lives_and_over_soon_after(two: Controllers, elsewhere: pytest.MonkeyPatch) -> None:
    """Another container, which cannot see the process."""
    machine(elsewhere, "other")
    running = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lock = two.acquire("other", pid=running.pid, ttl_s=15)
    found: list[datetime] = []

    def pause(seconds: float) -> None:
        place = {"Bucket": two.store["bucket"], "Key": lock["remote"]["key"]}
        found.append(two.s3.head_object(**place)["LastModified"])
        time.sleep(seconds)
        if found[-1] > found[0]:
            running.kill()
            running.wait()

    elsewhere.setattr(keeper, "_PER_TTL", 15)
    keeper.renewing(lock, storage=two.store, sleep=pause)
    assert found[-1] > found[0]
    assert two.left() == (1, 0)
    # Nobody renews it any more.
    elsewhere.undo()
    elsewhere.setattr(locks, "client", shared_client)
    late: list[dict[str, Any]] = []

    def taken() -> bool:
        try:
            late.append(two.acquire("late", ttl_s=15))
        except LockedError:
            return False
        return True

    assert not taken()
    wait_until(taken)
    assert "its time is over" in late[0]["notes"][0]
    # The dead one's late release takes nothing from who has it now, and says so.
    (note,) = two.release(lock)
    assert "was taken over meanwhile by run run of late" in note
    assert two.left() == (1, 0)


def test_released_by_another_than_renewed_it(two: Controllers) -> None:
    lock = two.acquire("a")
    assert keeper.renew(lock, storage=two.store)
    assert keeper.renew(lock, storage=two.store)
    assert two.left() == (1, 0)
    assert two.release(lock) == []
    assert two.left() == (0, 0)
    assert not keeper.renew(lock, storage=two.store)
    assert two.left() == (0, 0)


def test_a_store_that_is_away_ends_no_renewing(two: Controllers) -> None:
    lock = two.acquire("a", ttl_s=5)
    good, turns = dict(two.store), list[int]()

    def pause(seconds: float) -> None:
        turns.append(1)
        if len(turns) < 3:
            two.store["endpoint"] = "https://localhost:1"
            time.sleep(seconds)
        elif len(turns) < 5:
            two.store.update(good)
            time.sleep(seconds)
        else:
            two.release(lock)

    keeper.renewing(lock, storage=two.store, sleep=pause)
    assert len(turns) == 5
    assert two.left() == (0, 0)


def test_the_keeper_is_a_process_of_its_own_and_ends_with_the_lock(two: Controllers) -> None:
    program = (
        "import json, sys, time; sys.path[:0] = sys.argv[1:3]\n"
        "from pathlib import Path\n"
        "from ansible_collections.tradingflow.maintenance.plugins.module_utils import lock, lock_keeper\n"
        "store = json.loads(sys.stdin.readline())\n"
        "taken = lock.acquire(Path(sys.argv[3]), 'production', 'daily', run_id='r', owner_pid=int(sys.argv[4]),"
        " storage=store, ttl_s=5)\n"
        "lock_keeper.keep(taken, storage=store)\n"
        "print(json.dumps(taken))"
    )
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, ROOT, ROOT / "collections", two.folder, str(owner.pid)],
            input=json.dumps(two.store) + "\n",
            capture_output=True,
            text=True,
            check=True,
        )
        lock = json.loads(done.stdout)
        key = lock["remote"]["key"]

        def modified() -> datetime:
            found: datetime = two.s3.head_object(Bucket=two.store["bucket"], Key=key)["LastModified"]
            return found

        first = modified()
        wait_until(lambda: modified() > first)
    finally:
        owner.kill()
        owner.communicate()
    # With its owner gone it renews no more: what it renews is the file too, which nobody else touches.
    path = Path(lock["file"])

    def still() -> bool:
        before = path.stat().st_mtime
        time.sleep(4)
        return path.stat().st_mtime == before

    wait_until(still)


def wait_until(reached: Callable[[], bool]) -> None:
    for _try in range(600):
        if reached():
            return
        time.sleep(0.2)
    pytest.fail("it never came")
