"""Where a workload may run: at a cluster of the hub's, or at a site that takes part."""

from __future__ import annotations

from domain import records as r
from domain.decisions.draft import Draft, Refused
from domain.states import MemberState, SiteState
from domain.workloads import cluster_names, site_of
from fedyard.wire.problems import ProblemType


def check_where(draft: Draft, project: r.Project, where: str) -> None:
    """422 unless it is a cluster of the hub's, or a site that is in the project."""
    site_id = site_of(where)
    if site_id is not None:
        member, site = draft.get(r.Membership, project.id, site_id), draft.get(r.Site, site_id)
        active = member is not None and member.state == MemberState.ACTIVE
        if not active or site is None or site.state == SiteState.RETIRED or site.workload_id is not None:
            raise Refused(
                ProblemType.IMPOSSIBLE,
                f"site {site_id} is no active member of project {project.id}, so nothing is run there: have it join, "
                "or name another place",
            )
        return
    check_cluster(draft, where)


def check_cluster(draft: Draft, where: str) -> None:
    """422 unless the hub's settings name such a cluster."""
    names = cluster_names(draft.rules.clusters)
    if where not in names:
        remedy = "name one of these, or site:<id> of an active member"
        there = f"there are {', '.join(names)}: {remedy}"
        if not names:
            there = "it has none: its operator names some in FEDYARD_CLUSTERS, or name site:<id> of an active member"
        raise Refused(ProblemType.IMPOSSIBLE, f"the hub has no cluster {where!r}; {there}")
