"""artifact_mb_per_s, web_rss_mb, resume_overhead, broadcast_cost: large payloads through the hub. MB are 10^6 bytes."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from benchmarks import scenes
from benchmarks.board import Board
from benchmarks.cases.sealing import filled, memory, random_block
from benchmarks.freight import Freighter, Load
from benchmarks.granian import serving
from benchmarks.people import CLOCK, person
from benchmarks.scenes import Site
from chaos.links import Link, Links
from config.clock import draw_id
from fedyard.client.client import Client
from fedyard.client.transfer import Transfer
from fedyard.sealed import sealing
from fedyard.sealed.sealing import Address
from fedyard.wire.chunks import CHUNK_BYTES
from fedyard.wire.times import SECOND

BARE = "benchmarks.bare:transfer"
TOGETHER = (1, 8)
KIND = "initial"


def measure(board: Board) -> None:
    """Uploads and downloads, one and eight at once; a bare file transfer beside them; the web's memory meanwhile."""
    board.hub.stop("web")
    board.hub.start("web")
    (site,) = scenes.sites(board.hub, 1)
    project = scenes.project(board.hub, [site])
    loads = {count: Load.of(board.sizes.payload_bytes // (1 if count == 1 else 4), random_block) for count in TOGETHER}
    folder = board.yard.folder / "bare"
    folder.mkdir(exist_ok=True)
    with serving(BARE, BARE_FOLDER=str(folder)) as (url, _):
        for count, load in loads.items():
            up, down = [], []
            for _ in range(board.sizes.runs):
                names = [draw_id() for _ in range(count)]
                up.append(_rate(load, [partial(_put_bare, url, name, load) for name in names]))
                down.append(_rate(load, [partial(_get_bare, url, name, load) for name in names]))
            board.add("part_mb_per_s", f"bare up {count}", up)
            board.add("part_mb_per_s", f"bare down {count}", down)
    shutil.rmtree(folder)  # not before: whoever deletes as it goes writes on the same warm pages again
    with _peak(board) as peaks:
        for count, load in loads.items():
            up, down = [], []
            for _ in range(board.sizes.runs):
                made: list[str] = []
                up.append(_rate(load, [partial(_stored, board, site, project, load, made)] * count))
                freighter = Freighter(board.hub.url, site.token)
                paths = [f"/v1/artifacts/{ident}" for ident in made]
                down.append(_rate(load, [partial(freighter.get, path) for path in paths]))
                for path in paths:
                    freighter.ask("DELETE", path, {})
            board.add("artifact_mb_per_s", f"up {count}", up)
            board.add("artifact_mb_per_s", f"down {count}", down)
    board.add("web_rss_mb", "transfers", [max(peaks)])


def measure_resuming(board: Board) -> None:
    """One upload by the agent's own means over a link that is cut fifty times."""
    (site,) = scenes.sites(board.hub, 1)
    project = scenes.project(board.hub, [site])
    ratios = []
    with memory() as folder, Links() as links:
        source = folder / "payload"
        filled(source, board.sizes.payload_bytes)
        link = links.open(int(board.hub.url.rpartition(":")[2]))
        client = Client(f"http://127.0.0.1:{link.port}", site.token, give_up_s=120)
        transfer, done = Transfer(client), threading.Event()
        cutting = threading.Thread(
            target=_cut, args=(link, transfer, board.sizes.payload_bytes, board.sizes.cuts, done)
        )
        cutting.start()
        transfer.upload(source, project_id=project, kind=KIND, key=draw_id())
        done.set()
        cutting.join()
        ratios.append(transfer.sent_bytes / board.sizes.payload_bytes)
        client.close()
    board.add("resume_overhead", f"{board.sizes.cuts} cuts", ratios)


def measure_broadcast(board: Board) -> None:
    """A sealed payload for two and for two hundred: everything that the sender sends, in bytes."""
    members = scenes.sites(board.hub, 201)
    project = scenes.project(board.hub, members)
    with memory() as folder:
        people = [person(folder / "people", site.id) for site in members]
        scenes.publish_keys(board.hub, people)
        source, body = folder / "plain", folder / "body"
        filled(source, board.sizes.broadcast_bytes)
        for count in (2, 200):
            now = CLOCK.now()
            made = sealing.seal_file(
                source,
                body,
                Address(sender=members[0].id, project=project, kind=KIND),
                [one.key for one in people[1 : count + 1]],
                people[0].ring.identity,
                id=draw_id(),
                created=now,
                expires=now + 3_600 * SECOND,
            )
            content = body.read_bytes()
            size = CHUNK_BYTES
            digests = made.body.chunk_digests
            load = Load(
                [content[start : start + size] for start in range(0, len(content), size)],
                [digests[start : start + 32] for start in range(0, len(digests), 32)],
            )
            freighter = Freighter(board.hub.url, members[0].token)
            _store(freighter, project, load, made.seal)
            board.add("broadcast_cost", str(count), [freighter.sent_bytes / 1e6])


def _cut(link: Link, transfer: Transfer, size: int, cuts: int, done: threading.Event) -> None:
    """Cut the link whenever another fiftieth has gone, wherever in a chunk that is."""
    for number in range(1, cuts + 1):
        while transfer.sent_bytes < size * (number - 0.5) / cuts:
            if done.wait(0.002):
                return
        link.cut()


def _stored(board: Board, site: Site, project: str, load: Load, made: list[str]) -> None:
    made.append(_store(Freighter(board.hub.url, site.token), project, load))


def _store(freighter: Freighter, project: str, load: Load, seal: bytes | None = None) -> str:
    ident = str(freighter.ask("POST", "/v1/artifacts", load.declaration(project, KIND, seal))["id"])
    freighter.put_all(load, lambda number: f"/v1/artifacts/{ident}/chunks/{number}")
    freighter.ask("POST", f"/v1/artifacts/{ident}/complete", {})
    return ident


def _rate(load: Load, works: list[Callable[[], object]]) -> float:
    """MB a second, all together."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(work) for work in works]:
            done.result()
    return len(works) * load.size / 1e6 / (time.perf_counter() - begun)


def _put_bare(url: str, name: str, load: Load) -> None:
    """A new file for each chunk, as the hub makes them: files that are written again lie on warm pages."""
    Freighter(url).put_all(load, lambda number: f"/{name}-{number}")


def _get_bare(url: str, name: str, load: Load) -> None:
    freighter = Freighter(url)
    for number in range(len(load.chunks)):
        freighter.get(f"/{name}-{number}")


@contextmanager
def _peak(board: Board) -> Iterator[list[float]]:
    """The web's memory, looked at again and again."""
    seen, over = [0.0], threading.Event()

    def look() -> None:
        while not over.wait(0.5):  # a look costs the generator ten milliseconds
            seen.append(board.hub.megabytes()["web"])

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()
