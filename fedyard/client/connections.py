"""The connections of one client: each machine's by the way that leads there, and in words what is wrong with it."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection

from fedyard.client.addresses import Origin
from fedyard.client.routes import Proxy, Routes

POOL_SIZE = 16
UNSENT_BYTES = 65_536
"""What the kernel may hold back beyond what is on its way: a cut loses it, and has it counted as sent."""
LOOK_WITHIN_S = 5.0
"""To see a certificate that was not believed once more, so that people can be told which it is."""
_SOCKET_OPTIONS = [*HTTPConnection.default_socket_options]
if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # not on Windows
    _SOCKET_OPTIONS.append((socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES))
_PROBLEM = "application/problem+json"
"""How the hub refuses."""
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")
_NONE = "00" * 32
"""No certificate's fingerprint."""
_FOR_PEOPLE = ("401", "403", "407")
"""What a proxy answers where its people, or this site's, have to do something; tinyproxy to a wrong login: 401."""


class Connections:
    """Safe to use from many threads. ca_file: certificates to trust instead of the system's."""

    def __init__(self, routes: Routes, ca_file: str | None) -> None:
        self._routes, self._ca_file = routes, ca_file
        self._lock = threading.Lock()
        self._pools: dict[Proxy | None, urllib3.PoolManager] = {}

    def to(self, there: Origin) -> urllib3.PoolManager:
        """Through which that machine is asked."""
        proxy = self._routes.to(there)
        with self._lock:
            if proxy not in self._pools:
                self._pools[proxy] = self._pool(proxy, ca_certs=self._ca_file)
            return self._pools[proxy]

    def close(self) -> None:
        """Let go of the idle connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()

    def sentence(self, error: urllib3.exceptions.HTTPError, there: Origin) -> str:
        """Why there is no answer, where that may pass."""
        proxy, where = self._routes.to(there), f"{there.scheme}://{there.host}:{there.port}"
        if proxy is None:
            return f"no answer from {where} ({sort_of(error)}): is the hub up, and is that its address?"
        refused = _TUNNEL_REFUSED.search(str(error))
        if refused is not None:
            return f"the proxy {proxy} does not get to {where} ({refused[1]}): is the hub up, and is that its address?"
        return f"no answer from {where} through the proxy {proxy} ({sort_of(error)}): are both up, at these addresses?"

    def to_mend(self, error: urllib3.exceptions.HTTPError, there: Origin) -> str | None:
        """What people have to mend, if the error is of that kind."""
        from fedyard.client.certificates import not_believed, told  # noqa: PLC0415 - only where something is wrong

        proxy = self._routes.to(there)
        failure = not_believed(error)
        if failure is not None:
            of_proxy = isinstance(error, urllib3.exceptions.ProxyError)
            whose = f"the proxy {proxy}" if of_proxy else f"{there.host}:{there.port}"
            return told(whose, failure, None if of_proxy else self._certificate_of(there))
        refused = _TUNNEL_REFUSED.search(str(error))
        if proxy is None or refused is None or refused[1] not in _FOR_PEOPLE:
            return None
        if refused[1] != "403":
            return self.login_wanted(there)
        return f"the proxy {proxy} lets nobody through to {there.host}:{there.port} (403): ask those who look after it"

    def of_proxy(self, response: urllib3.BaseHTTPResponse, there: Origin) -> str | None:
        """What people have to mend, if this answer to plain http is a proxy's own; None for the other machine's."""
        if self._routes.to(there) is None or there.scheme == "https":
            return None
        unknown = response.status == HTTPStatus.UNAUTHORIZED and _PROBLEM not in response.headers.get(
            "Content-Type", ""
        )
        asked = response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED or unknown
        return self.login_wanted(there) if asked else None

    def login_wanted(self, there: Origin) -> str:
        """What a proxy means that does not let one in."""
        proxy = self._routes.to(there)
        which = "another login than the one it is shown" if proxy is not None and proxy.login else "a login"
        return f"the proxy {proxy} wants {which}: write it as http://user:password@... into its address"

    def _certificate_of(self, there: Origin) -> bytes | None:
        """What is shown there, whoever shows it. It is sent nothing: its fingerprint is none that is asked for."""
        from fedyard.client.certificates import Looking  # noqa: PLC0415 - as above

        looking = Looking()
        pool = self._pool(self._routes.to(there), ssl_context=looking, cert_reqs="CERT_NONE", assert_fingerprint=_NONE)
        host = f"[{there.host}]" if ":" in there.host else there.host
        with suppress(urllib3.exceptions.HTTPError, OSError):
            pool.request("HEAD", f"https://{host}:{there.port}/", timeout=LOOK_WITHIN_S, redirect=False)
        pool.clear()
        return looking.seen

    @staticmethod
    def _pool(proxy: Proxy | None, **options: Any) -> urllib3.PoolManager:
        every: dict[str, Any] = {
            "maxsize": POOL_SIZE,
            "block": False,
            "retries": False,
            "socket_options": _SOCKET_OPTIONS,
            **options,
        }
        if proxy is None:
            return urllib3.PoolManager(**every)
        return urllib3.ProxyManager(proxy.address, proxy_headers=proxy.headers(), **every)


def sort_of(error: urllib3.exceptions.HTTPError) -> str:
    """What kept an answer away, in words."""
    cause = error.original_error if isinstance(error, urllib3.exceptions.ProxyError) else error
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return "no connection"
    if isinstance(cause, (urllib3.exceptions.TimeoutError, TimeoutError)):
        return "too late"
    return "TLS failed" if isinstance(cause, urllib3.exceptions.SSLError) else "the connection broke"
