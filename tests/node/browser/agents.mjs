// Agents that speak protocol v1, as many as a test wants: they join, answer when told,
// and go.

export class Agent {
  /** Joins the server at `origin` and answers each request only when told. */
  static async join(origin, { id, name = id, models = ["demo"], slots = 2, version = "v1.0.0", facts = {} }) {
    const agent = new Agent(new WebSocket(`${origin.replace("http", "ws")}/api/llm/connect`));
    await new Promise((resolve, reject) => Object.assign(agent.socket, { onopen: resolve, onerror: () => reject(new Error(`${id} can't join`)) }));
    agent.socket.onmessage = ({ data }) => agent.hear(JSON.parse(data));
    const config = { hostname: `host-of-${id}`, os_name: "debian", backend_family: "sim", backend_version: "1.2.3", ...facts };
    agent.send({ type: "register", worker_id: id, worker_name: name, client_key: "", models, max_concurrency: slots, version, agent_config: config });
    agent.beat();
    return agent;
  }

  constructor(socket) {
    Object.assign(this, { socket, asked: [] });
    this.timer = setInterval(() => this.beat(), 5000);
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }

  beat() {
    this.send({ type: "heartbeat", ts: Math.floor(Date.now() / 1000), host_cpu_percent: 37.5, host_ram_used_percent: 61.2 });
  }

  hear(message) {
    if (message.type === "http_proxy_request") this.asked.push(message.request_id);
  }

  /** Answers the oldest request with so many tokens, one event each. */
  answer(tokens) {
    const request_id = this.asked.shift();
    this.send({ type: "http_proxy_response_headers", request_id, status: 200, headers: { "Content-Type": "text/event-stream" } });
    const chunk = (text) => this.send({ type: "http_proxy_response_chunk", request_id, data: Buffer.from(text).toString("base64") });
    for (let nth = 0; nth < tokens; nth += 1) chunk(`data: {"choices":[{"delta":{"content":"word "}}]}\n\n`);
    chunk(`data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":${tokens}}}\n\ndata: [DONE]\n\n`);
    this.send({ type: "http_proxy_response_end", request_id });
  }

  leave() {
    clearInterval(this.timer);
    this.socket.close();
  }
}
