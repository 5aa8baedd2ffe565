//! What the API's document says of the routes of jobs and channels: bodies as JSON Schema.

use nfrx_spi::Operation;
use serde_json::{Value, json};

use super::order::{KEY_BYTES_MAX, PAYLOADS_MAX};
use super::worker::Call;
use crate::job::Status;
use crate::labels::{LABEL_BYTES_MAX, LABELS_MAX};

/// The largest whole number that every language reads as it was written (RFC 8259 §6).
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// A job is made.
pub(super) fn create() -> Operation {
    Operation {
        summary: "Makes a job",
        request: Some(order()),
        response: Some(object(json!({ "job_id": string(), "status": status() }), &["job_id", "status"])),
        ..Operation::default()
    }
}

/// Jobs are listed.
pub(super) fn list() -> Operation {
    let page = json!({ "jobs": { "type": "array", "items": job() }, "next_cursor": string() });
    let query = json!({
        "status": status(),
        "type": string(),
        "tag": string(),
        "worker_id": string(),
        "created_from": time(),
        "created_to": time(),
        "cursor": count(),
        "limit": count(),
    });
    Operation {
        summary: "Lists jobs, newest first",
        query: Some(object(query, &[])),
        response: Some(object(page, &["jobs"])),
        ..Operation::default()
    }
}

/// One job is shown.
pub(super) fn show() -> Operation {
    Operation {
        summary: "Shows a job, at once or when it has changed",
        query: Some(object(json!({ "wait_seconds": count(), "revision": count() }), &[])),
        response: Some(job()),
        ..Operation::default()
    }
}

/// A job is given up.
pub(super) fn cancel(summary: &'static str) -> Operation {
    Operation {
        summary,
        response: Some(object(json!({ "status": status() }), &["status"])),
        ..Operation::default()
    }
}

/// A payload is stored.
pub(super) fn store() -> Operation {
    Operation {
        summary: "Stores a payload of a job",
        request: Some(json!({})),
        request_type: Some("application/octet-stream"),
        response: Some(stored()),
        ..Operation::default()
    }
}

/// A stored result is fetched.
pub(super) fn fetch() -> Operation {
    Operation {
        summary: "Gives a stored result, whole or in part",
        response_type: Some("application/octet-stream"),
        ..Operation::default()
    }
}

/// A worker asks for a job.
pub(super) fn claim() -> Operation {
    let request = json!({
        "types": strings(),
        "worker_id": string(),
        "worker_group": string(),
        "labels": names(LABEL_BYTES_MAX, LABELS_MAX),
        "lease_seconds": positive(),
        "max_wait_seconds": { "type": "integer", "minimum": -INTEGER_MAX, "maximum": INTEGER_MAX },
    });
    let claimed = json!({
        "attempt": count(),
        "claim_token": string(),
        "claimed_worker_group": string(),
        "claimed_worker_id": string(),
        "job_id": string(),
        "lease_seconds": count(),
        "metadata": { "type": ["object", "null"] },
        "type": string(),
        "worker_group": string(),
        "worker_id": string(),
    });
    Operation {
        summary: "Takes a job, or waits for one",
        request: Some(object(request, &[])),
        response: Some(object(claimed, &["attempt", "claim_token", "job_id", "lease_seconds", "type"])),
        may_be_empty: true,
        ..Operation::default()
    }
}

/// A worker asks for jobs as they come.
pub(super) fn stream() -> Operation {
    let listed = |of: &str| json!({ "type": "string", "description": format!("{of}, with commas between") });
    let query = json!({
        "types": listed("types of jobs"),
        "labels": listed("what the worker has"),
        "worker_id": string(),
        "worker_group": string(),
        "lease_seconds": count(),
        "max_inflight": positive(),
    });
    Operation {
        summary: "Takes jobs as they come",
        query: Some(object(query, &[])),
        streams: true,
        ..Operation::default()
    }
}

/// A worker says something of a job that it has.
pub(super) fn call(call: Call) -> Operation {
    let token = json!({ "claim_token": string() });
    let (request, must, response) = match call {
        Call::Open(_) => {
            let asked = json!({ "key": string(), "properties": { "type": "object" } });
            (merged(token, asked), [].as_slice(), channel())
        }
        Call::Report => {
            let said = json!({
                "state": status(),
                "progress": { "type": "object" },
                "error": error(),
            });
            let told = object(json!({ "status": status() }), &["status"]);
            (merged(token, said), ["state"].as_slice(), told)
        }
        Call::Renew => {
            let renewed = json!({
                "canceled": { "type": "boolean" },
                "lease_seconds": { "type": ["integer", "null"] },
                "status": status(),
            });
            let told = object(renewed, &["canceled", "lease_seconds", "status"]);
            (merged(token, json!({ "lease_seconds": positive() })), [].as_slice(), told)
        }
    };
    Operation {
        summary: call.summary(),
        request: Some(object(request, must)),
        response: Some(response),
        ..Operation::default()
    }
}

/// A channel is made.
pub(crate) fn transfer() -> Operation {
    let made = json!({ "channel_id": string(), "expires_at": time() });
    Operation {
        summary: "Makes a one-time channel",
        response: Some(object(made, &["channel_id", "expires_at"])),
        ..Operation::default()
    }
}

fn order() -> Value {
    let members = json!({
        "type": { "type": "string", "pattern": "\\S" },
        "metadata": { "type": "object" },
        "worker_id": string(),
        "worker_group": string(),
        "labels": names(LABEL_BYTES_MAX, LABELS_MAX),
        "tags": names(LABEL_BYTES_MAX, LABELS_MAX),
        "priority": { "type": "integer", "minimum": -INTEGER_MAX, "maximum": INTEGER_MAX },
        "not_before": time(),
        "expires_at": time(),
        "max_attempts": positive(),
        "retry_delay_seconds": positive(),
        "keep": { "type": "boolean" },
        "payload_keys": names(KEY_BYTES_MAX, PAYLOADS_MAX),
    });
    object(members, &["type"])
}

/// As its clients see it; members that are empty are left out.
fn job() -> Value {
    let map = |of: Value| json!({ "type": "object", "additionalProperties": of });
    let members = json!({
        "id": string(),
        "type": string(),
        "status": status(),
        "metadata": { "type": "object" },
        "worker_id": string(),
        "worker_group": string(),
        "claimed_worker_id": string(),
        "claimed_worker_group": string(),
        "progress": { "type": "object" },
        "error": error(),
        "payloads": map(json!({ "type": "object" })),
        "results": map(json!({ "type": "object" })),
        "queue_position": count(),
        "created_at": time(),
        "updated_at": time(),
        "claimed_at": time(),
        "finished_at": time(),
        "revision": count(),
        "attempt": count(),
        "max_attempts": count(),
        "priority": { "type": "integer" },
        "tags": strings(),
        "labels": strings(),
        "payload_keys": strings(),
        "stored_payloads": map(stored()),
        "stored_results": map(stored()),
        "not_before": time(),
        "expires_at": time(),
    });
    let always = ["id", "type", "status", "created_at", "updated_at", "revision", "attempt", "max_attempts"];
    object(members, &always)
}

fn stored() -> Value {
    let members = json!({
        "bytes": count(), "sha256": string(), "content_type": string(), "url": string(), "stored_at": time(),
    });
    object(members, &["bytes", "sha256", "stored_at"])
}

fn channel() -> Value {
    let members = json!({
        "channel_id": string(),
        "expires_at": time(),
        "key": string(),
        "properties": { "type": "object" },
        "reader_url": string(),
        "writer_url": string(),
    });
    object(members, &["channel_id", "expires_at", "key"])
}

fn error() -> Value {
    json!({ "type": "object", "properties": { "code": string(), "message": string() } })
}

fn status() -> Value {
    json!({ "enum": Status::ALL.map(Status::as_str) })
}

fn object(members: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "required": required, "properties": members })
}

fn merged(mut members: Value, more: Value) -> Value {
    if let (Some(members), Value::Object(more)) = (members.as_object_mut(), more) {
        members.extend(more);
    }
    members
}

fn string() -> Value {
    json!({ "type": "string" })
}

fn strings() -> Value {
    json!({ "type": "array", "items": string() })
}

/// A bounded list of short texts. Others than ASCII's are fine, but their bytes count.
fn names(bytes_max: usize, names_max: usize) -> Value {
    let name = json!({ "type": "string", "pattern": "^[!-~]+$", "maxLength": bytes_max });
    json!({ "type": "array", "maxItems": names_max, "items": name })
}

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn positive() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": INTEGER_MAX })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time" })
}
