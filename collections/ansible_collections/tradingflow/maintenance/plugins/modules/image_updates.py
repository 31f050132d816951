#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_updates
short_description: Compare running images with their registry, and propose what is newer
version_added: "0.1.0"
description:
  - Compares the digests of images that run with what their registry has. Content that does not hash to its digest is
    critical, and so is an image without a digest, C(:latest), and one that the registry no longer has.
  - Proposes another digest where the tag that is followed has one, and a rebuild where the base image is newer than the
    one that the image was built on. Written into a folder for the release; nothing is pulled, pushed or deployed.
  - A registry that refuses, does not answer, or says what is not understood leaves the check unknown.
  - Runs on the controller, whatever the host. Speaks the distribution API, and reads OCI layouts on disk.
author: TradingFlow Maintenance contributors (@tradingflow)
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
        description: Digests that run, as the cluster says them. By default the one of O(images[].reference).
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
    description: Seconds that an answer of a registry may take.
    type: int
    default: 30
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
  description: What the ledger keeps - of each image the digests, the state of each check, and what is proposed.
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
