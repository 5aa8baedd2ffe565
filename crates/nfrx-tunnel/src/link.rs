//! Keeping an agent connected: dial, serve, and again, until it is told to drain.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use nfrx_runtime::DrainWatch;
use nfrx_runtime::backoff::{Backoff, RECONNECT, STABLE_AFTER};
use nfrx_spi::{Heartbeat, Io, Secret};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::agent::{AgentService, Ended, Identity, Offer, Session, Shared, serve};
use crate::control::ByeCode;
use crate::counters::{BROKEN, FLOOD, MESSAGE_BYTES, why_failed};
use crate::dial::{Carrier, Connect, DialError, ServerUrl, dial};
use crate::legacy::{LegacyLink, LegacySession};
use crate::v1;

/// A wrong key is not tried often: somebody has to change something first (KD-132).
const UNAUTHORIZED_WAIT: Duration = Duration::from_secs(30);

/// Before the first dial after a relay said that it restarts; up to half a second more.
const RESTART_WAIT: Duration = Duration::from_millis(250);

// Why there is no tunnel, beside the reasons that both ends have.
const UNREACHABLE: &str = "unreachable";
const UNAUTHORIZED: &str = "unauthorized";
const REFUSED: &str = "refused";
const CLOSED: &str = "closed";
const SILENT: &str = "silent";

/// How an agent is connected.
pub struct LinkConfig {
    /// Where the server takes tunnels.
    pub url: ServerUrl,
    /// Makes the connections.
    pub connect: Arc<dyn Connect>,
    /// What the server wants of its agents.
    pub key: Option<Secret>,
    /// Who we are.
    pub identity: Identity,
    /// Whether a lost or unreachable server is dialed again.
    pub reconnect: bool,
}

/// How the link is, for the agent's own status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// A connection is being made.
    Connecting,
    /// The relay has welcomed us under this id.
    Connected {
        /// The id, maybe made by the server.
        worker_id: String,
    },
    /// Not connected; this is why.
    Waiting {
        /// The text may name addresses: it is for the agent's own operator.
        error: String,
        /// The same in one of [`LinkError::REASONS`].
        reason: &'static str,
    },
}

/// Why a link ended for good.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The server was not reached, and reconnecting is off or makes no sense.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The relay closed the tunnel, and reconnecting is off.
    #[error("the server closed the connection: {reason}")]
    Closed {
        /// What it said.
        reason: String,
    },
    /// The connection broke, and reconnecting is off.
    #[error("the connection to the server broke: {0}; set RECONNECT=true to dial again")]
    Lost(Loss),
}

impl LinkError {
    /// What [`LinkError::reason`] may say.
    pub const REASONS: [&str; 8] =
        [UNREACHABLE, UNAUTHORIZED, REFUSED, CLOSED, SILENT, FLOOD, MESSAGE_BYTES, BROKEN];

    /// In one word, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Dial(DialError::Unauthorized { .. }) => UNAUTHORIZED,
            Self::Dial(DialError::Refused { .. } | DialError::NoTunnel { .. }) => REFUSED,
            Self::Dial(DialError::BadUrl(_) | DialError::Io { .. } | DialError::Timeout { .. }) => {
                UNREACHABLE
            }
            Self::Closed { .. } => CLOSED,
            Self::Lost(loss) => loss.reason,
        }
    }
}

/// How a tunnel broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Loss {
    /// One of [`LinkError::REASONS`].
    pub(crate) reason: &'static str,
    /// For the agent's operator.
    problem: String,
}

impl Loss {
    /// `reason` is one of [`LinkError::REASONS`], such as a socket gives that refuses something.
    pub fn new(reason: &'static str, problem: impl Into<String>) -> Self {
        Self { reason, problem: problem.into() }
    }

    /// The other end said or took nothing for too long.
    pub fn silence(problem: &str) -> Self {
        Self::new(SILENT, problem)
    }

    /// The connection failed; `what` stands before the error.
    pub(crate) fn of_connection(error: &h2::Error, what: &str) -> Self {
        Self::new(why_failed(error), format!("{what}{error}"))
    }
}

/// It just broke.
impl From<&str> for Loss {
    fn from(problem: &str) -> Self {
        Self::new(BROKEN, problem)
    }
}

impl From<String> for Loss {
    fn from(problem: String) -> Self {
        Self::new(BROKEN, problem)
    }
}

/// What an agent puts behind its link.
pub struct LinkParts {
    /// What it offers; changes are sent as they come.
    pub offer: watch::Receiver<Offer>,
    /// Answers the requests.
    pub service: Arc<dyn AgentService>,
    /// Gives the host's load for each heartbeat; must not block.
    pub heartbeat: Arc<dyn Fn() -> Heartbeat + Send + Sync>,
    /// Begins the end: running requests finish, then the link closes.
    pub drain: DrainWatch,
    /// Is told how the link is.
    pub state: watch::Sender<LinkState>,
}

/// Keeps the link until the drain is over, or an error that is not tried again.
pub async fn keep_connected(config: LinkConfig, parts: LinkParts) -> Result<(), LinkError> {
    keep_connected_or(config, parts, None).await
}

/// The same for an agent that speaks `legacy`, and not v1, with servers that know no newer
/// carrier.
pub async fn keep_connected_or(
    config: LinkConfig,
    parts: LinkParts,
    legacy: Option<Arc<dyn LegacyLink>>,
) -> Result<(), LinkError> {
    let session = Session {
        identity: Arc::new(config.identity),
        offer: parts.offer,
        service: parts.service,
        heartbeat: parts.heartbeat,
        drain: parts.drain,
        state: parts.state,
        resume: Shared::default(),
        heard: Shared::default(),
    };
    if config.key.is_some() && config.url.is_exposed() {
        warn!(server = %config.url, "the client key crosses the network in the clear: use wss://");
    }
    let mut backoff = Backoff::new(RECONNECT);
    loop {
        session.state.send_replace(LinkState::Connecting);
        let started = Instant::now();
        let dialing = dial(&config.url, &config.connect, config.key.as_ref());
        let dialed = tokio::select! {
            dialed = dialing => dialed,
            () = session.drain.draining() => return Ok(()),
        };
        let (error, wait) = match dialed {
            Ok((io, carrier)) => match once(io, carrier, &session, legacy.as_deref()).await {
                Ended::Drained => return Ok(()),
                ended => {
                    if started.elapsed() >= STABLE_AFTER {
                        backoff.reset();
                    }
                    let wait = wait_after(&ended, &mut backoff);
                    (LinkError::from(ended), wait)
                }
            },
            Err(error @ DialError::Unauthorized { .. }) => (error.into(), UNAUTHORIZED_WAIT),
            Err(error) => (error.into(), backoff.next_wait()),
        };
        let text = full_text(&error);
        session.state.send_replace(LinkState::Waiting { error: text.clone(), reason: error.reason() });
        if !config.reconnect {
            return Err(error);
        }
        warn!(error = text, wait_ms = wait.as_millis() as u64, "not connected, trying again");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = session.drain.draining() => return Ok(()),
        }
    }
}

async fn once(
    io: Pin<Box<dyn Io>>,
    carrier: Carrier,
    session: &Session,
    legacy: Option<&dyn LegacyLink>,
) -> Ended {
    let ended = match (carrier, legacy) {
        (Carrier::H2, _) => serve(io, session).await,
        (Carrier::V1, None) => v1::agent::serve(io, session).await,
        (Carrier::V1, Some(legacy)) => {
            let session = LegacySession::new(session.drain.clone(), session.state.clone());
            legacy.serve(io, session).await.into()
        }
    };
    if let Ended::Bye { code: ByeCode::Replaced, .. } = ended {
        // Whoever took the place holds the token now.
        *session.resume.lock() = None;
    }
    info!(?ended, "disconnected");
    ended
}

fn wait_after(ended: &Ended, backoff: &mut Backoff) -> Duration {
    match ended {
        Ended::Bye { code, .. } if code.is_restart() => {
            backoff.reset();
            RESTART_WAIT + Duration::from_millis(fastrand::u64(..500))
        }
        _ => backoff.next_wait(),
    }
}

impl From<Ended> for LinkError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Bye { reason, .. } => Self::Closed { reason },
            Ended::Lost(loss) => Self::Lost(loss),
            Ended::Drained => Self::Closed { reason: "drained".to_owned() },
        }
    }
}

/// The error with its causes, in one line.
fn full_text(error: &LinkError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
