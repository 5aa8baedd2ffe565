//! How an agent under test dials: through pipes, which somebody else can break.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nfrx_spi::BoxFuture;
use nfrx_tunnel::{Connect, Connection};

use super::{Entrance, LOCAL};
use crate::pipe::{PipeControl, PipeOptions, pipe};

/// Dials the server behind an entrance, and keeps what breaks the connections. Clones
/// share it.
#[derive(Clone)]
pub struct Dialer {
    entrance: Entrance,
    options: PipeOptions,
    made: Arc<Mutex<Vec<PipeControl>>>,
}

impl Dialer {
    /// Dials at `entrance`, over such pipes.
    pub fn new(entrance: &Entrance, options: PipeOptions) -> Self {
        Self { entrance: entrance.clone(), options, made: Arc::default() }
    }

    /// The connections made so far, in their order; the server is at the right end.
    pub fn made(&self) -> Vec<PipeControl> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PipeControl>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connect for Dialer {
    fn connect(&self) -> BoxFuture<'_, io::Result<Connection>> {
        let (ours, theirs, control) = pipe(self.options);
        let dialed = if self.entrance.enter(theirs, LOCAL, control.clone()) {
            self.lock().push(control);
            Ok(Box::pin(ours) as Connection)
        } else {
            Err(Entrance::nobody())
        };
        Box::pin(std::future::ready(dialed))
    }
}
