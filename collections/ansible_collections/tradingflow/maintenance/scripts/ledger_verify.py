# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proves an evidence ledger. Needs Python 3.9 with cryptography (and boto3 for --s3), not Ansible.

Exit status: 0 the ledger stands, 1 something was altered or removed, 2 it could not be verified.
With --s3 the access key comes from the environment (AWS_ACCESS_KEY_ID ...) or from the AWS SDK's own places.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

# What the collection itself uses, found from this file and not through Ansible.
sys.path.append(str(Path(__file__).resolve().parent.parent / "plugins"))

from module_utils._ledger import verify as ledger  # type: ignore[import-not-found]
from module_utils._ledger.folder import Folder  # type: ignore[import-not-found]
from module_utils._ledger.keys import keyid_of, public_key, public_keys  # type: ignore[import-not-found]
from module_utils.errors import MaintenanceError  # type: ignore[import-not-found]

EXIT = {"ok": 0, ledger.TAMPERED: 1, ledger.UNKNOWN: 2}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = result.add_mutually_exclusive_group(required=True)
    source.add_argument("--s3", action="store_true", help="the ledger in its bucket")
    source.add_argument("--directory", type=Path, help="a folder of downloaded records (00000001.json ...)")
    source.add_argument("--key-id", metavar="FILE", help="only print the id of a key, public or private (PEM)")
    result.add_argument("--environment", help="whose ledger it is, as the inventory calls it")
    result.add_argument(
        "--public-key", metavar="FILE", action="append", default=[], help="a key that counts; give old ones too"
    )
    result.add_argument(
        "--witness",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="artifacts/ledger-<environment>.jsonl, or a run's evidence.json: shows when the newest records are gone",
    )
    result.add_argument(
        "--report",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="a run's report.json beside its evidence.json: must be what was recorded",
    )
    result.add_argument("--json", action="store_true", help="print the result as JSON")
    result.add_argument("--bucket")
    result.add_argument("--prefix", default="", help="what tradingflow_storage.prefix says")
    result.add_argument("--endpoint", help="URL of a store other than AWS's")
    result.add_argument("--region", default="us-east-1")
    result.add_argument("--ca-file", help="the CA of the store's certificate")
    result.add_argument("--addressing-style", choices=["auto", "path", "virtual"], default="auto")
    return result


def prove(options: argparse.Namespace) -> ledger.Result:
    """Does what the command line says.

    :raises MaintenanceError: something cannot be read
    """
    keys = public_keys(options.public_key)
    testimonies, problems = [], []
    for path in options.witness:
        found, odd = ledger.witness_testimony(path, keys)
        testimonies += found
        problems += odd
    testimonies += [ledger.report_testimony(path) for path in options.report]
    result = ledger.verify(place(options), options.environment, keys, testimonies)
    result.problems += problems
    return result


def place(options: argparse.Namespace) -> Any:
    """Where the records lie."""
    if options.directory:
        return Folder(options.directory)
    # Only here, so that an auditor of downloaded records needs no boto3.
    from module_utils._ledger.places import Store  # type: ignore[import-not-found]

    return Store(storage(options), options.environment)


def storage(options: argparse.Namespace) -> dict[str, Any]:
    """The option "storage" of the modules, from the command line."""
    names = ("bucket", "prefix", "endpoint", "region", "ca_file", "addressing_style")
    return {name: getattr(options, name) for name in names}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command."""
    parse = parser()
    options = parse.parse_args(arguments)
    if not options.key_id:
        if not options.environment or not options.public_key:
            parse.error("--environment and --public-key are needed")
        if options.s3 and not options.bucket:
            parse.error("--s3 needs --bucket")
    try:
        if options.key_id:
            print(keyid_of(public_key(options.key_id)))
            return 0
        result = prove(options)
    except MaintenanceError as error:
        result = ledger.Result(options.environment or "")
        result.add(ledger.UNKNOWN, None, str(error))
    if options.json:
        print(json.dumps(result.as_dict(), indent=1, ensure_ascii=False))
    else:
        show(result)
    return EXIT[result.verdict]


def show(result: ledger.Result) -> None:
    """Prints one line per problem, and the verdict last."""
    for problem in result.problems:
        where = "ledger" if problem.number is None else f"record {problem.number}"
        print(f"{problem.severity.upper()}: {where}: {problem.message}")
    for each in result.unchecked:
        print(f"not checked: {each}")
    count = f"{result.records} record{'' if result.records == 1 else 's'} of {result.environment}"
    if result.verdict == "ok" and result.head:
        head = result.head
        warned = f", {len(result.problems)} warnings" if result.problems else ""
        print(f"OK: {count}, 1 to {head['number']}, newest {head['recorded_at']}, digest {head['digest']}{warned}")
    elif result.verdict == ledger.TAMPERED:
        found = sum(problem.severity == ledger.TAMPERED for problem in result.problems)
        print(f"TAMPERED: {count}, {found} problem{'' if found == 1 else 's'}: this ledger is no evidence as it stands")
    else:
        print("UNKNOWN: the ledger could not be verified")


if __name__ == "__main__":
    sys.exit(main())
