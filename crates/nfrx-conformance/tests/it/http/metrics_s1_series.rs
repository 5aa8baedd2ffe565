//! Metrics contract §1: every series of the old server, with the labels that boards ask for,
//! each moving as its name says (KD-30).

use std::collections::{BTreeMap, BTreeSet};

use nfrx_conformance::worker::{Worker, registration};
use nfrx_testkit::relay::Relay;
use serde_json::json;

use crate::world::{chat, relay, request, while_asking};

const R: &str = r#"ext="llm",plugin_type="worker",job_type="llm.completion",label="m""#;

/// What `/metrics` says: types by family, values by series.
struct Series {
    types: BTreeMap<String, String>,
    values: BTreeMap<String, f64>,
}

impl Series {
    async fn read(relay: &Relay) -> Self {
        let text = relay.ask(request("GET", "/metrics", &[], "")).await.text();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        let values =
            text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Self {
            types: types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect(),
            values: values.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect(),
        }
    }

    /// The value of a series; 0 when it has not moved yet.
    fn of(&self, series: &str) -> f64 {
        self.values.get(series).copied().unwrap_or_default()
    }

    /// The label names that the series of a family have.
    fn labels(&self, family: &str) -> BTreeSet<String> {
        let own = self.values.keys().filter_map(|series| series.strip_prefix(family)?.strip_prefix('{'));
        let names = |labels: &str| {
            let pairs: Vec<_> = labels.trim_end_matches('}').split("\",").collect();
            pairs.iter().filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).collect::<Vec<_>>()
        };
        own.flat_map(names).collect()
    }
}

/// Completes a request of a worker.
async fn answer(relay: &Relay, worker: &mut Worker, ask: http::Request<bytes::Bytes>, body: &str) {
    while_asking(relay, ask, async {
        let id = worker.request().await.id;
        worker.answer(&id, body).await;
    })
    .await;
}

/// A worker that likes so many inputs at once.
fn in_batches_of(inputs: &str) -> serde_json::Value {
    let mut first = registration("a", &["m"], 1);
    first["agent_config"] = json!({ "embedding_batch_size": inputs });
    first
}

fn embed(inputs: usize) -> http::Request<bytes::Bytes> {
    let body = json!({ "model": "m", "input": vec!["x"; inputs] });
    request("POST", "/api/llm/v1/embeddings", &[("content-type", "application/json")], body.to_string())
}

#[tokio::test(start_paused = true)]
async fn every_family_has_its_type_and_exactly_its_labels() {
    let relay = relay();
    let mut worker = Worker::join(&relay, "llm", &in_batches_of("1")).await;
    let usage = r#"{"usage":{"prompt_tokens":3,"completion_tokens":5}}"#;
    answer(&relay, &mut worker, chat("m", &json!({})), usage).await;
    let vector = r#"{"object":"list","data":[{"index":0,"embedding":[1]}],"model":"m","usage":{"prompt_tokens":1,"total_tokens":1}}"#;
    while_asking(&relay, embed(2), async {
        for _ in 0..2 {
            let id = worker.request().await.id;
            worker.answer(&id, vector).await;
        }
    })
    .await;
    relay.until(|llm| llm["server"]["jobs_completed_total"] == 2).await;
    let series = Series::read(&relay).await;
    let r = ["ext", "plugin_type", "job_type", "label"];
    let with =
        |more: &[&'static str]| r.iter().chain(more).map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    for (family, sample, kind, labels) in [
        ("nfrx_request_total", "", "counter", with(&[])),
        ("nfrx_request_started_total", "", "counter", with(&[])),
        ("nfrx_request_completed_total", "", "counter", with(&["success", "error_code"])),
        ("nfrx_request_duration_seconds", "_count", "histogram", with(&[])),
        ("nfrx_request_duration_seconds", "_bucket", "histogram", with(&["le"])),
        ("nfrx_request_size_total", "", "counter", with(&["size_kind"])),
        ("nfrx_request_inflight", "", "gauge", with(&[])),
        ("nfrx_request_chunk_completed_total", "", "counter", with(&["worker_id", "success", "error_code"])),
        ("nfrx_request_chunk_duration_seconds", "_sum", "histogram", with(&["worker_id"])),
        ("nfrx_request_chunk_size_total", "", "counter", with(&["worker_id", "size_kind"])),
        ("nfrx_agent_jobs_inflight", "", "gauge", BTreeSet::new()),
        ("nfrx_agent_jobs_total", "", "counter", BTreeSet::new()),
        ("nfrx_agent_jobs_failed_total", "", "counter", BTreeSet::new()),
    ] {
        assert_eq!(series.types.get(family).map(String::as_str), Some(kind), "{family}");
        assert_eq!(series.labels(&format!("{family}{sample}")), labels, "{family}{sample}");
    }
    let build = ["component", "date", "sha", "version"].map(str::to_owned);
    assert_eq!(series.labels("nfrx_server_build_info"), BTreeSet::from(build));
}

#[tokio::test(start_paused = true)]
async fn a_request_moves_its_series_at_its_start_and_at_its_end() {
    let relay = relay();
    let mut worker = Worker::llm(&relay, "a", &["m"], 1).await;
    let counts = |series: &Series, suffix: &str| {
        [
            format!("nfrx_request_total{{{R}}}"),
            format!("nfrx_request_started_total{{{R}}}"),
            format!("nfrx_request_inflight{{{R}}}"),
            format!("nfrx_request_completed_total{{{R},{suffix}}}"),
            "nfrx_agent_jobs_inflight".to_owned(),
            "nfrx_agent_jobs_total".to_owned(),
            "nfrx_agent_jobs_failed_total".to_owned(),
        ]
        .map(|name| series.of(&name))
    };
    let good = r#"success="true",error_code="""#;
    while_asking(&relay, chat("m", &json!({})), async {
        let id = worker.request().await.id;
        // Seen to fail: without the count of what was accepted.
        assert_eq!(counts(&Series::read(&relay).await, good), [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
        // One that waits is accepted and not started.
        while_asking(&relay, chat("m", &json!({})), async {
            relay.until(|llm| llm["server"]["scheduler_queue_len"] == 1).await;
            assert_eq!(counts(&Series::read(&relay).await, good), [2.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
            worker.answer(&id, "{}").await;
            let id = worker.request().await.id;
            worker.fail(&id, "upstream_error").await;
        })
        .await;
    })
    .await;
    relay.until(|llm| llm["server"]["jobs_inflight_total"] == 0).await;
    let series = Series::read(&relay).await;
    assert_eq!(counts(&series, good), [2.0, 2.0, 0.0, 1.0, 0.0, 2.0, 1.0]);
    assert_eq!(counts(&series, r#"success="false",error_code="upstream_error""#)[3], 1.0);
    assert_eq!(series.of(&format!("nfrx_request_duration_seconds_count{{{R}}}")), 2.0);
}

#[tokio::test(start_paused = true)]
async fn parts_are_counted_by_worker_and_their_inputs_too() {
    let relay = relay();
    let mut worker = Worker::join(&relay, "llm", &in_batches_of("2")).await;
    let part = |inputs: usize| {
        let data: Vec<_> = (0..inputs).map(|index| json!({ "index": index, "embedding": [1] })).collect();
        json!({ "object": "list", "data": data, "model": "m", "usage": { "prompt_tokens": inputs, "total_tokens": inputs } })
            .to_string()
    };
    while_asking(&relay, embed(3), async {
        for inputs in [2, 1] {
            let id = worker.request().await.id;
            worker.answer(&id, &part(inputs)).await;
        }
    })
    .await;
    relay.until(|llm| llm["server"]["jobs_inflight_total"] == 0).await;
    let series = Series::read(&relay).await;
    let r = R.replace("llm.completion", "llm.embedding");
    let chunk = |family: &str, rest: &str| series.of(&format!("{family}{{{r},worker_id=\"a\"{rest}}}"));
    assert_eq!(chunk("nfrx_request_chunk_completed_total", r#",success="true",error_code="""#), 2.0);
    assert_eq!(chunk("nfrx_request_chunk_size_total", r#",size_kind="embeddings""#), 3.0);
    assert_eq!(chunk("nfrx_request_chunk_duration_seconds_count", ""), 2.0);
    // The request itself is one, of three inputs.
    assert_eq!(series.of(&format!("nfrx_request_total{{{r}}}")), 1.0);
    assert_eq!(
        series.of(&format!("nfrx_request_completed_total{{{r},success=\"true\",error_code=\"\"}}")),
        1.0
    );
    assert_eq!(series.of(&format!("nfrx_request_size_total{{{r},size_kind=\"embeddings\"}}")), 3.0);
    assert_eq!(series.of(&format!("nfrx_request_inflight{{{r}}}")), 0.0);
}

#[tokio::test(start_paused = true)]
async fn uploads_have_the_names_of_their_services() {
    let relay = relay();
    let mut asr = Worker::join(&relay, "asr", &registration("s", &["whisper"], 1)).await;
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b--\r\n";
    let kind = [("content-type", "multipart/form-data; boundary=b")];
    answer(&relay, &mut asr, request("POST", "/api/asr/v1/audio/transcriptions", &kind, form), "{}").await;
    let mut docling = Worker::join(&relay, "docling", &registration("d", &[], 1)).await;
    answer(&relay, &mut docling, request("POST", "/api/docling/v1/convert/source", &[], "{}"), "{}").await;
    for plugin in ["asr", "docling"] {
        relay.until_part(plugin, |part| part["server"]["jobs_completed_total"] == 1).await;
    }
    let series = Series::read(&relay).await;
    for (ext, job_type, label) in
        [("asr", "asr.transcribe", "whisper"), ("docling", "docling.convert", "docling")]
    {
        let r = format!(r#"ext="{ext}",plugin_type="worker",job_type="{job_type}",label="{label}""#);
        for name in ["nfrx_request_total", "nfrx_request_started_total"] {
            assert_eq!(series.of(&format!("{name}{{{r}}}")), 1.0, "{name} of {ext}");
        }
        let completed = format!("nfrx_request_completed_total{{{r},success=\"true\",error_code=\"\"}}");
        assert_eq!(series.of(&completed), 1.0, "{ext}");
    }
}
