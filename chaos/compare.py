"""The sites' ledgers against the hub's store: nothing that was promised may be missing, doubled or out of order.

After a restore the same, but for what was decided between the backup and the stop and that nobody sends again: that may
be gone, and nothing else.

Pure: ledgers and the store's rows in, sentences out. No sentence anywhere is a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.ledger import Answered, AnyLine, Asked, Got, Recovered
from config.clock import Micros

FINAL = frozenset({"succeeded", "failed", "cancelled"})

EXPECTED_PROBLEMS = frozenset({409})
"""Refusals that a site may meet: the round went on without it, a run is still live."""

SENT_AGAIN = frozenset({"post_messages"})
"""What sites send again to a hub that was restored, come what may: it is there in the end. Reports are sent again where
their run is still there and wants them; what people ask for is not."""
OF_A_RUN = frozenset({"report_seat", "report_aggregated"})
MOVED = "moved"
"""What an entry has become that comes again under another number."""


@dataclass(frozen=True)
class Entry:
    """A row of the store's inbox."""

    seq: int
    kind: str
    message_id: str | None


@dataclass(frozen=True)
class Undone:
    """A command that a restore undid. since: when the making of the backup began that was restored."""

    status: int
    since: Micros


@dataclass(frozen=True)
class StoredMessage:
    sender: str
    sha256: str


@dataclass(frozen=True)
class Store:
    """What the hub's store holds in the end.

    commands: id -> (state, status). runs: id -> state. doubled_events: sentences, one for each event that one command
    caused twice. acknowledged: site -> how far its inbox is acknowledged. undone: ids of commands that a restore took
    back: decided when the hub was stopped, and not in the backup. live_tokens: ids of those that are not revoked.
    forgotten_keys: sentences, one for each key that its site knows to be revoked and the hub does not.
    """

    commands: Mapping[str, tuple[str, int]]
    messages: Mapping[str, StoredMessage]
    inboxes: Mapping[str, Sequence[Entry]]
    acknowledged: Mapping[str, int]
    runs: Mapping[str, str]
    runs_of_project: Mapping[str, int] = field(default_factory=dict)
    undone: Mapping[str, Undone] = field(default_factory=dict)
    restores: Sequence[tuple[Micros, Micros]] = ()
    """From the begin of each backup's making until the hub that was restored from it was ready."""
    live_tokens: frozenset[str] = frozenset()
    forgotten_keys: Sequence[str] = ()
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
    heard: Sequence[Got | Recovered]
    """What the inbox brought, and where the hub's history went back in between."""

    @property
    def got(self) -> Iterator[Got]:
        return (line for line in self.heard if isinstance(line, Got))

    @classmethod
    def of(cls, lines: Iterator[AnyLine]) -> Books:
        asked: dict[str, Asked] = {}
        answered: dict[str, Answered] = {}
        heard: list[Got | Recovered] = []
        for line in lines:
            match line:
                case Asked():
                    asked[line.id] = line
                case Answered():
                    answered[line.id] = line
                case Got() | Recovered():
                    heard.append(line)
        return cls(asked, answered, heard)


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
        "answers that no client should get": list(_strange(books, store)),
        "messages lost": list(_lost(books, store)),
        "messages doubled": list(_doubled(books, store)),
        "messages out of order": list(_out_of_order(books, store)),
        "acknowledged and unseen": list(_unseen(books, store)),
        "revocations not in force": [*_not_revoked(books, store), *store.forgotten_keys],
        "runs not final": [f"run {run} is {state}" for run, state in store.runs.items() if state not in FINAL],
        "breaks in the chains of events": list(store.chain_breaks),
        "rows left in the outbox": list(store.outbox),
        "commands left in queues": list(store.left_in_queues),
        "dead letters": list(store.dead_letters),
    }


def undone(books: Mapping[str, Books], store: Store) -> Mapping[str, int]:
    """What was answered and is legitimately gone with a restore, counted by kind."""
    return Counter(
        book.asked[id].kind
        for book in books.values()
        for id, answer in book.answered.items()
        if _good(answer) and id not in store.commands and _may_be_undone(book.asked[id], answer, store)
    )


def _may_be_undone(asked: Asked, answer: Answered, store: Store) -> bool:
    """It was decided between a backup and the stop, and nobody sends it again.

    Of a 202 only that the decision came then: the answer may be older than the backup.
    """
    gone = store.undone.get(asked.id)
    return gone is not None and asked.kind not in SENT_AGAIN and (answer.at >= gone.since or not answer.decided)


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
            if outcome is None and _may_be_undone(asked, answer, store):
                continue
            if outcome is None:
                lost = "is gone with a restore" if id in store.undone else "was never decided"
                yield f"{name} {lost}"
            elif outcome[0] == "accepted" and asked.sha256 and asked.sha256 not in held:
                yield f"{name} is accepted, but its message is not in the store"
            elif outcome[0] == "accepted" and asked.through > store.acknowledged.get(site, 0):
                yield f"{name} is accepted, but the inbox is acknowledged to {store.acknowledged.get(site, 0)} only"
            elif asked.kind == "start_run" and any(run not in store.runs for run in answer.made):
                yield f"{name} made a run that is not in the store"


def _differing(books: Mapping[str, Books], store: Store) -> Iterator[str]:
    """A command that a restore undid may have been delivered again, and decided otherwise."""
    for site, book in books.items():
        for id, answer in book.answered.items():
            outcome, before = store.commands.get(id), store.undone.get(id)
            if before is not None and before.status == answer.status and answer.at >= before.since:
                continue
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


def _strange(books: Mapping[str, Books], store: Store) -> Iterator[str]:
    """Until a site has recovered from a restore it may speak of runs that are gone."""
    for site, book in books.items():
        recovered = [line.at for line in book.heard if isinstance(line, Recovered)]
        unaware = [
            (begun, min((at for at in recovered if at >= begun), default=back)) for begun, back in store.restores
        ]
        for id, answer in book.answered.items():
            of_the_past = book.asked[id].kind in OF_A_RUN and any(a <= answer.at <= b for a, b in unaware)
            if answer.status == 404 and of_the_past:
                continue
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
            if entry.seq not in seen and entry.kind != MOVED:
                yield f"entry {entry.seq} ({entry.kind}) of site {site} never reached it"
        highest = max(seen, default=0)
        left_out = {
            seq
            for line in book.heard
            if isinstance(line, Recovered)
            for seq in range(line.common_seq + 1, line.read_after + 1)
        }
        for gap in set(range(1, highest + 1)) - seen - left_out:
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
        for line in book.heard:
            if isinstance(line, Recovered):  # what was forgotten comes again, under numbers that were never used
                where = {message: seq for message, seq in where.items() if seq <= line.common_seq}
                continue
            before = at.setdefault(line.seq, line)
            if (before.kind, before.message_id) != (line.kind, line.message_id):
                yield f"entry {line.seq} of site {site} came as {before.kind} and then as {line.kind}"
            if line.kind == "message" and line.message_id and where.setdefault(line.message_id, line.seq) != line.seq:
                yield f"message {line.message_id} came to site {site} as entry {where[line.message_id]} and {line.seq}"


def _out_of_order(books: Mapping[str, Books], store: Store) -> Iterator[str]:
    """Entries come in the order of their numbers; what a sender sends one after the other arrives so.

    Not what was under way or new when the hub was restored: it may have been sent again behind something newer.
    """
    ordinals = {
        asked.sha256: asked.ordinal
        for book in books.values()
        for id, asked in book.asked.items()
        if asked.sha256 and not _disturbed(asked, book.answered.get(id), store)
    }
    for site, book in books.items():
        highest = 0
        last: dict[str, int] = {}
        for line in book.heard:
            if isinstance(line, Recovered):
                highest = line.read_after
                last = {}
                continue
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


def _disturbed(asked: Asked, answer: Answered | None, store: Store) -> bool:
    return any(asked.at <= back and (answer is None or answer.at >= begun) for begun, back in store.restores)


def _unseen(books: Mapping[str, Books], store: Store) -> Iterator[str]:
    """What a site has seen under a number is what the hub has there; no number was given twice."""
    for site, book in books.items():
        seen = {line.seq: line.message_id for line in book.got}
        acknowledged = store.acknowledged.get(site, 0)
        for entry in store.inboxes.get(site, ()):
            if entry.kind == MOVED or entry.seq > acknowledged:
                continue
            if seen.get(entry.seq) != entry.message_id:
                yield f"entry {entry.seq} ({entry.kind}) of site {site} is acknowledged, and the site never saw it"


def _not_revoked(books: Mapping[str, Books], store: Store) -> Iterator[str]:
    for site, book in books.items():
        for token in {line.token_id for line in book.got if line.token_id}:
            if token in store.live_tokens:
                yield f"token {token} is good, and site {site} was told that it is revoked"
