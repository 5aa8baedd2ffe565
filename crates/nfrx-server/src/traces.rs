//! Traces: which requests are traced, and where their spans go. Off unless a collector is
//! named; then nothing here exists.

mod export;
mod otlp;

use std::sync::Arc;
use std::time::SystemTime;

use http::{StatusCode, request};
use nfrx_runtime::{Drain, DrainWatch};
use nfrx_spi::metrics::Counter;
use nfrx_spi::{
    BuildInfo, RequestId, Span, SpanId, SpanKind, SpanSink, SpanValue, TRACEPARENT, Trace, TraceId,
    read_traceparent, traceparent,
};
use tokio::sync::mpsc;

use crate::config::{Sampling, TracesConfig};
use export::Exporter;

/// How many spans wait for their export; more are dropped and counted.
const WAITING_MAX: usize = 4096;

/// Begins the spans of requests.
pub(crate) struct Tracer {
    sink: Arc<Sink>,
    sampling: Sampling,
}

struct Sink {
    queue: mpsc::Sender<Span>,
    dropped: Arc<Counter>,
    takes_content: bool,
}

impl Tracer {
    /// A tracer whose spans are exported by a task of `tasks` until `closing`.
    pub(crate) fn start(
        config: &TracesConfig,
        build: BuildInfo,
        dropped: Arc<Counter>,
        tasks: &Drain,
        closing: DrainWatch,
    ) -> Self {
        let (queue, spans) = mpsc::channel(WAITING_MAX);
        let config = config.clone();
        let (sampling, takes_content) = (config.sampling, config.takes_content);
        let exporter = Exporter { spans, config, build, dropped: Arc::clone(&dropped), failing: false };
        tasks.spawn("traces", exporter.run(closing));
        Self { sink: Arc::new(Sink { queue, dropped, takes_content }), sampling }
    }

    /// Begins the span of a request at the front door, if the request is traced: notes the
    /// trace in it, for whoever hands it on.
    pub(crate) fn begin(&self, parts: &mut request::Parts, id: &RequestId) -> Option<DoorSpan> {
        let given = read_traceparent(&parts.headers);
        let trace = given.map_or_else(|| TraceId(random_bytes()), |(trace, _, _)| trace);
        if !self.sampling.takes(trace, given.map(|(_, _, sampled)| sampled)) {
            return None;
        }
        let trace = Trace::new(trace, self.sink.span_id(), Arc::clone(&self.sink) as _);
        parts.headers.insert(TRACEPARENT, traceparent(trace.id, trace.span));
        parts.extensions.insert(trace.clone());
        Some(DoorSpan {
            parent: given.map(|(_, parent, _)| parent),
            start: SystemTime::now(),
            method: parts.method.to_string(),
            // The query may hold what is nobody's business.
            path: parts.uri.path().to_owned(),
            request_id: id.as_str().to_owned(),
            status: None,
            trace,
        })
    }
}

impl SpanSink for Sink {
    fn span_id(&self) -> SpanId {
        SpanId(random_bytes())
    }

    fn record(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.dropped.inc();
        }
    }

    fn takes_content(&self) -> bool {
        self.takes_content
    }
}

/// A name that nobody else has; being guessed does it no harm.
fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fastrand::fill(&mut bytes);
    // Zero is no name.
    bytes[0] |= 1;
    bytes
}

/// A request at the front door; dropped with the last byte of its answer.
pub(crate) struct DoorSpan {
    trace: Trace,
    parent: Option<SpanId>,
    start: SystemTime,
    method: String,
    path: String,
    request_id: String,
    status: Option<StatusCode>,
}

impl DoorSpan {
    /// The head of the answer is known.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for DoorSpan {
    fn drop(&mut self) {
        let text = |text: &mut String| SpanValue::Text(std::mem::take(text));
        let status = self.status.map_or(0, |status| status.as_u16());
        self.trace.record(Span {
            trace: self.trace.id,
            id: self.trace.span,
            parent: self.parent,
            name: "front door",
            kind: SpanKind::Server,
            start: self.start,
            end: SystemTime::now(),
            attributes: vec![
                ("http.request.method", text(&mut self.method)),
                ("url.path", text(&mut self.path)),
                ("http.response.status_code", SpanValue::Number(status.into())),
                ("nfrx.request_id", text(&mut self.request_id)),
            ],
            error: (status >= 500).then(|| status.to_string()),
        });
    }
}
