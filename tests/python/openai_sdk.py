"""Calls a relay with the openai SDK and prints what came over the wire.

    python openai_sdk.py BASE_URL API_KEY CHAT_MODEL EMBEDDING_MODEL

Standard output: one JSON object per exchange with `path`, `status` and the answer's
body as base64, exactly as it was received. Exit code 1 when the SDK does not
understand an answer.
"""

import base64
import json
import sys

import httpx2
import openai


class Recording(httpx2.BaseTransport):
    """Keeps each answer's raw body as the SDK reads it."""

    def __init__(self) -> None:
        self.inner = httpx2.HTTPTransport()
        self.exchanges: list[dict] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = self.inner.handle_request(request)
        exchange = {"path": request.url.path, "status": response.status_code, "pieces": []}
        self.exchanges.append(exchange)
        response.stream = Pieces(response.stream, exchange["pieces"])
        return response

    def close(self) -> None:
        self.inner.close()


class Pieces(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, pieces: list[bytes]) -> None:
        self.stream, self.pieces = stream, pieces

    def __iter__(self):
        for piece in self.stream:
            self.pieces.append(piece)
            yield piece

    def close(self) -> None:
        self.stream.close()


def main() -> None:
    base_url, key, chat_model, embedding_model = sys.argv[1:5]
    recording = Recording()
    client = openai.OpenAI(
        base_url=base_url,
        api_key=key,
        max_retries=0,
        timeout=120,
        http_client=httpx2.Client(transport=recording),
    )

    models = [model.id for model in client.models.list()]
    assert chat_model in models and embedding_model in models, models

    chunks = list(
        client.chat.completions.create(
            model=chat_model,
            messages=[{"role": "user", "content": "Count to five."}],
            max_tokens=24,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text and len(chunks) > 3, chunks
    assert chunks[-1].usage.completion_tokens > 0, chunks[-1]

    chat = client.chat.completions.create(
        model=chat_model, messages=[{"role": "user", "content": "Hello."}], max_tokens=8
    )
    assert chat.choices[0].message.content and chat.usage.completion_tokens > 0, chat

    # Whether a model calls the tool is its own matter; that request and answer pass is ours.
    tooled = client.chat.completions.create(
        model=chat_model,
        messages=[{"role": "user", "content": "Which weather has Rome?"}],
        tools=[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}],
        max_tokens=8,
    )
    assert tooled.choices[0].message is not None, tooled

    response = client.responses.create(model=chat_model, input="Say hello.", max_output_tokens=8)
    assert response.output_text and response.usage.output_tokens > 0, response
    events = list(
        client.responses.create(model=chat_model, input="Hi.", max_output_tokens=12, stream=True)
    )
    assert sum(event.type == "response.output_text.delta" for event in events) > 1, events

    pieces = list(
        client.completions.create(model=chat_model, prompt="Once upon", max_tokens=12, stream=True)
    )
    assert "".join(piece.choices[0].text for piece in pieces if piece.choices), pieces

    vectors = client.embeddings.create(
        model=embedding_model, input=["a relay", "a tunnel"], encoding_format="float"
    )
    assert [item.index for item in vectors.data] == [0, 1], vectors
    assert len(vectors.data[0].embedding) == len(vectors.data[1].embedding) > 8

    for exchange in recording.exchanges:
        body = b"".join(exchange.pop("pieces"))
        print(json.dumps(exchange | {"body": base64.b64encode(body).decode()}))


if __name__ == "__main__":
    main()
