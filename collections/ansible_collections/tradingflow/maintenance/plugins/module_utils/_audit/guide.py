# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reader's guide that lies in each bundle, for an auditor who has nothing else of this collection."""

from __future__ import annotations

from typing import Any, Dict, List

from .collected import COMPLETE, Collected

_TEXT = """# Audit bundle {bundle}

Evidence of the environment `{environment}` from {begin} (included) to {end} (excluded), times in UTC. It is bundle number
{number}; {previous}. Retention class: {retention}.{hold}

| | |
|---|---|
| `data/` | the evidence, by host; `_platform` is what was read from the database and the store |
| `manifest.json` | each source: its files, its command or query, program and version, records, both counts, what is missing and redacted |
| `statement.dsse.json` | the signature: an in-toto statement in a DSSE envelope, Ed25519, over every other file |
{stamp}| `bundle_verify.py` | the verifier, for convenience: use a copy from elsewhere |

## Verify it

Get the verifier and the public key from whoever runs the platform, not from this bundle: whoever can change the bundle can
change what lies in it. You need Python 3.9 with the library `cryptography`.

```sh
python3 bundle_verify.py --public-key evidence.pub --environment {environment} {bundle}
```

`INTACT` and exit status 0: every byte is as it was signed. `REJECTED` and 1: it is no evidence as it stands. `UNKNOWN` and
3: it could not be verified. Lines that begin with `INCOMPLETE` name what a source lacks; `not checked` and `not proven` say
what the verdict does not cover. Give several bundles at once to prove that none is missing between them.

## Read it

Files whose names end in `.gz` are gzip: `zcat`, 7-Zip. What stands for a redacted value begins with `[`: the manifest
counts each rule. The same value has the same pseudonym throughout; the key is not in the bundle.

A source is **complete** when two independent counts of its records agree and nothing was left out, else **partial** or
**failed**, with the reason and the gaps.

| source | kind | outcome | records | |
|---|---|---|--:|---|
{sources}

## What it does not prove

- That what was recorded is true, or that everything that happened was recorded.
- That there is no newer bundle: ask for the records of kind `audit` in the evidence ledger.
- When it was made, where there is no time stamp: the ledger's record of it has the store's time.
"""


def guide(facts: Dict[str, Any], hosts: Dict[str, Collected]) -> str:
    """README.md.

    :param facts: those of the statement
    :param hosts: by the name of their folder
    """
    before = facts["previous"]
    stamp = "| `timestamp.tsr`, `timestamp.dsse.json` | a time stamp (RFC 3161) of the statement, and its binding |\n"
    days = facts["retention"]["days"]
    return _TEXT.format(
        bundle=facts["bundle"],
        environment=facts["environment"],
        begin=facts["period"]["from"],
        end=facts["period"]["to"],
        number=facts["number"],
        previous=f"the one before has the digest `{before}`" if before else "it is the first",
        retention=f"{facts['retention']['class']}, {days} days",
        hold=" **Legal hold: it must not be deleted.**" if facts["legal_hold"] else "",
        stamp=stamp if facts["timestamp"] else "",
        sources="\n".join(_rows(hosts)),
    )


def _rows(hosts: Dict[str, Collected]) -> List[str]:
    return [
        f"| {place}/{source.name} | {source.kind} | "
        f"{source.outcome if source.outcome == COMPLETE else f'**{source.outcome}**'} | {source.records} | "
        f"{_cell(source.reason)} |"
        for place in sorted(hosts)
        for source in hosts[place].sources
    ]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
