"""The pictures in the docs: each that `make screenshots` takes is shown, with words in its place, and is small."""

from __future__ import annotations

import re

from tests.page.pictures import ALL, FOLDER

MAX_BYTES = 100_000
_SHOWN = re.compile(r"!\[([^\]]{20,})\]\(pictures/([\w-]+)\.png\)")


def test_each_picture_is_shown_once_and_says_in_words_what_is_on_it() -> None:
    shown = [name for page in sorted(FOLDER.parent.glob("*.md")) for _, name in _SHOWN.findall(page.read_text())]
    assert sorted(shown) == sorted(one.name for one in ALL)


def test_each_picture_is_there_and_small() -> None:
    sizes = {path.stem: path.stat().st_size for path in FOLDER.iterdir()}
    assert sizes.keys() == {one.name for one in ALL}
    assert {name: size for name, size in sizes.items() if size > MAX_BYTES} == {}
