"""The same for programs without an event loop: one runs in a thread behind each client and worker.

Nothing is decided here. Handlers run in threads of their own, so they may block.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import anyio.to_thread
import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from . import transfers
from ._bodies import HELD_MAX, Source
from ._workerjob import AsyncWorkerJob
from .client import FAREWELL, AsyncClient, Outcome, Terms
from .models import Channel, Event, Job, Json
from .seals import Seal
from .worker import AsyncWorker

T = TypeVar("T")


class Incoming:
    """Bytes on their way in; loop over it, or take them whole. See :class:`transfers.Incoming`."""

    def __init__(self, portal: BlockingPortal, inner: transfers.Incoming) -> None:
        self._portal = portal
        self._inner = inner
        self.length = inner.length
        self.content_type = inner.content_type

    def __iter__(self) -> Iterator[bytes]:
        while (piece := self._portal.call(anext, self._inner.pieces, None)) is not None:
            yield piece

    def read(self, max_bytes: int = HELD_MAX) -> bytes:
        """All bytes. Raises ``TooLarge`` past ``max_bytes``."""
        return self._portal.call(self._inner.read, max_bytes)

    def save(self, path: Path) -> int:
        """Writes all bytes to ``path``, which appears whole or not at all. Gives their number."""
        return self._portal.call(self._inner.save, path)


class Transfers:
    """Transfers with one server; part of a client."""

    def __init__(self, portal: BlockingPortal, inner: transfers.Transfers) -> None:
        self._portal = portal
        self._inner = inner

    def create(self) -> Channel:
        """A new channel; pass its ``id`` to the other side."""
        return self._portal.call(self._inner.create)

    def send(self, channel: Channel | str, source: Source, content_type: str | None = None) -> None:
        """Writes all of ``source``; waits for the reader, who must be somebody else."""
        _wait(self._portal, self._inner.send, channel, source, content_type)

    @contextlib.contextmanager
    def receive(self, channel: Channel | str) -> Iterator[Incoming]:
        """Joins as reader: ``with client.transfers.receive(id) as incoming``."""
        with self._portal.wrap_async_context_manager(self._inner.receive(channel)) as incoming:
            yield Incoming(self._portal, incoming)


class Client:
    """A client of one server. Use it as ``with Client(url, api_key=...) as client``."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._inner = AsyncClient(base_url, api_key, transport=transport)
        self._stack = contextlib.ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal())
        self.transfers = Transfers(self._portal, self._inner.transfers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections and ends the thread."""
        with self._stack:
            self._portal.call(self._inner.aclose)

    def create(self, type: str, metadata: Mapping[str, Any] | None = None, terms: Terms = Terms()) -> str:
        """Queues a job and gives its id. Somebody has to watch it, or the server cancels it."""
        job_id: str = self._portal.call(self._inner.create, type, metadata, terms)
        return job_id

    def get(self, job_id: str) -> Job:
        """The job as it is now."""
        return self._portal.call(self._inner.get, job_id)

    def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,
        tag: str | None = None,
        worker_id: str | None = None,
    ) -> Iterator[Job]:
        """Jobs that the server still knows and that fit, newest first, fetched part by part."""
        jobs = self._inner.list(status=status, type=type, tag=tag, worker_id=worker_id)
        while (job := _wait(self._portal, anext, jobs, None)) is not None:
            yield job

    def cancel(self, job_id: str) -> str:
        """Cancels a job and gives its status now, which is another one if it had ended before."""
        return self._portal.call(self._inner.cancel, job_id)

    def store(
        self, job_id: str, source: Source, key: str = "payload", content_type: str | None = None
    ) -> None:
        """Stores a payload with its job. When it returns, the bytes are on the server's disk."""
        _wait(self._portal, self._inner.store, job_id, source, key, content_type)

    @contextlib.contextmanager
    def stored(self, job_id: str, key: str = "result") -> Iterator[Incoming]:
        """A result that stayed with the server: ``with client.stored(id) as incoming``."""
        with self._portal.wrap_async_context_manager(self._inner.stored(job_id, key)) as incoming:
            yield Incoming(self._portal, incoming)

    def watch(self, job_id: str) -> Iterator[Event]:
        """Events up to the job's end; see :class:`Event`. Survives broken connections."""
        events = self._inner.watch(job_id)
        while (event := _wait(self._portal, anext, events, None)) is not None:
            yield event

    def run(
        self,
        type: str,
        payload: Source | Mapping[str, Source] = b"",
        *,
        metadata: Mapping[str, Any] | None = None,
        terms: Terms = Terms(),
        content_type: str | None = None,
        output: Path | Mapping[str, Path] | None = None,
        max_result_bytes: int = HELD_MAX,
        seal: Seal | None = None,
        on_status: Callable[[Job], None] | None = None,
    ) -> Outcome:
        """See :meth:`AsyncClient.run`. ``on_status`` is called in another thread and must not block."""

        async def run() -> Outcome:
            return await self._inner.run(
                type,
                payload,
                metadata=metadata,
                terms=terms,
                content_type=content_type,
                output=output,
                max_result_bytes=max_result_bytes,
                seal=seal,
                on_status=on_status,
            )

        return _wait(self._portal, run)


class WorkerJob:
    """One job in a handler's hands; see :class:`AsyncWorkerJob`."""

    def __init__(self, portal: BlockingPortal, inner: AsyncWorkerJob) -> None:
        self._portal = portal
        self._inner = inner
        self.id: str = inner.id
        self.type: str = inner.type
        self.metadata: Json = inner.metadata
        self.attempt: int = inner.attempt
        self.is_sealed: bool = inner.is_sealed

    def check(self) -> None:
        """Raises if the job was canceled or the claim is lost. Call it in long loops."""
        self._inner.check()

    def progress(self, **members: Any) -> None:
        """Says how far the job is; replaces what was said before."""

        async def progress() -> None:
            await self._inner.progress(**members)

        self._portal.call(progress)

    def payload(self, key: str = "payload", max_bytes: int = HELD_MAX) -> bytes:
        """The whole payload."""
        return self._portal.call(self._inner.payload, key, max_bytes)

    @contextlib.contextmanager
    def open_payload(self, key: str = "payload") -> Iterator[Incoming]:
        """The payload as it comes, for what does not fit into memory."""
        with self._portal.wrap_async_context_manager(self._inner.open_payload(key)) as incoming:
            yield Incoming(self._portal, incoming)

    def send_result(self, source: Source, key: str = "result", content_type: str | None = None) -> None:
        """Sends a result, in pieces as ``source`` gives them. Several results need a key each."""
        self._portal.call(self._inner.send_result, source, key, content_type)


class Worker:
    """A worker of one server; the options are those of :class:`AsyncWorker`."""

    def __init__(
        self,
        base_url: str,
        client_key: str | None = None,
        *,
        types: Sequence[str] = (),
        slots: int = 1,
        worker_id: str | None = None,
        worker_group: str | None = None,
        labels: Sequence[str] = (),
        lease_seconds: int = 60,
        wait_seconds: int = 30,
        seals: Sequence[Seal] = (),
        sealed_only: bool = False,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._inner = AsyncWorker(
            base_url,
            client_key,
            types=types,
            slots=slots,
            worker_id=worker_id,
            worker_group=worker_group,
            labels=labels,
            lease_seconds=lease_seconds,
            wait_seconds=wait_seconds,
            seals=seals,
            sealed_only=sealed_only,
            transport=transport,
        )
        self._threads = slots
        self._stack = contextlib.ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._stack:
            self._portal.call(self._inner.__aexit__)

    def drain(self) -> None:
        """Claims nothing more; :meth:`run` returns when what runs has ended. Fit for a signal handler."""
        self._portal.start_task_soon(self._inner.drain)

    def pause(self) -> None:
        """Claims nothing until :meth:`resume`; what runs goes on."""
        self._portal.start_task_soon(self._inner.pause)

    def resume(self) -> None:
        """Claims again."""
        self._portal.start_task_soon(self._inner.resume)

    def run(self, handler: Callable[[WorkerJob], Source | None], *, jobs_max: int | None = None) -> None:
        """Does jobs, each in a thread, until :meth:`drain` or until ``jobs_max`` are done.

        ``handler`` gives the result's bytes, or ``None`` if it sent its results itself. It hears
        of a cancel from the next call about its job.
        """
        limiter = anyio.CapacityLimiter(self._threads)

        async def in_thread(job: AsyncWorkerJob) -> Source | None:
            return await anyio.to_thread.run_sync(handler, WorkerJob(self._portal, job), limiter=limiter)

        async def run() -> None:
            await self._inner.run(in_thread, jobs_max=jobs_max)

        _wait(self._portal, run)


def _wait(portal: BlockingPortal, call: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Waits for ``call`` in the loop's thread. Ctrl-C here cancels it there, and waits for its end."""
    ended = threading.Event()

    async def run() -> T:
        try:
            return await call(*args)
        finally:
            ended.set()

    future = portal.start_task_soon(run)
    try:
        return future.result()
    except BaseException:
        if future.cancel():
            ended.wait(2 * FAREWELL)
        raise
