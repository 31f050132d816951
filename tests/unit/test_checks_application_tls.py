"""Area application and certificates: each that is not accepted says exactly why."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.test_checks_application import Server, assert_silent, measure

NOW = datetime.datetime.now(datetime.UTC)


class Issued:
    """A certificate with its key; ``issue`` makes one below it."""

    def __init__(self, name: str, by: Issued | None = None, days: tuple[float, float] = (-1, 90), **kind: Any) -> None:
        self.key = kind.get("key") or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        above = by or self
        begins, expires = (NOW + datetime.timedelta(days=each) for each in days)
        address: str = kind.get("address", "127.0.0.1")
        builder = (
            x509.CertificateBuilder(above.name, self.name, self.key.public_key(), x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(expires)
            .add_extension(x509.BasicConstraints(ca=kind.get("ca", False), path_length=None), True)
        )
        # Python 3.13 asks for these.
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key())
        builder = builder.add_extension(issuer, False)
        if kind.get("ca"):
            usage = dict.fromkeys(
                ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
                False,
            )
            signing = x509.KeyUsage(
                **usage, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False
            )
            builder = builder.add_extension(signing, True)
        if not kind.get("ca"):
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(names, False)
        self.pem = builder.sign(above.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        form, encryption = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.key.private_bytes(serialization.Encoding.PEM, form, encryption)


ROOT = Issued("Test root", ca=True)
MIDDLE = Issued("Test intermediate", ROOT, ca=True)

Serve = Callable[..., tuple[Server, str]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A server that sends the given certificates, its own first, and a file that trusts the root."""
    running: list[Server] = []

    def start(own: Issued, *more: Issued, trusted: Issued = ROOT) -> tuple[Server, str]:
        (tmp_path / "server.pem").write_bytes(own.key_pem + own.pem + b"".join(each.pem for each in more))
        (tmp_path / "ca.pem").write_bytes(trusted.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        running.append(Server(context))
        return running[-1], str(tmp_path / "ca.pem")

    yield start
    for server in running:
        server.close()


def test_complete_chain_of_a_ca_of_our_own(serve: Serve) -> None:
    server, ca_file = serve(Issued("app", MIDDLE), MIDDLE)
    found, _ = measure(server.url, ca_file=ca_file)
    assert {check.status for check in found.values()} == {"ok"}
    assert found["application.certificate"].value == 89
    assert found["application.certificate"].details["subjects"] == ["app", "Test intermediate"]


def test_days_left(serve: Serve) -> None:
    server, ca_file = serve(Issued("app", ROOT, days=(-1, 5)))
    found, _ = measure(server.url, ca_file=ca_file)
    certified = found.pop("application.certificate")
    assert {check.status for check in found.values()} == {"ok"}
    assert (certified.status, certified.value) == ("critical", 4)
    found, _ = measure(server.url, ca_file=ca_file, thresholds={"certificate": {"critical": 3}})
    assert found["application.certificate"].status == "warning"


def test_intermediate_that_expires_before_the_servers_own(serve: Serve) -> None:
    middle = Issued("Short intermediate", ROOT, days=(-1, 5), ca=True)
    server, ca_file = serve(Issued("app", middle), middle)
    check = measure(server.url, ca_file=ca_file)[0]["application.certificate"]
    assert (check.status, check.value) == ("critical", 4)
    assert "Short intermediate" in check.message


def test_root_of_our_own_that_expires_first(serve: Serve) -> None:
    root = Issued("Short root", days=(-900, 5), ca=True)
    server, ca_file = serve(Issued("app", root), trusted=root)
    check = measure(server.url, ca_file=ca_file)[0]["application.certificate"]
    assert (check.status, check.value) == ("critical", 4)
    assert "Short root" in check.message


def test_expired_cross_signature_that_is_sent_and_not_needed(serve: Serve) -> None:
    """As a CA's old root lived on: the new root is trusted here, and its old signature by another is sent along."""
    other = Issued("Old root", days=(-900, -2), ca=True)
    crossed = Issued("Test root", other, days=(-900, -2), ca=True, key=ROOT.key)
    server, ca_file = serve(Issued("app", MIDDLE), MIDDLE, crossed)
    check = measure(server.url, ca_file=ca_file)[0]["application.certificate"]
    assert (check.status, check.value) == ("ok", 89)


OLD = Issued("Old intermediate", ROOT, days=(-9, -2), ca=True)
OTHER = Issued("Other root", ca=True)


@pytest.mark.parametrize(
    ("own", "more", "because", "days"),
    [
        (Issued("app", ROOT, address="127.0.0.2"), [], "it is for 127.0.0.2, not for 127.0.0.1", 89),
        (Issued("app", MIDDLE), [], "its chain is incomplete: the server sends its own certificate alone", 89),
        (Issued("app", ROOT, days=(-9, -2)), [], "it expired on", -3),
        (Issued("app", ROOT, days=(2, 9)), [], "it is not valid before", 8),
        (Issued("app", OLD), [OLD], "Old intermediate, a CA above it, expired on", -3),
        (Issued("app"), [], "it is signed by itself (app)", 89),
        (Issued("app", OTHER), [OTHER], "its chain ends at the CA Other root, which is not trusted", 89),
        (
            Issued("app", middle := Issued("Middle of another", OTHER, ca=True)),
            [middle],
            "whose issuer Other root is neither sent nor trusted",
            89,
        ),
    ],
)
def test_certificate_that_is_not_accepted_says_why(
    serve: Serve, own: Issued, more: list[Issued], because: str, days: int
) -> None:
    server, ca_file = serve(own, *more)
    found, version = measure(server.url, ca_file=ca_file)
    certified = found.pop("application.certificate")
    assert (certified.status, certified.value) == ("critical", days)
    assert because in certified.message
    assert certified.remedy
    assert_silent(found, f"certificate is not trusted: {because}".split(":")[0])
    assert found["application.answers"].details["untrusted"] is True
    assert because in found["application.answers"].message
    assert version is None


def test_incomplete_chain_names_who_is_missing(serve: Serve) -> None:
    server, ca_file = serve(Issued("app", MIDDLE))
    assert "Test intermediate" in measure(server.url, ca_file=ca_file)[0]["application.certificate"].message


def test_without_the_library_what_openssl_says_is_shown(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.tradingflow.maintenance.plugins.module_utils._http import tls

    monkeypatch.setattr(tls, "x509", None)
    server, ca_file = serve(Issued("app", ROOT, days=(-9, -2)))
    check = measure(server.url, ca_file=ca_file)[0]["application.certificate"]
    assert (check.status, check.value) == ("critical", None)
    assert "certificate has expired" in check.message
