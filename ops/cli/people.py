"""fedyard-hub account, enrolment and organisation: who may do something in the network."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import click

from config.clock import SystemClock
from domain.values import MAX_SIGN_IN_S, Role
from fedyard.wire.command_line import JSON, Command, Group, print_json
from fedyard.wire.times import DAY_S
from ops import accounts
from ops.cli.asked import FILE, Unfit, database_of, settings_of
from ops.place import recall

MAX_DAYS = 365


def _some_days(_context: click.Context, _parameter: click.Parameter, days: float) -> float:
    if not 0 < days <= MAX_DAYS:  # no number (nan) is none of them, which a range of click's lets through
        raise click.BadParameter(f"{days:g} is not more than 0 and at most {MAX_DAYS}")
    return days


def _some_minutes(_context: click.Context, _parameter: click.Parameter, minutes: float) -> float:
    if not 0.1 <= minutes <= MAX_SIGN_IN_S / 60:
        raise click.BadParameter(f"{minutes:g} is not at least 0.1 and at most {MAX_SIGN_IN_S / 60:g}")
    return minutes


_organisation = click.option(
    "--organisation", required=True, metavar="NAME", help="created if there is none of that name"
)
_token_file = click.option(
    "--token-file",
    type=FILE,
    metavar="FILE",
    help="write the token there, for its owner only, in place of showing it",
)


@click.command("create", cls=Command)
@click.option("--name", required=True, metavar="NAME", help="whose it is")
@_organisation
@click.option("--role", required=True, type=click.Choice(get_args(Role)))
@_token_file
@click.option(
    "--token-from",
    type=FILE,
    metavar="FILE",
    help="take the token that stands there in place of drawing one; may be repeated: one account comes of it",
)
@click.pass_obj
def create_account(
    data: Path, name: str, organisation: str, role: Role, token_file: Path | None, token_from: Path | None
) -> None:
    """Make an account; shows its token, once."""
    if token_from is not None and token_file is not None:
        raise Unfit("say --token-file or --token-from: a token that is in a file need not be written to one")
    database = database_of(data)
    if token_from is not None:
        token = _read(token_from)
        made = accounts.create_account(
            database, SystemClock(), name=name, organisation=organisation, role=role, token=token
        )
        _say_made("account", made, token_from)
        return
    _show_made(
        "account",
        token_file,
        lambda: accounts.create_account(database, SystemClock(), name=name, organisation=organisation, role=role),
    )


@click.command("create", cls=Command)
@_organisation
@click.option("--note", default="", metavar="TEXT", help="for whom it is, as the hub's admins will read it")
@click.option("--days", type=float, default=1.0, callback=_some_days, metavar="N", help="valid for so long (1)")
@_token_file
@click.pass_obj
def create_enrolment(data: Path, organisation: str, note: str, days: float, token_file: Path | None) -> None:
    """Make one for a new site; shows its token, once."""
    database = database_of(data)
    _show_made(
        "enrolment",
        token_file,
        lambda: accounts.create_enrolment(
            database, SystemClock(), organisation=organisation, note=note, valid_s=days * DAY_S
        ),
    )


@click.command("sign-in", cls=Command)
@click.argument("account", metavar="ACCOUNT")
@click.option("--minutes", type=float, default=10.0, callback=_some_minutes, metavar="N", help="good for so long (10)")
@click.pass_obj
def sign_in(data: Path, account: str, minutes: float) -> None:
    """A link to the hub's page that signs this account in, once."""
    database = database_of(data)
    if settings_of(data).page == "off":
        raise Unfit("this hub has no page (FEDYARD_PAGE=off): there is nothing to sign in to")
    there = recall(data)
    code = accounts.sign_in_code(database, SystemClock(), account=account, valid_s=minutes * 60)
    print(f"{there.api if there else ''}/page/sign-in?code={code}")
    print(f"It signs in once, within {minutes:g} minutes, whoever opens it.", file=sys.stderr)


@click.command("list", cls=Command)
@JSON
@click.pass_obj
def list_organisations(data: Path, as_json: bool) -> None:
    """All of them."""
    found = accounts.organisations(database_of(data))
    if as_json:
        print_json(found)
        return
    for organisation in found:
        print(f"{organisation.id}  {organisation.name}")


account = Group("account", help="People and programs of organisations.", commands=[create_account])
enrolment = Group("enrolment", help="One-time tokens with which sites join the network.", commands=[create_enrolment])
organisation = Group("organisation", help="Organisations of the network.", commands=[list_organisations])


def _show_made(what: str, file: Path | None, make: Callable[[], accounts.Made]) -> None:
    """Make it and say what it is; its token on standard output, or into the file."""
    if file is not None:
        _claim(file)  # first: what has a token that could not be written would be of no use
    try:
        made = make()
    except BaseException:
        if file is not None:
            file.unlink()
        raise
    if file is not None:
        file.write_text(made.token + "\n")
    _say_made(what, made, file)


def _say_made(what: str, made: accounts.Made, file: Path | None) -> None:
    """file: in which its token stands; None: the token is shown."""
    print(f"{what:12}  {made.id}")
    print(f"organisation  {made.organisation_id}")
    if file is not None:
        print(f"token         in {file}")
        return
    print(f"token         {made.token}")
    print("The token is not kept anywhere and cannot be shown again.", file=sys.stderr)


def _read(file: Path) -> str:
    """The token in it. Raises `Unfit`."""
    try:
        return file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise Unfit(f"{file} cannot be read ({error.strerror}): it must hold the account's token") from None
    except ValueError:
        raise Unfit(f"{file} holds no token") from None


def _claim(file: Path) -> None:
    """Make the file, empty and for its owner only. Raises `Unfit` if there is one, or none can be."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise Unfit(f"{file} exists already: remove it, or choose another file with --token-file") from None
    except OSError as error:
        raise Unfit(f"{file} cannot be written ({error.strerror}): choose another file with --token-file") from None
