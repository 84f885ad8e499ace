"""What a site may see, and what it has kept: looked at on the way and at the end."""

from __future__ import annotations

import base64

from domain import records as r
from domain.ids import sha256_hex
from domain.states import DeliveryState
from fedyard.wire.chunks import tree_digest
from fedyard.wire.seals import is_sealed, read_seal
from tests.simulation.sending import Sending
from tests.simulation.world import Broken


class Looking(Sending):
    """A site that looks around, and tries to see what it may not."""

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

    def _only_my_wrap(self, body: bytes) -> None:
        if is_sealed(body):
            seal = read_seal(body)
            if any(seal.header.recipients[place].site != self.id for place in seal.wraps):
                raise Broken(f"{self.name} was sent another's wrap of seal {seal.header.id}")

    def undone(self) -> str | None:
        """What it is still about to do."""
        if self.disk.outgoing:
            return f"{self.name} waits for the outcome of {[out.path for out in self.disk.outgoing]}"
        if self.disk.handled < len(self.disk.ledger):
            return f"{self.name} has entries to handle"
        box = [one for one in self.world.checker.mailboxes() if one.site_id == self.id]
        kept, acknowledged = self.disk.at, box[0].acknowledged_seq if box else 0
        if box and (kept < box[0].last_seq or acknowledged < box[0].last_seq):
            return f"{self.name} kept {kept} and acknowledged {acknowledged} of {box[0].last_seq} entries"
        return None

    def compare(self) -> None:
        """Its ledger is its inbox, entry for entry."""
        inbox = [entry for entry in self.world.checker.inbox_of(self.id) if not self._passed_over(entry)]
        if len(inbox) != len(self.disk.ledger):
            raise Broken(f"{self.name} has kept {len(self.disk.ledger)} entries of {len(inbox)}")
        for kept, there in zip(self.disk.ledger, inbox, strict=True):
            message = kept["message"] and kept["message"]["id"]
            facts = (there.seq, there.mark, there.run_id, there.task_seq, there.round, there.message_id)
            if (kept["seq"], kept["mark"], kept["run_id"], kept["task_seq"], kept["round"], message) != facts:
                raise Broken(f"{self.name}: entry {there.seq} is not what it kept")
        for (run_id, task_seq), written in self.disk.logs.items():
            there_are = [_plain(body) for body in self.world.checker.log_of(run_id, task_seq, self.id)]
            known = self.disk.logged.get((run_id, task_seq), 0)
            if there_are != written[: len(there_are)] or len(there_are) < known:
                raise Broken(f"{self.name}: its log of task {task_seq} of run {run_id} is not what it wrote")

    def _passed_over(self, entry: r.InboxEntry) -> bool:
        """Of numbers that a recovery left behind: what came again, or had expired and need not come."""
        behind = any(common < entry.seq <= read_after for common, read_after in self.disk.left_behind)
        return behind and entry.state in (DeliveryState.MOVED, DeliveryState.EXPIRED)


def _plain(body: bytes) -> bytes:
    """What was sealed: no more than tags of zeros were put behind it."""
    if not is_sealed(body):
        return body
    seal = read_seal(body)
    return body[seal.body_at : seal.body_at + seal.header.plain_bytes]
