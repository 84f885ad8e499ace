"""The sites of running runs, as the reports_per_s, decision_ms and decided_per_s figures drive them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks import scenes
from benchmarks.client import Connection, request
from benchmarks.load import Pace
from benchmarks.scenes import Site
from benchmarks.yard import Hub
from config.clock import draw_id
from domain import codec
from domain import commands as c
from domain.commands import Envelope
from domain.ids import Id
from domain.states import Report

STEPS = (Report.ACCEPT, Report.READY, Report.TRAINED, Report.SUBMIT)


@dataclass(frozen=True)
class Run:
    """A running run: its id and its seats' sites; the first of them coordinates."""

    id: Id
    sites: Sequence[Site]


def runs(hub: Hub, count: int, seats: int) -> list[Run]:
    """Fresh runs in projects of their own, each with that many seats."""
    members = scenes.sites(hub, seats)
    made: list[Run] = []
    for first in range(0, count, 100):
        project = scenes.project(hub, members)
        made += [Run(ident, members) for ident in scenes.runs(hub, project, members[0], min(100, count - first))]
    return made


def reports_of(run: Run) -> Iterator[Envelope]:
    """The first round of a run as commands in their order: four reports of each seat."""
    now = scenes.CLOCK.now()
    for step, event in enumerate(STEPS, start=1):
        for site in run.sites:
            report = c.ReportSeat(run_id=run.id, task_seq=1, site_id=site.id, event=event, seq=step, round=1)
            yield codec.envelope_of(report, id=draw_id(), by=site.subject, at=now)


class Crew:
    """Reports over HTTP, every seat on a connection of its own; every report waits for its decision."""

    def __init__(self, all_runs: Sequence[Run], connections: Sequence[Connection]) -> None:
        self._runs = all_runs
        self._connections = connections
        self._rounds = [1] * len(all_runs)
        self.spans: list[float] = []
        self.seconds = 0.0

    async def drive(self, seconds: float, pace: Pace | None = None) -> None:
        """All runs go through rounds for so long, one at least; may be called again."""
        self.spans = []
        begun = time.perf_counter()
        end = begun + seconds
        seats = len(self._connections) // len(self._runs)
        await asyncio.gather(
            *(
                self._rounds_of(number, self._connections[number * seats : (number + 1) * seats], end, pace)
                for number in range(len(self._runs))
            )
        )
        self.seconds = time.perf_counter() - begun

    async def _rounds_of(self, number: int, own: Sequence[Connection], end: float, pace: Pace | None) -> None:
        run = self._runs[number]
        while True:
            for step, event in enumerate(STEPS):
                await asyncio.gather(
                    *(
                        self._report(run, site, connection, event, self._rounds[number], step, pace)
                        for site, connection in zip(run.sites, own, strict=True)
                    )
                )
            path = f"/v1/runs/{run.id}/tasks/1/rounds/{self._rounds[number]}/aggregated"
            await own[0].need(request("POST", path, run.sites[0].token, b"{}", wait=True), 200)
            self._rounds[number] += 1
            if time.perf_counter() >= end:
                return

    async def _report(
        self, run: Run, site: Site, connection: Connection, event: Report, number: int, step: int, pace: Pace | None
    ) -> None:
        body = {"event": event.value, "seq": 4 * (number - 1) + step + 1, "round": number}
        path = f"/v1/runs/{run.id}/tasks/1/seats/{site.id}"
        content = request("PUT", path, site.token, json.dumps(body).encode(), wait=True)
        if pace is not None:
            await pace.turn()
        begun = time.perf_counter()
        await connection.need(content, 200)
        self.spans.append(time.perf_counter() - begun)
