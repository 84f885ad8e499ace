"""PostgreSQL's own programs for copying a database: pg_dump, pg_restore, psql. The password never is an argument."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import psycopg2
import psycopg2.extensions

from devservers.installing import programs
from devservers.process import ServerError

_ENDS_WITHIN_S = 30.0
_SHAPE = ("--schema=public", "--no-owner", "--no-privileges")


class PostgresTools:
    """For the database that a postgresql:// URL names. Raises `ServerError` where they are not installed."""

    def __init__(self, url: str = "") -> None:
        self._programs = programs("/usr/lib/postgresql", "*/bin", "postgresql")
        try:
            parts = psycopg2.extensions.parse_dsn(url) if url else {}
        except psycopg2.ProgrammingError:
            raise ServerError("the database's URL is none that PostgreSQL understands") from None
        self._password = parts.pop("password", None)
        self._address = psycopg2.extensions.make_dsn(**parts) if parts else ""

    def dump(self, file: Path, snapshot: str) -> None:
        """Write the tables as that snapshot sees them. Raises `ServerError`."""
        self._run("pg_dump", "--format=custom", f"--snapshot={snapshot}", *_SHAPE, f"--file={file}", self._address)

    def listed(self, file: Path) -> list[str]:
        """What a dump says that it holds. Raises `ServerError` if it cannot be read."""
        return self._run("pg_restore", "--list", str(file)).splitlines()

    def restore(self, file: Path, *, before: str, after: str) -> None:
        """`before`, the dump's tables, `after`: in one transaction, all of it or nothing. Raises `ServerError`."""
        script = [
            self._program("pg_restore"),
            "--schema=public",
            "--no-owner",
            "--no-privileges",
            "--file=-",
            str(file),
        ]
        psql = [self._program("psql"), "-Xq", "--set=ON_ERROR_STOP=1", "--single-transaction", "--file=-"]
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complaints:
            reading = subprocess.Popen(script, env=self._environment(), stdout=subprocess.PIPE, stderr=complaints)
            writing = subprocess.Popen(
                [*psql, self._address], env=self._environment(), stdin=subprocess.PIPE, stdout=said, stderr=said
            )
            assert reading.stdout is not None
            assert writing.stdin is not None
            try:
                writing.stdin.write(before.encode())
                shutil.copyfileobj(reading.stdout, writing.stdin)
                if reading.wait() == 0:
                    writing.stdin.write(after.encode())
                    writing.stdin.close()
                    writing.wait()
            except BrokenPipeError:  # psql has ended: it says why
                writing.wait(_ENDS_WITHIN_S)
            finally:
                for program in (reading, writing):  # a psql that dies before the end of its script commits nothing
                    if program.poll() is None:
                        program.kill()
                        program.wait()
                reading.stdout.close()
            if (reading.returncode, writing.returncode) != (0, 0):
                raise ServerError(f"{file} was not restored, and nothing was changed: {_words(complaints, said)}")

    def _program(self, name: str) -> str:
        return str(self._programs / name)

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, **({"PGPASSWORD": self._password} if self._password else {})}

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._program(program), *arguments],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            raise ServerError((done.stderr.strip().splitlines() or [f"{program} failed"])[0])
        return done.stdout


def _words(*said: object) -> str:
    """What the programs complained of, first line first."""
    lines: list[str] = []
    for file in said:
        file.seek(0)  # type: ignore[attr-defined]
        lines += file.read().decode(errors="replace").splitlines()  # type: ignore[attr-defined]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["the programs did not say why"])[0]
