"""trust_us: what the digests, receipts and limits of one round or call cost, in microseconds, where each is paid.

The agents' and the web's own code; a site's state lies on the disk and is synced, as an agent's is.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

import msgspec

from benchmarks.board import Board
from config.clock import SystemClock as HubClock
from config.clock import draw_id
from domain.values import Subject
from fedyard.agent import contract
from fedyard.agent.contract import Held, Place
from fedyard.agent.receipts import Receipts
from fedyard.agent.state import Egress, State
from fedyard.client.client import Client
from fedyard.clock import SystemClock
from fedyard.sealed.sealing import Digests, Origin, receipt_of
from fedyard.wire.answers import Entry, TaskSpec
from fedyard.wire.problems import ProblemType
from web.live.shares import Places, Rate
from web.problems import busy

SEATS = 50
TASK = TaskSpec(name="train", model="bench", parameters={f"parameter_{number}": number / 7 for number in range(50)})
"""With more parameters than most have."""
CALLS = 1_000


def measure(board: Board) -> None:
    runs = range(board.sizes.runs)
    updates, found = zip(*(_at_a_site(board, board.sizes.trips) for _ in runs), strict=True)
    board.add("trust_us", "update", updates)
    board.add("trust_us", "receipt", found)
    board.add("trust_us", f"list of {SEATS}", [_at_the_coordinator(board.sizes.trips) for _ in runs])
    board.add("trust_us", "limits", [_limits() for _ in runs])


def _at_a_site(board: Board, rounds: int) -> tuple[float, float]:
    """Of each round: an update is said to be of this task, noted and awaited; and found in the model."""
    site_id, run_id, path = draw_id(), draw_id(), board.yard.folder / f"state-{draw_id()}"
    first = Entry(
        seq=1, kind="round_started", created_at=datetime.now(UTC), project_id=draw_id(), run_id=run_id, task_seq=1
    )
    others = [_digest(f"another {number}") for number in range(SEATS - 1)]
    submitting = completing = 0.0
    with closing(State(path)) as state:
        receipts = Receipts(
            site_id, state, Client(board.hub.url, "none"), clock=SystemClock(), log=lambda *_, **__: None
        )
        for number in range(1, rounds + 1):
            entry = msgspec.structs.replace(first, seq=number, round=number)
            own = _digest(f"own {number}")
            begun = time.perf_counter()
            digests = contract.digests_of(contract.task_digest(TASK), _digest("model"))
            leaving = Egress(
                at=number,
                project_id=entry.project_id or "",
                run_id=run_id,
                task_seq=1,
                round=number,
                kind="update",
                digest=own,
                seal=own,
            )
            state.runs.keep_sealed(entry, "update", own, digests, leaving)
            receipts.submitted(entry)
            submitted = time.perf_counter()
            model = contract.digests_of(digests.task, digests.model, [receipt_of(one) for one in (*others, own)])
            origin = Origin(_digest("next"), run_id, 1, number, model)
            looking = time.perf_counter()
            receipts.completed(entry, origin, "")
            completing += time.perf_counter() - looking
            submitting += submitted - begun
        assert not state.receipts.missing_receipts()
        assert not state.receipts.awaited_receipts(run_id)
    return 1e6 * submitting / rounds, 1e6 * completing / rounds


def _at_the_coordinator(rounds: int) -> float:
    """Of each round: the hub's list is compared with what is here, and every update with the task and the model."""
    here = Place(draw_id(), 1, 1)
    held = [Held(draw_id(), draw_id(), here.run_id, 1, 1) for _ in range(SEATS)]
    listed = [(one.site_id or "", one.message_id) for one in held]
    task, model = contract.task_digest(TASK), _digest("model")
    origins = [Origin(_digest(one.message_id), here.run_id, 1, 1, Digests(task, model)) for one in held]

    def check() -> None:
        contract.check_list(here, listed, held)
        assert not contract.not_listed(here, listed, held)
        assert contract.task_digest(TASK) == task
        assert not any(contract.why_left_out(origin, task, {model}) for origin in origins)
        contract.check_count(here, len(origins), TASK.contract, SEATS, 2)
        contract.digests_of(task, model, [receipt_of(origin.digest) for origin in origins])

    return _each(check, rounds)


def _limits() -> float:
    """Of each write: its rate, its place under way and that of its body, taken and given back."""
    by = Subject(kind="site", id=draw_id())
    writes = Rate("writes", 1e9, HubClock())
    under_way = Places("writes_under_way", 100, 32, lambda: busy(ProblemType.TOO_MANY_BODIES, "all are taken", 1))
    bodies = Places("bodies", 100, 100, lambda: busy(ProblemType.TOO_MANY_BODIES, "all are taken", 1))

    def call() -> None:
        with under_way.place(by):
            writes.take(by.id)
            with bodies.place(by):
                pass

    return _each(call, CALLS)


def _each(does: Callable[[], None], times: int) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        does()
    return 1e6 * (time.perf_counter() - begun) / times


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
