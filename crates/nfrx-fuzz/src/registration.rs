//! What an agent says of itself, a line each, as on the control stream of `nfrx.h2`: lines
//! are the same however they come, messages are again themselves once written anew, both
//! carriers read one registration, and whatever it holds the pool stays bounded.

use std::sync::Arc;

use nfrx_mcp::fuzzing::offered;
use nfrx_pool::fuzzing::{Idle, config};
use nfrx_pool::{Pool, PoolConfig, Takeover};
use nfrx_spi::{Caller, Newcomer, Registration, Scopes, WorkerIntake as _, WorkerRegistry as _};
use nfrx_tunnel::fuzzing::{Said, lines, read, v1, write};

use crate::pieces::cuts;

/// Of an id, a name or a label: more is cut.
const TEXT_CHARS_MAX: usize = 256;
/// Servers of one agent, and bytes of a public id.
const SERVERS_MAX: usize = 64;
const ID_BYTES_MAX: usize = 128;

pub(crate) fn run(data: &[u8]) {
    let [whole, others @ ..] = cuts(data).map(lines);
    for other in others {
        assert_eq!(other, whole, "cut otherwise");
    }
    let messages: Vec<Said> = whole.iter().flatten().filter_map(|line| read(line)).collect();
    for said in &messages {
        let again = write(said.clone());
        assert_eq!(again.iter().position(|byte| *byte == b'\n'), Some(again.len() - 1), "one line");
        // A load beyond any number is a number no more; JSON writes it as null.
        if !matches!(said, Said::Heartbeat(_)) {
            assert_eq!(read(&again).as_ref(), Some(said), "written anew");
        }
    }
    let mut messages = messages.into_iter();
    let Some(Said::Register(registration, _)) = messages.next() else { return };
    let first = whole.iter().flatten().find(|line| read(line).is_some());
    let text = first.and_then(|line| std::str::from_utf8(line).ok()).expect("it was read");
    assert_eq!(v1::register(text).as_ref(), Some(&registration), "the carriers disagree");
    if let Some(ids) = offered(&registration.agent_config) {
        assert!(ids.len() <= SERVERS_MAX);
        assert!(ids.iter().all(|id| id.len() <= ID_BYTES_MAX), "{ids:?}");
    }
    join(registration, messages);
}

/// The agent joins a pool, says the rest, and leaves.
fn join(registration: Registration, rest: impl Iterator<Item = Said>) {
    let pool = Pool::new(PoolConfig { takeover: Takeover::Resume, ..config(1, 1) });
    let caller = Caller { peer: ([127, 0, 0, 1], 1).into(), key: None, scopes: Arc::new(Scopes::default()) };
    let newcomer = Newcomer { registration, tunnel: Arc::new(Idle), caller, resume: None };
    let Ok(joined) = pool.join(newcomer) else { panic!("there is room") };
    joined.membership.open();
    judge(&pool, &joined.worker_id);
    for said in rest {
        match said {
            Said::StatusUpdate(update) => joined.membership.update(update),
            Said::Heartbeat(heartbeat) => joined.membership.heartbeat(heartbeat),
            Said::Register(..) => {}
        }
        judge(&pool, &joined.worker_id);
    }
    drop(joined.membership);
    assert!(!pool.has_worker(&joined.worker_id), "it has left");
    assert!(pool.aggregated_models().is_empty(), "and its models with it");
}

fn judge(pool: &Pool, id: &str) {
    assert!(pool.has_worker(id));
    assert!((1..=TEXT_CHARS_MAX).contains(&id.chars().count()));
    let models = pool.aggregated_models();
    for model in &models {
        assert!((1..=TEXT_CHARS_MAX).contains(&model.id.chars().count()), "{model:?}");
        assert_eq!(model.owners.len(), 1);
        assert_eq!(pool.workers_for_label(&model.id).len(), 1, "{model:?} is not found");
    }
    assert_eq!(pool.worker_models(id).len(), models.len());
    let snapshot = pool.snapshot();
    assert_eq!(snapshot["workers"].as_array().map(Vec::len), Some(1));
    assert!(bounded(&snapshot), "{snapshot}");
}

/// Whether no text is longer than one of an agent may be.
fn bounded(value: &serde_json::Value) -> bool {
    let short = |text: &str| text.chars().count() <= TEXT_CHARS_MAX;
    match value {
        serde_json::Value::String(text) => short(text),
        serde_json::Value::Array(items) => items.iter().all(bounded),
        serde_json::Value::Object(members) => members.iter().all(|(key, value)| short(key) && bounded(value)),
        _ => true,
    }
}
