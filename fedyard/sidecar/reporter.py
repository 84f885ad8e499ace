"""Tells the hub what the journal has: stages of rounds in their order, then the checkpoints of those completed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fedyard.client.client import Client
from fedyard.client.errors import Refused, Unacceptable, Unavailable
from fedyard.client.transfer import Transfer, Unreadable
from fedyard.clock import Clock, SystemClock, jitter
from fedyard.sidecar.journal import Journal, Round
from fedyard.sidecar.rounds import Stage
from fedyard.wire.backoff import Backoff

PAUSES: Final = Backoff(first=0.5, most=60.0)
LOOKS_EVERY_S: Final = 60.0
_PATH: Final = "/v1/projects/{}/rounds"


class Reporter:
    """Three threads: one tells, one copies checkpoints, one uploads them, so that none waits for another's hub."""

    def __init__(
        self,
        client: Client,
        project_id: str,
        journal: Journal,
        checkpoint: Path,
        log: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._project_id = project_id
        self._journal = journal
        self._checkpoint = checkpoint
        self._log = log
        self._clock = clock or SystemClock()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True)
            for work in (self._tell_all, self._copy_all, self._upload_all)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """What is not told stays in the journal."""
        self._closing.set()
        self._journal.close()
        for thread in self._threads:
            thread.join(2.0)

    def _tell_all(self) -> None:
        failures = 0
        while not self._closing.is_set():
            one = self._journal.next_told(LOOKS_EVERY_S)
            if one is None:
                continue
            done = self._tell(Round(one.start, one.number), one.stage)
            if done:
                self._journal.forget_told(one)
            failures = 0 if done else failures + 1
            self._rest(failures)

    def _copy_all(self) -> None:
        while not self._closing.is_set():
            of = self._journal.next_uncopied(LOOKS_EVERY_S)
            if of is None:
                continue
            try:
                if not self._journal.copy(of, self._checkpoint, self._wait):
                    self._log(f"round {of.number}: no checkpoint that stays as it is, none is kept")
            except OSError as error:
                self._log(f"round {of.number}: its checkpoint cannot be copied: {error.strerror}")
                self._journal.give_up_copy(of)

    def _upload_all(self) -> None:
        failures = 0
        while not self._closing.is_set():
            found = self._journal.next_copy(LOOKS_EVERY_S)
            if found is None:
                continue
            of, copy = found
            done = self._upload(of, copy)
            if done:
                self._journal.forget_copy(of)
            failures = 0 if done else failures + 1
            self._rest(failures)

    def _upload(self, of: Round, copy: Path) -> bool:
        """True: it is over, one way or the other."""
        try:
            artifact = Transfer(self._client).upload(
                copy, project_id=self._project_id, kind="model", key=f"checkpoint-{of.start}-{of.number}"
            )
        except (Unavailable, Unreadable, OSError) as error:
            return self._fails(f"round {of.number}: its checkpoint is not with the hub yet: {error}")
        except Unacceptable as error:
            self._log(f"round {of.number}: its checkpoint cannot be uploaded: {error}")
            return True
        except Refused as error:
            return self._refused(f"the checkpoint of round {of.number}", error)
        return self._tell(of, Stage.COMPLETED, artifact)

    def _tell(self, of: Round, stage: Stage, checkpoint: str | None = None) -> bool:
        """True: the hub has it, or will never take it."""
        body: dict[str, object] = {"number": of.number, "stage": stage.name, "start": of.start}
        key = f"round-{of.start}-{of.number}-{stage.name}"
        if checkpoint is not None:
            body["checkpoint_artifact_id"] = checkpoint
            key += f"-{checkpoint}"
        try:
            self._client.write("POST", _PATH.format(self._project_id), body, dict, key=key)
        except Unavailable as error:
            return self._fails(f"round {of.number}, {stage.name}: the hub does not know yet: {error}")
        except Refused as error:
            return self._refused(f"round {of.number}, {stage.name}", error)
        self._log(f"round {of.number}: {stage.name}{', with its checkpoint' if checkpoint else ''}")
        return True

    def _refused(self, what: str, error: Refused) -> bool:
        """A token that is not in force may be again, once a hub that was restored has recovered."""
        self._log(f"{what}: the hub refuses it ({error.slug}): {error.detail}")
        return not error.token_unknown

    def _fails(self, fact: str) -> bool:
        if not self._closing.is_set():
            self._log(fact)
        return False

    def _rest(self, failures: int) -> None:
        if failures:
            self._wait(jitter(PAUSES.after(failures)))

    def _wait(self, seconds: float) -> bool:
        return self._clock.wait(self._closing, seconds)
