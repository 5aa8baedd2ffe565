"""Where bytes come from: memory, a file, or an iterator, always in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from pathlib import Path

import anyio
import anyio.to_thread

PIECE = 64 * 1024
# What `bytes` answers hold at most unless the caller says otherwise.
HELD_MAX = 64 * 1024 * 1024

Pieces = Iterable[bytes] | AsyncIterable[bytes]
# A function is asked again when the bytes are needed again, as after a worker's death. An iterator
# given as it is can be read once only.
Source = bytes | bytearray | memoryview | str | Path | Pieces | Callable[[], Pieces]


class Body:
    """A source that knows its length, if any, and whether it can be read again."""

    def __init__(self, source: Source) -> None:
        if isinstance(source, str):
            source = source.encode()
        if isinstance(source, (bytearray, memoryview)):
            source = bytes(source)
        self._source = source
        self._spent = False

    @property
    def is_repeatable(self) -> bool:
        """Whether the bytes can be read from the start again."""
        return isinstance(self._source, (bytes, Path)) or callable(self._source)

    def length(self) -> int | None:
        """Bytes, where they are known before reading."""
        if isinstance(self._source, bytes):
            return len(self._source)
        if isinstance(self._source, Path):
            return self._source.stat().st_size
        return None

    def pieces(self) -> AsyncIterator[bytes]:
        """The bytes from the start. Raises ``ValueError`` for an iterator that was read before."""
        source = self._source
        if isinstance(source, bytes):
            return _from_memory(source)
        if isinstance(source, Path):
            return _from_file(source)
        if callable(source):
            return _from_pieces(source())
        if self._spent:
            raise ValueError("an iterator can't be sent twice: give a function that makes one, or a Path")
        self._spent = True
        return _from_pieces(source)


async def _from_memory(data: bytes) -> AsyncIterator[bytes]:
    view = memoryview(data)
    for at in range(0, len(view), PIECE):
        yield bytes(view[at : at + PIECE])


async def _from_file(path: Path) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        while piece := await file.read(PIECE):
            yield piece


async def _from_pieces(pieces: Pieces) -> AsyncIterator[bytes]:
    if isinstance(pieces, AsyncIterable):
        async for piece in pieces:
            yield piece
        return
    # A plain iterator may block, on a disk or a child process, so it runs beside the event loop.
    iterator = iter(pieces)

    def next_piece() -> bytes | None:
        return next(iterator, None)

    while (found := await anyio.to_thread.run_sync(next_piece)) is not None:
        yield found
