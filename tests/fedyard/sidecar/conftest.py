from __future__ import annotations

from collections.abc import Iterator
from threading import Thread

import pytest

from tests.fedyard.sidecar.answers import Answers


@pytest.fixture
def hub() -> Iterator[Answers]:
    server = Answers()
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
