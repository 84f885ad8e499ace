"""Heads of the hub's chains: which are kept, and what a site says of those that contradict them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedyard.agent.head_watch import Heads
from fedyard.agent.heads import Head, judge
from fedyard.agent.site import Folder, Settings
from fedyard.agent.state import State
from fedyard.cli.main import main
from fedyard.sealed.errors import IdentityChanged
from fedyard.sealed.keys import words
from fedyard.sealed.trust import Trust, TrustSettings
from fedyard.wire.statements import hub_fingerprint
from fedyard.wire.times import DAY
from tests.fedyard.parties import NORTH, PROJECT

NOW = 1_800_000_000_000_000
HISTORY, OTHER = "70000000-0000-4000-8000-000000000000", "71000000-0000-4000-8000-000000000000"
STRANGERS = "99000000-0000-4000-8000-000000000000"
KEY, FOREIGN = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def head(seq: int, digest: str = "a", *, key: Ed25519PrivateKey = KEY, **fields: Any) -> Head:
    """As the hub signs one."""
    bare = Head(
        **{
            "history_id": HISTORY,
            "stream_id": PROJECT,
            "kind": "project",
            "seq": seq,
            "hash": digest * 64,
            "at": NOW,
            "key": key.public_key().public_bytes_raw(),
            "signature": bytes(64),
            **fields,
        }
    )
    return msgspec.structs.replace(bare, signature=key.sign(bare.statement()))


class Serving:
    """The consents of a site that serves one project."""

    def serves(self, project_id: str | None) -> bool:
        return project_id == PROJECT


class Site:
    """What keeps heads, and what it said of them."""

    def __init__(self, folder: Path, **settings: str) -> None:
        folder.mkdir(exist_ok=True)
        self.state, self.trust = State(folder / "state.sqlite"), Trust(folder, TrustSettings(**settings))
        self.said: list[tuple[str, str]] = []
        self.heads = Heads(NORTH, self.state, self.trust, Serving(), self._log)  # type: ignore[arg-type]

    def _log(self, what: str, *, fault: str, stream: str, detail: str) -> None:
        assert (what, stream in detail or fault == "unreadable") == ("chain of events at fault", True)
        self.said.append((fault, detail))

    def shown(self, *heads: Head | bytes, history_id: str = HISTORY, now: int = NOW) -> list[str]:
        """The faults that it says of these."""
        self.said.clear()
        raws = [msgspec.Raw(one if isinstance(one, bytes) else msgspec.json.encode(one)) for one in heads]
        self.heads.note(raws, history_id, now)
        return [fault for fault, _ in self.said]

    def kept(self) -> list[tuple[str, int]]:
        return [(one.stream_id, one.seq) for one in self.state.heads.all()]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_every_case_has_its_word() -> None:
    known, after, before = head(5), head(6), head(4)
    assert judge(known, HISTORY, None, None) is None
    assert judge(after, HISTORY, known, None) is None
    assert judge(known, HISTORY, known, None) is None
    assert judge(before, HISTORY, known, None) == "went_back"
    assert judge(head(5, "b"), HISTORY, known, None) == "fork"
    assert judge(known, OTHER, None, None) == "another_history"
    assert judge(before, HISTORY, None, known) == "lost"
    assert judge(head(5, "b"), HISTORY, None, known) == "lost"
    assert judge(known, HISTORY, None, known) is None
    assert judge(after, HISTORY, before, known) is None


def test_the_newest_head_of_each_chain_is_kept_and_the_last_of_each_day(tmp_path: Path, site: Site) -> None:
    own = head(2, stream_id=NORTH, kind="site")
    assert site.shown(head(5), own) == []
    assert site.shown(head(6), own, now=NOW + 1) == []
    assert site.shown(head(7), head(8), head(5, stream_id=STRANGERS), now=NOW + DAY) == []
    assert sorted(site.kept()) == sorted([(NORTH, 2), (PROJECT, 6), (PROJECT, 8)])
    again = Site(tmp_path)
    assert again.shown(head(7), now=NOW + DAY + 2) == ["went_back"]


def test_what_contradicts_a_head_is_told_and_kept_as_proof(site: Site) -> None:
    site.shown(head(5))
    assert site.shown(head(4)) == ["went_back"]
    assert "event 5 (aaaaaaaaaaaaaaaa) as the newest, and now signs event 4" in site.said[0][1]
    assert site.shown(head(5, "b")) == ["fork"]
    assert site.shown(head(4), head(3), head(5, "c")) == []  # people have been told today
    assert site.shown(head(4), now=NOW + DAY) == ["went_back"]
    assert site.kept() == [(PROJECT, 5)]
    faults = {fault.kind: fault for fault in site.state.heads.head_faults()}
    assert {kind: fault.count for kind, fault in faults.items()} == {"went_back": 4, "fork": 2}
    assert (faults["fork"].head, faults["went_back"].head) == (head(5, "b"), head(4))
    assert site.shown(head(9)) == []


def test_an_altered_head_and_a_foreign_one_are_not_kept(site: Site) -> None:
    altered = msgspec.structs.replace(head(5), seq=6)
    assert site.shown(altered) == ["altered"]
    assert site.trust.hub_pin() is None  # and its key is not the hub's
    assert site.shown(head(5)) == []
    assert site.shown(head(6, key=FOREIGN)) == ["foreign"]
    assert "trust-hub" in site.said[0][1]
    assert site.shown(b'{"seq": -1}', b"7", head(6)) == ["unreadable"]
    assert site.kept() == [(PROJECT, 6)]


def test_another_history_needs_a_recovery_and_says_what_it_has_lost(site: Site) -> None:
    site.shown(head(5))
    assert site.shown(head(9, history_id=OTHER)) == ["another_history"]
    site.state.history.recovered(OTHER, 1, 1, "", b"", NOW + 10)
    assert site.shown(head(3, history_id=OTHER), history_id=OTHER, now=NOW + 20) == ["lost"]
    assert "before, its newest was event 5" in site.said[0][1]
    assert site.shown(head(4, history_id=OTHER), history_id=OTHER, now=NOW + 21) == []
    assert site.shown(head(2, history_id=OTHER), history_id=OTHER, now=NOW + 22) == ["went_back"]
    assert site.kept() == [(PROJECT, 5), (PROJECT, 4)]


def test_a_restore_in_the_same_history_is_explained_by_its_recovery(site: Site) -> None:
    site.shown(head(5))
    site.state.history.recovered(HISTORY, 1, 1, "", b"", NOW + 10)
    assert site.shown(head(3), now=NOW + 20) == ["lost"]
    assert site.shown(head(4, "c"), now=NOW + 21) == []
    assert site.shown(head(3), now=NOW + 22) == ["went_back"]


def test_the_key_of_the_hub_is_pinned_and_compared_by_words(tmp_path: Path, site: Site) -> None:
    mine, other = (key.public_key().public_bytes_raw() for key in (KEY, FOREIGN))
    site.shown(head(5))
    pin = site.trust.hub_pin()
    assert pin is not None
    assert (pin.key, pin.how) == (mine, "first_sight")
    said = words(hub_fingerprint(mine))
    with pytest.raises(IdentityChanged, match="the hub shows the key"):
        site.trust.confirm_hub(other, said, NOW)
    assert site.trust.confirm_hub(mine, said, NOW).how == "fingerprint"
    with pytest.raises(IdentityChanged, match="--replace"):
        site.trust.confirm_hub(other, words(hub_fingerprint(other)), NOW)
    assert site.trust.confirm_hub(other, words(hub_fingerprint(other)), NOW, replace=True).key == other
    strict = Site(tmp_path / "strict", hub=said)
    assert strict.shown(head(5, key=FOREIGN)) == ["foreign"]
    assert strict.shown(head(5)) == []
    pin = strict.trust.hub_pin()
    assert pin is not None
    assert (pin.key, pin.how) == (mine, "fingerprint")
    with pytest.raises(ValueError, match=r"trust\.hub"):
        Trust(tmp_path, TrustSettings(hub="wolf"))


def test_people_see_the_heads_and_what_is_wrong_with_them(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "north"
    Folder(folder).create(Settings(hub="http://127.0.0.1:1", name="north"), "one-time")
    (folder / "site.id").write_text(NORTH)
    site = Site(folder)
    site.shown(head(5))
    assert main(["--folder", str(folder), "site", "heads"]) == 0
    assert "aaaaaaaaaaaaaaaa" in capsys.readouterr().out
    site.shown(head(4))
    assert main(["--folder", str(folder), "site", "heads", "--to", str(tmp_path / "kept.jsonl")]) == 1
    assert "now signs event 4" in capsys.readouterr().out
    lines = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text().splitlines()]
    assert [(line["stream_id"], line["seq"], line["hash"]) for line in lines] == [
        (PROJECT, 5, "a" * 64),
        (PROJECT, 4, "a" * 64),
    ]
    assert main(["--folder", str(folder), "site", "inbox"]) == 0
    assert "now signs event 4" in capsys.readouterr().out
    assert main(["--folder", str(folder), "site", "fingerprint"]) == 0
    assert words(hub_fingerprint(KEY.public_key().public_bytes_raw())) in capsys.readouterr().out
