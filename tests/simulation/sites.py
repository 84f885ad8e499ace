"""Sites reduced to their protocol: they follow their inbox over HTTP, report, aggregate, acknowledge, write letters.

A site's disk survives its death; what it was about to do does not. Whatever it sends is on its disk first and is
repeated under the same key until the hub has said what became of it. Its ledger is every inbox entry that it ever kept.
"""

from __future__ import annotations

import base64
import random
from typing import Any

from domain import records as r
from domain.ids import sha256_hex
from fedyard.wire.seals import is_sealed
from fedyard.wire.times import SECOND
from tests.seals import enrolling
from tests.simulation.payloads import IDENTITY, Payload, signed_key
from tests.simulation.processes import Lost
from tests.simulation.recovering import Recovering
from tests.simulation.sending import Out
from tests.simulation.world import Broken

MEMORY_FADES_S = 6.0
"""Five seconds, and the web's turn in which it hears of something."""
_AFTER_ITS_RUN = ("message_expired", "workload_wanted")
_SEAT_OVER = ("round_completed", "seat_dropped", "task_ended", "run_ended")


class Site(Recovering):
    """A site at work."""

    def step(self) -> float:
        if self.world.befalls("site dies"):
            self.world.kill(self)
            return 1.0
        try:
            self._act()
        except Lost:
            return self.world.chance.uniform(0.2, 1.0)
        busy = bool(self.disk.outgoing) or self.disk.handled < len(self.disk.ledger)
        pause = (0.05, 0.2) if self.world.gentle else (0.15, 0.6)
        return self.world.chance.expovariate(1 / pause[0 if busy else 1])

    def _act(self) -> None:
        chance, disk = self.world.chance, self.disk
        recovering = next((out for out in disk.outgoing if out.what == "recover"), None)
        if recovering is not None:
            self.push(recovering)
            return
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

    # its inbox

    def _poll(self) -> None:
        """Ask behind what it has kept, or behind what it has acknowledged; keep, then acknowledge."""
        disk = self.disk
        mark = f"&mark={disk.mark}" if disk.mark else ""
        after = f"&after={disk.at}{mark}" if self.world.chance.random() < self.says_after else ""
        limit = self.world.chance.choice((1, 3, 50))
        answer = self.ask("GET", f"/v1/inbox?limit={limit}{after}")
        if answer.status == 409 or (answer.status == 200 and disk.history not in ("", answer.body["history_id"])):
            self.went_back()
            return
        self._expect(answer, 200)
        disk.history = answer.body["history_id"]
        if after and not answer.body["items"]:
            self._nothing_new()
        self.take(answer.body["items"])
        if self.acknowledged < disk.at:
            self.acknowledge(disk.at)

    def _nothing_new(self) -> None:
        """The hub may answer so from memory, but only for a few seconds after the announcement that it did not hear."""
        seen_at = self.world.checker.seen_at.get((self.id, self.disk.at + 1))
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
        mark = {"mark": self.disk.mark} if through == self.disk.at and self.disk.mark else {}
        answer = self.ask("PUT", "/v1/inbox/acknowledged", {"through": through, **mark})
        self._expect(answer, 202)
        self.acknowledged = through

    def _keep(self, entry: dict[str, Any]) -> None:
        ledger, seq = self.disk.ledger, entry["seq"]
        if seq <= self.disk.at:
            self._is_as_ever(entry)
            return
        if seq != self.disk.at + 1:
            raise Broken(f"{self.name}: entry {seq} of its inbox came after entry {self.disk.at}: some were lost")
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
        if entry["run_id"] in self.disk.ended and entry["kind"] not in _AFTER_ITS_RUN:
            raise Broken(f"{self.name}: {entry['kind']} of run {entry['run_id']} came after its end")
        if entry["kind"] == "run_ended":
            self.disk.ended.add(entry["run_id"])
        if entry["kind"] == "aggregate":
            came = {one["message"]["id"] for one in ledger if one["kind"] == "message"}
            missing = {one["message_id"] for one in entry["facts"]["submissions"]} - came - {None}
            if missing:
                raise Broken(f"{self.name} is to aggregate updates that it never got: {missing}")
        if entry["kind"] == "key_changed" and entry["facts"]["site_id"] == self.id:
            self.disk.revoked.add(entry["facts"]["epoch"])
        ledger.append(entry)
        self.disk.at, self.disk.mark, self.disk.highest = seq, entry["mark"], max(seq, self.disk.highest)
        self.world.tell(f"{self.name}: {seq} {entry['kind']} {entry['round'] or ''}")

    def _is_as_ever(self, entry: dict[str, Any]) -> None:
        seq = entry["seq"]
        before = next(one for one in self.disk.ledger if one["seq"] == seq)
        if entry["kind"] not in (before["kind"], "expired") or entry["run_id"] != before["run_id"]:
            raise Broken(f"{self.name}: entry {seq} of its inbox was {before['kind']}, now it is {entry['kind']}")

    def _may_be_mine(self, entry: dict[str, Any]) -> None:
        coordinator = self.world.projects[entry["project_id"]]
        if self.id != coordinator and entry["message"]["sender_site_id"] != coordinator:
            raise Broken(f"{self.name} got a message of another participant")

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
        if self.world.codes and event in ("ready", "submit"):
            other = random.Random(f"code of {self.name} in {self.world.seed}").random() < 0.3
            body["code"] = ("cd" if other else "ab") * 32
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
        if entry["facts"]["task"]["initial"] and entry["message"] is None:
            raise Broken(f"{self.name} is to begin with a first model, and round {entry['round']} came without one")
        accept = self._report(entry, "accept") if chance.random() < 0.5 else None
        if self.world.whim(0.05):
            self._report(entry, "fail", accept, reason="no data")
        elif not self.world.whim(0.05):
            if self.world.codes and chance.random() < 0.3:
                accept = self._report(entry, "wait", accept, waits_for=chance.choice(("approval", "hours")))
            self._report(entry, "ready", accept)

    def _on_round_started(self, entry: dict[str, Any]) -> None:
        chance = self.world.chance
        if self.world.whim(0.05):
            self._report(entry, "fail", reason="out of memory")
        elif not self.world.whim(0.05):
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
        if self.world.whim(0.05):
            self.send("aggregated", "POST", path, {"failure": "bad shapes"}, seat=(entry["run_id"], 0))
        elif not self.world.whim(0.05):
            model = f"model of round {entry['round']} of {entry['run_id']}"
            payload = Payload(("model",), model.encode(), "members", self._place(entry, "model"))
            payload.large = self.world.chance.random() < 0.4
            carried: dict[str, Any] = {"project": entry["project_id"], "payloads": [payload]}
            body = self._left_out(entry)
            if self.world.scores:
                body["metrics"] = {"auc": self.world.chance.choice((0.5, 0.6, 0.7))}
            self.send("aggregated", "POST", path, body, seat=(entry["run_id"], 0), **carried)

    def _left_out(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Now and then an update does not open; now and then that of a site that sent none."""
        if self.world.calm or self.world.chance.random() < 0.8:
            return {}
        sites = [one["site_id"] for one in entry["facts"]["submissions"]]
        if self.world.chance.random() < 0.1:
            sites.append(self.id)
        if not sites:  # of a first model
            return {}
        return {"left_out": [{"site_id": self.world.chance.choice(sites), "reason": "seal_damaged"}]}

    def _on_score(self, entry: dict[str, Any]) -> None:
        """A seat that rests hears of its run by this first."""
        chance = self.world.chance
        self.disk.reports[entry["run_id"], entry["task_seq"]] = entry["facts"]["report_seq"]
        if self.world.whim(0.1):
            self._report(entry, "scored", reason="no test data")
        elif not self.world.whim(0.1):
            said = {"auc": chance.choice((0.5, 0.6, 0.7)), "samples": float(chance.randint(1, 9))}
            self._report(entry, "scored", metrics=said if chance.random() < 0.8 else {"auc": said["auc"]})

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
            body = enrolling(self.enrolment, self.name, IDENTITY, token_sha256=sha256_hex(self.token.encode()))
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
        elif roll < (0.35 if self.world.restores.on else 0.17):
            self._meddle()
        elif self.boss and self.disk.project is None:
            if not any(out.what == "project" for out in self.disk.outgoing):
                body: dict[str, Any] = {
                    "name": f"project of {self.name}",
                    "joining": "open",
                    "sealed": chance.choice(("optional", "required")),
                    "tasks": self.world.tasks(self.name),
                }
                self.world.shape(self.id, body)
                self.world.measure(self.name, body["tasks"])
                self.send(
                    "project",
                    "POST",
                    "/v1/projects",
                    {**body, "max_live_runs": 8 if self.world.double_clicks else chance.choice((1, 1, 2, 3))},
                )
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

    def _meddle(self) -> None:
        """The network's operator does something in the name of some site.

        What is revoked after a copy was kept is what the ledger is for: of that there shall be much.
        """
        chance = self.world.chance
        site = chance.choice(sorted(one.id for one in self.world.checker.every(r.Site)))
        spare = sorted(one.id for one in self.world.checker.every(r.Token) if one.label == "spare")
        roll = chance.random()
        if roll < (0.1 if self.world.restores.ahead else 0.4) or not spare:
            secret = sha256_hex(self.draw_key().encode())
            body = {"owner_kind": "site", "owner_id": site, "sha256": secret, "label": "spare", "scopes": ["read"]}
            self.send("meddle", "POST", "/v1/tokens", body)
        elif roll < (0.8 if self.world.restores.ahead else 0.6):
            self.send("meddle", "DELETE", f"/v1/tokens/{chance.choice(spare)}", None)
        elif roll < 0.8:
            self.send("meddle", "PATCH", f"/v1/sites/{site}", {"description": f"as {self.name} says"})
        else:
            self.send("meddle", "DELETE", f"/v1/sites/{site}/keys/1", {"reason": "it was seen elsewhere"})

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
            events = ("accept", "ready", "trained", "submit", "rejoin", *(["scored"] if self.world.scores else []))
            event = self.world.chance.choice(events)
            entry = {"run_id": run_id, "task_seq": task_seq, "round": self.world.chance.randint(1, 3)}
            if self.world.chance.random() < 0.5:
                self._report(entry, event)
            else:
                for one in [one for one in self.disk.ledger if one["run_id"] == run_id][:1]:
                    self._log({**entry, "project_id": one["project_id"]})

    def _rule(self) -> None:
        """The coordinator starts, stops and restarts runs; two people at once if it comes to that."""
        chance = self.world.chance
        mine = [run for run, coordinator in self.world.known_runs if coordinator == self.id]
        spans = (60, 90) if self.world.gentle else (5, 15, 30, 60)
        finish: dict[str, Any] = {"finish_within_s": float(chance.choice(spans))}
        roll = chance.random()
        under_way = sum(run not in self.disk.ended for run in mine)
        if self.disk.project in self.world.closing:
            for run in [one for one in mine if one not in self.disk.ended][:1]:
                self.send("stop", "POST", f"/v1/runs/{run}/stop", {"reason": "the project ends"})
            return
        if under_way > (1 if self.world.gentle else 3) and chance.random() < 0.9:
            return
        if roll < 0.5 or not mine or (roll < 0.8 and not (self.world.double_clicks or self.world.whim(1.0))):
            body = {"queue": chance.random() < 0.7, **finish, **self._own()}
            self.send("start", "POST", f"/v1/projects/{self.disk.project}/runs", body)
        elif roll < 0.65:
            self.send("stop", "POST", f"/v1/runs/{mine[-1]}/stop", {"reason": "enough"})
        elif roll < 0.8:
            run_id = ""
            often = self.world.double_clicks
            for turn in range(4 if often else chance.randint(1, 2)):
                run_id = run_id if often and turn else chance.choice(mine[-2:])
                body = {"start_from": chance.choice(("reached", "start")), **finish}
                if chance.random() < 0.4:  # perhaps of another task, or not there yet
                    body["model_version"] = chance.randint(1, 4)
                self.send("restart", "POST", f"/v1/runs/{run_id}/restart", body)
        elif roll < 0.85:
            site = chance.choice(sorted(one.id for one in self.world.checker.every(r.Site)))
            member = f"/v1/projects/{self.disk.project}/members/{site}"
            self.send("member", chance.choice(("PUT", "DELETE")), member, None)
        else:
            self._write(self.disk.project or "")

    def _own(self) -> dict[str, Any]:
        """What the run shall have of its own, in worlds whose people try things."""
        if not self.world.experiments:
            return {}
        chance = self.world.chance
        own: dict[str, Any] = {
            "parameters": {"train": {"rate": chance.random()}},
            "rounds": {"train": chance.randint(1, 4)},
        }
        return own | ({"initial": ["train"]} if chance.random() < 0.5 else {})

    def _belong(self, project: str) -> None:
        """Join; now and then leave."""
        member = f"/v1/projects/{project}/members/{self.id}"
        if not self.world.whim(0.15):
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
