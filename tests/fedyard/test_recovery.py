"""The hub's history went back: what a site tells it, what it sends again, and that a kill at any step is harmless."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import pytest

from fedyard.agent.recovery import MAX_COPIES, Recovery
from fedyard.agent.state import Report, Seat, State
from fedyard.agent.state.part import Part
from fedyard.client.client import Client
from fedyard.client.errors import Refused
from fedyard.clock import draw_key, micros_now, utc_now
from fedyard.wire.answers import Entry, Recovered
from tests.fedyard.world import Project, SiteProcess, World, joining, project_of, wire_to
from tests.waiting import until

T = TypeVar("T")
STEPS = (
    "copy_to",
    "keep_claim",
    "recover",
    "recovered",
    "sent_since",
    "post_again",
    "forget_run",
    "owe",
)
LOST = "f" * 32
"""A mark of a history that the hub has forgotten."""


class Killed(BaseException):
    """The process died here."""


class Lives:
    """Which step kills: the nth of all that are counted, before it is taken or after."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.left = dies_at

    def step(self, work: Callable[[], T]) -> T:
        self._count()
        done = work()
        self._count()
        return done

    def _count(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


class MortalState(State):
    lives = Lives()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if isinstance(found, Part):
            return MortalPart(found, self.lives)
        return _mortal(self.lives, found) if name in STEPS else found


class MortalPart:
    """A part of the memory, each of whose steps may be the last."""

    def __init__(self, part: Part, lives: Lives) -> None:
        self._part, self._lives = part, lives

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        return _mortal(self._lives, found) if name in STEPS else found


class MortalClient(Client):
    lives = Lives()
    claims: list[tuple[str, bytes]]

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return _mortal(self.lives, found) if name in STEPS else found

    def recover(self, site_id: str, claim: bytes, *, key: str) -> Recovered:
        self.claims.append((key, claim))
        return super().recover(site_id, claim, key=key)


def _mortal(lives: Lives, method: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **named: lives.step(lambda: method(*arguments, **named))


class Site:
    """A site without an agent, whose memory lies in a folder of its own."""

    def __init__(self, process: SiteProcess, folder: Path) -> None:
        folder.mkdir()
        self.process, self.folder = process, folder
        self.claims: list[tuple[str, bytes]] = []
        self.log: list[tuple[str, dict[str, object]]] = []

    def open(self, lives: Lives | None = None) -> tuple[MortalState, Recovery]:
        """As at the start of an agent."""
        state = MortalState(self.folder / "state.sqlite")
        client = MortalClient(self.process.folder.settings().hub, self.process.folder.token())
        client.claims = self.claims
        state.lives = client.lives = lives or Lives()
        noted = lambda what, **facts: self.log.append((what, facts))  # noqa: E731
        ring = self.process.folder.keyring()
        return state, Recovery(self.process.site_id, self.folder, state, ring, client, noted)

    def takes_what_there_is(self) -> int:
        """Read the inbox; the newest number."""
        state, _ = self.open()
        inbox = self.process.client.inbox(after=0, limit=200)
        state.history.first_history(inbox.history_id or "")
        state.inbox.take(inbox.items, through=inbox.last_seq)
        state.close()
        return inbox.last_seq

    def takes_lost(self, *entries: Entry) -> None:
        state, _ = self.open()
        state.inbox.take(entries)
        state.close()


@pytest.fixture
def pair(world: World, tmp_path: Path) -> list[SiteProcess]:
    return world.sites(tmp_path, "north", "east")


@pytest.fixture
def project(pair: list[SiteProcess]) -> Project:
    return project_of(pair, sealed="optional")


def lost(seq: int, kind: str, **more: Any) -> Entry:
    return Entry(seq=seq, kind=kind, created_at=utc_now(), mark=LOST, **more)


def test_a_site_beyond_the_end_is_told_where_to_read_on(
    pair: list[SiteProcess], project: Project, tmp_path: Path
) -> None:
    site = Site(pair[1], tmp_path / "memory")
    common = site.takes_what_there_is()
    site.takes_lost(lost(common + 1, "member_admitted", project_id=project.id))
    state, recovery = site.open()
    position = state.history.position()
    with pytest.raises(Refused) as refused:
        pair[1].client.inbox(after=position.taken, mark=position.mark)
    assert refused.value.slug == "history_went_back"
    recovery.begin(utc_now())
    after = state.history.position()
    assert after.taken > common
    assert pair[1].client.inbox(after=after.taken, mark=after.mark).history_id == after.history_id
    assert pays(recovery) == []
    assert state.history.position().owed == b""
    aside = list(site.folder.glob("state-*.sqlite"))
    assert len(aside) == 1
    assert State(aside[0]).inbox.taken() == common + 1


def test_the_claim_names_all_that_the_hub_may_have_forgotten(
    world: World, pair: list[SiteProcess], project: Project, tmp_path: Path
) -> None:
    site = Site(pair[1], tmp_path / "memory")
    common = site.takes_what_there_is()
    invited, taken, token = str(uuid4()), str(uuid4()), str(uuid4())
    seat = {"project_id": project.id, "task_seq": 1, "round": 1}
    site.takes_lost(
        lost(common + 1, "invited", run_id=invited, **seat),
        lost(common + 2, "invited", run_id=taken, **seat),
        lost(common + 3, "token_revoked", facts=msgspec.Raw(msgspec.json.encode({"token_id": token}))),
        lost(common + 4, "token_revoked", facts=msgspec.Raw(b'{"token_id": "none"}')),
    )
    state, recovery = site.open()
    state.seats.keep_seat(Seat(taken, 1, 3, b"{}", 1, 1))
    recovery.begin(utc_now())
    claim = json.loads(site.claims[0][1])
    assert claim["last_seq"] == common + 4
    assert claim["marks"][0] == {"seq": common + 4, "mark": LOST}
    assert claim["revoked_tokens"] == [token]
    assert claim["seats"] == [
        {"run_id": taken, "task_seq": 1, "report_seq": 3, "state": "live"},
        {"run_id": invited, "task_seq": 1, "report_seq": 0, "state": "live"},
    ]
    assert sorted(pays(recovery)) == sorted([invited, taken])  # the hub knows none of these runs


def test_a_revoked_token_that_works_again_is_revoked_by_the_claim(
    world: World, pair: list[SiteProcess], tmp_path: Path
) -> None:
    body = {"owner_kind": "site", "owner_id": pair[1].site_id, "label": "spare"}
    made = world.admin.written("POST", "/v1/tokens", msgspec.json.encode(body), dict[str, Any], draw_key())
    spare = Client(world.hub, made["token"])
    site = Site(pair[1], tmp_path / "memory")
    common = site.takes_what_there_is()
    facts = msgspec.Raw(msgspec.json.encode({"token_id": made["id"]}))
    site.takes_lost(lost(common + 1, "token_revoked", facts=facts))
    assert spare.me().id == pair[1].site_id
    site.open()[1].begin(utc_now())
    until(lambda: refused(spare))


def refused(client: Client) -> bool:
    with suppress(Refused):
        client.me()
        return False
    return True


def test_a_kill_at_any_step_is_harmless(pair: list[SiteProcess], project: Project, tmp_path: Path) -> None:
    sender, receiver = pair
    before = len(receiver.entries())
    deaths = 0
    while True:
        site = Site(sender, tmp_path / f"memory {deaths}")
        common = site.takes_what_there_is()
        state, _ = site.open()
        state.inbox.take([lost(common + 1, "member_left", project_id=project.id)])
        run = str(uuid4())
        state.seats.keep_seat(Seat(run, 1, 1, b"{}", 1, 1))
        state.seats.keep_report(Report(1, "accept", run, 1, 1, 1, draw_key(), b"{}"), 7)
        keys = [draw_key(), draw_key()]
        for key in keys:
            text = f"{deaths} {key}".encode()
            message = {"project_id": project.id, "to": [receiver.site_id], "body": text, "kind": "message"}
            state.history.keep_sent(key, msgspec.json.encode({"messages": [message]}), micros_now())
        sender.client.post_again(keys[0], state.history.sent_since(0)[0][1])  # the hub has this one
        state.close()

        state, recovery = site.open(Lives(deaths))
        died = False
        try:
            goes_through(recovery, state)
        except Killed:
            died = True
        state.close()
        state, recovery = site.open()
        if state.history.position().claim or (died and not state.history.position().recovered_at):
            recovery.begin(utc_now())
        recovery.pay(micros_now(), state.runs.forget_run)
        assert state.seats.get(run, 1) is None  # the hub does not know this run
        position = state.history.position()
        assert (position.claim, position.owed) == (b"", b"")
        assert len({claim for _, claim in site.claims}) == len({key for key, _ in site.claims}) == 1
        assert sender.client.inbox(after=position.taken, mark=position.mark).history_id == position.history_id
        assert len(list(site.folder.glob("state-*.sqlite"))) in range(1, MAX_COPIES + 1)
        state.close()
        deaths += 1
        assert len(receiver.entries()) == before + 2 * deaths  # each message once
        if not died:
            break
    assert deaths > 2 * 6


def pays(recovery: Recovery) -> list[str]:
    """The runs that are to be forgotten."""
    forgotten: list[str] = []
    recovery.pay(micros_now(), forgotten.append)
    return forgotten


def test_a_claim_that_is_refused_again_and_again_leaves_one_copy(
    pair: list[SiteProcess], project: Project, tmp_path: Path
) -> None:
    site = Site(pair[1], tmp_path / "memory")
    common = site.takes_what_there_is()
    site.takes_lost(lost(common + 1, "member_admitted", project_id=project.id))
    state, _ = site.open()
    other = Client(pair[0].folder.settings().hub, pair[0].folder.token())  # it may not speak for this site
    foreign = Recovery(pair[1].site_id, site.folder, state, pair[1].folder.keyring(), other, lambda *_, **__: None)
    for n in range(MAX_COPIES + 2):
        with pytest.raises(Refused):
            foreign.begin(utc_now() + timedelta(seconds=n))
    (aside,) = site.folder.glob("state-*.sqlite")
    site.open()[1].begin(utc_now())
    assert list(site.folder.glob("state-*.sqlite")) == [aside]
    assert state.history.position().claim_key == ""


def goes_through(recovery: Recovery, state: State) -> None:
    recovery.begin(utc_now())
    recovery.pay(micros_now(), state.runs.forget_run)


def test_a_hub_with_another_history_is_told_what_the_site_holds(world: World, tmp_path: Path) -> None:
    """No number is beyond its end: only the history's id is another."""
    other, joined, left = (project_of(world.sites(tmp_path, name)) for name in ("lead", "by-hand", "not-any-more"))
    with wire_to(world.hub) as wire:
        (site,) = world.sites(tmp_path, "alone", hub=wire.url, join=joining(f"project of {tmp_path.name}-lead"))
        site.start()
        try:
            until(lambda: site.client.site_keys(site.site_id))
            for one in (joined, left):
                site.join(one.id)
            site.folder.consents().withdraw(site.folder.consents().of(left.id), micros_now())
            site.hold("train")
            project = project_of([site])  # entries in its inbox
            until(lambda: "joined" in whats(site))
            run = site.client.start_run(project.id)
            until(lambda: any(asked.startswith("/v1/inbox?") and "mark=" in asked for _, asked, _, _ in wire.passed))

            def another(_method: str, path: str, content: bytes) -> bytes:
                if not path.startswith("/v1/inbox") or any("/recovery" in asked for _, asked, _, _ in wire.passed):
                    return content
                return content.replace(history.encode(), str(uuid4()).encode())

            history = site.client.inbox(after=0).history_id or ""
            wire.rewrite = another
            site.client.stop_run(run.id)
            until(lambda: "sent again" in whats(site))
            assert whats(site).count("recovered") == 1
            until(
                lambda: f"/v1/projects/{other.id}/members/{site.site_id}" in after_recovery(wire.passed)
            )  # its membership may be gone
            until(lambda: {("PUT", joined.id), ("DELETE", left.id)} <= memberships(wire.passed, site))
            assert ("PUT", left.id) not in memberships(wire.passed, site)
            state = State(site.path / "state.sqlite")
            until(lambda: (at := state.history.position()).rejoined_at == at.recovered_at > 0)
            state.close()
            assert list(site.path.glob("state-*.sqlite"))
            assert site.runs()
        finally:
            site.kill()


def after_recovery(passed: list[tuple[str, str, Any, Any]]) -> list[str]:
    paths = [asked for _, asked, _, _ in passed]
    return paths[next(n for n, asked in enumerate(paths) if "/recovery" in asked) :]


def memberships(passed: list[tuple[str, str, Any, Any]], site: SiteProcess) -> set[tuple[str, str]]:
    """What a site has asked of its memberships since it recovered: (method, project)."""
    begun = next((n for n, (_, asked, _, _) in enumerate(passed) if "/recovery" in asked), len(passed))
    asked = [(method, path.split("/")) for method, path, _, _ in passed[begun:]]
    return {(method, path[3]) for method, path in asked if path[-2:] == ["members", site.site_id]}


def whats(site: SiteProcess) -> list[str]:
    lines = (site.path / "agent.log").read_text().splitlines()
    return [json.loads(line)["what"] for line in lines if line.startswith("{")]
