"""What the agent and its child processes say to each other: MessagePack in frames (frames.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from fedyard.tasks.code import Code
from fedyard.tasks.confined import Confinement
from fedyard.tasks.privacy import Filter, Spent
from fedyard.tasks.sources import Source

Hook: TypeAlias = Literal["prepare", "train", "aggregate", "initial", "score"]
"""What an agent asks for; `aggregate` evaluates, too, and the parameters are validated before each."""
AT_DATA: Final = ("prepare", "train", "score")
"""Hooks that see a site's rows for others; the rest are a coordinator's."""


def is_blind(hook: Hook, noisy: bool) -> bool:
    """True where a hook gets nothing that comes of data: a first model has no noise. noisy: the site adds some."""
    return noisy and hook == "initial"


FEW_ROWS = "policy_min_rows:"
"""How it begins where a table has fewer rows than its site wants, which is looked at before the task is there."""
MAX_LOG = 16_384
"""Characters of one call to `context.log`; the rest of it is cut off."""


class Packed(msgspec.Struct, frozen=True):
    """Packed content: the bytes, or, if it is large, the name of the file that holds them."""

    content: bytes = b""
    file: str = ""

    def __repr__(self) -> str:
        return f"Packed({len(self.content)} bytes, file={self.file!r})"

    @property
    def where(self) -> bytes | Path:
        """As the tasks' arrays take it."""
        return Path(self.file) if self.file else self.content


def packed(where: bytes | Path) -> Packed:
    """As it travels."""
    return Packed(where) if isinstance(where, bytes) else Packed(file=str(where))


class Submitted(msgspec.Struct, frozen=True, tag=True):
    """A site's update, packed."""

    site_id: str
    packed: Packed
    metrics: dict[str, float]


class Job(msgspec.Struct, frozen=True, tag=True):
    """Call one hook. Everything a child needs is in here.

    limit_bytes: what content may have, packed and unpacked. keep: the folder of the project's task at this site that
    outlives runs; empty: there is none, and the hook gets one that ends with the run. model: of `train` and `score`,
    and what an aggregation's updates were made from. model_on_request: an aggregation that asks for its model ends with
    `wants_model`, and is called again with it.
    results: the models of the tasks that this one comes after, by their names; missing_results: of those that are not
    to be had at this site why not. filter: what is done to an update before it is packed. confine: what the process may
    reach. code: what the model's module is made of; it is imported by the digests. min_rows: with fewer in one of its
    tables no hook sees them.
    """

    hook: Hook
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
    sources: dict[str, Source] = {}
    min_count: int = 5
    model: Packed | None = None
    updates: list[Submitted] = []
    limit_bytes: int = 1_073_741_824
    project_id: str = ""
    keep: str = ""
    results: dict[str, Packed] = {}
    missing_results: dict[str, str] = {}
    filter: Filter | None = None
    confine: Confinement | None = None
    code: Code | None = None
    min_rows: int = 0
    model_on_request: bool = False

    def __repr__(self) -> str:
        return f"Job({self.hook} {self.run_id}/{self.task_seq} round {self.round})"


class Stop(msgspec.Struct, frozen=True, tag=True):
    """The result of the present job is not wanted any more."""


class Finished(msgspec.Struct, frozen=True, tag=True):
    """How a job ended: `error` is empty if well; `stopped` if the hook saw that it was not wanted.

    left_out: of an aggregation, the sites whose updates the task could not use, with a sentence on each. norm: of what
    is packed (`arrays.norm_of`). spent: what the filter says that the release costs. unclipped: the norm that it found,
    for this site's own people. trace: the whole traceback of what a hook raised, for this site's own people; it never
    leaves the site. rows: of the smallest of the task's tables; None where they were not counted. wants_model: nothing
    is made yet, since the hook asked for the model that its round began with. died: the process ended by itself, and
    `error` says how. code: the digest of what ran, by the agent.
    """

    packed: Packed | None = None
    metrics: dict[str, float] = {}
    error: str = ""
    stopped: bool = False
    seconds: float = 0.0
    left_out: dict[str, str] = {}
    norm: float | None = None
    spent: Spent | None = None
    unclipped: float | None = None
    trace: str = ""
    rows: int | None = None
    wants_model: bool = False
    code: str = ""
    died: bool = False

    def __repr__(self) -> str:
        return f"Finished(error={self.error!r}, stopped={self.stopped}, seconds={self.seconds:.3f})"


class Logged(msgspec.Struct, frozen=True, tag=True):
    """What a hook has to say while it works."""

    text: str

    def __repr__(self) -> str:
        return f"Logged({len(self.text)} characters)"


ToChild: TypeAlias = Job | Stop
ToAgent: TypeAlias = Finished | Logged

_to_child = msgspec.msgpack.Decoder(ToChild)
_to_agent = msgspec.msgpack.Decoder(ToAgent)


def encode(frame: ToChild | ToAgent) -> bytes:
    return msgspec.msgpack.encode(frame)


def decode_for_child(content: bytes) -> ToChild:
    frame: ToChild = _to_child.decode(content)
    return frame


def decode_for_agent(content: bytes) -> ToAgent:
    frame: ToAgent = _to_agent.decode(content)
    return frame
