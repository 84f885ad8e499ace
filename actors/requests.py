"""One HTTP request to a receiver that strangers have chosen: to public addresses alone, with every wait bounded.

The name is resolved once, every address that it has is looked at, and the connection goes to one of these, so that a
name cannot lead elsewhere between the check and the connection. TLS is verified for the name. No redirect is followed,
no proxy and nothing of the environment is used, and of the answer no more is read than its status needs.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from config.clock import Micros
from config.settings import SettingsError
from domain.webhooks import BUSY
from fedyard.wire.times import SECOND

CONNECT_WITHIN_S = 5.0
SILENT_WITHIN_S = 10.0
"""How long the other side may say nothing."""
WITHIN_S = 15.0
"""Everything together, from the connection on."""
READ_BYTES = 4096
"""Of the answer's body, which is thrown away."""
ADDRESSES = 3
"""That are tried, of those that a name has."""
AT_ONCE_PER_HOST = 2
"""Of one owner. Of several owners who name the same host each has so many: else one could keep it from another."""
AGENT = "fedyard-hub (Standard Webhooks)"

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve: TypeAlias = Callable[..., list[Any]]
"""As `socket.getaddrinfo`."""

_EMBEDDING = {
    ipaddress.IPv6Network("::ffff:0:0/96"): 0,
    ipaddress.IPv6Network("64:ff9b::/96"): 0,
    ipaddress.IPv6Network("2002::/16"): 80,
}
"""IPv6 addresses that lead to an IPv4 one: mapped, NAT64, 6to4; and how many bits lie behind it."""
_NEVER = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "240.0.0.0/4",
            "::/96",
            "64:ff9b:1::/48",
            "100::/64",
            "2001::/23",
            "3fff::/20",
            "5f00::/16",
            "fec0::/10",
        ),
    )
)
"""What `is_global` says of these differs from one Python to the next: this network, carriers' NAT, protocols,
6to4 relays, benchmarks, reserved; IPv4-compatible, local NAT64, discard, Teredo and ORCHID, documentation, segment
routing, site-local."""


class NotSent(Exception):
    """There is no answer. code: why, for the sender of the webhook; never an address or what the other side said."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Answered:
    """status: HTTP's. retry_after_s: what the other side asks for, if anything."""

    status: int
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Allowed:
    """What the operator allows although it is private or without TLS: names of hosts, and networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, text: str) -> Allowed:
        """From FEDYARD_WEBHOOK_ALLOW. Raises `SettingsError`."""
        hosts, networks = set(), []
        for part in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                networks.append(ipaddress.ip_network(part))
            except ValueError:
                if "/" in part or ":" in part:
                    raise SettingsError(
                        f"FEDYARD_WEBHOOK_ALLOW names {part!r}; write hosts without a port and networks as 10.1.0.0/16"
                    ) from None
                hosts.add(part)
        return cls(frozenset(hosts), tuple(networks))

    def has(self, host: str, address: Address) -> bool:
        return host in self.hosts or any(address in network for network in self.networks)


def is_public(address: Address) -> bool:
    """May anybody name this address? An IPv6 address that leads to an IPv4 one is judged by that."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        for network, shift in _EMBEDDING.items():
            if address in network:
                return is_public(ipaddress.IPv4Address(int(address) >> shift & 0xFFFF_FFFF))
    if any(address in network for network in _NEVER):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


@dataclass
class Places:
    """How many requests each owner has under way, to each host and to all: nobody's slow receivers, however many names
    they have, shall hold up what goes to others."""

    of_one: int
    to_one_host: int = AT_ONCE_PER_HOST
    _taken: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def place(self, owner: str, host: str) -> Iterator[None]:
        """Raises `NotSent` if there are as many as there may be."""
        of_one, to_one = (owner, None), (owner, host)
        with self._lock:
            if self._taken[of_one] >= self.of_one or self._taken[to_one] >= self.to_one_host:
                raise NotSent(BUSY)
            self._taken.update((of_one, to_one))
        try:
            yield
        finally:
            with self._lock:
                self._taken.subtract((of_one, to_one))
                for key in (of_one, to_one):
                    if not self._taken[key]:
                        del self._taken[key]


class Requests:
    """Sends. Safe to use from many threads. at_once: how many of these send; one owner has three quarters of them.

    tls: how certificates are verified; resolve: where addresses come from.
    """

    def __init__(
        self,
        allowed: Allowed,
        now: Callable[[], Micros],
        *,
        at_once: int,
        tls: ssl.SSLContext | None = None,
        resolve: Resolve = socket.getaddrinfo,
        within_s: float = WITHIN_S,
    ) -> None:
        self._allowed = allowed
        self._now = now
        self._tls = tls or ssl.create_default_context()
        self._resolve = resolve
        self._within_s = within_s
        self._places = Places(of_one=max(1, at_once * 3 // 4))

    def post(self, owner: str, url: str, headers: Mapping[str, str], body: bytes) -> Answered:
        """POST, and the answer's status. owner: whose share it is of. Raises `NotSent`."""
        try:
            parts = urlsplit(url)
            host, secure = (parts.hostname or "").lower().rstrip("."), parts.scheme == "https"
            port = parts.port or (443 if secure else 80)
        except ValueError:
            raise NotSent("bad_url") from None
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            raise NotSent("bad_url")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with self._places.place(owner, host):
            found = self._addresses(host, port, secure=secure)
            return self._ask(found, host, parts.netloc, target, headers, body, secure=secure)

    def _addresses(self, host: str, port: int, *, secure: bool) -> list[tuple[int, Any]]:
        """(family, where to connect to); each of them is allowed."""
        try:
            found = self._resolve(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError):
            raise NotSent("unresolved") from None
        places = [(family, where) for family, _, _, _, where in found if family in (socket.AF_INET, socket.AF_INET6)]
        for _, where in places:
            address = ipaddress.ip_address(where[0])
            if self._allowed.has(host, address):
                continue
            if not is_public(address):
                raise NotSent("private_address")
            if not secure:
                raise NotSent("not_https")
        if not places:
            raise NotSent("unresolved")
        return places[:ADDRESSES]

    def _ask(
        self,
        places: list[tuple[int, Any]],
        host: str,
        netloc: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        secure: bool,
    ) -> Answered:
        plain = _connected(places)
        with plain, _cut_off(plain, self._within_s) as late:
            try:
                talking = self._tls.wrap_socket(plain, server_hostname=host) if secure else plain
                with talking:
                    return self._said(talking, host, netloc, target, headers, body)
            except ssl.SSLCertVerificationError:
                raise NotSent("certificate") from None
            except TimeoutError:
                raise NotSent("timeout") from None
            except (OSError, http.client.HTTPException, ValueError) as error:
                if late.is_set():
                    raise NotSent("timeout") from None
                code = "tls" if isinstance(error, ssl.SSLError) else "connection" if isinstance(error, OSError) else ""
                raise NotSent(code or "not_http") from None

    def _said(
        self, talking: socket.socket, host: str, netloc: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Answered:
        asking = http.client.HTTPConnection(host)
        asking.auto_open = 0
        asking.sock = talking
        asking.putrequest("POST", target, skip_host=True, skip_accept_encoding=True)
        fixed = {"Host": netloc, "User-Agent": AGENT, "Connection": "close", "Content-Length": str(len(body))}
        for name, value in (fixed | dict(headers)).items():
            asking.putheader(name, value)
        asking.endheaders(body)
        with asking.getresponse() as answer:
            asked_s = self._retry_after(answer.getheader("Retry-After"))
            with suppress(OSError, http.client.HTTPException):  # the status was said, that is all that counts
                answer.read1(READ_BYTES)  # never `read`: a chunk whose size is negative has it read to the end
            return Answered(answer.status, asked_s)

    def _retry_after(self, text: str | None) -> float | None:
        """Seconds, of a number or a date; None for anything else."""
        if text is None:
            return None
        if text.isascii() and text.isdigit():
            return float(text[:9])
        try:
            at = parsedate_to_datetime(text).timestamp()
        except (ValueError, OverflowError):
            return None
        return max(0.0, at - self._now() / SECOND)


def _connected(places: list[tuple[int, Any]]) -> socket.socket:
    """To the first that takes it. Raises `NotSent`."""
    for family, where in places:
        plain = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        plain.settimeout(CONNECT_WITHIN_S)
        try:
            plain.connect(where)
        except OSError:
            plain.close()
            continue
        plain.settimeout(SILENT_WITHIN_S)
        return plain
    raise NotSent("unreachable")


@contextmanager
def _cut_off(plain: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """However the other side drips its bytes, the connection ends then; the event says that it was so."""
    late = threading.Event()
    other = socket.socket(fileno=os.dup(plain.fileno()))  # TLS takes the first one over

    def cut() -> None:
        late.set()
        with suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()
        timer.join()
        other.close()
