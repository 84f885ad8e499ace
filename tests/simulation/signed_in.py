"""What must hold of sessions after every commit: what opened them, and what ends them."""

from __future__ import annotations

from collections import Counter

import msgspec

from domain import commands as c
from domain import records as r
from domain.values import TokenKind
from tests.simulation.copy import Copy
from tests.simulation.processes import RULES
from tests.simulation.world import Broken


class SignedIn(Copy):
    """Rows are compared with rows, and with the events that say what was shown when a session was opened."""

    def _sessions(self) -> None:
        """Where something has changed."""
        if self._fresh[r.Token]:
            self._come_from_proofs()
            self._are_few()
        for outcome in self._fresh[r.Outcome]:
            sent = self._world.broker.sent.get(outcome.id)
            if sent is not None and isinstance(sent.command, c.EndSessions) and outcome.state == "accepted":
                self._signed_out(sent.command, outcome.decided_at)

    def _come_from_proofs(self) -> None:
        tokens = {one.id: one for one in self.every(r.Token)}
        opened = [event for event in self.every(r.Event) if str(event.kind) == "session_opened"]
        facts = [msgspec.json.decode(event.facts_json) for event in opened]
        for proof_id, count in Counter(said["proof_id"] for said in facts).items():
            if count > 1 and tokens[proof_id].kind == TokenKind.SIGN_IN:
                raise Broken(f"the one-time code {proof_id} has opened {count} sessions")
        proofs = {said["token_id"]: tokens[said["proof_id"]] for said in facts}
        for session in tokens.values():
            if session.kind != TokenKind.SESSION:
                continue
            proof = proofs.get(session.id)
            if proof is None or proof.owner_id != session.owner_id:
                raise Broken(f"session {session.id} of {session.owner_id} was opened with {proof}")
            source = tokens.get(proof.issued_by or "") if proof.kind == TokenKind.SIGN_IN else proof
            if source is None:
                continue
            if session.revoked_at is None and source.revoked_at is not None:
                raise Broken(f"session {session.id} goes on, and token {source.id}, which it comes from, is revoked")
            if source.expires_at is not None and (session.expires_at or source.expires_at + 1) > source.expires_at:
                raise Broken(f"session {session.id} outlives token {source.id}, which it comes from")
            if not set(session.scopes.split()) <= set(source.scopes.split()):
                raise Broken(f"session {session.id} may {session.scopes}, token {source.id} {source.scopes}")

    def _are_few(self) -> None:
        now = self._world.micros
        live = (
            one
            for one in self.every(r.Token)
            if one.kind == TokenKind.SESSION and one.revoked_at is None and (one.expires_at or 0) > now
        )
        for owner_id, count in Counter(one.owner_id for one in live).items():
            if count > RULES.sessions_per_account:
                raise Broken(f"account {owner_id} has {count} sessions")

    def _signed_out(self, command: c.EndSessions, at: int) -> None:
        """What was made in the same batch may have been so after it."""
        for one in self.every(r.Token):
            meant = command.session_id in (None, one.id) and one.owner_id == command.account_id
            if meant and one.kind != TokenKind.TOKEN and one.revoked_at is None and one.created_at < at:
                raise Broken(f"account {one.owner_id} was signed out, and {one.kind} {one.id} is in force")
