#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: container_images
short_description: Ask the container engines of a host which images run, by digest
version_added: "0.1.0"
description:
  - Asks podman, docker and crictl, those that are there, for their running containers and the digests of the images.
    Nothing is started, stopped, pulled or changed.
  - An engine that does not answer is in the result with its problem, so that nobody takes its silence for an empty
    host.
author: TradingFlow Maintenance contributors (@tradingflow)
options:
  engines:
    description: Which ones are asked. By default all whose program is in C(PATH).
    type: list
    elements: str
    choices: [podman, docker, crictl]
    default: []
  timeout:
    description: Seconds that an answer may take.
    type: int
    default: 60
attributes:
  check_mode:
    description: Nothing is changed in any mode.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
"""

EXAMPLES = r"""
- name: Ask what runs
  tradingflow.maintenance.container_images:
    timeout: 30
  become: true
  register: running
"""

RETURN = r"""
engines:
  description: What each engine said - its name, why it did not answer, and its containers with image, id and digests.
  returned: success
  type: list
  elements: dict
  sample:
    - engine: podman
      problem: null
      containers:
        - name: app
          image: registry.example/tradingflow/app:1.2
          id: sha256:13fe5dd403f4182ddda0e45c5a3456141c41bb3ad0e29b8c36bc483a6c57484d
          digests:
            - registry.example/tradingflow/app@sha256:6eb639232ca11009eecb66d9564cf83ee159ab14c1789549b2d73548bcf466b4
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._images.engines import SPEC, found


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    module.exit_json(changed=False, engines=found(module.params))


if __name__ == "__main__":
    main()
