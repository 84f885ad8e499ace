"""What a request may carry: types of fields, and what bodies and queries begin from. Each noun has its own in `api/`.

They are made of the commands' own types, so that what is let in is what a decider can read. Only ids are
stricter here: a command's have been checked when it is read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from domain.values import Digests, Piece, PublicKey, Signature
from fedyard.wire.types import UUID_PATTERN
from web.http.texts import NAMES, PROSE, Unfit, fault_of_name, fault_of_prose

Uuid: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^{UUID_PATTERN}(?!\n)$", max_length=36)]
Time: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Position: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000_000)]
Moment: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=9_000_000_000_000_000)]
"""Microseconds since the epoch."""
Wait: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=30)]
CursorText: TypeAlias = Annotated[str, msgspec.Meta(pattern=f"^[0-9]{{1,17}}-{UUID_PATTERN}(?!\n)$", max_length=54)]
_BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
Payload: TypeAlias = Annotated[
    bytes,
    msgspec.Meta(extra_json_schema={"pattern": _BASE64}),
]
"""Base64 in JSON."""
PieceText: TypeAlias = Annotated[Piece, msgspec.Meta(extra_json_schema={"pattern": _BASE64})]
DigestsText: TypeAlias = Annotated[Digests, msgspec.Meta(extra_json_schema={"pattern": _BASE64})]
PublicKeyText: TypeAlias = Annotated[PublicKey, msgspec.Meta(extra_json_schema={"pattern": "^[A-Za-z0-9+/]{1622}==$"})]
SignatureText: TypeAlias = Annotated[Signature, msgspec.Meta(extra_json_schema={"pattern": "^[A-Za-z0-9+/]{86}==$"})]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request body; its repr shows no content."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            fault_of = fault_of_name if name in NAMES else fault_of_prose if name in PROSE else None
            text = getattr(self, name) if fault_of is not None else None
            if fault_of is not None and isinstance(text, str) and (fault := fault_of(text)):
                raise Unfit(f"`{name}` {fault}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Nothing(Body, frozen=True):
    """`{}`, or no body at all."""


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call without query parameters."""


class PageQuery(Query, frozen=True):
    """after: the `next` of the page before."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    after: CursorText | UnsetType = UNSET


class EventsQuery(Query, frozen=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    after: Position = 0
