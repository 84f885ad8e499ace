"""`python -m demo.leash PARENT COMMAND ...`: become COMMAND, asked to end when PARENT is gone."""

from __future__ import annotations

import os
import sys

from demo.processes import end_with

if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the demo's own programs
