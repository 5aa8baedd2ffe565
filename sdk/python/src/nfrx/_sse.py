"""Server-sent events, read from lines; no I/O here."""

from __future__ import annotations

from dataclasses import dataclass

# A job's view with 1 MiB of metadata, escaped, and room to spare.
LINE_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Frame:
    """One event. ``id`` is what to ask for when the connection has to be made again."""

    event: str
    data: str
    id: str | None


class Frames:
    """Feed bytes as they come, get whole frames; comments and unknown fields are passed over."""

    def __init__(self) -> None:
        self._rest = b""
        self._event = ""
        self._data: list[str] = []
        self._size = 0
        self._id: str | None = None

    def feed(self, chunk: bytes) -> list[Frame]:
        """The frames that ``chunk`` completes. Raises ``ValueError`` on an endless frame."""
        # A CR at the very end may be half of a CRLF; it waits with the rest.
        lines = (self._rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) + self._size > LINE_MAX:
            raise ValueError("an event of the server has no end")
        frames = (self._line(line.decode("utf-8", "replace").rstrip("\r")) for line in lines)
        return [frame for frame in frames if frame is not None]

    def _line(self, line: str) -> Frame | None:
        if not line:
            return self._end()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
            self._size += len(value)
            if self._size > LINE_MAX:
                raise ValueError("an event of the server has no end")
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _end(self) -> Frame | None:
        event, data = self._event or "message", self._data
        self._event, self._data, self._size = "", [], 0
        return Frame(event, "\n".join(data), self._id) if data else None
