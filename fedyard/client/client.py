"""What a site or an account may ask of the hub: typed calls, each safe to repeat (calls.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Literal
from urllib.parse import quote

from fedyard.client.calls import Calls, encoded, page_of
from fedyard.client.errors import Unavailable
from fedyard.client.listed import Listed
from fedyard.clock import draw_key
from fedyard.wire import answers as a
from fedyard.wire import types as w

MAX_LONG_POLL_S = 30
NEWEST_EVENTS = 200
"""Of a run, that are asked for at once: as many as the hub gives."""


class Client(Calls):
    """What one subject (the owner of `token`) may ask of the hub. Made as `Calls` is."""

    # the network

    def me(self) -> a.Me:
        """Who the token belongs to."""
        return self.read("/v1/me", a.Me)

    def organisations(self) -> list[a.Organisation]:
        return Listed(self.every("/v1/organisations", {}, a.Organisation))

    def create_enrolment(
        self, organisation_id: str, note: str = "", *, expires_in_s: float | None = None, key: str | None = None
    ) -> a.Created:
        """A one-time token for a new site, drawn by the hub, good for a day if nothing is said: an admin's call."""
        body: dict[str, object] = {"organisation_id": organisation_id, "note": note}
        if expires_in_s is not None:
            body["expires_in_s"] = expires_in_s
        return self.write("POST", "/v1/enrolments", body, a.Created, key=key)

    def enrol(
        self, name: str, identity_key: str, proof: str, token_sha256: str, description: str, *, key: str
    ) -> a.Created:
        """Become a site. The client's token must be an enrolment's; only the hash of the new token travels.

        proof: what `keys.enrolment_proof` has signed, in base64.
        """
        body = {
            "name": name,
            "identity_key": identity_key,
            "proof": proof,
            "token_sha256": token_sha256,
            "description": description,
        }
        return self.write("POST", "/v1/sites", body, a.Created, key=key)

    def heartbeat(self, site_id: str) -> float:
        """Tell that the site is alive; seconds until the next beat is due."""
        path = f"/v1/sites/{_part(site_id)}/heartbeat"
        return self.decoded(self.call("PUT", path, body=b"{}", give_up_s=5.0)[1], a.Beat).heartbeat_every_s

    def sites(
        self, *, project_id: str | None = None, organisation_id: str | None = None, state: str | None = None
    ) -> list[a.Site]:
        query = {"project": project_id, "organisation": organisation_id, "state": state}
        return Listed(self.every("/v1/sites", query, a.Site))

    # projects

    def create_project(
        self,
        name: str,
        tasks: Sequence[Mapping[str, object]],
        *,
        description: str = "",
        data_format: str = "",
        client_image: str = "",
        joining: w.Joining = "approval",
        sealed: w.Sealed = "required",
        infrastructure: Mapping[str, object] | None = None,
        coordinator_site_id: str | None = None,
        max_live_runs: int | None = None,
        key: str | None = None,
    ) -> str:
        """The new project's id; the calling site is its coordinator, or the one that an account names.

        infrastructure: as docs/api.md has it.
        """
        body = {
            "name": name,
            "tasks": list(tasks),
            "description": description,
            "data_format": data_format,
            "client_image": client_image,
            "joining": joining,
            "sealed": sealed,
            "infrastructure": infrastructure,
            **({} if coordinator_site_id is None else {"coordinator_site_id": coordinator_site_id}),
            **({} if max_live_runs is None else {"max_live_runs": max_live_runs}),
        }
        return self.write("POST", "/v1/projects", body, a.Created, key=key).id

    def update_project(
        self,
        project_id: str,
        *,
        name: str | None = None,
        tasks: Sequence[Mapping[str, object]] | None = None,
        description: str | None = None,
        data_format: str | None = None,
        client_image: str | None = None,
        joining: w.Joining | None = None,
        sealed: w.Sealed | None = None,
        infrastructure: Mapping[str, object] | None = None,
        max_live_runs: int | None = None,
        key: str | None = None,
    ) -> None:
        """What is None stays. Other tasks hold from the next run on."""
        body = {
            "name": name,
            "tasks": None if tasks is None else list(tasks),
            "description": description,
            "data_format": data_format,
            "client_image": client_image,
            "joining": joining,
            "sealed": sealed,
            "infrastructure": infrastructure,
            "max_live_runs": max_live_runs,
        }
        said = {name: value for name, value in body.items() if value is not None}
        self.write("PATCH", f"/v1/projects/{_part(project_id)}", said, dict, key=key)

    def projects(
        self, *, name: str | None = None, member: str | None = None, coordinator: str | None = None
    ) -> Sequence[a.Project]:
        """member, coordinator: ids of sites."""
        query = {"name": name, "member": member, "coordinator": coordinator}
        return Listed(self.every("/v1/projects", query, a.Project))

    def project(self, project_id: str) -> a.Project:
        return self.read(f"/v1/projects/{_part(project_id)}", a.Project)

    def written_tasks(self, project_id: str) -> list[dict[str, object]]:
        """The project's tasks with every field that the hub shows, also those that a site does not look at."""
        return self.read(f"/v1/projects/{_part(project_id)}", a.WrittenTasks).tasks

    def members(self, project_id: str, *, state: str | None = None) -> list[a.Membership]:
        return Listed(self.every(f"/v1/projects/{_part(project_id)}/members", {"state": state}, a.Membership))

    def put_member(self, project_id: str, site_id: str, notes: str = "", *, key: str | None = None) -> a.Membership:
        """As the site: join or accept. As the coordinator: invite or approve."""
        path = f"/v1/projects/{_part(project_id)}/members/{_part(site_id)}"
        return self.write("PUT", path, {"notes": notes}, a.Membership, key=key)

    def remove_member(self, project_id: str, site_id: str, *, key: str | None = None) -> a.Membership:
        """As the site: leave or decline. As the coordinator: remove or decline."""
        path = f"/v1/projects/{_part(project_id)}/members/{_part(site_id)}"
        return self.write("DELETE", path, None, a.Membership, key=key)

    def joining(self, project_id: str) -> a.Joining:
        """How a data organisation takes part with the client image, and how many are ready."""
        return self.read(f"/v1/projects/{_part(project_id)}/joining", a.Joining)

    def build_context(self, project_id: str) -> bytes:
        """A tar that `docker build` takes: the client image with its configuration."""
        return self.call("GET", f"/v1/projects/{_part(project_id)}/joining/context")[1]

    def say_ready(
        self, project_id: str, site_id: str, *, ready: bool = True, for_s: float = 86_400.0, key: str | None = None
    ) -> a.Ready:
        """The site is ready for the project's rounds, for so long; or it is not any more."""
        path = f"/v1/projects/{_part(project_id)}/members/{_part(site_id)}/ready"
        return self.write("PUT", path, {"ready": ready, "for_s": for_s}, a.Ready, key=key)

    def issue_client_token(
        self, project_id: str, site_id: str, sha256: str, *, for_s: float, key: str | None = None
    ) -> a.ClientToken:
        """A token for a client image of the project. sha256: of the secret that the caller has drawn for it."""
        path = f"/v1/projects/{_part(project_id)}/members/{_part(site_id)}/client-tokens"
        return self.write("POST", path, {"sha256": sha256, "for_s": for_s}, a.ClientToken, key=key)

    def tokens(self, owner_id: str) -> list[a.TokenAbout]:
        return Listed(self.every("/v1/tokens", {"owner": owner_id}, a.TokenAbout))

    def revoke_token(self, token_id: str, *, key: str | None = None) -> a.Changed:
        return self.write("DELETE", f"/v1/tokens/{_part(token_id)}", None, a.Changed, key=key)

    def models(self, project_id: str) -> Sequence[a.Model]:
        """Every global model that was made in the project, oldest first."""
        return Listed(self.every(f"/v1/projects/{_part(project_id)}/models", {}, a.Model))

    # runs

    def start_run(
        self,
        project_id: str,
        *,
        queue: bool = False,
        finish_within_s: float | None = None,
        parameters: Mapping[str, Mapping[str, object]] | None = None,
        rounds: Mapping[str, int] | None = None,
        initial: Sequence[str] = (),
        model_version: int | None = None,
        key: str | None = None,
    ) -> a.StartedRun:
        """Of this run alone, by the names of tasks: parameters (each takes the place of the project's), rounds.

        initial: tasks whose first model the coordinator gives. model_version: the task that made it begins with it.
        """
        said = {
            "finish_within_s": finish_within_s,
            "parameters": parameters,
            "rounds": rounds,
            "initial": list(initial) or None,
            "model_version": model_version,
        }
        body: dict[str, object] = {"queue": queue, **{name: value for name, value in said.items() if value is not None}}
        return self.write("POST", f"/v1/projects/{_part(project_id)}/runs", body, a.StartedRun, key=key)

    def runs(
        self, *, project_id: str | None = None, state: str | None = None, site_id: str | None = None
    ) -> Sequence[a.Run]:
        """site_id: of a site that has a seat in them, or had one."""
        return Listed(self.every("/v1/runs", {"project": project_id, "state": state, "site": site_id}, a.Run))

    def run(self, run_id: str, *, after: int | None = None, wait: int = 0) -> a.Run:
        """The run; with `after`, as soon as its version is above that, or as it is after `wait` seconds."""
        query = {"after": after, "wait": min(wait, MAX_LONG_POLL_S) or None}
        return self.read(f"/v1/runs/{_part(run_id)}", a.Run, query, wait_s=wait)

    def stop_run(self, run_id: str, reason: str = "", *, key: str | None = None) -> a.Changed:
        return self.write("POST", f"/v1/runs/{_part(run_id)}/stop", {"reason": reason}, a.Changed, key=key)

    def workloads(self, project_id: str, *, state: str | None = None) -> list[a.Workload]:
        return Listed(self.every(f"/v1/projects/{_part(project_id)}/workloads", {"state": state}, a.Workload))

    def secrets(self, project_id: str) -> list[a.ProjectSecret]:
        """All of them at once: this list has no pages."""
        return Listed(self.read(f"/v1/projects/{_part(project_id)}/secrets", page_of(a.ProjectSecret)).items)

    def set_secret(self, project_id: str, name: str, value: str, *, key: str | None = None) -> a.SecretChanged:
        path = f"/v1/projects/{_part(project_id)}/secrets/{_part(name)}"
        return self.write("PUT", path, {"value": value}, a.SecretChanged, key=key)

    def delete_secret(self, project_id: str, name: str, *, key: str | None = None) -> a.SecretChanged:
        path = f"/v1/projects/{_part(project_id)}/secrets/{_part(name)}"
        return self.write("DELETE", path, None, a.SecretChanged, key=key)

    def workload(self, workload_id: str) -> a.Workload:
        return self.read(f"/v1/workloads/{_part(workload_id)}", a.Workload)

    def start_workload(
        self, project_id: str, name: str, where: str, spec: dict[str, object], *, key: str | None = None
    ) -> a.WorkloadChanged:
        """spec: as docs/workloads.md says."""
        body: dict[str, object] = {"name": name, "where": where, "spec": spec}
        return self.write("POST", f"/v1/projects/{_part(project_id)}/workloads", body, a.WorkloadChanged, key=key)

    def stop_workload(self, workload_id: str, reason: str = "", *, key: str | None = None) -> a.WorkloadChanged:
        path = f"/v1/workloads/{_part(workload_id)}/stop"
        return self.write("POST", path, {"reason": reason}, a.WorkloadChanged, key=key)

    def scale_workload(self, workload_id: str, replicas: int, *, key: str | None = None) -> a.WorkloadChanged:
        path = f"/v1/workloads/{_part(workload_id)}/replicas"
        return self.write("PUT", path, {"replicas": replicas}, a.WorkloadChanged, key=key)

    def deployments(self, project_id: str) -> list[a.Deployment]:
        return Listed(self.every(f"/v1/projects/{_part(project_id)}/deployments", {}, a.Deployment))

    def deployment(self, deployment_id: str) -> a.Deployment:
        return self.read(f"/v1/deployments/{_part(deployment_id)}", a.Deployment)

    def start_deployment(
        self, project_id: str, body: dict[str, object], *, key: str | None = None
    ) -> a.DeploymentStarted:
        """body: as docs/api.md says."""
        return self.write("POST", f"/v1/projects/{_part(project_id)}/deployments", body, a.DeploymentStarted, key=key)

    def delete_deployment(self, deployment_id: str, *, key: str | None = None) -> a.DeploymentStopped:
        """One that has ended, and whose results are deleted."""
        path = f"/v1/deployments/{_part(deployment_id)}"
        return self.write("DELETE", path, None, a.DeploymentStopped, key=key)

    def stop_deployment(self, deployment_id: str, reason: str = "", *, key: str | None = None) -> a.DeploymentStopped:
        path = f"/v1/deployments/{_part(deployment_id)}/stop"
        return self.write("POST", path, {"reason": reason}, a.DeploymentStopped, key=key)

    def start_infrastructure(
        self, project_id: str, *, model_version: int | None = None, key: str | None = None
    ) -> a.InfrastructureChanged:
        """model_version: of the project's models, which the coordinator shall begin with; None: with what it has."""
        path = f"/v1/projects/{_part(project_id)}/infrastructure/start"
        body = {} if model_version is None else {"model_version": model_version}
        return self.write("POST", path, body, a.InfrastructureChanged, key=key)

    def rounds(self, project_id: str, *, most: int | None = None) -> list[a.ProjectRound]:
        """Rounds that the project's own coordinator led, the newest first; `most` of them, or all."""
        found = self.every(f"/v1/projects/{_part(project_id)}/rounds", {}, a.ProjectRound)
        return Listed(islice(found, most))

    def matches(self, run_id: str) -> list[a.Match]:
        """All data that were announced at the edge, as they fit a run's federated model."""
        return Listed(self.every(f"/v1/runs/{_part(run_id)}/matches", {}, a.Match))

    def stop_infrastructure(
        self, project_id: str, reason: str = "", *, key: str | None = None
    ) -> a.InfrastructureChanged:
        path = f"/v1/projects/{_part(project_id)}/infrastructure/stop"
        return self.write("POST", path, {"reason": reason}, a.InfrastructureChanged, key=key)

    def scale_selectors(self, project_id: str, selectors: int, *, key: str | None = None) -> a.InfrastructureChanged:
        path = f"/v1/projects/{_part(project_id)}/infrastructure/selectors"
        return self.write("PUT", path, {"selectors": selectors}, a.InfrastructureChanged, key=key)

    def workload_log(
        self, workload_id: str, attempt: int | None = None, *, after: int | None = None, wait: int = 0
    ) -> a.WorkloadLog:
        """What an attempt left; the newest one, if none is named. after: what its log has from that byte on, while it
        is written, too; with `wait` (seconds, 30 at most) as soon as there is some."""
        query = {"attempt": attempt, "after": after, "wait": min(wait, MAX_LONG_POLL_S) or None}
        return self.read(f"/v1/workloads/{_part(workload_id)}/log", a.WorkloadLog, query, wait_s=wait)

    def restart_run(
        self,
        run_id: str,
        start_from: Literal["reached", "start"] = "reached",
        *,
        model_version: int | None = None,
        key: str | None = None,
    ) -> a.StartedRun:
        """model_version: the task that made it begins with this model of the project."""
        path = f"/v1/runs/{_part(run_id)}/restart"
        body: dict[str, object] = {"start_from": start_from}
        if model_version is not None:
            body["model_version"] = model_version
        return self.write("POST", path, body, a.StartedRun, key=key)

    def events(self, run_id: str, *, after: int = 0, wait: int = 0) -> list[a.Event]:
        """The run's events after that number, a page at most; waits `wait` seconds for the next one."""
        query = {"after": after, "wait": min(wait, MAX_LONG_POLL_S) or None}
        found = self.read(f"/v1/runs/{_part(run_id)}/events", page_of(a.Event), query, wait_s=wait).items
        if found and found[-1].seq <= after:  # whoever asks for what comes after that would never be done
            raise Unavailable(f"the events of run {run_id}: the hub shows number {found[-1].seq} after {after}")
        return Listed(found)

    def newest_events(self, run_id: str) -> list[a.Event]:
        """The newest of the run's events, a page at most, the newest first."""
        query = {"order": "newest", "limit": NEWEST_EVENTS}
        return Listed(self.read(f"/v1/runs/{_part(run_id)}/events", page_of(a.Event), query).items)

    def report(self, run_id: str, task_seq: int, site_id: str, body: bytes, *, key: str) -> a.Reported:
        """A seat's report; `body` is its JSON, kept by the caller so that a repeat is the same to the byte."""
        path = f"/v1/runs/{_part(run_id)}/tasks/{task_seq}/seats/{_part(site_id)}"
        return self.written("PUT", path, body, a.Reported, key)

    def aggregated(self, run_id: str, task_seq: int, round_: int, body: bytes, *, key: str) -> a.Reported:
        """The coordinator's new global model; `body` as for `report`."""
        path = f"/v1/runs/{_part(run_id)}/tasks/{task_seq}/rounds/{round_}/aggregated"
        return self.written("POST", path, body, a.Reported, key)

    def report_missing_receipt(
        self, run_id: str, task_seq: int, round_: int, site_id: str, reason: str, *, key: str | None = None
    ) -> None:
        """Put on record that the model of a round does not name the site's update; reason: a code."""
        path = f"/v1/runs/{_part(run_id)}/tasks/{task_seq}/rounds/{round_}/missing-receipts/{_part(site_id)}"
        self.write("PUT", path, {"reason": reason}, dict, key=key)

    # keys

    def put_key(self, site_id: str, epoch: int, body: Mapping[str, object], *, key: str | None = None) -> a.KeyChanged:
        """Publish the site's sealing key of an epoch; the same key again changes nothing."""
        return self.write("PUT", f"/v1/sites/{_part(site_id)}/keys/{epoch}", body, a.KeyChanged, key=key)

    def revoke_key(self, site_id: str, epoch: int, reason: str = "", *, key: str | None = None) -> a.KeyChanged:
        path = f"/v1/sites/{_part(site_id)}/keys/{epoch}"
        return self.write("DELETE", path, {"reason": reason}, a.KeyChanged, key=key)

    def site_keys(self, site_id: str) -> list[a.SealingKey]:
        """Every sealing key that the hub has of a site."""
        return Listed(self.every(f"/v1/sites/{_part(site_id)}/keys", {}, a.SealingKey))

    def project_keys(self, project_id: str) -> list[a.MemberKey]:
        """The active members of a project with their identities and keys, as the hub says."""
        return Listed(self.every(f"/v1/projects/{_part(project_id)}/keys", {}, a.MemberKey))

    def report_conflict(self, site_id: str, about_site_id: str, pinned: str, seen: str) -> None:
        """Put on record that `about_site_id` shows another identity than it was pinned with (hashes of both)."""
        path = f"/v1/sites/{_part(site_id)}/conflicts/{_part(about_site_id)}"
        self.write("PUT", path, {"pinned": pinned, "seen": seen}, dict, key=None)

    # logs

    def write_log(
        self,
        run_id: str,
        task_seq: int,
        site_id: str,
        seq: int,
        pieces: Sequence[bytes],
        *,
        round_: int | None = None,
        key: str | None = None,
    ) -> None:
        """Pieces of the site's own log of a task run, numbered from `seq`; what the hub has stays as it is."""
        path = f"/v1/runs/{_part(run_id)}/tasks/{task_seq}/logs/{_part(site_id)}"
        self.write("POST", path, {"seq": seq, "round": round_, "pieces": list(pieces)}, dict, key=key)

    def logs(
        self,
        run_id: str,
        *,
        site_id: str | None = None,
        task_seq: int | None = None,
        after: int = 0,
        wait: int = 0,
        limit: int = 100,
    ) -> list[a.LogPiece]:
        """Pieces after the cursor `after`, oldest first; waits `wait` seconds for one."""
        query = {
            "site": site_id,
            "task": task_seq,
            "after": after,
            "wait": min(wait, MAX_LONG_POLL_S) or None,
            "limit": limit,
        }
        return Listed(self.read(f"/v1/runs/{_part(run_id)}/logs", page_of(a.LogPiece), query, wait_s=wait).items)

    # messages

    def post_message(
        self,
        project_id: str,
        to: Literal["coordinator", "participants"] | Sequence[str],
        content: bytes | None,
        *,
        kind: str = "message",
        run_id: str | None = None,
        ttl_s: float | None = None,
        artifact_id: str | None = None,
        key: str | None = None,
        keep: Callable[[str, bytes], None] = lambda _key, _body: None,
    ) -> str:
        """Send a message; its id. With `artifact_id` the body lies there, and `content` is its seal.

        keep: told the key and the request's body before they are sent.
        """
        message: dict[str, object] = {"project_id": project_id, "to": to, "body": content, "kind": kind}
        if artifact_id is not None:
            message["artifact_id"] = artifact_id
        if run_id is not None:
            message["run_id"] = run_id
        if ttl_s is not None:
            message["ttl_s"] = ttl_s
        key, body = key or draw_key(), encoded({"messages": [message]})
        keep(key, body)
        return self.post_again(key, body)

    def post_again(self, key: str, body: bytes) -> str:
        """Send a message as it was sent before; its id."""
        return self.written("POST", "/v1/messages", body, a.Posted, key).ids[0]

    def message(self, message_id: str) -> a.Message:
        return self.read(f"/v1/messages/{_part(message_id)}", a.Message)

    def inbox(self, *, after: int | None = None, wait: int = 0, limit: int = 20, mark: str = "") -> a.Inbox:
        """Entries after `after` (default: what is acknowledged), oldest first; waits `wait` seconds for one.

        mark: of the entry `after`, as this site has it. Raises `Refused` (`history_went_back`) if the hub has another.
        """
        query = {"after": after, "mark": mark or None, "wait": min(wait, MAX_LONG_POLL_S) or None, "limit": limit}
        return self.read("/v1/inbox", a.Inbox, query, wait_s=wait)

    def hub_key(self) -> bytes:
        """The raw public key that the hub signs heads of chains with."""
        return self.read("/v1/heads", a.Heads, {"limit": 1}).key

    def acknowledge(self, through: int, mark: str = "") -> None:
        """Entries up to `through` need not come again. Returns when the hub has it safely, undecided."""
        headers = {"Idempotency-Key": f"acknowledged-{through}-{mark or 'unmarked'}"}
        body: dict[str, object] = {"through": through, **({"mark": mark} if mark else {})}
        self.call("PUT", "/v1/inbox/acknowledged", body=encoded(body), headers=headers)

    def recover(self, site_id: str, claim: bytes, *, key: str) -> a.Recovered:
        """Tell a hub whose history went back what this site holds; the claim is the same to the byte in a repeat."""
        return self.written("POST", f"/v1/sites/{_part(site_id)}/recovery", claim, a.Recovered, key)

    def command(self, command_id: str, *, wait: int = 0) -> a.Command:
        query = {"wait": min(wait, MAX_LONG_POLL_S) or None}
        return self.read(f"/v1/commands/{_part(command_id)}", a.Command, query, wait_s=wait)

    # artifacts (transfer.py carries their bytes)

    def declare_artifact(self, body: Mapping[str, object], *, key: str) -> str:
        """The artifact's id; under the same key the same one, also after a restart."""
        return self.write("POST", "/v1/artifacts", body, a.Created, key=key).id

    def artifact(self, artifact_id: str) -> a.Artifact:
        return self.read(f"/v1/artifacts/{_part(artifact_id)}/about", a.Artifact)

    def artifacts(
        self, *, project_id: str | None = None, run_id: str | None = None, kind: str | None = None
    ) -> list[a.Artifact]:
        return Listed(self.every("/v1/artifacts", {"project": project_id, "run": run_id, "kind": kind}, a.Artifact))

    def artifact_chunks(self, artifact_id: str) -> a.Chunks:
        """Which chunks of an upload the hub has."""
        return self.read(f"/v1/artifacts/{_part(artifact_id)}/chunks", a.Chunks)

    def complete_artifact(self, artifact_id: str) -> a.Changed:
        return self.write("POST", f"/v1/artifacts/{_part(artifact_id)}/complete", None, a.Changed, key=None)

    def delete_artifact(self, artifact_id: str) -> a.Changed:
        return self.write("DELETE", f"/v1/artifacts/{_part(artifact_id)}", None, a.Changed, key=None)


def _part(text: str) -> str:
    return quote(text, safe="")
