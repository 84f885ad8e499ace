"""The door of Kafka-ML's containers: they send no token, so each attempt has a secret way in, `<door>/w/<secret>`.

The secret derives from the hub's workload key, the workload and the attempt, so no store holds one, and it says whose
it is, so that it can be derived again. It ends with the attempt, and is good for the results that this was told of.
"""

from __future__ import annotations

import hmac
import re
import uuid
from collections.abc import Mapping
from typing import Final

import msgspec

from domain.ids import Id
from domain.streams.contract import DOOR
from fedyard.cluster.port import Spec

PATH: Final = "/w"
_SECRET_BYTES: Final = 16 + 4 + 32
SECRET: Final = f"[0-9a-f]{{{2 * _SECRET_BYTES}}}"
"""Hexadecimal: nothing in it can read `results`, which the trainers replace wherever it stands."""
_SAID = re.compile(rb"(?<=/w/)[0-9a-f]{16,104}")
_NUMBER = re.compile(re.escape(DOOR) + r"/results/(?:model/)?([1-9][0-9]{0,15})(?![0-9])")


def secret_of(key: bytes, workload_id: Id, attempt: int) -> str:
    """The same whoever derives it."""
    named = uuid.UUID(workload_id).bytes + attempt.to_bytes(4, "big")
    return (named + hmac.digest(key, b"fedyard workload door 1\0" + named, "sha256")).hex()


def attempt_of(secret: str) -> tuple[Id, int]:
    """Whose a secret of that form says that it is."""
    raw = bytes.fromhex(secret)
    return str(uuid.UUID(bytes=raw[:16])), int.from_bytes(raw[16:20], "big")


def numbers_in(environment: Mapping[str, str]) -> frozenset[int]:
    """Numbers of the results that a workload is told addresses of."""
    return frozenset(int(found) for text in environment.values() for found in _NUMBER.findall(text))


def apart(environment: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """(what anybody may see, what is to be kept by reference, as the way in is in it)"""
    kept = {name: text for name, text in environment.items() if DOOR in text}
    return {name: text for name, text in environment.items() if name not in kept}, kept


def with_door(spec: Spec, key: bytes, door_url: str) -> Spec:
    """With the way in wherever the spec's secrets name it. door_url: where workloads reach the web."""
    if not any(DOOR in text for text in spec.secrets.values()):
        return spec
    way = f"{door_url.rstrip('/')}{PATH}/{secret_of(key, spec.id, spec.attempt)}"
    return msgspec.structs.replace(spec, secrets={name: text.replace(DOOR, way) for name, text in spec.secrets.items()})


def unsaid(log: bytes) -> bytes:
    """The log without ways in, as long as before: TensorFlow's trainer says its addresses first of all. Of one that is
    cut in two the second part stays, which is of no use to anybody."""
    return _SAID.sub(lambda found: b"*" * len(found[0]), log)
