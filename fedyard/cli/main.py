"""`fedyard`: a site's command line. A site's coordinator and its people speak as the site, with its token."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from fedyard.actions.site import UsageError
from fedyard.actions.unit import IDENTITY_CHANGED
from fedyard.agent.consents import NotChosen
from fedyard.agent.site import Folder, SiteError
from fedyard.cli.common import unexpected
from fedyard.cli.deployments import deployment
from fedyard.cli.logs import logs
from fedyard.cli.messages import send
from fedyard.cli.models import models
from fedyard.cli.projects import project
from fedyard.cli.runs import run
from fedyard.cli.simulating import new, simulate, task
from fedyard.cli.site import site
from fedyard.cli.workloads import workload
from fedyard.client.errors import HubError
from fedyard.sealed.errors import IdentityChanged, SealError
from fedyard.wire.command_line import Group, carry_out, everywhere, tell_version

FOLDER_VARIABLE = "SITE_FOLDER"

FEDYARD = Group(
    "fedyard",
    help="A site's command line. Its people speak as the site, with its token.",
    commands=[site, project, run, workload, deployment, models, logs, send, simulate, task, new],
)


def _folder(said: str | None) -> Folder:
    return Folder(Path(said or os.environ.get(FOLDER_VARIABLE) or "."))


everywhere(FEDYARD, "--folder", "DIR", f"the site's folder (default: ${FOLDER_VARIABLE}, or here)", _folder)
tell_version(FEDYARD, "fedyard")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 done; 1 refused or unavailable; 2 asked wrongly; 3 an identity changed; 70 our fault; 130 interrupted."""
    return carry_out(FEDYARD, "fedyard", arguments, _outcome)


def _outcome(error: Exception) -> tuple[int, str]:
    if isinstance(error, (UsageError, SiteError, NotChosen)):
        return 2, str(error)
    if isinstance(error, IdentityChanged):
        return IDENTITY_CHANGED, f"IDENTITY CHANGED: {error}"
    if isinstance(error, (HubError, SealError)):
        return 1, str(error)
    return unexpected(error)


if __name__ == "__main__":
    sys.exit(main())
