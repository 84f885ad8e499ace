"""A site reduced to its protocol: follows its inbox, reports on its seat, aggregates, sends messages, beats.

As an agent does, it tells a hub whose history went back what it holds, and sends again what the hub has forgotten.
"""

from __future__ import annotations

import base64
import hashlib
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from chaos.calls import Answer, Caller, Commander, Counts, Gone
from chaos.ledger import Asked, Got, Ledger, Recovered
from chaos.memory import Memory, Sent
from chaos.plan import Plan, PlannedSite
from config.clock import Clock, wait_for

POLL_S = 10
ENTRIES = 50
AFTER_RUN_S = 1.0
STARTER = "starter"
"""Whose ledger that of `Starting` is: no site of the load."""
RUNS_TOGETHER = 2
"""The second is queued: that it begins when the first has ended is a command out of the outbox."""
UNWAITED = 0.3
"""Share of the messages that are sent without waiting for their decision."""


class Endings:
    """quiet: start nothing new. over: everything has drained, or never will."""

    def __init__(self) -> None:
        self.quiet = threading.Event()
        self.over = threading.Event()


class Site:
    """Three threads: one follows the inbox, one sends messages, one beats."""

    def __init__(
        self, planned: PlannedSite, plan: Plan, folder: Path, counts: Counts, endings: Endings, clock: Clock
    ) -> None:
        self.planned, self.plan = planned, plan
        self.ledger = Ledger(folder / f"{planned.id}.jsonl")
        self.clock = clock
        self.counts, self.endings = counts, endings
        self.others = [one.id for one in plan.sites if one.project_id == planned.project_id and one.id != planned.id]
        self.coordinator = next(
            one.id for one in plan.sites if one.project_id == planned.project_id and one.coordinates
        )
        self.memory = Memory()
        self._made = 0
        self._start_at: float | None = 0.0 if planned.coordinates else None
        self._settled = threading.Event()
        self._recovering = threading.Event()
        work: list[Callable[[], None]] = [self._follow, self._talk, self._beat]
        self.threads = [threading.Thread(target=one, name=f"{planned.name} {one.__name__}") for one in work]

    @property
    def settled(self) -> bool:
        """True once it will send no message any more, for the first time or again."""
        return self._settled.is_set() and not self._recovering.is_set()

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        """After `endings.over`."""
        for thread in self.threads:
            thread.join(60)
        self.ledger.close()

    def _caller(self) -> Caller:
        site = self.planned
        return Caller(site.hub, site.id, site.token, counts=self.counts, ended=self.endings.over)

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self.plan.seed} {self.planned.name} {what}")

    # the inbox

    def _follow(self) -> None:
        caller, chance = self._caller(), self._chance("follows")
        commander = Commander(caller, self.ledger, self.clock, chance)
        memory = self.memory
        while not self.endings.over.is_set():
            self._start_runs_if_due(commander)
            wait = 1 if self._start_at is not None else POLL_S
            mark = f"&mark={memory.mark}" if memory.mark else ""
            path = f"/v1/inbox?after={memory.after}{mark}&wait={wait}&limit={ENTRIES}"
            answer = caller.once("GET", path, None, {}, wait)
            if self._went_back(answer):
                self._recovering.set()
                with suppress(Gone):
                    self._recover(commander)
                self._recovering.clear()
            elif answer.status == 200:
                self._take(commander, answer)
            else:
                wait_for(self.endings.over, chance.uniform(0.2, 1.0))
        caller.close()

    def _take(self, commander: Commander, answer: Answer) -> None:
        """Take in the entries of an answer; those that are done are acknowledged."""
        entries: list[dict[str, Any]] = msgspec.json.decode(answer.content)["items"]
        try:
            for entry in entries:
                self._note(entry)
                if self.memory.take(entry):
                    self._step(commander, entry)
            if entries:
                after = self.memory.after
                key = f"acknowledged-{after}"
                asked = self._asked(commander, key, "acknowledge_inbox", through=after)
                body = _body({"through": after, "mark": self.memory.mark})
                commander.send("PUT", "/v1/inbox/acknowledged", body, key, asked, decided=False)
        except Gone:
            pass

    def _note(self, entry: dict[str, Any]) -> None:
        message = entry["message"] or {}
        self.counts.entry()
        self.ledger.write(
            Got(
                at=self.clock.now(),
                seq=entry["seq"],
                kind=entry["kind"],
                message_id=message.get("id"),
                sender=message.get("sender_site_id"),
                sha256=message.get("sha256"),
                run_id=entry["run_id"],
                token_id=entry["facts"]["token_id"] if entry["kind"] == "token_revoked" else None,
            )
        )

    def _step(self, commander: Commander, entry: dict[str, Any]) -> None:
        match entry["kind"]:
            case "invited":
                self.memory.invited(_seat(entry), int(entry["facts"]["report_seq"]))
                self._report(commander, entry, "ready")
            case "round_started":
                self._report(commander, entry, "trained")
                self._report(commander, entry, "submit")
            case "aggregate":
                self._aggregate(commander, entry)
            case "seat_dropped" if entry["facts"]["may_rejoin"]:
                self._rejoin(commander, entry)
            case "run_ended":
                self.memory.run_ended(entry["run_id"])
                self._start_soon()

    def _report(self, commander: Commander, entry: dict[str, Any], event: str) -> None:
        """A report under a key of its own each time: a refusal must not be the answer for ever."""
        seat = self.memory.seat(_seat(entry))
        seq = seat.report_seq + 1
        body: dict[str, object] = {"event": event, "seq": seq, "round": entry["round"]}
        self._made += 1
        key = f"{entry['run_id']}-{entry['task_seq']}-{seq}-{event}-{self._made}"
        asked = self._asked(commander, key, "report_seat")
        if event == "submit":
            update = self._payload(f"update {key}")
            body |= {"update": _text(update), "metrics": {"loss": 1.0 / seq, "samples": 10.0}}
            asked = self._asked(commander, key, "report_seat", update, [self.coordinator])
        path = f"/v1/runs/{entry['run_id']}/tasks/{entry['task_seq']}/seats/{self.planned.id}"
        sent = Sent(self.clock.now(), "PUT", path, _body(body), key, asked, seq)
        answered, _ = commander.send(sent.method, path, sent.body, key, asked)
        if answered.status == 200:
            seat.report_seq = seq
            seat.reports.append(sent)

    def _aggregate(self, commander: Commander, entry: dict[str, Any]) -> None:
        key = f"{entry['run_id']}-{entry['task_seq']}-{entry['round']}-aggregated"
        model = self._payload(f"model {key}")
        asked = self._asked(commander, key, "report_aggregated", model, [])
        path = f"/v1/runs/{entry['run_id']}/tasks/{entry['task_seq']}/rounds/{entry['round']}/aggregated"
        sent = Sent(
            self.clock.now(), "POST", path, _body({"metrics": {"loss": 0.1}, "model": _text(model)}), key, asked
        )
        answered, _ = commander.send(sent.method, path, sent.body, key, asked)
        if answered.status == 200:
            self.memory.seat(_seat(entry)).reports.append(sent)

    def _rejoin(self, commander: Commander, entry: dict[str, Any]) -> None:
        """The hub is asked how many reports it has counted."""
        caller = self._caller()
        answer = caller.once("GET", f"/v1/runs/{entry['run_id']}", None, {}, 0)
        caller.close()
        if answer.status != 200:
            return
        task = msgspec.json.decode(answer.content)["tasks"][entry["task_seq"] - 1]
        for seat in task["seats"]:
            if seat["site_id"] == self.planned.id and seat["state"] == "dropped":
                self.memory.seat(_seat(entry)).report_seq = seat["report_seq"]
                self._report(commander, entry, "rejoin")

    def _start_soon(self) -> None:
        """The coordinator's next runs, when none of its own is live any more."""
        if self.planned.coordinates:
            self._start_at = self.clock.monotonic() + AFTER_RUN_S

    def _start_runs_if_due(self, commander: Commander) -> None:
        if self._start_at is None or self.endings.quiet.is_set() or self.clock.monotonic() < self._start_at:
            return
        self._start_at = None
        if self.memory.live_runs:
            return
        for _ in range(RUNS_TOGETHER):
            self._made += 1
            key = f"run-{self._made}"
            asked = self._asked(commander, key, "start_run")
            path = f"/v1/projects/{self.planned.project_id}/runs"
            body = _body({"queue": True, "finish_within_s": self.plan.run_within_s})
            try:
                answered, _ = commander.send("POST", path, body, key, asked, made="id")
            except Gone:
                return
            self.memory.live_runs.update(answered.made)
        if not self.memory.live_runs:
            self._start_soon()

    # a hub whose history went back

    def _went_back(self, answer: Answer) -> bool:
        """The hub says so, or tells another history than this site knows."""
        if answer.status == 409:
            return str(answer.json().get("type", "")).endswith("/history_went_back")
        if answer.status != 200:
            return False
        told = str(answer.json()["history_id"])
        self.memory.history_id = self.memory.history_id or told
        return told != self.memory.history_id

    def _recover(self, commander: Commander) -> None:
        """Say what this site holds, read on from where the hub says, and send again what it has forgotten."""
        self._made += 1
        key = f"recovery-{self._made}"
        body = _body(self.memory.claim())
        asked = self._asked(commander, key, "recover_site")
        path = f"/v1/sites/{self.planned.id}/recovery"
        answered, answer = commander.send("POST", path, body, key, asked)
        if answered.status != 200:
            wait_for(self.endings.over, AFTER_RUN_S)
            return
        told: dict[str, Any] = msgspec.json.decode(answer.content)
        history, common, read_after = told["history_id"], told["common_seq"], told["read_after"]
        self.ledger.write(Recovered(self.clock.now(), history, common, read_after))
        self.memory.recovered(history, common, read_after, told["mark"])
        for known in told["seats"]:
            self._seat_again(commander, known)
        for message in self.memory.to_send_again(self.clock.now()):
            self._again(commander, message)
            self.memory.sent(message)
        self._look_for_runs()

    def _seat_again(self, commander: Commander, known: dict[str, Any]) -> None:
        """The reports of a seat that the hub lacks, in order, and its models."""
        seat = self.memory.seat((known["run_id"], known["task_seq"]))
        if known["run_state"] is None:
            self.memory.forget_run(known["run_id"])
        elif known["run_state"] in ("created", "running"):
            counted = int(known["report_seq"])
            for report in [one for one in seat.reports if one.report_seq == 0 or one.report_seq > counted]:
                if self._again(commander, report):
                    counted = max(counted, report.report_seq)
                else:  # the hub is not so far yet: what led to this report will come again
                    self.memory.not_had(known["run_id"], known["task_seq"])
            seat.report_seq = counted

    def _again(self, commander: Commander, sent: Sent) -> bool:
        """True if the hub has taken it."""
        made = "ids" if sent.asked.kind == "post_messages" else ""
        answered, _ = commander.send(sent.method, sent.path, sent.body, sent.key, sent.asked, made=made, again=True)
        return answered.status < 300

    def _look_for_runs(self) -> None:
        """Those that the coordinator's people started and the hub has forgotten will never end."""
        caller = self._caller()
        for run in list(self.memory.live_runs):
            answer = Answer(0, b"", {})
            while answer.status not in (200, 404):
                answer = caller.once("GET", f"/v1/runs/{run}", None, {}, 0)
                if answer.status not in (200, 404) and wait_for(self.endings.over, 0.5):
                    raise Gone
            if answer.status == 404:
                self.memory.forget_run(run)
        caller.close()
        if not self.memory.live_runs:
            self._start_soon()

    # messages

    def _talk(self) -> None:
        caller, chance = self._caller(), self._chance("talks")
        commander = Commander(caller, self.ledger, self.clock, chance)
        number = 0
        try:
            while not wait_for(self.endings.quiet, chance.expovariate(1 / self.plan.message_every_s)):
                number += 1
                self._say(commander, chance, number)
        except Gone:
            pass
        caller.close()
        self._settled.set()

    def _say(self, commander: Commander, chance: random.Random, number: int) -> None:
        """One message: to the coordinator, or as the coordinator to one, some or all."""
        to, recipients = self._recipients(chance)
        waited = chance.random() > UNWAITED
        content = self._payload(f"message {number}", chance.randint(200, 6_000))
        key = f"message-{number}"
        asked = self._asked(commander, key, "post_messages", content, recipients, ordinal=number if waited else 0)
        message = {"project_id": self.planned.project_id, "to": to, "body": _text(content)}
        body = _body({"messages": [message]})
        answered, _ = commander.send("POST", "/v1/messages", body, key, asked, made="ids", decided=waited)
        if answered.status < 300:
            self.memory.sent(Sent(self.clock.now(), "POST", "/v1/messages", body, key, asked))
        self.counts.message()

    def _recipients(self, chance: random.Random) -> tuple[str | list[str], list[str]]:
        if not self.planned.coordinates:
            return "coordinator", [self.coordinator]
        if chance.random() < 0.4:
            return "participants", self.others
        some = sorted(chance.sample(self.others, chance.randint(1, len(self.others))))
        return some, some

    # beats

    def _beat(self) -> None:
        caller = self._caller()
        while not wait_for(self.endings.over, self.plan.heartbeat_every_s):
            caller.once("PUT", f"/v1/sites/{self.planned.id}/heartbeat", b"{}", {}, 0)
        caller.close()

    # words

    def _asked(
        self,
        commander: Commander,
        key: str,
        kind: str,
        content: bytes | None = None,
        to: Sequence[str] = (),
        *,
        ordinal: int = 0,
        through: int = 0,
    ) -> Asked:
        sha256 = hashlib.sha256(content).hexdigest() if content is not None else ""
        id = commander.id_of(key)
        return Asked(
            at=self.clock.now(), id=id, kind=kind, sha256=sha256, to=list(to), ordinal=ordinal, through=through
        )

    def _payload(self, name: str, size: int = 3_000) -> bytes:
        """A body that no other message has."""
        head = f"{self.planned.id} {name} ".encode()
        return head + self._chance(name).randbytes(size)


class Starting:
    """Keeps a run going in the project of the real agents."""

    def __init__(self, plan: Plan, folder: Path, counts: Counts, endings: Endings, clock: Clock) -> None:
        self.starter, self.plan = plan.starter, plan
        self.ledger = Ledger(folder / f"{STARTER}.jsonl")
        self.endings, self.clock = endings, clock
        self.caller = Caller(plan.starter.hub, plan.starter.id, plan.starter.token, counts=counts, ended=endings.over)
        self.thread = threading.Thread(target=self._run, name="starter")

    def _run(self) -> None:
        commander = Commander(self.caller, self.ledger, self.clock, random.Random(f"{self.plan.seed} starter"))
        number = 0
        live: str | None = None
        while not wait_for(self.endings.quiet, 1.0):
            if live is not None and self._is_live(live):
                continue
            number += 1
            key = f"run-{number}"
            asked = Asked(at=self.clock.now(), id=commander.id_of(key), kind="start_run")
            body = _body({"finish_within_s": self.plan.run_within_s})
            try:
                answered, _ = commander.send(
                    "POST", f"/v1/projects/{self.starter.project_id}/runs", body, key, asked, made="id"
                )
            except Gone:
                break
            live = answered.made[0] if answered.made else None
        self.caller.close()
        self.ledger.close()

    def _is_live(self, run_id: str) -> bool:
        answer = self.caller.once("GET", f"/v1/runs/{run_id}", None, {}, 0)
        if answer.status == 404:
            return False  # a hub that was restored has forgotten it
        return answer.status != 200 or answer.json()["state"] in ("created", "running")


def _seat(entry: dict[str, Any]) -> tuple[str, int]:
    return entry["run_id"], entry["task_seq"]


def _body(content: object) -> bytes:
    return msgspec.json.encode(content)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
