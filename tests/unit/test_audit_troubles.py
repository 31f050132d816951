"""What may go wrong when evidence is collected and sealed, and which test has each: none of them may get lost."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

TROUBLES = {
    "a log source that vanishes half-way": (
        "unit/test_audit_log_files.py::test_files_that_move_while_they_are_read",
        "unit/test_audit_log_files.py::test_what_was_cut_off_and_is_nowhere_else_is_named",
        "unit/test_audit_host.py::test_containers",
    ),
    "a corrupt journal file": (
        "integration/test_audit_journals.py::test_a_corrupt_file_is_named_and_the_others_go_on",
    ),
    "vacuum or rotation while reading": (
        "integration/test_audit_journals.py::test_a_rotation_before_reading_is_followed_and_a_vacuum_is_named",
        "integration/test_audit_journals.py::test_a_file_that_is_rotated_in_while_others_are_read_is_read_too",
        "unit/test_audit_journal_numbers.py::test_each_source_of_numbers_has_to_have_its_begin",
    ),
    "a clock set back": (
        "integration/test_audit_journals.py::test_a_clock_set_back_loses_nothing_and_is_named",
        "integration/test_audit_journals.py::test_the_history_of_a_clock_that_was_set_back_is_whole",
        "unit/test_audit_journal_numbers.py::test_a_clock_that_was_set_back_where_one_file_ends_is_named",
        "unit/test_audit_ledger_records.py::test_a_clock_that_goes_back_within_the_period_is_named",
    ),
    "database down": (
        "integration/test_audit_database.py::test_a_database_that_is_down_and_a_disk_that_is_full",
        "integration/test_audit_database.py::test_settings_and_roles",
        "integration/test_compliance_controls.py::test_a_database_that_is_down_leaves_all_of_it_unknown",
    ),
    "disk full": (
        "unit/test_audit_engine.py::test_a_full_disk_leaves_what_was_collected",
        "unit/test_audit_log_files.py::test_the_disk_and_the_limit",
        "integration/test_audit_database.py::test_a_database_that_is_down_and_a_disk_that_is_full",
    ),
    "a log larger than memory": ("unit/test_audit_log_files.py::test_a_large_log_takes_little_memory",),
    "a redaction rule with catastrophic backtracking": (
        "unit/test_audit_redact.py::test_a_pattern_that_would_never_end_elsewhere_is_harmless",
        "unit/test_audit_engine.py::test_rules_that_make_no_sense_are_refused_before_anything_is_collected",
    ),
    "secrets with prefixes, in URLs, encoded, split over lines": (
        "unit/test_audit_redact.py::test_a_secret_is_gone_wherever_it_stands",
        "unit/test_audit_redact.py::test_secrets_split_over_lines",
    ),
    "one flipped bit in each kind of file": (
        "unit/test_audit_bundle.py::test_any_flipped_bit_of_any_file_is_rejected",
        "unit/test_audit_bundle.py::test_any_flipped_bit_of_the_archive_is_rejected",
        "unit/test_audit_timestamps.py::test_any_flipped_bit_and_any_missing_part_of_the_stamp_is_rejected",
    ),
    "an expired or revoked key": (
        "unit/test_audit_bundle.py::test_an_expired_or_revoked_key_does_not_count_without_a_time_stamp",
        "unit/test_audit_timestamps.py::test_a_key_that_ended_counts_for_what_was_stamped_before",
    ),
    "store gone in mid-upload": (
        "unit/test_audit_engine.py::test_a_store_that_goes_away_costs_nothing",
        "unit/test_audit_engine.py::test_what_a_dead_run_uploaded_is_not_vouched_for",
    ),
    "two collectors at once": (
        "unit/test_audit_engine.py::test_another_collector_was_first",
        "unit/test_audit_engine.py::test_one_at_a_time_on_a_machine",
        "unit/test_audit_host.py::test_two_at_once_are_one_too_many",
    ),
    "a period that has not ended, or just now": (
        "unit/test_audit_engine.py::test_periods_that_are_none_or_not_over",
        "unit/test_audit_host.py::test_what_may_still_be_written_is_not_complete",
    ),
    "daylight saving and month ends": (
        "unit/test_audit_engine.py::test_periods",
        "unit/test_audit_log_files.py::test_months_end_by_the_clock_of_the_log",
        "integration/test_audit_database.py::test_a_table_of_a_month_against_what_daily_runs_counted",
        "integration/test_audit_database.py::test_a_time_without_a_zone_needs_one",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_trouble_has_its_test(trouble: str) -> None:
    for each in TROUBLES[trouble]:
        file, _, name = each.partition("::")
        assert re.search(rf"(?m)^def {name}\(", (ROOT / "tests" / file).read_text()), each
