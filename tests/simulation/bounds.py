"""What one subject may have at most, after every commit: whoever sends more than his share has no more than that."""

from __future__ import annotations

from collections import Counter, defaultdict

import msgspec

from domain import records as r
from domain.states import ArtifactState, DeliveryState
from domain.values import TokenKind
from tests.simulation.copy import Copy
from tests.simulation.processes import RULES
from tests.simulation.world import Broken

COALESCED = 2
"""Notices of one site's joining and leaving that may lie unread at its coordinator, since that invited it last."""
_OF_A_RUN = ("update", "model")
"""Messages that the hub posts itself."""


class Bounds(Copy):
    """The rows themselves are counted, not what the hub keeps of them."""

    def _bounded(self) -> None:
        """Where something has changed."""
        for project_id in sorted(self._artifacts):
            self._shares(project_id)
        if self._fresh[r.Token]:
            self._tokens()
        if self._fresh[r.InboxEntry] and not self._world.restores.done:  # a recovery brings back what was read
            self._unread({entry.site_id for entry in self._fresh[r.InboxEntry]})

    def _shares(self, project_id: str) -> None:
        """Of a project's room: what a participant has in all, and what lies declared and not stored."""
        project, of = self.have(r.Project, project_id), defaultdict[str, list[r.Artifact]](list)
        for one in self.every(r.Artifact):
            if one.project_id == project_id and one.state != ArtifactState.EXPIRED:
                of[one.owner_site_id].append(one)
        for site_id, living in of.items():
            sizes = [one.size_bytes for one in living]
            unfinished = [one.size_bytes for one in living if one.state == ArtifactState.DECLARED]
            share = self.have(r.ArtifactShare, project_id, site_id)
            said = share and (share.live_bytes, share.declared_bytes, share.declared_count)
            if said != (sum(sizes), sum(unfinished), len(unfinished)):
                raise Broken(f"site {site_id} is said to have {said} of project {project_id}, it has {living}")
            large = len(unfinished) > 1 and sum(unfinished) > RULES.unfinished_bytes
            if len(unfinished) > RULES.unfinished_artifacts or large:
                raise Broken(f"site {site_id} has {unfinished} declared and not stored in project {project_id}")
            if project and site_id != project.coordinator_site_id and sum(sizes) > RULES.site_quota_bytes:
                raise Broken(f"site {site_id} has {sum(sizes)} bytes of the room of project {project_id}")

    def _tokens(self) -> None:
        """All of a simulation lies within one day."""
        tokens = [one for one in self.every(r.Token) if one.kind == TokenKind.TOKEN]
        issued = Counter(one.owner_id for one in tokens)
        in_force = Counter(one.owner_id for one in tokens if one.revoked_at is None)
        for owner_id in issued:
            if in_force[owner_id] > RULES.tokens_per_owner or issued[owner_id] > RULES.tokens_per_day:
                raise Broken(f"{owner_id} has {in_force[owner_id]} tokens in force, of {issued[owner_id]} ever issued")

    def _unread(self, site_ids: set[str]) -> None:
        """Of one sender's messages, and of notices of one site's joining and leaving, in one inbox."""
        messages, notices = Counter[tuple[str, str]](), Counter[tuple[str, str, str]]()
        for entry in self.every(r.InboxEntry):
            if entry.site_id not in site_ids or entry.state != DeliveryState.QUEUED:
                continue
            message = self.have(r.Message, entry.message_id)
            if str(entry.kind) == "message" and message is not None:
                if message.kind not in _OF_A_RUN and message.expires_at > self._world.micros:
                    messages[entry.site_id, message.sender_site_id] += 1
            elif str(entry.kind).startswith("member_"):
                facts = msgspec.json.decode(entry.facts_json)
                about = entry.site_id, entry.project_id or "", facts["site_id"]
                if facts["by"]["id"] == facts["site_id"] != entry.site_id:
                    notices[about] += 1
                elif str(entry.kind) == "member_invited" and facts["by"]["id"] == entry.site_id:
                    notices[about] = 0
        for (site_id, sender_id), count in messages.items():
            if count > RULES.backlog_messages:
                raise Broken(f"{count} messages of site {sender_id} lie unread in the inbox of site {site_id}")
        for (site_id, project_id, about), count in notices.items():
            if count > COALESCED:
                raise Broken(
                    f"{count} notices of what site {about} did about project {project_id} lie unread in the inbox of "
                    f"site {site_id}"
                )
