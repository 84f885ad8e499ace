"""What is kept until the hub has it: over a restart, in bounds, and checkpoints only as they were read twice."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from fedyard.sidecar.journal import MAX_COPIES, MAX_TOLD, ROOM, TRIES, Journal, Round
from fedyard.sidecar.rounds import Stage, Told

NOW = 1000


def journal(folder: Path) -> Journal:
    return Journal(folder, lambda _: None)


def told(made: Journal) -> list[tuple[int, Stage]]:
    found = []
    while (one := made.next_told(0.0)) is not None:
        found.append((one.number, one.stage))
        made.forget_told(one)
    return found


def kept(made: Journal) -> list[tuple[int, bytes]]:
    found = []
    while (one := made.next_copy(0.0)) is not None:
        found.append((one[0].number, one[1].read_bytes()))
        made.forget_copy(one[0])
    return found


def completed(made: Journal, number: int, checkpoint: Path, content: bytes, pause=lambda _: False) -> bool:
    """A round is, and its checkpoint is copied."""
    checkpoint.write_bytes(content)
    made.take(number, Stage.COMPLETED, NOW)
    of = made.next_uncopied(0.0)
    assert of is not None
    return made.copy(of, checkpoint, pause)


def test_who_is_started_again_goes_on_with_what_was_taken(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.take(0, Stage.CONFIGURATION, NOW)
    first.take(0, Stage.REPORTING, NOW)
    first.forget_told(Told(NOW, 0, Stage.CONFIGURATION))
    again = journal(tmp_path)
    again.take(1, Stage.SELECTION, NOW + 50)
    assert again.next_uncopied(0.0) == Round(NOW, 0), "of the same start"
    assert told(again) == [(0, Stage.REPORTING), (0, Stage.COMPLETED), (1, Stage.SELECTION)]
    assert journal(tmp_path).next_uncopied(0.0) == Round(NOW, 0)
    assert not again.is_told()


def test_a_checkpoint_waits_until_its_round_is_told_and_lies_there_over_a_restart(tmp_path: Path) -> None:
    first = journal(tmp_path)
    assert completed(first, 0, tmp_path / "fl_checkpoint", b"weights")
    (tmp_path / "checkpoints" / f"{NOW}-1.part").write_bytes(b"half")
    again = journal(tmp_path)
    assert again.next_copy(0.0) is None, "the hub does not know yet that it is completed"
    assert told(again) == [(0, Stage.COMPLETED)]
    assert kept(again) == [(0, b"weights")]
    assert again.is_told()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_what_the_coordinator_writes_meanwhile_is_read_again(tmp_path: Path) -> None:
    checkpoint, made, looks = tmp_path / "fl_checkpoint", journal(tmp_path), []

    def pause(_seconds: float) -> bool:
        looks.append(1)
        if len(looks) < 3:
            checkpoint.write_bytes(b"weights" * len(looks))
        return False

    assert completed(made, 0, checkpoint, b"half", pause)
    told(made)
    assert kept(made) == [(0, b"weights" * 2)]


@pytest.mark.parametrize("content", [b"", None])
def test_without_a_checkpoint_none_is_kept(tmp_path: Path, content: bytes | None) -> None:
    checkpoint, made = tmp_path / "fl_checkpoint", journal(tmp_path)
    if content is not None:
        checkpoint.write_bytes(content)
    made.take(0, Stage.COMPLETED, NOW)
    assert not made.copy(Round(NOW, 0), checkpoint, lambda _: False)
    told(made)
    assert made.is_told()


def test_a_link_is_no_checkpoint(tmp_path: Path) -> None:
    made = journal(tmp_path)
    (tmp_path / "secret").write_bytes(b"of the machine")
    (tmp_path / "fl_checkpoint").symlink_to(tmp_path / "secret")
    made.take(0, Stage.COMPLETED, NOW)
    with pytest.raises(OSError):
        made.copy(Round(NOW, 0), tmp_path / "fl_checkpoint", lambda _: False)


def test_a_pipe_is_no_checkpoint_and_is_not_waited_for(tmp_path: Path) -> None:
    made = journal(tmp_path)
    os.mkfifo(tmp_path / "fl_checkpoint")
    made.take(0, Stage.COMPLETED, NOW)
    with pytest.raises(OSError, match="no file"):
        made.copy(Round(NOW, 0), tmp_path / "fl_checkpoint", lambda _: False)


def test_what_is_far_larger_than_the_room_is_not_copied(tmp_path: Path) -> None:
    """A file with holes has any size and costs who makes it nothing."""
    made = journal(tmp_path)
    with (tmp_path / "fl_checkpoint").open("wb") as file:
        file.truncate(shutil.disk_usage(tmp_path).free // ROOM + 2**30)
    made.take(0, Stage.COMPLETED, NOW)
    with pytest.raises(OSError, match="of the room left"):
        made.copy(Round(NOW, 0), tmp_path / "fl_checkpoint", lambda _: False)
    assert not list((tmp_path / "checkpoints").glob("*.part"))


def test_what_never_comes_to_rest_is_given_up(tmp_path: Path) -> None:
    checkpoint, made, looks = tmp_path / "fl_checkpoint", journal(tmp_path), []

    def pause(_seconds: float) -> bool:
        looks.append(1)
        checkpoint.write_bytes(b"x" * len(looks))
        return False

    assert not completed(made, 0, checkpoint, b"begun", pause)
    assert (len(looks), made.next_uncopied(0.0)) == (TRIES, None)


@pytest.mark.parametrize(
    ("stage", "is_kept"),
    [(Stage.SELECTION, True), (Stage.CONFIGURATION, True), (Stage.REPORTING, False), (Stage.COMPLETED, False)],
)
def test_a_copy_that_the_next_round_may_have_overtaken_is_let_go(tmp_path: Path, stage: Stage, is_kept: bool) -> None:
    checkpoint, made = tmp_path / "fl_checkpoint", journal(tmp_path)

    def pause(_seconds: float) -> bool:
        made.take(1, stage, NOW)
        return False

    assert completed(made, 0, checkpoint, b"of round 0, or of round 1", pause) is is_kept
    assert made.next_uncopied(0.0) == (Round(NOW, 1) if stage is Stage.COMPLETED else None)
    told(made)
    assert len(kept(made)) == is_kept


def test_a_hub_that_is_away_for_ever_costs_no_more_than_so_much(tmp_path: Path) -> None:
    said: list[str] = []
    made = Journal(tmp_path, said.append)
    for number in range(MAX_COPIES + 2):
        assert completed(made, number, tmp_path / "fl_checkpoint", b"%d" % number)
    for number in range(MAX_COPIES + 2, MAX_TOLD + 10):
        made.take(number, Stage.COMPLETED, NOW)
    assert len(told(made)) == MAX_TOLD
    assert [number for number, _ in kept(made)] == list(range(2, MAX_COPIES + 2))
    assert len([one for one in said if "checkpoint" in one]) == 2
    assert len([one for one in said if "reports" in one]) == 10


def test_a_folder_that_cannot_be_written_to_costs_the_coordinator_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    made = Journal(tmp_path, said.append)
    (tmp_path / "rounds.json").mkdir()
    made.take(0, Stage.CONFIGURATION, NOW)
    assert told(made) == [(0, Stage.CONFIGURATION)]
    assert "cannot be kept over a restart" in said[0]


def test_whoever_waits_is_woken(tmp_path: Path) -> None:
    made, found = journal(tmp_path), []
    waiting = threading.Thread(target=lambda: found.append(made.next_told(60.0)), daemon=True)
    waiting.start()
    made.take(0, Stage.SELECTION, NOW)
    waiting.join(10)
    assert found == [Told(NOW, 0, Stage.SELECTION)]
    waiting = threading.Thread(target=lambda: found.append(made.next_copy(60.0)), daemon=True)
    waiting.start()
    made.close()
    waiting.join(10)
    assert found[1:] == [None]
