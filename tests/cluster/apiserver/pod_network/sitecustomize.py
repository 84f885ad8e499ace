"""In the Python programs of simulated containers: who listens on every address listens on his pod's alone.

Containers share this machine's ports, and each pod has an address of its own (127.x.y.z). The module `socket` is
changed when a program loads it, so that those that do not pay nothing."""

import os
import sys

_ADDRESS = os.environ.get("FEDYARD_TESTS_POD_ADDRESS", "")


def _confine(module):
    bind = module.socket.bind

    def bind_inside(self, address):
        if self.family == module.AF_INET and address[0] in {"", "0.0.0.0"}:  # noqa: S104 - that is what it replaces
            address = (_ADDRESS, *address[1:])
        return bind(self, address)

    module.socket.bind = bind_inside


class _Finder:
    def find_spec(self, name, path, target=None):
        if name != "socket":
            return None
        sys.meta_path.remove(self)
        spec = next(found for each in sys.meta_path if (found := each.find_spec(name, path, target)) is not None)
        run = spec.loader.exec_module

        def run_and_confine(module):
            run(module)
            _confine(module)

        spec.loader.exec_module = run_and_confine
        return spec


if _ADDRESS:
    sys.meta_path.insert(0, _Finder())
