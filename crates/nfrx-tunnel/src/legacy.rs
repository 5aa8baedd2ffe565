//! The seam for a plugin whose old agents and servers speak another protocol than v1 of this
//! crate (decision 5): who asks for no subprotocol is handed to what the plugin brings.

use std::pin::Pin;
use std::sync::Arc;

use nfrx_runtime::DrainWatch;
use nfrx_spi::{BoxFuture, Caller, Io};
use tokio::sync::watch;

pub use crate::v1::socket::{Heard, Socket};

use crate::agent::Ended;
use crate::control::ByeCode;
use crate::link::{LinkState, Loss};

/// The relay's end of such a protocol. Called once for each upgraded connection, in a task
/// of the tunnels' own.
pub trait LegacyCarrier: Send + Sync + 'static {
    /// Serves a tunnel until its end, and gives the reason as
    /// [`TunnelCounters::closed`](crate::TunnelCounters::closed) has it.
    fn serve(&self, io: Pin<Box<dyn Io>>, caller: Caller) -> BoxFuture<'static, &'static str>;
}

/// The agent's end. Called once for each connection to a server that chose no subprotocol.
pub trait LegacyLink: Send + Sync + 'static {
    /// Serves a tunnel until its end. When it returns, everything that came through the
    /// tunnel must be cancelled.
    fn serve(&self, io: Pin<Box<dyn Io>>, session: LegacySession) -> BoxFuture<'static, LegacyEnd>;
}

/// What an agent's end is handed.
pub struct LegacySession {
    /// Begins the end: running requests finish, then the link closes.
    pub drain: DrainWatch,
    state: watch::Sender<LinkState>,
}

impl LegacySession {
    pub(crate) fn new(drain: DrainWatch, state: watch::Sender<LinkState>) -> Self {
        Self { drain, state }
    }

    /// The server has taken us in under this id.
    pub fn connected(&self, worker_id: String) {
        self.state.send_replace(LinkState::Connected { worker_id });
    }
}

/// How an agent's end of a tunnel ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LegacyEnd {
    /// It drained and had nothing left.
    Drained,
    /// The server closed it.
    Closed {
        /// The code of its close frame.
        code: u16,
        /// What it says.
        reason: String,
    },
    /// It broke.
    Lost(Loss),
}

impl From<LegacyEnd> for Ended {
    fn from(end: LegacyEnd) -> Self {
        match end {
            LegacyEnd::Drained => Self::Drained,
            LegacyEnd::Lost(loss) => Self::Lost(loss),
            LegacyEnd::Closed { code, reason } => Self::Bye { code: ByeCode::of_close(code), reason },
        }
    }
}

/// The carriers of a plugin's own, if it has any.
pub(crate) type Legacy<T> = Option<Arc<T>>;
