"""Parts of the backup that need no services: programs, files, scratch space, uploads, progress."""

from __future__ import annotations

import base64
import errno
import gzip
import hashlib
import io
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zstandard
from ansible_collections.tradingflow.maintenance.plugins.module_utils._files import files
from ansible_collections.tradingflow.maintenance.plugins.module_utils._postgres import programs
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points import rows, store
from ansible_collections.tradingflow.maintenance.plugins.module_utils._recovery_points.ids import new_id
from ansible_collections.tradingflow.maintenance.plugins.module_utils._storage import squeeze
from ansible_collections.tradingflow.maintenance.plugins.module_utils._storage import upload as uploading
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work import programs as work_programs
from ansible_collections.tradingflow.maintenance.plugins.module_utils._work import progress, scratch
from ansible_collections.tradingflow.maintenance.plugins.module_utils.errors import (
    BackupError,
    ConfigurationError,
    LockedError,
    StorageError,
)
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st

STORAGE = {"bucket": "b", "endpoint": "http://x", "prefix": ""}


class FakeS3:
    """A store in memory, with the few calls an upload makes."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.aborted: list[str] = []
        self.fail: dict[str, BaseException] = {}

    def _maybe(self, call: str) -> None:
        if call in self.fail:
            raise self.fail[call]

    @staticmethod
    def _body(body: Any, checksum: str) -> bytes:
        data = body if isinstance(body, bytes) else b"".join(iter(lambda: body.read(1000), b""))
        assert base64.b64encode(hashlib.sha256(data).digest()).decode() == checksum
        return data

    def put_object(
        self, *, Bucket: str, Key: str, Body: Any, ContentLength: int, ChecksumSHA256: str
    ) -> dict[str, Any]:
        self._maybe("put_object")
        self.objects[Key] = self._body(Body, ChecksumSHA256)
        return {"ETag": '"e"', "VersionId": "v1"}

    def create_multipart_upload(self, *, Bucket: str, Key: str, ChecksumAlgorithm: str) -> dict[str, Any]:
        self._maybe("create_multipart_upload")
        self.uploads[Key] = {}
        return {"UploadId": Key}

    def upload_part(self, *, Key: str, UploadId: str, PartNumber: int, Body: Any, ChecksumSHA256: str, **_: Any) -> Any:
        self._maybe("upload_part")
        self.uploads[UploadId][PartNumber] = self._body(Body, ChecksumSHA256)
        return {"ETag": str(PartNumber)}

    def complete_multipart_upload(self, *, Key: str, UploadId: str, MultipartUpload: Any, **_: Any) -> dict[str, Any]:
        self._maybe("complete_multipart_upload")
        numbers = [part["PartNumber"] for part in MultipartUpload["Parts"]]
        assert numbers == list(range(1, len(numbers) + 1))
        parts = self.uploads.pop(UploadId)
        self.objects[Key] = b"".join(parts[number] for number in numbers)
        return {"ETag": '"m"'}

    def abort_multipart_upload(self, *, Bucket: str, Key: str, UploadId: str) -> None:
        self.uploads.pop(UploadId)
        self.aborted.append(Key)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "SMALLEST_PART", 10)


def test_upload_in_parts_and_whole(small_parts: None) -> None:
    s3, data = FakeS3(), os.urandom(1005)
    with uploading.Uploader(s3, STORAGE, threads=3, part_size=10) as uploader:
        stream = uploader.stream("big", "data")
        for place in range(0, len(data), 7):
            stream.write(data[place : place + 7])
        stream.close()
        uploader.put("small", b"abc", "globals")
        uploader.put("none", b"", "globals")
        uploader.settle()
    assert s3.objects == {"big": data, "small": b"abc", "none": b""}
    assert not s3.uploads
    entries = {entry["key"]: entry for entry in uploader.objects}
    assert entries["big"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert entries["big"]["size"] == 1005
    assert entries["big"]["checksum"].endswith("-101")
    assert entries["small"]["checksum"] == base64.b64encode(hashlib.sha256(b"abc").digest()).decode()
    assert entries["small"]["version_id"] == "v1"
    assert uploader.bytes_done == 1008


def test_parts_grow_so_that_any_stream_fits(small_parts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PARTS_PER_SIZE", 3)
    s3 = FakeS3()
    with uploading.Uploader(s3, STORAGE, part_size=10) as uploader:
        stream = uploader.stream("big", "data")
        stream.write(b"x" * 130)
        sent = stream._sent
        stream.close()
        uploader.settle()
    assert sent == 3 + 3 + 1  # 10, 10, 10, 20, 20, 20, 40
    assert s3.objects["big"] == b"x" * 130


@pytest.mark.parametrize("call", ["upload_part", "complete_multipart_upload", "create_multipart_upload", "put_object"])
def test_failed_upload_is_aborted_and_said(small_parts: None, call: str) -> None:
    s3 = FakeS3()
    refusal = {"Error": {"Code": "AccessDenied", "Message": "no"}}
    s3.fail[call] = (
        EndpointConnectionError(endpoint_url="http://x") if call == "upload_part" else ClientError(refusal, call)
    )

    def run() -> None:
        with uploading.Uploader(s3, STORAGE, part_size=10) as uploader:
            stream = uploader.stream("k", "data")
            stream.write(b"x" * (5 if call == "put_object" else 95))
            stream.close()
            uploader.settle()

    with pytest.raises(StorageError):
        run()
    assert not s3.uploads
    assert not s3.objects


def test_other_errors_abort_uploads_too(small_parts: None) -> None:
    s3 = FakeS3()

    def run() -> None:
        with uploading.Uploader(s3, STORAGE, part_size=10) as uploader:
            uploader.stream("k", "data").write(b"x" * 95)
            raise BackupError("pg_dump broke off")

    with pytest.raises(BackupError, match="broke off"):
        run()
    assert s3.aborted == ["k"]


def test_bandwidth_limit_counts_every_byte() -> None:
    waited: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0)
            return False

    bucket = uploading.Bucket(1000)
    body = uploading.Throttled(b"x" * 200_000, bucket, Stop())
    assert len(b"".join(iter(lambda: body.read(1 << 20), b""))) == 200_000
    # 200 s worth of bytes were allowed only with waiting for as much, less the first piece.
    assert max(waited) > 195
    body.seek(0)
    assert body.read(3) == b"xxx"


def write(path: Path, script: str) -> str:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_compression_is_detected_never_assumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = "echo 'invalid compression specification: this build does not support compression with ZSTD' >&2; exit 1"
    connects = "echo 'pg_dump: error: connection to server on socket failed' >&2; exit 1"
    only_gzip = write(tmp_path / "a", f'case "$*" in *=zstd*|*=lz4*) {refused};; esac; {connects}')
    everything = write(tmp_path / "b", connects)
    broken = write(tmp_path / "c", "exit 1")
    # ISA-L before the client's lz4 and gzip; a level that only zlib knows is zlib's.
    assert programs.compression(only_gzip, 18, "auto", None, free_bytes=10**9) == ("gzip", 1, True)
    assert programs.compression(only_gzip, 18, "gzip", 3, free_bytes=10**9) == ("gzip", 3, True)
    assert programs.compression(only_gzip, 18, "gzip", 6, free_bytes=10**9) == ("gzip", 6, False)
    assert programs.compression(everything, 18, "auto", None, free_bytes=10**9) == ("zstd", 1, False)
    assert programs.compression(everything, 18, "auto", 9, free_bytes=10**9) == ("zstd", 9, False)
    assert programs.compression(everything, 18, "lz4", None, free_bytes=10**9) == ("lz4", 1, False)
    # An uncompressed dump needs room.
    assert programs.compression(only_gzip, 18, "auto", None, free_bytes=10**9 - 1) == ("gzip", 1, False)
    monkeypatch.setattr(squeeze, "isal_zlib", None)
    assert programs.compression(only_gzip, 18, "auto", None, free_bytes=10**9) == ("gzip", 1, False)
    assert programs.compression(broken, 18, "auto", None, free_bytes=10**9) == ("none", 0, False)
    with pytest.raises(ConfigurationError, match="zstd"):
        programs.compression(only_gzip, 18, "zstd", None, free_bytes=10**9)


class Kept:
    """Where an object's bytes go."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("pieces", [[], [b"\\.\n\n\n"], [bytes([n]) * 100_000 for n in range(40)]])
def test_squeezed_pieces_are_one_gzip_file_in_order(pieces: list[bytes]) -> None:
    target: Any = Kept()
    with squeeze.Squeezer(3, 1) as squeezer:
        stream = squeeze.Squeezed(squeezer, target)
        assert [stream.write(piece) for piece in pieces] == [len(piece) for piece in pieces]
        stream.close()
    # zlib's gzip, as in pg_restore, is the other end.
    assert gzip.decompress(target.data) == b"".join(pieces)
    assert target.data
    assert target.closed


def packed(name: str, data: bytes) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(data[:7]) + gzip.compress(data[7:])
    return zstandard.ZstdCompressor().compress(data) if name.endswith(".zst") else data


@pytest.mark.parametrize("name", ["12.dat", "12.dat.gz", "12.dat.zst"])
@pytest.mark.parametrize("fast", [True, False])
def test_rows_of_a_table_are_counted_in_the_dump(name: str, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fast:
        monkeypatch.setattr(rows, "igzip", None)
    end = b"\\.\n\n\n"
    assert rows.table_data(name) == "12.dat"
    for data, expected in ((end, 0), (b"1\ta\\nb\n" * 70_001 + end, 70_001), (b"\n\n" + end, 2)):
        assert rows.count(name, io.BytesIO(packed(name, data))) == expected
    for data in (b"", b"1\n", b"1\n" * 1000 + end[:-1]):
        with pytest.raises(ValueError, match="end early"):
            rows.count(name, io.BytesIO(packed(name, data)))
    if name != "12.dat":
        whole = packed(name, os.urandom(1000) + end)
        altered = whole[:20] + bytes([whole[20] ^ 255]) + whole[21:]
        # pg_dump's zstd carries no checksum of its own: there, only the object's SHA-256 finds a changed byte.
        for broken in (whole[:-9], whole + b"junk", *([altered] if name.endswith(".gz") else [])):
            with pytest.raises(ValueError, match=r"decompress|end early"):
                rows.count(name, io.BytesIO(broken))


def test_what_is_no_table_is_not_counted() -> None:
    assert [rows.table_data(name) for name in ("toc.dat", "blob_12.dat.gz", "12.dat.lz4", "blobs_9.toc")] == [None] * 4


def test_compress_arguments_by_version() -> None:
    assert programs.compress_arguments(16, "zstd", 3) == ["--compress=zstd:3"]
    assert programs.compress_arguments(18, "none", 0) == ["--compress=none"]
    assert programs.compress_arguments(15, "gzip", 4) == ["--compress=4"]
    assert programs.compress_arguments(15, "none", 0) == ["--compress=0"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [("pg_dump (PostgreSQL) 18.6", (18, 6)), ("pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", (15, 14))],
)
def test_version_of_a_client(tmp_path: Path, said: str, expected: tuple[int, int]) -> None:
    assert programs.version(write(tmp_path / "pg_dump", f"echo '{said}'")) == expected


def test_program_that_fails_says_why_and_is_reaped(tmp_path: Path) -> None:
    script = write(tmp_path / "pg_dump", "echo 'could not write: No space left on device' >&2; exit 3")
    with work_programs.Program([script], {}) as program:
        program.process.wait()
        with pytest.raises(BackupError, match=r"exit status 3: could not write.*backup_scratch_directory"):
            program.finished()
    script = write(tmp_path / "hangs", "sleep 60")
    with work_programs.Program([script], {}) as program:
        assert not program.finished()
        program.pause(True)
        assert Path(f"/proc/{program.process.pid}/stat").read_text().split()[2] in "TtSRD"
    assert program.process.returncode == -9


def test_children_die_with_us(tmp_path: Path) -> None:
    code = (
        "import sys, os; sys.path.insert(0, sys.argv[1])\n"
        "from ansible_collections.tradingflow.maintenance.plugins.module_utils._work.programs import Program\n"
        "program = Program(['/bin/sleep', '60'], {})\n"
        "print(program.process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    collections = str(Path(programs.__file__).parents[6])
    done = subprocess.run([sys.executable, "-c", code, collections], capture_output=True, text=True)
    pid = int(done.stdout)
    for _ in range(200):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().split()[2]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        threading.Event().wait(0.02)
    raise AssertionError("the child still runs")


def archive(root: Path, excludes: tuple[str, ...] = ()) -> tuple[bytes, files.Archive]:
    target = io.BytesIO()
    made = files.Archive(root, excludes)
    made.write(target)
    return target.getvalue(), made


NAMES = st.binary(min_size=1, max_size=60).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b".."))


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, st.binary(max_size=3000), max_size=5))
def test_any_names_and_contents_survive(tmp_path_factory: pytest.TempPathFactory, contents: dict[bytes, bytes]) -> None:
    root = tmp_path_factory.mktemp("data")
    for name, data in contents.items():
        (root / os.fsdecode(name)).write_bytes(data)
    packed, made = archive(root)
    manifest = json.loads(files.dump_manifest(made.manifest()))
    assert {entry["path"] for entry in manifest["entries"]} == {".", *(os.fsdecode(name) for name in contents)}
    assert files.compare(io.BytesIO(packed), manifest) == []


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    (root / "sub").mkdir(parents=True)
    (root / "a").write_text("first")
    (root / "sub" / "b").write_text("second")
    os.link(root / "a", root / "sub" / "c")
    (root / "link").symlink_to("/nowhere")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        place = os.getcwd()
        os.chdir(root)
        listener.bind("sock")
        os.chdir(place)
    return root


def test_manifest_says_what_is_there_and_what_was_left_out(tree: Path) -> None:
    packed, made = archive(tree, ("sub/b",))
    entries = {entry["path"]: entry for entry in made.entries}
    assert set(entries) == {".", "a", "link", "sub", "sub/c"}
    assert entries["a"]["sha256"] == hashlib.sha256(b"first").hexdigest()
    assert entries["sub/c"] == {**entries["sub/c"], "type": "hardlink", "target": "a", "size": 0}
    assert entries["link"]["target"] == "/nowhere"
    assert made.skipped == ["fifo", "sock"]
    assert files.compare(io.BytesIO(packed), made.manifest()) == []
    assert files.estimate(tree, ["sub/b"]) == (2, 10)


def test_archive_that_differs_is_found(tree: Path) -> None:
    packed, made = archive(tree)
    manifest = json.loads(files.dump_manifest(made.manifest()))

    def wrong(change: Any) -> str:
        copy = json.loads(json.dumps(manifest))
        change(copy["entries"])
        return " ".join(files.compare(io.BytesIO(packed), copy))

    def entry(entries: list[dict[str, Any]], path: str) -> dict[str, Any]:
        return next(item for item in entries if item["path"] == path)

    assert "a has other content" in wrong(lambda entries: entry(entries, "a").update(sha256="0" * 64))
    assert "a is file of 5 bytes" in wrong(lambda entries: entry(entries, "a").update(size=6))
    assert "lost is missing" in wrong(lambda entries: entries.append({**entries[1], "path": "lost"}))
    assert "sub/b is in the archive" in wrong(lambda entries: entries.remove(entry(entries, "sub/b")))
    for broken in (packed[:-5], packed[:20], b"", b"rubbish" * 100):
        assert files.compare(io.BytesIO(broken), manifest)


def test_files_that_move_while_they_are_read_are_named(tree: Path) -> None:
    steps = iter(range(100))

    def disturb() -> None:
        if next(steps) == 1:
            (tree / "a").unlink()
            (tree / "sub" / "c").unlink()

    target = io.BytesIO()
    made = files.Archive(tree, (), disturb)
    made.write(target)
    assert made.walk.vanished
    assert files.compare(io.BytesIO(target.getvalue()), made.manifest()) == []


def test_file_that_shrinks_is_padded_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    real = os.fstat
    first: list[os.stat_result] = []

    def fstat(handle: int) -> os.stat_result:
        status = real(handle)
        if stat.S_ISREG(status.st_mode) and not first:
            first.append(status)
            os.truncate(tmp_path / "a", 40)
        return status

    monkeypatch.setattr(os, "fstat", fstat)
    packed, made = archive(tmp_path)
    monkeypatch.undo()
    assert made.changed == ["a"]
    assert files.compare(io.BytesIO(packed), made.manifest()) == []


def test_unreadable_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("x")

    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", "a")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError):
        archive(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(BackupError, match="Permission denied"):
        archive(tmp_path)


def test_archive_carries_a_checksum_of_its_own(tree: Path) -> None:
    packed, _ = archive(tree)
    assert zstandard.get_frame_parameters(packed).has_checksum


def test_lock_names_its_holder_and_cleans_up_after_the_dead(tmp_path: Path) -> None:
    with (
        scratch.locked(str(tmp_path), "env", "id-1") as held,
        pytest.raises(LockedError, match=f"process {os.getpid()}, recovery point id-1, started 2"),
        scratch.locked(str(tmp_path), "env", "id-2"),
    ):
        pass
    assert not held.path.exists()
    # A dead run leaves a folder and no lock.
    (held.path.parent / "id-0").mkdir()
    (held.path.parent / "id-0" / "1.dat.gz").write_text("x")
    with scratch.locked(str(tmp_path), "env", "id-3") as held:
        assert held.stale == ["id-0"]
        assert [path.name for path in held.path.parent.iterdir() if path.is_dir()] == ["id-3"]
        with scratch.locked(str(tmp_path), "other", "id-4") as other:
            assert other.stale == []


def test_abandoned_holder_is_waited_for(tmp_path: Path) -> None:
    """A run whose handle nobody holds any more ends itself: the next one takes over."""
    job = tmp_path / "job"
    job.mkdir()
    (job / "alive").touch()
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with scratch.locked(str(tmp_path), "env", "id-1", job):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait(30)
    threading.Timer(1, leave.set).start()
    with scratch.locked(str(tmp_path), "env", "id-2"):
        pass
    thread.join()


def test_scratch_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = scratch.base(str(tmp_path))
    folder.chmod(0o755)
    with pytest.raises(ConfigurationError, match="open to others"):
        scratch.base(str(tmp_path))
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigurationError):
        scratch.base(str(tmp_path))
    with pytest.raises(ConfigurationError):
        scratch.base(str(tmp_path / "missing"))


def test_destinations_do_not_collide() -> None:
    here = scratch.destination("production/ä b", STORAGE)
    assert "/" not in here
    assert scratch.destination("production/ä b", STORAGE) == here
    assert scratch.destination("production/ä b", {**STORAGE, "bucket": "c"}) != here
    assert scratch.destination("production_ä b", STORAGE) != here


def test_tail_gives_back_what_was_read(tmp_path: Path) -> None:
    path = tmp_path / "1.dat.gz"
    data = os.urandom(3 << 20)
    with open(path, "wb") as target:
        target.write(data)
        target.flush()
        tail = scratch.Tail(path)
        assert tail.waiting() == len(data)
        assert b"".join(iter(tail.read, b"")) == data
        target.write(b"more")
        target.flush()
        assert tail.read() == b"more"
    assert path.stat().st_size == len(data) + 4
    # Not every file system of a test machine can punch holes.
    used = path.stat().st_blocks * 512
    tail.remove()
    assert not path.exists()
    assert used < 1 << 20 or used >= len(data)


def test_watch_tells_closed_files(tmp_path: Path) -> None:
    watch = scratch.Watch(tmp_path)
    with open(tmp_path / "ö pen", "w") as target:
        target.write("x")
        target.flush()
        assert watch.closed(0) == []
    assert watch.closed(1) == ["ö pen"]
    watch.close()
    assert watch.closed(0) == []


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "alive").touch()
    return tmp_path


def test_progress_writes_state_and_times_phases(job: Path) -> None:
    shown = progress.Progress(job)
    shown.phase("backup", lambda: {"bytes_done": 5, "bytes_total": 10})
    state = json.loads((job / "state.json").read_text())
    assert state == {"phase": "backup", "seconds": state["seconds"], "bytes_done": 5, "bytes_total": 10}
    shown.phase("done")
    assert set(shown.phases) == {"backup"}


def test_handle_taken_away_or_left_alone_ends_the_work(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = progress.Progress(job)
    shown.phase("backup")
    monkeypatch.setattr(progress, "HANDLE_TIMEOUT", -1.0)
    monkeypatch.setattr(progress, "_INTERVAL", 0.0)
    with pytest.raises(BackupError, match="gone for"):
        shown.tick()
    monkeypatch.setattr(progress, "HANDLE_TIMEOUT", 30.0)
    shown.tick()
    (job / "alive").unlink()
    with pytest.raises(BackupError, match="told to stop"):
        shown.tick()


def test_watched_process_gone_ends_the_work(job: Path) -> None:
    gone = subprocess.Popen(["true"])
    shown = progress.Progress(job, [os.getpid(), gone.pid])
    gone.wait()
    with pytest.raises(BackupError, match="is gone"):
        shown.phase("backup")


def test_ids_are_in_order_of_time_within_a_second_too() -> None:
    begun = datetime(2026, 11, 23, 20, 40, 30, tzinfo=UTC)
    ids = [new_id(begun + timedelta(milliseconds=each)) for each in range(0, 2000, 3)]
    assert ids == sorted(ids)
    assert all(store.ID.fullmatch(each) for each in ids)
    assert len({new_id(begun) for _each in range(20)}) > 10
