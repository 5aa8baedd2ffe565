"""A client's half of a running job: sends payloads when asked, fetches results when told."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
from anyio.abc import TaskGroup

from . import transfers
from ._bodies import HELD_MAX, Body
from ._http import Http
from .errors import ApiError, ConnectionLost, NfrxError, TooLarge, TransferError
from .models import Channel, Event, Job
from .seals import Seal

SILENT_FAILURES = (ApiError, ConnectionLost, TransferError, httpx.TransportError)


@dataclass(frozen=True, slots=True)
class Received:
    """One result: its bytes, or where they were written."""

    data: bytes | None
    path: Path | None
    content_type: str | None


class Exchange:
    """The transfers of one job. An attempt that breaks is forgotten when the worker asks again."""

    def __init__(
        self,
        http: Http,
        job_id: str,
        payloads: Mapping[str, Body],
        content_type: str | None,
        output: Mapping[str, Path],
        held_max: int = HELD_MAX,
        seal: Seal | None = None,
    ) -> None:
        self._http = http
        self._job_id = job_id
        self._payloads = payloads
        self._content_type = content_type
        self._output = output
        self._held_max = held_max
        self._seal = seal
        self.received: dict[str, Received] = {}
        # The newest failure per result, so that an incomplete job can say what happened.
        self._failures: dict[str, NfrxError | httpx.TransportError] = {}
        self._sending: list[anyio.CancelScope] = []

    def take(self, event: Event, tasks: TaskGroup) -> None:
        """Starts what an event asks for. Events go on being read meanwhile."""
        if event.job is not None and event.job.is_terminal:
            # A worker may end a job without having read its payload; nobody waits for it then.
            for scope in self._sending:
                scope.cancel()
        if event.channel is None:
            return
        if event.kind == "payload":
            tasks.start_soon(self._send, event.channel)
        elif event.kind == "result":
            tasks.start_soon(self._fetch, event.channel)

    def check(self, job: Job) -> None:
        """Raises when a result that the job announced has not arrived whole."""
        for key in job.results:
            if key not in self.received:
                reason = self._failures.get(key, "its channel was never open for us")
                raise TransferError(f"result {key!r} of job {job.id} did not arrive: {reason}")

    async def _send(self, channel: Channel) -> None:
        body = self._payloads.get(channel.key)
        if body is None:
            wanted = ", ".join(map(repr, self._payloads)) or "none"
            raise KeyError(f"the worker asks for payload {channel.key!r}; given are: {wanted}")
        pieces, length, content_type = body.pieces(), body.length(), self._content_type
        if self._seal is not None:
            pieces = self._seal.seal_payload(channel, self._job_id, content_type, pieces)
            length, content_type = None, self._seal.media_type
        with anyio.CancelScope() as scope, contextlib.suppress(*SILENT_FAILURES):
            # Failed: the worker has left or will ask again; the job's status tells which.
            self._sending.append(scope)
            await transfers.send(self._http, channel.url, pieces, length, content_type)

    async def _fetch(self, channel: Channel) -> None:
        self.received.pop(channel.key, None)
        try:
            async with transfers.receive(self._http, channel.url) as incoming:
                pieces, content_type = incoming.pieces, incoming.content_type
                if self._seal is not None:
                    opened = await self._seal.open_result(channel, self._job_id, pieces)
                    pieces, content_type = opened.pieces, opened.content_type
                self.received[channel.key] = await self._keep(channel.key, pieces, content_type)
        except TooLarge:
            raise
        except SILENT_FAILURES as error:
            self._failures[channel.key] = error

    async def _keep(self, key: str, pieces: AsyncIterator[bytes], content_type: str | None) -> Received:
        path = self._output.get(key)
        if path is not None:
            await transfers.save(pieces, path)
            return Received(None, path, content_type)
        incoming = transfers.Incoming(pieces, None, content_type)
        return Received(await incoming.read(self._held_max), None, content_type)
