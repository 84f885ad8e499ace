"""Every hook goes past the site's own word, whatever the hub and the task send: attacks on it, against the real steps.

Here the hooks' process is this test's own: it says of itself whatever a task might make it say.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fedyard.agent.consents import Consent
from fedyard.agent.courier import Courier
from fedyard.agent.directories import Directories
from fedyard.agent.joining import Joining
from fedyard.agent.patience import Overtaken
from fedyard.agent.policy import MAX_METRICS
from fedyard.agent.site import Folder, Settings
from fedyard.agent.state import Approval, State
from fedyard.agent.steps import Steps
from fedyard.agent.steps.scoring import Scoring
from fedyard.client.client import Client
from fedyard.client.transfer import Transfer
from fedyard.clock import SystemClock
from fedyard.tasks import jobs
from fedyard.tasks.code import Code
from fedyard.tasks.privacy import HIDDEN, Released, Spent
from fedyard.wire.answers import Contract, Entry, TaskSpec
from fedyard.wire.times import DAY

SITE = "00000000-0000-0000-0000-00000000000a"
PROJECT, OTHER = "00000000-0000-0000-0000-00000000000b", "00000000-0000-0000-0000-00000000000c"
RUN, NEXT = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
SPEC = TaskSpec(name="train", model="mine:Mine", rounds=3, parameters={"epochs": 1})
NOON = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000
SHA = "ab" * 32


@dataclass
class Task:
    """Where hooks are called: what it was asked, and what it says."""

    said: jobs.Finished = field(default_factory=jobs.Finished)
    digest: str = SHA
    asked: list[jobs.Job] = field(default_factory=list)
    logs: str = ""

    def known(self, run_id: str, task_seq: int) -> bool:
        return any((job.run_id, job.task_seq) == (run_id, task_seq) for job in self.asked)

    def code(self, model: str) -> Code:
        return Code(self.digest)

    def call(self, job: jobs.Job, unwanted: Callable[[], bool], logged: Callable[[str], None]) -> jobs.Finished | None:
        self.asked.append(job)
        if self.logs:
            logged(self.logs)
        return None if unwanted() else self.said

    def end(self, run_id: str, task_seq: int | None = None) -> None:
        """There is no process."""

    def end_all(self) -> None:
        """There is no process."""


class Site:
    """A site with this at the end of its site.toml, that serves one project, called hearts."""

    def __init__(self, path: Path, section: str) -> None:
        self.folder = Folder(path / "site")
        if not (self.folder.path / "site.toml").exists():
            self.folder.create(Settings(hub="http://127.0.0.1:9", name="x", data={"train": "a.csv"}), "one-time")
            with (self.folder.path / "site.toml").open("a") as file:
                file.write(section)
            (self.folder.path / "site.id").write_text(SITE)
        self.settings = self.folder.settings()
        self.task, self.now, self.told = Task(), NOON, list[tuple[str, dict[str, object]]]()
        self.halting = threading.Event()
        client = Client(self.settings.hub, "none")
        ring, trust, consents = self.folder.keyring(), self.folder.trust(self.settings), self.folder.consents()
        self.state = State(self.folder.path / "state.sqlite")
        clock = SystemClock()
        directories = Directories(ring, trust, consents, client, monotonic=clock.monotonic, log=self.log)
        courier = Courier(
            *(self.folder.path, self.settings, ring, trust, directories, self.state, client, Transfer(client))
        )
        joining = Joining(SITE, ring.identity_key, consents, trust, client, self.log)
        for project_id, name in ((PROJECT, "hearts"), (OTHER, "lungs")):
            consents.give(Consent(project_id=project_id, name=name, coordinator="c", identity=b"", at=0, by="people"))
        self.consents = consents
        self.steps = steps = Steps(
            *(SITE, self.folder, self.settings, self.state, client, courier, joining),
            halting=self.halting,
            clock=self,
            log=self.log,
            computing=self.task,
        )
        self.hooks = steps.hooks
        self.hooks.policy.now = lambda: self.now
        self.waiting: Callable[[], None] = self._for_ever

    def log(self, what: str, **facts: object) -> None:
        self.told.append((what, facts))

    # its clock: whoever waits lets something happen

    def monotonic(self) -> float:
        return self.now / 1e6

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.waiting()
        return event.is_set()

    @staticmethod
    def _for_ever() -> None:
        raise AssertionError("it waits, and nothing is going to happen")

    def end_run(self) -> None:
        """The hub says that the run is over."""
        self.state.inbox.take([msgspec.structs.replace(entry(), seq=100, kind="run_ended")])

    def call(self, hook: jobs.Hook = "train", spec: TaskSpec = SPEC, **more: Any) -> jobs.Finished:
        return self.hooks.call(entry(**more), hook, spec, None)


def entry(
    run_id: str = RUN,
    project_id: str = PROJECT,
    task_seq: int = 1,
    number: int = 1,
    seq: int = 1,
    facts: Mapping[str, object] | None = None,
) -> Entry:
    return Entry(
        seq=seq,
        kind="round_started",
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        project_id=project_id,
        run_id=run_id,
        task_seq=task_seq,
        round=number,
        facts=msgspec.Raw(msgspec.json.encode(facts or {"deadline_at": 5})),
    )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[[str], Site]]:
    made: list[Site] = []

    def at(section: str = "") -> Site:
        if made:
            made[-1].state.close()
        made.append(Site(tmp_path, section))
        return made[-1]

    yield at
    made[-1].state.close()


def update(content: bytes = b"update", rows: int | None = None, **metrics: float) -> jobs.Finished:
    return jobs.Finished(packed=jobs.Packed(content), metrics=metrics, rows=rows)


# Data and models


@pytest.mark.parametrize(("section", "least"), [("", 5), ("min_count = 9", 9), ("min_count = 2", 2)])
def test_the_smallest_count_is_that_of_the_section(site, section: str, least: int) -> None:
    here = site(f"[project.hearts]\n{section}\n")
    here.call()
    assert here.task.asked[0].min_count == least


def test_a_task_gets_the_data_of_its_own_project_alone(site) -> None:
    here = site('[project.hearts]\ndata = { hearts = "h.csv" }\n')
    here.call()
    here.call(project_id=OTHER, run_id=NEXT)
    assert [[*job.data] for job in here.task.asked] == [["hearts"], ["train"]]


@pytest.mark.parametrize("name", [OTHER, PROJECT.upper(), "hearts"])
def test_the_hub_cannot_pass_a_project_off_as_one_with_another_section(site, name: str) -> None:
    """However the hub calls it by now: the consent has its id, and its name of then."""
    here = site(f'[project.{PROJECT}]\nallow = []\n[project.lungs]\n[project."*"]\n')
    here.consents.give(
        Consent(project_id=PROJECT, name=name, coordinator="c", identity=b"", at=0, by="people"), replace=True
    )
    assert here.call().error.startswith("policy_model: ")
    assert not here.task.asked


@pytest.mark.parametrize("model", ["logistic_regression", "other:Mine", "mine:Other", "mine:Mine "])
def test_a_model_that_the_section_does_not_name_does_not_run(site, model: str) -> None:
    here = site('[project.hearts]\nallow = ["mine:Mine"]\n')
    for hook in ("prepare", "train", "aggregate", "initial", "score"):
        assert here.call(hook, msgspec.structs.replace(SPEC, model=model)).error.startswith("policy_model: ")
    assert not here.task.asked


@pytest.mark.parametrize("digest", ["", "cd" * 32, SHA.upper()])
def test_code_with_another_digest_does_not_run(site, digest: str) -> None:
    here = site(f'[project.hearts]\nallow = ["mine:Mine", "mine:Mine@sha256:{SHA}"]\n')
    here.task.digest = digest
    assert here.call().error.startswith("policy_code: ")
    assert not here.task.asked


def test_code_with_the_digest_runs_and_nothing_beside_it(site) -> None:
    here = site(f'[project.hearts]\nallow = ["mine:Mine@sha256:{SHA}"]\n')
    assert here.call().error == ""
    assert [job.code for job in here.task.asked] == [Code(SHA, only=True)]


# What leaves


@pytest.mark.parametrize(
    "said",
    [
        update(samples=1000.0, rows=3),
        update(samples=3.0, rows=1000),
        update(samples=float("nan"), rows=1000),
        update(),
        update(other=1000.0),
    ],
)
def test_an_update_of_too_few_rows_does_not_leave_whatever_a_task_says(site, said: jobs.Finished) -> None:
    here = site("[project.hearts]\nmin_rows = 100\n")
    here.task.said = said
    finished = here.call()
    assert finished.error.startswith("policy_min_rows: ")
    assert finished.packed is None
    assert here.task.asked[0].min_rows == 100


@pytest.mark.parametrize("said", [update(samples=100.0), update(rows=100), update(samples=100.0, rows=200)])
def test_one_of_enough_rows_does(site, said: jobs.Finished) -> None:
    here = site("[project.hearts]\nmin_rows = 100\n")
    here.task.said = said
    assert here.call().error == ""


def test_metrics_that_the_section_does_not_name_stay(site) -> None:
    here = site('[project.hearts]\nmetrics = ["loss", "samples"]\n')
    here.task.said = update(loss=1.0, patient_1=1.0, samples=5.0)
    for hook in ("train", "aggregate", "initial", "score"):
        assert here.call(hook).metrics == {"loss": 1.0, "samples": 5.0}
    here.hooks.keep_made(entry(), here.call(), digests=None, seconds=7.0)
    assert here.state.results.made(1, RUN).metrics == {"loss": 1.0, "samples": 5.0}


def test_no_more_metrics_leave_than_the_hub_takes(site) -> None:
    here = site()
    here.task.said = update(**{f"m{n}": float(n) for n in range(MAX_METRICS + 6)})
    assert list(here.call().metrics) == [f"m{n}" for n in range(MAX_METRICS)]


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb"])
def test_odd_metrics_stay_too(site, name: str) -> None:
    here = site()
    here.task.said = msgspec.structs.replace(update(), metrics={name: 1.0, "inf": float("inf")})
    assert here.call().metrics == {}


def test_too_large_an_update_stays(site) -> None:
    here = site("[project.hearts]\nmax_update_bytes = 5\n")
    here.task.said = update(b"123456")
    assert here.call().error.startswith("policy_max_update_bytes: ")
    assert here.call("aggregate").error == ""
    here.task.said = update(b"12345")
    assert here.call().error == ""


def made_file(here: Site, name: str = "train-1.packed") -> Path:
    folder = here.folder.path / "runs" / RUN / "1"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def test_a_large_update_is_measured_and_taken_out_of_the_tasks_reach(site) -> None:
    here = site("[project.hearts]\nmax_update_bytes = 5\n")
    file = made_file(here)
    here.task.said = jobs.Finished(packed=jobs.Packed(file=str(file)))
    file.write_bytes(b"123456")
    assert here.call().error.startswith("policy_max_update_bytes: ")
    file.write_bytes(b"12345")
    packed = here.call().packed
    assert not file.exists()
    assert Path(packed.file).read_bytes() == b"12345"
    assert Path(packed.file).parent == file.parent.parent


@pytest.mark.parametrize("how", ["path", "dots", "symbolic", "hard", "folder", "missing"])
def test_the_agent_reads_no_file_for_a_task_but_its_own(site, how: str) -> None:
    """What a confined process may not read, the agent may: its identity, say."""
    here = site()
    secret, file = here.folder.path / "identity.key", made_file(here)
    before = secret.read_bytes()
    named = str(file)
    match how:
        case "path":
            named = str(secret)
        case "dots":
            named = str(file.parent / ".." / ".." / ".." / "identity.key")
        case "symbolic":
            file.symlink_to(secret)
        case "hard":
            os.link(secret, file)
        case "folder":
            file.parent.rmdir()
            file.parent.symlink_to(here.folder.path)
            named = str(file.parent / "identity.key")
    here.task.said = jobs.Finished(packed=jobs.Packed(file=named))
    for hook in ("train", "aggregate"):
        finished = here.call(hook)
        assert finished.error.startswith("policy_file: ")
        assert finished.packed is None
    assert secret.read_bytes() == before


@pytest.mark.parametrize(
    ("section", "error", "leaves"),
    [
        ("logs = true", "train: patient 17 has no dose", True),
        ("logs = false", "train: the task failed; what it says of it stays at its site", False),
    ],
)
def test_what_a_task_says_stays_where_the_section_says_so(site, section: str, error: str, leaves: bool) -> None:
    here = site(f"[project.hearts]\n{section}\n")
    here.task.logs = "patient 17"
    here.task.said = jobs.Finished(error="train: patient 17 has no dose")
    assert here.call().error == error
    here.steps.logs.keep()
    assert (here.state.logs.next_piece() is not None) is leaves


@pytest.mark.parametrize("said", ["train: policy_min_rows: patient 17", "policy_min_rows: patient 17"])
def test_a_sentence_that_is_like_the_sites_own_stays_too(site, said: str) -> None:
    here = site("[project.hearts]\nlogs = false\nmin_rows = 5\n")
    here.task.said = jobs.Finished(error=said)
    assert here.call().error in (
        "policy_min_rows: this site takes part with 5 rows at least",
        "train: the task failed; what it says of it stays at its site",
    )


def test_that_there_are_too_few_rows_is_told_as_the_sites_own_word(site) -> None:
    loud = site("[project.hearts]\nmin_rows = 5\n")
    loud.task.said = jobs.Finished(error="train: policy_min_rows: this site takes part with 5 rows at least, not so x")
    assert loud.call().error == "policy_min_rows: this site takes part with 5 rows at least, not so x"


@pytest.mark.parametrize(("logs", "leaves"), [("true", True), ("false", False)])
def test_why_a_task_cannot_use_an_update_stays_where_what_it_says_does(site, logs: str, leaves: bool) -> None:
    here = site(f"[project.hearts]\nlogs = {logs}\n")
    for error in ("", "aggregate: no update can be used"):
        here.task.said = jobs.Finished(error=error, left_out={"s": "patient 17"})
        (said,) = here.call("aggregate").left_out.values()
        assert ("patient 17" in said) is leaves


NOISY = "[project.hearts.privacy]\nclip = 1.0\nnoise = 8.0\nepsilon = 10.0\n"


def test_where_a_site_adds_noise_a_first_model_is_made_without_anything_that_comes_of_data(site) -> None:
    here = site(NOISY)
    here.task.said = update()
    for hook in ("prepare", "initial"):
        here.call(hook)
    seeing, blind = here.task.asked
    assert (blind.data, blind.sources, blind.keep) == ({}, {}, "")
    assert seeing.data
    assert seeing.keep
    assert seeing.folder != blind.folder
    assert seeing.confine is not None
    assert blind.confine is not None
    assert not {*blind.confine.write} & {*seeing.confine.write}


@pytest.mark.parametrize(("section", "hidden"), [(NOISY, True), ("", False)])
def test_where_a_site_adds_noise_nobody_is_told_how_a_process_ended(site, section: str, hidden: bool) -> None:
    """The code that it ended with is a number of the task's own choice."""
    here = site(section)
    here.task.said = jobs.Finished(error="train: its process ended by itself, with code 104", died=True)
    assert here.call().error == (f"train: {HIDDEN}" if hidden else here.task.said.error)


def test_where_a_site_adds_noise_an_update_without_any_stays_and_costs_nothing(site) -> None:
    here = site(NOISY)
    for said in (update(), jobs.Finished(error="train: it failed")):
        here.task.said = said
        finished = here.call()
        assert finished.error
        assert finished.packed is None
        assert here.state.releases.of(PROJECT) == []


def test_where_a_site_adds_noise_one_with_noise_leaves_and_is_counted(site) -> None:
    here = site(NOISY + 'metrics = ["loss"]\n')
    here.task.said = msgspec.structs.replace(update(loss=1.0, samples=5.0), spent=Spent(0.5, 1e-6))
    finished = here.call()
    assert (finished.error, finished.metrics) == ("", {"loss": 1.0})
    here.hooks.keep_made(entry(), finished, digests=None, seconds=7.0)
    assert here.state.results.made(1, RUN).metrics == {"loss": 1.0}
    assert here.state.releases.of(PROJECT) == [Released(8.0, 1)]


def test_where_a_site_adds_noise_what_a_task_says_stays(site) -> None:
    here = site(NOISY)
    here.task.logs = "patient 17"
    here.call()
    here.steps.logs.keep()
    assert here.state.logs.next_piece() is None
    assert [facts["text"] for what, facts in here.told if what == "a hook said"] == ["patient 17"]


# How many sites


@pytest.mark.parametrize(
    ("contract", "seats"),
    [
        (Contract(quorum=2, quorum_of="count"), 100),
        (Contract(quorum=2, quorum_of="count"), None),
        (Contract(quorum=0.4), 5),
        (Contract(quorum=1.0), 2),
        (Contract(quorum=1.0), None),
    ],
)
def test_no_update_is_made_for_a_model_that_may_be_of_fewer_sites(site, contract: Contract, seats: int | None) -> None:
    here = site("[project.hearts]\nmin_sites = 3\n")
    facts = {"deadline_at": 5} if seats is None else {"deadline_at": 5, "seats": seats}
    spec = msgspec.structs.replace(SPEC, contract=contract)
    assert here.call(spec=spec, facts=facts).error.startswith("policy_min_sites: ")
    assert not here.task.asked


@pytest.mark.parametrize("said", [None, 2])
def test_a_hub_that_says_more_sites_than_there_are_gets_one_update_and_no_more(site, said: int | None) -> None:
    here = site("[project.hearts]\nmin_sites = 3\n")
    assert here.call(facts={"seats": 5}).error == ""
    here.hooks.policy.check_model(entry(), said)
    first = here.state.approvals.refused_run(RUN)
    here.state.approvals.refuse_run(RUN, "another reason")
    assert here.state.approvals.refused_run(RUN) == first
    assert here.call(number=2, seq=2, facts={"seats": 5}).error.startswith("policy_run_refused: ")
    assert len(here.task.asked) == 1
    assert site().call(number=2, seq=2, facts={"seats": 5}).error.startswith("policy_run_refused: ")


def test_a_model_of_enough_sites_is_well(site) -> None:
    here = site("[project.hearts]\nmin_sites = 3\n")
    here.hooks.policy.check_model(entry(), 3)
    assert here.call(facts={"seats": 3}).error == ""


def test_a_hub_that_shows_no_model_gets_one_update_and_no_more(site) -> None:
    here = site("[project.hearts]\nmin_sites = 3\n")
    state = here.state
    state.receipts.await_receipt(entry())
    assert here.call(facts={"seats": 5}).error == ""  # the round that it is of goes on
    for hook in ("prepare", "train", "score"):
        assert here.call(hook, number=2, seq=2, facts={"seats": 5}).error.startswith("policy_min_sites: ")
    assert here.call(task_seq=2, seq=3, facts={"seats": 5}).error == ""  # beside it
    state.receipts.settle_receipt(
        msgspec.structs.replace(state.receipts.awaited_receipts(RUN)[0], outcome="missing", reason="no_model")
    )
    assert here.call(task_seq=2, seq=3, facts={"seats": 5}).error.startswith("policy_min_sites: ")
    assert here.call(run_id=NEXT, facts={"seats": 5}).error == ""
    assert site().call(number=2, seq=2, facts={"seats": 5}).error.startswith("policy_min_sites: ")


def test_without_min_sites_a_model_that_is_not_shown_is_nothing_of_the_policys(site) -> None:
    here = site("[project.hearts]\n")
    here.state.receipts.await_receipt(entry())
    assert here.call(number=2, seq=2).error == ""


# How often and when


def test_a_run_more_than_the_section_says_does_not_begin(site) -> None:
    here = site("[project.hearts]\nruns_a_day = 1\n")
    assert here.call("prepare").error == ""
    assert here.call("train").error == ""  # the same run
    assert here.call("prepare", run_id=NEXT).error.startswith("policy_runs_a_day: ")
    assert here.call("train", run_id=NEXT).error.startswith("policy_runs_a_day: ")
    assert here.call("prepare", run_id=NEXT, project_id=OTHER).error == ""


def test_a_restart_does_not_begin_the_days_count_anew(site) -> None:
    site("[project.hearts]\nruns_a_day = 1\n").call()
    assert site().call(run_id=NEXT).error.startswith("policy_runs_a_day: ")


def test_the_end_of_a_run_does_not_either(site) -> None:
    here = site("[project.hearts]\nruns_a_day = 1\n")
    here.call()
    here.state.runs.forget_run(RUN)
    assert here.call(run_id=NEXT).error.startswith("policy_runs_a_day: ")


@pytest.mark.parametrize(
    ("later", "begins"), [(1, False), (DAY - 1, False), (DAY, True), (-DAY, False), (12 * 3600 * 10**6 + 1, False)]
)
def test_a_day_is_24_hours_and_not_what_lies_between_two_midnights(site, later: int, begins: bool) -> None:
    here = site("[project.hearts]\nruns_a_day = 1\n")
    here.call()
    here.now += later
    assert (here.call(run_id=NEXT).error == "") is begins


def test_a_lower_number_a_day_waits_for_as_many_runs_to_be_a_day_old(site) -> None:
    here = site("[project.hearts]\nruns_a_day = 3\n")
    for hour in range(3):
        here.now = NOON + hour * 3600 * 10**6
        here.call(run_id=f"{RUN[:-1]}{5 + hour}")
    fewer = site()
    assert fewer.state.approvals.begin(PROJECT, NEXT, here.now, 2) == NOON + 3600 * 10**6 + DAY


def test_none_a_day_is_none(site) -> None:
    assert site("[project.hearts]\nruns_a_day = 0\n").call().error.startswith("policy_runs_a_day: ")


def test_a_round_more_than_the_task_has_is_not_computed(site) -> None:
    here = site()
    assert here.call(number=3).error == ""
    assert here.call(number=4).error.startswith("policy_rounds: ")


def test_outside_its_hours_nothing_begins_before_they_come(site) -> None:
    here = site('[project.hearts]\nhours = "20:00-06:00"\ntime_zone = "Europe/Oslo"\n')
    assert here.hooks.policy.waits_for(entry(), SPEC) == "hours"
    begun: list[int] = []

    def later() -> None:
        assert not here.task.asked
        here.now += 3600 * 10**6
        begun.append(here.now)

    here.waiting = later
    assert here.call().error == ""
    assert begun[-1] == NOON + 7 * 3600 * 10**6  # 20:00 in Oslo


def test_what_waits_for_its_hours_can_be_overtaken(site) -> None:
    here = site('[project.hearts]\nhours = "20:00-06:00"\ntime_zone = "UTC"\n')
    here.waiting = here.end_run
    with pytest.raises(Overtaken):
        here.call()


# Approval


def answer(here: Site, state: str, which: Callable[[Approval], bool] = lambda _: True) -> Callable[[], None]:
    def people() -> None:
        waiting = [one for one in here.state.approvals.waiting() if which(one)]
        assert waiting, "nobody is asked"
        for one in waiting:
            assert here.state.approvals.answer(one.id, state, here.now)

    return people


RUNS, CHANGES = '[project.hearts]\nask = "runs"\n', '[project.hearts]\nask = "changes"\n'


@pytest.mark.parametrize("section", [RUNS, CHANGES])
@pytest.mark.parametrize("hook", ["prepare", "train", "score"])
def test_no_hook_sees_data_before_a_person_has_approved_the_run(site, section: str, hook: jobs.Hook) -> None:
    here = site(section)
    assert here.hooks.policy.waits_for(entry(), SPEC) == "person"
    here.waiting = answer(here, "approved")
    assert here.call(hook).error == ""
    assert len(here.task.asked) == 1


@pytest.mark.parametrize("section", [RUNS, CHANGES])
def test_what_a_person_has_refused_does_not_run(site, section: str) -> None:
    here = site(section)
    here.waiting = answer(here, "refused")
    assert here.call().error.startswith("policy_not_approved: ")
    assert here.call().error.startswith("policy_not_approved: ")
    assert not here.task.asked


def test_an_approval_is_for_its_run_alone_where_each_is_asked_for(site) -> None:
    here = site(RUNS)
    here.waiting = answer(here, "approved")
    here.call()
    here.waiting = answer(here, "refused", lambda one: one.run_id == NEXT)
    assert here.call(run_id=NEXT).error.startswith("policy_not_approved: ")


@pytest.mark.parametrize(
    "other",
    [
        {"parameters": {"epochs": 2}},
        {"parameters": {"epochs": 1, "leak": True}},
        {"rounds": 4},
        {"model": "mine:Other"},
        {"contract": Contract(quorum=0.5)},
    ],
)
@pytest.mark.parametrize("section", [RUNS, CHANGES])
def test_an_approval_is_not_for_another_task_or_other_parameters(site, section: str, other: dict[str, Any]) -> None:
    here = site(section)
    here.waiting = answer(here, "approved")
    assert here.call().error == ""
    changed = msgspec.structs.replace(SPEC, **other)
    here.waiting = answer(here, "refused")
    for run_id in (RUN, NEXT):
        assert here.call(spec=changed, run_id=run_id).error.startswith("policy_not_approved: ")
    assert len(here.task.asked) == 1


def test_an_approval_is_not_for_other_code(site) -> None:
    here = site(CHANGES)
    here.waiting = answer(here, "approved")
    here.call()
    here.task.digest = "cd" * 32
    here.waiting = answer(here, "refused")
    assert here.call(run_id=NEXT).error.startswith("policy_not_approved: ")


def test_an_approval_is_not_for_another_project(site) -> None:
    here = site('[project."*"]\nask = "changes"\n')
    here.waiting = answer(here, "approved")
    here.call()
    here.waiting = answer(here, "refused")
    assert here.call(run_id=NEXT, project_id=OTHER).error.startswith("policy_not_approved: ")


def test_what_was_approved_once_is_not_asked_again_where_only_changes_are(site) -> None:
    here = site(CHANGES)
    here.waiting = answer(here, "approved")
    here.call()
    assert site().call(run_id=NEXT).error == ""


def test_a_restart_answers_nobodys_question(site) -> None:
    here = site(RUNS)
    assert here.hooks.policy.waits_for(entry(), SPEC) == "person"
    again = site()
    assert [one.run_id for one in again.state.approvals.waiting()] == [RUN]
    again.waiting = answer(again, "approved")
    assert again.call().error == ""


def test_a_task_that_was_let_run_before_the_section_asked_is_asked_about(site) -> None:
    here = site()
    here.call()
    with (here.folder.path / "site.toml").open("a") as file:
        file.write(RUNS)
    again = site()
    again.waiting = answer(again, "refused")
    assert again.call().error.startswith("policy_not_approved: ")


def test_a_run_that_ends_is_not_waited_for_and_its_question_is_over(site) -> None:
    here = site(RUNS)
    here.waiting = here.end_run
    with pytest.raises(Overtaken):
        here.call()
    assert here.state.approvals.waiting() == []
    (one,) = here.state.approvals.latest(1)
    assert not here.state.approvals.answer(one.id, "approved", here.now)
    assert one.state == "over"
    again = here.state.approvals.ask(msgspec.structs.replace(one, state="waiting"))  # the run goes on all the same
    assert (again.id, again.state) == (one.id, "waiting")


def test_a_project_that_is_left_while_a_person_is_waited_for_is_not_served(site) -> None:
    here = site(RUNS)
    here.waiting = lambda: here.consents.withdraw(here.consents.of(PROJECT), 1)
    with pytest.raises(Exception, match="left project"):
        here.call()
    assert not here.task.asked


def test_people_are_told_what_of_a_task_has_changed(site) -> None:
    here = site()
    here.call()
    here.call(run_id=NEXT, spec=msgspec.structs.replace(SPEC, parameters={"epochs": 2}))
    (facts,) = (facts for what, facts in here.told if what == "task changed")
    assert facts["detail"] == "parameters.epochs: 2, was 1"


# What hooks keep


class Keeper(Task):
    """Its hooks add a letter to what they keep; what they found is noted."""

    def call(self, job: jobs.Job, unwanted: Callable[[], bool], logged: Callable[[str], None]) -> jobs.Finished | None:
        file = Path(job.keep) / "letters"
        self.found = file.read_text() if file.exists() else ""
        file.write_text(self.found + "x")
        return super().call(job, unwanted, logged)


def keeping(here: Site) -> Keeper:
    here.task.__class__ = Keeper
    assert isinstance(here.task, Keeper)
    here.task.said = jobs.Finished(packed=jobs.Packed(b"update"))
    return here.task


def test_what_a_hook_keeps_counts_in_the_transaction_that_keeps_its_update(site) -> None:
    here = site("")
    task = keeping(here)
    for _ in range(2):  # its result was not kept, as of a coordinator with too few updates
        finished = here.call()
        assert task.found == ""
    here.hooks.keep_made(entry(), finished, digests=None)
    here.call(seq=2, number=2)
    assert task.found == "x"
    again = site("")  # the agent was killed before that update was kept
    task = keeping(again)
    finished = again.call(seq=2, number=2)
    assert task.found == "x"
    again.hooks.keep_made(entry(seq=2, number=2), finished, digests=None)
    again.call(seq=3, run_id=NEXT)
    assert task.found == "xx"
    again.steps.forget_run(NEXT)
    assert len(list((again.folder.path / "kept" / PROJECT / "train").iterdir())) == 2


def test_what_may_not_leave_is_not_kept_either(site) -> None:
    here = site("[project.hearts]\nmax_update_bytes = 3\n")
    task = keeping(here)
    assert here.call().error.startswith("policy_")
    task.said = jobs.Finished(packed=jobs.Packed(b"abc"))
    here.hooks.keep_made(entry(), here.call(), digests=None)
    assert task.found == ""
    task.said = jobs.Finished(error="train: no")
    here.call(seq=2)
    assert task.found == "x"
    task.said = jobs.Finished(metrics={"m": 1.0})  # a hook without a result
    for _ in range(2):
        here.call("score", seq=3)
        assert task.found == "x"
    here.call("score", seq=4)
    assert task.found == "xx"


@dataclass
class Reports:
    """What would be reported of a score."""

    sent: list[dict[str, Any]] = field(default_factory=list)

    def why(self, error: Exception) -> str:
        return str(error)

    def keep(self, _entry: Entry, _what: str, said: dict[str, Any]) -> dict[str, Any]:
        return said

    def send(self, _entry: Entry, said: dict[str, Any]) -> None:
        self.sent.append(said)


@pytest.mark.parametrize(("every", "number", "asked"), [(0, 1, False), (2, 1, False), (2, 2, True), (2, 3, True)])
def test_a_hub_gets_scores_in_the_rounds_that_the_task_has_scored(site, every: int, number: int, asked: bool) -> None:
    here, reports = site(), Reports()
    scoring = Scoring(here.hooks._at, reports, here.hooks, here.hooks._holding)  # type: ignore[arg-type]
    task = msgspec.structs.replace(SPEC, score_every=every)
    facts = {"attempt": 1, "number": 1, "report_seq": 0, "task": task}
    scoring.score(entry(number=number, facts=facts))
    (said,) = reports.sent
    assert ("none of that round" in said["reason"]) is not asked
    assert here.task.asked == []  # there is no model here, which is looked for after that
