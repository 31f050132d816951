# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Authorities, certificates and kubeconfigs of a cluster: TLS everywhere, each client known by its own certificate."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..layout import write_private

CONTEXT = "tradingflow-sandbox"
VALID = datetime.timedelta(days=30)
_EXCLUDED = ("content_commitment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")


class Authority:
    """A certificate authority whose key is kept nowhere.

    :param folder: where what it signs is written: NAME.crt, and NAME.key for the owner only
    :param name: of itself; its certificate is NAME.crt
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"TradingFlow sandbox {name}")])
        certificate = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(authority=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM).decode()
        write_private(folder / f"{name}.crt", self.certificate)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + VALID)
        )

    def issue(
        self, file_name: str, common_name: str, *, group: str | None = None, hosts: Sequence[str] = ()
    ) -> tuple[str, str]:
        """Signs for a client, and for a server too where it has hosts. Its certificate and key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        # Kubernetes takes the organisation for the user's group.
        parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
        subject = x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        builder = (
            self._builder(subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(each) for each in hosts]), critical=False
            )
        signed = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        text = _private(key)
        write_private(self.folder / f"{file_name}.crt", signed)
        write_private(self.folder / f"{file_name}.key", text)
        return signed, text


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_encipherment=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        **dict.fromkeys(_EXCLUDED, False),
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def kubeconfig(path: Path, server: str, authority: str, user: str, credentials: tuple[str, str]) -> None:
    """Writes a kubeconfig with everything in it, for the owner only."""
    data = [base64.b64encode(text.encode()).decode() for text in (authority, *credentials)]
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": data[0]}}],
        "users": [{"name": user, "user": {"client-certificate-data": data[1], "client-key-data": data[2]}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user, "namespace": "staging"}}],
    }
    write_private(path, json.dumps(content, indent=1) + "\n")


def write(folder: Path, *, port: int, node: str, node_address: str, service_address: str) -> Mapping[str, Path]:
    """Writes the keys of a whole cluster.

    :param folder: there, and empty
    :param port: of the API server
    :returns: kubeconfigs of its users: admin, and maintenance
    """
    cluster, store = Authority(folder, "ca"), Authority(folder, "etcd-ca")
    Authority(folder, "front-ca")
    store.issue("etcd", "etcd", hosts=["localhost", "127.0.0.1"])
    store.issue("etcd-client", "kube-apiserver")
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    cluster.issue(
        "apiserver", "kube-apiserver", hosts=["localhost", "127.0.0.1", node_address, service_address, *names]
    )
    cluster.issue("apiserver-kubelet", "kube-apiserver", group="system:masters")
    cluster.issue("kubelet-server", node, hosts=[node, node_address])
    tokens = ec.generate_private_key(ec.SECP256R1())
    write_private(folder / "tokens.key", _private(tokens))
    public = tokens.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    write_private(folder / "tokens.pub", public.decode())
    users = {
        "admin": ("admin", "system:masters"),
        "maintenance": ("maintenance", None),
        "controller-manager": ("system:kube-controller-manager", None),
        "scheduler": ("system:kube-scheduler", None),
        "proxy": ("system:kube-proxy", None),
        "kubelet": (f"system:node:{node}", "system:nodes"),
    }
    written = {}
    for name, (user, group) in users.items():
        credentials = cluster.issue(name, user, group=group)
        written[name] = folder / f"{name}.kubeconfig"
        kubeconfig(written[name], f"https://127.0.0.1:{port}", cluster.certificate, name, credentials)
    return {name: written[name] for name in ("admin", "maintenance")}
