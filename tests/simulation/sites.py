"""Sites reduced to their protocol: they follow their inbox over HTTP, report, aggregate, acknowledge, write letters.

A site's disk survives its death; what it was about to do does not. Whatever it sends is on its disk first and is
repeated under the same key until the hub has said what became of it. Its ledger is every inbox entry that it ever kept.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from broker.protocol import records as r
from broker.protocol.chunks import tree_digest
from broker.protocol.ids import sha256_hex
from broker.protocol.seals import is_sealed, read_seal
from config.clock import SECOND
from tests.simulation.payloads import KEY, SEAL_ANEW, Payload, Upload, seal, signed_key, upload_of
from tests.simulation.processes import Answer, Lost, Request
from tests.simulation.world import Broken, Process, World

ASK_FOR_S = 4.0
"""How long a site asks what became of a command before it sends it again."""
MEMORY_FADES_S = 6.0
"""Five seconds, and the web's turn in which it hears of something."""
_AT_ONCE = (400, 404, 405, 413, 415, 422, 500)
SEALS_AT_MOST = 6
"""Of one call; then the site lets it be."""
_SEAT_OVER = ("round_completed", "seat_dropped", "task_ended", "run_ended")


@dataclass
class Out:
    """Something to be sent until the hub has said what became of it. key: None where a report's number is enough.

    payloads: what its body is to carry, for the eyes of those in `project`. filled: whether it carries them by now.
    upload: what has to be stored before it is sent. step: what is sent of that upload now.
    """

    what: str
    method: str
    path: str
    body: Any
    key: str | None
    seat: tuple[str, int] | None = None
    seq: int = 0
    after: Out | None = None
    command: str | None = None
    asking_since: int = 0
    outcome: dict[str, Any] | None = None
    project: str = ""
    payloads: list[Payload] = field(default_factory=list)
    filled: bool = False
    seals: int = 0
    log: tuple[str, int] | None = None
    upload: Upload | None = None
    step: Out | None = None


@dataclass
class Disk:
    """What a site has written, so that it is there after its death."""

    ledger: list[dict[str, Any]] = field(default_factory=list)
    handled: int = 0
    outgoing: list[Out] = field(default_factory=list)
    reports: dict[tuple[str, int], int] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    bodies: set[str] = field(default_factory=set)
    versions: dict[str, int] = field(default_factory=dict)
    wrote: int = 0
    epoch: int = 0
    logs: dict[tuple[str, int], list[bytes]] = field(default_factory=dict)
    logged: dict[tuple[str, int], int] = field(default_factory=dict)
    read_up_to: dict[str, int] = field(default_factory=dict)
    project: str | None = None


class Site(Process):
    """A site. enrolment: the token to enrol with, for one that is not known yet. boss: it coordinates a project."""

    returns_within_s = (0.5, 25.0)

    def __init__(self, world: World, name: str, *, ident: str = "", enrolment: str = "", boss: bool = False) -> None:
        super().__init__(world, name)
        self.kind = "site"
        self.token = f"token of {name}"
        self.id = ident
        self.enrolment = enrolment
        self.boss = boss
        self.disk = Disk()
        self.keyless = world.chance.random() < 0.4
        self.says_after = world.chance.choice((0.0, 0.5, 1.0, 1.0))
        self.acknowledged = 0
        self.known_keys: dict[str, dict[str, int]] = {}

    def start(self) -> None:
        """A new life: nothing is remembered but the disk."""
        self.acknowledged = 0
        self.known_keys = {}

    # turns

    def step(self) -> float:
        if self.world.befalls("site dies"):
            self.world.kill(self)
            return 1.0
        try:
            self._act()
        except Lost:
            return self.world.chance.uniform(0.2, 1.0)
        busy = bool(self.disk.outgoing) or self.disk.handled < len(self.disk.ledger)
        return self.world.chance.expovariate(1 / (0.15 if busy else 0.6))

    def _act(self) -> None:
        chance, disk = self.world.chance, self.disk
        roll = chance.random()
        sendable = [
            out for out in disk.outgoing if out.after is None or out.after not in disk.outgoing or chance.random() < 0.5
        ]
        if roll < 0.12 and self.id:
            self.ask("PUT", f"/v1/sites/{self.id}/heartbeat", {})
        elif sendable and roll < 0.65:
            self.push(chance.choice(sendable))
        elif not self.id:
            self._enrol()
        elif not disk.epoch:
            self._put_key(604_800.0)
        elif disk.handled < len(disk.ledger) and roll < 0.9:
            self._handle()
        elif roll < 0.8:
            self._poll()
        elif roll < 0.87:
            self._look_around()
        elif not self.world.calm:
            self._begin_something()
        else:
            self._poll()

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None, token: str = "") -> Answer:
        """One request. Raises `Lost` without an answer, also where the hub says that it cannot right now."""
        self.world.place(self, "before a request")
        answer = self.world.web.ask(Request(method, path, token or self.token, body, key))
        self.world.place(self, "after a request")
        if answer.status == 503:
            raise Lost
        return answer

    # what it sends

    def send(self, what: str, method: str, path: str, body: Any, **more: Any) -> Out:
        """Onto the disk; the sending begins in a later turn."""
        key = None if what == "report" and self.keyless else self.draw_key()
        out = Out(what, method, path, body, key, **more)
        self.disk.outgoing.append(out)
        return out

    def draw_key(self) -> str:
        return f"{self.name.replace(' ', '-')}-{self.world.chance.getrandbits(64):x}"

    def key_of(self, out: Out) -> str | None:
        """The same for every repetition."""
        return out.key

    def push(self, out: Out) -> None:
        """Send it, or ask what became of it."""
        token = self.enrolment if out.what == "enrol" else ""
        if out.command is not None:
            answer = self.ask("GET", f"/v1/commands/{out.command}", token=token)
            self._expect(answer, 200)
            if answer.body["state"] != "pending":
                self._answered(out, answer.body)
            elif self.world.micros - out.asking_since > ASK_FOR_S * SECOND:
                out.command = None
            return
        if out.payloads and not out.filled and not self._fill(out):
            self.disk.outgoing.remove(out)
            return
        if out.upload is not None and not out.upload.stored:
            self._upload(out, out.upload)
            return
        answer = self.ask(out.method, out.path, out.body, self.key_of(out), token)
        if answer.status in _AT_ONCE:
            raise Broken(f"{self.name}: {out.method} {out.path} was answered {answer.status}: {answer.body}")
        self._expect(answer, 202)
        out.command, out.asking_since = answer.body["command"]["id"], self.world.micros

    def _upload(self, out: Out, upload: Upload) -> None:
        """The next step: declare, put the chunk, complete. The second is no command."""
        if out.step is None:
            if not upload.id:
                out.step = Out("declare", "POST", "/v1/artifacts", upload.declared, self.draw_key())
            elif upload.put:
                out.step = Out("complete", "POST", f"/v1/artifacts/{upload.id}/complete", None, self.draw_key())
        if out.step is None:
            answer = self.ask("PUT", f"/v1/artifacts/{upload.id}/chunks/0", upload.content)
            if answer.status == 409:  # expired, or stored by a request that came late
                upload.again()
                return
            self._expect(answer, 204)
            upload.put = self.world.chance.random() < 0.9  # else it puts the same again
            return
        self.push(out.step)
        if (said := out.step.outcome) is not None:
            out.step = None
            self._stepped(out, upload, said)

    def _stepped(self, out: Out, upload: Upload, said: dict[str, Any]) -> None:
        if said["state"] == "accepted":
            if not upload.id:
                upload.id = said["result"]["id"]
            else:
                upload.stored = True
                out.body[upload.field] = upload.id
        elif _slug(said) in SEAL_ANEW and out.seals < SEALS_AT_MOST:
            self._seal_anew(out)
        elif _slug(said) == "artifact_expired":
            upload.again()
        elif _slug(said) == "chunks_missing":
            raise Broken(f"{self.name}: artifact {upload.id} lost its chunk")
        elif out in self.disk.outgoing:
            self.disk.outgoing.remove(out)

    def _seal_anew(self, out: Out) -> None:
        self.known_keys.pop(out.project, None)
        out.filled, out.command, out.upload = False, None, None
        out.key = None if out.key is None else self.draw_key()

    def _fill(self, out: Out) -> bool:
        """Put the payloads into the body, sealed where they have to be; False if somebody cannot be sealed to."""
        if not self.world.sealed[out.project] and self.world.chance.random() < 0.8:
            for payload in out.payloads:
                if payload.large:
                    out.upload = upload_of(payload, out.project, None, self._ttl())
                else:
                    payload.put(out.body, payload.plain)
        else:
            epochs = self._epochs(out.project)
            for payload in out.payloads:
                readers = self._readers(out.project, epochs, payload.to)
                if not readers:
                    return False
                sealed = seal(payload, self.id, out.project, readers, detached=payload.large)
                payload.put(out.body, sealed)
                if payload.large:
                    out.upload = upload_of(payload, out.project, sealed, self._ttl())
            out.seals += 1
        out.filled = True
        return True

    def _ttl(self) -> float | None:
        return self.world.chance.choice((None, None, 3.0, 30.0))

    def _epochs(self, project: str) -> dict[str, int]:
        """The members of a project with the epochs to seal to, 0 where there is none; perhaps no longer true."""
        if project not in self.known_keys or self.world.chance.random() < 0.5:
            answer = self.ask("GET", f"/v1/projects/{project}/keys")
            if answer.status == 404:  # it is no member
                return {}
            self._expect(answer, 200)
            self.known_keys[project] = {
                one["site_id"]: one["key"]["epoch"] if one["key"] else 0 for one in answer.body["items"]
            }
        return self.known_keys[project]

    def _readers(self, project: str, epochs: dict[str, int], to: str) -> dict[str, int]:
        """Now and then with the epoch before the one to be used, which may be revoked or past its grace."""
        coordinator = self.world.projects[project]
        if to == "coordinator":
            readers = {coordinator: epochs.get(coordinator, 0)}
        elif to == "participants":
            readers = {site: epoch for site, epoch in epochs.items() if site != coordinator}
        else:
            readers = {site: epoch for site, epoch in epochs.items() if epoch}
        if not all(readers.values()):
            return {}
        if self.world.chance.random() < 0.15:
            return {site: max(1, epoch - 1) for site, epoch in readers.items()}
        return readers

    def _answered(self, out: Out, said: dict[str, Any]) -> None:
        accepted = said["state"] == "accepted"
        self.world.tell(f"{self.name}: {out.what} {said['kind']} {said['state']} {said['status']}")
        out.outcome = said
        if said["status"] >= 500 or said["status"] in (400, 401, 405, 413, 415):
            raise Broken(f"{self.name}: {out.method} {out.path} became {said}")
        if out.what in ("declare", "complete"):
            return
        if out.filled and not accepted and _slug(said) in SEAL_ANEW and out.seals < SEALS_AT_MOST:
            self._seal_anew(out)
            return
        if out.seat is not None and accepted:
            self.disk.reports[out.seat] = max(self.disk.reports.get(out.seat, 0), out.seq)
        if out.what == "enrol":
            if not accepted:
                raise Broken(f"{self.name} was not enrolled: {said}")
            self.id = said["result"]["id"]
        elif out.what == "project":
            if not accepted:
                raise Broken(f"{self.name} could not create its project: {said}")
            self.disk.project = said["result"]["id"]
            self.world.projects[self.disk.project] = self.id
            self.world.sealed[self.disk.project] = out.body["sealed"] == "required"
        elif out.what == "log" and accepted:
            self._logged(out, said["result"]["seq"])
        elif out.what == "key":
            self._key_answered(out, said, accepted)
        elif out.what in ("start", "restart") and accepted:
            self.world.known_runs.append((said["result"]["id"], self.id))
        self.disk.outgoing.remove(out)

    def _key_answered(self, out: Out, said: dict[str, Any], accepted: bool) -> None:
        if not accepted:
            raise Broken(f"{self.name} could not put its key: {said}")
        self.disk.epoch = said["result"]["epoch"]

    def _logged(self, out: Out, seq: int) -> None:
        last = out.body["seq"] + len(out.body["pieces"]) - 1
        if seq < last:
            raise Broken(f"{self.name}: piece {last} of {out.path} was accepted, but {seq} is the last one there")
        assert out.log is not None
        self.disk.logged[out.log] = max(self.disk.logged.get(out.log, 0), seq)

    def _expect(self, answer: Answer, status: int) -> None:
        if answer.status != status:
            raise Broken(f"{self.name} was answered {answer.status}: {answer.body}")

    # its inbox

    def _poll(self) -> None:
        """Ask behind what it has kept, or behind what it has acknowledged; keep, then acknowledge."""
        disk = self.disk
        after = f"&after={len(disk.ledger)}" if self.world.chance.random() < self.says_after else ""
        limit = self.world.chance.choice((1, 3, 50))
        answer = self.ask("GET", f"/v1/inbox?limit={limit}{after}")
        self._expect(answer, 200)
        if after and not answer.body["items"]:
            self._nothing_new()
        self.take(answer.body["items"])
        if self.acknowledged < len(disk.ledger):
            self.acknowledge(len(disk.ledger))

    def _nothing_new(self) -> None:
        """The hub may answer so from memory, but only for a few seconds after the announcement that it did not hear."""
        seen_at = self.world.checker.seen_at.get((self.id, len(self.disk.ledger) + 1))
        late = 0 if seen_at is None else self.world.micros - seen_at - self.world.web.slowest
        if late > MEMORY_FADES_S * SECOND:
            raise Broken(f"{self.name} was told that nothing is new, {late / SECOND:.1f} s after it was not")

    def take(self, entries: list[dict[str, Any]]) -> None:
        """Keep what is new; what is known must be the same as ever."""
        self.world.place(self, "before keeping entries")
        for entry in entries:
            self._keep(entry)
        self.world.place(self, "after keeping entries")

    def acknowledge(self, through: int) -> None:
        answer = self.ask("PUT", "/v1/inbox/acknowledged", {"through": through})
        self._expect(answer, 202)
        self.acknowledged = through

    def _keep(self, entry: dict[str, Any]) -> None:
        ledger, seq = self.disk.ledger, entry["seq"]
        if seq <= len(ledger):
            before = ledger[seq - 1]
            if entry["kind"] not in (before["kind"], "expired") or entry["run_id"] != before["run_id"]:
                raise Broken(f"{self.name}: entry {seq} of its inbox was {before['kind']}, now it is {entry['kind']}")
            return
        if seq != len(ledger) + 1:
            raise Broken(f"{self.name}: entry {seq} of its inbox came after entry {len(ledger)}: some were lost")
        message = entry["message"]
        if entry["kind"] == "message" and message["body"] is not None:
            if message["body"] in self.disk.bodies:
                raise Broken(f"{self.name}: the same message came twice")
            content = base64.b64decode(message["body"])
            if not is_sealed(content) and sha256_hex(content) != message["sha256"]:
                raise Broken(f"{self.name}: a message came with another body")
            self.disk.bodies.add(message["body"])
            self._may_be_mine(entry)
        if message is not None and message["body"] is not None:
            self._only_my_wrap(base64.b64decode(message["body"]))
        if entry["run_id"] in self.disk.ended and entry["kind"] != "message_expired":
            raise Broken(f"{self.name}: {entry['kind']} of run {entry['run_id']} came after its end")
        if entry["kind"] == "run_ended":
            self.disk.ended.add(entry["run_id"])
        if entry["kind"] == "aggregate":
            came = {one["message"]["id"] for one in ledger if one["kind"] == "message"}
            missing = {one["message_id"] for one in entry["facts"]["submissions"]} - came - {None}
            if missing:
                raise Broken(f"{self.name} is to aggregate updates that it never got: {missing}")
        ledger.append(entry)
        self.world.tell(f"{self.name}: {seq} {entry['kind']} {entry['round'] or ''}")

    def _may_be_mine(self, entry: dict[str, Any]) -> None:
        coordinator = self.world.projects[entry["project_id"]]
        if self.id != coordinator and entry["message"]["sender_site_id"] != coordinator:
            raise Broken(f"{self.name} got a message of another participant")

    def _only_my_wrap(self, body: bytes) -> None:
        if is_sealed(body):
            seal = read_seal(body)
            if any(seal.header.recipients[place].site != self.id for place in seal.wraps):
                raise Broken(f"{self.name} was sent another's wrap of seal {seal.header.id}")

    def _handle(self) -> None:
        """Do what the next entry asks for, once the run's earlier reports are answered or overtaken."""
        disk = self.disk
        entry = disk.ledger[disk.handled]
        later = disk.ledger[disk.handled + 1 :]
        over = any(one["run_id"] == entry["run_id"] and one["kind"] in _SEAT_OVER for one in later)
        mine = [out for out in disk.outgoing if out.seat is not None and out.seat[0] == entry["run_id"]]
        if mine:
            if not over and entry["kind"] not in _SEAT_OVER:
                self.push(mine[0])
                return
            for out in mine:
                if self.world.chance.random() < 0.5:
                    disk.outgoing.remove(out)
        do = getattr(self, f"_on_{entry['kind']}", None)
        self.world.place(self, "before an effect")
        if do is not None and not over:
            do(entry)
        self.world.place(self, "between effect and report")
        disk.handled += 1

    def _report(
        self, entry: dict[str, Any], event: str, after: Out | None = None, update: str | None = None, **more: Any
    ) -> Out:
        """A report on its seat, with its next number."""
        seat = (entry["run_id"], entry["task_seq"])
        waiting = [out.seq for out in self.disk.outgoing if out.seat == seat and out.seq]
        seq = max([self.disk.reports.get(seat, 0), *waiting]) + 1
        path = f"/v1/runs/{seat[0]}/tasks/{seat[1]}/seats/{self.id}"
        body = {"event": event, "seq": seq, "round": entry["round"], **more}
        carried: dict[str, Any] = {}
        if update is not None:
            place = self._place(entry, "update")
            payload = Payload(
                ("update",), update.encode(), "coordinator", place, large=self.world.chance.random() < 0.4
            )
            carried = {"project": entry["project_id"], "payloads": [payload]}
        return self.send("report", "PUT", path, body, seat=seat, seq=seq, after=after, **carried)

    def _place(self, entry: dict[str, Any], kind: str) -> dict[str, Any]:
        """What a seal says of where its payload belongs."""
        return {"run": entry["run_id"], "task": entry["task_seq"], "round": entry["round"], "kind": kind}

    def _on_invited(self, entry: dict[str, Any]) -> None:
        chance, seat = self.world.chance, (entry["run_id"], entry["task_seq"])
        self.disk.reports[seat] = entry["facts"]["report_seq"]
        accept = self._report(entry, "accept") if chance.random() < 0.5 else None
        roll = 1.0 if self.world.calm else chance.random()
        if roll < 0.05:
            self._report(entry, "fail", accept, reason="no data")
        elif roll > 0.1:
            self._report(entry, "ready", accept)

    def _on_round_started(self, entry: dict[str, Any]) -> None:
        chance = self.world.chance
        roll = 1.0 if self.world.calm else chance.random()
        if roll < 0.05:
            self._report(entry, "fail", reason="out of memory")
        elif roll > 0.1:
            trained = self._report(entry, "trained") if chance.random() < 0.5 else None
            update = f"update of {self.name} in round {entry['round']} of {entry['run_id']} {chance.getrandbits(32)}"
            if chance.random() < 0.8:
                self._log(entry)
            self._report(entry, "submit", trained, metrics={"loss": 0.5}, update=update)

    def _log(self, entry: dict[str, Any]) -> None:
        """Write on in its log: what is new, and perhaps what it has not heard of, or a piece that is there already."""
        chance, disk = self.world.chance, self.disk
        log = (entry["run_id"], entry["task_seq"])
        pieces = disk.logs.setdefault(log, [])
        first = len(pieces) + 1
        for _ in range(chance.randint(1, 3)):
            pieces.append(f"{self.name} writes line {len(pieces) + 1} of task {log[1]} of {log[0]}".encode())
        known = disk.logged.get(log, 0)
        first = chance.choice((first, known + 1, known + 1, max(1, known)))
        place = {"run": log[0], "task": log[1], "round": entry["round"], "kind": "log"}
        sent = [Payload(("pieces", n), piece, "coordinator", place) for n, piece in enumerate(pieces[first - 1 :][:32])]
        body = {"seq": first, "round": entry["round"], "pieces": [""] * len(sent)}
        path = f"/v1/runs/{log[0]}/tasks/{log[1]}/logs/{self.id}"
        self.send("log", "POST", path, body, project=entry["project_id"], payloads=sent, log=log)

    def _on_task_ended(self, entry: dict[str, Any]) -> None:
        """Last words, which may come after the end of the run."""
        log = (entry["run_id"], entry["task_seq"])
        if self.disk.logged.get(log, 0) < len(self.disk.logs.get(log, [])):
            self._log(entry)

    def _on_aggregate(self, entry: dict[str, Any]) -> None:
        if self.world.chance.random() < 0.2:
            self._delete_artifact()
        path = f"/v1/runs/{entry['run_id']}/tasks/{entry['task_seq']}/rounds/{entry['round']}/aggregated"
        roll = 1.0 if self.world.calm else self.world.chance.random()
        if roll < 0.05:
            self.send("aggregated", "POST", path, {"failure": "bad shapes"}, seat=(entry["run_id"], 0))
        elif roll > 0.1:
            model = f"model of round {entry['round']} of {entry['run_id']}"
            payload = Payload(("model",), model.encode(), "members", self._place(entry, "model"))
            payload.large = self.world.chance.random() < 0.4
            carried: dict[str, Any] = {"project": entry["project_id"], "payloads": [payload]}
            self.send("aggregated", "POST", path, self._left_out(entry), seat=(entry["run_id"], 0), **carried)

    def _left_out(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Now and then an update does not open; now and then that of a site that sent none."""
        if self.world.calm or self.world.chance.random() < 0.8:
            return {}
        sites = [one["site_id"] for one in entry["facts"]["submissions"]]
        if self.world.chance.random() < 0.1:
            sites.append(self.id)
        return {"left_out": [{"site_id": self.world.chance.choice(sites), "reason": "seal_damaged"}]}

    def _on_round_completed(self, _: dict[str, Any]) -> None:
        """It tidies up too early: the newest model is still needed, unless that was the last round."""
        if self.world.chance.random() < 0.2:
            self._delete_artifact()

    def _on_seat_dropped(self, entry: dict[str, Any]) -> None:
        if not entry["facts"]["may_rejoin"] or self.world.chance.random() < 0.2:
            return
        answer = self.ask("GET", f"/v1/runs/{entry['run_id']}")
        if answer.status == 404:  # it has left the project
            return
        self._expect(answer, 200)
        seats = [one for one in answer.body["tasks"][entry["task_seq"] - 1]["seats"] if one["site_id"] == self.id]
        if seats and seats[0]["state"] == "dropped":
            self.disk.reports[entry["run_id"], entry["task_seq"]] = seats[0]["report_seq"]
            self._report(entry, "rejoin")

    # what it begins by itself

    def _enrol(self) -> None:
        if not self.disk.outgoing:
            body = {"name": self.name, "identity_key": KEY, "token_sha256": sha256_hex(self.token.encode())}
            self.send("enrol", "POST", "/v1/sites", body)

    def _put_key(self, grace_s: float) -> None:
        """Its next key, signed by its identity."""
        if not any(out.what == "key" for out in self.disk.outgoing):
            epoch = self.disk.epoch + 1
            self.send("key", "PUT", f"/v1/sites/{self.id}/keys/{epoch}", signed_key(self.id, epoch, grace_s))

    def _change_keys(self) -> None:
        """A new key, or an older one revoked, perhaps the newest."""
        chance = self.world.chance
        if chance.random() < 0.5:
            self._put_key(float(chance.choice((1, 5, 30, 604_800))))
        else:
            epoch = max(1, self.disk.epoch - chance.choice((0, 1, 1)))
            self.send("revoke", "DELETE", f"/v1/sites/{self.id}/keys/{epoch}", {"reason": "it was seen elsewhere"})
            self._put_key(5.0)

    def _begin_something(self) -> None:
        chance = self.world.chance
        roll = chance.random()
        if roll < 0.08:
            self._change_keys()
        elif roll < 0.14:
            self._delete_artifact()
        elif self.boss and self.disk.project is None:
            if not any(out.what == "project" for out in self.disk.outgoing):
                body = {
                    "name": f"project of {self.name}",
                    "joining": "open",
                    "sealed": chance.choice(("optional", "required")),
                    "tasks": self.world.tasks(self.name),
                }
                self.send("project", "POST", "/v1/projects", {**body, "max_live_runs": chance.choice((1, 1, 2, 3))})
        elif self.boss and chance.random() < 0.7:
            self._rule()
        elif chance.random() < 0.25:
            self._report_late()
        elif self.world.projects:
            project = chance.choice(sorted(self.world.projects))
            if self.world.projects[project] != self.id and chance.random() < 0.6:
                self._belong(project)
            else:
                self._write(project)

    def _delete_artifact(self) -> None:
        """One that it knows of, also if it is needed or another's."""
        stored = sorted(
            (one for one in self.world.checker.every(r.Artifact) if one.state == "stored"),
            key=lambda one: (one.stored_at, one.id),
        )
        mine = [one for one in stored if self.id in (one.owner_site_id, self.world.projects[one.project_id])]
        choice = mine[-2:] if self.world.chance.random() < 0.8 else stored
        if choice:
            self.send("delete", "DELETE", f"/v1/artifacts/{self.world.chance.choice(choice).id}", None)

    def _report_late(self) -> None:
        """As a site does that lost track: a report that its seat no longer waits for, or not yet."""
        live = sorted(seat for seat in self.disk.reports if seat[0] not in self.disk.ended)
        if live:
            run_id, task_seq = self.world.chance.choice(live)
            event = self.world.chance.choice(("accept", "ready", "trained", "submit", "rejoin"))
            entry = {"run_id": run_id, "task_seq": task_seq, "round": self.world.chance.randint(1, 3)}
            if self.world.chance.random() < 0.5:
                self._report(entry, event)
            else:
                project = next(one["project_id"] for one in self.disk.ledger if one["run_id"] == run_id)
                self._log({**entry, "project_id": project})

    def _rule(self) -> None:
        """The coordinator starts, stops and restarts runs; two people at once if it comes to that."""
        chance = self.world.chance
        mine = [run for run, coordinator in self.world.known_runs if coordinator == self.id]
        finish: dict[str, Any] = {"finish_within_s": float(chance.choice((5, 15, 30, 60)))}
        roll = chance.random()
        if roll < 0.5 or not mine:
            body = {"queue": chance.random() < 0.7, **finish}
            self.send("start", "POST", f"/v1/projects/{self.disk.project}/runs", body)
        elif roll < 0.65:
            self.send("stop", "POST", f"/v1/runs/{mine[-1]}/stop", {"reason": "enough"})
        elif roll < 0.8:
            for _ in range(chance.randint(1, 2)):
                body = {"start_from": chance.choice(("reached", "start")), **finish}
                if chance.random() < 0.4:  # perhaps of another task, or not there yet
                    body["model_version"] = chance.randint(1, 4)
                self.send("restart", "POST", f"/v1/runs/{chance.choice(mine[-2:])}/restart", body)
        else:
            self._write(self.disk.project or "")

    def _belong(self, project: str) -> None:
        """Join; now and then leave."""
        member = f"/v1/projects/{project}/members/{self.id}"
        if self.world.chance.random() < 0.85:
            self.send("join", "PUT", member, {})
        else:
            self.send("leave", "DELETE", member, None)

    def _write(self, project: str) -> None:
        self.disk.wrote += 1
        chance = self.world.chance
        coordinates = self.world.projects.get(project) == self.id
        pages = [f"{self.name} writes letter {self.disk.wrote}, page {n}" for n in range(chance.randint(1, 2))]
        to = "participants" if coordinates else "coordinator"
        messages = [{"project_id": project, "to": to, "ttl_s": float(chance.choice((3, 20, 600)))} for _ in pages]
        payloads = [Payload(("messages", n, "body"), page.encode(), to) for n, page in enumerate(pages)]
        self.send("message", "POST", "/v1/messages", {"messages": messages}, project=project, payloads=payloads)

    def _look_around(self) -> None:
        """See what it may see, and try to see what it may not."""
        if self.world.known_runs and self.world.chance.random() < 0.7:
            run, coordinator = self.world.chance.choice(self.world.known_runs)
            self._look_at_run(run, coordinator)
        elif self.world.chance.random() < 0.5:
            self._look_at_artifact()
        elif letters := sorted(self.world.checker.messages_of):
            letter = self.world.chance.choice(letters)
            answer = self.ask("GET", f"/v1/messages/{letter}")
            if answer.status == 200 and self.id not in self.world.checker.concerned(letter):
                raise Broken(f"{self.name} could read message {letter}, which does not concern it")

    def _look_at_artifact(self) -> None:
        """An update is for its owner and the coordinator; bytes that one gets are those that were declared."""
        artifacts = sorted(self.world.checker.every(r.Artifact), key=lambda one: one.id)
        if not artifacts:
            return
        artifact = self.world.chance.choice(artifacts)
        what = self.world.chance.choice(("", "/about"))
        answer = self.ask("GET", f"/v1/artifacts/{artifact.id}{what}")
        meant_for = (artifact.owner_site_id, self.world.projects.get(artifact.project_id))
        if answer.status != 404 and artifact.kind == "update" and self.id not in meant_for:
            raise Broken(f"{self.name} could see artifact {artifact.id} of site {artifact.owner_site_id}")
        if answer.status == 404 and self.id == artifact.owner_site_id:
            raise Broken(f"{self.name} could not see its artifact {artifact.id}")
        if answer.status == 200 and not what:
            digest = tree_digest(bytes.fromhex(sha256_hex(answer.body)))
            if digest != artifact.digest:
                raise Broken(f"{self.name} got other bytes of artifact {artifact.id} than were declared")

    def _look_at_run(self, run: str, coordinator: str) -> None:
        answer = self.ask("GET", f"/v1/runs/{run}")
        if answer.status == 404:
            return
        self._expect(answer, 200)
        if answer.body["version"] < self.disk.versions.get(run, 0):
            raise Broken(f"{self.name} saw run {run} go back to version {answer.body['version']}")
        self.disk.versions[run] = answer.body["version"]
        self._read_log(run, everything=self.id == coordinator)
        if self.id == coordinator:
            return
        seen = {seat["site_id"] for task in answer.body["tasks"] for seat in task["seats"]}
        seen |= {
            one["site_id"] for task in answer.body["tasks"] for here in task["rounds"] for one in here["submissions"]
        }
        events = self.ask("GET", f"/v1/runs/{run}/events?limit=200")
        if events.status == 200:
            seen |= {one["site_id"] for one in events.body["items"]}
        if seen - {self.id, None}:
            raise Broken(f"{self.name} saw what concerns {seen - {self.id, None}} in run {run}")

    def _read_log(self, run: str, *, everything: bool) -> None:
        """Go on behind the last piece seen; the coordinator misses none, and a participant sees its own alone."""
        seen = self.disk.read_up_to.get(run, 0)
        answer = self.ask("GET", f"/v1/runs/{run}/logs?after={seen}&limit={self.world.chance.choice((1, 50))}")
        if answer.status == 404:
            return
        self._expect(answer, 200)
        for piece in answer.body["items"]:
            if everything and piece["at"] != seen + 1:
                raise Broken(f"{self.name} read piece {piece['at']} of the log of run {run} after piece {seen}")
            if not everything and piece["site_id"] != self.id:
                raise Broken(f"{self.name} could read the log of site {piece['site_id']} in run {run}")
            self._only_my_wrap(base64.b64decode(piece["body"]))
            seen = piece["at"]
        self.disk.read_up_to[run] = seen

    # at the end

    def undone(self) -> str | None:
        """What it is still about to do."""
        if self.disk.outgoing:
            return f"{self.name} waits for the outcome of {[out.path for out in self.disk.outgoing]}"
        if self.disk.handled < len(self.disk.ledger):
            return f"{self.name} has entries to handle"
        box = [one for one in self.world.checker.mailboxes() if one.site_id == self.id]
        kept, acknowledged = len(self.disk.ledger), box[0].acknowledged_seq if box else 0
        if box and (kept < box[0].last_seq or acknowledged < box[0].last_seq):
            return f"{self.name} kept {kept} and acknowledged {acknowledged} of {box[0].last_seq} entries"
        return None

    def compare(self) -> None:
        """Its ledger is its inbox, entry for entry."""
        for kept, there in zip(self.disk.ledger, self.world.checker.inbox_of(self.id), strict=True):
            message = kept["message"] and kept["message"]["id"]
            facts = (there.seq, there.run_id, there.task_seq, there.round, there.message_id)
            if (kept["seq"], kept["run_id"], kept["task_seq"], kept["round"], message) != facts:
                raise Broken(f"{self.name}: entry {there.seq} is not what it kept")
        for (run_id, task_seq), written in self.disk.logs.items():
            there_are = [_plain(body) for body in self.world.checker.log_of(run_id, task_seq, self.id)]
            known = self.disk.logged.get((run_id, task_seq), 0)
            if there_are != written[: len(there_are)] or len(there_are) < known:
                raise Broken(f"{self.name}: its log of task {task_seq} of run {run_id} is not what it wrote")


def _slug(said: dict[str, Any]) -> str:
    """Which refusal it is."""
    return str(said["problem"]["type"]).rpartition("/")[2]


def _plain(body: bytes) -> bytes:
    """What was sealed: no more than tags of zeros were put behind it."""
    if not is_sealed(body):
        return body
    seal = read_seal(body)
    return body[seal.body_at : seal.body_at + seal.header.plain_bytes]
