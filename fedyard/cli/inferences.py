"""`fedyard project inference`: services that answer over Kafka with what was trained."""

from __future__ import annotations

import click

from fedyard.actions.naming import place_named, project_named
from fedyard.actions.site import UsageError
from fedyard.agent.site import Folder
from fedyard.cli.architectures import streams_of
from fedyard.cli.common import client_of
from fedyard.cli.listing import Listing
from fedyard.client.client import Client
from fedyard.client.streams import Announced, Results, Streams
from fedyard.wire.command_line import JSON, Command, Group, print_json
from fedyard.wire.stream_answers import Inference


@click.command("start", cls=Command)
@click.argument("project")
@click.argument("result", type=click.IntRange(1))
@click.option("--from", "input_topic", required=True, metavar="TOPIC", help="of samples")
@click.option("--to", "output_topic", required=True, metavar="TOPIC", help="of answers")
@click.option(
    "--format", "input_format", default="RAW", type=click.Choice(["RAW", "AVRO", "JSON", "TELEGRAF_STR_JSON"])
)
@click.option(
    "--config", "input_config", metavar="JSON", help="how to read a sample; left out: as the data it was trained on"
)
@click.option("--replicas", default=1, type=click.IntRange(1, 100))
@click.option("--gpus", default=0, type=click.IntRange(0, 64))
@click.option(
    "--upper",
    "output_upper",
    default="",
    metavar="TOPIC",
    help="of a part of a chain: for the part above, below --limit",
)
@click.option("--limit", type=float, help="of the largest value")
@click.option("--cluster", default="", help="of Kafka, by its name; left out: that of deployments")
@click.option("--where", default="hub", help="it runs: a cluster of the hub's, or site:NAME")
@click.pass_obj
def start(
    folder: Folder,
    /,
    project: str,
    result: int,
    cluster: str,
    where: str,
    input_config: str | None,
    **asked: object,
) -> None:
    """Serve training result RESULT (its number) of a PROJECT: read samples, write what the model says of them."""
    client = client_of(folder)
    project_id = project_named(client, project).id
    asked["input_cluster"] = cluster
    asked["input_config"] = _as_trained(client, result) if input_config is None else input_config
    made = Streams(client, project_id).start_inference(result, asked, place_named(client, project_id, where))
    print(f"inference {made.number} is {made.state}: its topics are made, then it starts")


@click.command("list", cls=Command)
@click.argument("project")
@JSON
@click.pass_obj
def listed(folder: Folder, project: str, as_json: bool) -> None:
    """Which inferences a PROJECT has, and how they go."""
    found = streams_of(folder, project).inferences()
    if as_json:
        print_json(found)
        return
    table = Listing("number", "result", "state", "workload", "from", "to", "why not")
    for one in found:
        why = ": ".join(filter(None, (one.reason, one.detail)))
        table.add_row(
            str(one.number),
            str(one.result),
            one.state,
            one.workload_state or "",
            one.asked.input_topic,
            one.asked.output_topic,
            why,
        )
    table.print()


@click.command("stop", cls=Command)
@click.argument("project")
@click.argument("number", type=int)
@click.pass_obj
def stop(folder: Folder, project: str, number: int) -> None:
    """Stop inference NUMBER of a PROJECT; its topics stay."""
    streams = streams_of(folder, project)
    streams.stop_inference(_numbered(streams, number).id)
    print(f"inference {number} is to stop: it can be deleted once `list` shows its workload as stopped")


@click.command("delete", cls=Command)
@click.argument("project")
@click.argument("number", type=int)
@click.pass_obj
def delete(folder: Folder, project: str, number: int) -> None:
    """Delete inference NUMBER of a PROJECT, which has stopped."""
    streams = streams_of(folder, project)
    streams.delete_inference(_numbered(streams, number).id)
    print(f"inference {number} is deleted")


def _as_trained(client: Client, result: int) -> str:
    """How its samples are read, as the data say that it was trained on. Raises `UsageError` if none are known."""
    deployment = client.deployment(Results(client).one(result).deployment_id)
    for one in Announced(client).of(deployment.number):
        if one.id == deployment.data_source_id:
            return bytes(one.input_config).decode()
    raise UsageError(f"no data of deployment {deployment.number} say how samples are read: say --config")


def _numbered(streams: Streams, number: int) -> Inference:
    found = {one.number: one for one in streams.inferences()}
    if number not in found:
        raise UsageError(f"the project has no inference {number}; it has {', '.join(map(str, found)) or 'none'}")
    return found[number]


inference = Group(
    "inference",
    help="Services that answer over Kafka with what was trained.",
    commands=[start, listed, stop, delete],
)
