"""Records as no client of ours writes them, by librdkafka itself: headers whose names are no UTF-8, any time."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path

import confluent_kafka

_TOPIC, _VALUE, _TIMESTAMP, _HEADER = 1, 4, 8, 9
"""rd_kafka_vtype_t."""
_PRODUCER = 0


class _Bytes(ctypes.Structure):
    _fields_ = (("start", ctypes.c_char_p), ("size", ctypes.c_size_t))


class _NamedBytes(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("start", ctypes.c_char_p), ("size", ctypes.c_ssize_t))


class _Any(ctypes.Union):
    _fields_ = (
        ("text", ctypes.c_char_p),
        ("number", ctypes.c_int64),
        ("bytes", _Bytes),
        ("header", _NamedBytes),
        ("room", ctypes.c_char * 64),
    )


class _Part(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int), ("value", _Any))


def write(servers: str, topic: str, value: bytes, *, at_ms: int, headers: Mapping[bytes, bytes]) -> None:
    """Write one record, and wait until it is there."""
    (path,) = (Path(confluent_kafka.__file__).parents[1] / "confluent_kafka.libs").glob("librdkafka*")
    library = ctypes.CDLL(str(path))
    library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = ctypes.c_void_p
    library.rd_kafka_produceva.restype = ctypes.c_void_p
    said, room = ctypes.create_string_buffer(500), ctypes.c_size_t(500)
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(settings, b"bootstrap.servers", servers.encode(), said, room)
    producer = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, settings, said, room))
    parts = [
        _Part(_TOPIC, _Any(text=topic.encode())),
        _Part(_VALUE, _Any(bytes=_Bytes(value, len(value)))),
        _Part(_TIMESTAMP, _Any(number=at_ms)),
        *(_Part(_HEADER, _Any(header=_NamedBytes(name, said, len(said)))) for name, said in headers.items()),
    ]
    assert library.rd_kafka_produceva(producer, (_Part * len(parts))(*parts), ctypes.c_size_t(len(parts))) is None
    assert library.rd_kafka_flush(producer, 10_000) == 0, "it was not written"
    library.rd_kafka_destroy(producer)
