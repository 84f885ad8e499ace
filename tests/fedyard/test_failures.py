"""The tracebacks that stay at a site: how many, how long, and who shows them."""

from __future__ import annotations

import json
import os

from fedyard.agent.failures import FOLDER, MAX_FILE_BYTES, MAX_FILES, Failures
from fedyard.cli.main import main

RUN = "00000000-0000-0000-0000-00000000000a"


def test_each_task_run_has_a_file_of_its_own_with_an_end(tmp_path) -> None:
    failures = Failures(tmp_path)
    assert failures.all() == []
    path = failures.keep(RUN, 1, 1, "train: no", "Traceback one", 1_000_000)
    failures.keep(RUN, 1, 2, "train: no again", "Traceback two \udce9", 2_000_000)
    failures.keep(RUN, 2, 1, "score: no", "", 3_000_000)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == (
        "======== 1970-01-01T00:00:01+00:00 round 1: train: no\nTraceback one\n"
        "======== 1970-01-01T00:00:02+00:00 round 2: train: no again\nTraceback two \\udce9\n"
    )
    assert [(one.run_id, one.task_seq) for one in failures.all()] == [(RUN, 2), (RUN, 1)]
    for number in range(8):
        failures.keep(RUN, 1, number, "train: long", f"{number}" * 50_000, 4_000_000)
    text = path.read_text()
    assert len(text) <= MAX_FILE_BYTES
    assert text.startswith("======== 1970-01-01T00:00:04+00:00 round 3: train: long\n3333")
    failures.keep(RUN, 1, 9, "train: longer", "x" * 2 * MAX_FILE_BYTES, 5_000_000)
    assert path.stat().st_size <= MAX_FILE_BYTES


def test_only_the_newest_are_kept(tmp_path) -> None:
    failures = Failures(tmp_path)
    for number in range(MAX_FILES + 3):
        path = failures.keep(RUN, number, 1, "train: no", "", 0)
        os.utime(path, (number, number))
    failures.keep(RUN, MAX_FILES + 3, 1, "train: no", "", 0)
    assert sorted(one.task_seq for one in failures.all()) == list(range(4, MAX_FILES + 4))


def test_people_of_the_site_see_them(tmp_path, capsys) -> None:
    def said(*line: str) -> tuple[int, str, str]:
        code = main(["--folder", str(tmp_path), "site", "failures", *line])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    assert said() == (0, "no hook is known to have failed here\n", "")
    Failures(tmp_path).keep(RUN, 1, 1, "train: no", "Traceback one", 1_000_000)
    code, out, _ = said()
    assert (code, RUN in out, str(tmp_path / FOLDER) in out) == (0, True, True)
    assert said("0000")[1] == "======== 1970-01-01T00:00:01+00:00 round 1: train: no\nTraceback one\n"
    (found,) = json.loads(said("--json")[1])
    assert (found["run_id"], found["task_seq"]) == (RUN, 1)
    code, _, err = said("ffff")
    assert (code, "no hook of a run ffff is known to have failed here" in err) == (2, True)
