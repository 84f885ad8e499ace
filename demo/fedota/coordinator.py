"""Fedota's coordinator: counts clients, tells selectors when there are enough, averages what they have aggregated."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import grpc

from demo.fedota import messages as m
from demo.fedota.files import AGGREGATED, AGGREGATED_WEIGHT, CHECKPOINT, INITIAL_FILES, overwrite, packed, read, summed
from demo.fedota.serving import WITHIN_S, Context, dialled, say, serve, unary


class Coordinator:
    """One round after the other; first come, first served."""

    def __init__(self, root: Path, goal: int, webserver: str) -> None:
        self._root, self._goal, self._webserver = root, goal, webserver
        self._lock = threading.Lock()
        self._stage, self._round, self._check_ins = m.SELECTION, 0, 0
        self._selectors: set[str] = set()
        self._finished: set[str] = set()

    def count(self, request: bytes, _context: Context) -> bytes:
        """ClientCountUpdate."""
        selector = m.selector_of_count(request)
        with self._lock:
            accepted = self._check_ins < self._goal and self._stage == m.SELECTION
            if accepted:
                self._check_ins += 1
                self._selectors.add(selector)
                say(f"round {self._round}: client {self._check_ins} of {self._goal}, at {selector}")
                if self._check_ins == self._goal:
                    self._go_to(m.CONFIGURATION)
                    threading.Thread(target=_broadcast, args=(sorted(self._selectors),), daemon=True).start()
        return m.client_status(accepted=accepted)

    def aggregated(self, request: bytes, _context: Context) -> bytes:
        """SelectorAggregationComplete."""
        selector = m.read_selector_id(request)
        with self._lock:
            if self._stage == m.CONFIGURATION:
                self._go_to(m.REPORTING)
            if selector in self._selectors:
                self._finished.add(selector)
            if self._finished and self._finished == self._selectors:
                self._average()
                self._go_to(m.COMPLETED)
                self._stage, self._check_ins = m.SELECTION, 0
                self._round += 1
                self._selectors, self._finished = set(), set()
        return m.EMPTY

    def _average(self) -> None:
        folders = [self._root / selector for selector in sorted(self._finished)]
        weight = sum(int((folder / AGGREGATED_WEIGHT).read_text()) for folder in folders)
        total = summed(read(folder / AGGREGATED) for folder in folders)
        path = self._root / INITIAL_FILES / CHECKPOINT
        weights = {name: array + total[name] / weight for name, array in read(path).items()}
        overwrite(path, packed(weights))
        say(f"round {self._round}: averaged, of {weight} batches")

    def _go_to(self, stage: int) -> None:
        self._stage = stage
        threading.Thread(target=self._report, daemon=True).start()

    def _report(self) -> None:
        """What is true once it is connected."""
        with dialled(self._webserver) as channel:
            try:
                grpc.channel_ready_future(channel).result(WITHIN_S)
                with self._lock:
                    stage, number = self._stage, self._round
                channel.unary_unary(m.ROUND_STATUS)(m.round_status(stage, number), timeout=WITHIN_S)
            except (grpc.RpcError, grpc.FutureTimeoutError):
                say(f"{self._webserver} does not take round status")


def _broadcast(selectors: list[str]) -> None:
    for selector in selectors:
        with dialled(_reachable(selector)) as channel:
            try:
                channel.unary_unary(m.GOAL_COUNT_REACHED)(m.EMPTY, timeout=WITHIN_S, wait_for_ready=True)
            except grpc.RpcError as error:
                say(f"{selector} is not reached: {error}")


def _reachable(selector: str) -> str:
    """A selector is called by where it is dialled. Where no names are known, as among processes, it is here."""
    host, _, port = selector.rpartition(":")
    try:
        socket.getaddrinfo(host, port)
    except OSError:
        return f"127.0.0.1:{port}"
    return selector


def main() -> None:
    coordinator = Coordinator(
        Path(os.environ["FL_ROOT_PATH"]),
        int(os.environ.get("CHECKIN_LIMIT", "2")),
        os.environ.get("WEBSERVER_ADDRESS", "localhost:50052"),
    )
    serve({m.CLIENT_COUNT_UPDATE: unary(coordinator.count), m.AGGREGATION_COMPLETE: unary(coordinator.aggregated)})


if __name__ == "__main__":
    main()
