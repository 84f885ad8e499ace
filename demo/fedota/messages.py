"""Fedota's messages and methods (fl_round, fl_intra and fl_status of fl-proto, which are in no package)."""

from __future__ import annotations

from dataclasses import dataclass

from fedyard.sidecar.proto3 import read_fields

CHECK_IN = "/FlRound/CheckIn"
UPDATE = "/FlRound/Update"
CLIENT_COUNT_UPDATE = "/FlIntra/ClientCountUpdate"
AGGREGATION_COMPLETE = "/FlIntra/SelectorAggregationComplete"
GOAL_COUNT_REACHED = "/FLGoalCountBroadcast/GoalCountReached"
ROUND_STATUS = "/FlStatus/RoundStatus"
FILES, INT = 0, 1
"""Types of FlData."""
SELECTION, CONFIGURATION, REPORTING, COMPLETED = range(4)
EMPTY = b""


@dataclass(frozen=True)
class FlData:
    """A piece of a file (FILES), or a number (INT)."""

    chunk: bytes = b""
    number: int = 0
    type: int = FILES
    path: str = ""

    def write(self) -> bytes:
        return _bytes(1, self.chunk) + _int(2, self.number) + _int(3, self.type) + _bytes(5, self.path.encode())

    @classmethod
    def read(cls, message: bytes) -> FlData:
        numbers, contents = read_fields(message)
        return cls(
            chunk=contents.get(1, b""),
            number=_signed(numbers.get(2, 0)),
            type=numbers.get(3, FILES),
            path=contents.get(5, b"").decode(),
        )


def check_in_request(name: str) -> bytes:
    return _bytes(1, name.encode())


def client_count(count: int, selector: str) -> bytes:
    return _int(1, count) + _bytes(2, selector.encode())


def selector_of_count(message: bytes) -> str:
    return read_fields(message).contents.get(2, b"").decode()


def selector_id(selector: str) -> bytes:
    return _bytes(1, selector.encode())


def read_selector_id(message: bytes) -> str:
    return read_fields(message).contents.get(1, b"").decode()


def client_status(*, accepted: bool) -> bytes:
    return _int(1, int(accepted))


def is_accepted(message: bytes) -> bool:
    return bool(read_fields(message).numbers.get(1))


def round_status(stage: int, number: int) -> bytes:
    return _int(1, stage) + _int(2, number)


def _int(field: int, value: int) -> bytes:
    """Nothing where it is 0, as proto3 has it."""
    return _varint(field << 3) + _varint(value & 0xFFFFFFFFFFFFFFFF) if value else b""


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content if content else b""


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value
