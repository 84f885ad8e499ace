"""What a decision has to know: which rows the store loads before it is made."""

from __future__ import annotations

from dataclasses import dataclass, field

from domain.ids import Id


@dataclass
class Needs:
    """Ids (or names, or hashes) by what they are of. The store adds what hangs on them:

    runs: their project with its members, task runs, present rounds, and the seats of active tasks with their sites and
        mailboxes.
    members_of: projects whose memberships (with sites and mailboxes) are needed.
    live_runs_of: projects whose created and running runs are needed; begin_in: with all that hangs on the queued ones.
    models: (run, version) of global models of the run's project.
        Like those of restarting runs, each comes with the artifact that it lies in.
    submissions: (run, seq of a task, round) whose submissions are needed.
    restarting: runs whose project's live runs, and the newest models of whose tasks are needed.
    mentioned_runs: only the row itself.
    retiring: sites whose memberships, coordinated projects and live seats are needed.
    keys: (site, epoch) of sealing keys. keys_in: runs whose seats' current keys are needed.
    acquainted: sites whose memberships and projects are needed, with the coordinators of these, and the members of
        those that they coordinate. keyrings: sites of which this, and their keys, are needed.
    logs: (run, site): what it takes to write on that site's log of the run.
    artifacts: with their project, its totals, their owner and their run; ending_artifacts: besides with the live runs
        of the project and the task runs of these. totals_of: projects whose artifacts are counted.
    beats: sites of which it must be known when they were last heard of.
    marks: (site, seq) of inbox entries. boxes: (site, seq): the site's entries from there on, or
        behind what it acknowledged.
    recoveries: sites whose newest recovery is needed. history: with any text in it, the row of the history.
    revocations: names in the ledger.
    counts: (what, owner) to be counted; storage/counting.py says of what.
    declared_by: (project, site) whose artifacts that are declared and not stored are needed; without a project, of all.
    shares_of: (project, site) whose share of the project's quota is needed.
    senders: sites of which it is needed how much of theirs lies unacknowledged at others.
    told: causes of notices that are coalesced.
    issued_with: tokens, or owners of tokens: those in force that were issued with them, and with these in turn, are
        needed, with their owners. proofs: hashes of tokens that each come with the one that it was issued with.
    webhooks: with what says who may change them. deliveries: with their webhooks and the streams of their owners.
    followed: (kind, stream) of events: how far they were looked at, webhooks that may want them, and what says which.
    events: (stream, seq). causes: of deliveries of dead letters, with the webhooks that want these.
    workloads: with their attempts, their project, and the site that they run at, if any. workloads_of: projects whose
        workloads that go on are needed, holders_of: runs whose workloads are, workloads_at: sites
        at which they go on, with the same.
    project_rounds: (project, number) of rounds that a project's own coordinator leads: the newest few of that number,
        and the project's newest one. With workloads that are a project's coordinator comes its newest one, too.
    secrets: (project, name) of secrets.
    workload_logs: workloads of which it is needed how far their logs were read, and for how long.
    inputs: artifacts, versions: (project, version) of models, with the artifacts that these lie in: with their owners
        and what was declared of them.
    architectures_of: projects whose architectures and configurations are needed; code_of: with the newest code of each.
    versions_of: (architecture, version) of code.
    matched_models, matched_data: announcements, with those of the other kind that may fit them, their matches and
        workers. matches: with all that it takes to start their workers. workers_of: runs whose matches, with their
        workers, are needed.
    data_sources, announcements, quarantined: ids of what was announced in Kafka.
    served: numbers of training results, each with the version that was trained. inferences: with their workloads.
    inferences_on: topics that inferences read or write, in whichever cluster; serving: numbers of results that live
        ones serve.
    kafka_clusters: by name, with their streams. positions: (cluster, topic) of how far their records are decided.
    counters: names of numbers that the next one is needed of (domain/decisions/streams/numbers.py).
    deployments: runs that are deployments, with their results and all that hangs on them; deployment_numbers,
        results: the same by number.
    sendings: of data sources that are announced once more.
    led: projects and runs of whose coordinators' sites the streams are needed.
    Whatever project, site or organisation is loaded comes with the head of its event stream.
    """

    organisations: set[Id] = field(default_factory=set)
    organisation_names: set[str] = field(default_factory=set)
    accounts: set[Id] = field(default_factory=set)
    tokens: set[Id] = field(default_factory=set)
    issued_with: set[Id] = field(default_factory=set)
    token_hashes: set[str] = field(default_factory=set)
    proofs: set[str] = field(default_factory=set)
    enrolments: set[Id] = field(default_factory=set)
    sites: set[Id] = field(default_factory=set)
    site_names: set[str] = field(default_factory=set)
    projects: set[Id] = field(default_factory=set)
    project_names: set[str] = field(default_factory=set)
    members_of: set[Id] = field(default_factory=set)
    live_runs_of: set[Id] = field(default_factory=set)
    runs: set[Id] = field(default_factory=set)
    begin_in: set[Id] = field(default_factory=set)
    restarting: set[Id] = field(default_factory=set)
    mentioned_runs: set[Id] = field(default_factory=set)
    retiring: set[Id] = field(default_factory=set)
    keys: set[tuple[Id, int]] = field(default_factory=set)
    keys_in: set[Id] = field(default_factory=set)
    acquainted: set[Id] = field(default_factory=set)
    keyrings: set[Id] = field(default_factory=set)
    models: set[tuple[Id, int]] = field(default_factory=set)
    submissions: set[tuple[Id, int, int]] = field(default_factory=set)
    messages: set[Id] = field(default_factory=set)
    marks: set[tuple[Id, int]] = field(default_factory=set)
    boxes: set[tuple[Id, int]] = field(default_factory=set)
    recoveries: set[Id] = field(default_factory=set)
    history: set[str] = field(default_factory=set)
    revocations: set[str] = field(default_factory=set)
    logs: set[tuple[Id, Id]] = field(default_factory=set)
    artifacts: set[Id] = field(default_factory=set)
    ending_artifacts: set[Id] = field(default_factory=set)
    totals_of: set[Id] = field(default_factory=set)
    beats: set[Id] = field(default_factory=set)
    counts: set[tuple[str, Id]] = field(default_factory=set)
    declared_by: set[tuple[Id | None, Id]] = field(default_factory=set)
    shares_of: set[tuple[Id, Id]] = field(default_factory=set)
    senders: set[Id] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    led: set[Id] = field(default_factory=set)
    webhooks: set[Id] = field(default_factory=set)
    deliveries: set[Id] = field(default_factory=set)
    followed: set[tuple[str, Id]] = field(default_factory=set)
    events: set[tuple[Id, int]] = field(default_factory=set)
    causes: set[str] = field(default_factory=set)
    workloads: set[Id] = field(default_factory=set)
    workloads_of: set[Id] = field(default_factory=set)
    holders_of: set[Id] = field(default_factory=set)
    workloads_at: set[Id] = field(default_factory=set)
    project_rounds: set[tuple[Id, int]] = field(default_factory=set)
    workload_logs: set[Id] = field(default_factory=set)
    inputs: set[Id] = field(default_factory=set)
    versions: set[tuple[Id, int]] = field(default_factory=set)
    secrets: set[tuple[Id, str]] = field(default_factory=set)
    counters: set[str] = field(default_factory=set)
    served: set[int] = field(default_factory=set)
    inferences: set[Id] = field(default_factory=set)
    inferences_on: set[str] = field(default_factory=set)
    serving: set[int] = field(default_factory=set)
    architectures_of: set[Id] = field(default_factory=set)
    code_of: set[Id] = field(default_factory=set)
    versions_of: set[tuple[Id, int]] = field(default_factory=set)
    deployments: set[Id] = field(default_factory=set)
    deployment_numbers: set[int] = field(default_factory=set)
    results: set[int] = field(default_factory=set)
    data_sources: set[Id] = field(default_factory=set)
    announcements: set[Id] = field(default_factory=set)
    quarantined: set[Id] = field(default_factory=set)
    matched_models: set[Id] = field(default_factory=set)
    matched_data: set[Id] = field(default_factory=set)
    matches: set[Id] = field(default_factory=set)
    workers_of: set[Id] = field(default_factory=set)
    sendings: set[Id] = field(default_factory=set)
    kafka_clusters: set[str] = field(default_factory=set)
    positions: set[tuple[str, str]] = field(default_factory=set)

    def add(self, other: Needs) -> None:
        """Take over all that `other` needs."""
        for name, wanted in vars(other).items():
            getattr(self, name).update(wanted)


def those(key: Id | None) -> set[Id]:
    """As a need: none, or this one."""
    return set() if key is None else {key}
