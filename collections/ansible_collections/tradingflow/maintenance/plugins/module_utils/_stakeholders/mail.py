# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sending documents by mail: one message for each address, with an id that a repetition keeps."""

from __future__ import annotations

import hashlib
import smtplib
import socket
import ssl
from contextlib import contextmanager
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Dict, Iterator, Mapping, Optional

from ..errors import ConfigurationError, MaintenanceError
from ..masking import masked
from ..words import printable

MAIL_SPEC: Dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int"},
    "tls": {"type": "str", "default": "starttls", "choices": ["starttls", "implicit", "none"]},
    "ca_file": {"type": "path"},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "sender": {"type": "str", "required": True},
    "reply_to": {"type": "str"},
    "timeout": {"type": "int", "default": 60},
}
PORTS = {"starttls": 587, "implicit": 465, "none": 25}
REMEDY = "Run again: who has it already gets nothing twice."


class MailError(MaintenanceError):
    """The mail server does not take a message."""

    #: Whether it may have taken it all the same.
    unsure = False


def message_id(sha256: str, address: str, sender: str) -> str:
    """The same for the same document and address, so that a repetition shows as one."""
    text = hashlib.sha256(f"{sha256} {address}".encode()).hexdigest()[:40]
    return f"<{text}@{sender.rpartition('@')[2]}>"


def message(document: bytes, name: str, given: Mapping[str, Any], address: str, when: datetime) -> EmailMessage:
    """The mail with a document.

    :param given: title, month, environment, sha256, sender, reply_to
    :param when: of the approval: a repetition has the same date
    """
    made = EmailMessage()
    made["From"] = given["sender"]
    made["To"] = address
    if given.get("reply_to"):
        made["Reply-To"] = given["reply_to"]
    made["Subject"] = f"{given['title']}, {given['month']}"
    made["Date"] = format_datetime(when)
    made["Message-ID"] = message_id(given["sha256"], address, given["sender"])
    made["Auto-Submitted"] = "auto-generated"
    made.set_content(
        f"{given['title']} of {given['environment']} for {given['month']} is attached.\n\n"
        f"SHA-256 of the attachment: {given['sha256']}\n"
    )
    made.add_attachment(document, maintype="application", subtype="pdf", filename=name)
    return made


class Mailer:
    """A connection to the mail server."""

    def __init__(self, server: smtplib.SMTP, host: str) -> None:
        self._server, self._host = server, host

    def send(self, mail: EmailMessage) -> None:
        """Hands a message over.

        :raises MailError: it was refused, or nobody knows whether it was taken
        """
        address = mail["To"]
        try:
            refused = self._server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            refused = error.recipients
        except smtplib.SMTPResponseException as error:
            said = _said(error.smtp_code, error.smtp_error)
            raise MailError(f"{self._host} refused the mail to {printable(address, 80)}: {said}.", REMEDY) from None
        except (smtplib.SMTPException, OSError) as error:
            lost = MailError(
                f"The connection to {self._host} was lost, and whether the mail to {printable(address, 80)} "
                f"was taken is not known: {_reason(error)}.",
                "Run again: the mail has the same id then, and mail programs show it once.",
            )
            lost.unsure = True
            raise lost from None
        if refused:
            code, text = next(iter(refused.values()))
            raise MailError(f"{self._host} refused {printable(address, 80)}: {_said(code, text)}.", REMEDY)


@contextmanager
def connected(options: Mapping[str, Any]) -> Iterator[Mailer]:
    """A connection that is encrypted, unless no encryption was asked for, and logged in where there is a user.

    :raises MailError: the server cannot be reached, its certificate is not trusted, or it refuses the login
    """
    host, tls = options["host"], options["tls"]
    port = options["port"] or PORTS[tls]
    if options["user"] and tls == "none":
        raise ConfigurationError(
            "A password would go over the network in clear.", "Set tls of stakeholder_report_mail to starttls."
        )
    server: Optional[smtplib.SMTP] = None
    try:
        context = ssl.create_default_context(cafile=options["ca_file"] or None)
        if tls == "implicit":
            server = smtplib.SMTP_SSL(host, port, timeout=options["timeout"], context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=options["timeout"])
        if tls == "starttls":
            server.starttls(context=context)
        if options["user"]:
            server.login(options["user"], options["password"] or "")
    except smtplib.SMTPResponseException as error:
        _close(server)
        said = _said(error.smtp_code, error.smtp_error)
        raise MailError(f"The mail server {host}:{port} refused: {said}.", "Correct stakeholder_report_mail.") from None
    except smtplib.SMTPNotSupportedError:
        _close(server)
        raise MailError(
            f"The mail server {host}:{port} offers no {'login' if options['user'] else 'TLS'}, or none that is known.",
            "Correct stakeholder_report_mail, or the server.",
        ) from None
    except (smtplib.SMTPException, OSError) as error:
        _close(server)
        raise MailError(
            f"The mail server {host}:{port} cannot be used: {_reason(error)}.",
            "See whether it runs, and correct stakeholder_report_mail.",
        ) from None
    try:
        yield Mailer(server, f"{host}:{port}")
    finally:
        _close(server)


def _close(server: Optional[smtplib.SMTP]) -> None:
    if server is None:
        return
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):
        server.close()


def _said(code: Any, text: Any) -> str:
    raw = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return masked(printable(f"{code} {' '.join(raw.split())}", 200))


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    if isinstance(error, (socket.gaierror, TimeoutError)):
        return "no such host" if isinstance(error, socket.gaierror) else "it does not answer"
    return masked(printable(" ".join(str(error).split()) or type(error).__name__, 160))
