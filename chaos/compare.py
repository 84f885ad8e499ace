"""The sites' ledgers against the hub's store: nothing that was promised may be missing, doubled or out of order.

Pure: ledgers and the store's rows in, sentences out. No sentence anywhere is a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.ledger import Answered, AnyLine, Asked, Got

FINAL = frozenset({"succeeded", "failed", "cancelled"})

EXPECTED_PROBLEMS = frozenset({409})
"""Refusals that a site may meet: the round went on without it, a run is still live."""


@dataclass(frozen=True)
class Entry:
    """A row of the store's inbox."""

    seq: int
    kind: str
    message_id: str | None


@dataclass(frozen=True)
class StoredMessage:
    sender: str
    sha256: str


@dataclass(frozen=True)
class Store:
    """What the hub's store holds in the end.

    commands: id -> (state, status). runs: id -> state. doubled_events: sentences, one for each event that one command
    caused twice. acknowledged: site -> how far its inbox is acknowledged. reports: (run, site) -> counted reports.
    """

    commands: Mapping[str, tuple[str, int]]
    messages: Mapping[str, StoredMessage]
    inboxes: Mapping[str, Sequence[Entry]]
    acknowledged: Mapping[str, int]
    runs: Mapping[str, str]
    runs_of_project: Mapping[str, int] = field(default_factory=dict)
    doubled_events: Sequence[str] = ()
    chain_breaks: Sequence[str] = ()
    outbox: Sequence[str] = ()
    dead_letters: Sequence[str] = ()
    left_in_queues: Sequence[str] = ()


@dataclass(frozen=True)
class Books:
    """One site's ledger, sorted by what its lines are about."""

    asked: Mapping[str, Asked]
    answered: Mapping[str, Answered]
    got: Sequence[Got]

    @classmethod
    def of(cls, lines: Iterator[AnyLine]) -> Books:
        asked: dict[str, Asked] = {}
        answered: dict[str, Answered] = {}
        got: list[Got] = []
        for line in lines:
            match line:
                case Asked():
                    asked[line.id] = line
                case Answered():
                    answered[line.id] = line
                case Got():
                    got.append(line)
        return cls(asked, answered, got)


Findings = Mapping[str, list[str]]


def compare(books: Mapping[str, Books], store: Store, started: Mapping[str, set[str]]) -> Findings:
    """Each zero of the table with the sentences that break it. books: by site.

    started: project -> ids of the commands by which its runs were started; whoever else starts runs there spoils it.
    """
    return {
        "commands never answered": list(_unanswered(books)),
        "commands acknowledged to a client but not applied": list(_not_applied(books, store)),
        "answers that differ from the store": list(_differing(books, store)),
        "commands applied twice": [*_twice(books, store), *_runs_twice(store, started), *store.doubled_events],
        "answers that no client should get": list(_strange(books)),
        "messages lost": list(_lost(books, store)),
        "messages doubled": list(_doubled(books, store)),
        "messages out of order": list(_out_of_order(books)),
        "runs not final": [f"run {run} is {state}" for run, state in store.runs.items() if state not in FINAL],
        "breaks in the chains of events": list(store.chain_breaks),
        "rows left in the outbox": list(store.outbox),
        "commands left in queues": list(store.left_in_queues),
        "dead letters": list(store.dead_letters),
    }


def _good(answer: Answered) -> bool:
    return answer.status < 300


def _unanswered(books: Mapping[str, Books]) -> Iterator[str]:
    for site, book in books.items():
        for id, asked in book.asked.items():
            if id not in book.answered:
                yield f"{asked.kind} {id} of site {site} got no answer"


def _not_applied(books: Mapping[str, Books], store: Store) -> Iterator[str]:
    """A 202 promises a decision, a 200 or 201 its effect."""
    held = {message.sha256 for message in store.messages.values()}
    for site, book in books.items():
        for id, answer in book.answered.items():
            if not _good(answer):
                continue
            asked, outcome = book.asked[id], store.commands.get(id)
            name = f"{asked.kind} {id} of site {site}, answered {answer.status},"
            if outcome is None:
                yield f"{name} was never decided"
            elif outcome[0] == "accepted" and asked.sha256 and asked.sha256 not in held:
                yield f"{name} is accepted, but its message is not in the store"
            elif outcome[0] == "accepted" and asked.through > store.acknowledged.get(site, 0):
                yield f"{name} is accepted, but the inbox is acknowledged to {store.acknowledged.get(site, 0)} only"
            elif asked.kind == "start_run" and any(run not in store.runs for run in answer.made):
                yield f"{name} made a run that is not in the store"


def _differing(books: Mapping[str, Books], store: Store) -> Iterator[str]:
    for site, book in books.items():
        for id, answer in book.answered.items():
            outcome = store.commands.get(id)
            if answer.decided and outcome is not None and outcome[1] != answer.status:
                yield f"{book.asked[id].kind} {id} of site {site}: {answer.status} answered, {outcome[1]} stored"


def _twice(books: Mapping[str, Books], store: Store) -> Iterator[str]:
    """Every body that a site sends is its own, so two messages with one body are one command applied twice."""
    copies = Counter(message.sha256 for message in store.messages.values())
    for site, book in books.items():
        for id, asked in book.asked.items():
            if asked.sha256 and copies[asked.sha256] > 1:
                yield f"{asked.kind} {id} of site {site} made {copies[asked.sha256]} messages"


def _runs_twice(store: Store, started: Mapping[str, set[str]]) -> Iterator[str]:
    for project, ids in started.items():
        accepted = sum(store.commands.get(id, ("", 0))[0] == "accepted" for id in ids)
        if store.runs_of_project.get(project, 0) != accepted:
            yield f"project {project} has {store.runs_of_project.get(project, 0)} runs, {accepted} were started"


def _strange(books: Mapping[str, Books]) -> Iterator[str]:
    for site, book in books.items():
        for id, answer in book.answered.items():
            if not _good(answer) and answer.status not in EXPECTED_PROBLEMS:
                yield f"{book.asked[id].kind} {id} of site {site}: {answer.status} {answer.slug}"


def _lost(books: Mapping[str, Books], store: Store) -> Iterator[str]:
    """Whatever was accepted is in every recipient's inbox, and whatever is in an inbox has reached its site."""
    of_body = {message.sha256: id for id, message in store.messages.items()}
    stored = {site: {entry.message_id for entry in entries} for site, entries in store.inboxes.items()}
    for site, book in books.items():
        for id, asked in book.asked.items():
            message = of_body.get(asked.sha256) if asked.sha256 else None
            for recipient in asked.to if message else ():
                if message not in stored.get(recipient, set()):
                    yield f"message {message} of site {site} ({id}) is not in the inbox of {recipient}"
        seen = {line.seq for line in book.got}
        for entry in store.inboxes.get(site, ()):
            if entry.seq not in seen:
                yield f"entry {entry.seq} ({entry.kind}) of site {site} never reached it"
        highest = max(seen, default=0)
        for gap in set(range(1, highest + 1)) - seen:
            yield f"site {site} never saw entry {gap}, but saw {highest}"


def _doubled(books: Mapping[str, Books], store: Store) -> Iterator[str]:
    for site, entries in store.inboxes.items():
        messages = Counter(entry.message_id for entry in entries if entry.message_id and entry.kind == "message")
        for message, count in messages.items():
            if count > 1:
                yield f"message {message} is {count} times in the inbox of {site}"
    for site, book in books.items():
        at: dict[int, Got] = {}
        where: dict[str, int] = {}
        for line in book.got:
            before = at.setdefault(line.seq, line)
            if (before.kind, before.message_id) != (line.kind, line.message_id):
                yield f"entry {line.seq} of site {site} came as {before.kind} and then as {line.kind}"
            if line.kind == "message" and line.message_id and where.setdefault(line.message_id, line.seq) != line.seq:
                yield f"message {line.message_id} came to site {site} as entry {where[line.message_id]} and {line.seq}"


def _out_of_order(books: Mapping[str, Books]) -> Iterator[str]:
    """Entries come in the order of their numbers; what a sender sends one after the other arrives so."""
    ordinals = {asked.sha256: asked.ordinal for book in books.values() for asked in book.asked.values() if asked.sha256}
    for site, book in books.items():
        highest = 0
        last: dict[str, int] = {}
        for line in book.got:
            if line.seq <= highest:
                continue  # it came again
            if line.seq != highest + 1:
                yield f"site {site} saw entry {line.seq} after {highest}"
            highest = line.seq
            ordinal = ordinals.get(line.sha256 or "", 0)
            if ordinal and line.sender:
                if ordinal < last.get(line.sender, 0):
                    yield f"site {site} got number {ordinal} of {line.sender} after number {last[line.sender]}"
                last[line.sender] = ordinal
