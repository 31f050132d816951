# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates and keys of a kubeconfig, in memory only."""

from __future__ import annotations

import ssl
from typing import Any

try:
    import urllib3.util.ssl_
    from kubernetes.config import kube_config
except ImportError:  # only the controller needs it
    kube_config = None  # type: ignore[assignment]


def in_memory(client: Any) -> None:
    """Takes what a client logs in with into memory, and removes the files that the library has written of it. That
    would at the end of its process, which one that Ansible forks does not come to.

    :param client: an ApiClient that has asked nothing yet
    :raises OSError: a certificate or key is none
    """
    configuration, pool = client.configuration, client.rest_client.pool_manager.connection_pool_kw
    try:
        context: ssl.SSLContext = urllib3.util.ssl_.create_urllib3_context(cert_reqs=pool["cert_reqs"])
        if configuration.ssl_ca_cert:
            context.load_verify_locations(configuration.ssl_ca_cert)
        else:
            context.load_default_certs()
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    finally:
        files_removed()
    for name in ("ca_certs", "cert_file", "key_file"):
        pool.pop(name, None)
    pool["ssl_context"] = context


def files_removed() -> None:
    """Removes what the library has written, were it for a token that it has renewed."""
    kube_config._cleanup_temp_files()  # type: ignore[no-untyped-call]
