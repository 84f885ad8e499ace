"""What `Client` asks page by page has pages: an operation that takes none refuses `limit` as unknown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fedyard.client.client import Client
from web.api.table import NOUNS

IDENT = "00000001-0000-4000-8000-000000000000"
LISTS = [name for name, does in inspect.getmembers(Client, inspect.isfunction) if ".every(" in inspect.getsource(does)]


class Asking(Client):
    """Notes the lists that it would ask for."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", "fyd_none")
        self.asked: list[tuple[str, Mapping[str, object]]] = []

    def every(self, path: str, query: Mapping[str, object], kind: type[Any]) -> Iterator[Any]:
        self.asked.append((path, query))
        return iter(())


@pytest.mark.parametrize("name", [name for name in LISTS if name != "every"])
def test_a_list_that_is_asked_for_page_by_page_has_pages(name: str) -> None:
    client = Asking()
    method = getattr(client, name)
    needed = [one for one in inspect.signature(method).parameters.values() if one.default is inspect.Parameter.empty]
    method(*[IDENT for _ in needed])
    ((path, query),) = client.asked
    (operation,) = [
        each
        for noun in NOUNS
        for each in noun.OPERATIONS
        if each.method == "GET" and re.fullmatch(re.sub(r"{\w+}", "[^/]+", each.path), path)
    ]
    assert {"limit", "after", *query} <= {*operation.query.__struct_fields__}
