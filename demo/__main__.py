"""`python -m demo [--task TASK] [--broker embedded|rabbitmq] [--rounds R]`: tell a story; 0 if it ended well."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from rich.console import Console

from demo.digits_cnn import DigitsDemo
from demo.processes import ROOT, DemoError, Processes
from demo.stage import Chosen, Stage
from demo.story import Demo
from demo.streams import StreamsDemo
from demo.table_one import TableOneDemo
from demo.workloads import WorkloadsDemo
from fedyard.cli.common import unexpected
from fedyard.client.errors import HubError

DEFAULT_ROUNDS = 10
TASKS: Mapping[str, type[Stage]] = {"train": Demo, "table_one": TableOneDemo, "digits_cnn": DigitsDemo}


def main() -> int:
    """0 if the run succeeded and its result is what it should be; 1 if not; 130 after Ctrl-C.

    2 if the machine was in the way (a full disk), 70 if it is our fault.
    """
    parser = argparse.ArgumentParser(prog="python -m demo", description="Three hospitals compute together.")
    parser.add_argument("--broker", choices=("embedded", "rabbitmq"), default="embedded")
    parser.add_argument("--task", choices=tuple(TASKS), default="train", help="what three sites compute")
    parser.add_argument(
        "--rounds", type=int, help=f"{DEFAULT_ROUNDS} unless said; 2 at least: the first finds the scale"
    )
    parser.add_argument("--workloads", action="store_true", help="processes hold the seats: of the hub, and at a site")
    parser.add_argument("--streams", action="store_true", help="training, answering and federation over Kafka")
    parser.add_argument("--look", action="store_true", help="keep the hub up afterwards, until Ctrl-C")
    parser.add_argument("--data", type=Path, default=ROOT / "var" / "demo", help="folder, emptied first")
    chosen = parser.parse_args()
    rounds: int = DEFAULT_ROUNDS if chosen.rounds is None else chosen.rounds
    if chosen.task == "table_one" and chosen.rounds is not None:
        parser.error("--rounds: table_one has two, whatever is said")
    if rounds < 2:
        parser.error("--rounds: 2 at least, since the first one only finds the common scale")
    if (chosen.workloads or chosen.streams) and chosen.broker != "embedded":
        parser.error("--workloads, --streams: on the embedded hub alone")
    if chosen.workloads and chosen.streams:
        parser.error("--workloads, --streams: one after the other")
    if chosen.task != "train" and (chosen.workloads or chosen.streams):
        parser.error("--task: without --workloads and --streams, which have tasks of their own")
    signal.signal(signal.SIGTERM, _terminated)
    if chosen.broker == "embedded":
        for name in ("FEDYARD_BROKER_URL", "FEDYARD_DATABASE_URL"):  # of another hub; the demo's has its own store
            os.environ.pop(name, None)
    folder: Path = chosen.data.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another demo runs in {folder}", file=sys.stderr)
            return 1
        story = StreamsDemo if chosen.streams else WorkloadsDemo if chosen.workloads else TASKS[chosen.task]
        return _told(story, Chosen(broker=chosen.broker, rounds=rounds, folder=folder, look=chosen.look))


def _told(story: type[Stage], chosen: Chosen) -> int:
    try:
        with Processes() as processes:
            return 0 if story(chosen, processes, Console(markup=False)).tell() else 1
    except (DemoError, HubError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing is left running", file=sys.stderr)
        return 130
    except Exception as error:  # noqa: BLE001 - people get a sentence, no traceback
        code, sentence = unexpected(error)
        print(f"demo: {sentence}", file=sys.stderr)
        return code


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
