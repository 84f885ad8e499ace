"""Messages of proto3, read by hand: numbers, bytes and texts, as Fedota's have them."""

from __future__ import annotations

from typing import Final, NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}


class Fields(NamedTuple):
    """By their numbers; of one that is there twice the last. numbers: unsigned, as on the wire. Other forms are passed
    over."""

    numbers: dict[int, int]
    contents: dict[int, bytes]


def read_fields(message: bytes) -> Fields:
    """Raises `ValueError` for what is no message."""
    found = Fields({}, {})
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        field, form = key >> 3, key & 7
        if form == _VARINT:
            found.numbers[field], at = _varint(message, at)
        elif form == _BYTES:
            size, at = _varint(message, at)
            found.contents[field] = message[at : at + size]
            at += size
        elif form in _SIZES:
            at += _SIZES[form]
        else:
            raise ValueError(f"wire type {form} is none of proto3's")
        if at > len(message):
            raise ValueError("the message ends within a field")
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        value |= (message[at] & 0x7F) << shift
        at += 1
        if not message[at - 1] & 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise ValueError("a number has no end")
