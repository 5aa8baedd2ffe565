"""A relay in memory: jobs and transfers as the server does them, with faults on demand."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

Answer = Callable[[httpx.Request], httpx.Response]
TERMINAL = {"completed", "failed", "canceled"}


@dataclass
class Stored:
    """A job with the events that were sent about it."""

    view: dict[str, Any]
    lease_seconds: float
    token: str = ""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@dataclass
class Pipe:
    """A channel: the writer's bytes, and whether its reader took them."""

    data: bytes | None = None
    content_type: str | None = None
    cut: bool = False
    taken: bool = False
    job: Stored | None = None

    @property
    def is_closed(self) -> bool:
        """A job takes its channels along when it ends."""
        return self.job is not None and self.job.view["status"] in TERMINAL


class Relay(httpx.AsyncBaseTransport):
    """Give it to a client or worker as its ``transport``."""

    def __init__(self) -> None:
        self.jobs: dict[str, Stored] = {}
        self.pipes: dict[str, Pipe] = {}
        self.requests: list[httpx.Request] = []
        self.keys: dict[str, str] = {}
        self.lease_seconds = 60.0
        self.knows_leases = True
        self.events_per_connection = 1000
        self.faults: list[tuple[str, Exception | Answer]] = []
        self._numbers = itertools.count(1)
        self._changed = anyio.Event()

    def fault(self, pattern: str, what: Exception | Answer, times: int = 1) -> None:
        """The next ``times`` calls whose ``METHOD path`` matches go wrong."""
        self.faults += [(pattern, what)] * times

    def calls(self, pattern: str) -> list[httpx.Request]:
        return [request for request in self.requests if re.search(pattern, line(request))]

    async def until(self, met: Callable[[], Any]) -> None:
        """Waits for a state; a test that gets nowhere is stopped."""
        with anyio.fail_after(20):
            while not met():
                await self._changed.wait()

    def change(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        self.change()
        for index, (pattern, what) in enumerate(self.faults):
            if re.search(pattern, line(request)):
                del self.faults[index]
                if isinstance(what, Exception):
                    raise what
                return what(request)
        return await self._route(request)

    async def _route(self, request: httpx.Request) -> httpx.Response:
        method, parts = request.method, request.url.path.strip("/").split("/")
        body = json.loads(request.content) if is_json(request) else {}
        match [method, *parts]:
            case ["POST", "api", "jobs"]:
                return self._create(request, body)
            case ["GET", "api", "jobs"]:
                return self._list(request)
            case ["POST", "api", "jobs", "claim"]:
                return await self._claim(body)
            case ["POST", "api", "transfer"]:
                return answer({"channel_id": self._pipe(), "expires_at": "2030-01-01T00:00:00Z"})
            case ["GET", "api", "transfer", name]:
                return await self._read(name)
            case ["POST", "api", "transfer", name]:
                return await self._write(name, request)
        job = self.jobs.get(parts[2]) if len(parts) > 2 else None
        if job is None:
            return refused(404, "not_found")
        match [method, *parts[3:]]:
            case ["GET"]:
                return answer(job.view)
            case ["GET", "events"]:
                return self._events(job, request)
            case ["POST", "cancel"]:
                self.cancel(job.view["id"])
                return answer({"status": job.view["status"]})
            case ["POST", what] if what in ("payload", "result", "status", "lease"):
                return self._worker(job, what, body)
        return refused(404, "not_found")

    def _create(self, request: httpx.Request, body: dict[str, Any]) -> httpx.Response:
        key = request.headers["idempotency-key"]
        if key not in self.keys:
            name = f"job-{next(self._numbers)}"
            self.keys[key] = name
            view = {"id": name, "type": body["type"], "status": "queued", "metadata": body["metadata"]}
            self.jobs[name] = Stored(view, self.lease_seconds)
            self._publish(self.jobs[name])
        return answer({"job_id": self.keys[key], "status": "queued"})

    def _list(self, request: httpx.Request) -> httpx.Response:
        """Two jobs a part; a cursor is the number of those that came before."""
        query = request.url.params
        wanted = [job.view for job in self.jobs.values() if query.get("type") in (None, job.view["type"])]
        start = int(query.get("cursor", 0))
        more = {"next_cursor": str(start + 2)} if len(wanted) > start + 2 else {}
        return answer({"jobs": wanted[::-1][start : start + 2], **more})

    async def _claim(self, body: dict[str, Any]) -> httpx.Response:
        def queued() -> list[Stored]:
            types = body.get("types") or []
            found = (job for job in self.jobs.values() if job.view["status"] == "queued")
            return [job for job in found if not types or job.view["type"] in types]

        while not queued():
            await self._changed.wait()
        job = queued()[0]
        job.view["status"] = "claimed"
        job.view["attempt"] = job.view.get("attempt", 0) + 1
        job.token = f"token-{next(self._numbers)}"
        self._publish(job)
        claim = {"job_id": job.view["id"], "type": job.view["type"], "metadata": job.view["metadata"]}
        if self.knows_leases:
            claim |= {"claim_token": job.token, "lease_seconds": job.lease_seconds}
            claim |= {"attempt": job.view["attempt"]}
        return answer(claim)

    def _worker(self, job: Stored, what: str, body: dict[str, Any]) -> httpx.Response:
        stranger = self.knows_leases and body.get("claim_token") != job.token
        if stranger or job.view["status"] in TERMINAL:
            return refused(409, "invalid_state")
        if what == "lease":
            return answer({"status": job.view["status"], "lease_seconds": job.lease_seconds})
        if what == "status":
            job.view["status"] = body["state"]
            job.view |= {name: body[name] for name in ("progress", "error") if name in body}
            self._publish(job)
            return answer({"status": body["state"]})
        name, key = self._pipe(job), body.get("key", what)
        channel = {"channel_id": name, "url": f"/api/transfer/{name}", "key": key}
        if "properties" in body:
            channel["properties"] = body["properties"]
        job.view.setdefault(f"{what}s", {})[key] = channel
        job.events.append((what, channel))
        job.view["status"] = f"awaiting_{what}"
        self._publish(job)
        url = "reader_url" if what == "payload" else "writer_url"
        return answer({"channel_id": name, "key": key, url: f"/api/transfer/{name}"})

    def cancel(self, name: str) -> None:
        job = self.jobs[name]
        if job.view["status"] not in TERMINAL:
            job.view["status"] = "canceled"
            self._publish(job)

    def steal(self, name: str) -> None:
        """As after a lease that ran out: the job waits for somebody else."""
        job = self.jobs[name]
        job.token, job.view["status"] = "", "queued"
        self._publish(job)

    def _publish(self, job: Stored) -> None:
        job.events.append(("status", json.loads(json.dumps(job.view))))
        self.change()

    def _events(self, job: Stored, request: httpx.Request) -> httpx.Response:
        start = int(request.headers.get("last-event-id", "-1")) + 1

        async def frames() -> AsyncIterator[bytes]:
            at, left = start, self.events_per_connection
            yield b": keep-alive\n\n"
            while True:
                while at < len(job.events):
                    if left == 0:
                        raise httpx.ReadError("cut")
                    kind, data = job.events[at]
                    yield f"id: {at}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
                    at, left = at + 1, left - 1
                    if kind == "status" and data["status"] in TERMINAL:
                        return
                await self._changed.wait()

        return httpx.Response(200, content=frames(), headers={"content-type": "text/event-stream"})

    def _pipe(self, job: Stored | None = None) -> str:
        name = f"channel-{next(self._numbers)}"
        self.pipes[name] = Pipe(job=job)
        return name

    async def _write(self, name: str, request: httpx.Request) -> httpx.Response:
        pipe = self.pipes[name]
        pipe.data, pipe.content_type = request.content, request.headers.get("content-type")
        self.change()
        while not pipe.taken and not pipe.is_closed:
            await self._changed.wait()
        if not pipe.taken:
            return refused(410, "transfer_closed")
        return refused(502, "transfer_failed") if pipe.cut else answer({"status": "ok"})

    async def _read(self, name: str) -> httpx.Response:
        pipe = self.pipes[name]
        while pipe.data is None and not pipe.is_closed:
            await self._changed.wait()
        if pipe.data is None:
            return refused(410, "transfer_closed")
        pipe.taken = True
        self.change()

        async def pieces() -> AsyncIterator[bytes]:
            data = pipe.data or b""
            yield data[: len(data) // 2]
            if pipe.cut:
                raise httpx.RemoteProtocolError("cut")
            yield data[len(data) // 2 :]

        headers = {"x-transfer-content-type": pipe.content_type or ""}
        return httpx.Response(200, content=pieces(), headers=headers)


def line(request: httpx.Request) -> str:
    return f"{request.method} {request.url.path}"


def is_json(request: httpx.Request) -> bool:
    return request.headers.get("content-type") == "application/json" and bool(request.content)


def answer(body: Any) -> httpx.Response:
    return httpx.Response(200, json=body)


def refused(status: int, code: str) -> httpx.Response:
    return httpx.Response(status, json={"error": code})
