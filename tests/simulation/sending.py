"""What a site sends: on its disk first, repeated under the same key until the hub has said what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from domain import records as r
from domain.decisions.progress.stage import spec_of
from fedyard.wire.times import SECOND
from tests.simulation.payloads import SEAL_ANEW, Payload, Upload, seal, upload_of
from tests.simulation.processes import Answer, Lost, Request
from tests.simulation.world import Broken, Process, World

OPERATOR = "token of the operator"
"""Of the network's admin, who does things in sites' names."""
ASK_FOR_S = 4.0
"""How long a site asks what became of a command before it sends it again."""
_AT_ONCE = (400, 404, 405, 413, 415, 422, 500)
MAX_SEALS = 6
"""Of one call; then the site lets it be."""


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
    answered_at: int = 0


@dataclass
class Disk:
    """What a site has written, so that it is there after its death.

    at, mark: where it reads its inbox on, and the mark of that place. highest: the largest number that it ever held.
    left_behind: numbers that recoveries passed over.
    history: the hub's, as it knows it. sent: what was answered, for the case that the hub forgets it. delivered: ids of
    its messages that the hub has, for all that it was told.
    """

    at: int = 0
    mark: str = ""
    highest: int = 0
    left_behind: list[tuple[int, int]] = field(default_factory=list)
    history: str = ""
    sent: list[Out] = field(default_factory=list)
    delivered: set[str] = field(default_factory=set)
    revoked: set[int] = field(default_factory=set)
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


class Sending(Process):
    """A site that sends.

    enrolment: the token to enrol with, for one that is not known yet. boss: it coordinates a project.
    """

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
        if world.restores.on:  # who says no mark is told of the end only
            self.says_after = 1.0
        self.acknowledged = 0
        self.known_keys: dict[str, dict[str, int]] = {}

    def start(self) -> None:
        """A new life: nothing is remembered but the disk."""
        self.acknowledged = 0
        self.known_keys = {}

    def ask(self, method: str, path: str, body: Any = None, key: str | None = None, token: str = "") -> Answer:
        """One request. Raises `Lost` without an answer, also where the hub says that it cannot right now."""
        self.world.place(self, "before a request")
        answer = self.world.web.ask(self.request(method, path, body, key, token))
        self.world.place(self, "after a request")
        if answer.status in (429, 503):
            raise Lost
        return answer

    def request(self, method: str, path: str, body: Any = None, key: str | None = None, token: str = "") -> Request:
        """Under its own token, if no other is named."""
        return Request(method, path, token or self.token, body, key)

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
        token = {"enrol": self.enrolment, "meddle": OPERATOR}.get(out.what, "")
        if out.command is not None:
            answer = self.ask("GET", f"/v1/commands/{out.command}", token=token)
            if out.what == "enrol" and answer.status == 401:
                self._enrolled(out)
                return
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
        if out.what == "enrol" and answer.status == 401:
            self._enrolled(out)
            return
        if answer.status == 404 and self.world.restores.done:
            self._forgotten(out)
            return
        if answer.status in _AT_ONCE:
            raise Broken(f"{self.name}: {out.method} {out.path} was answered {answer.status}: {answer.body}")
        self._expect(answer, 202)
        out.command, out.asking_since = answer.body["command"]["id"], self.world.micros

    def _forgotten(self, out: Out) -> None:
        """A restored hub does not know what this is about: it is let be."""
        out.outcome = {"state": "rejected", "status": 404, "problem": {"type": "/problems/not_found"}}
        if out in self.disk.outgoing:
            self.disk.outgoing.remove(out)

    def _enrolled(self, out: Out) -> None:
        """The enrolment is used up: by this site, whose own token says who it is."""
        answer = self.ask("GET", "/v1/me")
        self._expect(answer, 200)
        self.id = answer.body["id"]
        self.disk.outgoing.remove(out)

    def _upload(self, out: Out, upload: Upload) -> None:
        """The next step: declare, put the chunk, complete. The second is no command."""
        if out.step is None:
            if not upload.id:
                out.step = Out("declare", "POST", "/v1/artifacts", upload.declared, self.draw_key())
            elif upload.put:
                out.step = Out("complete", "POST", f"/v1/artifacts/{upload.id}/complete", None, self.draw_key())
        if out.step is None:
            answer = self.ask("PUT", f"/v1/artifacts/{upload.id}/chunks/0", upload.content)
            forgotten = answer.status == 404 and self.world.restores.done
            if answer.status == 409 or forgotten:  # expired, or stored by a request that came late
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
        elif _slug(said) in SEAL_ANEW and out.seals < MAX_SEALS:
            self._seal_anew(out)
        elif _slug(said) == "artifact_expired":
            upload.again()
        elif _slug(said) == "chunks_missing":
            if not self.world.restores.done:
                raise Broken(f"{self.name}: artifact {upload.id} lost its chunk")
            upload.again()
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
        out.answered_at = self.world.micros
        if out.filled and not accepted and _slug(said) in SEAL_ANEW and out.seals < MAX_SEALS:
            self._seal_anew(out)
            return
        self._heard(out, said, accepted=accepted)
        self.disk.outgoing.remove(out)
        if out.what == "recover":
            if not accepted:
                raise Broken(f"{self.name} could not recover: {said}")
            self.recovered(said["result"])
        elif out.what != "enrol" and self.world.restores.on and out not in self.disk.sent:
            self.disk.sent.append(out)

    def _heard(self, out: Out, said: dict[str, Any], *, accepted: bool) -> None:
        """What the site keeps of an answer."""
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
        elif out.what == "revoke" and accepted:
            self.disk.revoked.add(said["result"]["epoch"])
        elif out.what == "message" and accepted:
            self.disk.delivered.update(said["result"]["ids"])
        elif out.what in ("start", "restart") and accepted:
            self.world.known_runs.append((said["result"]["id"], self.id))
            self._has_its_own(said["result"]["id"], out)

    def _has_its_own(self, run_id: str, out: Out) -> None:
        """A run has what it was given, and so has the next attempt at it."""
        given = out.body if out.what == "start" else self.world.own.get(out.path.split("/")[3], {})
        if "parameters" not in given or self.world.restores.done:
            return
        self.world.own[run_id] = given
        for task in self.world.checker.every(r.TaskRun):
            if (task.run_id, task.name) == (run_id, "train"):
                spec = spec_of(task)
                found: dict[str, Any] = {"parameters": {"train": spec.parameters}, "rounds": {"train": spec.rounds}}
                if spec.initial:
                    found["initial"] = ["train"]
                if found != {name: given[name] for name in ("parameters", "rounds", "initial") if name in given}:
                    raise Broken(f"{self.name}: run {run_id} has {found}, and was given {given}")

    def recovered(self, said: dict[str, Any]) -> None:
        """The hub has answered where to read on."""
        raise NotImplementedError

    def _key_answered(self, out: Out, said: dict[str, Any], accepted: bool) -> None:
        if not accepted:
            if not self.world.restores.done:
                raise Broken(f"{self.name} could not put its key: {said}")
            return
        self.disk.epoch = max(self.disk.epoch, said["result"]["epoch"])

    def _logged(self, out: Out, seq: int) -> None:
        last = out.body["seq"] + len(out.body["pieces"]) - 1
        if seq < last:
            raise Broken(f"{self.name}: piece {last} of {out.path} was accepted, but {seq} is the last one there")
        assert out.log is not None
        self.disk.logged[out.log] = max(self.disk.logged.get(out.log, 0), seq)

    def _expect(self, answer: Answer, status: int) -> None:
        if answer.status != status:
            raise Broken(f"{self.name} was answered {answer.status}: {answer.body}")


def _slug(said: dict[str, Any]) -> str:
    """Which refusal it is."""
    return str(said["problem"]["type"]).rpartition("/")[2]
