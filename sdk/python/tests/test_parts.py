"""The parts without I/O: events, delays, views, sources."""

from __future__ import annotations

import random

import pytest

from nfrx import Channel, Job
from nfrx._backoff import Backoff
from nfrx._sse import LINE_MAX, Frame, Frames
from nfrx._watch import _events

STREAM = b": hello\r\nid: 7\r\nevent: status\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\n\nevent: x\n\ndata:y\n\n"
FRAMES = [Frame("status", '{"a":\n1}', "7"), Frame("message", "y", "7")]


@pytest.mark.parametrize("step", range(1, len(STREAM) + 1))
def test_events_are_the_same_however_their_bytes_are_cut(step: int) -> None:
    frames = Frames()
    found = [f for at in range(0, len(STREAM), step) for f in frames.feed(STREAM[at : at + step])]
    assert found == FRAMES


def test_an_event_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError):
        Frames().feed(b"data: " + bytes(LINE_MAX))
    frames = Frames()
    with pytest.raises(ValueError):
        for _ in range(20):
            frames.feed(b"data: " + b"x" * (LINE_MAX // 16) + b"\n")


def test_delays_double_up_to_the_longest_and_start_again_after_success() -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    backoff = Backoff(1.0, 4.0, random.Random(seed))
    for expected in (1, 2, 4, 4):
        assert expected * 0.8 <= backoff.delay() <= expected * 1.2
    backoff.reset()
    assert backoff.delay() <= 1.2


def test_a_view_from_a_younger_or_a_broken_server_can_be_read() -> None:
    job = Job.from_json({"id": "j", "status": "odd", "metadata": None, "error": "text", "new": 1})
    assert (job.metadata, job.error, job.is_terminal, job.raw["new"]) == ({}, None, False, 1)
    assert Job.from_json({}).id == ""


def test_a_channel_is_found_by_id_by_path_and_by_address() -> None:
    for raw in (
        {"channel_id": "c"},
        {"url": "/api/transfer/c"},
        {"reader_url": "http://h/api/transfer/c"},
    ):
        assert Channel.from_json(raw).id == "c"
    assert Channel.from_json({"channel_id": "c", "key": ""}, "payload").key == ""


def status(**members: object) -> Frame:
    import json

    return Frame("status", json.dumps({"id": "j", **members}), None)


def test_who_comes_late_learns_of_waiting_channels_from_the_status_and_only_once() -> None:
    seen: set[str] = set()
    waiting = {"payloads": {"payload": {"channel_id": "c", "url": "/api/transfer/c"}}}
    kinds = [event.kind for event in _events(status(status="awaiting_payload", **waiting), seen)]
    assert kinds == ["payload", "status"]
    again = Frame("payload", '{"channel_id":"c"}', None)
    assert _events(again, seen) == []
    assert [e.kind for e in _events(status(status="awaiting_payload", **waiting), seen)] == ["status"]


def test_channels_that_are_used_up_are_left_alone() -> None:
    done = {"payloads": {"payload": {"channel_id": "c", "state": "done"}}}
    assert [e.kind for e in _events(status(status="awaiting_payload", **done), set())] == ["status"]
    silent = {"payloads": {"payload": {"channel_id": "c"}}}
    assert [e.kind for e in _events(status(status="running", **silent), set())] == ["status"]
