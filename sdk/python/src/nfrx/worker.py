"""The worker's side, async: claim jobs, hand each to a function, say how it ended."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

import anyio
import httpx

from ._backoff import Backoff
from ._bodies import Source
from ._http import Http
from ._lease import Lease
from ._tasks import task_group
from ._workerjob import AsyncWorkerJob
from .errors import ApiError, ConnectionLost, HandlerError, JobCanceled, LeaseLost, NfrxError, SealError
from .models import Claim
from .seals import Seal, choose

log = logging.getLogger("nfrx")

# How long the server may think about a claim past the wait that it was asked for.
CLAIM_SLACK = 30.0
MESSAGE_MAX = 2000
# What giving a job back may take while the process ends.
FAREWELL = 5.0

# Gives the result's bytes, or None if it sent its results itself or has none.
Handler = Callable[[AsyncWorkerJob], Awaitable[Source | None]]


class AsyncWorker:
    """A worker of one server.

    ``slots`` jobs are done at once. ``types`` are the kinds of jobs taken, none for all;
    ``labels`` what this machine has, such as ``gpu=a100`` or ``vram=24``. A job whose client
    seals its bytes is done with one of ``seals``; with ``sealed_only`` no other is.
    """

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
        if slots < 1:
            raise ValueError(f"slots must be at least 1, not {slots}")
        if sealed_only and not seals:
            raise ValueError("sealed_only needs at least one seal")
        self._http = Http(base_url, client_key, transport)
        self._slots = slots
        self._seals = tuple(seals)
        self._sealed_only = sealed_only
        self._wait_seconds = wait_seconds
        self._lease_seconds = lease_seconds
        claim = {
            "types": list(types),
            "max_wait_seconds": wait_seconds,
            "lease_seconds": lease_seconds,
            "worker_id": worker_id,
            "worker_group": worker_group,
            "labels": list(labels),
        }
        self._claim: dict[str, Any] = {name: value for name, value in claim.items() if value not in (None, [])}
        self._draining = anyio.Event()
        self._resumed = anyio.Event()
        self._resumed.set()
        self._left: float = math.inf
        self._claiming: set[anyio.CancelScope] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    def drain(self) -> None:
        """Claims nothing more; :meth:`run` returns when what runs has ended."""
        self._draining.set()
        self._resumed.set()
        self._leave_queues()

    def pause(self) -> None:
        """Claims nothing until :meth:`resume`; what runs goes on."""
        if self._resumed.is_set() and not self._draining.is_set():
            self._resumed = anyio.Event()
            self._leave_queues()

    def resume(self) -> None:
        """Claims again."""
        self._resumed.set()

    def _leave_queues(self) -> None:
        for scope in self._claiming:
            scope.cancel()

    async def run(self, handler: Handler, *, jobs_max: int | None = None) -> None:
        """Does jobs until :meth:`drain`, or until ``jobs_max`` are done.

        When canceled, jobs in hand go back to the queue. Raises :class:`ApiError` if the server
        refuses this worker for good, as with a wrong key; anything passing is waited out.
        """
        self._left = math.inf if jobs_max is None else jobs_max
        async with task_group() as tasks:
            for _ in range(self._slots):
                tasks.start_soon(self._slot, handler)

    async def _slot(self, handler: Handler) -> None:
        backoff = Backoff()
        while True:
            await self._resumed.wait()
            if self._left < 1 or self._draining.is_set():
                return
            self._left -= 1  # Before asking, so that slots together do not claim too many.
            claim = await self._next(backoff)
            if claim is None:
                self._left += 1
            else:
                await self._do(handler, claim)

    async def _next(self, backoff: Backoff) -> Claim | None:
        """A job, or none this time."""
        claim: Claim | None = None
        with anyio.CancelScope() as scope:
            self._claiming.add(scope)
            try:
                claim = await self._ask()
                backoff.reset()
            except (ApiError, ConnectionLost) as error:
                if isinstance(error, ApiError) and error.status in (400, 401, 403):
                    raise
                pause = backoff.delay()
                log.warning("no claim, trying again in %.1f s: %s", pause, error)
                await anyio.sleep(pause)
            finally:
                self._claiming.discard(scope)
        return claim

    async def _ask(self) -> Claim | None:
        silence = self._wait_seconds + CLAIM_SLACK
        answer = await self._http.json("POST", "/api/jobs/claim", self._claim, silence=silence, again=False)
        claim = Claim.from_json(answer) if answer else None
        return claim if claim is not None and claim.job_id else None

    async def _do(self, handler: Handler, claim: Claim) -> None:
        """One job from claim to its last status. Nothing of the job's trouble is raised."""
        lease = Lease(self._http, claim)
        job = AsyncWorkerJob(self._http, claim, lease)
        try:
            async with task_group() as tasks:
                with anyio.CancelScope() as work:
                    tasks.start_soon(lease.keep, work)
                    await self._attempt(handler, claim, job, lease)
                tasks.cancel_scope.cancel()
        except anyio.get_cancelled_exc_class():
            await self._give_back(job)
            raise
        if lease.lost is not None:
            log.info("job %s: %s", job.id, lease.lost)

    async def _attempt(
        self, handler: Handler, claim: Claim, job: AsyncWorkerJob, lease: Lease
    ) -> None:
        try:
            job.seal_with(self._seal_for(claim))
            result = await handler(job)
            if result is not None:
                await job.send_result(result)
            await job.end()
        except (JobCanceled, LeaseLost):
            if lease.lost is None:  # The handler's own idea, not what the server said.
                await self._fail(job, "handler_error", "the handler gave the job up")
        except HandlerError as error:
            await self._fail(job, error.code, error.message)
        except SealError as error:
            await self._fail(job, "secure_transfer_error", str(error))
        except NfrxError as error:
            await self._fail(job, "http_error", str(error))
        except Exception as error:
            log.exception("job %s: the handler failed", job.id)
            await self._fail(job, "handler_error", f"{type(error).__name__}: {error}")

    def _seal_for(self, claim: Claim) -> Seal | None:
        seal = choose(self._seals, claim.metadata)
        if seal is None and self._sealed_only:
            raise SealError("the job is not sealed, and this worker takes sealed jobs only")
        return seal

    async def _fail(self, job: AsyncWorkerJob, code: str, message: str) -> None:
        try:
            await job.end(code, message[:MESSAGE_MAX])
        except NfrxError as error:
            log.warning("job %s: its failure could not be told: %s", job.id, error)

    async def _give_back(self, job: AsyncWorkerJob) -> None:
        with anyio.move_on_after(FAREWELL, shield=True):
            try:
                await job.release()
            except NfrxError as error:
                log.warning("job %s: could not be given back: %s", job.id, error)
