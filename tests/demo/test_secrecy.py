"""The demo's search finds what is there, however it is spelled, and says so; and nothing where nothing is."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from demo.processes import DemoError
from demo.secrecy import Findings, Payload, search, size_of, spelled
from fedyard.tasks.arrays import pack

WEIGHTS = np.random.default_rng(3).normal(size=40)


def payload() -> Payload:
    packed = pack({"weights": WEIGHTS})
    assert isinstance(packed, bytes)
    return Payload("update", os.urandom(len(packed)), packed)


def searched(folder: Path, found: Payload, at_hub: bytes, at_site: bytes | None = None) -> Findings:
    """A hub with `at_hub` and the sealed bytes in its files, and a site that holds the opened ones."""
    hub, site = folder / "hub with a space", folder / "site"
    for name, file, content in (
        (hub, "store.sqlite-wal", b"page" + found.sealed),
        (hub / "artifacts", "00001-abc", at_hub),
        (site, "model.npz", found.opened[4:] if at_site is None else at_site),
    ):
        name.mkdir(parents=True, exist_ok=True)
        (name / file).write_bytes(content)
    return search([found], [hub, folder / "no such log"], [site], folder)


def test_ciphertext_alone_is_good(tmp_path) -> None:
    findings = searched(tmp_path, payload(), os.urandom(10_000))
    assert (findings.opened, findings.sealed, findings.at_sites) == ([], ["store.sqlite"], ["model.npz"])
    assert findings.good
    assert (tmp_path / "opened.pieces").stat().st_mode & 0o777 == 0o600


SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda packed: packed,
    "half of it": lambda packed: packed[len(packed) // 2 :],
    "base64": base64.b64encode,
    "base64 behind one byte": lambda packed: base64.b64encode(b"x" + packed),
    "base64 behind two bytes": lambda packed: base64.b64encode(b"xy" + packed),
    "hex": lambda packed: packed.hex().encode(),
    "numbers": lambda _: WEIGHTS.tobytes(),
    "numbers in JSON": lambda _: str(WEIGHTS.tolist()).encode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_plaintext_is_found_however_it_is_spelled(tmp_path, spelling: str) -> None:
    found = payload()
    findings = searched(tmp_path, found, b"before" + SPELLINGS[spelling](found.opened) + b"behind")
    assert findings.opened == ["artifacts"]
    assert not findings.good


def test_a_search_that_finds_nothing_anywhere_proves_nothing(tmp_path) -> None:
    assert not searched(tmp_path, payload(), b"", at_site=b"").good


def test_a_search_that_does_not_work_is_told(tmp_path) -> None:
    with pytest.raises(DemoError, match="nothing to search for"):
        search([], [tmp_path], [tmp_path], tmp_path)


def test_what_lies_anywhere_is_no_piece() -> None:
    assert list(spelled(bytes(1000))) == []
    assert list(spelled(b"short")) == []


def test_sizes_are_of_all_files(tmp_path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a").write_bytes(bytes(10))
    (tmp_path / "b").write_bytes(bytes(5))
    assert size_of([tmp_path, tmp_path / "b"]) == 20
