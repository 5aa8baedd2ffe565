"""What the server tells about jobs and channels, as typed values.

Each value keeps the JSON object it came from in ``raw``, so that members which are younger than
this package can be read all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Json = Mapping[str, Any]

TERMINAL: Final = frozenset({"completed", "failed", "canceled"})


def _text(raw: Json, name: str) -> str | None:
    value = raw.get(name)
    return value if isinstance(value, str) and value else None


def _object(raw: Json, name: str) -> Json:
    value = raw.get(name)
    return value if isinstance(value, Mapping) else {}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a job failed or was canceled."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Channel:
    """A one-time pipe between one writer and one reader.

    ``url`` is a path below the server, ``properties`` what the asking side said about the bytes.
    ``state`` is ``open``, ``joined``, ``done``, ``expired`` or ``failed``, or ``None`` if unknown.
    """

    id: str
    url: str
    key: str
    expires_at: str | None
    properties: Json
    state: str | None
    raw: Json = field(repr=False, default_factory=dict)

    @classmethod
    def from_json(cls, raw: Json, key: str = "") -> Channel:
        """Reads a channel of an event, of a job's view, or of the answer that made it."""
        urls = (_text(raw, name) for name in ("url", "reader_url", "writer_url"))
        named = _text(raw, "channel_id")
        url = next((url for url in urls if url), None) or f"/api/transfer/{named}"
        given = raw.get("key")
        return cls(
            id=named or url.rsplit("/", 1)[-1],
            url=url,
            key=given if isinstance(given, str) else key,
            expires_at=_text(raw, "expires_at"),
            properties=_object(raw, "properties"),
            state=_text(raw, "state"),
            raw=raw,
        )


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was at one moment."""

    id: str
    type: str
    status: str
    metadata: Json
    progress: Json
    error: Problem | None
    payloads: Mapping[str, Channel]
    results: Mapping[str, Channel]
    queue_position: int | None
    claimed_worker_id: str | None
    created_at: str | None
    updated_at: str | None
    raw: Json = field(repr=False, default_factory=dict)

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in TERMINAL

    @classmethod
    def from_json(cls, raw: Json) -> Job:
        error = raw.get("error")
        position = raw.get("queue_position")
        return cls(
            id=str(raw.get("id", "")),
            type=str(raw.get("type", "")),
            status=str(raw.get("status", "")),
            metadata=_object(raw, "metadata"),
            progress=_object(raw, "progress"),
            error=Problem(str(error.get("code", "")), str(error.get("message", "")))
            if isinstance(error, Mapping)
            else None,
            payloads=_channels(raw, "payloads"),
            results=_channels(raw, "results"),
            queue_position=position if isinstance(position, int) else None,
            claimed_worker_id=_text(raw, "claimed_worker_id"),
            created_at=_text(raw, "created_at"),
            updated_at=_text(raw, "updated_at"),
            raw=raw,
        )


def _channels(raw: Json, name: str) -> Mapping[str, Channel]:
    found = _object(raw, name)
    return {key: Channel.from_json(item, key) for key, item in found.items() if isinstance(item, Mapping)}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a watched job.

    ``status`` events carry ``job``; ``payload`` (send bytes now) and ``result`` (fetch bytes now)
    carry ``channel``.
    """

    kind: Literal["status", "payload", "result"]
    job: Job | None = None
    channel: Channel | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A job handed to a worker. Without a ``token`` the server knows no leases."""

    job_id: str
    type: str
    metadata: Json
    attempt: int
    lease_seconds: float | None
    token: str | None = field(repr=False)
    raw: Json = field(repr=False, default_factory=dict)

    @classmethod
    def from_json(cls, raw: Json) -> Claim:
        lease, attempt = raw.get("lease_seconds"), raw.get("attempt")
        return cls(
            job_id=str(raw.get("job_id") or raw.get("id") or ""),
            type=str(raw.get("type", "")),
            metadata=_object(raw, "metadata"),
            attempt=attempt if isinstance(attempt, int) else 1,
            lease_seconds=float(lease) if isinstance(lease, (int, float)) and lease > 0 else None,
            token=_text(raw, "claim_token"),
            raw=raw,
        )
