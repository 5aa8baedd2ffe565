"""The plain classes: the same calls without an event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from relay import Relay
from served import serve

from nfrx import Client, JobFailed, Worker, WorkerJob

class Beside:
    """A worker running in a thread while the block lasts."""

    def __init__(self, worker: Worker, handler: object) -> None:
        self._worker = worker
        self._thread = threading.Thread(target=worker.run, args=(handler,))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._worker.drain()
        self._thread.join(20)
        assert not self._thread.is_alive(), "the worker does not drain"


@pytest.fixture
def address() -> Iterator[str]:
    """Two loops can't share a relay in memory: this one listens on a port."""
    with serve(Relay()) as url:
        yield url


def test_a_job_goes_round_without_an_event_loop(address: str, tmp_path: Path) -> None:
    def shout(job: WorkerJob) -> bytes:
        with job.open_payload() as incoming:
            data = b"".join(incoming)
        job.progress(percent=50)
        job.check()
        return data.upper()

    with Client(address) as client, Worker(address, slots=2) as worker, Beside(worker, shout):
        assert client.run("x", b"hello").data == b"HELLO"
        client.run("x", iter([b"to ", b"file"]), output=tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"TO FILE"


def test_a_raising_handler_fails_the_job(address: str) -> None:
    def broken(job: WorkerJob) -> bytes:
        raise RuntimeError("a bug")

    with Client(address) as client, Worker(address) as worker, Beside(worker, broken):
        with pytest.raises(JobFailed, match="a bug"):
            client.run("x")


def test_events_can_be_looped_over(address: str) -> None:
    with Client(address) as client:
        job_id = client.create("x")
        events = client.watch(job_id)
        first = next(events)
        assert first.job and first.job.status == "queued"
        assert client.cancel(job_id) == "canceled"
        assert [event.job.status for event in events if event.job] == ["canceled"]


def test_a_transfer_needs_no_job(address: str) -> None:
    with Client(address) as writer, Client(address) as reader:
        channel = writer.transfers.create()
        thread = threading.Thread(target=writer.transfers.send, args=(channel, b"bytes"))
        thread.start()
        with reader.transfers.receive(channel.id) as incoming:
            assert incoming.read() == b"bytes"
        thread.join(20)
        assert not thread.is_alive()
