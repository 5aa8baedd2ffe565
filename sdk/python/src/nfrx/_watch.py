"""Following one job's events over broken connections."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import anyio
import httpx

from ._backoff import Backoff
from ._http import SILENCE_MAX, Http, segment
from ._sse import Frame, Frames
from .errors import ApiError, ConnectionLost
from .models import Channel, Event, Job

# How long a server may be away, as during a restart, before a watcher gives up.
PATIENCE = 120.0


async def watch(http: Http, job_id: str, patience: float = PATIENCE) -> AsyncGenerator[Event, None]:
    """Each event of a job up to its terminal status, each channel once.

    A connection that breaks is made again where it stopped. The first event is the state now.
    """
    seen: set[str] = set()
    last_id: str | None = None
    backoff = Backoff()
    lost_at: float | None = None
    while True:
        reason = "the stream ended early"
        try:
            async with contextlib.aclosing(_frames(http, job_id, last_id)) as frames:
                async for frame in frames:
                    last_id, lost_at = frame.id or last_id, None
                    backoff.reset()
                    for event in _events(frame, seen):
                        yield event
                        if event.job is not None and event.job.is_terminal:
                            return
        except ApiError as error:
            if error.status < 500:
                raise
            reason = str(error)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
        except ValueError as error:
            raise ConnectionLost(f"events of job {job_id}: {error}") from error
        now = anyio.current_time()
        lost_at = now if lost_at is None else lost_at
        if now - lost_at > patience:
            raise ConnectionLost(f"events of job {job_id}: {reason}")
        await anyio.sleep(backoff.delay())


async def _frames(http: Http, job_id: str, last_id: str | None) -> AsyncGenerator[Frame, None]:
    headers = {"accept": "text/event-stream", "cache-control": "no-store"}
    if last_id is not None:
        headers["last-event-id"] = last_id
    path = f"/api/jobs/{segment(job_id)}/events"
    async with http.stream("GET", path, headers=headers, silence=SILENCE_MAX) as response:
        frames = Frames()
        async for chunk in response.aiter_bytes():
            for frame in frames.feed(chunk):
                yield frame


def _events(frame: Frame, seen: set[str]) -> list[Event]:
    """The events in a frame. A channel may be told twice, and by a status alone to who came late."""
    data: Any = json.loads(frame.data)
    if not isinstance(data, Mapping):
        return []
    if frame.event == "status":
        job = Job.from_json(data)
        return [*_missed(job, seen), Event("status", job=job)]
    if frame.event == "payload":
        return _once(Event("payload", channel=Channel.from_json(data, "payload")), seen)
    if frame.event == "result":
        return _once(Event("result", channel=Channel.from_json(data, "result")), seen)
    return []


def _missed(job: Job, seen: set[str]) -> list[Event]:
    """Channels that wait for us although their event was sent before we watched."""
    payloads = [Event("payload", channel=channel) for channel in job.payloads.values() if _waits(channel, job, "payload")]
    results = [Event("result", channel=channel) for channel in job.results.values() if _waits(channel, job, "result")]
    return [event for found in payloads + results for event in _once(found, seen)]


def _waits(channel: Channel, job: Job, kind: str) -> bool:
    """A server that tells no state of channels is asked only for what the job's status waits for."""
    return channel.state == "open" or (channel.state is None and job.status == f"awaiting_{kind}")


def _once(event: Event, seen: set[str]) -> list[Event]:
    if event.channel is None or event.channel.id in seen:
        return []
    seen.add(event.channel.id)
    return [event]
