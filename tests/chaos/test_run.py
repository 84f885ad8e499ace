"""A short kill test on the real thing: the program itself, from the empty folder to the table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(400)
def test_a_short_run_ends_with_zeros_and_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "chaos"
    asked = ["--minutes", "0.3", "--seed", "57", "--sites", "5", "--folder", str(folder)]
    ran = subprocess.run(
        [sys.executable, "-m", "chaos", *asked], cwd=ROOT, capture_output=True, text=True, timeout=380, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "NOT ZERO" not in ran.stdout
    for words in ("fault", "to the next progress", "requests/s", "runs succeeded", "dead letters"):
        assert words in ran.stdout
    servers = Path((folder / "servers").read_text().strip())
    assert not servers.exists()
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(folder).encode() in _content(path)]
    assert left == []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
