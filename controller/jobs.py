"""What the agent and its child processes say to each other: MessagePack in length-prefixed frames."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

FRAME_LIMIT_BYTES = 536_870_912


class Submitted(msgspec.Struct, frozen=True, tag=True):
    """A site's update, packed."""

    site_id: str
    packed: bytes
    metrics: dict[str, float]


class Job(msgspec.Struct, frozen=True, tag=True):
    """Call one hook. hook: prepare, train or aggregate (which evaluates too). Everything a child needs is in here."""

    hook: str
    model_name: str
    allowed: list[str]
    site_id: str
    run_id: str
    task: str
    task_seq: int
    round: int
    rounds: int
    parameters: dict[str, object]
    data: dict[str, str]
    folder: str
    model: bytes | None = None
    updates: list[Submitted] = []

    def __repr__(self) -> str:
        return f"Job({self.hook} {self.run_id}/{self.task_seq} round {self.round})"


class Stop(msgspec.Struct, frozen=True, tag=True):
    """The result of the present job is not wanted any more."""


class Finished(msgspec.Struct, frozen=True, tag=True):
    """How a job ended: `error` is empty if well; `stopped` if the hook saw that it was not wanted."""

    packed: bytes | None = None
    metrics: dict[str, float] = {}
    error: str = ""
    stopped: bool = False
    seconds: float = 0.0

    def __repr__(self) -> str:
        return f"Finished(error={self.error!r}, stopped={self.stopped}, seconds={self.seconds:.3f})"


ToChild: TypeAlias = Job | Stop

_to_child = msgspec.msgpack.Decoder(ToChild)
_to_agent = msgspec.msgpack.Decoder(Finished)


def encode(frame: ToChild | Finished) -> bytes:
    return msgspec.msgpack.encode(frame)


def decode_for_child(content: bytes) -> ToChild:
    frame: ToChild = _to_child.decode(content)
    return frame


def decode_for_agent(content: bytes) -> Finished:
    return _to_agent.decode(content)
