"""Reads both halves of the books: the sites' ledgers, and what the hub's store and broker hold in the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from broker.dead_letters import RabbitDeadLetters
from chaos.compare import Books, Entry, Store, StoredMessage
from chaos.ledger import read
from chaos.stack import VHOST, Stack
from ops.dead_letters import line
from storage.audit import verify
from storage.database import Database

_DOUBLED = """
SELECT command_id, kind, subject_id, count(*) FROM events
GROUP BY command_id, stream_id, kind, subject_kind, subject_id, run_id, site_id, facts_json HAVING count(*) > 1
"""


def ledgers_in(folder: Path) -> Mapping[str, Books]:
    """By site."""
    return {path.stem: Books.of(read(path)) for path in sorted(folder.glob("*.jsonl"))}


def store_of(database: Database, stack: Stack) -> Store:
    """Everything that the comparison looks at."""
    with database.connection():
        inboxes: dict[str, list[Entry]] = defaultdict(list)
        for site, seq, kind, message in database.all(
            "SELECT site_id, seq, kind, message_id FROM inbox ORDER BY site_id, seq"
        ):
            inboxes[site].append(Entry(seq, kind, message))
        runs = database.all("SELECT id, project_id, state FROM runs")
        return Store(
            commands={
                id: (state, status) for id, state, status in database.all("SELECT id, state, status FROM commands")
            },
            messages={
                id: StoredMessage(sender, sha256)
                for id, sender, sha256 in database.all("SELECT id, sender_site_id, sha256 FROM messages")
            },
            inboxes=inboxes,
            acknowledged=dict(database.all("SELECT site_id, acknowledged_seq FROM mailboxes")),
            runs={id: state for id, _, state in runs},
            runs_of_project=Counter(project for _, project, _ in runs),
            doubled_events=[
                f"command {command} caused {kind} of {subject} {count} times"
                for command, kind, subject, count in database.all(_DOUBLED)
            ],
            chain_breaks=list(verify(database)),
            outbox=[f"outbox row {id}" for (id,) in database.all("SELECT id FROM outbox")],
            dead_letters=_dead_letters(stack),
            left_in_queues=[f"{count} in {queue}" for queue, count in queued(stack).items() if count],
        )


def _dead_letters(stack: Stack) -> Sequence[str]:
    letters = RabbitDeadLetters(stack.direct_broker_url)
    try:
        return [line(letter) for letter in letters.list()]
    finally:
        letters.close()


def queued(stack: Stack) -> Mapping[str, int]:
    """How many messages each queue holds, ready and in hand. The figures may be five seconds old."""
    found = cast("list[dict[str, object]]", stack.management.call("GET", f"/queues/{VHOST}"))
    return {str(queue["name"]): int(str(queue.get("messages", 0))) for queue in found}


def run_reasons(database: Database) -> Iterator[tuple[str, str, int]]:
    """State, reason and number of all runs."""
    with database.connection():
        yield from (
            (str(s), str(r), int(n))
            for s, r, n in database.all(
                "SELECT state, reason, count(*) FROM runs GROUP BY state, reason ORDER BY count(*) DESC"
            )
        )
