# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules: what runs report, and what exporters measure between two runs against the same thresholds.

Metrics are those of report.prom (docs/report.md), node_exporter, the application, and postgres_exporter.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

from ..errors import ConfigurationError
from ..words import span
from .rule import MINUTES, Rule, constant, selector, text
from .rules_hosts import hosts
from .rules_services import application, database

FINISHED = "tradingflow_run_finished_timestamp_seconds"
WORST = "tradingflow_run_worst_status"
STATUS = "tradingflow_check_status"
FAILED = "tradingflow_run_actions_failed"
#: Statuses that are told by check, with the number that report.prom has for them.
TOLD = {"unknown": 2, "critical": 3}

#: Seconds by which the clocks of the controller and of Prometheus may differ.
AHEAD = 3600

#: Which series are whose, without hosts' names.
SELECTORS = {"node": "", "application": 'job="tradingflow"', "postgres": 'job="postgres"'}


def rules(options: Dict[str, Any]) -> List[Rule]:
    """All rules, in their order.

    :param options: see SPEC, with targets, application, database and metrics complete
    :raises ConfigurationError: a name in leave_out is no rule's, or a threshold makes no sense
    """
    found = [watchdog(), *runs(options), *hosts(options), *application(options), *database(options)]
    known = {rule.name for rule in found}
    strange = sorted(set(options["leave_out"]) - known)
    if strange:
        raise ConfigurationError(
            f"leave_out names what is no rule: {', '.join(strange[:3])}.", f"There are {', '.join(sorted(known))}."
        )
    return [rule for rule in found if rule.name not in options["leave_out"]]


def watchdog() -> Rule:
    """Fires always: whoever is told of it knows that alerts get through, and misses it when they do not."""
    return Rule(
        "TradingFlowWatchdog",
        "vector(1)",
        "watchdog",
        "Alerts get through.",
        "Nothing: send it to a service that calls when it does not come.",
        hold="",
        silent=None,
    )


def runs(options: Dict[str, Any]) -> Iterator[Rule]:
    """What runs say of themselves.

    None needs series: a playbook that has not run yet, such as the very one that puts these in place, has none. That it
    does not run is what two of its own rules tell of.
    """
    environment = options["environment_name"]
    for playbook, interval in options["playbooks"].items():
        if not isinstance(interval, (int, float)) or isinstance(interval, bool) or interval < 0:
            raise ConfigurationError(
                f"The interval of {playbook} is no number of seconds: {interval!r}.", "Correct playbooks; 0 for none."
            )
        if not interval:
            continue
        camel = "".join(word.capitalize() for word in str(playbook).split("_"))
        own = f"environment={text(environment)},playbook={text(playbook)}"
        finished, worst, failed, status = (selector(name, own) for name in (FINISHED, WORST, FAILED, STATUS))
        yield Rule(
            f"TradingFlow{camel}Missing",
            # One that ended in the future, by a clock that was wrong, would keep it silent until then.
            f"time() - {finished} > {interval:.15g} or {finished} - time() > {AHEAD} or absent({finished})",
            "critical",
            f"No {playbook} of {environment} has ended for {span(interval)}, or the last one in the future.",
            f"Find out why it did not run: the schedule, the controller, the lock; then run playbooks/{playbook}.yml.",
            # In a test time is 0 at first.
            firing=[constant(finished, -interval - 60)],
            silent=[constant(finished, MINUTES * 60 - interval)],
        )
        yield Rule(
            f"TradingFlow{camel}Bad",
            f"{worst} >= 2 or absent({worst})",
            "critical",
            f"The last {playbook} of {environment} found something critical, or could not measure it.",
            f"Read artifacts/{playbook}/latest/report.html on the controller.",
            hold="",
            firing=[constant(worst, 2)],
            silent=[constant(worst, 1)],
        )
        yield Rule(
            f"TradingFlow{camel}ActionFailed",
            f"{failed} > 0",
            "critical",
            f"An action of the last {playbook} of {environment} failed.",
            f"Read artifacts/{playbook}/latest/report.html on the controller.",
            hold="",
            firing=[constant(failed, 1)],
            silent=[constant(failed, 0)],
        )
        for name, number in TOLD.items():
            series = selector(STATUS, own, 'area="a",host="h",check="a.b"')
            yield Rule(
                f"TradingFlow{camel}Check",
                f"{status} == {number}",
                name,
                f"{{{{ $labels.check }}}} of {{{{ $labels.host }}}} is {name}, as the last {playbook} of {environment} "
                "says.",
                "See what the report says is to be done.",
                hold="",
                firing=[constant(series, number)],
                silent=[constant(series, 1)],
            )
    yield Rule(
        "TradingFlowTextfileUnreadable",
        "max by (instance) (node_textfile_scrape_error) > 0",
        "critical",
        "The textfile collector of {{ $labels.instance }} cannot read a file: what runs report does not get through.",
        "Read node_exporter's log there for the file, and delete what is not whole.",
        needs=[("node_textfile_scrape_error", ())],
        firing=[constant('node_textfile_scrape_error{instance="h:9100"}', 1)],
        silent=[constant('node_textfile_scrape_error{instance="h:9100"}', 0)],
    )
