"""By which way a machine is reached: straight ahead, or through the proxy that the site or its environment names.

A login of a proxy is shown to nobody: not by `str`, not in errors. This machine itself is never looked for behind a
proxy, where it would be another one.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from fedyard.client.addresses import Origin
from fedyard.client.errors import Unreachable

STRAIGHT = "none"
"""What `proxy` of site.toml says where there is none, whatever the environment names."""
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Proxy:
    """address: scheme, host and port. login: user:password; empty: it wants none."""

    address: str
    login: str = field(default="", repr=False)

    def headers(self) -> dict[str, str]:
        """What logs in there."""
        if not self.login:
            return {}
        return {"Proxy-Authorization": f"Basic {base64.b64encode(self.login.encode()).decode()}"}

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True)
class Routes:
    """The proxy for addresses of each scheme, and those that need none. straight: entries as NO_PROXY has them."""

    http: Proxy | None = None
    https: Proxy | None = None
    straight: Sequence[str] = ()

    def to(self, there: Origin) -> Proxy | None:
        """The proxy that the way there leads through; None: straight ahead."""
        if there.is_loopback or any(_covers(entry, there) for entry in self.straight):
            return None
        return self.https if there.scheme == "https" else self.http


def routes_of(said: str | None, environment: Mapping[str, str]) -> Routes:
    """said: `proxy` of site.toml, which counts more than HTTP_PROXY and HTTPS_PROXY; NO_PROXY counts in either case.

    Raises `Unreachable` where what is said is no proxy.
    """
    if said == STRAIGHT:
        return Routes()

    def told(name: str) -> str:
        return environment.get(name.lower()) or environment.get(name) or ""

    straight = [entry.strip().lower() for entry in told("NO_PROXY").split(",") if entry.strip()]
    if said:
        proxy = _proxy(said, "proxy of site.toml")
        return Routes(proxy, proxy, straight)
    plain, secure = (_proxy(told(name), name) if told(name) else None for name in ("HTTP_PROXY", "HTTPS_PROXY"))
    return Routes(plain, secure, straight)


def _proxy(text: str, where: str) -> Proxy:
    try:
        url = parse_url(text if "://" in text else f"http://{text}")
    except LocationParseError:
        url = None
    if url is None or url.scheme not in _PORTS or not url.host or url.path not in (None, "", "/"):
        raise Unreachable(
            f"{where} is no proxy: write http://proxy.example:3128, or http://user:password@... for a login"
        )
    return Proxy(f"{url.scheme}://{url.host}:{url.port or _PORTS[url.scheme]}", unquote(url.auth or ""))


def _covers(entry: str, there: Origin) -> bool:
    """True if this entry of NO_PROXY means that machine.

    `*`, `hub.example` with all that ends in it, `.example`, `hub.example:8443`, `10.1.2.3`, `10.0.0.0/8`, `[::1]:80`.
    """
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(there.host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:  # at least one of the two is a name, or there is a port
        pass
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit():
        return int(port) == there.port and _covers(host, there)
    name = entry.removeprefix("*").removeprefix(".").strip("[]")
    return there.host == name or there.host.endswith(f".{name}")
