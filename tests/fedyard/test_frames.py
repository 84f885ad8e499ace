from __future__ import annotations

import socket
import threading

import pytest

from fedyard.tasks.frames import LIMIT_BYTES, Frames


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield Frames(ours), theirs
    ours.close()
    theirs.close()


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_a_frame_comes_as_it_was_sent(ends, size: int) -> None:
    here, raw = ends
    there = Frames(raw)
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    sending = threading.Thread(target=there.send, args=(content,))
    sending.start()
    assert here.receive(30.0) == content
    sending.join()
    assert here.receive(0.0) is None


def test_half_a_frame_is_waited_for_and_never_blocks(ends) -> None:
    here, raw = ends
    raw.sendall(b"\x00\x00\x00\x05hal")
    assert here.receive(0.0) is None
    raw.sendall(b"f!\x00\x00\x00\x01x")
    assert (here.receive(1.0), here.receive(1.0)) == (b"half!", b"x")


def test_an_end_in_the_midst_of_a_frame_is_an_end(ends) -> None:
    here, raw = ends
    raw.sendall(b"\x00\x00\x00\x05hal")
    raw.close()
    with pytest.raises(EOFError):
        here.receive(1.0)


def test_nobody_takes_what_is_sent(ends) -> None:
    here, _ = ends
    asked: list[int] = []
    with pytest.raises(OSError, match="takes nothing any more"):
        here.send(bytes(50_000_000), lambda: len(asked) > 1 or asked.append(1) is not None)


def test_what_no_frame_may_be_is_refused(ends) -> None:
    here, raw = ends
    raw.sendall((LIMIT_BYTES + 1).to_bytes(4))
    with pytest.raises(OSError, match="at most"):
        here.receive(1.0)


def test_an_end_that_was_closed_says_so(ends) -> None:
    here, _ = ends
    here.close()
    with pytest.raises(OSError, match="closed"):
        here.receive(0.0)
