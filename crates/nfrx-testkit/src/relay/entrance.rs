//! Where connections to the server come in, and where they are turned away while it is
//! gone.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nfrx_server::Door;

use crate::pipe::{PipeControl, PipeEnd};

/// The address of a server, so to speak: it stays when the server goes.
#[derive(Clone, Default)]
pub struct Entrance(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    door: Option<Door>,
    connections: Vec<PipeControl>,
}

impl Entrance {
    /// An entrance without a server.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whoever comes from now on is let in by `door`.
    pub fn open(&self, door: Door) {
        self.lock().door = Some(door);
    }

    /// Turns everybody away from now on and breaks all connections.
    pub fn close(&self) {
        let mut state = self.lock();
        state.door = None;
        for connection in state.connections.drain(..) {
            connection.cut();
        }
    }

    /// Lets a connection in; tells whether a server was there.
    pub(super) fn enter(&self, io: PipeEnd, peer: &str, control: PipeControl) -> bool {
        let mut state = self.lock();
        let Some(door) = state.door.clone() else { return false };
        state.connections.push(control);
        door.open(io, peer.parse().expect("tests write valid addresses"));
        true
    }

    /// What a dial to an address without a server gives.
    pub(super) fn nobody() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
