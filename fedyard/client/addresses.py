"""Which machines a site speaks to: its hub, and for payloads the hosts that site.toml names; and how protected.

An address that the hub hands out is no reason to go there: it may lie inside the site's own network.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from fedyard.client.errors import Unacceptable, Unprotected

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Origin:
    """A scheme, a host and a port."""

    scheme: str
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """True if what is sent there does not leave this machine."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def among(self, hosts: Collection[str]) -> bool:
        """True if one of these, `host` or `host:port`, is this machine."""
        return not {self.host, f"{self.host}:{self.port}"}.isdisjoint(hosts)

    def protected(self) -> bool:
        """True if nobody on the way reads or changes what is sent there."""
        return self.scheme == "https" or self.is_loopback


def hub_origin(hub: str, allow_plain_http: Collection[str] = ()) -> Origin:
    """Where the hub is. allow_plain_http: `host` or `host:port` where a token may go in the clear.

    Raises `ValueError` for what is no address, `Unprotected` for plain http to another machine.
    """
    found = _parsed(hub)
    if found is None:
        raise ValueError("the hub's address must look like https://hub.example:8443 or http://127.0.0.1:8080")
    origin = found[0]
    if not (origin.protected() or origin.among(allow_plain_http)):
        there = f"{origin.host}:{origin.port}"
        raise Unprotected(
            f"{origin.scheme}://{there} is another machine, and plain http shows this token to everybody on the way: "
            f'use https, or name the machine a second time, allow_plain_http = ["{there}"] in site.toml '
            f"(--allow-plain-http {there} for init)"
        )
    return origin


def beside(address: str, hub: Origin, hosts: Collection[str], allow_plain_http: Collection[str] = ()) -> str:
    """An address that the hub has handed out, as it is gone to. hosts, allow_plain_http: `host` or `host:port`.

    Raises `Unacceptable` unless it is the hub's own, or of one of these hosts.
    """
    found = _parsed(address)
    if found is None:
        raise Unacceptable("the hub hands out an address that is none")
    origin, url = found
    own = (origin.host, origin.port) == (hub.host, hub.port)
    if not own and not origin.among(hosts):
        raise Unacceptable(
            f"the hub wants payloads to be carried by way of {origin.host}:{origin.port}, which is neither the hub nor "
            "in transfer_hosts of site.toml"
        )
    if not (origin.protected() or origin.among(allow_plain_http) or (own and origin.scheme == hub.scheme)):
        raise Unacceptable(
            f"the hub wants payloads to be carried by plain http by way of {origin.host}:{origin.port}: "
            "allow_plain_http of site.toml does not name it"
        )
    return url.url


def origin_of(address: str) -> Origin | None:
    """Where an address leads; None if it is none."""
    found = _parsed(address)
    return None if found is None else found[0]


def named(address: str) -> list[str]:
    """The machine of an address, for whoever wants to allow that one; none for what is no address."""
    origin = origin_of(address)
    return [] if origin is None else [f"{origin.host}:{origin.port}"]


def _parsed(address: str) -> tuple[Origin, Url] | None:
    """By the parser that the requests are made with, so that both see the same host."""
    try:
        url = parse_url(address)
    except LocationParseError:
        return None
    if url.scheme not in _PORTS or not url.host or url.auth is not None or "\\" in address:
        return None
    return Origin(url.scheme, url.host.strip("[]").lower(), url.port or _PORTS[url.scheme]), url
