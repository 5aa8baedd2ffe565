"""Sealed bytes open for whom they are meant, whole, or not at all."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from relay import Relay
from test_jobs import URL, working

import nfrx
from nfrx import AsyncWorkerJob, SealError
from nfrx.sealed import CmsSeal, Identity, X25519Seal, envelope
from nfrx.sealed.keys import decode
from nfrx.sealed.stream import CHUNK, HEADER, TAG, Context, Opener, Sealer

CONTEXT = Context("job", "payload", "key")
VECTORS = Path(__file__).parents[2] / "testdata" / "sealed.json"


def seal(plain: bytes, to: Identity, sender: Identity, context: Context = CONTEXT, step: int = 1000) -> bytes:
    sealer = Sealer(sender, to.public_bytes, context)
    parts = [sealer.update(plain[at : at + step]) for at in range(0, len(plain), step)]
    return b"".join(parts) + sealer.finish()


def unseal(sealed: bytes, by: Identity, context: Context = CONTEXT, step: int = 1000) -> bytes:
    opener = Opener(by, context)
    parts = [opener.update(sealed[at : at + step]) for at in range(0, len(sealed), step)]
    return b"".join(parts) + opener.finish()


@pytest.fixture
def ends() -> tuple[Identity, Identity]:
    return Identity.generate(), Identity.generate()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
@pytest.mark.parametrize("step", [7919, 10**9])
def test_what_was_sealed_opens_at_every_size(ends: tuple[Identity, Identity], size: int, step: int) -> None:
    plain = bytes(number % 251 for number in range(size))
    sealed = seal(plain, *ends, step=step)
    chunks = max(1, -(-size // CHUNK))
    assert len(sealed) == HEADER + size + chunks * TAG
    assert unseal(sealed, ends[0], step=step) == plain


# Seen to fail: without the public keys in the key's derivation.
def test_a_change_anywhere_is_found(ends: tuple[Identity, Identity]) -> None:
    plain = bytes(CHUNK + 100)
    sealed = seal(plain, *ends)
    places = [0, 8, 9, HEADER - 33, HEADER - 32, HEADER - 1, HEADER, HEADER + CHUNK, len(sealed) - 1]
    for place in places:
        changed = bytearray(sealed)
        # The bit that X25519 does not look at in a key.
        changed[place] ^= 0x80
        with pytest.raises(SealError):
            unseal(bytes(changed), ends[0])


# Seen to fail: with the last chunk's mark left out of the nonce.
def test_a_missing_end_is_found_also_between_chunks(ends: tuple[Identity, Identity]) -> None:
    sealed = seal(bytes(3 * CHUNK), *ends)
    for length in (0, 5, HEADER, HEADER + CHUNK + TAG, HEADER + 2 * (CHUNK + TAG), len(sealed) - 1):
        with pytest.raises(SealError):
            unseal(sealed[:length], ends[0])
    with pytest.raises(SealError):
        unseal(sealed + bytes(TAG), ends[0])


def test_chunks_can_not_change_places(ends: tuple[Identity, Identity]) -> None:
    sealed = seal(bytes(3 * CHUNK), *ends)
    one = CHUNK + TAG
    first, second = sealed[HEADER : HEADER + one], sealed[HEADER + one : HEADER + 2 * one]
    with pytest.raises(SealError):
        unseal(sealed[:HEADER] + second + first + sealed[HEADER + 2 * one :], ends[0])


# Seen to fail: without the context in the key's derivation.
def test_bytes_open_only_as_what_they_were_sealed_for(ends: tuple[Identity, Identity]) -> None:
    sealed = seal(b"x", *ends)
    for other in (
        Context("another", "payload", "key"),
        Context("job", "result", "key"),
        Context("job", "payload", "another"),
        Context("jobp", "ayload", "key"),
    ):
        with pytest.raises(SealError):
            unseal(sealed, ends[0], other)


def test_only_the_recipient_opens(ends: tuple[Identity, Identity]) -> None:
    sealed = seal(b"x", *ends)
    for other in (ends[1], Identity.generate()):
        with pytest.raises(SealError):
            unseal(sealed, other)


def test_bytes_in_the_name_of_a_key_need_that_key(ends: tuple[Identity, Identity]) -> None:
    forger = Identity.generate()
    forger.public_bytes = ends[1].public_bytes
    with pytest.raises(SealError):
        unseal(seal(b"x", ends[0], forger), ends[0])


def test_a_key_has_one_text_and_no_weak_ones_are_taken(ends: tuple[Identity, Identity]) -> None:
    assert decode(ends[0].public_key) == ends[0].public_bytes
    for text in (None, 5, "", "A" * 42, "A" * 42 + "B", "A" * 44, "+" * 43, "é" * 43):
        with pytest.raises(SealError):
            decode(text)
    with pytest.raises(SealError, match="usable"):
        Sealer(ends[1], bytes(32), CONTEXT)


def test_an_identity_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "identity.pem"
    identity = Identity.generate()
    identity.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Identity.load(path).public_key == identity.public_key
    with pytest.raises(FileExistsError):
        identity.save(path)


def test_bytes_sealed_long_ago_open_still() -> None:
    """The file holds messages as the SDKs once sealed them; every later version must open them."""
    vectors = json.loads(VECTORS.read_text())
    assert {vector["sealed_by"] for vector in vectors} == {"python", "typescript"}
    for vector in vectors:
        path_free = serialised(vector["recipient_private_pem"])
        opener = Opener(path_free, Context(*vector["context"]))
        plain = opener.update(base64.b64decode(vector["sealed"])) + opener.finish()
        assert plain == base64.b64decode(vector["plain"])
        assert opener.sender == decode(vector["sender"])


def serialised(pem: str) -> Identity:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return Identity(load_pem_private_key(pem.encode(), None))  # type: ignore[arg-type]


ODD = b"bare\nline\rends\r\nand \x00\xff\n"


@pytest.mark.anyio
@pytest.mark.parametrize("make", [X25519Seal, CmsSeal])
async def test_the_relay_sees_nothing_of_a_sealed_job(relay: Relay, make: type[X25519Seal]) -> None:
    async def echo(job: AsyncWorkerJob) -> None:
        assert job.is_sealed
        async with job.open_payload() as incoming:
            assert incoming.content_type == "text/plain"
            plain = await incoming.read()
        await job.send_result(plain * 2, content_type="text/markdown")

    async with working(relay, echo, seals=[make()]) as (client, _):
        outcome = await client.run("x", ODD, seal=make(), content_type="text/plain")
    assert outcome.data == ODD * 2
    assert outcome.results["result"].content_type == "text/markdown"
    passed = [pipe.data or b"" for pipe in relay.pipes.values()]
    assert len(passed) == 2 and not any(b"line" in data for data in passed)


@pytest.mark.anyio
async def test_pinned_keys_are_the_only_ones_that_count(relay: Relay) -> None:
    ours, theirs, stranger = Identity.generate(), Identity.generate(), Identity.generate()

    async def echo(job: AsyncWorkerJob) -> bytes:
        return await job.payload()

    async with working(relay, echo, seals=[X25519Seal(theirs, [ours.public_key])]) as (client, _):
        outcome = await client.run("x", b"a", seal=X25519Seal(ours, [theirs.public_key]))
        assert outcome.data == b"a"
        with pytest.raises(nfrx.JobFailed, match="secure_transfer_error.*pinned"):
            await client.run("x", b"a", seal=X25519Seal(stranger, [theirs.public_key]))
        before = len(relay.pipes)
        with pytest.raises(SealError, match="pinned"):
            await client.run("x", b"secret", seal=X25519Seal(ours, [stranger.public_key]))
        late = list(relay.pipes.values())[before:]
        assert [pipe.data for pipe in late] == [None], "nothing was sent to the wrong key"


# Seen to fail: with `_agree` that takes properties without a scheme.
@pytest.mark.anyio
async def test_a_sealing_client_never_falls_back_to_plain_bytes(relay: Relay) -> None:
    async def plain(job: AsyncWorkerJob) -> bytes:
        job.seal_with(None)
        return await job.payload()

    async with working(relay, plain, seals=[X25519Seal()]) as (client, _):
        with pytest.raises(SealError, match="does not seal"):
            await client.run("x", b"secret", seal=X25519Seal())
    assert [pipe.data for pipe in relay.pipes.values()] == [None]


@pytest.mark.anyio
async def test_a_worker_refuses_what_it_can_not_open(relay: Relay) -> None:
    async def never(job: AsyncWorkerJob) -> bytes:
        raise AssertionError("not for this worker")

    async with working(relay, never, seals=[X25519Seal()], sealed_only=True) as (client, _):
        with pytest.raises(nfrx.JobFailed, match="takes sealed jobs only"):
            await client.run("x")
        with pytest.raises(nfrx.JobFailed, match="this worker has: x25519-aesgcm-v1"):
            await client.run("x", seal=CmsSeal())


async def once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def test_an_envelope_is_whole_or_refused() -> None:
    good = envelope.wrap(ODD, "text/plain", "scheme", "role")
    assert envelope.unwrap(good) == ("text/plain", ODD)
    for broken in (
        good[:-1],
        good + b"x",
        good.replace(b"\r\n", b"\n", 1),
        good.replace(b"Version: 1", b"Version: 2"),
        good.replace(b"Content-Type", b"Kontent-Type"),
        good.replace(b"Content-Type", b" Content-Type"),
        b"Content-Type: a\r\n" + good,
        b"no separator",
    ):
        with pytest.raises(SealError):
            envelope.unwrap(broken)


@pytest.mark.anyio
async def test_cms_bytes_for_another_certificate_do_not_open() -> None:
    worker, other = CmsSeal(), CmsSeal()
    client = CmsSeal(peers=[worker.fingerprint])
    channel = nfrx.Channel.from_json({"channel_id": "c", "properties": worker.payload_properties(client.offer())})
    sealed = [piece async for piece in client.seal_payload(channel, "j", None, once(ODD))]
    opened = await worker.open_payload({}, "j", "payload", once(b"".join(sealed)))
    assert [piece async for piece in opened.pieces] == [ODD]
    with pytest.raises(SealError):
        await other.open_payload({}, "j", "payload", once(b"".join(sealed)))
    with pytest.raises(SealError, match="pinned"):
        strange = {"channel_id": "c", "properties": other.payload_properties(client.offer())}
        client.seal_payload(nfrx.Channel.from_json(strange), "j", None, once(ODD))
