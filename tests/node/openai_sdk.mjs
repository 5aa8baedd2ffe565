// Calls a relay with OpenAI's JavaScript SDK, as its users do.
//
//     node openai_sdk.mjs BASE_URL API_KEY CHAT_MODEL EMBEDDING_MODEL [ASR_BASE_URL ASR_MODEL]
//
// Prints what it has checked, a word a line. Exit code 1 when the SDK does not understand an
// answer, or the answer is not what was asked.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import path from "node:path";

// The packages lie apart from this script, so that the sources' tree stays as it is.
const require = createRequire(path.join(process.env.NFRX_NODE_MODULES, "from.js"));
const { OpenAI, toFile } = require("openai");

const [baseURL, apiKey, model, embeddingModel, asrBaseURL, asrModel] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 120_000 });
const done = (word) => console.log(word);

const models = [];
for await (const one of client.models.list()) models.push(one.id);
assert.ok(models.includes(model), `models: ${models}`);
assert.equal((await client.models.retrieve(model)).id, model);
done("models");

const messages = [{ role: "user", content: "Count to five." }];
const chat = await client.chat.completions.create({ model, messages, max_tokens: 8 });
assert.ok(chat.choices[0].message.content && chat.usage.completion_tokens > 0, JSON.stringify(chat));
done("chat");

let pieces = 0;
let usage;
const stream = await client.chat.completions.create({
  model,
  messages,
  max_tokens: 24,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  pieces += chunk.choices.length;
  usage = chunk.usage ?? usage;
}
assert.ok(pieces > 3 && usage.completion_tokens > 0, `${pieces} pieces, ${JSON.stringify(usage)}`);
done("stream");

const tools = [
  {
    type: "function",
    function: {
      name: "weather",
      description: "The weather in a town",
      parameters: { type: "object", properties: { town: { type: "string" } }, required: ["town"] },
    },
  },
];
const tooled = await client.chat.completions.create({ model, messages, tools, max_tokens: 8 });
// Whether a model calls the tool is its own matter; that the request and answer pass is ours.
assert.ok(tooled.choices[0].message.content !== null || tooled.choices[0].message.tool_calls, JSON.stringify(tooled));
done("tools");

const response = await client.responses.create({ model, input: "Say hello.", max_output_tokens: 8 });
assert.ok(response.output_text.length > 0 && response.usage.output_tokens > 0, JSON.stringify(response));
let deltas = 0;
for await (const event of await client.responses.create({ model, input: "Hi.", max_output_tokens: 12, stream: true })) {
  deltas += event.type === "response.output_text.delta";
}
assert.ok(deltas > 1, `${deltas} deltas`);
done("responses");

const vectors = await client.embeddings.create({ model: embeddingModel, input: ["a relay", "a tunnel"] });
assert.deepEqual(vectors.data.map((item) => item.index), [0, 1]);
assert.ok(vectors.data[0].embedding.length > 8);
done("embeddings");

await assert.rejects(client.chat.completions.create({ model: "nobody-serves-this", messages }), { status: 404 });
done("errors");

if (asrBaseURL) {
  const asr = new OpenAI({ baseURL: asrBaseURL, apiKey, maxRetries: 0, timeout: 120_000 });
  const file = await toFile(Buffer.alloc(64 * 1024, 7), "speech.wav");
  const heard = await asr.audio.transcriptions.create({ file, model: asrModel });
  assert.ok(heard.text.length > 0, JSON.stringify(heard));
  done("transcription");
}
