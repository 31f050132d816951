#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: dependency_scan
short_description: Scan locked dependencies for known vulnerabilities, and propose other versions
version_added: "0.1.0"
description:
  - Has a scanner look at copies of lock files, together with canaries, packages with a known vulnerability. When a
    canary is missed, all is unknown, whatever the scanner says and however it ends.
  - Looks at the database before and after the scan. One that is missing, empty, old or changed makes all unknown. So
    does a package of a lock file that the scanner did not look at.
  - Proposes versions that fix what is known as a patch of the lock file, scans that as well, and writes it into a
    folder. The lock file itself is never changed, and nothing is installed.
  - Runs on the controller, whatever the host.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - osv-scanner 2.3 or newer, pip-audit 2.9 or newer, or npm 8 or newer, on the controller
options:
  scanner:
    description:
      - V(osv-scanner) reads a seeded database and asks nobody. V(pip-audit) and V(npm-audit) ask O(service).
      - V(pip-audit) reads only C(requirements), V(npm-audit) only C(package-lock).
    type: str
    choices: [npm-audit, osv-scanner, pip-audit]
    default: osv-scanner
  program:
    description: The scanner's program. By default C(osv-scanner), C(pip-audit) or C(npm), as found in C(PATH).
    type: path
  sources:
    description: The lock files.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: How it is called in the report and in the proposal's file name.
        type: str
        required: true
      path:
        description: The file on the controller. Relative to the project, the folder with its C(ansible.cfg).
        type: path
        required: true
      format:
        description:
          - V(requirements) for pip's requirements with exact versions, V(package-lock) for npm's C(package-lock.json).
        type: str
        required: true
        choices: [package-lock, requirements]
  database:
    description: Folder with OSV's archives, C(PyPI/all.zip) and C(npm/all.zip). For V(osv-scanner).
    type: path
  database_age:
    description: Days after which the newest advisory of a database is too old.
    type: int
    default: 7
  service:
    description: URL of the service that V(pip-audit) (OSV) or V(npm-audit) (registry) asks. By default their own.
    type: str
  canaries:
    description: Packages that are scanned along, and must be found. At least one for each ecosystem.
    type: list
    elements: dict
    default:
      - {ecosystem: PyPI, name: jinja2, version: "2.10", advisory: CVE-2019-10906}
      - {ecosystem: npm, name: minimist, version: 0.0.8, advisory: GHSA-vh95-rmgr-6w4m}
      - {ecosystem: Debian, name: glibc, version: 2.0-1, advisory: DEBIAN-CVE-2023-4911}
      - {ecosystem: Alpine, name: zlib, version: 1.0-r0, advisory: ALPINE-CVE-2022-37434}
    suboptions:
      ecosystem:
        description: As OSV names it. Those of distributions are for images.
        type: str
        required: true
      name:
        description: The package.
        type: str
        required: true
      version:
        description: A version that is vulnerable.
        type: str
        required: true
      advisory:
        description: The advisory that must be found, by its id or an alias.
        type: str
        required: true
  accepted:
    description: Findings that do not count, each until a day.
    type: list
    elements: dict
    default: []
    suboptions:
      advisory:
        description: Its id or an alias.
        type: str
        required: true
      package:
        description: In which package.
        type: str
        required: true
      until:
        description: The last day, as YYYY-MM-DD. After it, the finding counts again.
        type: str
        required: true
      reason:
        description: Why, for the record.
        type: str
        required: true
  upgrade:
    description: Only versions that fix something are proposed, or newer ones of V(all) packages, which needs O(index).
    type: str
    choices: [security, all]
    default: security
  cooldown_days:
    description: Days that a release must be old to be proposed. A version that fixes something is not made to wait.
    type: int
    default: 7
  index:
    description:
      - URL of a package index for PyPI that speaks PEP 691, such as C(https://pypi.org/simple). It says when releases
        were uploaded, and their digests. Without it, no version is proposed for a line with C(--hash).
    type: str
  npm_registry:
    description:
      - URL of a registry of npm that gives whole documents, such as C(https://registry.npmjs.org). Without it, no patch
        of a C(package-lock.json) is made.
    type: str
  proposals_directory:
    description: Folder for proposals. Relative to the project. Without it none is written.
    type: path
  timeout:
    description: Seconds that a scan may take.
    type: int
    default: 600
extends_documentation_fragment:
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Scans, and writes no proposal.
    support: full
  diff_mode:
    description: The proposal is a diff.
    support: none
"""

EXAMPLES = r"""
- name: Scan the application's dependencies
  tradingflow.maintenance.dependency_scan:
    sources:
      - {name: application, path: ../tradingflow/requirements.lock, format: requirements}
    database: /var/lib/osv
    proposals_directory: artifacts/proposals
  run_once: true
"""

RETURN = r"""
scan:
  description: What the ledger keeps - scanner, databases, canaries, and of each lock file digest, findings and rows.
  returned: when the options make sense
  type: dict
proposals:
  description: Files of the proposals.
  returned: when the options make sense
  type: list
  elements: str
checks:
  description: What the report shows, as contract 1.
  returned: always
  type: list
  elements: dict
actions:
  description: What was proposed.
  returned: always
  type: list
  elements: dict
"""
