"""The way to the hub: through a proxy, with a private authority's certificate, and what is said where it does not hold.

`127.1` is this machine, too, but not by name: a client takes it for another one.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devservers.tinyproxy import PrivateTinyproxy
from fedyard.client.addresses import origin_of
from fedyard.client.client import Client
from fedyard.client.errors import Unacceptable, Unavailable, Unprotected, Unreachable
from fedyard.client.routes import routes_of
from tests.broker.tls import Certificates, TlsRelay, certificates
from tests.fedyard.rude import DROP, Answer, RudeHub, rude_hub
from tests.fedyard.test_client import ME, TOKEN, QuickClock
from tests.fedyard.world import World

PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
LOGIN = ("north", "pass%2Eword")
"""As it stands in a proxy's address; tinyproxy is told it without the escape."""


@contextmanager
def proxies(**said: str) -> Iterator[None]:
    """What the environment says of proxies."""
    before = {name: os.environ.pop(name) for name in [*os.environ] if name.upper() in PROXIES}
    os.environ.update(said)
    try:
        yield
    finally:
        for name in said:
            os.environ.pop(name)
        os.environ.update(before)


@pytest.fixture(scope="module", autouse=True)
def _no_proxy_of_the_developers() -> Iterator[None]:
    with proxies():
        yield


@pytest.fixture(scope="module")
def proxy(servers_folder: Path) -> Iterator[PrivateTinyproxy]:
    server = PrivateTinyproxy(servers_folder / "tinyproxy")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def guarded(servers_folder: Path) -> Iterator[PrivateTinyproxy]:
    """It wants a login."""
    server = PrivateTinyproxy(servers_folder / "guarded", login=("north", "pass.word"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def elsewhere(hub: RudeHub) -> str:
    return f"http://127.1:{port_of(hub.url)}"


def asking(hub: str, clock: QuickClock, **options: object) -> Client:
    return Client(hub, TOKEN, clock=clock, **{"give_up_s": 10.0, **options})  # type: ignore[arg-type]


def with_login(server: PrivateTinyproxy, login: str = ":".join(LOGIN)) -> str:
    return server.address.replace("://", f"://{login}@")


@contextmanager
def by_tls(hub: RudeHub, files: Certificates) -> Iterator[int]:
    """The port where the hub is behind TLS."""
    relay = TlsRelay(0, port_of(hub.url), files, mutual=False)
    try:
        yield relay.port
    finally:
        relay.close()


# which way


@pytest.mark.parametrize(
    ("straight", "address", "through"),
    [
        ("", "https://hub.example", True),
        ("hub.example", "https://hub.example", False),
        (".example", "https://hub.example", False),
        ("*.example", "https://hub.example", False),
        ("example", "https://hub.example", False),
        ("ub.example", "https://hub.example", True),
        ("hub.example:8443", "https://hub.example:8443", False),
        ("hub.example:8443", "https://hub.example", True),
        (" x.example , HUB.example ", "https://hub.example", False),
        ("10.0.0.0/8", "https://10.1.2.3", False),
        ("10.0.0.0/8", "https://11.1.2.3", True),
        ("10.1.2.3:8443", "https://10.1.2.3:8443", False),
        ("[fe80::1]:8443", "https://[fe80::1]:8443", False),
        ("fe80::/10", "https://[fe80::1]", False),
        ("*", "https://hub.example", False),
        ("", "https://localhost:8443", False),
        ("", "http://127.0.0.2", False),
    ],
)
def test_what_goes_straight(straight: str, address: str, through: bool) -> None:
    there = origin_of(address)
    assert there is not None
    for said, told in ((None, {"HTTPS_PROXY": "http://p:1", "HTTP_PROXY": "http://p:1"}), ("http://p:1", {})):
        found = routes_of(said, {**told, "NO_PROXY": straight}).to(there)
        assert (str(found) == "http://p:1") is through
    assert routes_of("none", {"HTTPS_PROXY": "http://p:1", "HTTP_PROXY": "http://p:1"}).to(there) is None


def test_each_scheme_has_its_own_and_site_toml_counts_most() -> None:
    told = {"http_proxy": "plain.example:3128", "HTTPS_PROXY": "https://u:p%40q@tls.example", "HTTP_PROXY": "http://x"}
    plain, secure = origin_of("http://hub.example"), origin_of("https://hub.example")
    assert plain is not None
    assert secure is not None
    found = routes_of(None, told)
    assert (str(found.to(plain)), str(found.to(secure))) == ("http://plain.example:3128", "https://tls.example:443")
    through = found.to(secure)
    assert through is not None
    assert (through.login, "p@q" in repr(found)) == ("u:p@q", False)
    assert str(routes_of("http://own.example:1", told).to(secure)) == "http://own.example:1"


@pytest.mark.parametrize("said", ["socks5://u:secret@p", "http://", "http://u:secret@p/path", "secret p"])
def test_what_is_no_proxy_is_said_without_its_login(said: str) -> None:
    with pytest.raises(Unreachable, match="HTTPS_PROXY is no proxy") as caught:
        routes_of(None, {"HTTPS_PROXY": said})
    assert "secret" not in str(caught.value)


# a proxy


def test_plain_http_goes_through_a_proxy_only_where_the_machine_is_named_twice(proxy: PrivateTinyproxy) -> None:
    with rude_hub(ME) as hub:
        clock, there = QuickClock(), elsewhere(hub)
        with pytest.raises(Unprotected):
            asking(there, clock, proxy=proxy.address)
        with pytest.raises(Unprotected):
            asking(there, clock, proxy=proxy.address, allow_plain_http=["hub.example"])
        allowed = [there.removeprefix("http://")]
        assert asking(there, clock, proxy=proxy.address, allow_plain_http=allowed).me().name == "north"
    assert f"GET {there}/v1/me" in proxy.seen()
    assert [seen.headers["authorization"] for seen in hub.seen] == [f"Bearer {TOKEN}"]


def test_a_proxy_with_a_login(guarded: PrivateTinyproxy) -> None:
    with rude_hub(ME) as hub:
        client = asking(elsewhere(hub), QuickClock(), proxy=with_login(guarded), allow_plain_http=["127.1"])
        assert client.me().name == "north"
    assert "proxy-authorization" not in hub.seen[0].headers


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("login", "said"), [("", "wants a login"), ("north:wrong@", "wants another login")])
def test_a_login_that_does_not_fit_ends_it_at_once(
    guarded: PrivateTinyproxy, scheme: str, login: str, said: str
) -> None:
    clock = QuickClock()
    with rude_hub(ME) as hub:
        client = asking(
            f"{scheme}://127.1:{port_of(hub.url)}",
            clock,
            proxy=guarded.address.replace("://", f"://{login}"),
            allow_plain_http=["127.1"],
        )
        with pytest.raises(Unreachable, match=said) as caught:
            client.me()
    assert (hub.seen, clock.pauses, "wrong" in str(caught.value)) == ([], [], False)
    assert guarded.address in str(caught.value)


def test_a_proxy_that_is_away_or_reaches_nobody_is_waited_for(proxy: PrivateTinyproxy, files: Certificates) -> None:
    with rude_hub(DROP) as nobody:
        closed = port_of(nobody.url)
    for through, said in ((f"http://127.1:{closed}", "are both up"), (proxy.address, "does not get to")):
        clock = QuickClock()
        with pytest.raises(Unavailable, match=f"{through}.*{said}"):
            asking(f"https://127.1:{closed}", clock, proxy=through).me()
        assert len(clock.pauses) > 3


def test_what_a_proxy_wants_later_may_pass() -> None:
    """A login that is changed while an agent works does not end it."""
    clock = QuickClock()
    with rude_hub(ME, Answer(407), ME) as hub:
        client = asking("http://hub.example", clock, proxy=hub.url, allow_plain_http=["hub.example"])
        assert [client.me().name, client.me().name] == ["north", "north"]
    assert [seen.path for seen in hub.seen] == ["http://hub.example/v1/me"] * 3
    assert len(clock.pauses) == 1


def test_the_environment_names_a_proxy(proxy: PrivateTinyproxy) -> None:
    with rude_hub(ME) as hub:
        there, before = elsewhere(hub), proxy.seen().count("/v1/me")
        with proxies(HTTP_PROXY=proxy.address):
            asking(there, QuickClock(), allow_plain_http=["127.1"]).me()
            assert proxy.seen().count("/v1/me") == before + 1
            asking(there, QuickClock(), allow_plain_http=["127.1"], proxy="none").me()
        with proxies(HTTP_PROXY=proxy.address, NO_PROXY="127.1"):
            asking(there, QuickClock(), allow_plain_http=["127.1"]).me()
        assert (proxy.seen().count("/v1/me"), len(hub.seen)) == (before + 1, 3)


# certificates


def test_a_private_authority_through_a_proxy(guarded: PrivateTinyproxy, tmp_path: Path) -> None:
    named = certificates(tmp_path, "127.1")
    with rude_hub(ME) as hub, by_tls(hub, named) as port:
        client = asking(f"https://127.1:{port}", QuickClock(), proxy=with_login(guarded), ca_file=str(named.authority))
        assert client.me().name == "north"
    assert f"CONNECT 127.1:{port}" in guarded.seen()
    assert TOKEN not in guarded.seen()


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("authority", "unable to get local issuer certificate.*issued by CN=authority.*ca_file"),
        ("expired", "certificate has expired.*until .*clock right"),
        ("name", "mismatch.*for hub\\.example, issued by.*use an address"),
    ],
)
def test_a_certificate_that_is_not_believed_ends_it_at_once(
    proxy: PrivateTinyproxy, tmp_path: Path, through: bool, fault: str, said: str
) -> None:
    shown = certificates(
        tmp_path,
        "hub.example" if fault == "name" else "127.1",
        until=dt.timedelta(hours=-1 if fault == "expired" else 1),
    )
    clock = QuickClock()
    with rude_hub(ME) as hub, by_tls(hub, shown) as port:
        ca_file = None if fault == "authority" else str(shown.authority)
        client = asking(f"https://127.1:{port}", clock, ca_file=ca_file, proxy=proxy.address if through else None)
        with pytest.raises(Unreachable, match=rf"(?i)the certificate of 127\.1:{port} is not believed: .*{said}"):
            client.me()
    assert (hub.seen, clock.pauses) == ([], [])


def test_a_certificate_of_a_bucket_is_no_reason_to_leave_the_hub(files: Certificates) -> None:
    with rude_hub(ME) as hub, rude_hub(Answer()) as bucket, by_tls(bucket, files) as port:
        client = asking(hub.url, QuickClock(), transfer_hosts=[f"127.0.0.1:{port}"])
        with pytest.raises(Unacceptable, match="not believed"):
            client.carry("GET", f"https://127.0.0.1:{port}/x")
        assert (client.me().name, bucket.seen) == ("north", [])


def test_an_agent_ends_at_once_and_says_why(world: World, tmp_path: Path, files: Certificates) -> None:
    (north,) = world.sites(tmp_path, "north")
    with rude_hub(ME) as hub, by_tls(hub, files) as port:
        toml = north.path / "site.toml"
        toml.write_text(toml.read_text().replace(world.hub, f"https://127.0.0.1:{port}"))
        try:
            north.start()
            assert north._process is not None
            assert north._process.wait(20) == 1
        finally:
            north.kill()
    log = (north.path / "agent.log").read_text()
    assert f"fedyard: no way to the hub: the certificate of 127.0.0.1:{port} is not believed" in log
    assert hub.seen == []
