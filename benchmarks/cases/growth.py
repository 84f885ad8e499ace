"""growth: the same load on a store with a long history, as a ratio to an empty one; two hubs in turn."""

from __future__ import annotations

import asyncio

from benchmarks import scenes
from benchmarks.board import Board
from benchmarks.cases.deciding import SHAPES, rates_over_http
from benchmarks.cases.polling import live_runs, run_rates
from benchmarks.yard import Hub, Watch

PROJECTS = 100
ROUNDS = 2
SEATS = 2
TURNS_EACH = 2

_FILL = """
CREATE TEMP TABLE old_sites AS
  SELECT n, ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid AS id FROM generate_series(1, 1000) n;
CREATE TEMP TABLE old_projects AS
  SELECT n, ('00000000-0000-4000-8001-' || lpad(to_hex(n), 12, '0'))::uuid AS id FROM generate_series(0, {projects} - 1) n;
CREATE TEMP TABLE old_runs AS
  SELECT n, gen_random_uuid() AS id, gen_random_uuid() AS task_id, 1700000000000000 + n::bigint * 1000000 AS at
  FROM generate_series(1, {runs}) n;
INSERT INTO organisations SELECT '00000000-0000-4000-8002-000000000001', 'old organisation', 0;
INSERT INTO sites SELECT id, '00000000-0000-4000-8002-000000000001', 'old site ' || n, '', repeat('A', 43) || '=',
  'online', 0, 0 FROM old_sites;
INSERT INTO mailboxes SELECT id, 0, 0 FROM old_sites;
INSERT INTO projects SELECT p.id, '00000000-0000-4000-8002-000000000001', s.id, 'old project ' || p.n, '', '', '', 'open',
  1, '[{{"name":"train","model":"old"}}]', {runs} / {projects}, 0, NULL, 1
  FROM old_projects p JOIN old_sites s ON s.n = p.n + 1;
INSERT INTO memberships SELECT p.id, s.id, CASE WHEN s.n = p.n + 1 THEN 'coordinator' ELSE 'participant' END, 'active',
  '', 0, 0 FROM old_projects p JOIN old_sites s ON s.n BETWEEN p.n + 1 AND p.n + {seats};
INSERT INTO runs SELECT r.id, p.id, s.id, r.n / {projects} + 1, 1, 'succeeded', 'completed', 'every task succeeded', s.id,
  r.at, r.at + 600000000, r.at, r.at + 60000000, NULL, 20
  FROM old_runs r JOIN old_projects p ON p.n = r.n % {projects} JOIN old_sites s ON s.n = p.n + 1;
INSERT INTO task_runs SELECT r.task_id, r.id, 1, 'train', '{{"name":"train","model":"old"}}', 'succeeded', 'completed',
  {rounds}, 1, NULL, r.at, r.at + 60000000 FROM old_runs r;
INSERT INTO rounds SELECT r.task_id, k, r.id, 'completed', '', {seats}, r.at, r.at, r.at, r.at, '{{}}', NULL
  FROM old_runs r, generate_series(1, {rounds}) k;
INSERT INTO seats SELECT r.task_id, s.id, r.id, {rounds}, 'done', 'completed', 8, r.at, '{{}}', NULL
  FROM old_runs r JOIN old_sites s ON s.n BETWEEN r.n % {projects} + 1 AND r.n % {projects} + {seats};
INSERT INTO submissions SELECT r.task_id, k, s.id, r.id, '{{}}', NULL, r.at, r.at, ''
  FROM old_runs r JOIN old_sites s ON s.n BETWEEN r.n % {projects} + 1 AND r.n % {projects} + {seats},
  generate_series(1, {rounds}) k;
INSERT INTO events SELECT p.id, r.n / {projects} * {each} + k, 'seat_submitted', r.at, gen_random_uuid(), 'site', s.id, r.id,
  s.id, '{{"task":"train","round":1}}', repeat('0', 64)
  FROM old_runs r JOIN old_projects p ON p.n = r.n % {projects} JOIN old_sites s ON s.n = p.n + 1,
  generate_series(1, {each}) k;
INSERT INTO commands SELECT gen_random_uuid(), 'report_seat', 'site', s.id, 'accepted', 200, '{{}}', repeat('0', 64), r.at
  FROM old_runs r JOIN old_sites s ON s.n = r.n % {projects} + 1, generate_series(1, {each}) k;
INSERT INTO streams SELECT p.id, 'project', {runs} / {projects} * {each} + {each}, repeat('0', 64) FROM old_projects p;
"""


def measure(board: Board) -> None:
    """Empty and full take turns, so that a noisy minute hits both."""
    hubs = {"empty": board.yard.hub(), "full": board.yard.hub()}
    fill(hubs["full"], board.sizes.old_runs, board.sizes.old_events)
    board.hub.stop()
    with hubs["empty"].running(), hubs["full"].running():
        sites = {name: scenes.sites(hub, board.sizes.seats) for name, hub in hubs.items()}
        live = {name: live_runs(hub, sites[name], min(board.sizes.live_runs)) for name, hub in hubs.items()}

        def reports(name: str) -> list[float]:
            hub = hubs[name]
            return asyncio.run(rates_over_http(board, hub, *SHAPES["10x5"], Watch(hub), times=1))

        def polls(name: str) -> list[float]:
            hub = hubs[name]
            return asyncio.run(run_rates(board, hub, sites[name][0], live[name], Watch(hub), times=1))

        for case, measured in (("reports", reports), ("polls", polls)):
            turns = [(*measured("empty"), *measured("full")) for _ in range(TURNS_EACH * board.sizes.runs)]
            board.add("growth", case, [full / empty for empty, full in turns])
    board.hub.start()


def fill(hub: Hub, runs: int, events: int) -> None:
    """Finished runs with their rounds, seats, submissions, events and outcomes, and statistics as autovacuum keeps."""
    each = max(1, events // runs)
    sql = _FILL.format(projects=PROJECTS, runs=runs, rounds=ROUNDS, seats=SEATS, each=each)
    with hub.database.connection():
        connection = hub.database.peewee.connection()
        connection.cursor().execute(f"SET statement_timeout = 0; BEGIN; {sql} COMMIT; SET statement_timeout = 15000")
        connection.cursor().execute("VACUUM ANALYZE")
        connection.cursor().execute("CHECKPOINT")  # else it is written while the load is measured
