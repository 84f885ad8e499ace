"""What a site's people see of its privacy budgets: by project, from site.toml and the agent's memory."""

from __future__ import annotations

import msgspec

from fedyard.agent.policy import policy_of
from fedyard.agent.site import Folder
from fedyard.agent.state import BudgetState, State
from fedyard.tasks.privacy import accounting


class Budget(msgspec.Struct, frozen=True):
    """A project whose updates leave with noise, or did. epsilon, delta: what has been spent, all updates together.

    allowed, at_delta, clip, noise: as site.toml has it now; None where it says nothing any more. without: updates on
    record that left without noise, of which nothing is promised. is_spent: no further update may leave.
    """

    project_id: str
    name: str
    updates: int
    without: int
    epsilon: float
    delta: float | None
    allowed: float | None
    at_delta: float | None
    clip: float | None
    noise: float | None
    is_spent: bool = False


def budgets(folder: Folder, state: State) -> list[Budget]:
    """Of every project that has a budget, or has spent of one, by name. Raises `SiteError`."""
    sections, consents = folder.settings().project, folder.consents().all()
    spent = {one.project_id: one for one in state.releases.spent()}
    said = {project_id: policy_of(sections, consent).privacy for project_id, consent in consents.items()}
    found = []
    for project_id in {*spent, *(one for one, privacy in said.items() if privacy is not None)}:
        privacy = said.get(project_id)
        one = spent.get(project_id) or BudgetState(project_id, 0, state.releases.without(project_id), 0.0, None, 0)
        found.append(
            Budget(
                project_id=project_id,
                name=consents[project_id].name if project_id in consents else "",
                updates=one.updates,
                without=one.without,
                epsilon=one.epsilon,
                delta=one.delta,
                allowed=privacy.epsilon if privacy else None,
                at_delta=privacy.delta if privacy else None,
                clip=privacy.clip if privacy else None,
                noise=privacy.noise if privacy else None,
                is_spent=privacy is not None and accounting.is_spent(privacy, state.releases.of(project_id)),
            )
        )
    return sorted(found, key=lambda one: (one.name, one.project_id))


def spent_budgets(folder: Folder, state: State) -> list[str]:
    """A sentence for each project that this site serves and that has spent its budget. Raises `SiteError`."""
    served = {id for id, one in folder.consents().all().items() if one.live}
    return [
        f"the privacy budget of {one.name} is spent (epsilon {one.epsilon:.4g} of {one.allowed:g}): no further update "
        "leaves, and its seats fail. `fedyard site privacy` shows it"
        for one in budgets(folder, state)
        if one.is_spent and one.project_id in served
    ]
