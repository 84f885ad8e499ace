"""How a line is taken: where options may stand, what people are told who mistype, and how the programs end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from fedyard import __version__
from fedyard.cli.main import FEDYARD, main
from fedyard.wire.command_line import Command, Group, Words, carry_out, everywhere
from ops.cli.main import HUB
from ops.cli.main import main as hub_main
from tests.ops.program import ROOT, environment


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("whoami", "No such command 'whoami'. Did you mean `fedyard site whoami`? See fedyard --help"),
        ("create p", "No such command 'create'. Did you mean `fedyard project create`? See fedyard --help"),
        ("site whoam", "No such command 'whoam'. Did you mean 'whoami'? See fedyard site --help"),
        ("site init --hubb x", "No such option '--hubb'. Did you mean '--hub'? See fedyard site init --help"),
        ("site init --hub x", "Missing option '--name'. See fedyard site init --help"),
        (
            "site revoke-key x",
            "Invalid value for 'EPOCH': 'x' is not a valid integer. See fedyard site revoke-key --help",
        ),
        ("send p --to a", "Say either --text or --file. See fedyard send --help"),
        ("send p --to a --text x --file y", "Say either --text or --file. See fedyard send --help"),
        ("send p --text x --to", "Option '--to' requires an argument. See fedyard send --help"),
        (
            "project tasks p --set f --accept",
            "--set FILE and --accept exclude each other. See fedyard project tasks --help",
        ),
        ("run watch", "Missing argument 'RUN'. See fedyard run watch --help"),
        ("site trust \x1b[31m", "Missing argument 'FINGERPRINT...'. See fedyard site trust --help"),
        ("\x1b[31m", "No such command '\\x1b[31m'. See fedyard --help"),
    ],
)
def test_who_mistypes_is_told_what_was_meant_and_where_it_stands(
    capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    assert main(line.split()) == 2
    assert capsys.readouterr() == ("", f"fedyard: {said}\n")


def test_the_operators_line_is_told_in_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert hub_main(["verify"]) == 2
    said = "fedyard-hub: No such command 'verify'. Did you mean `fedyard-hub events verify`? See fedyard-hub --help\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(("program", "called"), [("fedyard", main), ("fedyard-hub", hub_main)])
def test_each_program_says_its_version_and_its_help_under_the_usual_names(
    capsys: pytest.CaptureFixture[str], program: str, called: Callable[[list[str]], int]
) -> None:
    assert called(["--version"]) == 0
    assert capsys.readouterr() == (f"{program} {__version__}\n", "")
    for line in ([], ["site", "init"] if called is main else ["account", "create"]):
        shown = []
        for name in ("-h", "--help"):
            assert called([*line, name]) == 0
            shown.append(capsys.readouterr())
        assert shown[0] == shown[1]
        assert shown[0].out.startswith(f"Usage: {' '.join([program, *line])} ")


@pytest.mark.parametrize("line", ["", "site", "run", "project"])
def test_half_a_command_shows_what_can_follow(capsys: pytest.CaptureFixture[str], line: str) -> None:
    assert main(line.split()) == 2
    said = capsys.readouterr()
    assert (said.out, f"Usage: {' '.join(['fedyard', *line.split()])} [OPTIONS] COMMAND" in said.err) == ("", True)


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for word, below in command.commands.items():
            yield from leaves(below, (*path, word))
    else:
        yield path


GRAMMAR = {
    "site": "init run portal status unit policy approve refuse privacy failures whoami inbox egress receipts"
    " consents workloads keys rotate-keys revoke-key fingerprint trust trust-hub heads",
    "project": "create set files join leave list members approve tasks joining ready start stop scale parts rounds",
    "run": "start stop restart show why watch compare accept matches",
    "project secret": "set list delete",
    "project architecture": "put list show delete",
    "project configuration": "put list delete",
    "project inference": "start list stop delete",
    "workload": "list start stop scale log files",
    "deployment": "start list show watch data matches send model stop delete",
    "task": "try",
}


def test_these_are_the_commands_of_people_at_sites() -> None:
    nouns = {(*noun.split(), verb) for noun, verbs in GRAMMAR.items() for verb in verbs.split()}
    assert set(leaves(FEDYARD)) == nouns | {("models",), ("logs",), ("send",), ("simulate",), ("new",)}


ACTS = {
    "site": "init run portal unit approve refuse rotate-keys revoke-key trust trust-hub",
    "project": "create set join leave approve ready start stop scale",
    "project secret": "set delete",
    "project architecture": "put delete",
    "project configuration": "put delete",
    "project inference": "start stop delete",
    "run": "start stop restart accept",
    "workload": "start stop scale log",
    "deployment": "start watch model send stop delete",
    "": "send new",
}
"""Commands that do something and say what came of it, or whose output is a text itself. All others have --json."""

ACTS_AT_THE_HUB = {
    "": "up embedded migrate sign-in restore",
    "account": "create",
    "enrolment": "create",
    "dead-letters": "replay purge",
    "events": "verify key",
    "backup": "check",
    "webhooks": "redeliver",
    "streams": "status",
    "streams quarantine": "show replay purge",
    "policies": "apply",
}


@pytest.mark.parametrize(("root", "acts"), [(FEDYARD, ACTS), (HUB, ACTS_AT_THE_HUB)], ids=["site", "hub"])
def test_what_shows_something_shows_it_to_programs_too(root: click.Group, acts: dict[str, str]) -> None:
    without = set()
    for path in leaves(root):
        command: click.Command = root
        for word in path:
            assert isinstance(command, click.Group)
            command = command.commands[word]
        if not any("--json" in one.opts for one in command.params):
            without.add(path)
    assert without == {(*noun.split(), verb) for noun, verbs in acts.items() for verb in verbs.split()}


@pytest.mark.parametrize("path", [*leaves(FEDYARD)], ids=" ".join)
def test_every_command_of_a_site_says_what_it_is_for(capsys: pytest.CaptureFixture[str], path: tuple[str, ...]) -> None:
    assert main([*path, "--help"]) == 0
    assert " ".join(("Usage: fedyard", *path)) in capsys.readouterr().out


@pytest.mark.parametrize("path", [*leaves(HUB)], ids=" ".join)
def test_every_command_of_a_hub_says_what_it_is_for(capsys: pytest.CaptureFixture[str], path: tuple[str, ...]) -> None:
    assert hub_main([*path, "--help"]) == 0
    assert " ".join(("Usage: fedyard-hub", *path)) in capsys.readouterr().out


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_folder_may_be_said_at_every_word(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: int) -> None:
    words: list[str] = ["site", "whoami"]
    words[place:place] = ["--folder", str(tmp_path)]
    assert main(words) == 2
    assert f"{tmp_path / 'site.toml'} does not exist" in capsys.readouterr().err


def test_the_folder_that_was_said_last_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path / "one"), "site", "--folder", str(tmp_path / "two"), "whoami"]) == 2
    assert str(tmp_path / "two") in capsys.readouterr().err


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_hubs_folder_may_be_said_at_every_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: int
) -> None:
    words: list[str] = ["runs", "list"]
    words[place:place] = ["--data", str(tmp_path)]
    assert hub_main(words) == 2
    assert f"no hub was started on {tmp_path} yet" in capsys.readouterr().err


@click.command("say", cls=Command)
@click.argument("name")
@click.option("--to", cls=Words)
@click.option("--loud", is_flag=True)
@click.option("--text")
@click.pass_obj
def say(obj: str, name: str, to: tuple[str, ...], loud: bool, text: str | None) -> int:
    """Show what was understood."""
    print(f"{obj} {name} {' '.join(to)} {loud} {text}")
    return 7


@click.command("break", cls=Command)
@click.argument("how")
def break_off(how: str) -> None:
    """Raise something."""
    raise {"pipe": BrokenPipeError(), "stop": KeyboardInterrupt(), "fault": KeyError("secret")}[how]


TRIED = Group("tried", commands=[say, break_off])
everywhere(TRIED, "--place", "DIR", "somewhere", lambda said: said or "here")


@pytest.mark.parametrize(
    ("line", "understood"),
    [
        ("say p", "here p  False None"),
        ("say p --to a b c", "here p a b c False None"),
        ("say p --to a b --loud --text x", "here p a b True x"),
        ("say --to a --text x p", "here p a False x"),
        ("say p --to=a --to b c", "here p a b c False None"),
        ("say --loud --to a b -- p", "here p a b True None"),
        ("--place there say p", "there p  False None"),
    ],
)
def test_an_option_of_words_ends_where_the_next_option_begins(
    capsys: pytest.CaptureFixture[str], line: str, understood: str
) -> None:
    assert carry_out(TRIED, "tried", line.split(), lambda error: (9, str(error))) == 7
    assert capsys.readouterr().out == f"{understood}\n"


@pytest.mark.parametrize(("how", "code", "said"), [("pipe", 0, ""), ("stop", 130, ""), ("fault", 9, "tried: odd\n")])
def test_how_a_command_ended_is_its_exit_code(
    capsys: pytest.CaptureFixture[str], how: str, code: int, said: str
) -> None:
    assert carry_out(TRIED, "tried", ["break", how], lambda _error: (9, "odd")) == code
    assert capsys.readouterr().err == said


def test_a_reader_that_goes_away_is_no_error() -> None:
    program = [str(ROOT / "bin" / "fedyard"), "--help"]
    with subprocess.Popen(program, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shown:
        assert shown.stdout is not None
        shown.stdout.close()
        assert shown.stderr is not None
        assert (shown.stderr.read(), shown.wait()) == (b"", 0)


def test_what_is_missing_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["project", "architecture", "put", "digits", "net", "net.py"]) == 2
    said = "Missing option '--framework'. Choose from: tf, pth. See fedyard project architecture put --help"
    assert capsys.readouterr().err == f"fedyard: {said}\n"


def test_code_that_is_empty_is_refused_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.py").touch()
    code = main(["project", "architecture", "put", "digits", "net", str(tmp_path / "net.py"), "--framework", "tf"])
    assert (code, "that is empty" in capsys.readouterr().err) == (2, True)
