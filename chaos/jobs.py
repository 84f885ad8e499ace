"""The part of the load that wants workloads: short jobs, and endless ones that are stopped, at hub and site."""

from __future__ import annotations

import random
import threading
from http import HTTPStatus
from pathlib import Path

import msgspec

from chaos.calls import Caller, Commander, Counts, Gone
from chaos.ledger import Asked, Ledger
from chaos.plan import Plan
from chaos.site import STARTER, Endings
from config.clock import Clock, wait_for

JOBS = "jobs"
"""Whose ledger it is: no site of the load."""
EVERY_S = (0.5, 3.0)
AT_ONCE = 6
SHORT_S = (0.1, 0.5, 3.0, 8.0)
ENDLESS_S = 3600.0
DEADLINE_S = 45.0
"""Of each: what a hub that was restored has forgotten ends, too, before it is swept."""
STOPPED_AFTER_S = (0.2, 8.0)
ATTEMPTS = 4
STOP = b'{"reason": "it is enough"}'
LIVE = ("wanted", "starting", "running")
ENDED = frozenset({"succeeded", "failed", "stopped", "lost"})


class Jobs:
    """Each is a program that writes its own books (program.sh). Every third one never ends by itself."""

    def __init__(self, plan: Plan, folder: Path, counts: Counts, endings: Endings, clock: Clock) -> None:
        self.plan, self.starter = plan, plan.starter
        self.ledger = Ledger(folder / f"{JOBS}.jsonl")
        self.endings, self.clock = endings, clock
        self.caller = Caller(plan.starter.hub, plan.starter.id, plan.starter.token, counts=counts, ended=endings.over)
        self.chance = random.Random(f"{plan.seed} {JOBS} beside {STARTER}")
        self.thread = threading.Thread(target=self._run, name=JOBS)
        self._live: dict[str, float | None] = {}
        """When it is to be stopped, if it is."""

    def _run(self) -> None:
        commander = Commander(self.caller, self.ledger, self.clock, self.chance)
        number = 0
        while not wait_for(self.endings.quiet, self.chance.uniform(*EVERY_S)):
            self._look()
            if len(self._live) < AT_ONCE:
                number += 1
                try:
                    self._want(commander, number)
                except Gone:
                    break
        while not self._all_stopped() and not wait_for(self.endings.over, 1.0):
            pass
        self.caller.close()
        self.ledger.close()

    def _want(self, commander: Commander, number: int) -> None:
        endless = number % 3 == 0
        seconds = ENDLESS_S if endless else self.chance.choice(SHORT_S)
        code = 0 if endless else self.chance.choice((0, 0, 3))
        arguments = [str(self.plan.program), str(self.plan.books), str(seconds), str(code)]
        spec: dict[str, object] = {"kind": "job", "image": "local/sh", "arguments": arguments, "attempts": ATTEMPTS}
        spec |= {"grace_s": 2.0, "deadline_s": DEADLINE_S}
        body = {"name": f"job-{number}", "where": self.chance.choice(self.plan.places), "spec": spec}
        key = f"job-{number}"
        asked = Asked(at=self.clock.now(), id=commander.id_of(key), kind="create_workload")
        path = f"/v1/projects/{self.starter.project_id}/workloads"
        answered, _ = commander.send("POST", path, msgspec.json.encode(body), key, asked, made="id")
        stop_at = self.clock.monotonic() + self.chance.uniform(*STOPPED_AFTER_S) if endless else None
        self._live |= dict.fromkeys(answered.made, stop_at)

    def _look(self) -> None:
        """What is over, or was forgotten by a hub that was restored, is let go; what shall stop is asked to."""
        for ident, stop_at in list(self._live.items()):
            answer = self.caller.once("GET", f"/v1/workloads/{ident}", None, {}, 0)
            if answer.status == 404 or (answer.status == 200 and answer.json()["state"] in ENDED):
                del self._live[ident]
            elif answer.status == 200 and stop_at is not None and self.clock.monotonic() >= stop_at:
                self.caller.once("POST", f"/v1/workloads/{ident}/stop", STOP, {}, 0)

    def _all_stopped(self) -> bool:
        """Asked of the hub: one that was restored has forgotten what was stopped, and has it run again."""
        found = []
        for state in LIVE:
            path = f"/v1/projects/{self.starter.project_id}/workloads?state={state}&limit=200"
            answer = self.caller.once("GET", path, None, {}, 0)
            if answer.status != HTTPStatus.OK:
                return False
            found += [str(one["id"]) for one in msgspec.json.decode(answer.content)["items"]]
        for ident in found:
            self.caller.once("POST", f"/v1/workloads/{ident}/stop", STOP, {}, 0)
        return not found
