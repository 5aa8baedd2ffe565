"""Transcribes through a relay with the openai SDK, whole and streamed.

    transcriptions.py BASE_URL API_KEY MODEL

Exit code 1 when the SDK does not understand an answer, or the relay answers otherwise than
OpenAI's API would.
"""

import io
import sys

import openai


def audio(size: int) -> tuple[str, io.BytesIO]:
    return "speech.wav", io.BytesIO(b"RIFF" + b"~" * size)


def main() -> None:
    base_url, key, model = sys.argv[1:4]
    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=120)

    # A file that fits one piece, and one that streams.
    for size in (1_000, 3_000_000):
        whole = client.audio.transcriptions.create(model=model, file=audio(size))
        assert whole.text.startswith("simulated transcript of "), whole
        assert int(whole.text.split()[3]) > size, whole

    events = list(client.audio.transcriptions.create(model=model, file=audio(1_000), stream=True))
    deltas = "".join(event.delta for event in events if event.type == "transcript.text.delta")
    assert events[-1].type == "transcript.text.done" and events[-1].text == deltas != "", events

    try:
        client.audio.transcriptions.create(model="nobody-has-it", file=audio(1_000))
    except openai.NotFoundError:
        pass
    else:
        raise AssertionError("a model that nobody has was served")

    assert model in [entry.id for entry in client.models.list()]
    print("understood")


if __name__ == "__main__":
    main()
