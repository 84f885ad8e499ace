"""A backup that is made under load, and put back some seconds later, by the operator's own commands."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.faults import SOON, Fault, Undo
from chaos.setup import Cast
from chaos.stack import CLOCK, ChaosError, Stack
from config.clock import Micros
from ops.place import CHECKOUT
from storage.database import Database, open_database

BETWEEN_S = 8.0
"""From the backup to the stop; what is decided in it is what the restore undoes."""
REST_S = 60.0
"""Sites send again what they sent in the last two minutes: between two restores there is time for all of it."""
COMMAND_WITHIN_S = 120.0
LET_GO_WITHIN_S = 30.0
"""For PostgreSQL to notice that processes which were killed are gone."""
KILLED = 0.5
"""Share of the restores before which the hub is killed, not stopped in order."""

_ASIDE = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname::text, 'before_restore_')"


@dataclass(frozen=True)
class Restored:
    """backup: its folder, made from `begun_at` on; undone: status of each command that the restore undid, by id."""

    backup: Path
    begun_at: Micros
    stopped_at: Micros
    ready_at: Micros
    undone: Mapping[str, int]


@dataclass
class Restores:
    """The fault, and what it did."""

    stack: Stack
    cast: Cast
    done: list[Restored] = field(default_factory=list)

    def fault(self) -> Fault:
        return Fault("restore", "hub", "", self._begin, BETWEEN_S, rest_s=REST_S, alone=True, within=SOON)

    def _begin(self, chance: random.Random) -> Undo:
        """Copy the hub while it runs; then something is revoked that the copy does not know of."""
        token = self.cast.issue_token(chance)
        begun_at = CLOCK.now()
        backup = self.stack.folder / "backups" / str(begun_at)
        _well(self._fedyard("backup", "--to", backup))
        self.cast.revoke_token(token)
        self.cast.revoke_key("east")
        return lambda: self._restore(backup, begun_at, kill=chance.random() < KILLED)

    def _restore(self, backup: Path, begun_at: Micros, *, kill: bool) -> None:
        stopped_at = CLOCK.now()
        self.stack.hub.stop(kill=kill)
        self._put_back(backup)
        database = open_database(self.stack.database_url, pool=1, name="chaos")
        try:
            undone = _undone(database)
        finally:
            database.close()
        self.stack.hub.start()
        self.stack.await_ready()
        self.done.append(Restored(backup, begun_at, stopped_at, CLOCK.now(), undone))

    def _put_back(self, backup: Path) -> None:
        """As soon as nobody works on the database any more."""
        end = CLOCK.monotonic() + LET_GO_WITHIN_S
        while (done := self._fedyard("restore", backup, "--replace")).returncode != 0:
            if "a hub works on this database" not in done.stderr or CLOCK.monotonic() > end:
                break
            CLOCK.sleep(0.5)
        _well(done)

    def _fedyard(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """The operator's command line, past all links."""
        data = self.stack.folder / "operator"
        data.mkdir(exist_ok=True, mode=0o700)
        environment = {
            **self.stack.environment,
            "FEDYARD_BROKER_URL": self.stack.direct_broker_url,
            "FEDYARD_DATABASE_URL": self.stack.database_url,
            "FEDYARD_ARTIFACTS_URL": self.stack.artifacts_url,
            "FEDYARD_HEAD_KEY_FILE": self.stack.head_key_file,
            "FEDYARD_WEBHOOK_KEY_FILE": self.stack.webhook_key_file,
            "FEDYARD_WORKLOAD_KEY_FILE": self.stack.workload_key_file,
        }
        command = [str(CHECKOUT / "bin" / "fedyard-hub"), *map(str, arguments), "--data", str(data)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=COMMAND_WITHIN_S
        )


def _well(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode != 0:
        raise ChaosError(f"{' '.join(done.args)} ended with {done.returncode}: {done.stderr.strip()}")


def _undone(database: Database) -> Mapping[str, int]:
    """What the records that were put aside have decided and the restored ones have not; those aside are given up."""
    with database.connection():
        (aside,) = (str(name) for (name,) in database.all(_ASIDE))
        rows: Sequence[tuple[str, int]] = database.all(
            f'SELECT id, status FROM "{aside}".commands'  # noqa: S608 - its name is the restore's own
            " WHERE id NOT IN (SELECT id FROM public.commands)"
        )
        undone = dict(rows)
        database.execute(f'DROP SCHEMA "{aside}" CASCADE')
    return undone
