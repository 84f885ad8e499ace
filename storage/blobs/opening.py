"""The blob store that the settings name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from config.clock import Clock
from config.settings import SettingsError, url_path
from storage.blobs.folder import FolderBlobs
from storage.blobs.port import Blobs


def open_blobs(url: str, clock: Clock) -> Blobs:
    """The store that FEDYARD_ARTIFACTS_URL names. Raises `SettingsError`."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FolderBlobs(Path(url_path(url)))
    if parts.scheme == "s3" and parts.hostname:
        from storage.blobs.s3 import S3Blobs  # noqa: PLC0415 - boto3 is large, and loaded only where it is used

        options = _options(parts.query)
        return S3Blobs(
            parts.netloc,
            parts.path.strip("/"),
            clock=clock,
            endpoint=options.get("endpoint"),
            region=options.get("region", "us-east-1"),
            presign=options.get("presign") == "1",
        )
    raise SettingsError(
        f"FEDYARD_ARTIFACTS_URL starts with {parts.scheme!r}; it must be file:////path or s3://bucket/prefix"
    )


def _options(query: str) -> Mapping[str, str]:
    found = parse_qs(query, keep_blank_values=True)
    unknown = set(found) - {"endpoint", "region", "presign"}
    if unknown or any(len(values) > 1 for values in found.values()):
        raise SettingsError("FEDYARD_ARTIFACTS_URL: after ? may stand endpoint=, region= and presign=1, each once")
    return {name: values[0] for name, values in found.items()}
