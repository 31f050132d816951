# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # A release by a Helm chart, and the way back of one.
    DOCUMENTATION = r"""
options:
  helm:
    description:
      - A release by a Helm chart, with Helm 3.22 or Helm 4.3. Helm writes the objects and waits for nothing; the
        rollout is followed, proven and undone like any other.
    type: dict
    suboptions:
      chart:
        description:
          - The chart, as C(helm upgrade) takes it, such as a folder, a file or C(oci://). Empty for a release that only
            changes the image.
          - It must put the values C(image.repository), C(image.tag) and C(image.digest) into the container, and the
            Helm release must be there already.
        type: str
        default: ""
      chart_version:
        description: Version of a chart from a registry or repository.
        type: str
        default: ""
      release:
        description: Name of the Helm release.
        type: str
        default: tradingflow
      values:
        description: >-
          All values of the release, besides the image and the feature flags; they are handed over in a file.
        type: dict
        default: {}
      flags_value:
        description: The value that gets the feature flags, with dots between its parts.
        type: str
        default: featureFlags
      program:
        description: The program.
        type: path
        default: helm
      timeout:
        description: Seconds after which Helm is ended.
        type: int
        default: 120
      history:
        description: Revisions that Helm keeps. An undo does not need them.
        type: int
        default: 10
      force_conflicts:
        description: With Helm 4, whether fields that somebody else manages are taken over.
        type: bool
        default: false
"""
