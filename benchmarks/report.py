"""The board for people: a table, and a picture that shows at a glance what holds."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import REACHES, Figure, Key, read_figures
from config.clock import SystemClock
from fedyard.wire.times import SECOND
from ops.place import CHECKOUT

PAGE = CHECKOUT / "docs" / "benchmarks.md"
PICTURE = CHECKOUT / "docs" / "benchmarks.png"
BEGIN, END = "<!-- board: written by make bench -->", "<!-- end of the board -->"
COMMAND = "make bench"
LIBRARIES = ("dramatiq", "pika", "psycopg2-binary", "peewee", "flask", "granian", "msgspec")
PARTS = ("web", "decider", "rabbitmq", "postgres", "generator")

_HOLDS, _CLOSE, _MISSED = "#2a7f62", "#d9a441", "#b8433d"
_INK, _MUTED = "#222222", "#777777"
_MAX_RATIO = 8.0


def write_report(figures_path: Path) -> None:
    """The table between its marks in docs/benchmarks.md, and docs/benchmarks.png."""
    figures = read_figures(figures_path)
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(figures, circumstances())}\n{END}{after}")
    draw(figures, PICTURE)
    held, all_ = score(figures)
    print(f"\n{table(figures, circumstances())}")
    print(f"{held} of {all_} reaches hold; the picture: {PICTURE}")


def score(figures: Sequence[Figure]) -> tuple[int, int]:
    """(reaches that hold, reaches)"""
    ratios = [ratio for one in figures if (ratio := ratio_of(one, figures)) is not None]
    return sum(ratio >= 1 for ratio in ratios), len(ratios)


def ratio_of(figure: Figure, board: Sequence[Figure]) -> float | None:
    """How far a figure is: 1 or more holds its reach; None if it has none."""
    reach = REACHES.get((figure.name, figure.case))
    return None if reach is None else reach.ratio(figure.value, values(board))


def values(board: Sequence[Figure]) -> dict[Key, float]:
    """Every figure's value."""
    return {(one.name, one.case): one.value for one in board}


def _reach_text(figure: Figure, board: Sequence[Figure]) -> str:
    reach = REACHES[figure.name, figure.case]
    wanted = reach.wanted(values(board))
    return "" if wanted is None else f"{wanted:.3g}" if reach.of else f"{wanted:g}"


def circumstances() -> str:
    """Machine, versions, date and command, in one sentence each."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    day = datetime.fromtimestamp(SystemClock().now() / SECOND, UTC)
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{day:%Y-%m-%d %H:%M} UTC, `{COMMAND}`. {os.cpu_count()} cores ({processor}), {memory:.0f} GiB, {_system()}; "
        f"Python {platform.python_version()}, {_package('rabbitmq-server', 'RabbitMQ')}, "
        f"{_package('postgresql', 'PostgreSQL')}, {libraries}. "
        f"Commit {_commit()}."
    )


def _system() -> str:
    names = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return f"{names.get('PRETTY_NAME', 'Linux').strip(chr(34))}, Linux {platform.release()}"


def _package(name: str, title: str) -> str:
    return f"{title} {_said('dpkg-query', '-W', '-f', '${Version}', name).partition('-')[0].partition('+')[0]}"


def _commit() -> str:
    return _said("git", "rev-parse", "--short", "HEAD")


def _said(*command: str) -> str:
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "(unknown)"


def table(figures: Sequence[Figure], about: str) -> str:
    """Markdown: every figure with its reach and who used the processors."""
    lines = [
        about,
        "",
        f"| figure | case | median [min..max] | reach | | {' / '.join(PARTS)} | machine |",
        "|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        reach = REACHES[figure.name, figure.case]
        wanted = _reach_text(figure, figures)
        ratio = ratio_of(figure, figures)
        verdict = "" if ratio is None else ("holds" if ratio >= 1 else f"{ratio:.0%} of it")
        where = " / ".join(f"{100 * figure.where.get(part, 0.0):.0f}" for part in PARTS) if figure.where else ""
        about = f" ({reach.about})" if reach.about else ""
        value = f"**{figure.value:g} {figure.unit}** [{figure.min:g}..{figure.max:g}]"
        speed = f"{figure.machine:g}" if figure.machine else ""
        lines.append(f"| {figure.name} | {figure.case}{about} | {value} | {wanted} | {verdict} | {where} | {speed} |")
    return "\n".join(lines) + "\n"


def draw(figures: Sequence[Figure], path: Path) -> None:
    """Bars from the reach: to the right it holds, to the left it is missed; a step is a factor of two."""
    import matplotlib as mpl  # noqa: PLC0415 - takes most of a second, which who measures need not wait for

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - as above

    shown = [(figure, ratio) for figure in figures if (ratio := ratio_of(figure, figures)) is not None]
    shown.reverse()
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9})
    picture, axes = plt.subplots(figsize=(11, 0.29 * len(shown) + 1.7))
    for row, (figure, ratio) in enumerate(shown):
        end = max(1 / _MAX_RATIO, min(_MAX_RATIO, ratio))
        colour = _HOLDS if ratio >= 1 else _CLOSE if ratio >= 0.8 else _MISSED
        axes.barh(row, end - 1, left=1, height=0.66, color=colour)
        said = f"{figure.value:g} {figure.unit}  (reach {_reach_text(figure, figures)})"
        axes.text(max(end, 1) * 1.04, row, said, va="center", ha="left", color=_INK, fontsize=8.5)
    axes.set_yticks(range(len(shown)), [f"{figure.name}  {figure.case}" for figure, _ in shown])
    axes.set_xscale("log", base=2)
    axes.set_xlim(1 / 4, _MAX_RATIO * 4)
    ticks = [0.25, 0.5, 1, 2, 4, 8]
    axes.set_xticks(ticks, ["a quarter", "half", "the reach", "twice", "4 times", "8 times or more"])
    axes.xaxis.set_ticks_position("top")
    axes.tick_params(length=0, colors=_MUTED)
    axes.tick_params(axis="y", labelcolor=_INK)
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.axvline(1, color=_INK, linewidth=1)
    for tick in (0.5, 2, 4, 8):
        axes.axvline(tick, color="#e4e4e4", linewidth=0.8, zorder=0)
    for side in axes.spines.values():
        side.set_visible(False)
    held, all_ = score(figures)
    axes.set_title(
        f"Fedyard's benchmark board: {held} of {all_} reaches hold\n",
        loc="left",
        fontsize=13,
        color=_INK,
        weight="bold",
    )
    picture.text(
        0.995,
        0.004,
        "hub, RabbitMQ, PostgreSQL and load generator on the same cores; right of the line is better",
        ha="right",
        va="bottom",
        fontsize=8,
        color=_MUTED,
    )
    picture.tight_layout(rect=(0, 0.012, 1, 1))
    picture.savefig(path, dpi=110)
    plt.close(picture)


if __name__ == "__main__":
    write_report(Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKOUT / "var" / "bench.jsonl")
