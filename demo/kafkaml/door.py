"""The door of the hub, as Kafka-ML's programs use it: the model from RESULT_URL, metrics and the result to it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.fields import RequestField

TRIES, BETWEEN_S = 10, 5.0
WITHIN_S = 60.0
TAKEN = 200
"""Nothing else is a success, not even 202."""


class DoorError(Exception):
    """The hub was asked in vain, as often as these programs ask."""


class Door:
    """url: RESULT_URL. between_s: seconds from one try to the next."""

    def __init__(self, url: str, between_s: float = BETWEEN_S) -> None:
        self._url = url
        self._between_s = between_s
        self._pool = urllib3.PoolManager(retries=False, timeout=WITHIN_S)

    def model(self) -> bytes:
        """The model before its training: of TensorFlow a file, of PyTorch its source."""
        return self._tried("GET", self._url)

    def metrics(self, training: Mapping[str, object], validation: Mapping[str, object]) -> None:
        """How it goes so far; form-urlencoded, to the URL with every `results` in it replaced."""
        content = {"data": json.dumps({"train_metrics": training, "val_metrics": validation})}
        body = urlencode(content).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        self._tried("POST", self._url.replace("results", "results_metrics"), body, kind)

    def result(self, results: Mapping[str, Any], model: bytes, name: str, matrix: bytes | None = None) -> None:
        """multipart: `data` without a content type, the model's file, the picture of the matrix if one was made."""
        fields = [RequestField("data", json.dumps(results)), RequestField("trained_model", model, filename=name)]
        if matrix is not None:
            fields.append(RequestField("confussion_matrix", matrix, filename="confusion_matrix.png"))
        for one in fields:
            one.make_multipart()
        body, kind = urllib3.encode_multipart_formdata(fields)
        self._tried("POST", self._url, body, {"Content-Type": kind})

    def _tried(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> bytes:
        said = ""
        for number in range(TRIES):
            if number:
                time.sleep(self._between_s)
            try:
                answer = self._pool.request(method, url, body=body, headers=headers)
            except HTTPError as error:
                said = type(error).__name__
                continue
            if answer.status == TAKEN:
                return answer.data
            said = f"it answers {answer.status}"
        raise DoorError(f"{method} was tried {TRIES} times: {said}")
