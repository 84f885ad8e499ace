"""A site that recovers: the hub's history went back, so it says what it holds and sends again what may be lost."""

from __future__ import annotations

from typing import Any

from domain import records as r
from fedyard.wire.times import SECOND
from tests.simulation.looking import Looking
from tests.simulation.payloads import signed_key
from tests.simulation.sending import Out
from tests.simulation.world import Broken

_SENT_AGAIN_S = 10
"""Before the backup: what was answered then may have been on its way still."""


class Recovering(Looking):
    """See the module. It knows no more of a restore than what the hub answers."""

    def went_back(self) -> None:
        """Keep in mind, on its disk, what it held when it was told."""
        if not self.world.restores.done:
            raise Broken(f"{self.name} was told that the history went back, which it did not")
        if not any(out.what == "recover" for out in self.disk.outgoing):
            self.world.tell(f"{self.name}: the history went back")
            self.send("recover", "POST", f"/v1/sites/{self.id}/recovery", self._claim())

    def _claim(self) -> dict[str, Any]:
        disk = self.disk
        marks = [{"seq": one["seq"], "mark": one["mark"]} for one in reversed(disk.ledger)]
        if disk.mark and (not marks or marks[0]["seq"] != disk.at):
            marks.insert(0, {"seq": disk.at, "mark": disk.mark})
        seats = {seat: (seq, "ended" if seat[0] in disk.ended else "live") for seat, seq in disk.reports.items()}
        seats = {seat: held for seat, held in seats.items() if seat[1]}  # 0: what a coordinator reports of a round
        for one in disk.ledger[disk.handled :]:
            if one["kind"] == "invited":
                seats.setdefault((one["run_id"], one["task_seq"]), (one["facts"]["report_seq"], "live"))
        keys = []
        for epoch in range(1, disk.epoch + 1):
            key = {"epoch": epoch, **signed_key(self.id, epoch, 0), "revoked": epoch in disk.revoked}
            del key["grace_s"]
            keys.append(key)
        return {
            "history_id": disk.history or None,
            "last_seq": disk.at,
            "marks": marks[: self.world.chance.choice((3, 20, 1000))],
            "seats": [
                {"run_id": run_id, "task_seq": task_seq, "report_seq": seq, "state": state}
                for (run_id, task_seq), (seq, state) in list(seats.items())[-200:]
            ],
            "keys": keys,
        }

    def recovered(self, said: dict[str, Any]) -> None:
        """It goes on from the newest entry that both have; the others stay true, and are put aside."""
        disk, common = self.disk, said["common_seq"]
        if said["read_after"] != common and said["read_after"] <= disk.highest:
            raise Broken(f"{self.name}: the hub would give number {disk.highest} twice")
        disk.left_behind.append((common, said["read_after"]))
        disk.ledger = [one for one in disk.ledger if one["seq"] <= common]
        disk.handled = min(disk.handled, len(disk.ledger))
        disk.bodies = {one["message"]["body"] for one in disk.ledger if one["kind"] == "message"} - {None}
        disk.ended = {one["run_id"] for one in disk.ledger if one["kind"] == "run_ended"}
        disk.at, disk.mark, disk.history = said["read_after"], said["mark"] or "", said["history_id"]
        disk.highest = max(disk.highest, disk.at)
        self.acknowledged = 0
        for seat in said["seats"]:
            disk.reports.pop((seat["run_id"], seat["task_seq"]), None)
            if seat["run_state"] is not None:
                disk.reports[seat["run_id"], seat["task_seq"]] = seat["report_seq"]
        self._send_again()

    def _send_again(self) -> None:
        """Under the same keys, in their order."""
        disk, since = self.disk, self.world.restores.kept_at - _SENT_AGAIN_S * SECOND
        last: dict[tuple[str, int], Out] = {}
        for out in [one for one in disk.sent if one.answered_at >= since and one not in disk.outgoing]:
            if out.seat is not None and out.seq and out.seq <= disk.reports.get(out.seat, 0):
                continue
            out.command, out.outcome = None, None
            if out.seat is not None:
                out.after = last.get(out.seat)
                last[out.seat] = out
            disk.outgoing.append(out)

    def history_went_back(self) -> None:
        """What it has seen of runs and logs may be seen again as it was; what of it stays is for the hub to say."""
        self.disk.versions.clear()
        self.disk.read_up_to.clear()
        self.disk.logged.clear()
        self.disk.delivered.clear()

    def stays_revoked(self) -> None:
        """What it has revoked itself, or was told is revoked."""
        for epoch in sorted(self.disk.revoked):
            key = self.world.checker.have(r.SiteKey, self.id, epoch)
            if key is None or key.state != "revoked":
                raise Broken(f"{self.name}: its key {epoch} was revoked, and is {key and key.state}")

    def still_there(self) -> None:
        """Messages that the hub has accepted, and has not forgotten since without being told again."""
        for letter in sorted(self.disk.delivered):
            if self.world.checker.have(r.Message, letter) is None:
                raise Broken(f"{self.name}: message {letter} was accepted, and is gone")
