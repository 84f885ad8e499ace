"""What was taken is sealed where it has to be, to keys that may be used."""

from __future__ import annotations

from typing import Any

import msgspec

from domain import commands as c
from domain import records as r
from domain.states import KeyState, RoundState
from fedyard.wire.seals import Seal, is_sealed, read_seal
from tests.simulation.copy import Copy
from tests.simulation.world import Broken

_read_seal = read_seal
"""As it was before anybody planted a bug."""


class Seals(Copy):
    """See the module."""

    def _seals(self, outcome: r.Outcome, command: Any) -> None:
        """What was taken is sealed where it has to be, to keys that may be used."""
        answer = msgspec.json.decode(outcome.answer_json)
        if outcome.state != "accepted" or answer.get("duplicate"):
            return
        if isinstance(command, c.ReportAggregated) and answer["state"] == RoundState.FAILED:
            return  # its model, if any, was dropped unread
        for project_id, payload in self._payloads(command):
            if not is_sealed(payload):
                if self._sealed(project_id):
                    raise Broken(f"{outcome.kind} {outcome.id} was accepted without a seal in project {project_id}")
                continue
            seal: Seal = _read_seal(payload)
            for recipient in seal.header.recipients:
                name = f"key {recipient.epoch} of site {recipient.site}"
                if self.have(r.SiteKey, recipient.site, recipient.epoch) is None:
                    raise Broken(f"a seal to {name} was accepted, which does not exist")
                key = self._keys_before.get((recipient.site, recipient.epoch))
                if key is not None and key.state == KeyState.REVOKED:
                    raise Broken(f"a seal to {name} was accepted after that was revoked")
                if key is not None and key.grace_until is not None and key.grace_until <= outcome.decided_at:
                    raise Broken(f"a seal to {name} was accepted after its grace")

    def _sealed(self, project_id: str) -> bool:
        project = self.have(r.Project, project_id)
        return project is not None and project.sealed == "required"

    def _payloads(self, command: Any) -> list[tuple[str, bytes]]:
        """The project and the bytes of each payload that a command carries."""
        if isinstance(command, c.PostMessages):
            return [(one.project_id, one.body) for one in command.messages if one.body is not None]
        carried: list[bytes | None] = []
        if isinstance(command, c.ReportSeat):
            carried = [command.update]
        elif isinstance(command, c.ReportAggregated):
            carried = [command.model]
        elif isinstance(command, c.WriteLog):
            carried = list(command.pieces[-1:])  # those before it may have been there already
        if isinstance(command, c.DeclareArtifact):
            return [] if command.seal is None else [(command.project_id, command.seal)]
        found = [payload for payload in carried if payload is not None]
        run = self.have(r.Run, command.run_id) if found else None
        return [] if run is None else [(run.project_id, payload) for payload in found]
