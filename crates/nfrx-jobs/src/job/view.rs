//! A job as clients see it (jobs contract §2.1, §2.2); new members follow the old ones.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Job, JobChannel, JobError, Side, Status};
use crate::json::Json;
use crate::spool::Object;
use crate::transfer::ChannelState;

/// What is shown of a channel (jobs contract §2.2); its state is new (KD-113).
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChannelView {
    pub(crate) channel_id: String,
    /// What the client has to do.
    method: &'static str,
    url: String,
    expires_at: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<ChannelState>,
}

impl ChannelView {
    pub(crate) fn new(side: Side, key: &str, channel: &JobChannel, state: Option<ChannelState>) -> Self {
        let method = match side {
            Side::Payload => "POST",
            Side::Result => "GET",
        };
        Self {
            channel_id: channel.id.clone(),
            method,
            url: format!("/api/transfer/{}", channel.id),
            expires_at: channel.expires_at.to_string(),
            key: key.to_owned(),
            properties: channel.properties.clone().filter(|properties| !properties.is_empty_object()),
            state,
        }
    }
}

/// What is shown of a stored payload or result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ObjectView {
    bytes: u64,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    /// Where its client fetches a result.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    stored_at: String,
}

impl ObjectView {
    pub(crate) fn new(job: &str, side: Side, key: &str, object: &Object) -> Self {
        let segment = percent_encoding::utf8_percent_encode(key, percent_encoding::NON_ALPHANUMERIC);
        Self {
            bytes: object.bytes,
            sha256: object.sha256.clone(),
            content_type: object.content_type.clone(),
            url: (side == Side::Result).then(|| format!("/api/jobs/{job}/result/{segment}")),
            stored_at: object.stored_at.to_string(),
        }
    }
}

/// How a job is shown to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// To its client: all of it.
    Whole,
    /// In the state: nothing that is the client's own (KD-99).
    Outline,
}

/// A job's view.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct JobView {
    id: String,
    r#type: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Json>,
    #[serde(skip_serializing_if = "String::is_empty")]
    worker_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    worker_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    claimed_worker_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    claimed_worker_group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<JobError>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    payloads: BTreeMap<String, ChannelView>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    results: BTreeMap<String, ChannelView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queue_position: Option<u64>,
    created_at: String,
    updated_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<String>,
    revision: u64,
    attempt: u32,
    max_attempts: u32,
    #[serde(skip_serializing_if = "is_zero")]
    priority: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    payload_keys: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stored_payloads: BTreeMap<String, ObjectView>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stored_results: BTreeMap<String, ObjectView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes members by reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl JobView {
    /// The view; `state` tells how a channel is.
    pub(crate) fn new(job: &Job, shown: Shown, state: impl Fn(&str) -> Option<ChannelState>) -> Self {
        let whole = shown == Shown::Whole;
        let channels = |side: Side| {
            let view = |(key, channel): (&String, &JobChannel)| {
                (key.clone(), ChannelView::new(side, key, channel, state(&channel.id)))
            };
            job.channels(side).iter().filter(|(_, channel)| whole && !channel.spooled).map(view).collect()
        };
        let stored = |side: Side| {
            let view = |(key, object): (&String, &Object)| {
                (key.clone(), ObjectView::new(&job.id, side, key, object))
            };
            job.stored(side).iter().filter(|_| whole).map(view).collect()
        };
        let claim = job.claim.as_ref();
        let free = |value: &Option<Json>| value.clone().filter(|value| whole && !value.is_empty_object());
        Self {
            id: job.id.clone(),
            r#type: job.order.kind.clone(),
            status: job.status,
            metadata: free(&job.order.metadata),
            worker_id: job.order.worker_id.clone(),
            worker_group: job.order.worker_group.clone(),
            claimed_worker_id: claim.map(|claim| claim.worker_id.clone()).unwrap_or_default(),
            claimed_worker_group: claim.map(|claim| claim.worker_group.clone()).unwrap_or_default(),
            progress: free(&job.progress),
            error: job.error.clone(),
            payloads: channels(Side::Payload),
            results: channels(Side::Result),
            queue_position: None,
            created_at: job.created_at.to_string(),
            updated_at: job.updated_at.to_string(),
            claimed_at: claim.map(|claim| claim.since.to_string()),
            finished_at: job.finished_at.map(|time| time.to_string()),
            revision: job.revision,
            attempt: job.attempt,
            max_attempts: job.order.max_attempts,
            priority: job.order.priority,
            tags: job.order.tags.clone(),
            labels: job.order.labels.clone(),
            payload_keys: job.order.payload_keys.iter().filter(|_| whole).cloned().collect(),
            stored_payloads: stored(Side::Payload),
            stored_results: stored(Side::Result),
            not_before: job.order.not_before.map(|time| time.to_string()),
            expires_at: job.order.expires_at.map(|time| time.to_string()),
        }
    }

    /// As one line of JSON.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}
