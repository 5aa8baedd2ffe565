//! How agents come in, change what they offer, and leave.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use nfrx_pool::WORKERS_MAX;
use nfrx_spi::{
    CloseReason, Heartbeat, JoinRefused, Joined, Membership, Newcomer, Scopes, StatusUpdate, Tunnel,
    WorkerIntake,
};
use tracing::{info, warn};

use super::claim::Claim;
use super::{Known, Registry, Session, State};
use crate::offer::{McpOffer, ServerOffer, is_public_id};
use crate::server::agent::{Agent, Identity};

/// The registry as the tunnels' door sees it.
#[derive(Clone)]
pub(in crate::server) struct Intake(pub(in crate::server) Arc<Registry>);

impl WorkerIntake for Intake {
    fn join(&self, newcomer: Newcomer) -> Result<Joined, JoinRefused> {
        let scopes = Arc::clone(&newcomer.caller.scopes);
        let (agent, replaced) = self.0.admit(newcomer)?;
        for tunnel in replaced {
            tunnel.close(CloseReason::Replaced);
        }
        self.0.changed();
        Ok(Joined {
            worker_id: agent.worker_id.to_string(),
            epoch: agent.epoch,
            resume: agent.resume.clone(),
            membership: Box::new(Member { registry: Arc::clone(&self.0), scopes, agent }),
        })
    }
}

type Admitted = (Arc<Agent>, Vec<Arc<dyn Tunnel>>);

impl Registry {
    fn admit(&self, newcomer: Newcomer) -> Result<Admitted, JoinRefused> {
        let Newcomer { registration, tunnel, caller, resume } = newcomer;
        let worker_id: Arc<str> = match registration.worker_id.as_str() {
            "" => format!("{:032x}", fastrand::u128(..)).into(),
            id => id.into(),
        };
        let offer = match McpOffer::from_facts(&registration.agent_config) {
            None => only_server(&worker_id, &registration.worker_name),
            Some(Ok(offer)) => offer,
            Some(Err(error)) => {
                warn!(worker = %worker_id, %error, "an agent's list of servers can't be read, it offers none");
                McpOffer::default()
            }
        };
        // A key is bound to the ids by which clients come; the agent's own is known to nobody
        // else, unless it is one of them.
        let allows = |id: &str| is_public_id(id) && caller.scopes.allows_worker(id);
        let refused = offer.servers.iter().map(|server| server.id.as_str()).find(|id| !allows(id));
        if let Some(refused) = refused.or((!is_public_id(&worker_id)).then_some(&*worker_id)) {
            return Err(JoinRefused::IdNotAllowed { worker_id: refused.to_owned() });
        }
        let mut state = self.lock();
        if state.closed {
            return Err(JoinRefused::Draining);
        }
        if !state.by_worker.contains_key(&worker_id) && state.agents.len() >= WORKERS_MAX {
            return Err(JoinRefused::Full { workers_max: WORKERS_MAX });
        }
        let claim = Claim {
            key: caller.key.as_deref(),
            started_ms: offer.started_ms,
            resume: resume.as_deref(),
            newer_takes_over: self.rules.newer_takes_over,
        };
        let leaving = state.judge(&worker_id, &offer.servers, &claim)?;
        let replaced = leaving.iter().filter_map(|epoch| state.take_out(*epoch)).collect();
        state.epoch += 1;
        let identity = Identity {
            epoch: state.epoch,
            worker_id: Arc::clone(&worker_id),
            key: caller.key.clone(),
            resume: resume_token(),
            started_ms: offer.started_ms,
        };
        // What the agent grants itself, if it says so, and what the relay allows.
        let granted = Some(registration.max_concurrency).filter(|granted| *granted > 0);
        let calls_max = [granted, self.rules.calls_max].into_iter().flatten().min();
        let agent = Arc::new(Agent::new(identity, tunnel, calls_max));
        state.by_worker.insert(worker_id, agent.epoch);
        state.agents.insert(agent.epoch, Arc::clone(&agent));
        state.offer(&agent, offer);
        Ok((agent, replaced))
    }
}

/// What an agent without a list of servers offers: one, under its own id.
fn only_server(worker_id: &str, name: &str) -> McpOffer {
    let server = ServerOffer {
        id: worker_id.to_owned(),
        name: name.to_owned(),
        ready: true,
        ..ServerOffer::default()
    };
    McpOffer { servers: vec![server], ..McpOffer::default() }
}

impl State {
    /// What an agent offers from now on. Its ids are remembered, and its sessions are
    /// known to be its own.
    fn offer(&mut self, agent: &Arc<Agent>, offer: McpOffer) {
        self.leave_seats(agent.epoch);
        for session in offer.sessions {
            for server in offer.servers.iter().filter(|server| server.replicas) {
                let key = (server.id.clone(), session);
                if self.sessions.peek(&key).is_none() {
                    let session = Session { worker_id: Arc::clone(&agent.worker_id), owner: None };
                    self.sessions.insert(key, session);
                }
            }
        }
        let servers: Vec<_> = offer.servers.into_iter().map(Arc::new).collect();
        for server in &servers {
            let seats = self.seats.entry(server.id.clone()).or_default();
            if !seats.contains(&agent.epoch) {
                seats.push(agent.epoch);
            }
            self.known.insert(server.id.clone(), Known { token: server.token.clone() });
        }
        agent.set_servers(servers);
    }

    fn leave_seats(&mut self, epoch: u64) {
        self.seats.retain(|_, seats| {
            seats.retain(|seat| *seat != epoch);
            !seats.is_empty()
        });
    }

    /// Takes a connection out, unless it is gone already.
    fn take_out(&mut self, epoch: u64) -> Option<Arc<dyn Tunnel>> {
        let agent = self.agents.remove(&epoch)?;
        if self.by_worker.get(&agent.worker_id) == Some(&epoch) {
            self.by_worker.remove(&agent.worker_id);
        }
        self.leave_seats(epoch);
        Some(Arc::clone(&agent.tunnel))
    }
}

/// 128 random bits. Without the system's randomness there is no token, and nobody can show
/// it: a token that can be guessed would cost an agent its ids.
fn resume_token() -> String {
    let mut bits = [0; 16];
    match getrandom::fill(&mut bits) {
        Ok(()) => format!("{:032x}", u128::from_ne_bytes(bits)),
        Err(_) => String::new(),
    }
}

/// See [`Membership`].
struct Member {
    registry: Arc<Registry>,
    scopes: Arc<Scopes>,
    agent: Arc<Agent>,
}

impl Member {
    /// Applies a new list of servers, as far as this agent may have their ids. Ids that
    /// others hold stay with them: a change of mind is no new instance.
    fn reoffer(&self, mut offer: McpOffer) {
        let agent = &self.agent;
        let mut state = self.registry.lock();
        if !state.agents.contains_key(&agent.epoch) {
            return;
        }
        offer.servers.retain(|server| {
            let may = is_public_id(&server.id)
                && self.scopes.allows_worker(&server.id)
                && state.rivals(server, &agent.worker_id).is_empty();
            if !may {
                warn!(worker = %agent.worker_id, server = server.id, "an agent may not have this id, or another has it");
            }
            may
        });
        state.offer(agent, offer);
    }
}

impl Membership for Member {
    fn open(&self) {
        self.agent.open.store(true, Ordering::Release);
        self.registry.changed();
        let servers = self.agent.servers();
        let ids: Vec<_> = servers.iter().map(|server| server.id.as_str()).collect();
        info!(worker = %self.agent.worker_id, servers = ids.join(", "), "MCP servers joined");
    }

    fn update(&self, update: StatusUpdate) {
        let draining = update.status.as_deref() == Some("draining");
        self.agent.draining.store(draining, Ordering::Release);
        match update.agent_config.as_ref().and_then(McpOffer::from_facts) {
            Some(Ok(offer)) => self.reoffer(offer),
            Some(Err(error)) => {
                warn!(worker = %self.agent.worker_id, %error, "an agent's list of servers can't be read, the old one stays");
            }
            None => {}
        }
        self.registry.changed();
    }

    fn heartbeat(&self, _: Heartbeat) {}
}

impl Drop for Member {
    fn drop(&mut self) {
        self.registry.lock().take_out(self.agent.epoch);
        self.registry.changed();
    }
}
