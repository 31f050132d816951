"""A real mail server on loopback, with TLS and a login, that keeps what it gets."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from sandbox.certificates import write_tls

USER, PASSWORD = "reports", "hush hush"


class Kept:
    """The server's hook: keeps mails, and refuses addresses that begin with "nobody".

    :ivar lose: whether the connection ends when a mail was taken, before the answer
    """

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.lose = False

    def messages(self) -> list[Message]:
        return [message_from_bytes(each.content) for each in self.mails if isinstance(each.content, bytes)]

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        self.mails.append(envelope)
        if self.lose and server.transport is not None:
            server.transport.close()
        return "250 OK"


class OnAnyPort(Controller):
    """Knows its port before it is tried."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        super()._trigger_server()  # type: ignore[no-untyped-call]


@dataclass
class MailServer:
    """A running one, and the options that use it."""

    kept: Kept
    options: dict[str, Any]


@contextmanager
def mail_server(folder: Path) -> Iterator[MailServer]:
    """A server whose certificate a file in the folder is needed to trust."""
    files = write_tls(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["cert_file"], files["key_file"])

    def login(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    kept = Kept()
    running = OnAnyPort(
        kept,
        hostname="127.0.0.1",
        port=0,
        tls_context=context,
        require_starttls=True,
        authenticator=login,
        auth_required=True,
    )
    running.start()
    try:
        yield MailServer(
            kept,
            {
                "host": "localhost",
                "port": running.port,
                "tls": "starttls",
                "ca_file": files["ca_file"],
                "timeout": 60,
                "user": USER,
                "password": PASSWORD,
                "sender": "reports@example.com",
                "reply_to": None,
            },
        )
    finally:
        running.stop()
