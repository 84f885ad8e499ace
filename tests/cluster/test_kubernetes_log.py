"""Reading a log from a byte on, of which the server knows lines and seconds only."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedyard.cluster.kubernetes_log import Mark, read

lines = st.lists(
    st.tuples(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"")), st.integers(0, 2)), max_size=12
)


class Log:
    """As a kubelet keeps it: lines and when they came, each in a second not before the last one's."""

    def __init__(self, written, zone: bytes = b"Z") -> None:
        second, self.zone, self.lines = 0, zone, []
        for text, later in written:
            second += later
            self.lines.append((second, text + b"\n"))

    def plain(self) -> bytes:
        return b"".join(text for _, text in self.lines)

    def stamp(self, second: int) -> bytes:
        return b"2026-11-28T14:00:%02d" % second

    def asked(self, mark: Mark, size: int):
        """With times, from the mark's second on, in pieces of that size."""
        wanted = [one for one in self.lines if not mark.since or self.stamp(one[0]) + self.zone >= mark.since.encode()]
        whole = b"".join(self.stamp(second) + b".123456789" + self.zone + b" " + text for second, text in wanted)
        return [whole[at : at + size] for at in range(0, len(whole), size)]


@given(lines, st.integers(1, 70), st.integers(1, 50), st.sampled_from([b"Z", b"+01:00"]))
def test_pieces_make_the_whole_wherever_they_are_cut(written, most, size, zone) -> None:
    log, mark, got = Log(written, zone), Mark(), b""
    while True:
        piece, mark = read(log.asked(mark, size), mark, after=len(got), most=most)
        assert len(piece) <= most
        assert mark.byte <= len(got) + len(piece), "or the next piece would have a hole"
        if not piece:
            break
        got += piece
    assert got == log.plain()


@given(lines, lines, st.integers(1, 50))
def test_what_comes_later_is_gone_on_with_from_the_last_second_alone(before, later, size) -> None:
    first, whole = Log(before), Log(before + later)
    got, mark = read(first.asked(Mark(), size), Mark(), after=0, most=10_000)
    assert got == first.plain()
    asked = whole.asked(mark, size)
    assert sum(map(len, asked)) <= sum(len(text) + 40 for second, text in whole.lines if second >= _last(first))
    rest, _ = read(asked, mark, after=len(got), most=10_000)
    assert got + rest == whole.plain()


def _last(log: Log) -> int:
    return log.lines[-1][0] if log.lines else 0


@given(lines, st.integers(0, 300), st.integers(1, 100))
def test_any_byte_can_be_asked_for(written, after, most) -> None:
    log = Log(written)
    assert read(log.asked(Mark(), 64), Mark(), after=after, most=most)[0] == log.plain()[after : after + most]


def test_what_is_said_in_the_place_of_a_log_is_taken_as_it_is() -> None:
    said = b"unable to retrieve container logs for containerd://0123456789abcdef0123456789abcdef0123456789abcdef"
    assert read([said], Mark(), after=0, most=1000) == (said, Mark())


def test_no_more_is_taken_than_needed() -> None:
    log = Log([(b"x" * 30, 0)] * 10)
    left = iter(log.asked(Mark(), 60))
    read(left, Mark(), after=0, most=31)
    assert len(list(left)) == 9
