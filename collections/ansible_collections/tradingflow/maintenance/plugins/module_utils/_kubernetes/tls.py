# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates and keys of a kubeconfig, in memory only."""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from typing import Any, Iterator

try:
    import urllib3.util.ssl_
    from kubernetes.config import kube_config
except ImportError:  # only the controller needs it
    kube_config = None  # type: ignore[assignment]


#: The library keeps one list of its files for all threads.
_one = threading.RLock()


@contextmanager
def no_files_left() -> Iterator[None]:
    """Removes in the end what the library has written meanwhile, such as a client's key. That does so at the end of its
    process, which one that Ansible forks does not come to.
    """
    with _one:
        try:
            yield
        finally:
            if kube_config is not None:
                kube_config._cleanup_temp_files()  # type: ignore[no-untyped-call]


def in_memory(client: Any) -> None:
    """Takes what a client logs in with into memory, so that the files of it may go.

    :param client: an ApiClient that has asked nothing yet
    :raises OSError: a certificate or key is none
    """
    configuration, pool = client.configuration, client.rest_client.pool_manager.connection_pool_kw
    context: ssl.SSLContext = urllib3.util.ssl_.create_urllib3_context(cert_reqs=pool["cert_reqs"])
    if configuration.ssl_ca_cert:
        context.load_verify_locations(configuration.ssl_ca_cert)
    else:
        context.load_default_certs()
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    for name in ("ca_certs", "cert_file", "key_file"):
        pool.pop(name, None)
    pool["ssl_context"] = context
