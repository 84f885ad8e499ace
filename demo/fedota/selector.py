"""Fedota's selector: holds clients until there are enough, sends them the initial files, aggregates their updates."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc

from demo.fedota import messages as m
from demo.fedota.files import AGGREGATED, AGGREGATED_WEIGHT, INITIAL_FILES, ROUND_FILES, overwrite, packed, read, summed
from demo.fedota.serving import RECONNECT_MS, WITHIN_S, Context, collected, dialled, say, serve, streamed, unary

CHUNK_BYTES = 65_536
_COME_BACK = m.FlData(number=RECONNECT_MS, type=m.INT).write()


class Selector:
    """id: also the name of its folder, and where it is dialled."""

    def __init__(self, id: str, root: Path, coordinator: str) -> None:
        self.id = id
        self._root, self._own, self._coordinator = root, root / id, coordinator
        self._changed = threading.Condition()
        self._check_ins = self._accepted = self._begun = 0
        self._weights: dict[int, int] = {}
        self._round = 0
        self._leaving = False

    def check_in(self, requests: Iterator[bytes], _context: Context) -> Iterator[bytes]:
        """CheckIn: blocks until the goal count is reached."""
        next(requests)
        with self._changed:
            self._check_ins += 1
            accepted = self._asks()
            if accepted:
                self._accepted += 1
                mine = self._round
                self._changed.wait_for(lambda: self._round > mine or self._leaving)
        if not accepted or self._leaving:
            yield _COME_BACK
            return
        for path in sorted((self._root / INITIAL_FILES).rglob("*")):
            if path.is_file():
                with path.open("rb") as file:
                    while chunk := file.read(CHUNK_BYTES):
                        yield m.FlData(chunk=chunk, path=path.name).write()

    def goal_count_reached(self, _request: bytes, _context: Context) -> bytes:
        with self._changed:
            self._round += 1
            self._changed.notify_all()
        return m.EMPTY

    def update(self, requests: Iterator[bytes], _context: Context) -> bytes:
        """Update: one client's weights, and in how many batches they were trained."""
        with self._changed:
            self._begun += 1
            index = self._begun
        folder = self._own / ROUND_FILES
        folder.mkdir(parents=True, exist_ok=True)
        weight, chunks = 0, []
        for request in requests:
            data = m.FlData.read(request)
            if data.type == m.INT:
                weight = data.number
            else:
                chunks.append(data.chunk)
        overwrite(folder / f"checkpoint_{index}", b"".join(chunks))
        overwrite(folder / f"checkpoint_weight_{index}", str(weight).encode())
        with self._changed:
            self._weights[index] = weight
            if len(self._weights) == self._accepted:
                self._aggregate()
        return _COME_BACK

    def leave(self) -> None:
        with self._changed:
            self._leaving = True
            self._changed.notify_all()

    def _asks(self) -> bool:
        with dialled(self._coordinator) as channel:
            try:
                asked = channel.unary_unary(m.CLIENT_COUNT_UPDATE)
                return m.is_accepted(
                    asked(m.client_count(self._check_ins, self.id), timeout=WITHIN_S, wait_for_ready=True)
                )
            except grpc.RpcError as error:
                say(f"the coordinator does not answer: {error}")
                return False

    def _aggregate(self) -> None:
        folder = self._own / ROUND_FILES
        total = summed(read(folder / f"checkpoint_{index}") for index in sorted(self._weights))
        overwrite(self._own / AGGREGATED, packed(total))
        overwrite(self._own / AGGREGATED_WEIGHT, str(sum(self._weights.values())).encode())
        say(f"aggregated {len(self._weights)} updates")
        self._check_ins = self._accepted = self._begun = 0
        self._weights = {}
        with dialled(self._coordinator) as channel:
            try:
                told = channel.unary_unary(m.AGGREGATION_COMPLETE)
                told(m.selector_id(self.id), timeout=WITHIN_S, wait_for_ready=True)
            except grpc.RpcError as error:
                say(f"the coordinator does not know of it: {error}")


def main() -> None:
    service = os.environ.get("SELECTOR_SERVICE")
    host = f"{os.environ['HOSTNAME']}.{service}" if service else os.environ["HOSTNAME"]
    selector = Selector(
        f"{host}:{os.environ['PORT']}",
        Path(os.environ["FL_ROOT_PATH"]),
        os.environ.get("COORDINATOR_ADDRESS", "localhost:50050"),
    )
    methods = {
        m.CHECK_IN: streamed(selector.check_in),
        m.UPDATE: collected(selector.update),
        m.GOAL_COUNT_REACHED: unary(selector.goal_count_reached),
    }
    serve(methods, selector.leave)


if __name__ == "__main__":
    main()
