#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_updates
short_description: Compare running images with their registry, scan what is in them, and propose what is newer
version_added: "0.1.0"
description:
  - Compares the digests of images that run with what their registry has. Content that does not hash to its digest is
    critical, and so is an image without a digest, C(:latest), and one that the registry no longer has.
  - Proposes another digest where the tag that is followed has one, and a rebuild where the base image is newer than the
    one that the image was built on. Written into a folder for the release; nothing is pulled, pushed or deployed.
  - Asks pods of a cluster, and takes what M(tradingflow.maintenance.container_images) found on hosts, so that what runs
    need not be declared. Whoever does not answer leaves it unknown.
  - Reads the layers of what runs, and has osv-scanner compare their packages with a seeded database, together with a
    canary of each ecosystem that was found. Nothing of an image is unpacked onto a disk or run. What is not recognised
    in it is unknown.
  - A registry that refuses, does not answer, or says what is not understood leaves the check unknown.
  - Runs on the controller, whatever the host. Speaks the distribution API, and reads OCI layouts on disk.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - osv-scanner 2.5 or newer on the controller, for O(content)
  - kubernetes (Python) on the controller, for O(kubernetes)
options:
  images:
    description: The images that run.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: How it is called in the report and in the proposal's file name.
        type: str
        required: true
      reference:
        description: As it is deployed, such as C(registry.example/app:1.2@sha256:...), or C(oci:FOLDER:TAG@sha256:...).
        type: str
        required: true
      running:
        description:
          - Digests that run, where nobody is asked (O(hosts), O(kubernetes), O(observed)). By default the one of
            O(images[].reference).
        type: list
        elements: str
        default: []
      follow:
        description: The tag whose digest is to run. By default the one of O(images[].reference).
        type: str
      base:
        description:
          - The image it is built on, with the tag of its line. By default what the annotation
            C(org.opencontainers.image.base.name) says.
        type: str
      platform:
        description: For which platform, where a tag is for several.
        type: str
        default: linux/amd64
      known:
        description:
          - Paths of programs and archives that no package of the image has, and somebody vouches for, as patterns of
            the shell, such as C(/usr/local/*).
        type: list
        elements: str
        default: []
  observed:
    description: What runs, as others found it.
    type: list
    elements: dict
    default: []
    suboptions:
      source:
        description: Who says so, for the report.
        type: str
        required: true
      problem:
        description: Why it does not say.
        type: str
      containers:
        description:
          - Each with C(name), C(image), C(id) and C(digests), as from M(tradingflow.maintenance.container_images).
        type: list
        elements: dict
        default: []
  hosts:
    description:
      - Hosts on which the role registered what M(tradingflow.maintenance.container_images) found. One that was not
        reached leaves what runs unknown.
    type: list
    elements: str
    default: []
  kubernetes:
    description: A cluster whose pods are asked, by the Python library kubernetes. Needs the right to list pods.
    type: dict
    suboptions:
      kubeconfig:
        description: By default what kubectl takes.
        type: path
      context:
        description: By default the current one.
        type: str
      namespaces:
        description: Which ones. By default all, for which the right must be that of the cluster.
        type: list
        elements: str
        default: []
  ignored:
    description: Names of images that may run without being declared, as patterns of the shell.
    type: list
    elements: str
    default: []
  auth_file:
    description: Logins of registries, as C(podman login --authfile) or C(docker login) write them.
    type: path
  ca_file:
    description: CA certificates that registries are trusted by, instead of the system's.
    type: path
  plain_http:
    description: Registries, as C(host:port), that are asked without TLS. Those on this machine always are.
    type: list
    elements: str
    default: []
  proposals_directory:
    description: Folder for proposals. Relative to the project. Without it none is written.
    type: path
  timeout:
    description: Seconds that an answer of a registry or a cluster may take.
    type: int
    default: 30
  content:
    description: Whether what is in the images is scanned.
    type: bool
    default: true
  content_limit:
    description: Bytes that an image's layers may be of, unpacked.
    type: int
    default: 17179869184
  content_timeout:
    description: Seconds that reading an image may take.
    type: int
    default: 900
  scratch_directory:
    description: Folder with room for the largest layer, packed.
    type: path
    default: /var/tmp
  program:
    description: The program osv-scanner. By default as found in C(PATH).
    type: path
  database:
    description: Folder with OSV's archives, such as C(Debian/all.zip) and C(PyPI/all.zip).
    type: path
  database_age:
    description: Days after which the newest advisory of a database is too old.
    type: int
    default: 7
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
        description:
          - As OSV names it; of a distribution without a release for all releases, such as C(Debian), or for one, such
            as C(Debian:12).
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
extends_documentation_fragment:
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Compares, and writes no proposal.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Compare the application's image
  tradingflow.maintenance.image_updates:
    images:
      - name: application
        reference: "registry.example/tradingflow/app:1.2@{{ app_digest }}"
        base: docker.io/library/python:3.13-slim
    auth_file: /etc/tradingflow/registries.json
    proposals_directory: artifacts/proposals
  run_once: true
"""

RETURN = r"""
images:
  description: What the ledger keeps - who was asked, and of each image digests, containers, packages and proposals.
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
