"""Requests to receivers that strangers have chosen: where they may go, and how long they may take."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.requests import Allowed, Answered, NotSent, Places, Requests, is_public
from config.clock import SystemClock
from config.settings import SettingsError

PRIVATE = [
    "0.0.0.0",  # noqa: S104 - named to be refused
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "224.0.1.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::808:808",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "192.167.255.255",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]


@pytest.mark.parametrize("text", PRIVATE)
def test_private_addresses(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


# a receiver


class Receiver:
    """Answers each connection with what `says` makes of it; `heard` are the requests' bytes."""

    def __init__(self, says: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> None:
        self.heard: list[bytes] = []
        self._says, self._tls = says, tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._answer, args=(one,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _answer(self, one: socket.socket) -> None:
        try:
            with self._tls.wrap_socket(one, server_side=True) if self._tls else one as talking:
                content = b""
                while b"\r\n\r\n" not in content or not content.endswith(b"end"):
                    part = talking.recv(65_536)
                    if not part:
                        return
                    content += part
                self.heard.append(content)
                self._says(talking)
        except OSError:
            pass

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def receiver(says: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    made = Receiver(says, tls)
    try:
        yield made
    finally:
        made.close()


def saying(answer: str) -> Callable[[socket.socket], None]:
    return lambda talking: talking.sendall(answer.encode())


LOCAL = Allowed.of("127.0.0.0/8")
CLOCK = SystemClock()


def requests(allowed: Allowed = LOCAL, **more: Any) -> Requests:
    return Requests(allowed, CLOCK.now, at_once=4, **more)


def code_of(sending: Requests, url: str) -> str:
    with pytest.raises(NotSent) as refused:
        sending.post("us", url, {}, b"end")
    return refused.value.code


def naming(*addresses: str) -> Callable[..., list[Any]]:
    """A resolver that knows one name, and counts how often it is asked."""

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        resolve.asked += 1  # type: ignore[attr-defined]
        family = {4: socket.AF_INET, 6: socket.AF_INET6}
        made = [(ipaddress.ip_address(text).version, text) for text in addresses]
        where = {4: lambda text: (text, port), 6: lambda text: (text, port, 0, 0)}
        return [(family[v], socket.SOCK_STREAM, 6, "", where[v](text)) for v, text in made]

    resolve.asked = 0  # type: ignore[attr-defined]
    return resolve


def test_what_is_sent_is_a_plain_post_and_the_status_comes_back() -> None:
    with receiver(saying("HTTP/1.1 204 No Content\r\nRetry-After: 7\r\n\r\n")) as there:
        url = f"http://127.0.0.1:{there.port}/a/b?c=d"
        assert requests().post("us", url, {"webhook-id": "x"}, b"the end") == Answered(204, 7.0)
    head, _, body = there.heard[0].partition(b"\r\n\r\n")
    assert body == b"the end"
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a/b?c=d HTTP/1.1"
    assert f"Host: 127.0.0.1:{there.port}" in lines
    assert {"Content-Length: 7", "webhook-id: x", "Connection: close"} <= set(lines)
    assert not any(line.lower().startswith(("accept-encoding", "authorization", "cookie")) for line in lines)


@pytest.mark.parametrize("text", [one for one in PRIVATE if "%" not in one])
def test_a_name_that_leads_to_a_private_address_is_not_asked(text: str) -> None:
    assert code_of(requests(Allowed(), resolve=naming(text)), "https://hooks.example.org/") == "private_address"


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0177.0.0.1/",
        "https://localhost/",
        "https://localhost./",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://0/",
    ],
)
def test_no_way_of_writing_this_machine_leads_to_it(url: str) -> None:
    assert code_of(requests(Allowed()), url) in ("private_address", "unresolved")


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    assert (
        code_of(requests(Allowed(), resolve=naming("8.8.8.8", "10.0.0.1")), "https://x.example/") == "private_address"
    )


def test_a_name_is_resolved_once_and_the_connection_goes_to_what_was_checked() -> None:
    resolve = naming("127.0.0.1")
    with receiver(saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as there:
        url = f"http://nowhere.invalid:{there.port}/"
        assert requests(Allowed.of("nowhere.invalid"), resolve=resolve).post("us", url, {}, b"end").status == 200
    assert resolve.asked == 1  # type: ignore[attr-defined]
    assert f"Host: nowhere.invalid:{there.port}".encode() in there.heard[0]


def test_without_tls_only_to_what_is_allowed() -> None:
    assert code_of(requests(Allowed(), resolve=naming("8.8.8.8")), "http://x.example/") == "not_https"


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with receiver(saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as other:
        away = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n"
        with receiver(saying(away)) as there:
            assert requests().post("us", f"http://127.0.0.1:{there.port}/", {}, b"end").status == 302
    assert other.heard == []


def test_no_proxy_of_the_environment_is_asked() -> None:
    with receiver(saying("HTTP/1.1 200 OK\r\n\r\n")) as proxy, receiver(saying("HTTP/1.1 201 Yes\r\n\r\n")) as there:
        program = (
            "from actors.requests import Allowed, Requests\n"
            f"sending = Requests(Allowed.of('127.0.0.0/8'), lambda: 0, at_once=4)\n"
            f"print(sending.post('us', 'http://127.0.0.1:{there.port}/', {{}}, b'end').status)"
        )
        names = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY")
        variables = dict.fromkeys(names, f"http://127.0.0.1:{proxy.port}")
        said = subprocess.run(
            [sys.executable, "-c", program], env=variables, check=True, capture_output=True, text=True
        )
        assert said.stdout == "201\n"
    assert proxy.heard == []


@pytest.mark.parametrize(
    "begins", ["\r\n", "Transfer-Encoding: chunked\r\n\r\n-1\r\n", "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n"]
)
def test_an_endless_answer_is_not_read_to_its_end(begins: str) -> None:
    sent = []

    def flood(talking: socket.socket) -> None:
        talking.sendall(f"HTTP/1.1 200 OK\r\n{begins}".encode())
        for _ in range(10_000):
            talking.sendall(bytes(65_536))
            sent.append(1)

    with receiver(flood) as there:
        assert requests().post("us", f"http://127.0.0.1:{there.port}/", {}, b"end").status == 200
    assert len(sent) < 1000


@pytest.mark.parametrize("drips", [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60, b"HTTP/1.1 100 Continue\r\n\r\n" * 60])
def test_an_answer_that_drips_in_is_cut_off_in_time(drips: bytes) -> None:
    stop = threading.Event()

    def drip(talking: socket.socket) -> None:
        for start in range(len(drips)):
            talking.sendall(drips[start : start + 1])
            if stop.wait(0.05):
                return

    with receiver(drip) as there:
        began = CLOCK.monotonic()
        assert code_of(requests(within_s=0.5), f"http://127.0.0.1:{there.port}/") == "timeout"
        assert CLOCK.monotonic() - began < 3
        stop.set()


def test_what_cannot_be_understood_refused_or_reached_has_a_code() -> None:
    with receiver(saying("SSH-2.0-OpenSSH_9.6\r\n\r\n")) as there:
        assert code_of(requests(), f"http://127.0.0.1:{there.port}/") == "not_http"
    with receiver(lambda talking: None) as there:
        assert code_of(requests(), f"http://127.0.0.1:{there.port}/") == "connection"
    assert code_of(requests(), f"http://127.0.0.1:{there.port}/") == "unreachable"
    assert code_of(requests(), "http://nowhere.invalid/") == "unresolved"
    assert code_of(requests(), "http://me:secret@127.0.0.1/") == "bad_url"
    assert code_of(requests(), "file:///etc/passwd") == "bad_url"
    assert code_of(requests(), "https://127.0.0.1:99999/") == "bad_url"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For hooks.example.org, signed by itself; key and certificate in one file."""
    made = tmp_path_factory.mktemp("tls") / "both.pem"
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=hooks.example.org", "-addext", "subjectAltName=DNS:hooks.example.org"]
    files = ["-keyout", str(made.with_suffix(".key")), "-out", str(made.with_suffix(".crt"))]
    subprocess.run(["openssl", "req", *kind, *name, *files], check=True, capture_output=True)
    made.write_text(made.with_suffix(".key").read_text() + made.with_suffix(".crt").read_text())
    return made


def test_tls_is_verified_for_the_name(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate.with_suffix(".crt")))
    resolve = naming("127.0.0.1")
    with receiver(saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), server) as there:
        sending = requests(tls=trusting, resolve=resolve)
        assert sending.post("us", f"https://hooks.example.org:{there.port}/", {}, b"end").status == 200
        assert code_of(sending, f"https://other.example.org:{there.port}/") == "certificate"
        assert code_of(requests(resolve=resolve), f"https://hooks.example.org:{there.port}/") == "certificate"


def test_a_dripping_tls_receiver_is_cut_off_as_well(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate.with_suffix(".crt")))
    stop = threading.Event()
    with receiver(lambda talking: stop.wait(20) and None, server) as there:
        sending = requests(tls=trusting, resolve=naming("127.0.0.1"), within_s=0.5)
        assert code_of(sending, f"https://hooks.example.org:{there.port}/") == "timeout"
        stop.set()


# what is allowed, and how many at once


def test_what_the_operator_allows() -> None:
    allowed = Allowed.of(" Hooks.Lan , 10.1.0.0/16,fd00::/8 ")
    assert allowed.has("hooks.lan", ipaddress.ip_address("192.168.1.1"))
    assert allowed.has("other.lan", ipaddress.ip_address("10.1.2.3"))
    assert allowed.has("other.lan", ipaddress.ip_address("fd00::1"))
    assert not allowed.has("other.lan", ipaddress.ip_address("10.2.2.3"))
    assert Allowed.of("") == Allowed()
    for odd in ("10.1.0.1/16", "hooks.lan:80", "http://hooks.lan"):
        with pytest.raises(SettingsError):
            Allowed.of(odd)


def test_so_many_at_once_of_one_owner_and_for_each_of_its_hosts() -> None:
    places = Places(of_one=3, to_one_host=2)
    with places.place("one", "slow"), places.place("one", "slow"):
        with pytest.raises(NotSent, match="busy"), places.place("one", "slow"):
            pass
        with places.place("one", "other"), pytest.raises(NotSent, match="busy"), places.place("one", "third"):
            pass
        with places.place("two", "slow"), places.place("two", "third"):
            pass
    with places.place("one", "slow"):
        pass


def test_slow_receivers_of_one_owner_however_many_keep_nobody_elses_requests_waiting() -> None:
    stop = threading.Event()
    with (
        receiver(lambda talking: stop.wait(10) and None) as slow,
        receiver(saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as quick,
    ):
        sending = requests(resolve=naming("127.0.0.1"))
        said: list[str] = []

        def ask(number: int) -> None:
            try:
                sending.post("attacker", f"http://slow{number}.example:{slow.port}/", {}, b"end")
            except NotSent as error:
                said.append(error.code)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        while len(said) + len(slow.heard) < len(threads):
            stop.wait(0.01)
        assert said == ["busy"]
        for name in ("slow0", "other"):
            assert sending.post("us", f"http://{name}.example:{quick.port}/", {}, b"end").status == 200
        stop.set()
        for thread in threads:
            thread.join(10)
