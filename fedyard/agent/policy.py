"""The site's own word on a project: [project.NAME] in its site.toml, which nothing that the hub or a task sends passes.

A section is meant by the project's id, by the name under which this site joined it, or, for all that have none, by
"*". What it leaves out is as the site has it for all projects.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

import msgspec

from fedyard.agent.consents import Consent, means
from fedyard.tasks.privacy import Privacy

ALL_OTHERS: Final = "*"
"""The section for projects that have none of their own."""

ProjectName: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class ProjectPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for one project. Without a field the site's own word for all projects holds.

    data: name -> file, in place of [data]: a task of this project gets these alone. privacy: updates leave clipped and
    with noise.
    """

    data: dict[str, str] | None = None
    privacy: Privacy | None = None

    def data_of(self, site: Mapping[str, str]) -> Mapping[str, str]:
        """What a task of this project may read: name -> file. site: [data]."""
        return site if self.data is None else self.data


EVERY_PROJECT: Final = ProjectPolicy()
"""What holds where no section says anything."""


def policy_of(sections: Mapping[str, ProjectPolicy], consent: Consent) -> ProjectPolicy:
    """What holds for a project that is served: by its id, else by the name that this site joined it under.

    The hub's present name of it does not count. Two projects of one name have the same section.
    """
    if consent.project_id in sections:
        return sections[consent.project_id]
    if consent.name in sections and means(consent.name, consent.project_id, consent.name):
        return sections[consent.name]
    return sections.get(ALL_OTHERS, EVERY_PROJECT)
