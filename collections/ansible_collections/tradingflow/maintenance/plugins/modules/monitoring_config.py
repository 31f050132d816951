#!/usr/bin/python
# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: monitoring_config
short_description: Generate rules, routes and a dashboard from the checks' thresholds, and load them
version_added: "0.1.0"
description:
  - Generates alerting rules from the thresholds and hosts that the checks go by, so that both agree - for what runs
    report (C(report.prom)), and for what node_exporter, the application and postgres_exporter measure between runs.
  - Each rule comes with a unit test. promtool must see it fire at its threshold, and not before, or nothing is changed.
  - Files are replaced in one step, the servers read them again, and are asked whether they have exactly that. If not,
    what was there before is put back and loaded. C(FILE.old) keeps it.
  - A rule whose metric the running Prometheus does not have would never fire, and is unknown.
  - A file that was changed by hand is told with what was changed. One that is not of this module's making, or of
    another environment, is left alone, unless O(adopt) is set.
author: TradingFlow Maintenance contributors (@tradingflow)
requirements:
  - promtool on the host; amtool, for O(alertmanager)
options:
  environment_name:
    description: The environment. Rules of several may lie beside each other.
    type: str
    required: true
  playbooks:
    description: Playbook to the seconds after which its next run is missing; 0 for none.
    type: dict
    default: {daily: 93600, weekly: 691200, monthly: 2764800}
  hosts:
    description:
      - Hosts whose checks' thresholds are taken from their variables C(health_check_system_thresholds) and
        C(health_check_mounts). Their C(instance) in Prometheus is the name, with or without a port.
    type: list
    elements: str
    default: []
  targets:
    description: The same, said outright. By default from O(hosts).
    type: list
    elements: dict
    suboptions:
      name:
        description: The host.
        type: str
        required: true
      thresholds:
        description: As O(tradingflow.maintenance.host_checks#module:thresholds).
        type: dict
        default: {}
      mounts:
        description: As O(tradingflow.maintenance.host_checks#module:mounts).
        type: list
        elements: dict
        default: []
  application:
    description: C(thresholds) and C(metrics) as of M(tradingflow.maintenance.application_checks).
    type: dict
    default: {}
  database:
    description: C(thresholds) as of M(tradingflow.maintenance.database_checks).
    type: dict
    default: {}
  metrics:
    description:
      - Names of the application's metrics where they are others - C(requests), C(status_label), C(duration) (a
        histogram of seconds, without C(_bucket)), C(pool_in_use), C(pool_size). By default those of O(application).
    type: dict
    default: {}
  selectors:
    description:
      - Matchers by which series are told, such as C(job="node") - C(node) (none by default), C(application)
        (C(job="tradingflow")), C(postgres) (C(job="postgres")).
    type: dict
    default: {}
  leave_out:
    description: Names of rules that are not wanted.
    type: list
    elements: str
    default: []
  labels:
    description: Labels that each alert gets beside C(environment), C(severity) and C(managed_by).
    type: dict
    default: {}
  rules_file:
    description: Where the rules are put. Prometheus's C(rule_files) must name it.
    type: path
    required: true
  dashboard_file:
    description: Where the dashboard is put, in a folder of Grafana's provisioning.
    type: path
  prometheus_url:
    description: Where Prometheus answers, from the host. Without it nobody is asked, and that is unknown.
    type: str
  prometheus_reload:
    description:
      - The program that has it read its rules, such as C([systemctl, reload, prometheus]). Default
        is C(POST /-/reload).
    type: list
    elements: str
    default: []
  alertmanager:
    description: Alertmanager's configuration. Without it, it is left alone.
    type: dict
    suboptions:
      file:
        description: Its configuration, all of it.
        type: path
        required: true
      url:
        description: Where it answers, from the host. What it runs is compared with the file.
        type: str
        required: true
      reload:
        description: As O(prometheus_reload).
        type: list
        elements: str
        default: []
      receivers:
        description: As Alertmanager has them. Name files for secrets, such as C(url_file).
        type: list
        elements: dict
        required: true
      routes:
        description:
          - Severity to receiver - C(critical), and C(unknown) and C(warning) where they have another; C(watchdog) for a
            service outside that calls when the watchdog is silent.
        type: dict
        required: true
      group_wait:
        description: As Alertmanager has it.
        type: str
        default: 30s
      group_interval:
        description: As Alertmanager has it.
        type: str
        default: 5m
      repeat_interval:
        description: As Alertmanager has it.
        type: str
        default: 4h
  adopt:
    description: Whether a file may be replaced that is not of this module's making, or of another environment.
    type: bool
    default: false
  ca_file:
    description: CA certificates that the servers are trusted by, instead of the system's.
    type: path
  promtool:
    description: The program.
    type: str
    default: promtool
  amtool:
    description: The program.
    type: str
    default: amtool
  group:
    description: Group of the files, so that the servers can read them. By default as it is.
    type: str
  timeout:
    description: Seconds that a server may take to answer, and to read its files.
    type: int
    default: 30
extends_documentation_fragment:
  - tradingflow.maintenance.run
attributes:
  check_mode:
    description: Generates, checks, and says what would be changed and what the servers have otherwise.
    support: full
  diff_mode:
    description: Of each file, without secrets.
    support: full
"""

EXAMPLES = r"""
- name: Configure the monitoring
  tradingflow.maintenance.monitoring_config:
    run: "{{ maintenance_run }}"
    environment_name: production
    hosts: "{{ groups['tradingflow_hosts'] }}"
    rules_file: /etc/prometheus/tradingflow.rules.yml
    prometheus_url: http://localhost:9090
    prometheus_reload: [systemctl, reload, prometheus]
    alertmanager:
      file: /etc/prometheus/alertmanager.yml
      url: http://localhost:9093
      receivers:
        - {name: operators, webhook_configs: [{url_file: /etc/prometheus/operators.url}]}
        - {name: deadman, webhook_configs: [{url_file: /etc/prometheus/deadman.url}]}
      routes: {critical: operators, watchdog: deadman}
"""

RETURN = r"""
rules:
  description: How many there are.
  returned: when they could be generated
  type: int
checks:
  description: The checks, as contract 1 (docs/checks.md).
  returned: always
  type: list
  elements: dict
actions:
  description: What was put in place, loaded, or taken back; in check mode what would be.
  returned: always
  type: list
  elements: dict
worst_status:
  description: The worst status of all, from best to worst ok, warning, unknown, critical.
  returned: when called as an action
  type: str
  sample: ok
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._monitoring.engine import Configuring
from ..module_utils._monitoring.options import SPEC
from ..module_utils.checks import as_dicts
from ..module_utils.errors import MaintenanceError


def main() -> None:
    module = AnsibleModule({**SPEC, "run": {"type": "dict"}}, supports_check_mode=True)
    try:
        result = Configuring(module.params, module.check_mode).run()
    except MaintenanceError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**{**result, "checks": as_dicts(result["checks"])})


if __name__ == "__main__":
    main()
