"""Whatever a record holds comes back as it was written: every field of every class, by each way of loading, on both
databases. PostgreSQL loads what most commands need as JSON in one query, and all else as rows; SQLite as rows alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from domain import records as r
from domain import stream_records as sr
from domain.ids import Id, derive
from domain.needs import Needs
from domain.records import RECORDS, Record
from storage import loading, store
from storage.database import Database, open_database
from storage.store import Changes, Store
from storage.tables import COLUMNS
from tests.databases import fresh_sqlite, lent_postgres

LARGEST = 2**63 - 1
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "NULL", "null", '"', "\\", "\\u0000", "{a,b}", "%s", "'", "\n\t\r\x01\x7f", "€😀", "[]", '{"a": [1.5, null]}']
)
INTEGERS = st.integers(-LARGEST - 1, LARGEST) | st.sampled_from([0, 1, -1, 2**53 + 1, 2**31, LARGEST, -LARGEST - 1])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "Id": st.uuids().map(str),
    "str": TEXTS,
    "int": INTEGERS,
    "Micros": INTEGERS,
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "bytes": st.binary(max_size=12) | st.sampled_from([b"", b"\x00", b"\\x41", b"'\"\\", bytes(range(256))]),
}
AT_ONCE = set(loading._PARTS.values())
"""Loaded by the one query."""
APART = {r.KeyStatement, r.Score, r.ArtifactDeclaration, r.LogPiece, r.WorkloadEvidence, r.WorkloadLogPiece}
"""No decision loads them."""
BY_THE_STORE = {r.Outcome, r.OutboxRow}

_numbers = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = fresh_sqlite(Path(tmp_path_factory.mktemp("fields"), "store.sqlite"))
        else:
            url = stack.enter_context(lent_postgres(request.getfixturevalue("postgres")))
        opened = open_database(url)
        stack.callback(opened.close)
        yield opened


def links(number: int) -> dict[type[Record], dict[str, Any]]:
    """What ties the rows of one example to each other, so that the loader finds them. All else is drawn."""

    def key(name: str) -> Id:
        return derive("every field", number, name)

    organisation, site, project, run, task = map(key, ("organisation", "site", "project", "run", "task"))
    message, artifact = key("message"), key("artifact")
    return {
        r.Organisation: {"id": organisation, "name": f"name {number}"},
        r.Account: {"id": key("account"), "organisation_id": organisation},
        r.Token: {"id": key("token"), "owner_kind": "account", "owner_id": key("account"), "sha256": f"token {number}"},
        r.Enrolment: {"id": key("enrolment"), "organisation_id": organisation, "sha256": f"enrolment {number}"},
        r.Site: {"id": site, "organisation_id": organisation, "name": f"name {number}"},
        r.SiteKey: {"site_id": site, "epoch": number},
        r.KeyStatement: {"site_id": site, "epoch": number},
        r.Mailbox: {"site_id": site},
        r.Recovery: {"site_id": site},
        r.History: {"one": 1},
        r.Revocation: {"name": f"name {number}"},
        r.Project: {
            "id": project,
            "organisation_id": organisation,
            "coordinator_site_id": site,
            "name": f"name {number}",
        },
        r.Membership: {"project_id": project, "site_id": site},
        r.Run: {"id": run, "project_id": project, "coordinator_site_id": site, "number": number},
        r.TaskRun: {"id": task, "run_id": run, "state": "active", "round": number, "seq": 1},
        r.Round: {"task_run_id": task, "number": number, "run_id": run},
        r.Seat: {"task_run_id": task, "site_id": site, "run_id": run},
        r.Score: {"task_run_id": task, "round": number, "site_id": site, "run_id": run},
        r.Submission: {"task_run_id": task, "round": number, "site_id": site, "run_id": run},
        r.Message: {"id": message, "sender_site_id": site, "project_id": project, "kind": "model"},
        r.LogHead: {"run_id": run},
        r.SiteLog: {"run_id": run, "site_id": site, "task_seq": 1},
        r.LogPiece: {"run_id": run, "place": 1, "site_id": site, "task_seq": 1},
        r.Model: {"project_id": project, "version": number, "artifact_id": artifact, "run_id": run},
        r.InboxEntry: {"site_id": site, "seq": number, "message_id": message, "state": "queued"},
        r.Artifact: {"id": artifact, "project_id": project, "owner_site_id": site, "state": "stored"},
        r.ArtifactDeclaration: {"artifact_id": artifact},
        r.Archive: {"artifact_id": artifact},
        r.ArtifactTotal: {"project_id": project},
        r.ArtifactShare: {"project_id": project, "site_id": site},
        r.Backlog: {"sender_site_id": site, "site_id": site},
        r.Told: {"cause": f"cause {number}"},
        r.Stream: {"id": project},
        r.Event: {"stream_id": project, "seq": number},
        r.Webhook: {"id": key("webhook"), "owner_kind": "organisation", "owner_id": organisation},
        r.WebhookDelivery: {"id": key("delivery"), "webhook_id": key("webhook"), "cause": f"cause {number}"},
        r.EventCursor: {"stream_id": project},
        r.Workload: {"id": key("workload"), "project_id": project},
        r.WorkloadAttempt: {"workload_id": key("workload"), "attempt": number},
        r.WorkloadEvidence: {"workload_id": key("workload"), "attempt": number},
        r.ProjectRound: {"project_id": project, "epoch": number, "number": number},
        r.ProjectSecret: {"project_id": project, "name": f"name {number}"},
        r.WorkloadFollow: {"workload_id": key("workload"), "attempt": number},
        r.WorkloadLogHead: {"workload_id": key("workload"), "attempt": number},
        r.WorkloadLogPiece: {"workload_id": key("workload"), "attempt": number, "start": number},
        sr.Counter: {"name": f"name {number}"},
        sr.Architecture: {"id": key("architecture"), "number": number, "project_id": project, "deleted_at": None},
        sr.ArchitectureVersion: {"architecture_id": key("architecture"), "version": number},
        sr.Inference: {"id": key("inference"), "number": number, "project_id": project, "location": "hub"},
        sr.Configuration: {"id": key("configuration"), "number": number, "project_id": project, "deleted_at": None},
        sr.ModelFile: {"architecture_id": key("architecture"), "version": number, "artifact_id": artifact},
        sr.Deployment: {"run_id": run, "number": number},
        sr.TrainingResult: {"id": key("result"), "number": number, "run_id": run},
        sr.DataSource: {"id": key("data source")},
        sr.ModelAnnouncement: {"id": key("model announcement")},
        sr.QuarantinedRecord: {"id": key("quarantined record")},
        sr.Match: {"id": key("match"), "run_id": run, "workload_id": None},
        sr.Sending: {"id": key("sending")},
        sr.KafkaCluster: {"id": key("kafka cluster"), "name": f"name {number}"},
        sr.StreamPosition: {"cluster": f"name {number}", "topic": f"name {number}", "partition": number},
        r.Outcome: {"id": key("command")},
        r.OutboxRow: {"id": key("follow-up"), "created_at": number},
    }


def needs_of(tied: dict[type[Record], dict[str, Any]]) -> tuple[Needs, Needs]:
    """What most commands need, and all that there is."""
    site, project, run = tied[r.Site]["id"], tied[r.Project]["id"], tied[r.Run]["id"]
    number = tied[r.Round]["number"]
    common = Needs(
        runs={run},
        members_of={project},
        sites={site},
        keys={(site, number)},
        marks={(site, number)},
        history={"history"},
        senders={site},
    )
    all_of_it = Needs(
        accounts={tied[r.Account]["id"]},
        tokens={tied[r.Token]["id"]},
        enrolments={tied[r.Enrolment]["id"]},
        recoveries={site},
        revocations={tied[r.Revocation]["name"]},
        submissions={(run, 1, number)},
        messages={tied[r.Message]["id"]},
        models={(run, number)},
        logs={(run, site)},
        artifacts={tied[r.Artifact]["id"]},
        totals_of={project},
        shares_of={(project, site)},
        told={tied[r.Told]["cause"]},
        webhooks={tied[r.Webhook]["id"]},
        deliveries={tied[r.WebhookDelivery]["id"]},
        followed={("project", project)},
        workloads={tied[r.Workload]["id"]},
        project_rounds={(project, number)},
        workload_logs={tied[r.Workload]["id"]},
        secrets={(project, tied[r.ProjectSecret]["name"])},
        events={(project, number)},
        counters={tied[sr.Counter]["name"]},
        architectures_of={project},
        code_of={project},
        inferences={tied[sr.Inference]["id"]},
        versions_of={(tied[sr.Architecture]["id"], number)},
        matches={tied[sr.Match]["id"]},
        deployments={run},
        data_sources={tied[sr.DataSource]["id"]},
        announcements={tied[sr.ModelAnnouncement]["id"]},
        quarantined={tied[sr.QuarantinedRecord]["id"]},
        sendings={tied[sr.Sending]["id"]},
        kafka_clusters={tied[sr.KafkaCluster]["name"]},
        positions={(tied[sr.StreamPosition]["cluster"], tied[sr.StreamPosition]["topic"])},
    )
    all_of_it.add(common)
    return common, all_of_it


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[dict[type[Record], Record]]]:
    """The rows of every class as they are written first, and again; the second time every field is another one."""
    number = next(_numbers) + 1
    filled = draw(st.booleans())
    written = []
    for _ in range(2):
        rows = {}
        for kind, tied in links(number).items():
            free = {
                name: draw(VALUES[plain] if filled or not null else st.none() | VALUES[plain])
                for name, (plain, null) in COLUMNS[kind].items()
                if name not in tied
            }
            rows[kind] = kind(**free, **tied)
        written.append(rows)
    return number, written


def test_every_class_is_written_and_loaded_here() -> None:
    assert set(links(1)) == set(RECORDS)
    assert {plain for columns in COLUMNS.values() for plain, _ in columns.values()} == set(VALUES)


@settings(
    max_examples=15,
    phases=[
        Phase.explicit,
        Phase.generate,
    ],  # making an example smaller takes minutes, and two rows are compared anyway
    suppress_health_check=list(HealthCheck),
)
@given(history=histories())
def test_what_is_written_comes_back(database: Database, history: tuple[int, list[dict[type[Record], Record]]]) -> None:
    number, (first, second) = history
    writer = Store(database)
    with writer.deciding() as transaction:
        transaction.write(Changes(rows={kind: [row] for kind, row in first.items()}))
    again = {kind: row for kind, row in second.items() if kind not in store._ONCE}
    with writer.deciding() as transaction:
        transaction.write(Changes(rows={kind: [row] for kind, row in again.items()}))
    expected = {**first, **again}

    common, all_of_it = needs_of(links(number))
    with writer.deciding([first[r.Outcome].id]) as transaction:  # type: ignore[attr-defined]
        assert list(transaction.decided.values()) == [expected[r.Outcome]]
        assert _by_kind(transaction.load(common, 0).records, AT_ONCE) == {kind: expected[kind] for kind in AT_ONCE}
        loaded = set(RECORDS) - APART - BY_THE_STORE
        assert _by_kind(transaction.load(all_of_it, 0).records, loaded) == {kind: expected[kind] for kind in loaded}
    with database.connection():
        for kind in APART:
            columns, (key, value) = ", ".join(COLUMNS[kind]), next(iter(links(number)[kind].items()))
            found = database.all(f"SELECT {columns} FROM {kind.TABLE} WHERE {key} = %s", value)
            assert [kind(*row) for row in found] == [expected[kind]]
    assert writer.outbox(number + 1, 10) == [expected[r.OutboxRow]]
    writer.forget_outbox([expected[r.OutboxRow].id])  # type: ignore[attr-defined]


def test_only_a_global_model_keeps_its_body_for_decisions(database: Database) -> None:
    for kind, body in (("model", b"payload"), ("update", None), ("message", None)):
        number = next(_numbers) + 1
        tied = links(number)[r.Message] | {"kind": kind, "body": b"payload"}
        blank = {"Id": derive("blank"), "str": "", "int": 0, "Micros": 0}
        rest = {name: blank[plain] for name, (plain, _) in COLUMNS[r.Message].items() if name not in tied}
        message = r.Message(**rest, **tied)
        with Store(database).deciding() as transaction:
            transaction.write(Changes(rows={r.Message: [message]}))
        with Store(database).deciding() as transaction:
            (found,) = transaction.load(Needs(messages={message.id}), 0).records
        assert isinstance(found, r.Message)
        assert found == msgspec.structs.replace(message, body=body)


def _by_kind(records: list[Record], kinds: set[type[Record]]) -> dict[type[Record], Record]:
    """One of each; the same row may come twice, since two needs may name it."""
    found: dict[type[Record], Record] = {}
    for record in records:
        assert found.setdefault(type(record), record) == record
        assert not any(isinstance(value, memoryview) for value in msgspec.structs.astuple(record))
    assert set(found) == kinds
    return found
