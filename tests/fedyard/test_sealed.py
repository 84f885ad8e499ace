"""Agents and sealed payloads: nobody on the way reads or changes anything, and a hub that lies is found out."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedyard.agent import payloads
from fedyard.sealed import sealing
from fedyard.sealed.keys import fingerprint, words
from fedyard.wire.statements import hex_groups
from tests.fedyard.test_agent import trained
from tests.fedyard.world import Project, SiteProcess, Wire, World, project_of, wire_to
from tests.liar.agents import AgentThread
from tests.ops.program import ROOT, environment
from tests.prepared import SITE
from tests.waiting import until


def site_command(site: SiteProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As its people do, in another process."""
    return SITE.run("--folder", site.path, *arguments, environment=environment(PYTHONPATH=str(ROOT)))


def log_of(site: SiteProcess) -> list[dict[str, object]]:
    lines = (site.path / "agent.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def said(site: SiteProcess, what: str) -> dict[str, object] | None:
    return next((line for line in log_of(site) if line["what"] == what), None)


def rounds_kept(site: SiteProcess) -> list[int]:
    """Of the pieces of logs that are on disk and not sent."""
    with closing(sqlite3.connect(f"file:{site.path / 'state.sqlite'}?mode=ro", uri=True, timeout=10)) as state:
        return [number for (number,) in state.execute("SELECT round FROM log_pieces")]


@contextmanager
def lying(world: World, folder: Path, *names: str, liar_to: str = "east") -> Iterator[tuple[Wire, list[SiteProcess]]]:
    """Sites of which one sees the hub through a wire that can change what it says."""
    with wire_to(world.hub) as wire:
        sites = [world.sites(folder, n, hub=wire.url if n == liar_to else None)[0] for n in names]
        try:
            yield wire, sites
        finally:
            for site in sites:
                site.kill()


def failure_of(project, run_id: str) -> str:
    """Why the run did not succeed: the reasons that seats and rounds gave."""
    run = project.finished(run_id)
    assert run.state == "failed", run
    events = project.coordinator.events(run_id)
    return " ".join(str(e.facts.get("reason")) + " " + str(e.facts.get("detail")) for e in events)


def sealed_in(content: bytes) -> list[tuple[str, bytes]]:
    """Every sealed payload in an answer of the hub: its text and its bytes."""
    texts = re.findall(rb'"(RllTM[A-Za-z0-9+/]+=*)"', content)
    return [(text.decode(), base64.b64decode(text)) for text in texts]


# the straight path


def test_everything_that_leaves_a_site_is_sealed(world: World, tmp_path) -> None:
    with lying(world, tmp_path, "north", "east") as (wire, sites):
        for site in sites:
            site.start()
        project = project_of(sites)
        trained(project, project.start())
        bodies = [b for method, path, _, b in wire.passed if method in ("PUT", "POST") and "/seats/" in path]
        submitted = [json.loads(body) for body in bodies if b'"submit"' in body]
        assert len(submitted) == 2
        for report in submitted:
            found, _ = sealing.read_seal(base64.b64decode(report["update"]))
            assert [r.site for r in found.header.recipients] == [sites[0].site_id]
            assert found.header.kind == "update"
        assert not any(b"FYa1" in body or base64.b64encode(b"FYa1")[:5] in body for *_, body in wire.passed)


def test_keys_are_published_before_anything_else_and_by_the_command_line(sites) -> None:
    north, east, _ = sites
    until(lambda: north.client.site_keys(east.site_id))
    assert [key.epoch for key in north.client.site_keys(east.site_id)] == [1]
    assert "epoch 2" in site_command(east, "site", "rotate-keys").stdout
    assert [key.state for key in north.client.site_keys(east.site_id)] == ["superseded", "current"]
    out = site_command(east, "site", "revoke-key", "2").stdout
    assert "epoch 2 is revoked" in out
    assert "epoch 3 is current" in out
    assert [key.state for key in north.client.site_keys(east.site_id)] == ["superseded", "revoked", "current"]
    shown = site_command(east, "site", "keys").stdout
    assert all(word in shown for word in ("superseded", "revoked", "current"))
    assert site_command(east, "site", "revoke-key", "9").returncode == 1
    assert b'"private":null' in (east.path / "keys" / "2.json").read_bytes()


def test_a_key_revoked_at_the_hub_is_deleted_and_replaced(world: World, sites) -> None:
    east = sites[1]
    until(lambda: world.admin.site_keys(east.site_id))
    world.admin.revoke_key(east.site_id, 1, "stolen")
    until(lambda: [k.state for k in world.admin.site_keys(east.site_id)] == ["revoked", "current"])
    assert b'"private":null' in (east.path / "keys" / "1.json").read_bytes()


@pytest.mark.parametrize("hook", ["train", "aggregate"])
def test_rotation_during_a_live_run_loses_nothing(sites, hook: str) -> None:
    """Everybody's keys change while updates, or the model, are under way."""
    project = project_of(sites, rounds=3)
    for site in sites:
        site.hold(hook)
    run_id = project.start()
    until(lambda: f"{hook} 1" in sites[0].calls())
    for site in sites:
        assert "epoch 2" in site_command(site, "site", "rotate-keys").stdout
    for site in sites:
        site.release(hook)
    trained(project, run_id, rounds=3)
    for site in sites:
        assert site.calls().count("train 1") == 1


def test_rotation_on_schedule_and_the_end_of_the_grace(world: World, tmp_path) -> None:
    sites = world.sites(tmp_path, "north", "east")
    for site in sites:
        text = (site.path / "site.toml").read_text()
        text = text.replace("rotate_every_days = 30", f"rotate_every_days = {4 / 86400}")
        (site.path / "site.toml").write_text(text.replace("grace_days = 7", f"grace_days = {9 / 86400}"))
    try:
        for site in sites:
            site.start()
        project = project_of(sites, rounds=3)
        run_id = project.start()
        trained(project, run_id, rounds=3)
        until(lambda: len(world.admin.site_keys(sites[1].site_id)) >= 3)
        until(lambda: said(sites[1], "key gone") is not None)
        assert b'"private":null' in (sites[1].path / "keys" / "1.json").read_bytes()
        trained(project, project.start(), rounds=3)
    finally:
        for site in sites:
            site.kill()


# a hub that lies


def test_a_swapped_identity_stops_the_agent(world: World, tmp_path) -> None:
    """Somebody between east and the coordinator shows an identity of its own in north's place."""
    with lying(world, tmp_path, "north", "east") as (wire, (north, east)):
        east.start()
        north.start()
        project = project_of([north, east])
        trained(project, project.start())
        pinned = base64.b64encode(north.folder.identity().public_key().public_bytes_raw())
        swapped = base64.b64encode(bytes(range(32)))
        wire.rewrite = lambda _method, path, content: (
            content.replace(pinned, swapped) if path.partition("?")[0].endswith("/keys") else content
        )
        site_command(north, "site", "rotate-keys")  # so that east asks for the directory again
        project.start()
        until(lambda: not east.runs())
        assert east.end() == 3
        text = (east.path / "agent.log").read_text()
        assert "STOPPED, IDENTITY CHANGED" in text
        assert hex_groups(fingerprint(north.folder.identity().public_key().public_bytes_raw())) in text
        assert hex_groups(fingerprint(bytes(range(32)))) in text
        conflict = said(east, "identity conflict")
        assert conflict is not None
        assert conflict["about"] == north.site_id
        assert any(m == "PUT" and f"/conflicts/{north.site_id}" in p for m, p, *_ in wire.passed)
        east.start()  # and it stays so
        until(lambda: not east.runs())
        assert east.end() == 3
        wire.rewrite = lambda _method, _path, content: content
        east.start()
        assert project.finished(project.coordinator.runs(project_id=project.id)[-1].id).state == "succeeded"


def flipped(payload: bytes, place: int) -> bytes:
    changed = bytearray(payload)
    changed[place] ^= 1
    return bytes(changed)


CHANGES = {
    "damaged": lambda payload: flipped(payload, -20),
    "bad_signature": lambda payload: flipped(payload, 10 + int.from_bytes(payload[6:10]) + 3),
    "unsealed": lambda _payload: b"FYa1 in plain sight",
    "unsupported": lambda payload: flipped(payload, 4),
    "truncated": lambda payload: payload[:-30],
}


@pytest.mark.parametrize("slug", CHANGES)
def test_a_changed_model_fails_the_seat_and_the_agent_goes_on(world: World, tmp_path, slug: str) -> None:
    with lying(world, tmp_path, "north", "east") as (wire, (north, east)):
        north.start()
        east.start()
        project = project_of([north, east], contract={"too_few": "fail"})

        def rewrite(_method: str, path: str, content: bytes) -> bytes:
            for text, payload in sealed_in(content) if "/inbox" in path or "/messages/" in path else ():
                if b'"kind":"model"' in payload:
                    content = content.replace(text.encode(), base64.b64encode(CHANGES[slug](payload)))
            return content

        wire.rewrite = rewrite
        assert f"seal_{slug}" in failure_of(project, project.start())
        assert east.runs()
        wire.rewrite = lambda _method, _path, content: content
        trained(project, project.start())


def test_a_model_of_another_round_is_readdressed(world: World, tmp_path) -> None:
    """The hub shows the first round's model as the second's."""
    with lying(world, tmp_path, "north", "east") as (wire, (north, east)):
        north.start()
        east.start()
        project = project_of([north, east], rounds=3)
        first: list[str] = []

        def rewrite(_method: str, path: str, content: bytes) -> bytes:
            for text, payload in sealed_in(content) if "/inbox" in path else ():
                if b'"kind":"model"' in payload:
                    first.append(text)
                    content = content.replace(text.encode(), first[0].encode())
            return content

        wire.rewrite = rewrite
        run_id = project.start()
        project.finished(run_id)
        until(lambda: any("not opened: readdressed" in str(line) for line in log_of(east)))


def submit_unsealed(project: Project, run_id: str, site: SiteProcess) -> None:
    """As a site whose agent does not seal."""

    def report(event: str, seq: int, **more: object) -> None:
        body = json.dumps({"event": event, "seq": seq, "round": 1, **more}).encode()
        site.client.report(run_id, 1, site.site_id, body, key=f"{run_id}-{seq}")

    until(lambda: any(e.kind == "invited" and e.run_id == run_id for e in site.entries()))
    report("ready", 1)
    until(lambda: any(e.kind == "round_started" and e.run_id == run_id for e in site.entries()))
    report("submit", 2, update=base64.b64encode(b"FYa1 plain").decode(), metrics={})


@contextmanager
def with_one_that_does_not_seal(world: World, folder: Path, *names: str, **options: Any) -> Iterator[Project]:
    """The last site has no agent, and the coordinator's own configuration does not take what is not sealed."""
    sites = world.sites(folder, *names)
    try:
        for site in sites[:-1]:
            site.start()
        yield project_of(sites, sealed="optional", **options)
    finally:
        for site in sites:
            site.kill()


def test_too_few_updates_that_open_fail_the_round_and_say_whose_do_not(world: World, tmp_path) -> None:
    with with_one_that_does_not_seal(world, tmp_path, "north", "east") as project:
        north, east = project.sites
        run_id = project.start()
        submit_unsealed(project, run_id, east)
        failure = failure_of(project, run_id)
        assert "seal_unsealed" in failure
        assert (
            f"quorum_not_met 2 updates are needed in round 1 and 1 can be used; left out: site {east.site_id}"
            in failure
        )
        assert "aggregate 1" not in north.calls()
        assert north.runs()


@pytest.mark.parametrize("crash", [False, True])
def test_an_update_that_does_not_open_is_left_out(world: World, tmp_path, crash: bool) -> None:
    """Also by a coordinator that is killed while it aggregates."""
    with with_one_that_does_not_seal(world, tmp_path, "north", "south", "east", contract={"quorum": 0.6}) as project:
        north, south, east = project.sites
        north.hold("aggregate")
        run_id = project.start()
        submit_unsealed(project, run_id, east)
        until(lambda: "aggregate 1" in north.calls())
        if crash:
            north.kill()
            north.release("aggregate")
            north.start()
        else:
            north.release("aggregate")
        run = project.finished(run_id)
        assert run.state == "succeeded", run
        first, second = run.tasks[0].rounds
        assert {s.site_id: s.left_out for s in first.submissions} == {
            north.site_id: None,
            south.site_id: None,
            east.site_id: "seal_unsealed",
        }
        assert first.metrics == {"sites": 2.0}
        assert {s.site_id for s in second.submissions} == {north.site_id, south.site_id}
        seat = next(s for s in run.tasks[0].seats if s.site_id == east.site_id)
        assert (seat.state, seat.reason) == ("failed", "seal_unsealed")
        assert said(north, "left out") is not None


def test_an_update_that_is_gone_is_left_out(world: World, tmp_path) -> None:
    """The hub does not show one update, neither in the inbox nor by its id."""
    with lying(world, tmp_path, "north", "south", "east", liar_to="north") as (wire, sites):
        north, south, east = sites
        for site in sites:
            site.start()
        project = project_of(sites, rounds=1, contract={"quorum": 0.6})

        def rewrite(_method: str, path: str, content: bytes) -> bytes:
            if not ("/inbox" in path or "/messages/" in path) or b'"update"' not in content:
                return content
            answer = json.loads(content)
            for item in answer.get("items", [{"message": answer}]):
                message = item.get("message")
                if message is not None and (message["kind"], message["sender_site_id"]) == ("update", east.site_id):
                    message["body"] = None
            return json.dumps(answer).encode()

        wire.rewrite = rewrite
        run_id = project.start()
        run = project.finished(run_id)
        assert run.state == "succeeded", run
        left_out = {s.site_id: s.left_out for s in run.tasks[0].rounds[0].submissions}
        assert left_out == {north.site_id: None, south.site_id: None, east.site_id: "seal_gone"}
        told = until(lambda: said(east, "our update was not used"))
        assert (told["run"], told["round"], told["reason"]) == (run_id, 1, "seal_gone")


def test_without_the_coordinators_key_nothing_leaves(world: World, tmp_path) -> None:
    """The hub says that the coordinator has none, and that the project does not mind."""
    with lying(world, tmp_path, "north", "east") as (wire, (north, east)):
        north.start()
        project = project_of([north, east], contract={"train_within_s": 100})

        def rewrite(_method: str, path: str, content: bytes) -> bytes:
            if not re.search(r"/projects/[^/]+/keys", path):
                return content
            answer = json.loads(content)
            for item in answer["items"]:
                item["key"] = None
            return json.dumps(answer).encode()

        wire.rewrite = rewrite
        payloads.KEY_PAUSE_S, usual = 0.1, payloads.KEY_PAUSE_S
        agent = AgentThread(east).start()
        try:
            assert "seal_no_key" in failure_of(project, project.start())
        finally:
            agent.stop()
            payloads.KEY_PAUSE_S = usual
        assert not any(b'"update"' in body for *_, body in wire.passed)


# logs


def test_what_hooks_say_is_sealed_and_read_by_whom_it_is_for(sites) -> None:
    north, east, south = sites
    project = project_of(sites)
    for site in sites:
        site.hold("train")
    run_id = project.start()
    mine = until(lambda: north.client.logs(run_id, site_id=east.site_id))
    assert all(b"training begins" not in piece.body for piece in mine)
    shown = site_command(north, "logs", run_id, "--site", east.name).stdout
    assert re.search(rf"{east.name} task 1 round 1  training begins\n.*loss is fine", shown)  # while it still trains
    for site in sites:
        site.release("train")
    trained(project, run_id)
    followed = site_command(north, "logs", run_id, "--follow")
    assert followed.returncode == 0, followed.stderr
    for site in sites:
        until(lambda s=site: any(piece.round == 2 for piece in s.client.logs(run_id, site_id=s.site_id)))
    everything = site_command(north, "logs", run_id).stdout
    assert everything.count("training begins") == 6
    own = site_command(east, "logs", run_id).stdout
    assert own.count("training begins") == 2
    assert south.name not in own


def test_a_log_goes_on_after_a_kill_and_over_a_rotation(sites) -> None:
    north, east, _ = sites
    project = project_of(sites)
    east.hold("train")
    run_id = project.start()
    until(lambda: north.client.logs(run_id, site_id=east.site_id))
    east.kill()
    site_command(north, "site", "rotate-keys")
    site_command(north, "site", "revoke-key", "1")
    east.release("train")
    east.start()
    trained(project, run_id)
    until(lambda: any(log.round == 2 for log in north.client.logs(run_id, site_id=east.site_id)))
    pieces = north.client.logs(run_id, site_id=east.site_id)
    assert [piece.seq for piece in pieces] == list(range(1, len(pieces) + 1))
    shown = site_command(north, "logs", run_id, "--site", east.name)
    assert "piece 1 is not shown (revoked_key)" in shown.stderr
    assert shown.stdout.count("training begins") == 2


@pytest.mark.parametrize("held", ["until it stops", "to the end"])
def test_what_hooks_said_last_is_sent_when_the_agent_stops_or_else_when_it_starts(
    world: World, tmp_path: Path, held: str
) -> None:
    """One piece is under way for long, and what was said after it is in the agent's memory alone."""
    with wire_to(world.hub) as wire:
        sites = [*world.sites(tmp_path, "north"), *world.sites(tmp_path, "east", hub=wire.url)]
        north, east = [site.start() for site in sites]
        try:
            project = project_of(sites)
            wire.hold = lambda path, _: "/logs/" in path
            east.hold("train")
            run_id = project.start()
            assert wire.held.wait(60)
            east.release("train")
            trained(project, run_id)
            assert not north.client.logs(run_id, site_id=east.site_id)
            os.kill(east.pid, signal.SIGTERM)
            if held == "to the end":
                until(lambda: 2 in rounds_kept(east))
                east.kill()
            wire.hold = lambda _path, _body: False
            if held == "to the end":
                east.start()
                until(lambda: len(north.client.logs(run_id, site_id=east.site_id)) == 2)
            else:
                east.end()
            shown = site_command(north, "logs", run_id, "--site", east.name).stdout
            assert shown.count("loss is fine") == 2
            assert not rounds_kept(east)
        finally:
            for site in sites:
                site.kill()


def test_a_piece_in_another_place_is_not_shown(world: World, tmp_path) -> None:
    """The hub shows one piece twice, and as if it were of another round."""
    with lying(world, tmp_path, "north", "east", liar_to="north") as (wire, (north, east)):
        north.start()
        east.start()
        project = project_of([north, east])
        run_id = project.start()
        trained(project, run_id)
        until(lambda: any(log.round == 2 for log in north.client.logs(run_id, site_id=east.site_id)))

        def rewrite(_method: str, path: str, content: bytes) -> bytes:
            if "/logs" not in path:
                return content
            answer = json.loads(content)
            if len(answer["items"]) > 1:
                answer["items"][1]["body"] = answer["items"][0]["body"]
                answer["items"][0]["round"] = 2
            return json.dumps(answer).encode()

        wire.rewrite = rewrite
        shown = site_command(north, "logs", run_id, "--site", east.name)
        assert shown.returncode == 1
        assert "not shown (readdressed)" in shown.stderr
        assert shown.stdout == ""


# people


def test_fingerprints_and_trust(sites) -> None:
    north, east, _ = sites
    project = project_of(sites)
    trained(project, project.start())
    finger = fingerprint(north.folder.identity().public_key().public_bytes_raw())
    own = site_command(north, "site", "fingerprint").stdout
    assert words(finger) in own
    assert hex_groups(finger) in own
    seen = site_command(east, "site", "fingerprint", north.name).stdout
    assert words(finger) in seen
    assert "nobody has compared it" in seen
    wrong = fingerprint(bytes(32))
    refused = site_command(east, "site", "trust", north.name, *words(wrong).split())
    assert refused.returncode == 3
    assert "IDENTITY CHANGED" in refused.stderr
    assert site_command(east, "site", "trust", north.name, "what", "they", "said").returncode == 2
    assert site_command(east, "site", "trust", "nobody", hex_groups(finger)).returncode == 2
    assert "is trusted" in site_command(east, "site", "trust", north.name, *words(finger).split()).stdout
    assert "compared" in site_command(east, "site", "fingerprint", north.site_id).stdout
    assert site_command(east, "site", "fingerprint", "nobody").returncode == 2


def test_with_fingerprints_nothing_happens_before_they_were_compared(world: World, tmp_path) -> None:
    north, east = world.sites(tmp_path, "north", "east")
    for site in (north, east):
        text = (site.path / "site.toml").read_text()
        (site.path / "site.toml").write_text(text.replace('pin = "first_sight"', 'pin = "fingerprint"'))
    own = {s: hex_groups(fingerprint(s.folder.identity().public_key().public_bytes_raw())) for s in (north, east)}
    try:
        north.start()
        east.start()
        project = project_of([north, east], contract={"too_few": "fail"})
        assert "seal_unverified" in failure_of(project, project.start())
        for one, other in ((north, east), (east, north)):
            assert site_command(one, "site", "trust", other.name, own[other]).returncode == 0
        trained(project, project.start())
    finally:
        for site in (north, east):
            site.kill()


def test_a_message_is_sealed_opened_and_read(sites, tmp_path) -> None:
    north, east, south = sites
    for site in sites:
        until(lambda s=site: north.client.site_keys(s.site_id))
    project = project_of(sites)
    name = project.coordinator.project(project.id).name
    sent = site_command(north, "send", name, "--to", "participants", "--text", "Grüße")
    assert "2 sites" in sent.stdout, sent.stderr
    assert site_command(east, "send", name, "--to", "coordinator", "--text", "thanks").returncode == 0
    assert site_command(north, "send", name, "--to", east.name, south.name, "--text", "both").returncode == 0
    assert site_command(north, "send", name, "--to", "nobody", "--text", "x").returncode == 2
    for site, text in ((east, "Grüße"), (south, "Grüße"), (north, "thanks")):
        entry = until(lambda s=site: next((e for e in s.entries() if e.kind == "message"), None))
        until(lambda s=site, e=entry: any(x.get("entry") == e.seq for x in log_of(s)))
        assert entry.message is not None
        assert text.encode() not in (entry.message.body or b"")
        assert site_command(site, "site", "inbox", "--read", str(entry.seq)).stdout == text
    assert site_command(north, "site", "inbox", "--read", "1000").returncode == 2
