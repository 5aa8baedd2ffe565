"""Transfers: bytes from one writer to one reader, through the server and never stored there.

A channel lives for a minute until both sides are there, and is used once. Both sides must run at
the same time: a writer waits for its reader.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx

from ._bodies import HELD_MAX, Body, Source
from ._http import Http
from .errors import ApiError, ConnectionLost, TooLarge, TransferError
from .models import Channel

# Once joined, this long without a byte. The server's own limit is five minutes by default.
IDLE_MAX = 330.0


@dataclass(frozen=True, slots=True)
class Incoming:
    """Bytes on their way in. The loop over it ends when all have come, or raises ``TransferError``."""

    pieces: AsyncIterator[bytes]
    length: int | None
    # What the writer called its bytes. It is a stranger's word: don't render by it.
    content_type: str | None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.pieces

    async def read(self, max_bytes: int = HELD_MAX) -> bytes:
        """All bytes. Raises ``TooLarge`` past ``max_bytes``."""
        held = bytearray()
        async for piece in self.pieces:
            held += piece
            if len(held) > max_bytes:
                raise TooLarge(f"more than {max_bytes} bytes: take them as a stream or into a file")
        return bytes(held)

    async def save(self, path: Path) -> int:
        """Writes all bytes to ``path``, which appears whole or not at all. Gives their number."""
        return await save(self.pieces, path)


class Transfers:
    """Transfers with one server; part of a client."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def create(self) -> Channel:
        """A new channel; pass its ``id`` to the other side."""
        return Channel.from_json(await self._http.json("POST", "/api/transfer"))

    async def send(self, channel: Channel | str, source: Source, content_type: str | None = None) -> None:
        """Writes all of ``source``. When it returns, the bytes were passed on to the reader.

        Raises ``TransferError`` if the reader has left, ``ApiError`` if the channel is gone.
        """
        body = Body(source)
        await send(self._http, place(channel), body.pieces(), body.length(), content_type)

    @contextlib.asynccontextmanager
    async def receive(self, channel: Channel | str) -> AsyncIterator[Incoming]:
        """Joins as reader: ``async with client.transfers.receive(id) as incoming``."""
        async with receive(self._http, place(channel)) as incoming:
            yield incoming


def place(channel: Channel | str) -> str:
    """Where a channel is: its address, its path or its id, whichever is known."""
    return channel.url if isinstance(channel, Channel) else channel


async def send(
    http: Http,
    where: str,
    pieces: AsyncIterator[bytes],
    length: int | None,
    content_type: str | None,
    method: str = "POST",
) -> None:
    """Writes into a channel. With a ``length`` the reader can see that nothing is missing."""
    headers = {"content-type": content_type or "application/octet-stream"}
    if length is not None:
        headers["content-length"] = str(length)
    try:
        async with http.stream(method, where, pieces, headers=headers, silence=IDLE_MAX) as response:
            await response.aread()
    except ApiError as error:
        if error.code == "transfer_failed":
            raise TransferError("the reader left before it had everything") from error
        raise
    except httpx.ConnectError as error:
        raise ConnectionLost(f"transfer: {error}") from error
    # h11 and h2 speak up when a source gives other bytes than it announced.
    except (httpx.TransportError, httpx.StreamError) as error:
        raise TransferError(f"the bytes could not be sent: {error or type(error).__name__}") from error


@contextlib.asynccontextmanager
async def receive(http: Http, where: str) -> AsyncIterator[Incoming]:
    """Reads from a channel. A connection that breaks is a ``TransferError`` in the reader's loop."""
    # Compressed on the way would change what a length means.
    headers = {"accept-encoding": "identity"}
    call = http.stream("GET", where, headers=headers, silence=IDLE_MAX)
    try:
        response = await call.__aenter__()
    except httpx.TransportError as error:
        raise ConnectionLost(f"transfer: {error or type(error).__name__}") from error
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_exit(call.__aexit__)
        announced = response.headers.get("content-length", "")
        yield Incoming(
            pieces=_whole(response),
            length=int(announced) if announced.isdecimal() else None,
            content_type=response.headers.get("x-transfer-content-type"),
        )


async def _whole(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in response.aiter_raw():
            yield piece
    except httpx.TransportError as error:
        raise TransferError(f"the writer left before it sent everything: {error}") from error


async def save(pieces: AsyncIterator[bytes], path: Path) -> int:
    """Writes to a file beside ``path`` first, so that half a body never has its name."""
    part = path.with_name(f".{path.name}.part")
    written = 0
    try:
        async with await anyio.open_file(part, "wb") as file:
            async for piece in pieces:
                written += await file.write(piece)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return written
