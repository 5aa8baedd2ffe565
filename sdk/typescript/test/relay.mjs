/** A relay in memory: jobs and transfers as the server does them, with faults on demand. */

const TERMINAL = new Set(["completed", "failed", "canceled"]);

export class Relay {
  jobs = new Map();
  pipes = new Map();
  requests = [];
  faults = [];
  leaseSeconds = 60;
  knowsLeases = true;
  eventsPerConnection = Infinity;
  #keys = new Map();
  #number = 0;
  #wake = () => undefined;
  #changed = new Promise((resolve) => (this.#wake = resolve));

  /** Give it to a client or worker. */
  fetch = async (address, init = {}) => {
    const url = new URL(address);
    const body = init.body === undefined ? new Uint8Array(0) : new Uint8Array(await new Response(init.body).arrayBuffer());
    const request = { line: `${init.method} ${url.pathname}`, headers: new Headers(init.headers), body, signal: init.signal };
    this.requests.push(request);
    this.change();
    const at = this.faults.findIndex(({ pattern }) => pattern.test(request.line));
    if (at >= 0) return this.faults.splice(at, 1)[0].answer(request);
    return this.#route(init.method, url.pathname.slice(1).split("/"), request, url.searchParams);
  };

  fault(pattern, answer, times = 1) {
    for (let count = 0; count < times; count += 1) this.faults.push({ pattern, answer });
  }

  calls(pattern) {
    return this.requests.filter(({ line }) => pattern.test(line));
  }

  change() {
    this.#wake();
    this.#changed = new Promise((resolve) => (this.#wake = resolve));
  }

  /** Waits for a state, or until the caller has gone. */
  async until(met, signal) {
    while (!met()) {
      signal?.throwIfAborted();
      const gone = new Promise((resolve) => signal?.addEventListener("abort", resolve, { once: true }));
      await Promise.race([this.#changed, gone]);
    }
  }

  newest() {
    return [...this.jobs.values()].at(-1)?.view;
  }

  async #route(method, parts, request, query) {
    const isJson = request.headers.get("content-type") === "application/json" && request.body.length > 0;
    const body = isJson ? JSON.parse(new TextDecoder().decode(request.body)) : {};
    const [, area, id, what] = parts;
    if (area === "transfer") {
      if (id === undefined) return answer({ channel_id: this.#pipe() });
      return method === "GET" ? this.#read(id, request) : this.#write(id, request);
    }
    if (id === undefined) return method === "GET" ? this.#list(query) : this.#create(request, body);
    if (id === "claim") return this.#claim(body, request);
    const job = this.jobs.get(id);
    if (job === undefined) return refused(404, "not_found");
    if (method === "GET") return what === "events" ? this.#events(job, request) : answer(job.view);
    if (what === "cancel") {
      this.cancel(id);
      return answer({ status: job.view.status });
    }
    return this.#worker(job, what, body);
  }

  #create(request, body) {
    const key = request.headers.get("idempotency-key");
    if (!this.#keys.has(key)) {
      const id = `job-${(this.#number += 1)}`;
      this.#keys.set(key, id);
      this.jobs.set(id, { view: { id, type: body.type, status: "queued", metadata: body.metadata }, events: [], token: null });
      this.#publish(this.jobs.get(id));
    }
    return answer({ job_id: this.#keys.get(key), status: "queued" });
  }

  createTwice(request) {
    this.#create(request, JSON.parse(new TextDecoder().decode(request.body)));
    throw new TypeError("the answer got lost");
  }

  /** Two jobs a part; a cursor is the number of those that came before. */
  #list(query) {
    const views = [...this.jobs.values()].map(({ view }) => view).reverse();
    const wanted = views.filter(({ type }) => [null, type].includes(query.get("type")));
    const start = Number(query.get("cursor") ?? 0);
    const more = wanted.length > start + 2 ? { next_cursor: String(start + 2) } : {};
    return answer({ jobs: wanted.slice(start, start + 2), ...more });
  }

  async #claim(body, { signal }) {
    const queued = () =>
      [...this.jobs.values()].find(({ view }) => view.status === "queued" && (body.types?.includes(view.type) ?? true));
    await this.until(queued, signal);
    const job = queued();
    job.view.status = "claimed";
    job.view.attempt = (job.view.attempt ?? 0) + 1;
    job.token = `token-${(this.#number += 1)}`;
    this.#publish(job);
    const { id, type, metadata, attempt } = job.view;
    const lease = { claim_token: job.token, lease_seconds: this.leaseSeconds, attempt };
    return answer({ job_id: id, type, metadata, ...(this.knowsLeases ? lease : {}) });
  }

  #worker(job, what, body) {
    const stranger = this.knowsLeases && body.claim_token !== job.token;
    if (stranger || TERMINAL.has(job.view.status)) return refused(409, "invalid_state");
    if (what === "lease") return answer({ status: job.view.status });
    if (what === "status") {
      job.view.status = body.state;
      for (const name of ["progress", "error"]) if (name in body) job.view[name] = body[name];
      this.#publish(job);
      return answer({ status: body.state });
    }
    const id = this.#pipe(job);
    const channel = { channel_id: id, url: `/api/transfer/${id}`, key: body.key, properties: body.properties };
    job.view[`${what}s`] = { ...job.view[`${what}s`], [body.key]: channel };
    job.events.push([what, channel]);
    job.view.status = `awaiting_${what}`;
    this.#publish(job);
    return answer({ channel_id: id, key: body.key, [what === "payload" ? "reader_url" : "writer_url"]: channel.url });
  }

  cancel(id) {
    const job = this.jobs.get(id);
    if (TERMINAL.has(job.view.status)) return;
    job.view.status = "canceled";
    this.#publish(job);
  }

  /** As after a lease that ran out: the job waits for somebody else. */
  steal(id) {
    const job = this.jobs.get(id);
    job.token = null;
    job.view.status = "queued";
    this.#publish(job);
  }

  #publish(job) {
    job.events.push(["status", structuredClone(job.view)]);
    this.change();
  }

  #events(job, { headers, signal }) {
    const relay = this;
    async function* frames() {
      let at = Number(headers.get("last-event-id") ?? -1) + 1;
      let left = relay.eventsPerConnection;
      yield ": keep-alive\n\n";
      for (;;) {
        for (; at < job.events.length; at += 1, left -= 1) {
          if (left === 0) throw new TypeError("cut");
          const [kind, data] = job.events[at];
          yield `id: ${at}\nevent: ${kind}\ndata: ${JSON.stringify(data)}\n\n`;
          if (kind === "status" && TERMINAL.has(data.status)) return;
        }
        await relay.until(() => at < job.events.length, signal);
      }
    }
    return new Response(ReadableStream.from(frames()).pipeThrough(new TextEncoderStream()), { status: 200 });
  }

  #pipe(job = null) {
    const id = `channel-${(this.#number += 1)}`;
    this.pipes.set(id, { data: null, type: null, taken: false, cut: false, job });
    return id;
  }

  async #write(id, request) {
    const pipe = this.pipes.get(id);
    [pipe.data, pipe.type] = [request.body, request.headers.get("content-type")];
    this.change();
    await this.until(() => pipe.taken || closed(pipe), request.signal);
    if (!pipe.taken) return refused(410, "transfer_closed");
    return pipe.cut ? refused(502, "transfer_failed") : answer({ status: "ok" });
  }

  async #read(id, { signal }) {
    const pipe = this.pipes.get(id);
    await this.until(() => pipe.data !== null || closed(pipe), signal);
    if (pipe.data === null) return refused(410, "transfer_closed");
    pipe.taken = true;
    this.change();
    async function* pieces() {
      const half = pipe.data.length >> 1;
      yield pipe.data.subarray(0, half);
      if (pipe.cut) throw new TypeError("cut");
      yield pipe.data.subarray(half);
    }
    return new Response(ReadableStream.from(pieces()), { headers: { "x-transfer-content-type": pipe.type ?? "" } });
  }
}

/** A job takes its channels along when it ends. */
function closed(pipe) {
  return pipe.job !== null && TERMINAL.has(pipe.job.view.status);
}

export function answer(body) {
  return Response.json(body);
}

export function refused(status, error) {
  return Response.json({ error }, { status });
}
