# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Access to the S3 store, AWS's or another."""

from __future__ import annotations

import weakref
from contextlib import contextmanager, suppress
from typing import Any, Dict, Iterator, List, Optional

from ._storage_retry import BROKEN, BUSY, Body, Retry
from .errors import ConfigurationError, StorageError

try:
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    boto3 = None  # type: ignore[assignment]

#: What reading an answer raises where the SDK does not wrap it.
_HTTP = tuple(each for each in BROKEN if each is not OSError)
_DOWN = (
    "Look at the store's health, load, disks and log, and run again once it answers. This says nothing against keys,"
    " rights or objects: change none of them."
)

_CONDITIONS = {"IfMatch": "If-Match", "IfNoneMatch": "If-None-Match"}

#: Argument spec of the option "storage".
STORAGE_SPEC: Dict[str, Any] = {
    "bucket": {"type": "str", "required": True},
    "prefix": {"type": "str", "default": ""},
    "endpoint": {"type": "str"},
    "region": {"type": "str", "default": "us-east-1"},
    "access_key": {"type": "str", "no_log": False},
    "secret_key": {"type": "str", "no_log": True},
    "session_token": {"type": "str", "no_log": True},
    "ca_file": {"type": "path"},
    "addressing_style": {"type": "str", "default": "auto", "choices": ["auto", "path", "virtual"]},
    "connect_timeout": {"type": "int", "default": 5},
    "read_timeout": {"type": "int", "default": 60},
    "retry_seconds": {"type": "int", "default": 120},
    "max_attempts": {"type": "int", "default": 0},
}

_CLIENTS: weakref.WeakKeyDictionary[Any, Retry] = weakref.WeakKeyDictionary()
#: What the SDK has read of its own description of services: that takes longer than most requests.
_LOADERS: List[Any] = []


def client(storage: Dict[str, Any], *, pool: int = 10) -> Any:
    """A boto3 S3 client. Without keys, the usual chain of the AWS SDK (role, profile, environment) is used.

    :param storage: see STORAGE_SPEC
    :param pool: connections kept open, at least the number of threads
    """
    if boto3 is None:
        raise ConfigurationError(
            "The Python library boto3 is missing.", "Install boto3 for this Python; Debian's is python3-boto3."
        )
    # Stores other than AWS often refuse boto3's default CRC trailers; where we want a checksum we say so. What is older
    # than 1.36 (Debian 12's) has none.
    quiet = {
        name: "when_required"
        for name in ("request_checksum_calculation", "response_checksum_validation")
        if name in Config.OPTION_DEFAULTS
    }
    try:
        made = _session().client(
            "s3",
            endpoint_url=storage.get("endpoint") or None,
            region_name=storage.get("region") or None,
            aws_access_key_id=storage.get("access_key") or None,
            aws_secret_access_key=storage.get("secret_key") or None,
            aws_session_token=storage.get("session_token") or None,
            # The environment's CA bundle is somebody else's: a store with a certificate of its own names its CA here.
            verify=storage.get("ca_file") or None,
            config=Config(
                connect_timeout=storage.get("connect_timeout", 5),
                read_timeout=storage.get("read_timeout", 60),
                # Ours decides: a number of tries says nothing of how long a store may be away.
                retries={"mode": "standard", "total_max_attempts": 1},
                max_pool_connections=pool,
                s3={"addressing_style": storage.get("addressing_style") or "auto"},
                **quiet,
            ),
        )
    except (BotoCoreError, ValueError) as error:
        raise StorageError(
            f"Cannot use the S3 store {describe(storage)}: {error}", "Check tradingflow_storage."
        ) from None
    for operation in ("PutObject", "DeleteObject"):
        _conditions(made, operation)
    _CLIENTS[made] = Retry(storage)
    made.meta.events.register("needs-retry.s3", _CLIENTS[made])
    return made


def prepare() -> None:
    """Reads here what every client needs, for the processes that are forked from this one."""
    if boto3 is not None:
        with suppress(BotoCoreError, ValueError):
            client({"bucket": "", "access_key": "none", "secret_key": "none"})


def _session() -> Any:
    """A session of its own, so that profile and keys are those of now, with the descriptions that are there already."""
    core = botocore.session.get_session()
    session = boto3.session.Session(botocore_session=core)
    if not _LOADERS:
        _LOADERS.append(core.get_component("data_loader"))
    core.register_component("data_loader", _LOADERS[0])
    return session


def patient(storage: Dict[str, Any]) -> Dict[str, Any]:
    """The same store for what must not be lost: its whole deadline counts from the first request on."""
    return {**storage, "patient": True}


def give_up(s3: Any) -> None:
    """What is under way is not tried again, and nobody waits: for work that ends anyway."""
    if s3 in _CLIENTS:
        _CLIENTS[s3].give_up()


def opened(s3: Any, bucket: str, key: str) -> Body:
    """An object to read from; where the store breaks off, reading goes on.

    :raises ClientError: as of get_object
    """
    place = {"Bucket": bucket, "Key": key}
    retry = _CLIENTS[s3] if s3 in _CLIENTS else Retry({"max_attempts": 1})
    return Body(s3, retry, place, s3.get_object(**place))


def _conditions(s3: Any, operation: str) -> None:
    """Lets an older boto3 (Debian 12's) send the conditions that it does not know yet: locks and ledger need them."""
    known = s3.meta.service_model.operation_model(operation).input_shape.members
    unknown = {name: header for name, header in _CONDITIONS.items() if name not in known}
    if not unknown:
        return

    def take(params: Dict[str, Any], context: Dict[str, Any], **_more: Any) -> Dict[str, Any]:
        context["conditions"] = {unknown[name]: params[name] for name in unknown if name in params}
        return {name: value for name, value in params.items() if name not in unknown}

    def send(params: Dict[str, Any], context: Dict[str, Any], **_more: Any) -> None:
        params["headers"].update(context["conditions"])

    s3.meta.events.register(f"provide-client-params.s3.{operation}", take)
    s3.meta.events.register(f"before-call.s3.{operation}", send)


def key(storage: Dict[str, Any], *parts: str) -> str:
    """An object key below the option's prefix."""
    return "/".join([part.strip("/") for part in (storage.get("prefix") or "", *parts) if part.strip("/")])


def describe(storage: Dict[str, Any]) -> str:
    """The store in words, for messages: s3://bucket at endpoint."""
    return f"s3://{storage['bucket']} at {storage.get('endpoint') or 'AWS ' + str(storage.get('region'))}"


@contextmanager
def storage_errors(storage: Dict[str, Any], doing: str) -> Iterator[None]:
    """Turns the SDK's errors into StorageError with the next step.

    :param doing: what is being done, e.g. "uploading the recovery point"
    """
    try:
        yield
    except ClientError as error:
        code, text = error_code(error), error.response.get("Error", {}).get("Message", "")
        if code in BUSY or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
            raise StorageError(
                f"The S3 store {describe(storage)} is overloaded or down, while {doing}: {code}: {text}"
                f"{_waited(storage)}",
                _DOWN,
            ) from None
        remedies = {
            "NoSuchBucket": "Create the bucket or correct tradingflow_storage.bucket.",
            "InvalidAccessKeyId": "Correct the access key (tradingflow_storage.access_key).",
            "SignatureDoesNotMatch": "Correct the secret key (tradingflow_storage.secret_key).",
            "AccessDenied": "Grant the key the rights listed in docs/backup.md and docs/evidence.md.",
            "403": "Correct the keys, or grant them the rights listed in docs/backup.md and docs/evidence.md.",
            "ExpiredToken": "Get new temporary credentials and run again.",
            "RequestTimeTooSkewed": "Synchronise the clock of this machine.",
            "XMinioStorageFull": "Free space in the store.",
            "QuotaExceeded": "Free space in the store, or raise its quota.",
        }
        raise StorageError(
            f"The S3 store {describe(storage)} refused {doing}: {code}: {text}",
            remedies.get(code, "Read what the store says, and its log; the keys and their rights were not refused."),
        ) from None
    except (BotoCoreError, *_HTTP) as error:
        text = " ".join(str(error).split())
        remedy = (
            "Check that the store runs, the network, tradingflow_storage.endpoint, and its CA"
            " (tradingflow_storage.ca_file); then run again."
        )
        if "certificate is not yet valid" in text or "certificate has expired" in text:
            remedy = "Check the clock of this machine, then the store's certificate."
        message = f"The S3 store {describe(storage)} cannot be reached while {doing}: {text}{_waited(storage)}"
        raise StorageError(message, remedy) from None


def _waited(storage: Dict[str, Any]) -> str:
    """How long it was tried, in words."""
    if storage.get("max_attempts"):
        return ""
    return f" (tried again for up to {storage.get('retry_seconds', 120)} s, tradingflow_storage.retry_seconds)"


def error_code(error: Any) -> str:
    """The store's error code of a ClientError, e.g. NoSuchKey, 404, PreconditionFailed."""
    return str(error.response.get("Error", {}).get("Code", ""))


def list_keys(s3: Any, bucket: str, prefix: str, start_after: Optional[str] = None) -> Iterator[Dict[str, Any]]:
    """All objects below a prefix as list_objects_v2 gives them (Key, Size, LastModified, ETag), in order of key."""
    arguments: Dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
    if start_after:
        arguments["StartAfter"] = start_after
    for page in s3.get_paginator("list_objects_v2").paginate(**arguments):
        contents: List[Dict[str, Any]] = page.get("Contents", [])
        yield from contents
