"""Attempts and what hangs on them: the sites and seats of those that take part in a run, and the places of projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain import records as r
from domain.states import SEAT_LIVE, WORKLOAD_LIVE, SeatState, SiteState, TaskRunState
from fedyard.wire.times import SECOND
from tests.simulation.clusters import FILES_KEPT_S, STRANGER, Object
from tests.simulation.copy import Copy
from tests.simulation.world import Broken

if TYPE_CHECKING:
    from tests.simulation.clusters import SimulatedCluster

SKEWS = SECOND // 2
"""Between two processes' clocks."""


class Holding(Copy):
    """See the module."""

    def holder_of(self, site_id: str) -> r.Site | None:
        """The site, if an attempt at a workload is it."""
        site = self.have(r.Site, site_id)
        return site if site is not None and site.workload_id is not None else None

    def may_be_made(self, one: Object, before: list[Object]) -> None:
        """A job's program runs once for an attempt, whatever comes twice and late. before: made under its name.

        But for what vanished before anybody could put down that it was there, and for a call that takes effect when its
        caller has given it up.
        """
        spec, now = one.spec, self._world.micros
        self.check()
        attempt = self.have(r.WorkloadAttempt, spec.id, spec.attempt)
        unseen = attempt is not None and not attempt.uid
        ran = [other.uid for other in before if other.ran(now) and not (unseen and other.by == "luck")]
        if spec.kind == "job" and ran and one.made_at <= now and not self._world.restores.done:
            raise Broken(f"attempt {spec.attempt} at workload {spec.id} runs again as {one.uid}: it was {ran}")

    def place_may_go(self, cluster: SimulatedCluster, owner: str, place: str, at: int) -> None:
        """By whoever looks after it, at this moment: nothing of its project runs, and nobody waits for its files."""
        self.check()
        if owner == STRANGER:
            raise Broken("a place of another hub's was removed")
        project = self.have(r.Project, place)
        if self._world.restores.done and (project is None or project.archived_at is None):
            return  # asked for in a history that is gone
        if project is None or project.archived_at is None:
            raise Broken(f"the place of project {place} was removed, and it is not archived")
        kept = [one.attempt for one in self._attempts_in(cluster.name, place) if one.gone_at is None]
        if kept:
            raise Broken(f"the place of project {place} was removed, and attempts {kept} were there still")
        if (owner, place) in cluster.volumes:
            until = project.archived_at + FILES_KEPT_S * SECOND
            if at + SKEWS < until:
                raise Broken(f"the files of project {place} were removed {(until - at) / SECOND:.1f} s too early")

    def places_left(self) -> str | None:
        """What is there still of archived projects, or None."""
        there = {place for one in self._world.clusters.values() for place in one.places_of(one.owner)}
        left = sorted(one.id for one in self.every(r.Project) if one.archived_at is not None and one.id in there)
        return f"of archived projects {left} something is there" if left else None

    def _attempts_in(self, cluster: str, project: str) -> list[r.WorkloadAttempt]:
        of = {one.id for one in self.every(r.Workload) if (one.cluster, one.project_id) == (cluster, project)}
        return [one for one in self.every(r.WorkloadAttempt) if one.workload_id in of]

    def _parts(self) -> None:
        """Of a project's coordinator, and of its selectors, there is one that shall run; at most, and not of what is
        archived."""
        seen = set()
        for one in self.every(r.Workload):
            if one.stop_at is not None or one.ended_at is not None:
                continue
            project = self.have(r.Project, one.project_id)
            if project is None or project.archived_at is not None:
                raise Broken(f"workload {one.id} shall run for project {one.project_id}, which is archived")
            if one.part and (one.project_id, one.part) in seen:
                raise Broken(f"project {one.project_id} has two {one.part}s that shall run")
            seen.add((one.project_id, one.part))

    def _held(self, workload: r.Workload, attempts: list[r.WorkloadAttempt]) -> None:
        """Each attempt is a site as long as it lives, and holds the seat as long as it is the newest. attempts: in
        their order."""
        if workload.task_run_id is None or workload.purpose:
            return
        task = self.have(r.TaskRun, workload.task_run_id)
        assert task is not None
        live = []
        for one in attempts:
            site = self.holder_of(one.site_id or "")
            if site is None or site.workload_id != workload.id:
                raise Broken(f"attempt {one.attempt} at workload {workload.id} is {site}, which is no site of its own")
            lives = one.state in WORKLOAD_LIVE
            if lives and site.state == SiteState.RETIRED and workload.stop_at is None:
                raise Broken(f"attempt {one.attempt} at workload {workload.id} lives, and its site has retired")
            if not lives:
                self._let_go(site, one)
            seat = self.have(r.Seat, task.id, site.id)
            if lives and seat is None:
                raise Broken(f"attempt {one.attempt} at workload {workload.id} lives, and has no seat")
            if seat is None or seat.state not in SEAT_LIVE or task.state != TaskRunState.ACTIVE:
                continue
            live.append(one.attempt)
            if not lives and (one is not attempts[-1] or seat.state != SeatState.SUBMITTED):
                raise Broken(f"attempt {one.attempt} at workload {workload.id} is over, and its seat is {seat.state}")
        if len(live) > 1:
            raise Broken(f"attempts {live} at workload {workload.id} hold a seat at once")

    def _let_go(self, site: r.Site, attempt: r.WorkloadAttempt) -> None:
        tokens = [one.id for one in self.every(r.Token) if one.owner_id == site.id and one.revoked_at is None]
        members = [
            one.project_id for one in self.every(r.Membership) if (one.site_id, one.state) == (site.id, "active")
        ]
        if site.state != SiteState.RETIRED or tokens or members:
            raise Broken(
                f"attempt {attempt.attempt} at workload {attempt.workload_id} is {attempt.state}, but its site is "
                f"{site.state}, has tokens {tokens} in force, and is in projects {members}"
            )

    def _silenced(self, event: r.Event) -> None:
        """Whoever was let go before changes nothing any more."""
        if event.subject_id in self._let_go_before:
            raise Broken(f"{event.kind} was brought about by site {event.subject_id}, whose attempt is over")
