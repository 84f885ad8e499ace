"""The operator's command line: fedyard-hub"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from urllib.parse import unquote, urlsplit

import peewee

from broker.journal import JournalLocked
from broker.management import Management, ManagementError
from broker.policies import apply_policies, policies
from broker.port import BrokerUnavailable
from broker.routes import QUEUES
from config.clock import SystemClock
from config.settings import Settings, SettingsError
from devservers.process import ServerError
from fedyard.wire.forgiving import forgive
from fedyard.wire.shown import plain_output
from ops import accounts, cli_backup, dead_letters, runs
from ops.backups.content import BackupError
from ops.place import DEFAULT, InUse, Unusable, recall
from storage.audit import verify
from storage.database import Database, DatabaseUnavailable, open_database
from storage.migrate import migrate, missing

DAY_S = 86_400
MOST_DAYS = 365
Does = Callable[[argparse.Namespace], int]


class Unfit(Exception):
    """The command cannot be carried out as things are; says what to do."""


EXPECTED = (
    SettingsError,
    ServerError,
    ManagementError,
    InUse,
    Unusable,
    JournalLocked,
    Unfit,
    BackupError,
    accounts.Rejected,
    BrokerUnavailable,
    DatabaseUnavailable,
)
"""Not our bugs: one line for the operator and exit code 2."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. 0 done, 1 found wanting, 2 not possible, 70 our fault, 130 interrupted."""
    with plain_output():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        if "does_so" in chosen:
            code = cli_backup.run(chosen, os.environ)
        else:
            does: Does = chosen.does
            code = does(chosen)
        sys.stdout.flush()
    except EXPECTED as error:
        return _complain(2, f"{error}{_hint(error)}")
    except BrokenPipeError:
        forgive()
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - people get a sentence, no traceback
        return _complain(*_unexpected(error))
    return code


def _complain(code: int, sentence: str) -> int:
    """Say it, if that can be said: a full disk behind standard output or error is no reason for a traceback."""
    forgive()
    print(f"fedyard: {sentence}", file=sys.stderr)
    return code


def _unexpected(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence for what nobody turned into one: the machine's troubles (2), or a fault of ours (70)."""
    if isinstance(error, UnicodeError):
        return 2, "a file, or what was typed, is no UTF-8 text: save it as UTF-8"
    if isinstance(error, (sqlite3.DatabaseError, peewee.DatabaseError)):
        return (
            2,
            f"the database cannot be used ({_first_line(error)}): is the disk full, or is it damaged?",
        )
    if isinstance(error, OSError) and error.strerror:
        of = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
        return 2, f"{error.strerror}{of}"
    if isinstance(error, MemoryError):
        return 2, "there is not enough memory"
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    at = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return 70, f"this is a fault of Fedyard's, please report it: {type(error).__name__} at {at}"


def _first_line(error: BaseException) -> str:
    """What the driver said, without the statement and its parameters."""
    return (str(error).strip().splitlines() or ["it does not say why"])[0][:100]


def _hint(error: Exception) -> str:
    if isinstance(error, DatabaseUnavailable):
        return "\nIs PostgreSQL running (make up), and is FEDYARD_DATABASE_URL right?"
    if isinstance(error, BrokerUnavailable):
        return "\nIs RabbitMQ running (make up), and is FEDYARD_BROKER_URL right?"
    return ""


# what it was told


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fedyard-hub", description="Run and look after a Fedyard hub.")
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--data", type=Path, default=DEFAULT, metavar="DIR", help="folder of the hub on this machine (./var)"
    )
    nouns = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    up = nouns.add_parser("up", parents=[place], help="RabbitMQ, PostgreSQL and the Procfile's processes")
    up.set_defaults(does=_up)
    embedded = nouns.add_parser("embedded", parents=[place], help="the whole hub in one process, on SQLite")
    embedded.add_argument("--port", type=int, help="0 lets the system choose (FEDYARD_WEB_PORT, 8080)")
    embedded.set_defaults(does=_embedded)
    nouns.add_parser("migrate", parents=[place], help="bring the database's schema up to date").set_defaults(
        does=_migrate
    )

    account = _verbs(nouns, "account", "people and programs of organisations")
    create = account.add_parser("create", parents=[place], help="an account; shows its token, once")
    create.add_argument("--name", required=True)
    create.add_argument("--organisation", required=True, metavar="NAME", help="created if there is none of that name")
    create.add_argument("--role", required=True, choices=("admin", "member", "auditor"))
    _token_file(create)
    create.set_defaults(does=_create_account)

    enrolment = _verbs(nouns, "enrolment", "one-time tokens with which sites join the network")
    enrol = enrolment.add_parser("create", parents=[place], help="one for a new site; shows its token, once")
    enrol.add_argument("--organisation", required=True, metavar="NAME", help="created if there is none of that name")
    enrol.add_argument("--note", default="", metavar="TEXT", help="for whom it is, as the hub's admins will read it")
    enrol.add_argument("--days", type=_days, default=1.0, metavar="N", help="valid for so long (1)")
    _token_file(enrol)
    enrol.set_defaults(does=_create_enrolment)

    organisation = _verbs(nouns, "organisation", "organisations of the network")
    organisation.add_parser("list", parents=[place], help="all of them").set_defaults(does=_list_organisations)

    run = _verbs(nouns, "runs", "runs of all projects")
    listing = run.add_parser("list", parents=[place], help="all of them, or those in one state")
    listing.add_argument("--state", choices=("created", "running", "succeeded", "failed", "cancelled"))
    listing.set_defaults(does=_list_runs)
    why = nouns.add_parser("why", parents=[place], help="what a run waits for")
    why.add_argument("run", metavar="RUN", help="PROJECT/NUMBER, the run's id, or how that begins")
    why.set_defaults(does=_why)

    _add_dead_letters(_verbs(nouns, "dead-letters", "commands that could not be decided"), place)

    event = _verbs(nouns, "events", "what happened")
    verifying = event.add_parser("verify", parents=[place], help="walk every stream's chain of hashes")
    verifying.add_argument(
        "--against",
        type=Path,
        metavar="FILE",
        help="heads that were noted before: the heads.jsonl of a backup, or what `fedyard site heads --to FILE` wrote",
    )
    verifying.set_defaults(does=_verify_events)
    key = event.add_parser("key", parents=[place], help="the fingerprint of the key that signs the heads of the chains")
    key.set_defaults(does=_show_head_key)

    cli_backup.add(nouns, place)
    policy = _verbs(nouns, "policies", "limits of RabbitMQ's queues")
    applying = policy.add_parser("apply", parents=[place], help="set them")
    applying.add_argument(
        "--management-file", type=Path, metavar="FILE", help="holds http://user:password@host:15672 of an administrator"
    )
    applying.add_argument("--vhost", help="the one in FEDYARD_BROKER_URL unless said otherwise")
    applying.set_defaults(does=_apply_policies)
    return parser


def _token_file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="write the token there, for its owner only, in place of showing it",
    )


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days <= MOST_DAYS:
        raise ValueError(text)
    return days


def _add_dead_letters(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], place: argparse.ArgumentParser
) -> None:
    which = argparse.ArgumentParser(add_help=False)
    some = which.add_mutually_exclusive_group(required=True)
    some.add_argument("id", nargs="?", metavar="ID")
    some.add_argument("--queue", choices=[queue.name for queue in QUEUES if queue.durable])
    listing = verbs.add_parser("list", parents=[place], help="what lies there")
    listing.add_argument("--queue", choices=[queue.name for queue in QUEUES if queue.durable])
    listing.set_defaults(does=_list_dead_letters)
    show = verbs.add_parser("show", parents=[place], help="all that is known of one")
    show.add_argument("id", metavar="ID")
    show.set_defaults(does=_show_dead_letter)
    verbs.add_parser("replay", parents=[place, which], help="back to their queues, to be tried again").set_defaults(
        does=_replay_dead_letters
    )
    verbs.add_parser("purge", parents=[place, which], help="throw them away").set_defaults(does=_purge_dead_letters)


def _verbs(
    nouns: argparse._SubParsersAction[argparse.ArgumentParser], noun: str, about: str
) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    return nouns.add_parser(noun, help=about).add_subparsers(required=True, metavar="VERB")


# what it does


def _up(chosen: argparse.Namespace) -> int:
    os.umask(0o077)  # all that a hub keeps is for its owner only
    from ops.up import run_up  # noqa: PLC0415 - the servers and the supervisor, which no other command has a use for

    return run_up(chosen.data, os.environ)


def _embedded(chosen: argparse.Namespace) -> int:
    os.umask(0o077)
    from ops.embedded import run_embedded  # noqa: PLC0415 - the web is heavy, and no other command has a use for it

    return run_embedded(chosen.data, chosen.port, os.environ)


def _migrate(chosen: argparse.Namespace) -> int:
    database = open_database(_settings(chosen).database_url, pool=1)
    applied = migrate(database)
    print("\n".join(f"applied {name}" for name in applied) or "the schema is up to date")
    return 0


def _create_account(chosen: argparse.Namespace) -> int:
    database = _database(chosen)
    return _show_made(
        "account",
        chosen.token_file,
        lambda: accounts.create_account(
            database, SystemClock(), name=chosen.name, organisation=chosen.organisation, role=chosen.role
        ),
    )


def _create_enrolment(chosen: argparse.Namespace) -> int:
    database = _database(chosen)
    return _show_made(
        "enrolment",
        chosen.token_file,
        lambda: accounts.create_enrolment(
            database, SystemClock(), organisation=chosen.organisation, note=chosen.note, valid_s=chosen.days * DAY_S
        ),
    )


def _show_made(what: str, file: Path | None, make: Callable[[], accounts.Made]) -> int:
    """Make it and say what it is; its token on standard output, or into the file."""
    if file is not None:
        _claim(file)  # first: what has a token that could not be written would be of no use
    try:
        made = make()
    except BaseException:
        if file is not None:
            file.unlink()
        raise
    print(f"{what:12}  {made.id}")
    print(f"organisation  {made.organisation_id}")
    if file is not None:
        file.write_text(made.token + "\n")
        print(f"token         in {file}")
        return 0
    print(f"token         {made.token}")
    print("The token is not kept anywhere and cannot be shown again.", file=sys.stderr)
    return 0


def _claim(file: Path) -> None:
    """Make the file, empty and for its owner only. Raises `Unfit` if there is one, or none can be."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise Unfit(f"{file} exists already: remove it, or choose another file with --token-file") from None
    except OSError as error:
        raise Unfit(f"{file} cannot be written ({error.strerror}): choose another file with --token-file") from None


def _list_organisations(chosen: argparse.Namespace) -> int:
    for organisation in accounts.organisations(_database(chosen)):
        print(f"{organisation.id}  {organisation.name}")
    return 0


def _list_runs(chosen: argparse.Namespace) -> int:
    database = _database(chosen)
    for run in runs.listed(database, state=chosen.state):
        print(runs.line(database, run))
    return 0


def _why(chosen: argparse.Namespace) -> int:
    database = _database(chosen)
    found = runs.named(database, chosen.run)
    if len(found) > 1:
        which = "; ".join(runs.line(database, run) for run in found)
        raise Unfit(f"{chosen.run} may mean each of {len(found)} runs, so say more of its id: {which}")
    lines = runs.why(database, found[0].id, SystemClock().now()) if found else None
    if lines is None:
        raise Unfit(f"there is no run {chosen.run}; see fedyard-hub runs list")
    print("\n".join(lines))
    return 0


def _list_dead_letters(chosen: argparse.Namespace) -> int:
    with dead_letters.opened(_settings(chosen)) as letters:
        found = letters.list(chosen.queue)
    print("\n".join(map(dead_letters.line, found)) or "there are no dead letters")
    return 0


def _show_dead_letter(chosen: argparse.Namespace) -> int:
    with dead_letters.opened(_settings(chosen)) as letters:
        letter = letters.show(chosen.id)
    if letter is None:
        raise Unfit(f"there is no dead letter {chosen.id}; see fedyard-hub dead-letters list")
    print("\n".join(dead_letters.page(letter)))
    return 0


def _replay_dead_letters(chosen: argparse.Namespace) -> int:
    with dead_letters.opened(_settings(chosen)) as letters:
        count = letters.replay(chosen.id, chosen.queue)
    return _counted(count, "given back to their queues", chosen)


def _purge_dead_letters(chosen: argparse.Namespace) -> int:
    with dead_letters.opened(_settings(chosen)) as letters:
        count = letters.purge(chosen.id, chosen.queue)
    return _counted(count, "thrown away", chosen)


def _counted(count: int, what: str, chosen: argparse.Namespace) -> int:
    if chosen.id and not count:
        raise Unfit(f"there is no dead letter {chosen.id} that can be; see fedyard-hub dead-letters list")
    print(f"{count} {what}")
    return 0


def _verify_events(chosen: argparse.Namespace) -> int:
    """1 if a chain is broken."""
    broken = 0
    database = _database(chosen)
    noted: Iterator[str] = iter(())
    ends = "an end that was cut off shows only against heads that were kept (--against FILE)"
    if chosen.against is not None:
        from ops.heads import against, count_heads  # noqa: PLC0415 - the web, whose key it is, is heavy

        ends = f"all pass through the {count_heads(chosen.against)} heads in {chosen.against}"
        noted = against(database, _settings(chosen), chosen.against)
    for fault in chain(verify(database), noted):
        print(fault)
        broken += 1
    if broken:
        print(f"{broken} fault{'s' * (broken > 1)}")
        return 1
    print(f"every stream is whole: nothing was changed, removed or put in between; {ends}")
    return 0


def _show_head_key(chosen: argparse.Namespace) -> int:
    from ops.heads import public_key_in, shown_key  # noqa: PLC0415 - the web, whose key it is, is heavy

    path = Path(_settings(chosen).head_key_file)
    key = public_key_in(path)
    if key is None:
        raise Unfit(f"there is no key in {path} yet: the hub makes it when it starts first")
    print("\n".join(shown_key(key)))
    return 0


def _apply_policies(chosen: argparse.Namespace) -> int:
    there = recall(chosen.data)
    url = there.management if there else None
    if chosen.management_file is not None:  # no argument: those are for every user of the machine to read
        try:
            url = chosen.management_file.read_text().strip()
        except OSError as error:
            raise Unfit(f"{chosen.management_file} cannot be read ({error.strerror})") from None
    if url is None:
        raise Unfit("say where RabbitMQ's management is: --management-file FILE with http://user:password@host:15672")
    vhost = chosen.vhost or unquote(urlsplit(_settings(chosen).broker_url.split(",")[0]).path.removeprefix("/")) or "/"
    apply_policies(Management.of(url).call, vhost)
    print(f"applied {', '.join(policy['name'] for policy in policies())} to vhost {vhost}")
    return 0


# where the hub is


def _settings(chosen: argparse.Namespace) -> Settings:
    """The environment's, on top of how the hub in the folder was started last."""
    there = recall(chosen.data)
    ours = {name: value for name, value in os.environ.items() if name.startswith("FEDYARD_")}
    if there is None and "FEDYARD_DATABASE_URL" not in ours:
        raise Unfit(
            f"no hub was started on {chosen.data} yet: make up, or fedyard-hub embedded, or set FEDYARD_DATABASE_URL"
        )
    return Settings.read({**(there.environment if there else {}), **ours})


def _database(chosen: argparse.Namespace) -> Database:
    """The hub's database, with the schema that this program knows."""
    database = open_database(_settings(chosen).database_url, pool=1, name="fedyard cli")
    wanted = missing(database)
    if wanted:
        raise Unfit(f"the schema lacks {', '.join(wanted)}: run fedyard-hub migrate")
    return database


if __name__ == "__main__":
    sys.exit(main())
