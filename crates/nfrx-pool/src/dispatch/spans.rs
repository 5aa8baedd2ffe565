//! The spans of a traced request: its wait, its way through the tunnel, and what the agent
//! says of itself and its backend (decision 35).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Request};
use nfrx_spi::{
    AgentTimings, Body, Span, SpanId, SpanKind, SpanNotes, SpanValue, TRACEPARENT, TimingsWanted, Trace,
    WorkerRef, traceparent,
};

use crate::metrics::Usage;
use crate::worker::Worker;

/// What is written down of a traced request. There is none for others.
pub(super) struct Spans {
    trace: Trace,
    job_type: &'static str,
    model: String,
    notes: SpanNotes,
    /// Since when it waits, or waits again.
    waits_since: SystemTime,
    attempt: Option<Attempt>,
}

/// The request while it is with a worker.
struct Attempt {
    tunnel: SpanId,
    agent: SpanId,
    backend: SpanId,
    start: SystemTime,
    worker: String,
    carrier: &'static str,
    timings: Option<AgentTimings>,
}

impl Spans {
    pub(super) fn new(
        trace: Trace,
        job_type: &'static str,
        model: &str,
        notes: SpanNotes,
        now: SystemTime,
    ) -> Self {
        Self { trace, job_type, model: model.to_owned(), notes, waits_since: now, attempt: None }
    }

    /// The request goes to a worker.
    pub(super) fn sent(&mut self, worker: &Worker, now: SystemTime) {
        self.trace.record(Span {
            attributes: vec![("gen_ai.request.model", text(&self.model))],
            ..self.span(self.trace.span_id(), self.trace.span, "queue", (self.waits_since, now))
        });
        let [tunnel, agent, backend] = [(); 3].map(|()| self.trace.span_id());
        self.attempt = Some(Attempt {
            tunnel,
            agent,
            backend,
            start: now,
            worker: worker.id().to_owned(),
            carrier: worker.tunnel().carrier(),
            timings: None,
        });
    }

    /// Writes the context into the request, so that the backend's own spans are part of the
    /// span that we shall tell of it; of ours, where its carrier gives no timings.
    pub(super) fn mark(&self, request: &mut Request<Body>) {
        let Some(attempt) = &self.attempt else { return };
        let inner = if attempt.carrier == "v1" { attempt.tunnel } else { attempt.backend };
        request.headers_mut().insert(TRACEPARENT, traceparent(self.trace.id, inner));
        request.extensions_mut().insert(TimingsWanted);
    }

    /// The answer's trailers came.
    pub(super) fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(attempt) = &mut self.attempt {
            attempt.timings = AgentTimings::read(trailers);
        }
    }

    /// The worker's part is over.
    pub(super) fn ended(&mut self, now: SystemTime, error: Option<&'static str>, usage: Usage) {
        let Some(attempt) = self.attempt.take() else { return };
        self.waits_since = now;
        let error = match error {
            Some("") => None,
            Some(code) => Some(code.to_owned()),
            None => Some(super::record::CANCELED.to_owned()),
        };
        self.trace.record(Span {
            kind: SpanKind::Client,
            attributes: self.attributes(&attempt, usage),
            error,
            ..self.span(attempt.tunnel, self.trace.span, "tunnel", (attempt.start, now))
        });
        if let Some(timings) = attempt.timings {
            self.agent(&attempt, timings, now);
        }
    }

    /// The agent's clock is its own: its span lies in the middle of the tunnel's, as if the
    /// way there took as long as the way back.
    fn agent(&self, attempt: &Attempt, timings: AgentTimings, now: SystemTime) {
        let whole = now.duration_since(attempt.start).unwrap_or(Duration::ZERO);
        let begun = attempt.start + whole.saturating_sub(timings.ended) / 2;
        let at = |span: Duration| begun + span.min(whole);
        self.trace.record(Span {
            kind: SpanKind::Server,
            attributes: vec![("nfrx.worker.id", text(&attempt.worker))],
            ..self.span(attempt.agent, attempt.tunnel, "agent", (begun, at(timings.ended)))
        });
        let until_head = timings.answered.saturating_sub(timings.asked);
        self.trace.record(Span {
            kind: SpanKind::Client,
            attributes: vec![
                ("gen_ai.request.model", text(&self.model)),
                ("nfrx.time_to_head_us", number(until_head.as_micros() as u64)),
            ],
            ..self.span(attempt.backend, attempt.agent, "backend", (at(timings.asked), at(timings.ended)))
        });
    }

    /// OpenTelemetry's names for generative AI, and ours where it has none. A prompt is in it
    /// only where the plugin noted it, which asks whether it may.
    fn attributes(&self, attempt: &Attempt, usage: Usage) -> Vec<(&'static str, SpanValue)> {
        let operation = match self.job_type {
            "llm.embedding" => "embeddings",
            "llm.completion" | "llm.response" => "chat",
            other => other,
        };
        let mut attributes = vec![
            ("gen_ai.operation.name", text(operation)),
            ("gen_ai.request.model", text(&self.model)),
            ("nfrx.worker.id", text(&attempt.worker)),
            ("nfrx.carrier", text(attempt.carrier)),
        ];
        let counts = [
            ("gen_ai.usage.input_tokens", usage.tokens_in),
            ("gen_ai.usage.output_tokens", usage.tokens_out),
        ];
        let known = counts.into_iter().filter(|(_, count)| *count > 0);
        attributes.extend(known.map(|(name, count)| (name, number(count))));
        attributes.extend(self.notes.0.iter().cloned());
        attributes
    }

    fn span(
        &self,
        id: SpanId,
        parent: SpanId,
        name: &'static str,
        (start, end): (SystemTime, SystemTime),
    ) -> Span {
        Span {
            trace: self.trace.id,
            id,
            parent: Some(parent),
            name,
            kind: SpanKind::Internal,
            start,
            end,
            attributes: Vec::new(),
            error: None,
        }
    }
}

fn text(text: &str) -> SpanValue {
    SpanValue::Text(text.to_owned())
}

fn number(number: u64) -> SpanValue {
    SpanValue::Number(i64::try_from(number).unwrap_or(i64::MAX))
}
