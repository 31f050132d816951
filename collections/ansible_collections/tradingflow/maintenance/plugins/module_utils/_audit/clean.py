# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Between what was collected and the bundle: redacted, then looked at again by other means. A source fails alone."""

from __future__ import annotations

import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Tuple

from .._ledger.keys import SigningKey
from ..errors import ConfigurationError, MaintenanceError
from . import redact, scan
from .collected import FAILED, Collected, Source
from .packing import Scratch
from .rules import KEY_BYTES, Rules, load

#: What the signing key signs for a key of pseudonyms: nothing that counts as evidence begins so.
_LABEL = b"tradingflow audit pseudonyms 1"

_WORKERS = 2


def rules_of(options: Dict[str, Any], key: SigningKey) -> Rules:
    """The rules, and the key of pseudonyms: that of the options, or one that follows from the signing key.

    :raises ConfigurationError: a rule is none, or the key is too short
    """
    given = options["pseudonym_key"] or ""
    if given and len(given.encode()) < KEY_BYTES:
        raise ConfigurationError(
            f"The key of pseudonyms has less than {KEY_BYTES} bytes.",
            "Make one with: openssl rand -base64 48 (audit_collection_pseudonym_key).",
        )
    secret = hashlib.sha256(given.encode() or key.sign(_LABEL)).digest()
    return load(options["redaction"], secret)


def cleaned(staging: Path, collected: Collected, target: Path, rules: Rules, notes: List[str]) -> Collected:
    """Everything of one host anew below another folder, redacted. What cannot be, or is not clean then, has failed.

    :param notes: gets what is odd in what is not redacted
    """
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = Scratch(str(target), 1 << 62)

    def one(source: Source) -> Tuple[Source, str]:
        return _source(staging, source, target, scratch, rules)

    # The engines of patterns, of digests and of compression run beside Python.
    with ThreadPoolExecutor(_WORKERS, thread_name_prefix="clean") as pool:
        done = list(pool.map(one, collected.sources))
    notes += dict.fromkeys(note for _each, note in done if note and note not in notes)
    return replace(collected, sources=[source for source, _note in done])


def _source(staging: Path, source: Source, target: Path, scratch: Scratch, rules: Rules) -> Tuple[Source, str]:
    """A source redacted, and what is odd in one that is not redacted."""
    try:
        for file in source.files:
            if not stat.S_ISREG((staging / file.path).lstat().st_mode):
                return failed(source, f"{file.path} is not a regular file"), ""
        done = redact.source(staging, source, scratch, rules)
        left = scan.files(target, done)
        shown = "; ".join(left[:5])
        if left and source.kind == "ledger":
            # Signed, locked in the same store, and as it has to be: no rule could help.
            return done, f"The ledger's records have what looks like a secret ({shown})."
        if left:
            return failed(source, f"after redaction there still is what looks like a secret ({shown}): add a rule"), ""
        return done, ""
    except MaintenanceError as error:
        return failed(source, error.message), ""
    except OSError as error:
        return failed(source, f"it cannot be read: {error.strerror}"), ""
    except Exception as error:  # Only this source has failed then.
        return failed(source, f"unexpected {type(error).__name__} when it was redacted: this is a defect"), ""


def failed(source: Source, reason: str) -> Source:
    """A source of which nothing gets into the bundle."""
    return replace(source, outcome=FAILED, reason=reason, files=[], records=0)
