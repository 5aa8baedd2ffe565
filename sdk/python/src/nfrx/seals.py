"""What a sealing scheme does for the two ends of a job; see :mod:`nfrx.sealed` for the schemes.

This module has only the shape, so that the rest of the package needs no cryptography.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .errors import SealError
from .models import Channel, Json


@dataclass(frozen=True, slots=True)
class Opened:
    """Plain bytes out of sealed ones. Each piece is genuine; the loop's end says that none is missing."""

    pieces: AsyncIterator[bytes]
    content_type: str | None


class Seal(Protocol):
    """One scheme with this end's keys. All methods raise :class:`SealError` on a mismatch."""

    scheme: str
    # The content type that sealed bytes travel under.
    media_type: str

    def offer(self) -> Mapping[str, Any]:
        """Client: the members of a job's metadata that say how it wants to be answered."""

    def seal_payload(
        self, channel: Channel, job_id: str, content_type: str | None, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Client: bytes that only the worker can open who asked for the channel."""

    async def open_result(self, channel: Channel, job_id: str, pieces: AsyncIterator[bytes]) -> Opened:
        """Client: what the worker sealed for us."""

    def payload_properties(self, metadata: Json) -> Mapping[str, Any]:
        """Worker: what to say when asking for a payload."""

    async def open_payload(self, metadata: Json, job_id: str, key: str, pieces: AsyncIterator[bytes]) -> Opened:
        """Worker: what the client sealed for us."""

    def result_properties(self, metadata: Json) -> Mapping[str, Any]:
        """Worker: what to say when asking where a result goes."""

    def seal_result(
        self, metadata: Json, job_id: str, key: str, content_type: str | None, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Worker: bytes that only the job's client can open."""


def wanted(metadata: Json) -> Json | None:
    """What a job's client says about sealing, ``None`` for a plain job."""
    found = metadata.get("secure_transfer")
    return found if isinstance(found, Mapping) else None


def choose(seals: tuple[Seal, ...], metadata: Json) -> Seal | None:
    """The first of ``seals`` that the job's client takes; ``None`` if the job is not sealed."""
    asked = wanted(metadata)
    if asked is None:
        return None
    offered = asked.get("supported_schemes")
    offered = offered if isinstance(offered, list) else []
    for seal in seals:
        if seal.scheme in offered:
            return seal
    ours = ", ".join(seal.scheme for seal in seals) or "none"
    raise SealError(f"the job is sealed with {', '.join(map(str, offered))}; this worker has: {ours}")
