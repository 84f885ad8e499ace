"""Between our envelopes, Dramatiq's messages and the bytes in a queue.

The bytes are what Dramatiq's own JSON encoder writes. Reading is strict, and neither a broken body
nor a message that is printed ever shows what it carries.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from dramatiq import Message
from dramatiq.broker import MessageProxy
from dramatiq.errors import Retry

from broker.port import Temporary, TooLarge
from broker.routes import Route, route_of
from domain import codec
from domain.commands import Envelope
from domain.ids import sha256_hex

Option: TypeAlias = int | float | str | None
DramatiqMessage: TypeAlias = Message[None]

REASON_LIMIT = 300


class Unreadable(Exception):
    """The body is no message for this queue. Says its size, its digest and the rule it breaks, never the content."""


class _Options(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """eta: not before (ms since the epoch). retries: failures so far; temporary: of them, those that were `Temporary`.
    reason, failed_at (ms): of the last one.

    journal: the row of the embedded journal that holds it.
    """

    eta: float | None = None
    retries: Annotated[int, msgspec.Meta(ge=0)] = 0
    temporary: Annotated[int, msgspec.Meta(ge=0)] = 0
    reason: Annotated[str, msgspec.Meta(max_length=REASON_LIMIT)] = ""
    failed_at: int = 0
    journal: int = 0


class _Wire(msgspec.Struct, forbid_unknown_fields=True):
    queue_name: str
    actor_name: str
    args: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1)]
    kwargs: Annotated[dict[str, str], msgspec.Meta(max_length=0)]
    options: _Options
    message_id: str
    message_timestamp: int


_wire = msgspec.json.Decoder(_Wire)
_encode = msgspec.json.Encoder().encode


def message_of(envelope: Envelope) -> DramatiqMessage:
    """The Dramatiq message of a command: its route's queue and actor, the encoded envelope as the one argument.

    Raises `TooLarge`, naming the limit, if the encoded envelope is larger than its route allows.
    """
    route = route_of(envelope.command)
    text = codec.encode(envelope)
    _check_size(envelope, route, len(text.encode()))
    return Message(
        queue_name=route.queue,
        actor_name=route.actor,
        args=(text,),
        kwargs={},
        options={},
        message_id=envelope.id,
        message_timestamp=envelope.at // 1000,
    )


def envelope_in(message: DramatiqMessage | MessageProxy) -> Envelope:
    """The envelope that a message carries. Raises `codec.Undecodable`."""
    return codec.decode(message.args[0])


def wire_of(message: DramatiqMessage) -> bytes:
    """The bytes that go into a queue."""
    return _encode(
        {
            "queue_name": message.queue_name,
            "actor_name": message.actor_name,
            "args": message.args,
            "kwargs": message.kwargs,
            "options": message.options,
            "message_id": message.message_id,
            "message_timestamp": message.message_timestamp,
        }
    )


def message_in(body: bytes, queue: str) -> DramatiqMessage:
    """The message in `body`, which came out of `queue` (or its delay queue). Raises `Unreadable`."""
    try:
        wire = _wire.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"{describe(body)}: {_rule(error)}") from None
    if wire.queue_name != queue:
        raise Unreadable(f"{describe(body)}: it says that it belongs to another queue")
    return Message(
        queue_name=wire.queue_name,
        actor_name=wire.actor_name,
        args=tuple(wire.args),
        kwargs={},
        options=msgspec.to_builtins(wire.options),
        message_id=wire.message_id,
        message_timestamp=wire.message_timestamp,
    )


def describe(body: bytes) -> str:
    """What may be said of a body in a log: its size and digest."""
    return f"{len(body)} bytes, sha256 {sha256_hex(body)[:16]}"


def reason_of(error: BaseException) -> str:
    """The name of the error's class and our own words, if it has any: a `Retry`'s text or a `fact` attribute.

    Nobody else's text is taken: a database's error may quote a row.
    """
    fact = error.message if isinstance(error, Retry) else getattr(error, "fact", "")
    name = type(error).__name__
    return f"{name}: {fact}"[:REASON_LIMIT] if isinstance(fact, str) and fact else name


class Delivery(MessageProxy):
    """A message as a worker gets it. It prints without its payload, since Dramatiq prints messages.

    to_return: its retry could not be published, so acknowledging it means giving it back to its queue.
    reason: why it failed, for the dead-letter queue.
    """

    def __init__(self, message: DramatiqMessage) -> None:
        super().__init__(message)
        self.to_return = False
        self.reason = ""

    @property
    def error(self) -> BaseException | None:
        """What Dramatiq stuffed into it."""
        return self._exception

    def note_failure(self, error: BaseException, now_ms: int) -> int:
        """Write down in its options why it failed; how often it has by now."""
        self.reason = reason_of(error)
        if isinstance(error, Temporary):
            self.options.update(temporary=int(self.options.get("temporary", 0)) + 1)
        failures = int(self.options.get("retries", 0)) + 1
        self.options.update(retries=failures, reason=self.reason, failed_at=now_ms)
        return failures

    def __str__(self) -> str:
        return f"{self.actor_name} {self.message_id}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"


def _check_size(envelope: Envelope, route: Route, size: int) -> None:
    if size > route.limit_bytes:
        raise TooLarge(
            f"{route.actor} {envelope.id} takes {size} bytes, {route.limit_bytes} are allowed: send less at once"
        )


def _rule(error: Exception) -> str:
    """msgspec quotes the content only after 'Invalid value' and in unknown field names; both are cut off."""
    text = str(error)
    for mark in ("Invalid value", "unknown field"):
        text = text.split(mark, maxsplit=1)[0]
    return text[:100] or "malformed"
