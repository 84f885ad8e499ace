"""What `make drills` runs, and `make test` leaves to it: tests that search by chance, kill and flood for minutes, and
walks through the whole.

They try the whole again, where each part has tests of its own in `make test`. CI runs both, so nothing is left out.
"""

from __future__ import annotations

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
DRILLS = (
    "chaos/test_run.py",
    "page/test_more_views.py",
    "page/test_both_faces.py",
    "web/test_fuzzing.py",
    "web/test_attacks.py",
    "benchmarks/test_board.py",
    "ops/test_restore_drill.py",
    "ops/test_up.py",
    "ops/test_up_killed.py",
    "broker/test_killed_rabbitmq.py",
    "simulation/test_planted_bugs.py",
    "simulation/test_more_seeds.py",
    "web/test_rights_on_postgres.py",
    "canary/test_canary.py",
    "broker/test_losses.py",
    "ops/test_federated_pair.py",
    "ops/test_telling_through_kills.py",
    "ops/test_first_deployment.py",
    "ops/test_first_job.py",
    "demo/test_demo.py",
    "demo/test_streams.py",
    "demo/test_digits_cnn.py",
    "fedyard/simulating/test_pytorch.py",
    "fedyard/strategies/test_with_torch.py",
)
"""The kill test, what each operation takes, floods, every case of the board, restores, all of a hub started by one
command, a hub and a RabbitMQ that are killed, planted bugs, more seeds of the simulation, the rights of everybody over
PostgreSQL, more views of pages, the canary, how stock Dramatiq loses messages and ours does not, a controller with its
worker over Kafka, events through kills, and what newcomers walk through: both faces, the demos, a first deployment, a
first job; and what needs PyTorch."""
ALONE = (
    "ops/test_servers.py::test_rabbitmq_keeps_durable_messages_through_a_kill",
    "fedyard/test_transfer.py::test_a_hub_that_is_killed_in_the_middle_of_chunks_keeps_what_came",
    "cluster/test_hub.py::test_a_hub_that_dies_while_it_makes_a_job_finds_it_made",
    "page/test_stories.py::test_a_problem_setter_comes_from_a_description_to_a_model",
    "ops/test_webhooks.py::test_a_doer_that_is_killed_between_request_and_report_tells_again_under_the_same_id",
    *(
        f"fedyard/test_agent.py::test_an_agent_killed_in_any_state_comes_back[{state}]"
        for state in ("invited", "preparing", "ready")
    ),
    *(
        f"fedyard/test_agent.py::test_an_agent_killed_before_its_report_went_out_repeats_it[held{number}-{seat}]"
        for number, seat in enumerate(("invited 1", "preparing 1", "training 1", "uploading 1", "invited 2"))
    ),
    "fedyard/test_agent.py::test_agents_killed_again_and_again_finish_their_run[2]",
    "fedyard/test_agent.py::test_lost_requests_and_lost_answers_change_nothing[False]",
    "fedyard/test_agent.py::test_what_a_task_started_ends_with_its_run_and_with_its_agent[SIGTERM]",
    "fedyard/test_agent.py::test_a_site_that_does_not_want_to_rejoin_stays_out",
    *(
        f"fedyard/test_sealed.py::test_a_changed_model_fails_the_seat_and_the_agent_goes_on[{how}]"
        for how in ("damaged", "unsupported", "truncated")
    ),
    "liar/test_consent.py::test_a_planted_bug_is_noticed",
    "liar/test_heads.py::test_a_planted_bug_is_noticed",
    "liar/test_second_model.py::test_without_the_rule_a_second_one_does",
    "liar/test_tasks_and_lists.py::test_without_the_rule_it_is_not",
)
"""Tests of other files, some of them with one parameter: servers, hubs and agents that are killed and started anew,
where others of their kind stay in `make test`, a walk through the page, and planted bugs that agents have to notice."""


def is_drill(item: pytest.Item) -> bool:
    within = item.path.relative_to(FOLDER).as_posix()
    names = item.name, getattr(item, "originalname", None)
    return within in DRILLS or any(f"{within}::{name}" in ALONE for name in names)
