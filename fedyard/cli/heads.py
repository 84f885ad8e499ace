"""The commands about the hub's chains of events: heads, trust-hub."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from fedyard.agent.heads import Fault, Head
from fedyard.agent.site import SiteError
from fedyard.agent.state import State
from fedyard.cli.common import UsageError, client_of, command, folder_of
from fedyard.clock import micros_now
from fedyard.sealed.keys import MICROS, words
from fedyard.wire.durable import write_whole


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Put the commands to the others."""
    heads = command(commands, "heads", "how far the hub's chains of events had come, as it has signed them", _heads)
    heads.add_argument("--to", type=Path, metavar="FILE", help="for `fedyard events verify --against FILE`")
    trust = command(commands, "trust-hub", "say that you have compared the fingerprint of the hub's key", _trust_hub)
    trust.add_argument(
        "fingerprint", nargs="+", help="the twelve words, or the hex digits, as the hub's people told you"
    )
    trust.add_argument("--replace", action="store_true", help="they have told you that it is a new one")


def _heads(chosen: argparse.Namespace) -> int:
    """1 if the hub has contradicted itself."""
    path = folder_of(chosen).path / "state.sqlite"
    if not path.exists():
        raise SiteError(f"{path} does not exist: the agent has not run here yet")
    state = State(path)
    kept, faults = state.heads(), state.head_faults()
    state.close()
    if chosen.to is not None:
        lines = [*kept, *(fault.head for fault in faults if fault.head is not None and fault.head not in kept)]
        if not chosen.to.parent.is_dir():
            raise UsageError(f"--to {chosen.to}: there is no folder {chosen.to.parent}")
        write_whole(chosen.to, b"".join(msgspec.json.encode(head) + b"\n" for head in lines))
        print(f"{len(lines)} heads are in {chosen.to}: the hub's people compare them with events verify --against")
    else:
        print("\n".join(_lines(kept)) or "the hub has shown none yet")
    for line in told(faults):
        print(line)
    return 1 if faults else 0


def told(faults: list[Fault]) -> list[str]:
    """A line for each fault, for people."""
    return [
        f"{_time(fault.at)}  {fault.detail}" + (f" ({fault.count} times)" if fault.count > 1 else "")
        for fault in faults
    ]


def _lines(kept: list[Head]) -> list[str]:
    """The newest head of each chain in each history."""
    newest = {(head.stream_id, head.history_id): head for head in kept}
    return [
        f"{head.kind} {head.stream_id}  {head}  signed {_time(head.at)}  history {head.history_id}"
        for head in newest.values()
    ]


def _time(micros: int) -> str:
    try:
        return datetime.fromtimestamp(micros / MICROS, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return "a time that is none"


def _trust_hub(chosen: argparse.Namespace) -> None:
    folder = folder_of(chosen)
    trust, text = folder.trust(folder.settings()), " ".join(chosen.fingerprint)
    shown = client_of(folder).hub_key()
    try:
        pin = trust.confirm_hub(shown, text, micros_now(), replace=chosen.replace)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(f"the hub's key is trusted: {words(pin.finger)}")
