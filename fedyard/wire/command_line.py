"""What both command lines have in common: how a line is parsed, and how people are told what is wrong.

Commands are click's. They answer with their exit code (None: 0) and raise what went wrong; here it becomes one
sentence on standard error, without a line of Python, and an exit code: 2 for what was typed wrongly, and else what the
command line's own `Outcome` says. `wire` is the room that both may import.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import click
import msgspec

from fedyard.wire.forgiving import forgive
from fedyard.wire.shown import plain_output
from fedyard.wire.version import __version__

Outcome: TypeAlias = Callable[[Exception], tuple[int, str]]
"""Exit code and sentence for what a command has raised."""

JSON = click.option("--json", "as_json", is_flag=True, help="for programs: whole, as JSON")
"""What every command has that shows something; its function gets `as_json` and calls `print_json`."""

MISTYPED = 2
INTERRUPTED = 130


def print_json(value: object, *, one_line: bool = False) -> None:
    """A value of structs, lists and dictionaries: indented, or with `one_line` as a line of many."""
    text = msgspec.json.encode(value)
    sys.stdout.write((text if one_line else msgspec.json.format(text, indent=2)).decode() + "\n")
    sys.stdout.flush()


class Words(click.Option):
    """An option that takes one value or more: `--to north east --text Hello`."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **{**options, "multiple": True})  # type: ignore[arg-type]


class Command(click.Command):
    """A command whose `Words` end where the next option begins."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, which gives an option a fixed number of values."""
        names = {name for one in self.params if isinstance(one, Words) for name in one.opts}
        try:
            return super().parse_args(ctx, list(_repeated(args, names)) if names else args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # not every one of click's knows where it was raised
            raise


class Group(click.Group):
    """A noun with its verbs."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """In the order of the list."""
        return [*self.commands]


def _repeated(args: Sequence[str], names: set[str]) -> Iterator[str]:
    """`--to a b` as `--to a --to b`."""
    open_for, fresh = "", False
    for number, text in enumerate(args):
        if text == "--":
            yield from args[number:]
            return
        if text.startswith("-") and not fresh:
            open_for, fresh = (text, True) if text in names else ("", False)
        elif open_for and not fresh:
            yield open_for
        else:
            fresh = False
        yield text


def everywhere(
    command: click.Command, name: str, metavar: str, about: str, made: Callable[[str | None], object]
) -> None:
    """Let the option be said before, between and after all words. What it is `made` of (None: nothing) is `ctx.obj`."""

    def keep(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
        if value is not None or context.obj is None:
            context.obj = made(value)

    option = click.Option([name], metavar=metavar, help=about, expose_value=False, is_eager=True, callback=keep)
    command.params.append(option)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            everywhere(below, name, metavar, about, made)


def tell_version(root: click.Group, program: str) -> None:
    """Let `--version` show the program's name and version; both programs are of one distribution's."""

    def show(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
        if asked:
            sys.stdout.write(f"{program} {__version__}\n")
            context.exit()

    about = "Show the version and exit."
    option = click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show, help=about)
    root.params.append(option)


def carry_out(root: click.Command, program: str, arguments: Sequence[str] | None, outcome: Outcome) -> int:
    """Run the one command that `arguments` (None: the process's) name; the exit code. Raises nothing."""
    with plain_output():
        try:
            code = _called(root, program, sys.argv[1:] if arguments is None else [*arguments])
            sys.stdout.flush()
        except click.UsageError as error:
            return complain(program, MISTYPED, _mistyped(error, program))
        except BrokenPipeError:
            forgive()
            return 0
        except KeyboardInterrupt:
            return INTERRUPTED
        except Exception as error:  # noqa: BLE001 - people get a sentence, no traceback
            return complain(program, *outcome(error))
        return code


def _called(root: click.Command, program: str, arguments: list[str]) -> int:
    """Not by click's `main`, which has ends of its own for broken pipes and Ctrl-C."""
    try:
        with root.make_context(program, arguments, help_option_names=["-h", "--help"]) as context:
            return int(root.invoke(context) or 0)
    except click.exceptions.Exit as end:  # --help, --version
        return end.exit_code


def complain(program: str, code: int, sentence: str) -> int:
    """Say it, if that can be said: a full disk behind standard output or error is no reason for a traceback."""
    forgive()
    sys.stderr.write(f"{program}: {sentence}\n")
    return code


def _mistyped(error: click.UsageError, program: str) -> str:
    """What click says, with what it took the word for, and where it is written how it goes."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return f"say more:\n{error.format_message()}"
    said, path = " ".join(error.format_message().split()), error.ctx.command_path if error.ctx is not None else program
    if isinstance(error, click.exceptions.NoSuchCommand) and error.ctx is not None:
        moved = _elsewhere(error.ctx.find_root(), error.command_name)
        said = f"No such command {error.command_name!r}. Did you mean {' or '.join(moved)}?" if moved else said
    return f"{said}{'' if said.endswith(('.', '?', '!')) else '.'} See {path} --help"


def _elsewhere(root: click.Context, word: str) -> list[str]:
    """The commands of this name below some noun."""
    nouns = root.command.commands if isinstance(root.command, click.Group) else {}
    return [
        f"`{root.command_path} {noun} {word}`"
        for noun, below in nouns.items()
        if isinstance(below, click.Group) and word in below.commands
    ]


def unexpected(error: BaseException) -> tuple[int, str]:
    """Exit code and sentence for what nobody turned into one: the machine's troubles (2), or a fault of ours (70)."""
    if isinstance(error, UnicodeError):
        return 2, "a file, or what was typed, is no UTF-8 text: save it as UTF-8"
    if isinstance(error, OSError) and error.strerror:
        of = f": {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
        return 2, f"{error.strerror}{of}"
    if isinstance(error, MemoryError):
        return 2, "there is not enough memory"
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    at = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
    return 70, f"this is a fault of Fedyard's, please report it: {type(error).__name__} at {at}"
