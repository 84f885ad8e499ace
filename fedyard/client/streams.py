"""Calls about training over streams; the hub's other calls are the client's own (client.py)."""

from __future__ import annotations

from fedyard.client.calls import Calls, page_of
from fedyard.client.listed import Listed
from fedyard.wire import stream_answers as a
from fedyard.wire.answers import Changed, TrainingResult

SENDING_S = 30
"""How long a look at what is being sent waits for its end, at most."""


class Announced:
    """Data that were announced for deployments, of all projects that the caller may see. Raises as the client does."""

    def __init__(self, client: Calls) -> None:
        self._client = client

    def every(self, *, state: str | None = None) -> list[a.DataSource]:
        return Listed(self._client.every("/v1/data-sources", {"state": state}, a.DataSource))

    def one(self, source_id: str) -> a.DataSource:
        return self._client.read(f"/v1/data-sources/{source_id}", a.DataSource)

    def withdraw(self, source_id: str, reason: str = "", *, key: str | None = None) -> Changed:
        path = f"/v1/data-sources/{source_id}/withdraw"
        return self._client.write("POST", path, {"reason": reason}, Changed, key=key)

    def sending(self, sending_id: str, *, wait: int = 0) -> a.Sending:
        """As it is, or with `wait` (seconds, 30 at most) once it has ended."""
        query = {"wait": min(wait, SENDING_S) or None}
        return self._client.read(f"/v1/sendings/{sending_id}", a.Sending, query, wait_s=wait)

    def of(self, deployment: int) -> list[a.DataSource]:
        """Whatever names this number, in whichever state."""
        return Listed(self._client.every("/v1/data-sources", {"deployment": deployment}, a.DataSource))

    def send(self, source_id: str, deployment: int, *, key: str | None = None) -> a.Sending:
        """Announce them once more, for the deployment of this number; as that ended, or goes on after a while."""
        path = f"/v1/data-sources/{source_id}/send"
        sending = self._client.write("POST", path, {"deployment": deployment}, a.Sending, key=key)
        if sending.state != "sending":
            return sending
        return self.sending(sending.id, wait=SENDING_S)


class Results:
    """Training results, by number, of all projects that the caller may see. Raises as the client does."""

    def __init__(self, client: Calls) -> None:
        self._client = client

    def one(self, number: int) -> TrainingResult:
        return self._client.read(f"/v1/training-results/{number}", TrainingResult)

    def stop(self, number: int, reason: str = "", *, key: str | None = None) -> a.Numbered:
        return self._client.write(
            "POST", f"/v1/training-results/{number}/stop", {"reason": reason}, a.Numbered, key=key
        )

    def delete(self, number: int, *, key: str | None = None) -> a.Numbered:
        return self._client.write("DELETE", f"/v1/training-results/{number}", None, a.Numbered, key=key)


class Streams:
    """Of one project. Raises as the client does."""

    def __init__(self, client: Calls, project_id: str) -> None:
        self._client, self._path = client, f"/v1/projects/{project_id}"

    def architectures(self) -> list[a.Architecture]:
        """All of them: this list has no pages."""
        return Listed(self._client.read(f"{self._path}/architectures", page_of(a.Architecture)).items)

    def architecture(self, architecture_id: str) -> a.Architecture:
        return self._client.read(f"{self._path}/architectures/{architecture_id}", a.Architecture)

    def architecture_version(self, architecture_id: str, version: int) -> a.ArchitectureVersion:
        path = f"{self._path}/architectures/{architecture_id}/versions/{version}"
        return self._client.read(path, a.ArchitectureVersion)

    def put_architecture(
        self, fields: dict[str, object], architecture_id: str | None = None, *, key: str | None = None
    ) -> a.Numbered:
        """fields: as docs/api.md says. architecture_id: of the one that is changed, as a whole."""
        path = f"{self._path}/architectures"
        if architecture_id is None:
            return self._client.write("POST", path, fields, a.Numbered, key=key)
        return self._client.write("PUT", f"{path}/{architecture_id}", fields, a.Numbered, key=key)

    def put_model_file(
        self, architecture_id: str, version: int, artifact_id: str, *, key: str | None = None
    ) -> a.ModelFile:
        """The file that TensorFlow's trainer reads, where no job of the hub's can make it."""
        path = f"{self._path}/architectures/{architecture_id}/versions/{version}/file"
        return self._client.write("PUT", path, {"artifact_id": artifact_id}, a.ModelFile, key=key)

    def delete_architecture(self, architecture_id: str, *, key: str | None = None) -> a.Numbered:
        return self._client.write("DELETE", f"{self._path}/architectures/{architecture_id}", None, a.Numbered, key=key)

    def configurations(self) -> list[a.Configuration]:
        """All of them: this list has no pages."""
        return Listed(self._client.read(f"{self._path}/configurations", page_of(a.Configuration)).items)

    def configuration(self, configuration_id: str) -> a.Configuration:
        return self._client.read(f"{self._path}/configurations/{configuration_id}", a.Configuration)

    def put_configuration(
        self,
        name: str,
        architecture_ids: list[str],
        description: str = "",
        configuration_id: str | None = None,
        *,
        key: str | None = None,
    ) -> a.Numbered:
        """configuration_id: of the one that is changed, as a whole."""
        path = f"{self._path}/configurations"
        body: dict[str, object] = {"name": name, "architecture_ids": architecture_ids, "description": description}
        if configuration_id is None:
            return self._client.write("POST", path, body, a.Numbered, key=key)
        return self._client.write("PUT", f"{path}/{configuration_id}", body, a.Numbered, key=key)

    def delete_configuration(self, configuration_id: str, *, key: str | None = None) -> a.Numbered:
        path = f"{self._path}/configurations/{configuration_id}"
        return self._client.write("DELETE", path, None, a.Numbered, key=key)

    def inferences(self) -> list[a.Inference]:
        return Listed(self._client.every(f"{self._path}/inferences", {}, a.Inference))

    def inference(self, inference_id: str) -> a.Inference:
        return self._client.read(f"{self._path}/inferences/{inference_id}", a.Inference)

    def start_inference(
        self, result: int, asked: dict[str, object], where: str = "hub", *, key: str | None = None
    ) -> a.Numbered:
        """asked: as docs/api.md says."""
        body: dict[str, object] = {"result": result, "asked": asked, "where": where}
        return self._client.write("POST", f"{self._path}/inferences", body, a.Numbered, key=key)

    def stop_inference(self, inference_id: str, *, key: str | None = None) -> a.Numbered:
        return self._client.write("POST", f"{self._path}/inferences/{inference_id}/stop", None, a.Numbered, key=key)

    def delete_inference(self, inference_id: str, *, key: str | None = None) -> a.Numbered:
        return self._client.write("DELETE", f"{self._path}/inferences/{inference_id}", None, a.Numbered, key=key)
