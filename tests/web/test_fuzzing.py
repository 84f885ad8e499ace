"""The hub's answers to whatever a client may send are those that /openapi.json describes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(400)
def test_every_operation_keeps_its_description() -> None:
    """In a process of its own: schemathesis draws its cases while it collects, which every worker would do again."""
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=-p no:xdist", "tests/web/fuzzing.py"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=380, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
