#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: recovery_point_retention
short_description: Delete recovery points that no rule keeps, and never the last good one
version_added: "0.1.0"
description:
  - Reads every recovery point of an environment in the store, decides which stay, and deletes the rest. Also removes
    what backups that were never finished have left, and what a deletion that was killed has left.
  - A recovery point stays when any rule keeps it. Without a rule, nothing is ever deleted.
  - Rules count in each series for themselves. Recovery points are of one series when engine, database and the
    database's system identifier are the same. They are in order of their own time, never of the store's.
  - Never deletes the newest of a series, the newest proven and the newest verified one, one that is held, one that was
    changed since it was recorded, one whose lock has not ended, and none without a newer one that is O(require).
  - Deletes nothing at all while the newest recovery point is damaged or not verified, one cannot be read, a clock is
    wrong, a restore or drill is under way, or the ledger cannot be written.
  - Proven is what a drill restored, by a record of kind C(drill) in the ledger that went well. Verified is what the
    backup's own record says.
  - Each deletion is on the ledger, as a record of kind C(deletion), before it begins.
  - C(recovery-point.json) goes first, in all its versions, so that nothing ever looks whole that is not.
  - Runs on the controller, whatever the host. Use it with C(run_once) where there are several.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - boto3
  - cryptography
  - restic 0.14 or newer, where recovery points have their files in a repository
options:
  environment_name:
    description: Name of the environment.
    type: str
    required: true
  rules:
    description:
      - What is kept, each rule by itself and in each series. Zero is as good as left out.
      - Days, weeks (ISO 8601), months and years are of UTC. Only those that have a recovery point count, so that
        nothing expires while no backups are made.
    type: dict
    default: {}
    suboptions: &rules
      keep_last:
        description: The newest ones, so many.
        type: int
      keep_days:
        description: Those younger than so many days.
        type: int
      keep_daily:
        description: The newest of each of the last so many days.
        type: int
      keep_weekly:
        description: The newest of each of the last so many weeks.
        type: int
      keep_monthly:
        description: The newest of each of the last so many months.
        type: int
      keep_yearly:
        description: The newest of each of the last so many years.
        type: int
  rules_by_engine:
    description: Rules of an engine, instead of O(rules). Without any rule in them, none of that engine goes.
    type: dict
    suboptions:
      logical:
        description: Of dumps.
        type: dict
        suboptions: *rules
      pgbackrest:
        description: Of physical backups.
        type: dict
        suboptions: *rules
  repository:
    description:
      - PgBackRest's repository, in the same bucket. With it, the backups are named that may go with their recovery
        points, and the points in time that can be restored before and after.
      - It is only looked at, M(tradingflow.maintenance.pgbackrest_expire) deletes.
    type: dict
    suboptions:
      stanza:
        description: Name of the cluster in the repository.
        type: str
        required: true
      repository_path:
        description: Key prefix of the repository in the bucket.
        type: str
        required: true
  require:
    description:
      - What a newer recovery point of the same series must be before an older one goes.
      - V(verified) trusts the backup's own verification, for where nobody drills.
    type: str
    default: proven
    choices: [proven, verified]
  hold:
    description: Ids of recovery points that stay, whatever the rules say; also of unfinished ones.
    type: list
    elements: str
    default: []
  unfinished_days:
    description: Backups that were never finished are removed after so many days, at least 1.
    type: int
    default: 7
  keep_versions:
    description:
      - In a versioned bucket, put delete markers and leave the versions to the bucket's own lifecycle rules.
      - Otherwise all versions go, and their delete markers.
    type: bool
    default: false
  evidence:
    description: The ledger in which deletions are recorded, and drills are looked up. Without it nothing is deleted.
  files_password:
    description:
      - Password of the restic repository of the application's files. The files of a recovery point that goes are
        forgotten there, and what only they needed is removed; so are those of backups that were never finished.
      - Without it, and without restic in the PATH, they stay, which is a warning.
    type: str
  files_repository:
    description: Key prefix of that repository, C(<prefix>/files/<environment_name>) without it.
    type: str
  artifacts_dir:
    description:
      - Folder of all runs on the controller, in which the ledger's witness and the lock are.
      - With O(run), that run's own.
    type: path
    default: artifacts
extends_documentation_fragment:
  - tradingflow.maintenance.evidence
  - tradingflow.maintenance.storage
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Decides as it would, returns and shows the plan, and deletes nothing.
    support: full
  diff_mode:
    description: Shows what is in the store, and what of it stays.
    support: full
notes:
  - With O(run), an error does not fail the task but is unknown in the report, which ends the run.
    Without it, the task fails.
seealso:
  - module: tradingflow.maintenance.recovery_point
  - module: tradingflow.maintenance.evidence_record
"""

EXAMPLES = r"""
- name: Keep 30 days, the month's last backup for a year, and the year's last for seven
  tradingflow.maintenance.recovery_point_retention:
    environment_name: production
    storage:
      bucket: tradingflow-backups
      region: eu-central-1
    evidence:
      signing_key_file: /etc/tradingflow/evidence.key
      trusted_key_files: [keys/evidence.pub]
    rules:
      keep_last: 7
      keep_days: 30
      keep_monthly: 12
      keep_yearly: 7
    hold: [20260331T020000Z-3fa9c1]
  run_once: true
"""

RETURN = r"""
plan:
  description: What was decided, or would be done.
  returned: when it could be decided
  type: dict
  contains:
    rules:
      description: The rules that keep something.
      type: dict
    stopped:
      description: Why nothing at all is deleted, empty when nothing stands against it.
      type: str
    recovery_points:
      description:
        - Each recovery point, newest first, with C(id), C(created_at), C(series), C(bytes), C(kept) and C(reasons).
      type: list
      elements: dict
    rests:
      description:
        - What is no recovery point and goes, C(unfinished) or C(left_over) of a deletion that was begun, with C(id),
          C(why), C(bytes), and C(kept_because) when it stays for now.
      type: list
      elements: dict
    snapshots:
      description:
        - Snapshots of application files that go, with C(repository), C(snapshot), C(id) of the recovery point, and
          C(why), which is C(deleted) with it, C(left_over) of one that is gone, or C(unfinished).
      type: list
      elements: dict
    prune:
      description: Repositories from which what nothing refers to is removed.
      type: list
      elements: str
    removed_by_others:
      description: Ids of recovery points that somebody deleted and retention did not. They are left as they are.
      type: list
      elements: str
    unfinished:
      description: Ids of unfinished backups that are left alone.
      type: list
      elements: str
    kept:
      description: Number of recovery points that stay.
      type: int
    kept_bytes:
      description: Their bytes.
      type: int
    deleted:
      description: Number of recovery points that go.
      type: int
    freed_bytes:
      description: Bytes that go, rests and all versions included.
      type: int
    reachable_now:
      description:
        - Points in time that can be restored with O(repository), each with C(from), C(to) and C(archive), RFC 3339 UTC.
      type: list
      elements: dict
    reachable_then:
      description: The same when everything has gone that is to go.
      type: list
      elements: dict
    backups:
      description: Physical backups that no remaining recovery point needs, with C(label), C(kept) and C(why).
      type: list
      elements: dict
    oldest_reachable:
      description: The oldest point in time that stays reachable, RFC 3339 UTC.
      type: str
deleted:
  description: Ids of what was deleted, in order, also when it ended early.
  returned: when it could be decided
  type: list
  elements: str
backups:
  description:
    - Labels of physical backups that may go now, for M(tradingflow.maintenance.pgbackrest_expire); with O(repository).
    - In check mode, those that might afterwards.
  returned: when it could be decided
  type: list
  elements: str
refused:
  description: Id to why something of it is still there.
  returned: when it could be decided
  type: dict
forgotten:
  description: Ids of the snapshots that were forgotten.
  returned: when it could be decided
  type: list
  elements: str
records:
  description: Numbers of the ledger's records.
  returned: when it could be decided
  type: list
  elements: int
checks:
  description: retention.recovery_points, as contract 1.
  returned: always
  type: list
  elements: dict
actions:
  description: What was done or, in check mode, would be.
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all.
  returned: always
  type: str
"""
