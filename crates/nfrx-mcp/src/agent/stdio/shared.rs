//! The one child that all modern clients share: started before it is needed, asked which era
//! it belongs to, and started anew when it has ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::answer::{HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION};
use super::child::{self, Input};
use super::message::Object;
use super::modern::Modern;
use super::sessions::Nursery;
use super::starts::{Failure, Starts};
use super::tools::Tools;

/// A child that does not answer `server/discover` for so long is taken for a legacy one. Some
/// install themselves when they start.
const DISCOVER_MAX: Duration = Duration::from_secs(30);
/// Silence may have meant something else: it is asked again after so long, if it matters.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// How long the list of tools may take, and how many pages it may have.
const TOOLS_MAX: Duration = Duration::from_secs(10);
const PAGES_MAX: usize = 64;
/// A child that ran so long was of use.
const USEFUL_AFTER: Duration = Duration::from_secs(30);

/// Which era a server belongs to.
#[derive(Clone)]
pub(super) enum Era {
    /// This child speaks to all clients.
    Modern(Arc<Modern>),
    /// It begins with `initialize`.
    Legacy,
}

/// Why it is not known, or there is no child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoChild {
    /// One was started and failed.
    Failed(String),
    /// The last ones failed, and it is too early for the next.
    Waiting(Failure),
}

#[derive(Clone)]
enum Status {
    Unknown,
    Starting,
    Modern(Arc<Modern>),
    Legacy {
        /// If it was only silent: until when that is believed.
        until: Option<Instant>,
    },
    Failed(String),
}

/// The shared child. Clones are one.
#[derive(Clone)]
pub(super) struct Shared(Arc<Inner>);

struct Inner {
    nursery: Nursery,
    starts: Starts,
    status: watch::Sender<Status>,
    /// Who decides that one is to be started does it alone.
    deciding: Mutex<()>,
}

impl Shared {
    /// Not started yet.
    pub(super) fn new(nursery: Nursery) -> Self {
        let status = watch::Sender::new(Status::Unknown);
        Self(Arc::new(Inner { nursery, starts: Starts::new(), status, deciding: Mutex::default() }))
    }

    fn deciding(&self) -> MutexGuard<'_, ()> {
        self.0.deciding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's era, as soon as it is known; starts a child if that is needed.
    pub(super) async fn era(&self) -> Result<Era, NoChild> {
        if let Some(era) = self.known_or_start()? {
            return Ok(era);
        }
        let mut status = self.0.status.subscribe();
        let known = status.wait_for(|status| !matches!(status, Status::Starting)).await;
        match known.map(|status| status.clone()) {
            Ok(Status::Modern(child)) => Ok(Era::Modern(child)),
            Ok(Status::Legacy { .. }) => Ok(Era::Legacy),
            Ok(Status::Failed(why)) => Err(NoChild::Failed(why)),
            Ok(Status::Unknown | Status::Starting) | Err(_) => {
                Err(NoChild::Failed("the MCP server has ended".to_owned()))
            }
        }
    }

    /// The era, if it is known; else a child is being started from here on.
    fn known_or_start(&self) -> Result<Option<Era>, NoChild> {
        let _alone = self.deciding();
        let status = self.0.status.borrow().clone();
        match status {
            Status::Starting => return Ok(None),
            Status::Modern(child) if child.ending().is_none() => return Ok(Some(Era::Modern(child))),
            Status::Legacy { until } if until.is_none_or(|until| until > Instant::now()) => {
                return Ok(Some(Era::Legacy));
            }
            Status::Unknown | Status::Modern(_) | Status::Legacy { .. } | Status::Failed(_) => {}
        }
        self.0.starts.may_start().map_err(NoChild::Waiting)?;
        self.0.status.send_replace(Status::Starting);
        let shared = self.clone();
        self.0.nursery.drain.spawn("mcp shared child", async move { shared.run().await });
        Ok(None)
    }

    /// Starts a child and runs it to its end.
    async fn run(self) {
        let Inner { nursery, starts, .. } = &*self.0;
        let process = match nursery.launch.launch() {
            Ok(process) => process,
            Err(error) => return self.fail(&format!("the MCP server can't be started: {error}")),
        };
        let started = Instant::now();
        let (input, orders) = Input::new();
        let modern = Modern::new(Arc::clone(&nursery.server), input);
        let running = child::run(nursery, process, orders, Arc::clone(&modern));
        let is_judged = AtomicBool::new(false);
        tokio::select! {
            () = running => {}
            () = self.care(&modern, &is_judged) => {}
        }
        let why = modern.ending().map_or_else(String::new, |ending| ending.to_string());
        if !is_judged.load(Ordering::Relaxed) {
            // Gone before its end could be heard of.
            return self.fail(&why);
        }
        if matches!(&*self.0.status.borrow(), Status::Modern(current) if Arc::ptr_eq(current, &modern)) {
            warn!(server = &*nursery.server, why, "the MCP server has ended");
            if started.elapsed() < USEFUL_AFTER {
                starts.failed(&why);
            }
            self.0.status.send_replace(Status::Unknown);
        }
    }

    fn fail(&self, why: &str) {
        warn!(server = &*self.0.nursery.server, why, "the MCP server could not be started");
        self.0.starts.failed(why);
        self.0.status.send_replace(Status::Failed(why.to_owned()));
    }

    /// Learns what the child is, says so with `is_judged`, then follows its tools. Never ends:
    /// the child does.
    async fn care(&self, modern: &Arc<Modern>, is_judged: &AtomicBool) {
        let server = &*self.0.nursery.server;
        let judged = |status| {
            self.0.status.send_replace(status);
            is_judged.store(true, Ordering::Relaxed);
        };
        match timeout(DISCOVER_MAX, modern.ask("server/discover", json!({}))).await {
            Ok(None) => {
                let why = modern.ending().map_or_else(String::new, |ending| ending.to_string());
                self.fail(&why);
                is_judged.store(true, Ordering::Relaxed);
            }
            Ok(Some(answer)) if is_modern(&answer) => {
                info!(server, "the MCP server serves all clients with one process");
                let changes = self.learn(modern, &answer).await;
                self.0.starts.succeeded();
                judged(Status::Modern(Arc::clone(modern)));
                if changes {
                    self.follow(modern).await;
                }
            }
            legacy => {
                let until = legacy.is_err().then(|| Instant::now() + SILENT_FOR);
                info!(server, "the MCP server gets one process for each session");
                self.0.starts.succeeded();
                judged(Status::Legacy { until });
                modern.stop();
            }
        }
        std::future::pending().await
    }

    /// Learns the child's tools; whether it tells of changes.
    async fn learn(&self, modern: &Arc<Modern>, discovered: &Object) -> bool {
        let capabilities = discovered.object("result").and_then(|result| result.object("capabilities"));
        let Some(tools) = capabilities.and_then(|capabilities| capabilities.object("tools")) else {
            return false;
        };
        relearn(modern).await;
        tools.get("listChanged").is_some_and(|changes| changes.get() == "true")
    }

    async fn follow(&self, modern: &Arc<Modern>) {
        let wanted = json!({ "notifications": { "toolsListChanged": true } });
        modern.ask("subscriptions/listen", wanted).await;
        loop {
            modern.changed.notified().await;
            relearn(modern).await;
        }
    }

    /// Ends the child. The next request would start another.
    pub(super) fn stop(&self) {
        if let Status::Modern(child) = &*self.0.status.borrow() {
            child.stop();
        }
    }

    /// Whether the server can be used, or why not.
    pub(super) async fn probe(&self) -> Result<(), String> {
        match self.era().await {
            Ok(_) => Ok(()),
            Err(NoChild::Failed(why)) => Err(why),
            Err(NoChild::Waiting(failure)) => Err(failure.why),
        }
    }
}

/// Asks for all tools. What was known stays known if they don't come.
async fn relearn(modern: &Arc<Modern>) {
    let asking = async {
        let (mut tools, mut cursor) = (Tools::default(), None);
        for _ in 0..PAGES_MAX {
            let params = cursor.map_or_else(|| json!({}), |cursor: String| json!({ "cursor": cursor }));
            let answer = modern.ask("tools/list", params).await?;
            cursor = tools.add(answer.get("result")?);
            if cursor.is_none() {
                break;
            }
        }
        Some(tools)
    };
    if let Ok(Some(tools)) = timeout(TOOLS_MAX, asking).await {
        modern.set_tools(tools);
    }
}

/// Whether an answer to `server/discover` is one of the modern era: a result, or an error
/// that only this era knows.
fn is_modern(answer: &Object) -> bool {
    let code = answer.object("error").and_then(|error| error.get("code")?.get().parse::<i32>().ok());
    match code {
        Some(code) => [HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION].contains(&code),
        None => answer.get("result").is_some(),
    }
}
