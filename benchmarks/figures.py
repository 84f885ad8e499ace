"""What the board says: figures with their reaches, one JSON line each."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """The median of some runs, with the least and the largest. `where` says who used the processors meanwhile."""

    name: str
    case: str
    value: float
    unit: str
    runs: int
    min: float
    max: float
    where: dict[str, float] = {}
    """CPU seconds per second of measuring, by part: web, decider, rabbitmq, postgres, generator, other."""
    machine: float = 0.0
    """Millions of empty Python loops a second on all cores at once, just before and after it was measured."""


Key: TypeAlias = tuple[str, str]
"""Name and case of a figure."""


@dataclass(frozen=True)
class Reach:
    """What we want. higher: more is better. none: measured for the record.

    of: another figure of the same board of which `reach` is a share, where no number of its own is wanted.
    """

    unit: str
    reach: float | None
    higher: bool = True
    about: str = ""
    of: Key | None = None

    def wanted(self, board: Mapping[Key, float]) -> float | None:
        """The value to be reached; None if there is none, or the figure that it is a share of was not measured."""
        if self.reach is None or self.of is None:
            return self.reach
        return self.reach * board[self.of] if self.of in board else None

    def ratio(self, value: float, board: Mapping[Key, float]) -> float | None:
        """How far: 1 or more holds the reach. board: every figure's value."""
        wanted = self.wanted(board)
        if wanted is None:
            return None
        if self.higher:
            return value / wanted
        return 2.0 if value <= 0 else wanted / value if wanted else (1.0 if value < 1 else 1 / value)


_RATE = "1/s"
_LOOPS = "M/s"
_MB = "MB/s"
_CIPHER = ("part_mb_per_s", "aes-256-gcm")


def _half_of(part: str, about: str = "") -> Reach:
    return Reach(_MB, 0.5, about=about, of=("part_mb_per_s", part))


REACHES: dict[Key, Reach] = {
    ("heartbeats_per_s", "10000 sites"): Reach(_RATE, 3000, about="PUT heartbeat of 10,000 sites, stored"),
    ("heartbeats_per_s", "10000 sites, stored p99"): Reach("ms", None, higher=False, about="from request to stored"),
    ("decided_per_s", "10x5"): Reach(_RATE, 5000, about="seat reports drained from a preloaded queue"),
    ("decided_per_s", "1x50"): Reach(_RATE, 5000, about="the same, one run of 50 seats"),
    ("decided_per_s", "200x5"): Reach(_RATE, 5000, about="the same, 200 runs of 5 seats"),
    ("reports_per_s", "10x5"): Reach(_RATE, 1200, about="seat reports over HTTP, each waits for its decision"),
    ("reports_per_s", "1x50"): Reach(_RATE, 1200, about="the same, one run of 50 seats"),
    ("decision_ms", "idle p50"): Reach("ms", 6, higher=False, about="request to waited-for answer"),
    ("decision_ms", "idle p99"): Reach("ms", 20, higher=False),
    ("decision_ms", "half load p50"): Reach("ms", 25, higher=False, about="at half of reports_per_s"),
    ("decision_ms", "half load p99"): Reach("ms", 80, higher=False),
    ("polls_per_s", "inbox"): Reach(_RATE, 3500, about="GET inbox, nothing new"),
    ("polls_per_s", "run@10"): Reach(_RATE, 800, about="GET a run with 50 seats, 10 live runs"),
    ("polls_per_s", "run@50"): Reach(_RATE, 800, about="the same, 50 live runs"),
    ("polls_per_s", "run@500"): Reach(_RATE, 800, about="the same, 500 live runs"),
    ("waiting_polls", "1000 rss"): Reach("MB", 400, higher=False, about="memory of the web, 1,000 long polls waiting"),
    ("waiting_polls", "1000 idle cpu"): Reach("%", 0, higher=False, about="of the web; below 1 % counts as none"),
    ("waiting_polls", "1000 others p99"): Reach("ms", 10, higher=False, about="other requests, 100 a second"),
    ("waiting_polls", "1000 wake half p99"): Reach("ms", 150, higher=False, about="500 inboxes get a message at once"),
    ("waiting_polls", "3000 rss"): Reach("MB", 400, higher=False, about="memory of the web, 3,000 long polls waiting"),
    ("waiting_polls", "3000 idle cpu"): Reach("%", 0, higher=False),
    ("waiting_polls", "3000 others p99"): Reach("ms", 10, higher=False),
    ("waiting_polls", "3000 wake half p99"): Reach("ms", 400, higher=False, about="1,500 inboxes at once"),
    ("trip_ms", "1KiB p50"): Reach("ms", 9, higher=False, about="POST to the other's long poll returning"),
    ("trip_ms", "1KiB p99"): Reach("ms", 30, higher=False),
    ("trip_ms", "100KiB p50"): Reach("ms", None, higher=False),
    ("trip_ms", "100KiB p99"): Reach("ms", None, higher=False),
    ("forwards_per_s", "8to1"): Reach(_RATE, 1200, about="1 KiB messages of 8 senders, durable, read by the recipient"),
    ("forwards_per_s", "1to1000"): Reach(_RATE, 10_000, about="deliveries of a broadcast, read by 1,000 recipients"),
    ("run_s", "2"): Reach("s", 0.3, higher=False, about="a whole sealed run, 2 rounds, 100 KiB updates and model"),
    ("run_s", "10"): Reach("s", 0.4, higher=False),
    ("run_s", "50"): Reach("s", 1.0, higher=False),
    ("run_s", "50 unsealed"): Reach("s", None, higher=False, about="what the sealing of it costs"),
    ("run_s", "50 limits"): Reach("s", None, higher=False, about="on a hub with the limits that it ships with"),
    ("run_s", "200"): Reach("s", 3.5, higher=False),
    ("run_s", "200 unsealed"): Reach("s", None, higher=False, about="the same without"),
    ("victim_p99", "to idle"): Reach(
        "ratio", 3, higher=False, about="a quiet site's decision while another floods; the hub's limits as it ships"
    ),
    ("victim_p99", "idle"): Reach("ms", None, higher=False, about="without the flood, in the same minutes"),
    ("victim_p99", "flooded"): Reach("ms", None, higher=False, about="with it"),
    ("victim_p99", "tried"): Reach("calls", None, about="of the flooder, in 12 s"),
    ("victim_p99", "accepted"): Reach("calls", None, about="of these, answered below 300"),
    ("victim_p99", "refused"): Reach("calls", None, about="429 or 503"),
    ("trust_us", "update"): Reach("us", None, higher=False, about="a site digests the task and notes its update"),
    ("trust_us", "receipt"): Reach("us", None, higher=False, about="a site finds its update among a model's 50"),
    ("trust_us", "list of 50"): Reach("us", None, higher=False, about="a coordinator checks a round's 50 updates"),
    ("trust_us", "limits"): Reach("us", None, higher=False, about="the web counts a write against three limits"),
    ("spawn_ms", "p50"): Reach(
        "ms",
        5,
        higher=False,
        about="command to the program's first line, as a process; 5 times its decision",
        of=("spawn_ms", "decided p50"),
    ),
    ("spawn_ms", "p99"): Reach("ms", None, higher=False),
    ("spawn_ms", "decided p50"): Reach("ms", None, higher=False, about="of it, until the decision was answered"),
    ("workloads_per_s", "created and finished"): Reach(
        _RATE,
        0.05,
        about="500 jobs that end at once, until all are gone; 0.05 of bare processes",
        of=("part_per_s", "bare processes"),
    ),
    ("seat_ms", "exit p50"): Reach(
        "ms",
        5,
        higher=False,
        about="a process's end to its seat being dropped; 5 times a decision",
        of=("spawn_ms", "decided p50"),
    ),
    ("seat_ms", "exit p99"): Reach("ms", None, higher=False),
    ("idle_workloads", "1000 reconciler"): Reach("%", 5, higher=False, about="of one core, 1,000 processes run"),
    ("spawn_ms", "kubernetes p50"): Reach(
        "ms",
        5,
        higher=False,
        about="command to its Job, on the tests' API server; 5 times its decision",
        of=("spawn_ms", "kubernetes decided p50"),
    ),
    ("spawn_ms", "kubernetes p99"): Reach("ms", None, higher=False),
    ("spawn_ms", "kubernetes decided p50"): Reach("ms", None, higher=False, about="of it, until it was answered"),
    ("workloads_per_s", "kubernetes"): Reach(
        _RATE,
        0.1,
        about="500 jobs that end at once, until all are gone; 0.1 of bare jobs",
        of=("part_per_s", "bare jobs"),
    ),
    ("seat_ms", "kubernetes exit p50"): Reach(
        "ms",
        5,
        higher=False,
        about="a pod's end to its seat being dropped; 5 times a decision",
        of=("spawn_ms", "kubernetes decided p50"),
    ),
    ("seat_ms", "kubernetes exit p99"): Reach("ms", None, higher=False),
    ("idle_workloads", "kubernetes 1000 reconciler"): Reach("%", 5, higher=False, about="of one core, 1,000 pods run"),
    ("control_records_per_s", "decided"): Reach(_RATE, None, about="announcements in Kafka, until each is decided"),
    ("announce_to_spawn_ms", "p50"): Reach(
        "ms", None, higher=False, about="an announcement written in Kafka, until the job that it is for has begun"
    ),
    ("announce_to_spawn_ms", "p99"): Reach("ms", None, higher=False),
    ("catch_up", "s"): Reach(
        "s", None, higher=False, about="100,000 announcements that lay there, from the first decision to the last"
    ),
    ("catch_up", "bridge peak"): Reach("MB", None, higher=False, about="the bridge's most memory meanwhile"),
    ("catch_up", "lost or doubled"): Reach("records", 0, higher=False, about="of these 100,000"),
    ("catch_up", "bridge while rabbitmq is away"): Reach(
        "MB", None, higher=False, about="for a minute; its most memory"
    ),
    ("events_out_per_s", "told"): Reach(
        _RATE, None, about="events of runs, with the relay's start, until all are told"
    ),
    ("matching_s", "1000x1000"): Reach(
        "s", None, higher=False, about="1,000 data announced, each fits one of 1,000 models; until all are matched"
    ),
    ("rebalance_gap_s", "kill -9"): Reach(
        "s", None, higher=False, about="without a decision, one of two bridges killed"
    ),
    ("start_s", "embedded"): Reach("s", 3, higher=False, about="cold start to ready"),
    ("start_s", "full"): Reach("s", 3, higher=False, about="servers up, a fresh database"),
    ("rss_mb", "web idle"): Reach("MB", None, higher=False),
    ("rss_mb", "decider idle"): Reach("MB", None, higher=False),
    ("rss_mb", "doer idle"): Reach("MB", None, higher=False),
    ("rss_mb", "reconciler idle"): Reach("MB", None, higher=False),
    ("rss_mb", "relay idle"): Reach("MB", None, higher=False),
    ("rss_mb", "ticker idle"): Reach("MB", None, higher=False),
    ("rss_mb", "all idle"): Reach("MB", 400, higher=False, about="memory of the hub's processes"),
    ("rss_mb", "web after"): Reach("MB", None, higher=False),
    ("rss_mb", "decider after"): Reach("MB", None, higher=False),
    ("rss_mb", "doer after"): Reach("MB", None, higher=False),
    ("rss_mb", "reconciler after"): Reach("MB", None, higher=False),
    ("rss_mb", "relay after"): Reach("MB", None, higher=False),
    ("rss_mb", "ticker after"): Reach("MB", None, higher=False),
    ("rss_mb", "all after"): Reach("MB", 400, higher=False, about="after the board's load"),
    ("page_ms", "now first byte p50"): Reach("ms", None, higher=False, about="10,000 sites, 1,000 runs; one at a time"),
    ("page_ms", "now first byte p99"): Reach("ms", None, higher=False),
    ("page_ms", "now complete p50"): Reach("ms", None, higher=False, about="loaded and laid out by a browser"),
    ("page_ms", "now complete p99"): Reach("ms", None, higher=False),
    ("page_ms", "runs first byte p50"): Reach("ms", None, higher=False),
    ("page_ms", "runs first byte p99"): Reach("ms", None, higher=False),
    ("page_ms", "runs complete p50"): Reach("ms", None, higher=False),
    ("page_ms", "runs complete p99"): Reach("ms", None, higher=False),
    ("page_ms", "run first byte p50"): Reach("ms", None, higher=False),
    ("page_ms", "run first byte p99"): Reach("ms", None, higher=False),
    ("page_ms", "run complete p50"): Reach("ms", None, higher=False),
    ("page_ms", "run complete p99"): Reach("ms", None, higher=False),
    ("page_ms", "sites first byte p50"): Reach("ms", None, higher=False),
    ("page_ms", "sites first byte p99"): Reach("ms", None, higher=False),
    ("page_ms", "sites complete p50"): Reach("ms", None, higher=False),
    ("page_ms", "sites complete p99"): Reach("ms", None, higher=False),
    ("page_kb", "heaviest"): Reach("kB", 150, higher=False, about="everything over the wire, at the first visit"),
    ("live_ms", "to pixel p50"): Reach("ms", None, higher=False, about="a site's report, until who watches sees it"),
    ("live_ms", "to pixel p99"): Reach("ms", None, higher=False),
    ("watched", "by nobody"): Reach(
        "%", None, higher=False, about="of a core: the hub while sites report 20 times a second"
    ),
    ("watched", "by 20"): Reach("%", None, higher=False, about="the same, and 20 people watch the run"),
    ("watched", "renewed"): Reach("parts", None, about="of their pages, meanwhile"),
    ("simulate_s", "10x50"): Reach(
        "s", None, higher=False, about="10 rounds of logistic_regression on 50 sites' files of 200 rows, in one process"
    ),
    ("simulate_s", "10x50 processes"): Reach("s", None, higher=False, about="each site in a process of its own"),
    ("simulate_s", "10x50 bare"): Reach("s", None, higher=False, about="the same hooks, called by a loop"),
    ("noise_s", "500 MB"): Reach("s", None, higher=False, about="an update clipped, noised and packed into a file"),
    ("noise_s", "500 MB plain"): Reach("s", None, higher=False, about="packed alone"),
    ("noise_s", "500 MB to plain"): Reach("ratio", None, higher=False),
    ("noise_ms", "1000 numbers"): Reach("ms", None, higher=False, about="a small update, its cost counted"),
    ("try_s", "plain"): Reach("s", None, higher=False, about="fedyard task try, two rounds on 200 rows, a command"),
    ("try_s", "with noise"): Reach("s", None, higher=False, about="by a section with a budget"),
    ("try_s", "no command"): Reach("s", None, higher=False, about="fedyard --version"),
    ("site_rss_mb", "agent idle"): Reach("MB", 60, higher=False, about="a site's agent"),
    ("site_rss_mb", "agent 500 MB"): Reach(
        "MB", None, higher=False, about="its most memory in a sealed run of two rounds, model and updates of 500 MB"
    ),
    ("site_rss_mb", "hooks 500 MB"): Reach("MB", None, higher=False, about="the most of the process of its hooks"),
    ("growth", "reports"): Reach("ratio", 0.9, about="with 100,000 runs and 1,000,000 events in the store"),
    ("growth", "polls"): Reach("ratio", 0.9, about="GET a run, to the empty store"),
    ("seal_mb_per_s", "1GiB"): Reach(_MB, 0.6, about="sealed for three recipients, 0.6 of the cipher", of=_CIPHER),
    ("open_mb_per_s", "1GiB"): Reach(_MB, 0.6, about="opened by one of them, 0.6 of the cipher", of=_CIPHER),
    ("artifact_mb_per_s", "up 1"): _half_of("bare up 1", "upload of 1 GiB, half of the bare transfer"),
    ("artifact_mb_per_s", "down 1"): _half_of("bare down 1", "and down"),
    ("artifact_mb_per_s", "up 8"): _half_of("bare up 8", "eight at once"),
    ("artifact_mb_per_s", "down 8"): _half_of("bare down 8"),
    ("web_rss_mb", "transfers"): Reach("MB", 150, higher=False, about="the web's most memory during all of these"),
    ("resume_overhead", "50 cuts"): Reach("ratio", 1.02, higher=False, about="bytes sent for one uploaded, 1 GiB"),
    ("broadcast_cost", "2"): Reach("MB", None, higher=False, about="sent to seal 100 MiB for two"),
    ("broadcast_cost", "200"): Reach(
        "MB", 1.01, higher=False, about="for two hundred, 1.01 of the same", of=("broadcast_cost", "2")
    ),
    ("part_mb_per_s", "bare up 1"): Reach(_MB, None, about="granian writes 4 MiB files durably"),
    ("part_mb_per_s", "bare down 1"): Reach(_MB, None, about="granian reads them"),
    ("part_mb_per_s", "bare up 8"): Reach(_MB, None),
    ("part_mb_per_s", "bare down 8"): Reach(_MB, None),
    ("part_mb_per_s", "aes-256-gcm"): Reach(_MB, None, about="the cipher in one thread, from memory to memory"),
    ("part_mb_per_s", "aes-256-gcm, files"): Reach(_MB, None, about="the same from file to new file"),
    ("part_mb_per_s", "sha-256"): Reach(_MB, None, about="the digest in one thread, from memory"),
    ("part_per_s", "python loops"): Reach(_LOOPS, None, about="all cores at once, before and after each case"),
    ("part_per_s", "confirmed publish"): Reach(_RATE, None, about="pika, one message at a time, quorum queue"),
    ("part_per_s", "confirmed publish, window"): Reach(_RATE, None, about="pika, 1,000 unconfirmed at most"),
    ("part_per_s", "batch insert"): Reach(_RATE, None, about="PostgreSQL rows, 1,000 in a transaction"),
    ("part_per_s", "commits"): Reach(_RATE, None, about="PostgreSQL transactions of one row"),
    ("part_per_s", "bare processes"): Reach(_RATE, None, about="sh that ends at once, one after the other"),
    ("part_per_s", "bare jobs"): Reach(
        _RATE, None, about="Jobs of the tests' API server, made and removed by requests"
    ),
    ("part_per_s", "empty reply"): Reach(_RATE, None, about="a WSGI function that answers {}, through granian"),
}


def median_figure(
    name: str, case: str, values: Sequence[float], where: dict[str, float] | None = None, unit: str | None = None
) -> Figure:
    """The figure of some runs."""
    unit = unit or REACHES[name, case].unit
    return Figure(
        name=name,
        case=case,
        value=_short(statistics.median(values)),
        unit=unit,
        runs=len(values),
        min=_short(min(values)),
        max=_short(max(values)),
        where=where or {},
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of them lies; the largest for few."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def write_figures(path: Path, figures: Sequence[Figure]) -> None:
    """One JSON line each; figures of other cases that the file holds stay."""
    kept = {(one.name, one.case): one for one in read_figures(path)}
    kept |= {(one.name, one.case): one for one in figures}
    order = list(REACHES)
    known = sorted((key for key in kept if key in REACHES), key=order.index)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(msgspec.json.encode(kept[key]) + b"\n" for key in known))


def read_figures(path: Path) -> list[Figure]:
    """The figures of a file; none if it is not there."""
    if not path.exists():
        return []
    return [msgspec.json.decode(line, type=Figure) for line in path.read_bytes().splitlines() if line]


def _short(value: float) -> float:
    """Three digits that mean something."""
    return round(value) if abs(value) >= 1000 else float(f"{value:.3g}")
