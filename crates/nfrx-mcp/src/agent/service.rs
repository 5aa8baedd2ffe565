//! The servers of an agent, by public id: requests from the tunnel are judged here and go to
//! the one they name; what is offered follows from what is there.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Method, Request, Response, Uri};
use nfrx_agent::{StatusBoard, counted, host_facts, is_plain_path};
use nfrx_runtime::DrainWatch;
use nfrx_spi::{Body, BoxFuture, CallError, WorkerStatus};
use nfrx_tunnel::{AgentService, Offer};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::portrait;
use super::upstream::Upstream;
use crate::about::ABOUT;
use crate::digest::SessionMark;
use crate::offer::{McpOffer, SESSIONS_MAX, ServerOffer};
use crate::recent::Recent;

/// How often servers are looked at, and how long one may take to be reached (MCP contract
/// §4.4).
const PROBE_EVERY: Duration = Duration::from_secs(20);
const PROBE_MAX: Duration = Duration::from_secs(10);

/// One server and what is said of it.
#[derive(Clone)]
pub(super) struct Served {
    /// What is said of it.
    pub(super) offer: ServerOffer,
    /// The way to it.
    pub(super) upstream: Arc<dyn Upstream>,
    /// The same without its rules.
    pub(super) bare: Arc<dyn Upstream>,
}

/// All servers of an agent. Clones share them.
#[derive(Clone)]
pub(super) struct McpService {
    shared: Arc<Shared>,
}

struct Shared {
    drain: DrainWatch,
    status: StatusBoard,
    max_concurrency: u32,
    started_ms: u64,
    facts: BTreeMap<String, String>,
    state: Mutex<State>,
    offers: watch::Sender<Offer>,
}

struct State {
    servers: BTreeMap<String, Arc<Served>>,
    /// Why servers can't be reached, by id; `None` for those that can.
    problems: BTreeMap<String, Option<String>>,
    sessions: Recent<SessionMark, ()>,
}

impl McpService {
    /// Without servers; and where its offers come from.
    pub(super) fn new(
        drain: DrainWatch,
        status: StatusBoard,
        max_concurrency: u32,
    ) -> (Self, watch::Receiver<Offer>) {
        let (offers, receiver) = watch::channel(Offer::default());
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let shared = Shared {
            drain,
            status,
            max_concurrency,
            started_ms: started.as_millis() as u64,
            facts: host_facts(),
            state: Mutex::new(State {
                servers: BTreeMap::new(),
                problems: BTreeMap::new(),
                sessions: Recent::new(SESSIONS_MAX),
            }),
            offers,
        };
        (Self { shared: Arc::new(shared) }, receiver)
    }

    /// These are the servers from now on; requests that run at others go on.
    pub(super) fn set_servers(&self, servers: Vec<Served>) {
        let shared = &self.shared;
        {
            let mut state = shared.lock();
            state.servers =
                servers.into_iter().map(|served| (served.offer.id.clone(), Arc::new(served))).collect();
            let State { servers, problems, .. } = &mut *state;
            problems.retain(|id, _| servers.contains_key(id));
        }
        shared.publish();
    }

    /// What is said of each server.
    pub(super) fn offered(&self) -> Vec<ServerOffer> {
        self.shared.servers().into_iter().map(|(_, served)| served.offer.clone()).collect()
    }

    /// Looks at the servers again and again, until it is dropped. Whether one can be reached
    /// is shown and offered; requests are passed on in any case.
    pub(super) async fn probe(self) {
        loop {
            for (id, served) in self.shared.servers() {
                let probing = tokio::time::timeout(PROBE_MAX, served.upstream.probe());
                let problem = match probing.await {
                    Ok(found) => found.err(),
                    Err(_) => Some(format!("no answer within {} s", PROBE_MAX.as_secs())),
                };
                self.shared.note(&id, problem);
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }
}

impl AgentService for McpService {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { shared.serve(request).await })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn servers(&self) -> Vec<(String, Arc<Served>)> {
        self.lock().servers.iter().map(|(id, served)| (id.clone(), Arc::clone(served))).collect()
    }

    async fn serve(&self, mut request: Request<Body>) -> Result<Response<Body>, CallError> {
        if self.drain.is_draining() {
            return Err(CallError::Draining);
        }
        if let Some(served) = self.described(request.method(), request.uri()) {
            return Ok(portrait::describe(&served.upstream).await);
        }
        let (served, target) = self.judge(request.method(), request.uri()).ok_or_else(|| {
            debug!(method = %request.method(), path = request.uri().path(), "a request was refused");
            CallError::Refused
        })?;
        *request.uri_mut() = target;
        let mut job = self.status.job();
        let opens_session = served.offer.replicas && request.method() == Method::POST;
        let answered = served.upstream.handle(request).await;
        let answer = answered.inspect_err(|error| {
            if *error != CallError::RequestBody {
                job.ended(false);
            }
        })?;
        if opens_session && let Some(session) = answer.headers().get("mcp-session-id") {
            self.note_session(SessionMark::of(session.as_bytes()));
        }
        Ok(counted(answer, job))
    }

    /// The server with this id, as a segment of a path has it.
    fn named(&self, segment: &str) -> Option<Arc<Served>> {
        let id = percent_decode_str(segment).decode_utf8().ok()?;
        self.lock().servers.get(&*id).map(Arc::clone)
    }

    /// The server that the relay's operator asks about.
    fn described(&self, method: &Method, uri: &Uri) -> Option<Arc<Served>> {
        let segment = uri.path().strip_prefix(ABOUT).filter(|_| *method == Method::GET)?;
        self.named(segment)
    }

    /// The server that a request names, and the target there, if it may pass.
    fn judge(&self, method: &Method, uri: &Uri) -> Option<(Arc<Served>, Uri)> {
        let rest = uri.path().strip_prefix("/id/")?;
        let (segment, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let served = self.named(segment)?;
        let may_pass = [Method::POST, Method::GET, Method::DELETE].contains(method)
            && (below.is_empty() || (served.offer.below && is_plain_path(below)));
        let below = if below.is_empty() { "/" } else { below };
        let target = match uri.query() {
            Some(query) => Uri::try_from(format!("{below}?{query}")),
            None => Uri::try_from(below),
        };
        may_pass.then_some((served, target.ok()?))
    }

    /// A session was opened. It is announced with the next registration: nobody needs to
    /// know of it before.
    fn note_session(&self, session: SessionMark) {
        self.lock().sessions.insert(session, ());
        let fact = self.fact();
        self.offers.send_if_modified(|offer| {
            offer.agent_config.extend([fact]);
            false
        });
    }

    /// Whether a server can be reached.
    fn note(&self, id: &str, problem: Option<String>) {
        let changed = {
            let mut state = self.lock();
            if !state.servers.contains_key(id) || state.problems.get(id) == Some(&problem) {
                return;
            }
            let was = state.problems.insert(id.to_owned(), problem.clone());
            was.is_none_or(|was| was.is_some() != problem.is_some())
        };
        match &problem {
            None => info!(server = id, "MCP server is ready"),
            Some(problem) => warn!(server = id, problem, "MCP server can't be reached"),
        }
        if changed {
            self.publish();
        }
        let first = self.lock().problems.values().flatten().next().cloned();
        self.status.update(|status| status.last_error = first.unwrap_or_default());
    }

    fn fact(&self) -> (String, String) {
        let state = self.lock();
        let ready = |id: &str| matches!(state.problems.get(id), Some(None));
        let offered =
            |(id, served): (&String, &Arc<Served>)| ServerOffer { ready: ready(id), ..served.offer.clone() };
        let has_replicas = state.servers.values().any(|served| served.offer.replicas);
        let sessions = state.sessions.iter().map(|(session, ())| *session).filter(|_| has_replicas);
        let offer = McpOffer {
            started_ms: self.started_ms,
            servers: state.servers.iter().map(offered).collect(),
            sessions: sessions.collect(),
        };
        drop(state);
        offer.into_fact()
    }

    /// Offers what is there, if it is news.
    fn publish(&self) {
        let mut agent_config = self.facts.clone();
        agent_config.extend([self.fact()]);
        let models: Vec<_> = self.servers().into_iter().map(|(id, _)| id).collect();
        let is_ready = self.lock().problems.values().any(Option::is_none);
        self.status.update(|status| {
            status.connected_to_backend = is_ready;
            status.max_concurrency = self.max_concurrency;
            status.labels.clone_from(&models);
            status.agent_config.clone_from(&self.facts);
        });
        let offer =
            Offer { models, max_concurrency: self.max_concurrency, status: WorkerStatus::Idle, agent_config };
        self.offers.send_if_modified(|current| {
            let news = *current != offer;
            if news {
                *current = offer;
            }
            news
        });
    }
}
