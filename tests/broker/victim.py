"""A process to be killed: sends without end, decides on the side, and says what was accepted and what was decided.

Run as `python -m tests.broker.victim JOURNAL`. Lines: accepted ID, done ID, failed ID.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from dramatiq import Actor

from broker.embedded import EmbeddedBroker
from broker.routes import ROUTES
from domain import codec
from tests.broker.worlds import QUICK, BatchingWorker, Decided, stop_run


def say(word: str, id: str) -> None:
    sys.stdout.write(f"{word} {id}\n")
    sys.stdout.flush()


class Told(Decided):
    """Every third fails for good, so that there are retries and dead letters too."""

    def __call__(self, text: str) -> None:
        id = codec.decode(text).id
        if int(id[0], 16) % 3 == 0:
            raise ValueError
        say("done", id)


def main() -> None:
    broker = EmbeddedBroker(Path(sys.argv[1]), routes=QUICK)
    told = Told()
    for route in ROUTES.values():
        Actor(told, actor_name=route.actor, queue_name=route.queue, broker=broker, priority=0, options={})
    BatchingWorker(broker, told).start()

    def send() -> None:
        while True:
            command = stop_run()
            broker.send([command])
            say("accepted", command.id)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
