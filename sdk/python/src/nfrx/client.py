"""The client's side, async: create jobs, follow them, exchange their bytes."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import anyio
import httpx

from . import transfers
from ._bodies import HELD_MAX, Body, Source
from ._http import Http, segment
from ._serve import Exchange, Received
from ._tasks import task_group
from ._watch import watch
from .errors import JobCanceled, JobFailed, NfrxError, TransferError
from .models import Event, Job
from .seals import Seal
from .transfers import Incoming, Transfers

# How long a job that nobody waits for any more may take to be told so.
FAREWELL = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A completed job with its results by key."""

    job: Job
    results: Mapping[str, Received]

    @property
    def data(self) -> bytes:
        """The bytes of the result named ``result``, the name a worker uses if it names none."""
        found = self.results.get("result")
        if found is None:
            raise TransferError(f"job {self.job.id} has no result named 'result', only {list(self.results)}")
        if found.data is None:
            raise TransferError(f"the result was written to {found.path}")
        return found.data


@dataclass(frozen=True, slots=True)
class Terms:
    """What a job asks of the server besides being done. ``None`` leaves it to the server.

    ``not_before`` and ``expires_at`` are RFC 3339 times; ``labels`` such as ``gpu=a100`` or
    ``vram>=16`` must be met by what a worker announces; ``idempotency_key`` makes creating the job
    again give the same job. With ``keep`` nobody has to watch the job and its results stay with the
    server; with ``payload_keys`` no worker gets it before these are stored.
    """

    worker_id: str | None = None
    worker_group: str | None = None
    priority: int | None = None
    not_before: str | None = None
    expires_at: str | None = None
    max_attempts: int | None = None
    retry_delay_seconds: int | None = None
    labels: Sequence[str] = ()
    tags: Sequence[str] = ()
    idempotency_key: str | None = None
    keep: bool = False
    payload_keys: Sequence[str] = ()

    def members(self) -> dict[str, Any]:
        """The members of the request that are set."""
        names = (
            "worker_id",
            "worker_group",
            "priority",
            "not_before",
            "expires_at",
            "max_attempts",
            "retry_delay_seconds",
        )
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        found |= {name: list(getattr(self, name)) for name in ("labels", "tags", "payload_keys") if getattr(self, name)}
        return found | ({"keep": True} if self.keep else {})


class AsyncClient:
    """A client of one server. Use it as ``async with AsyncClient(url, api_key=...) as client``."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = Http(base_url, api_key, transport)
        self.transfers = Transfers(self._http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def create(
        self, type: str, metadata: Mapping[str, Any] | None = None, terms: Terms = Terms()
    ) -> str:
        """Queues a job and gives its id. Somebody has to watch it, or the server cancels it."""
        body = {"type": type, "metadata": dict(metadata or {}), **terms.members()}
        # Without a key of the caller's one of our own: an answer that got lost makes no second job.
        headers = {"idempotency-key": terms.idempotency_key or str(uuid.uuid4())}
        answer = await self._http.json("POST", "/api/jobs", body, headers=headers)
        return str(answer["job_id"])

    async def get(self, job_id: str) -> Job:
        """The job as it is now."""
        return Job.from_json(await self._http.json("GET", f"/api/jobs/{segment(job_id)}"))

    async def list(
        self,
        *,
        status: str | None = None,
        type: str | None = None,
        tag: str | None = None,
        worker_id: str | None = None,
    ) -> AsyncGenerator[Job, None]:
        """Jobs that the server still knows and that fit, newest first, fetched part by part."""
        wishes = {"status": status, "type": type, "tag": tag, "worker_id": worker_id}
        query = {name: value for name, value in wishes.items() if value is not None}
        while True:
            path = "/api/jobs" + (f"?{urlencode(query)}" if query else "")
            page = await self._http.json("GET", path)
            for view in page["jobs"]:
                yield Job.from_json(view)
            if not page.get("next_cursor"):
                return
            query["cursor"] = str(page["next_cursor"])

    async def cancel(self, job_id: str) -> str:
        """Cancels a job and gives its status now, which is another one if it had ended before."""
        answer = await self._http.json("POST", f"/api/jobs/{segment(job_id)}/cancel")
        return str(answer["status"])

    async def store(
        self, job_id: str, source: Source, key: str = "payload", content_type: str | None = None
    ) -> None:
        """Stores a payload with its job. When it returns, the bytes are on the server's disk."""
        body, where = Body(source), f"/api/jobs/{segment(job_id)}/payload/{segment(key)}"
        await transfers.send(self._http, where, body.pieces(), body.length(), content_type, "PUT")

    @contextlib.asynccontextmanager
    async def stored(self, job_id: str, key: str = "result") -> AsyncIterator[Incoming]:
        """A result that stayed with the server: ``async with client.stored(id) as incoming``."""
        where = f"/api/jobs/{segment(job_id)}/result/{segment(key)}"
        async with transfers.receive(self._http, where) as incoming:
            yield incoming

    def watch(self, job_id: str) -> AsyncGenerator[Event, None]:
        """Events up to the job's end; see :class:`Event`. Survives broken connections."""
        return watch(self._http, job_id)

    async def run(
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
        """Creates a job, sends what its worker asks for, and gives the results.

        ``payload`` is one source or several by key; ``output`` a file, or files by key, that a
        result is written to instead of memory. With ``seal`` only the worker can read the payload
        and only this client the results. Raises :class:`JobFailed` or :class:`JobCanceled`. The
        job is canceled when this call is, or fails on our side.
        """
        given = payload if isinstance(payload, Mapping) else {"payload": payload}
        files = output if isinstance(output, Mapping) else {"result": output} if output else {}
        sent = {**(metadata or {}), **(seal.offer() if seal else {})}
        job_id = await self.create(type, sent, terms)
        bodies = {key: Body(source) for key, source in given.items()}
        exchange = Exchange(self._http, job_id, bodies, content_type, files, max_result_bytes, seal)
        try:
            job = await self._follow(job_id, exchange, on_status)
        except (JobFailed, JobCanceled):
            raise
        except BaseException:
            # Our own trouble, or our caller's wish to stop: nobody will take the result any more.
            await self._give_up(job_id)
            raise
        exchange.check(job)
        return Outcome(job, exchange.received)

    async def _follow(
        self, job_id: str, exchange: Exchange, on_status: Callable[[Job], None] | None
    ) -> Job:
        async with task_group() as tasks, contextlib.aclosing(watch(self._http, job_id)) as events:
            async for event in events:
                exchange.take(event, tasks)
                if event.job is None:
                    continue
                if on_status:
                    on_status(event.job)
                if event.job.status == "failed":
                    raise JobFailed(event.job)
                if event.job.status == "canceled":
                    raise JobCanceled(_why(event.job))
                if event.job.is_terminal:
                    return event.job
        raise AssertionError("a watch ends with a terminal status or raises")

    async def _give_up(self, job_id: str) -> None:
        with anyio.move_on_after(FAREWELL, shield=True), contextlib.suppress(NfrxError):
            await self.cancel(job_id)


def _why(job: Job) -> str:
    return f"job {job.id} was canceled" + (f": {job.error.message}" if job.error else "")
