# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Streams to S3: parts are uploaded while the rest is still being made, hashed on the way."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Dict, List, Optional

from ..errors import BackupError
from ..storage import error_code, give_up, storage_errors

try:
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    BotoCoreError = ClientError = OSError  # type: ignore[assignment,misc]

#: After so many parts the part size doubles: S3 takes 10000 parts, and the end of a stream is not known.
PARTS_PER_SIZE = 2000
SMALLEST_PART = 5 * 1024 * 1024


class Bucket:
    """A token bucket: take() sleeps so that no more than rate bytes/s pass. Rate 0 is no limit."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    def take(self, size: int, stop: threading.Event) -> None:
        """Waits until size more bytes may go, or until stop is set."""
        if not self.rate:
            return
        with self._lock:
            start = max(self._free_at, time.monotonic())
            self._free_at = start + size / self.rate
            delay = self._free_at - time.monotonic()
        if delay > 0:
            stop.wait(delay)


class Throttled:
    """A part's bytes as a file that gives them no faster than the bucket allows."""

    def __init__(self, data: bytes, bucket: Bucket, stop: threading.Event) -> None:
        self._data = memoryview(data)
        self._place = 0
        self._bucket = bucket
        self._stop = stop

    def __len__(self) -> int:
        return len(self._data)

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, len(self._data))[whence]
        return self._place

    def read(self, size: int = -1) -> bytes:
        rest = len(self._data) - self._place
        size = min(rest, 65536 if size is None or size < 0 else size, 65536)
        if self._stop.is_set():
            raise BackupError("The upload was stopped.")
        self._bucket.take(size, self._stop)
        piece = bytes(self._data[self._place : self._place + size])
        self._place += size
        return piece


class Uploader:
    """Uploads objects in parts, several at a time, with bounded memory.

    Leaving the context by an exception aborts every unfinished upload.

    :param s3: client of module_utils/storage.py
    :param threads: parts under way at a time; twice as many are held in memory at most
    :param part_size: in bytes, at least 5 MiB
    :param bandwidth_limit: bytes/s over all parts, 0 for none
    :param lock: the store's arguments that lock each object, see lock.py
    """

    def __init__(
        self,
        s3: Any,
        storage: Dict[str, Any],
        *,
        threads: int = 4,
        part_size: int = 16 << 20,
        bandwidth_limit: int = 0,
        lock: Optional[Dict[str, Any]] = None,
    ) -> None:
        self.s3 = s3
        self.storage = storage
        self.part_size = max(part_size, SMALLEST_PART)
        self.bucket = Bucket(bandwidth_limit)
        self.lock = lock or {}
        self.stop = threading.Event()
        self.bytes_done = 0
        self.objects: List[Dict[str, Any]] = []
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        self._room = threading.BoundedSemaphore(threads * 2)
        self._most = threads * 2
        self._busy = 0
        self._lock = threading.Lock()
        self._open: Dict[str, str] = {}
        self._error: Optional[BaseException] = None
        self._unfinished = 0

    def __enter__(self) -> Uploader:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self.stop.set()
            give_up(self.s3)
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        for key, upload in list(self._open.items()):
            # Where the store is gone, the next run aborts it.
            with suppress(BotoCoreError, ClientError):
                self.s3.abort_multipart_upload(Bucket=self.storage["bucket"], Key=key, UploadId=upload)

    def stream(self, key: str, role: str) -> ObjectStream:
        """A new object to write to. Its entry appears in objects when it is complete."""
        return ObjectStream(self, key, role)

    def put(self, key: str, data: bytes, role: str) -> None:
        """Uploads a small object now."""
        stream = self.stream(key, role)
        stream.write(data)
        stream.close()
        self.settle()

    def room(self) -> bool:
        """Whether a part more would start or queue at once, instead of making the writer wait."""
        self.check()
        return self._busy < self._most

    def submit(self, job: Any, *arguments: Any) -> Future[Any]:
        """Runs a job in the pool when there is room for it in memory."""
        while not self._room.acquire(timeout=0.2):
            self.check()
        self.check()
        with self._lock:
            self._busy += 1

        def run() -> Any:
            try:
                if self.stop.is_set():
                    raise BackupError("The upload was stopped.")
                return job(*arguments)
            except BaseException as error:
                with self._lock:
                    self._error = self._error or error
                self.stop.set()
                raise
            finally:
                with self._lock:
                    self._busy -= 1
                self._room.release()

        try:
            return self._pool.submit(run)
        except RuntimeError:
            raise BackupError("The upload was stopped.") from None

    def check(self) -> None:
        """Raises the first error of any part."""
        if self._error is not None:
            raise self._error

    def settled(self) -> bool:
        """Whether everything begun is uploaded; raises the first error."""
        self.check()
        return not self._unfinished

    def settle(self) -> None:
        """Waits until everything begun is uploaded, and raises the first error."""
        while not self.settled():
            time.sleep(0.01)


class ObjectStream:
    """One object being written. write() blocks while too many parts wait; close() completes it in the background."""

    def __init__(self, uploader: Uploader, key: str, role: str) -> None:
        self.uploader = uploader
        self.key = key
        self.role = role
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._buffer = bytearray()
        self._parts: Dict[int, Dict[str, Any]] = {}
        self._digests: Dict[int, bytes] = {}
        self._sent = 0
        self._closed = False
        self._upload_id = ""
        with uploader._lock:
            uploader._unfinished += 1

    def write(self, data: Any) -> int:
        """Takes bytes.

        :raises StorageError, BackupError: some upload failed
        """
        self.uploader.check()
        self.sha256.update(data)
        self.size += len(data)
        self._buffer += data
        while len(self._buffer) >= self._limit():
            limit = self._limit()
            piece = bytes(memoryview(self._buffer)[:limit])
            del self._buffer[:limit]
            self._send(piece)
        return len(data)

    def _limit(self) -> int:
        return self.uploader.part_size << (self._sent // PARTS_PER_SIZE)

    def _start(self) -> None:
        up = self.uploader
        with storage_errors(up.storage, f"starting the upload of {self.key}"):
            self._upload_id = up.s3.create_multipart_upload(
                Bucket=up.storage["bucket"], Key=self.key, ChecksumAlgorithm="SHA256", **up.lock
            )["UploadId"]
        up._open[self.key] = self._upload_id

    def _send(self, piece: bytes) -> None:
        if not self._upload_id:
            self._start()
        self._sent += 1
        self.uploader.submit(self._part, self._sent, piece)

    def _part(self, number: int, piece: bytes) -> None:
        up = self.uploader
        digest = hashlib.sha256(piece).digest()
        checksum = base64.b64encode(digest).decode()
        with storage_errors(up.storage, f"uploading {self.key}"):
            answer = up.s3.upload_part(
                Bucket=up.storage["bucket"],
                Key=self.key,
                UploadId=self._upload_id,
                PartNumber=number,
                Body=Throttled(piece, up.bucket, up.stop) if up.bucket.rate else piece,
                ContentLength=len(piece),
                ChecksumSHA256=checksum,
            )
        with up._lock:
            up.bytes_done += len(piece)
            self._parts[number] = {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}
            self._digests[number] = digest
        self._complete()

    def close(self) -> None:
        """Ends the object; it is complete when uploader.settle() returns."""
        if self._upload_id:
            if self._buffer:
                self._send(bytes(self._buffer))
            self._closed = True
            self._complete()
        else:
            self._closed = True
            self.uploader.submit(self._put, bytes(self._buffer))
        self._buffer = bytearray()

    def _put(self, data: bytes) -> None:
        up = self.uploader
        checksum = base64.b64encode(self.sha256.digest()).decode()
        with storage_errors(up.storage, f"uploading {self.key}"):
            answer = up.s3.put_object(
                Bucket=up.storage["bucket"],
                Key=self.key,
                Body=Throttled(data, up.bucket, up.stop) if up.bucket.rate else data,
                ContentLength=len(data),
                ChecksumSHA256=checksum,
                **up.lock,
            )
        with up._lock:
            up.bytes_done += len(data)
        self._record(answer, checksum)

    def _complete(self) -> None:
        up = self.uploader
        with up._lock:
            # The thread that finds the last part done completes the object.
            if not self._closed or len(self._parts) < self._sent or self.key not in up._open:
                return
            upload = up._open.pop(self.key)
        composite = hashlib.sha256(b"".join(self._digests[number] for number in sorted(self._digests))).digest()
        checksum = f"{base64.b64encode(composite).decode()}-{len(self._parts)}"
        try:
            with storage_errors(up.storage, f"completing {self.key}"):
                answer = self._completed(upload, checksum)
        except BaseException:
            up._open[self.key] = upload
            raise
        self._record(answer, checksum)

    def _completed(self, upload: str, checksum: str) -> Dict[str, Any]:
        """The store's answer. One whose answer was lost has no such upload any more when it is tried again."""
        place = {"Bucket": self.uploader.storage["bucket"], "Key": self.key}
        parts = [self._parts[number] for number in sorted(self._parts)]
        try:
            answer: Dict[str, Any] = self.uploader.s3.complete_multipart_upload(
                **place, UploadId=upload, MultipartUpload={"Parts": parts}
            )
            return answer
        except ClientError as error:
            if error_code(error) != "NoSuchUpload":
                raise
            found: Dict[str, Any] = self.uploader.s3.head_object(**place, ChecksumMode="ENABLED")
            if found["ContentLength"] != self.size or found.get("ChecksumSHA256", checksum) != checksum:
                raise
            return found

    def _record(self, answer: Dict[str, Any], checksum: str) -> None:
        up = self.uploader
        entry = {
            "key": self.key,
            "size": self.size,
            "sha256": self.sha256.hexdigest(),
            "role": self.role,
            # As the store keeps it: compared with HEAD, without reading the object again.
            "checksum": checksum,
            "etag": answer.get("ETag", "").strip('"'),
        }
        if answer.get("VersionId"):
            entry["version_id"] = answer["VersionId"]
        with up._lock:
            up.objects.append(entry)
            up._unfinished -= 1
