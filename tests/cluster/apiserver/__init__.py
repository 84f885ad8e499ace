"""A Kubernetes API server of the tests: real HTTP, stateful, as 1.36 behaves to a client of workloads.

It is there to keep the client honest: what a real server refuses, it refuses. `server.py` is the way in; what it does
not do stands in `README.md` beside it."""

from tests.cluster.apiserver.faults import Rule
from tests.cluster.apiserver.images import PAUSE, SHELL, Image
from tests.cluster.apiserver.server import ApiServer

__all__ = ["PAUSE", "SHELL", "ApiServer", "Image", "Rule"]
