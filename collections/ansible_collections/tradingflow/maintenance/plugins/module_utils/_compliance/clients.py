# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients: reviews, documents and screening that are due, and transactions that somebody has to look at."""

from __future__ import annotations

from .._checks.sql import NotMeasured, Row
from ..checks import OK, UNKNOWN, Check
from ..words import plural
from .judging import (
    firsts,
    happened,
    of_all,
    probe,
    refuse_empty,
    refuse_strange,
    refuse_undated,
    status_of,
    told,
    words_sql,
)

KINDS = ("house", "client")
STATUSES = ("onboarding", "active", "dormant", "suspended", "closed")
KYC_STATUSES = ("pending", "verified", "rejected", "expired")
RESULTS = ("clear", "dismissed", "hit", "pending")
OUTCOMES = ("cleared", "reported", "open")
MOVEMENTS = ("deposit", "withdrawal", "trade", "correction", "fee")

ACCOUNTS = {"account": "id", "kind": "text", "status": "text"}
STRANGE = f"count(*) FILTER (WHERE {words_sql('kind', KINDS)} OR {words_sql('status', STATUSES)}) AS strange"
#: Who may trade, or will: everyone else is of no interest any more.
CLIENTS = "kind = 'client' AND status IN ('active', 'dormant', 'suspended')"

REVIEWS = f"""
SELECT count(*) FILTER (WHERE {CLIENTS}) AS clients, {STRANGE},
    count(*) FILTER (WHERE {words_sql("kyc_status", KYC_STATUSES)}) AS strange_kyc,
    count(*) FILTER (WHERE {CLIENTS} AND kyc_status <> 'verified') AS unverified,
    count(*) FILTER (WHERE {CLIENTS} AND isfinite(kyc_review_due_at) IS NOT TRUE) AS undated,
    count(*) FILTER (WHERE {CLIENTS} AND kyc_review_due_at <= now()) AS overdue,
    count(*) FILTER (WHERE {CLIENTS} AND kyc_review_due_at > now() AND kyc_review_due_at <= now() + interval '30 days')
        AS soon,
    (array_agg(account::text ORDER BY kyc_review_due_at)
        FILTER (WHERE {CLIENTS} AND (kyc_review_due_at <= now() OR kyc_status <> 'verified')))[1:10] AS first
FROM maintenance.accounts
"""  # noqa: S608 -- words of our own


def accounts_known(row: Row) -> None:
    """Whether all accounts are of a known kind, and there are clients.

    :raises NotMeasured: not so
    """
    refuse_strange(row["strange"], "rows", "accounts", "kind or status", KINDS + STATUSES)
    refuse_empty(row["clients"], "accounts", "no client")


def reviews(row: Row, _given: Row) -> Check:
    """Reviews of clients."""
    id = "compliance.kyc_reviews"
    accounts_known(row)
    refuse_strange(row["strange_kyc"], "rows", "accounts", "kyc_status", KYC_STATUSES)
    bad = row["overdue"] + row["unverified"] + row["undated"]
    parts = [
        plural(row["overdue"], "review is overdue", "reviews are overdue"),
        plural(row["unverified"], "client is served though not verified", "clients are served though not verified"),
        plural(row["undated"], "client has no date of a next review", "clients have no date of a next review"),
        plural(row["soon"], "review is due within 30 days", "reviews are due within 30 days"),
    ]
    counts = (row["overdue"], row["unverified"], row["undated"], row["soon"])
    text = "; ".join(parts[number] for number, count in enumerate(counts) if count)
    text = f"Of {plural(row['clients'], 'client')}: {text or 'no review is due within 30 days'}."
    details = {
        "overdue": row["overdue"],
        "unverified": row["unverified"],
        "undated": row["undated"],
        "due_soon": row["soon"],
        "first": firsts(row["first"]),
    }
    return told(id, status_of(bad, row["soon"]), bad, text, "Review them, or restrict their accounts.", details=details)


DOCUMENTS = f"""
WITH clients AS (SELECT account FROM maintenance.accounts WHERE {CLIENTS} AND status <> 'closed'), kinds AS (
    SELECT c.account, count(d.account) AS documents,
        count(*) FILTER (WHERE d.expires_on IS NULL AND d.account IS NOT NULL OR d.expires_on >= current_date) AS valid,
        max(d.expires_on) AS until, bool_or(d.expires_on IS NULL AND d.account IS NOT NULL) AS lasting
    FROM clients c LEFT JOIN maintenance.kyc_documents d
        ON d.account::text = c.account::text AND {happened("d.verified_at")}
    GROUP BY c.account, d.kind), newest AS (
    SELECT account, sum(documents) AS documents, bool_or(documents > 0 AND valid = 0) AS expired,
        bool_or(valid > 0 AND NOT lasting AND until < current_date + 30) AS soon
    FROM kinds GROUP BY account)
SELECT (SELECT count(*) FROM maintenance.kyc_documents) AS documents,
    (SELECT count(*) FROM maintenance.kyc_documents WHERE NOT isfinite(expires_on)
        OR (verified_at IS NOT NULL AND NOT {happened("verified_at")})) AS undated,
    (SELECT {STRANGE.rpartition(" AS ")[0]} FROM maintenance.accounts) AS strange,
    count(*) AS clients, count(*) FILTER (WHERE documents = 0) AS without,
    count(*) FILTER (WHERE expired) AS expired,
    count(*) FILTER (WHERE soon AND NOT expired) AS soon,
    (array_agg(account::text ORDER BY account::text) FILTER (WHERE documents = 0 OR expired))[1:10] AS first
FROM newest
"""  # noqa: S608 -- words of our own


def documents(row: Row, _given: Row) -> Check:
    """Documents of clients."""
    accounts_known(row)
    refuse_empty(row["documents"], "kyc_documents", "no document")
    refuse_undated(row["undated"], "kyc_documents", "expires_on or verified_at")
    bad = row["without"] + row["expired"]
    clients = plural(row["clients"], "client")
    parts = (
        (row["without"], "without a verified document"),
        (row["expired"], "with expired ones only of a kind"),
        (row["soon"], "whose last of a kind expires within 30 days"),
    )
    text = of_all(clients, parts, f"{clients}, none whose documents expire within 30 days")
    details = {"without": row["without"], "expired": row["expired"], "soon": row["soon"], "first": firsts(row["first"])}
    remedy = "Ask for new documents, or restrict the accounts."
    return told("compliance.kyc_documents", status_of(bad, row["soon"]), bad, text, remedy, details=details)


SCREENING = f"""
WITH clients AS (SELECT account FROM maintenance.accounts WHERE {CLIENTS}), newest AS (
    SELECT c.account, max(s.screened_at) AS screened_at,
        extract(epoch FROM now() - max(s.screened_at)) / 86400 AS days,
        (max(s.screened_at) FILTER (WHERE s.result IN ('hit', 'pending'))
            < max(s.screened_at) FILTER (WHERE s.result = 'dismissed')) IS NOT TRUE
            AND bool_or(s.result IN ('hit', 'pending')) AS undecided
    FROM clients c LEFT JOIN maintenance.kyc_screenings s ON s.account::text = c.account::text
    GROUP BY c.account)
SELECT (SELECT count(*) FROM maintenance.kyc_screenings) AS screenings,
    (SELECT count(*) FROM maintenance.kyc_screenings WHERE {happened("screened_at")} IS NOT TRUE) AS undated,
    (SELECT count(*) FROM maintenance.kyc_screenings WHERE {words_sql("result", RESULTS)}) AS strange_result,
    (SELECT {STRANGE.rpartition(" AS ")[0]} FROM maintenance.accounts) AS strange,
    count(*) AS clients, count(*) FILTER (WHERE screened_at IS NULL) AS never,
    count(*) FILTER (WHERE days > %(screening_days)s) AS old, max(days) AS oldest,
    count(*) FILTER (WHERE undecided) AS hits,
    (array_agg(account::text ORDER BY screened_at NULLS FIRST)
        FILTER (WHERE screened_at IS NULL OR days > %(screening_days)s OR undecided))[1:10] AS first
FROM newest
"""  # noqa: S608 -- words of our own


def screening(row: Row, given: Row) -> Check:
    """Screening against lists of sanctions and the like."""
    accounts_known(row)
    refuse_empty(row["screenings"], "kyc_screenings", "no screening")
    refuse_undated(row["undated"], "kyc_screenings", "screened_at")
    refuse_strange(row["strange_result"], "rows", "kyc_screenings", "result", RESULTS)
    bad = row["never"] + row["old"] + row["hits"]
    clients = plural(row["clients"], "client")
    parts = (
        (row["never"], "never screened"),
        (row["old"], f"screened longer than {given['screening_days']} days ago"),
        (row["hits"], "with a hit that nobody has decided"),
    )
    text = of_all(clients, parts, f"{clients}, each screened in the last {given['screening_days']} days")
    details = {"never": row["never"], "old": row["old"], "undecided": row["hits"], "first": firsts(row["first"])}
    remedy = "Screen them; decide hits; restrict the accounts until then."
    return told("compliance.kyc_screening", status_of(bad), bad, text, remedy, details=details)


MOVED = f"""
WITH limits AS (SELECT key AS currency, value::numeric AS amount FROM jsonb_each_text(%(large)s::jsonb)), moved AS (
    SELECT t.transaction_id::text AS id, t.account::text AS account, t.currency, abs(t.amount) AS amount,
        sign(t.amount) AS direction, t.created_at, l.amount AS bound,
        t.amount > '-Infinity' AND t.amount < 'Infinity' AND isfinite(t.created_at)
            AND a.kind IN ('house', 'client') AS clear,
        (t.created_at > now() - interval '1 day' * %(aml_days)s) IS NOT FALSE AS recent
    FROM maintenance.transactions t LEFT JOIN maintenance.accounts a ON a.account::text = t.account::text
        LEFT JOIN limits l ON l.currency = t.currency
    WHERE (a.kind = 'house') IS NOT TRUE AND t.kind IN ('deposit', 'withdrawal')), reviewed AS (
    SELECT DISTINCT ON (transaction_id) transaction_id::text AS id, outcome, reviewed_at FROM maintenance.aml_reviews
    WHERE {happened("reviewed_at")} ORDER BY transaction_id, reviewed_at DESC), {{more}}
SELECT (SELECT count(*) FROM moved WHERE recent) AS moved,
    (SELECT count(*) FROM moved WHERE clear IS NOT TRUE) AS unclear,
    (SELECT array_agg(DISTINCT currency) FROM moved WHERE bound IS NULL) AS unbounded,
    (SELECT count(*) FROM maintenance.transactions WHERE {words_sql("kind", MOVEMENTS)}) AS strange,
    (SELECT count(*) FROM maintenance.aml_reviews WHERE {words_sql("outcome", OUTCOMES)}) AS strange_outcome,
    count(*) FILTER (WHERE recent OR NOT done) AS found, count(*) FILTER (WHERE NOT done) AS undone,
    count(*) FILTER (WHERE NOT done AND at <= now() - interval '1 day' * %(aml_review_days)s) AS late,
    (array_agg(name ORDER BY at) FILTER (WHERE NOT done))[1:10] AS first
FROM found
"""  # noqa: S608 -- words of our own
LARGE = MOVED.format(
    more="""found AS (
    SELECT m.id AS name, m.created_at AS at, m.recent,
        coalesce(r.outcome IN ('cleared', 'reported') AND r.reviewed_at >= m.created_at, false) AS done
    FROM moved m LEFT JOIN reviewed r USING (id) WHERE m.amount >= m.bound)"""
)
#: Several movements below the limit, of one account in one direction, that reach it together within some days.
STRUCTURED = MOVED.format(
    more="""windows AS (
    SELECT m.*, sum(amount) OVER near AS together, count(*) OVER near AS movements FROM moved m WHERE amount < bound
    WINDOW near AS (PARTITION BY account, currency, direction ORDER BY created_at
        RANGE BETWEEN interval '1 day' * %(structured_days)s PRECEDING AND CURRENT ROW)), found AS (
    SELECT w.id AS name, w.created_at AS at, w.recent,
        coalesce(r.outcome IN ('cleared', 'reported') AND r.reviewed_at >= w.created_at, false) AS done
    FROM windows w LEFT JOIN reviewed r USING (id) WHERE w.together >= w.bound AND w.movements >= 2)"""
)


def moved(id: str, what: str) -> object:
    """The judgement of movements that somebody has to look at."""

    def judge(row: Row, given: Row) -> Check:
        refuse_strange(row["strange"], "rows", "transactions", "kind", MOVEMENTS)
        refuse_strange(row["strange_outcome"], "rows", "aml_reviews", "outcome", OUTCOMES)
        if not row["moved"] and not row["undone"] and not row["unclear"]:
            raise NotMeasured(
                f"no client paid in or out in {given['aml_days']} days, by the view maintenance.transactions.",
                "Let the view have clients' deposits and withdrawals, wherever they are booked.",
            )
        if row["unclear"]:
            raise NotMeasured(
                f"{plural(row['unclear'], 'movement has', 'movements have')} no amount, time or account that can be.",
                "Correct the view maintenance.transactions, and let maintenance.accounts have every account.",
            )
        if row["unbounded"]:
            text = f"No limit is set for {', '.join(firsts(row['unbounded']))}, in which clients paid in or out."
            return told(id, UNKNOWN, None, text, "Add it to compliance_report_large_transactions.")
        text = f"{plural(row['found'], f'{what} movement', none='No')} of clients in {given['aml_days']} days"
        if not row["undone"]:
            return told(
                id, OK, 0, f"{text}{', all reviewed' if row['found'] else ''}.", details={"found": row["found"]}
            )
        text += f", or longer ago and not reviewed; {row['undone']:,} not reviewed, {row['late']:,} of them for more "
        text += f"than {given['aml_review_days']} days."
        details = {"found": row["found"], "open": row["undone"], "late": row["late"], "first": firsts(row["first"])}
        remedy = "Review each, decide, and report what must be reported."
        return told(id, status_of(row["late"], row["undone"]), row["undone"], text, remedy, details=details)

    return judge


_MOVED_VIEWS = {
    "transactions": {
        "transaction_id": "id",
        "account": "id",
        "kind": "text",
        "currency": "text",
        "amount": "exact",
        "created_at": "time",
    },
    "accounts": {"account": "id", "kind": "text"},
    "aml_reviews": {"transaction_id": "id", "outcome": "text", "reviewed_at": "time"},
}

PROBES = (
    probe(
        "compliance.kyc_reviews",
        REVIEWS,
        reviews,
        {"accounts": {**ACCOUNTS, "kyc_status": "text", "kyc_review_due_at": "time"}},
    ),
    probe(
        "compliance.kyc_documents",
        DOCUMENTS,
        documents,
        {
            "kyc_documents": {"account": "id", "kind": "text", "expires_on": "date", "verified_at": "time"},
            "accounts": ACCOUNTS,
        },
    ),
    probe(
        "compliance.kyc_screening",
        SCREENING,
        screening,
        {"kyc_screenings": {"account": "id", "screened_at": "time", "result": "text"}, "accounts": ACCOUNTS},
    ),
    probe(
        "compliance.large_transactions",
        LARGE,
        moved("compliance.large_transactions", "large"),  # type: ignore[arg-type]
        _MOVED_VIEWS,
    ),
    probe(
        "compliance.structured_transactions",
        STRUCTURED,
        moved("compliance.structured_transactions", "structured"),  # type: ignore[arg-type]
        _MOVED_VIEWS,
    ),
)
