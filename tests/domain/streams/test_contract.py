"""The nine kinds of training as one contract: the truth table of cases, names and environments, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from domain.streams.arguments import arguments_of
from domain.streams.contract import (
    Architecture,
    Deployment,
    JobPlan,
    Servers,
    case_of,
    environment,
    flaw_of,
    job_name,
    jobs_of,
    restriction_of,
    unsupported_of,
)
from tests.domain.test_callers import CONTROL, DISTRIBUTED, FEDERATED, INCREMENTAL, INDEFINITE, JOBS

SINGLE = Architecture(id="a", name="cnn", framework="tf", code="metrics=['accuracy']")
CLOUD = Architecture(id="c", name="cloud", framework="tf", distributed=True)
FOG = Architecture(id="f", name="fog", framework="tf", distributed=True, father_id="c")
EDGE = Architecture(id="e", name="edge", framework="tf", distributed=True, father_id="f")
TORCH = Architecture(id="p", name="net", framework="pth")
CHAIN = [CLOUD, EDGE, FOG]
SERVERS = Servers(bootstrap_servers="kafka:9092", control_topic="control", model_topic="FEDERATED_MODEL_CONTROL_TOPIC")
FIT: dict[str, Any] = {"tf_kwargs_fit": "epochs=5, shuffle=true", "tf_kwargs_val": "steps=None", "batch": 32}
WAYS: dict[str, dict[str, Any]] = {
    "single classic": {},
    "single incremental": {
        "incremental": True,
        "indefinite": True,
        "monitoring_metric": "accuracy",
        "change": "up",
    },
    "distributed": {},
    "distributed incremental": {"incremental": True},
    "federated": {"federated": True},
    "federated incremental": {
        "federated": True,
        "incremental": True,
        "indefinite": True,
        "monitoring_metric": "accuracy",
        "change": "up",
    },
    "federated distributed": {"federated": True},
    "federated distributed incremental": {"federated": True, "incremental": True},
    "federated with a blockchain": {"federated": True, "blockchain": True},
}
"""How each kind of tests/domain/test_callers.py is asked for."""
OWN = {
    "single classic": CONTROL,
    "single incremental": CONTROL | INCREMENTAL | INDEFINITE,
    "distributed": CONTROL | DISTRIBUTED,
    "distributed incremental": CONTROL | DISTRIBUTED | INCREMENTAL,
    "federated": FEDERATED,
    "federated incremental": CONTROL | INCREMENTAL | INDEFINITE | FEDERATED,
    "federated distributed": CONTROL | DISTRIBUTED | FEDERATED,
    "federated distributed incremental": CONTROL | DISTRIBUTED | INCREMENTAL | FEDERATED,
    "federated with a blockchain": FEDERATED,
}
COMMON = {
    "BOOTSTRAP_SERVERS",
    "RESULT_URL",
    "RESULT_ID",
    "DEPLOYMENT_ID",
    "BATCH",
    "KWARGS_FIT",
    "KWARGS_VAL",
    "CONF_MAT_CONFIG",
    "CASE",
    "UNSUPERVISED",
    "UNSUPERVISED_ROUNDS",
    "CONFIDENCE",
}


def deployment(**fields: Any) -> Deployment:
    """As the API takes it. Raises `ValidationError`."""
    return msgspec.convert({**FIT, **fields}, Deployment)


def told(kind: str, **fields: Any) -> tuple[JobPlan, dict[str, str]]:
    asked = deployment(**WAYS[kind], **fields)
    (plan,) = jobs_of(asked, CHAIN if "distributed" in kind else [SINGLE])
    rids = range(12, 12 + len(plan.architecture_ids))
    return plan, environment(asked, plan, number=300, rids=rids, servers=SERVERS, string_id="x4f2")


@pytest.mark.parametrize("kind", list(JOBS))
def test_each_kind_has_its_case_its_name_and_its_variables(kind) -> None:
    plan, found = told(kind)
    assert plan.case == list(JOBS).index(kind) + 1 == int(found["CASE"])
    beginning = JOBS[kind][0].rstrip("0123456789-")
    assert job_name(plan.case, [7]) == f"{beginning}-7"
    assert found.keys() == COMMON | OWN[kind].keys()


@pytest.mark.parametrize(
    ("chain", "incremental", "federated", "case"),
    [
        (False, False, False, 1),
        (False, True, False, 2),
        (True, False, False, 3),
        (True, True, False, 4),
        (False, False, True, 5),
        (False, True, True, 6),
        (True, False, True, 7),
        (True, True, True, 8),
    ],
)
def test_the_facts_are_independent(*, chain, incremental, federated, case) -> None:
    assert case_of(chain=chain, incremental=incremental, federated=federated) == case


def test_only_the_ninth_has_a_ledger() -> None:
    assert case_of(chain=False, incremental=False, federated=True, ledger=True) == 9
    for facts in ({"chain": True}, {"incremental": True}, {"federated": False}):
        with pytest.raises(AssertionError):
            case_of(**({"chain": False, "incremental": False, "federated": True, "ledger": True} | facts))


def test_what_all_jobs_are_told() -> None:
    _, found = told("single classic")
    assert found == {
        "BOOTSTRAP_SERVERS": "kafka:9092",
        "CONTROL_TOPIC": "control",
        "RESULT_URL": "{door}/results/12",
        "RESULT_ID": "12",
        "DEPLOYMENT_ID": "300",
        "BATCH": "32",
        "KWARGS_FIT": '{"epochs":5,"shuffle":true}',
        "KWARGS_VAL": '{"steps":null}',
        "CONF_MAT_CONFIG": "false",
        "CASE": "1",
        "UNSUPERVISED": "False",
        "UNSUPERVISED_ROUNDS": "5",
        "CONFIDENCE": "0.9",
    }


def test_a_chain_is_one_job_with_its_lowest_model_first() -> None:
    plan, found = told("federated distributed incremental")
    assert plan.architecture_ids == ("e", "f", "c")
    assert found["RESULT_URL"] == "['{door}/results/12', '{door}/results/13', '{door}/results/14']"
    assert found["RESULT_ID"] == "['12', '13', '14']"
    assert job_name(plan.case, [12, 13, 14]) == "fed-dist-incremental-model-training-controller-12-13-14"
    assert (found["OPTIMIZER"], found["LEARNING_RATE"]) == ("adam", "0.001")


def test_a_configuration_of_both_makes_a_job_for_each_model_and_one_for_the_chain() -> None:
    other = msgspec.structs.replace(SINGLE, id="b", name="mlp")
    plans = jobs_of(deployment(), [SINGLE, EDGE, other, FOG, CLOUD])
    assert [(plan.case, plan.architecture_ids) for plan in plans] == [(1, ("a",)), (1, ("b",)), (3, ("e", "f", "c"))]


def test_limited_and_indefinite_differ_in_the_timeout() -> None:
    assert told("single incremental")[1]["STREAM_TIMEOUT"] == "-1"
    asked = deployment(incremental=True, stream_timeout=5000)
    (plan,) = jobs_of(asked, [SINGLE])
    limited = environment(asked, plan, number=1, rids=[1], servers=SERVERS)
    assert (limited["STREAM_TIMEOUT"], limited["MONITORING_METRIC"], limited["CHANGE"]) == ("5000", "", "")


def test_devices_are_shown_where_some_are_asked_for() -> None:
    assert told("single classic", gpumem=2)[1]["NVIDIA_VISIBLE_DEVICES"] == "all"


def test_torch_is_told_its_own_arguments() -> None:
    asked = deployment(pth_kwargs_fit="max_epochs=2")
    plans = jobs_of(asked, [SINGLE, TORCH])
    fits = [environment(asked, plan, number=1, rids=[1], servers=SERVERS)["KWARGS_FIT"] for plan in plans]
    assert fits == ['{"epochs":5,"shuffle":true}', '{"max_epochs":2}']


@pytest.mark.parametrize(
    "said", [{"labels": [1, 2], "b": None}, '{"b": null, "labels": [1, 2]}'], ids=["object", "text"]
)
def test_a_restriction_is_announced_as_json_whichever_way_it_was_said(said) -> None:
    assert told("federated", data_restriction=said)[1]["DATA_RESTRICTION"] == '{"b":null,"labels":[1,2]}'


def test_none_said_restricts_nothing() -> None:
    assert [restriction_of(deployment(data_restriction=said)) for said in ({}, "", "{}")] == ["{}"] * 3


ALL_RIGHT: list[tuple[list[Architecture], dict[str, Any]]] = [
    ([SINGLE], {}),
    ([SINGLE], {"unsupervised": True, "federated": True}),
    ([SINGLE], WAYS["single incremental"]),
    ([SINGLE], {"incremental": True}),
    (CHAIN, {"federated": True, "incremental": True}),
    ([CLOUD], {}),
    ([SINGLE, TORCH], {"pth_kwargs_fit": "max_epochs=1"}),
    ([TORCH], {"pth_kwargs_fit": "max_epochs=1", "tf_kwargs_fit": "", "tf_kwargs_val": ""}),
]


@pytest.mark.parametrize(("architectures", "fields"), ALL_RIGHT)
def test_what_can_be_trained_has_no_flaw(architectures, fields) -> None:
    assert flaw_of(deployment(**fields), architectures) is None


@pytest.mark.parametrize(
    ("architectures", "fields", "says"),
    [
        ([], {}, "no architecture"),
        ([TORCH], {"incremental": True}, "this is incremental"),
        ([TORCH], {"federated": True}, "this is federated"),
        ([TORCH], {"unsupervised": True}, "this is unsupervised"),
        ([TORCH, CLOUD], {}, "this is a chain"),
        ([msgspec.structs.replace(TORCH, distributed=True)], {}, "this is a chain"),
        (CHAIN, {"federated": True, "blockchain": True}, "leave blockchain out"),
        ([SINGLE], {"federated": True, "incremental": True, "blockchain": True}, "leave blockchain out"),
        ([SINGLE], {"blockchain": True}, "leave blockchain out"),
        ([SINGLE], {"federated": True, "agg_strategy": "FedAdam"}, "use FedAvg"),
        ([SINGLE], {"indefinite": True}, "indefinite training is incremental"),
        (CHAIN, WAYS["single incremental"], "indefinite training of a chain"),
        ([SINGLE], {"incremental": True, "indefinite": True}, "name monitoring_metric"),
        ([SINGLE], {**WAYS["single incremental"], "change": ""}, "name monitoring_metric"),
        ([SINGLE], {**WAYS["single incremental"], "monitoring_metric": "recall"}, "cnn does not name"),
        ([SINGLE], {"incremental": True, "stream_timeout": None}, "stream_timeout"),
        ([FOG], {}, "fog feeds c"),
        ([FOG, msgspec.structs.replace(CLOUD, distributed=False)], {}, "both have to be distributed"),
        ([CLOUD, FOG, msgspec.structs.replace(EDGE, father_id="c")], {}, "cloud is fed by several"),
        ([msgspec.structs.replace(CLOUD, father_id="e"), FOG, EDGE], {}, "in a circle"),
        ([SINGLE], {"tf_kwargs_fit": ""}, "needs epochs"),
        ([SINGLE], {"tf_kwargs_fit": "epochs=0"}, "needs epochs"),
        ([SINGLE], {"tf_kwargs_fit": "epochs=true"}, "needs epochs"),
        ([SINGLE], {"tf_kwargs_fit": "epochs=1, a=__import__('os')"}, "tf_kwargs_fit"),
        ([SINGLE], {"tf_kwargs_val": "steps"}, "tf_kwargs_val"),
        ([TORCH], {"pth_kwargs_fit": "epochs=1"}, "needs max_epochs"),
        ([SINGLE], {"federated": True, "data_restriction": "{'a': 1}"}, "no JSON object"),
        ([SINGLE], {"federated": True, "data_restriction": "[1]"}, "no JSON object"),
        ([SINGLE], {"federated": True, "data_restriction": {"a": "x" * 16_384}}, "more than 16384 characters"),
        ([SINGLE], {"data_restriction": '{"a":' + "[" * 65 + "]" * 65 + "}"}, "nested deeper than 64"),
    ],
)
def test_what_cannot_is_said_before_anything_is_made(architectures, fields, says) -> None:
    assert says in (flaw_of(deployment(**fields), architectures) or "")


def test_a_ledger_is_known_and_not_kept() -> None:
    asked = deployment(federated=True, blockchain=True)
    assert flaw_of(asked, [SINGLE]) is None
    assert "ledger" in (unsupported_of(asked) or "")
    assert unsupported_of(deployment(federated=True)) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"batch": 0},
        {"agg_strategy": "FedProx"},
        {"gpumem": -1},
        {"confidence": 1.5},
        {"change": "sideways"},
        {"batches": 3},
        {"learning_rate": 0},
    ],
)
def test_what_is_no_deployment_is_refused_at_the_edge(fields) -> None:
    with pytest.raises(msgspec.ValidationError):
        deployment(**fields)


# arguments


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("epochs=5", {"epochs": 5}),
        (" epochs = 5 ,shuffle=True ", {"epochs": 5, "shuffle": True}),
        ("a=-1,b=0.5,c=1e-3,d=.5", {"a": -1, "b": 0.5, "c": 0.001, "d": 0.5}),
        ("a=none,b=null,c=FALSE", {"a": None, "b": None, "c": False}),
        ("a='x, y=z',b=\"\"", {"a": "x, y=z", "b": ""}),
        ("a=1,", {"a": 1}),
    ],
)
def test_arguments_are_literals(text, found) -> None:
    assert arguments_of(text) == found
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    "text",
    ["epochs", "=5", "a=1,,b=2", "a=1 b=2", "a=b", "a=1,a=2", "a=open('x')", "a=1+1", "a=[1]", "a=1_0", "a='x", "1a=1",
     "a=nan", "a=" + "9" * 40, ",".join(f"a{number}=1" for number in range(101))],
)  # fmt: skip
def test_what_is_no_literal_is_never_evaluated(text) -> None:
    with pytest.raises(ValueError, match=r"."):
        arguments_of(text)
