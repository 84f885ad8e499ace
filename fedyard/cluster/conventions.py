"""What who makes a workload and the programs in it agree on: names of variables and folders, an exit code.

Standard library alone: steps and shims read it where nothing else is.
"""

from __future__ import annotations

from typing import Final

OWN: Final = "FEDYARD_"
"""How variables begin that a companion or a step finds as its workload does."""
HUB_URL: Final = "FEDYARD_HUB_URL"
PROJECT_ID: Final = "FEDYARD_PROJECT_ID"
RUN_ID: Final = "FEDYARD_RUN_ID"
WORKLOAD_ID: Final = "FEDYARD_WORKLOAD_ID"
WORKLOAD_ATTEMPT: Final = "FEDYARD_WORKLOAD_ATTEMPT"
MODEL_VERSION: Final = "FEDYARD_MODEL_VERSION"
"""Which version of its project's models a workload begins with. Who unpacks the initial files lays it in the
checkpoint's place; a cluster where nobody does makes no such workload."""
INPUTS: Final = "FEDYARD_INPUTS"
OUTPUTS: Final = "FEDYARD_OUTPUTS"
"""Where a job that has files finds its two folders."""
ENROLMENT_TOKEN: Final = "SITE_ENROLMENT_TOKEN"  # noqa: S105 - a variable's name
FILES_TOKEN: Final = "FEDYARD_FILES_TOKEN"  # noqa: S105 - a variable's name
ROUNDS_TOKEN: Final = "FEDYARD_TOKEN"  # noqa: S105 - a variable's name

INPUTS_FOLDER, OUTPUTS_FOLDER = "inputs", "outputs"
"""Below the HOME of a job that has files; so are the steps called that see to them."""
OUTPUT_MISSING: Final = 3
"""The exit code of what stores outputs, if one that is required is not there."""
