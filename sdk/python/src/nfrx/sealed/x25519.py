"""The scheme ``x25519-aesgcm-v1`` for the two ends of a job."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, TypeAlias

from ..errors import SealError
from ..models import Channel, Json
from ..seals import Opened, wanted
from .keys import Identity, decode
from .stream import SCHEME, Context, Opener, Sealer

# A content type in front of the bytes, its length in two of them.
TYPE_PREFIX = 2
TYPE_MAX = 255

# Gives a sender's public key back, or raises.
Judge: TypeAlias = Callable[[bytes], bytes]


class X25519Seal:
    """Seals with ``identity`` and, if ``peers`` is given, trusts those public keys only.

    Without ``peers`` the bytes are safe from who looks on, but not from a server that puts a key of
    its own in the place of the other end's.
    """

    scheme = SCHEME
    media_type = "application/vnd.nfrx.sealed"

    def __init__(self, identity: Identity | None = None, peers: Iterable[str] | None = None) -> None:
        self.identity = identity or Identity.generate()
        self._peers = None if peers is None else frozenset(decode(peer) for peer in peers)

    def offer(self) -> Mapping[str, Any]:
        asked = {"supported_schemes": [SCHEME], "recipient_key": self.identity.public_key}
        return {"secure_transfer": asked}

    def seal_payload(
        self, channel: Channel, job_id: str, content_type: str | None, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        _agree(channel.properties)
        recipient = self._trusted(decode(channel.properties.get("recipient_key")))
        context = Context(job_id, "payload", channel.key)
        return _seal(Sealer(self.identity, recipient, context), content_type, pieces)

    async def open_result(self, channel: Channel, job_id: str, pieces: AsyncIterator[bytes]) -> Opened:
        _agree(channel.properties)
        opener = Opener(self.identity, Context(job_id, "result", channel.key))
        return await _open(opener, pieces, self._trusted)

    def payload_properties(self, metadata: Json) -> Mapping[str, Any]:
        self._client(metadata)
        return {"encryption_scheme": SCHEME, "recipient_key": self.identity.public_key}

    async def open_payload(self, metadata: Json, job_id: str, key: str, pieces: AsyncIterator[bytes]) -> Opened:
        client = self._client(metadata)

        def from_client(sender: bytes) -> bytes:
            if sender != client:
                raise SealError("the payload does not come from the job's client")
            return sender

        return await _open(Opener(self.identity, Context(job_id, "payload", key)), pieces, from_client)

    def result_properties(self, metadata: Json) -> Mapping[str, Any]:
        self._client(metadata)
        return {"encryption_scheme": SCHEME}

    def seal_result(
        self, metadata: Json, job_id: str, key: str, content_type: str | None, pieces: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        sealer = Sealer(self.identity, self._client(metadata), Context(job_id, "result", key))
        return _seal(sealer, content_type, pieces)

    def _client(self, metadata: Json) -> bytes:
        return self._trusted(decode((wanted(metadata) or {}).get("recipient_key")))

    def _trusted(self, key: bytes) -> bytes:
        if self._peers is not None and key not in self._peers:
            raise SealError("the other end's key is not one of the pinned keys")
        return key


def _agree(properties: Json) -> None:
    """Never falls back to plain bytes: who can alter properties would ask for just that."""
    if properties.get("encryption_scheme") != SCHEME:
        raise SealError(f"the worker does not seal with {SCHEME}")


async def _seal(
    sealer: Sealer, content_type: str | None, pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    name = (content_type or "").encode()
    if len(name) > TYPE_MAX:
        raise ValueError(f"a content type has at most {TYPE_MAX} bytes")
    yield sealer.update(len(name).to_bytes(TYPE_PREFIX, "big") + name)
    async for piece in pieces:
        if sealed := sealer.update(piece):
            yield sealed
    yield sealer.finish()


async def _open(opener: Opener, pieces: AsyncIterator[bytes], judge: Judge) -> Opened:
    """Reads up to the content type, which is where the sender can be judged."""
    plain = _plain(opener, pieces, judge)
    start = bytearray()
    async for piece in plain:
        start += piece
        end = TYPE_PREFIX + int.from_bytes(start[:TYPE_PREFIX], "big")
        if len(start) >= TYPE_PREFIX and len(start) >= min(end, TYPE_PREFIX + TYPE_MAX):
            break
    if len(start) < TYPE_PREFIX or len(start) < end or end > TYPE_PREFIX + TYPE_MAX:
        raise SealError("the sealed bytes have no content type")
    name = bytes(start[TYPE_PREFIX:end]).decode("utf-8", "replace") or None
    return Opened(_after(bytes(start[end:]), plain), name)


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in rest:
        yield piece


async def _plain(opener: Opener, pieces: AsyncIterator[bytes], judge: Judge) -> AsyncIterator[bytes]:
    judged = False
    async for piece in pieces:
        plain = opener.update(piece)
        if opener.sender is not None and not judged:
            judge(opener.sender)
            judged = True
        if plain:
            yield plain
    yield opener.finish()
