"""`python -m chaos.load FOLDER`: the sites, in a process of their own. It is the witness and is never hurt.

FOLDER/plan.json says who they are; the ledgers go to FOLDER/ledgers. It ends when its standard input does, is told
`quiet` (start nothing new; it answers `quiet` once nobody sends messages any more) and `over`.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import msgspec

from chaos.calls import Counts
from chaos.jobs import Jobs
from chaos.plan import Held, Plan
from chaos.site import Endings, Site, Starting
from config.clock import SystemClock, wait_for

START_EVERY_S = 0.05


def main(folder: Path) -> int:
    """Until told to end; the exit code."""
    plan = msgspec.json.decode((folder / "plan.json").read_bytes(), type=Plan)
    ledgers = folder / "ledgers"
    ledgers.mkdir()
    clock, counts, endings = SystemClock(), Counts(), Endings()
    sites = [Site(planned, plan, ledgers, counts, endings, clock) for planned in plan.sites]
    starting = Starting(plan, ledgers, counts, endings, clock)
    jobs = Jobs(plan, ledgers, counts, endings, clock)
    began = clock.monotonic()
    for site in sites:
        site.start()
        clock.sleep(START_EVERY_S)
    starting.thread.start()
    jobs.thread.start()
    threading.Thread(target=_tell_when_quiet, args=(sites, starting, endings), daemon=True).start()
    seconds = 0.0
    for line in sys.stdin:
        if line.strip() == "quiet":
            seconds = clock.monotonic() - began
            held = _held(counts, seconds)
            endings.quiet.set()
        if line.strip() == "over":
            break
    else:
        held = _held(counts, clock.monotonic() - began)
    endings.quiet.set()
    endings.over.set()
    for site in sites:
        site.end()
    starting.thread.join(60)
    jobs.thread.join(60)
    (folder / "held.json").write_bytes(msgspec.json.encode(held))
    return 0


def _held(counts: Counts, seconds: float) -> Held:
    return Held(
        seconds=seconds,
        requests=sum(counts.statuses.values()),
        statuses={str(status): count for status, count in sorted(counts.statuses.items())},
        messages_sent=counts.messages,
        entries_received=counts.entries,
    )


def _tell_when_quiet(sites: list[Site], starting: Starting, endings: Endings) -> None:
    endings.quiet.wait()
    while not (all(site.settled for site in sites) and not starting.thread.is_alive()):
        if wait_for(endings.over, 0.2):
            return
    print("quiet", flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
