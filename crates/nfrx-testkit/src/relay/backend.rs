//! A simulated backend that an agent reaches through pipes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nfrx_agent::client::{Connector, Stream};
use nfrx_sim::{SimConfig, SimHandle};
use nfrx_spi::BoxFuture;
use tokio::task::JoinSet;

use crate::pipe::{PipeControl, PipeOptions, pipe};

/// A simulated backend and all connections to it. Clones share it.
#[derive(Clone)]
pub struct Backend {
    sim: SimHandle,
    options: PipeOptions,
    connections: Arc<Mutex<Connections>>,
}

#[derive(Default)]
struct Connections {
    controls: Vec<PipeControl>,
    tasks: JoinSet<()>,
}

impl Backend {
    /// A backend that behaves as `config` says, over pipes as `options` says.
    pub fn new(config: SimConfig, options: PipeOptions) -> Self {
        Self { sim: SimHandle::new(config), options, connections: Arc::default() }
    }

    /// What the backend saw.
    pub fn sim(&self) -> &SimHandle {
        &self.sim
    }

    /// The pipes made so far, in their order; the backend is at the right end.
    pub fn pipes(&self) -> Vec<PipeControl> {
        self.lock().controls.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connector for Backend {
    fn connect(&self) -> BoxFuture<'_, io::Result<Stream>> {
        let (near, far, control) = pipe(self.options);
        let sim = self.sim.clone();
        let mut connections = self.lock();
        connections.controls.push(control);
        connections.tasks.spawn(async move {
            // How it ended is what the counters show.
            let _ = sim.serve_connection(far).await;
        });
        Box::pin(async { Ok(Box::pin(near) as Stream) })
    }
}
