"""Links hold back, cut and delay; they never lose bytes from the middle."""

from __future__ import annotations

import socket
import threading

import pytest

from chaos.links import Links
from chaos.report import Progress, longest_gap


@pytest.fixture
def echo():
    """The port of a server that sends everything back."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(one: socket.socket) -> None:
        with one:
            try:
                while chunk := one.recv(65_536):
                    one.sendall(chunk)
            except OSError:
                return

    def accept() -> None:
        try:
            while True:
                one, _ = listener.accept()
                threading.Thread(target=serve, args=(one,), daemon=True).start()
        except OSError:
            return

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def received(one: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        chunk = one.recv(65_536)
        assert chunk
        found += chunk
    return found


def test_everything_arrives_in_order(echo):
    content = bytes(range(256)) * 8_000
    with Links() as links, connected(links.open(echo, delay_s=0.01).port) as one:
        threading.Thread(target=one.sendall, args=(content,)).start()
        assert received(one, len(content)) == content


def test_a_silent_link_holds_back_and_gives_out_later(echo):
    with Links() as links:
        link = links.open(echo)
        with connected(link.port) as one:
            one.sendall(b"a")
            assert received(one, 1) == b"a"
            link.silence()
            one.sendall(b"b")
            one.settimeout(0.3)
            with pytest.raises(TimeoutError):
                one.recv(1)
            one.settimeout(10)
            link.resume()
            assert received(one, 1) == b"b"


def test_a_cut_ends_what_is_open_and_welcomes_what_is_new(echo):
    with Links() as links:
        link = links.open(echo)
        with connected(link.port) as one:
            one.sendall(b"a")
            received(one, 1)
            link.cut()
            assert one.recv(1) == b""
        with connected(link.port) as one:
            one.sendall(b"b")
            assert received(one, 1) == b"b"


def test_a_target_that_is_down_is_the_end():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Links() as links, connected(links.open(port).port) as one:
        assert one.recv(1) == b""


def test_silence_is_the_longest_gap_that_touches_the_span():
    times = [0, 1, 2, 9, 10, 30]
    assert longest_gap(times, 3, 5) == 7
    assert longest_gap(times, 2, 12) == 20
    assert longest_gap(times, 0, 1) == 1
    assert longest_gap([], 0, 1) is None
    assert Progress(times).silence(9, 9) == 1


def test_what_was_under_way_at_a_kill_is_no_progress():
    second = 1_000_000
    assert Progress([0, second, 5 * second]).after_kill(second) == 4 * second
    assert Progress([0, second, 5 * second]).after_kill(second - 10) == 4 * second
    assert Progress([0, 3 * second, 4 * second]).after_kill(second) == 2 * second
    assert Progress([0]).after_kill(second) is None
