"""One site's token in greedy hands, as a process of its own: writes, half-sent bodies and polls without a pause.

`python -m benchmarks.flood` reads its `Plan` as one line, floods until its input ends, and writes what came of it as
one line. It has an address of its own, and the lowest priority: in life it has a machine of its own, and only what it
makes the hub do counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec
import uvloop

from benchmarks.client import Connection, request
from ops.place import CHECKOUT

ADDRESS = "127.0.0.2"
_CLAIMED_BYTES = 100_000
_REFUSALS = (429, 503)


class Plan(msgspec.Struct, frozen=True):
    """Who floods which hub, by how many connections of each kind. after: the last number in the flooder's inbox."""

    url: str
    token: str
    project_id: str
    to: str
    after: int
    writers: int
    half_bodies: int
    polls: int

    def __repr__(self) -> str:
        return f"Plan({self.url}, {self.writers} + {self.half_bodies} + {self.polls})"


class Counts(msgspec.Struct):
    """Requests that were sent, and what came of them. The rest had no answer when the flood ended.

    cut: the hub hung up without an answer.
    """

    tried: int = 0
    accepted: int = 0
    refused: int = 0
    cut: int = 0
    other: int = 0


@dataclass
class Flooding:
    """A flood that goes on. counts: once it is over."""

    process: subprocess.Popen[bytes]
    counts: Counts = field(default_factory=Counts)


@contextmanager
def flooding(plan: Plan) -> Iterator[Flooding]:
    """For the block, from when every connection has sent something."""
    command = ["setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "benchmarks.flood"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        flood = Flooding(process)
        try:
            process.stdin.write(msgspec.json.encode(plan) + b"\n")
            process.stdin.flush()
            process.stdout.readline()
            yield flood
            process.stdin.close()
            flood.counts = msgspec.json.decode(process.stdout.readline(), type=Counts)
        finally:
            process.kill()


class _Flood:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.counts = Counts()
        self.begun = asyncio.Event()
        """As much was sent as there are connections."""
        message = {"project_id": plan.project_id, "to": [plan.to], "body": "eHh4eA=="}
        self._body = json.dumps({"messages": [message]}).encode()
        whole = request("POST", "/v1/messages", plan.token, b" " * _CLAIMED_BYTES)
        self._half = whole[: len(whole) - _CLAIMED_BYTES + 1]
        self._poll = request("GET", f"/v1/inbox?after={plan.after}&wait=30", plan.token)

    def tasks(self) -> list[asyncio.Task[None]]:
        plan = self._plan
        writes = [
            self._again_with(request("POST", "/v1/messages", plan.token, self._body, wait=number % 2 == 0))
            for number in range(plan.writers)
        ]
        bodies = [self._again_with(self._half) for _ in range(plan.half_bodies)]
        polls = [self._again_with(self._poll) for _ in range(plan.polls)]
        return [asyncio.create_task(one) for one in (*writes, *bodies, *polls)]

    async def _again_with(self, content: bytes) -> None:
        """As soon as it was answered; on a new connection if the hub hung up."""
        while True:
            try:
                connection = await Connection.open(self._plan.url, ADDRESS)
                try:
                    await self._once(connection, content)
                    while content is not self._half:  # of which the rest is still owed
                        await self._once(connection, content)
                finally:
                    connection.close()
            except OSError:
                self.counts.cut += 1
                await asyncio.sleep(0.001)

    async def _once(self, connection: Connection, content: bytes) -> None:
        self.counts.tried += 1
        if self.counts.tried >= self._plan.writers + self._plan.half_bodies + self._plan.polls:
            self.begun.set()
        status = (await connection.ask(content)).status
        if status < 300:
            self.counts.accepted += 1
        elif status in _REFUSALS:
            self.counts.refused += 1
        else:
            self.counts.other += 1


async def _main() -> None:
    loop = asyncio.get_running_loop()
    plan = msgspec.json.decode(await loop.run_in_executor(None, sys.stdin.buffer.readline), type=Plan)
    flood = _Flood(plan)
    tasks = flood.tasks()
    await flood.begun.wait()
    sys.stdout.write("floods\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    sys.stdout.buffer.write(msgspec.json.encode(flood.counts) + b"\n")
    sys.stdout.flush()
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    os.nice(19)
    uvloop.run(_main())
