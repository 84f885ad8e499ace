"""Reads both halves of the books: the sites' ledgers, and what the hub's store and broker hold in the end."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from broker.dead_letters import RabbitDeadLetters
from broker.routes import queues_of
from chaos.compare import Books, Entry, Store, StoredMessage, Undone
from chaos.ledger import read
from chaos.restoring import Restored
from chaos.stack import VHOST, Stack
from domain.table import Kind
from fedyard.agent.site import Folder
from fedyard.wire.plurals import counted
from ops.backups.content import HEADS, ChainHead, read_lines
from ops.dead_letters import line
from storage.audit import verify, verify_against
from storage.database import Database

_DOUBLED = """
SELECT command_id, kind, subject_id, count(*) FROM events
GROUP BY command_id, stream_id, kind, subject_kind, subject_id, run_id, site_id, facts_json HAVING count(*) > 1
"""


def ledgers_in(folder: Path) -> Mapping[str, Books]:
    """By site."""
    return {path.stem: Books.of(read(path)) for path in sorted(folder.glob("*.jsonl"))}


def store_of(database: Database, stack: Stack, restores: Sequence[Restored], agents: Mapping[str, Folder]) -> Store:
    """Everything that the comparison looks at. agents: their folders, by name."""
    heads = [head for one in restores for head in read_lines(one.backup / HEADS, ChainHead)]
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
                f"command {command} caused {kind} of {subject} {counted(count, 'time')}"
                for command, kind, subject, count in database.all(_DOUBLED)
            ],
            undone={
                id: Undone(status, one.begun_at) for one in reversed(restores) for id, status in one.undone.items()
            },
            restores=[(one.begun_at, one.ready_at) for one in restores],
            live_tokens=frozenset(str(id) for (id,) in database.all("SELECT id FROM tokens WHERE revoked_at IS NULL")),
            forgotten_keys=list(_forgotten_keys(database, agents)),
            chain_breaks=[*verify(database), *verify_against(database, heads)],
            outbox=[f"outbox row {id}" for (id,) in database.all("SELECT id FROM outbox")],
            dead_letters=_dead_letters(stack),
            left_in_queues=[f"{count} in {queue}" for queue, count in queued(stack).items() if count],
        )


def _forgotten_keys(database: Database, agents: Mapping[str, Folder]) -> Iterator[str]:
    """Sealing keys that an agent knows to be revoked, and the hub does not."""
    for name, folder in agents.items():
        site, ring = folder.site_id(), folder.keyring()
        states: dict[int, str] = dict(database.all("SELECT epoch, state FROM site_keys WHERE site_id = %s", site))
        for one in ring.epochs():
            state = states.get(one.key.epoch, "revoked")
            if one.revoked and state != "revoked":
                yield f"key {one.key.epoch} of {name} is {state}, and its site has revoked it"


def not_recovered(database: Database, sites: Sequence[str]) -> int:
    """How many of these sites have yet to tell the hub what they hold of its history before the last restore."""
    with database.connection():
        row = database.one(
            "SELECT count(*) FROM recoveries WHERE site_id {any:uuid}"
            " AND history_id = (SELECT history_id FROM history)",
            database.many(sites),
        )
    assert row is not None
    return len(set(sites)) - int(row[0])


def succeeded(database: Database, runs: Sequence[str]) -> Sequence[str]:
    """Those of these runs that did."""
    with database.connection():
        rows = database.all("SELECT id FROM runs WHERE state = 'succeeded' AND id {any:uuid}", database.many(runs))
    return [str(id) for (id,) in rows]


def _dead_letters(stack: Stack) -> Sequence[str]:
    letters = RabbitDeadLetters(stack.direct_broker_url)
    try:
        return [line(letter) for letter in letters.list()]
    finally:
        letters.close()


def queued(stack: Stack) -> Mapping[str, int]:
    """How many messages each queue holds, ready and in hand. The figures may be five seconds old.

    Without those of what is packed: the agents' heartbeats go on, so that one is always on its way.
    """
    found = cast("list[dict[str, object]]", stack.management.call("GET", f"/queues/{VHOST}"))
    packed = queues_of(Kind.PACKED)
    return {str(queue["name"]): int(str(queue.get("messages", 0))) for queue in found if queue["name"] not in packed}


def run_reasons(database: Database) -> Iterator[tuple[str, str, int]]:
    """State, reason and number of all runs."""
    with database.connection():
        yield from (
            (str(s), str(r), int(n))
            for s, r, n in database.all(
                "SELECT state, reason, count(*) FROM runs GROUP BY state, reason ORDER BY count(*) DESC"
            )
        )
