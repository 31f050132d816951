# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tries again while the store is overloaded, restarting or out of reach, until a deadline. Private to storage.py."""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Dict, Optional, Tuple

try:
    from botocore.exceptions import ConnectionError as BotoConnectionError
    from botocore.exceptions import (
        HTTPClientError,
        IncompleteReadError,
        SSLError,
    )
    from urllib3.exceptions import HTTPError

    #: What breaks off an answer in its middle.
    BROKEN: Tuple[Any, ...] = (BotoConnectionError, HTTPClientError, IncompleteReadError, HTTPError, OSError)
except ImportError:
    HTTPClientError = SSLError = BotoConnectionError = OSError  # type: ignore[assignment,misc]
    BROKEN = (OSError,)

#: Codes of an error by which stores say: not now.
BUSY = {
    *("SlowDown", "SlowDownRead", "SlowDownWrite", "ServiceUnavailable", "InternalError", "InternalServerError"),
    *("RequestTimeout", "RequestTimeoutException", "Throttling", "ThrottlingException", "ThrottledException"),
    *("RequestThrottled", "RequestThrottledException", "TooManyRequests", "TooManyRequestsException"),
    *("BandwidthLimitExceeded", "RequestLimitExceeded", "XMinioServerNotInitialized", "ServerNotInitialized"),
    *("429", "500", "502", "503", "504"),
}
_STATUSES = (429, 500, 502, 503, 504)
#: A store that this process has never heard of may as well be a wrong address: nobody waits long for that.
FIRST = 10
_LONGEST_PAUSE = 10.0

_lock = threading.Lock()
_answered: Dict[str, bool] = {}


class Retry:
    """botocore's question whether a request is sent again. One for each client.

    :param storage: see storage.STORAGE_SPEC; "patient" in it has the deadline count for a store never heard of, too
    """

    def __init__(self, storage: Dict[str, Any]) -> None:
        self.seconds = float(storage.get("retry_seconds", 120))
        self.attempts = int(storage.get("max_attempts") or 0)
        self._patient = bool(storage.get("patient"))
        self._place = str(storage.get("endpoint") or storage.get("region"))
        self._over = threading.Event()

    def give_up(self) -> None:
        """From now on nothing is tried again, and nobody waits."""
        self._over.set()

    def __call__(
        self,
        attempts: int,
        response: Optional[Tuple[Any, Dict[str, Any]]],
        caught_exception: Optional[BaseException],
        request_dict: Dict[str, Any],
        **_more: Any,
    ) -> Optional[float]:
        """Waits and gives 0 when the request is to be sent again, None when not."""
        if not _passing(response, caught_exception):
            if response is not None:
                self.heard()
            return None
        context = request_dict.setdefault("context", {})
        since = context.setdefault("tradingflow_failing_since", time.monotonic())
        return 0 if self.wait(attempts, since) else None

    def heard(self) -> None:
        """The store has answered."""
        with _lock:
            _answered[self._place] = True

    def wait(self, attempts: int, since: float) -> bool:
        """Waits for the next try; False when there is none.

        :param attempts: so many were made
        :param since: when the first of them failed, by the monotonic clock
        """
        with _lock:
            known = _answered.get(self._place)
        # None: never heard of; False: we have waited for it in vain just now.
        seconds = self.seconds if known or (self._patient and known is None) else min(self.seconds, FIRST)
        left = since + (0 if known is False else seconds) - time.monotonic()
        if (self.attempts and attempts >= self.attempts) or left <= 0 or self._over.is_set():
            if not self.attempts and not self._over.is_set():
                with _lock:
                    _answered[self._place] = False
            return False
        pause = min(0.25 * 2 ** min(attempts, 10), _LONGEST_PAUSE) * (0.5 + random.random() / 2)  # noqa: S311
        return not self._over.wait(min(pause, left))


def _passing(response: Optional[Tuple[Any, Dict[str, Any]]], error: Optional[BaseException]) -> bool:
    """Whether a failure is one that may pass by itself."""
    if error is not None:
        if isinstance(error, SSLError):
            # A store that goes down breaks off handshakes; a wrong certificate stays wrong.
            text = str(error).lower()
            return "certificate" not in text and "wrong_version" not in text and "wrong version" not in text
        return isinstance(error, (BotoConnectionError, HTTPClientError))
    if response is None:
        return False
    code = str(response[1].get("Error", {}).get("Code", ""))
    return response[0].status_code in _STATUSES or code in BUSY


class Body:
    """An object's bytes to read from. What breaks off is gone on with where it stopped, until the deadline."""

    def __init__(self, s3: Any, retry: Retry, place: Dict[str, Any], answer: Dict[str, Any]) -> None:
        self._s3, self._retry, self._place = s3, retry, place
        self._body, self._etag = answer["Body"], answer.get("ETag")
        self._size = answer.get("ContentLength")
        self._done = 0

    def read(self, size: Optional[int] = None) -> bytes:
        """The next bytes, none at the end; without a size, all that are left."""
        if size is not None and size >= 0:
            return self._some(size)
        pieces = []
        while piece := self._some(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        self._body.close()

    def _some(self, size: int) -> bytes:
        attempts, since = 0, 0.0
        while True:
            try:
                if attempts:
                    self._again()
                data = bytes(self._body.read(size))
                break
            except BROKEN:
                attempts += 1
                since = since or time.monotonic()
                # Nothing is left to be asked for, or the store does not say what it was.
                if not self._etag or not self._retry.wait(attempts, since):
                    raise
        self._done += len(data)
        return data

    def _again(self) -> None:
        if self._size is not None and self._done >= self._size:
            return
        self._body = self._s3.get_object(**self._place, Range=f"bytes={self._done}-", IfMatch=self._etag)["Body"]
