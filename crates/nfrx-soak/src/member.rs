//! Honest agents with dishonest paths: to a server over connections that break, and to a
//! backend that sometimes lies.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nfrx_agent::client::{Connector, Stream};
use nfrx_spi::BoxFuture;
use nfrx_testkit::fault::{Dice, FaultyStream, Lie, StreamFault, Tally};
use nfrx_testkit::pipe::{PipeOptions, pipe};
use nfrx_testkit::relay::{AgentPlan, Carrier, RunningAgent};
use nfrx_tunnel::{Connect, Connection};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// An agent that comes and goes.
pub(crate) struct Member {
    plan: AgentPlan,
    server: Arc<ToServer>,
    backend: Arc<ToBackend>,
    dice: Dice,
    faults: Tally,
    agent: Option<RunningAgent>,
}

impl Member {
    /// An agent that is not there yet. `delay` is how long its bytes to the server are
    /// under way.
    pub(crate) fn new(
        plan: AgentPlan,
        server: SocketAddr,
        backend: SocketAddr,
        delay: Option<Duration>,
        mut dice: Dice,
        faults: Tally,
    ) -> Self {
        let (to_server, to_backend) = (Mutex::new(dice.fork()), Mutex::new(dice.fork()));
        let server = ToServer {
            addr: server,
            carrier: plan.carrier,
            delay,
            dice: to_server,
            faults: faults.clone(),
            tasks: Tasks::default(),
        };
        let backend =
            ToBackend { addr: backend, dice: to_backend, faults: faults.clone(), tasks: Tasks::default() };
        Self { plan, server: Arc::new(server), backend: Arc::new(backend), dice, faults, agent: None }
    }

    /// The id it registers with.
    pub(crate) fn id(&self) -> &str {
        &self.plan.id
    }

    /// Starts it.
    pub(crate) fn start(&mut self) {
        let server = Arc::clone(&self.server) as Arc<dyn Connect>;
        let backend = Arc::clone(&self.backend) as Arc<dyn Connector>;
        self.agent = Some(self.plan.clone().start_between(server, backend));
    }

    /// Waits until its tunnel stands.
    pub(crate) async fn connected(&self) {
        if let Some(agent) = &self.agent {
            agent.until(|status| status.connected_to_server).await;
        }
    }

    /// Until `until` it is killed or stopped now and then, and comes back.
    pub(crate) async fn live(mut self, until: Instant) -> Self {
        loop {
            let next = Instant::now() + self.dice.millis(1_000..12_000);
            tokio::time::sleep_until(next.min(until)).await;
            if next >= until {
                return self;
            }
            let away = self.dice.millis(0..1_500);
            if self.dice.one_in(2) {
                self.faults.add("agent killed");
                self.agent = None;
            } else {
                self.faults.add("agent stopped");
                self.stop().await;
            }
            tokio::time::sleep(away).await;
            self.start();
        }
    }

    /// Requests that it has now, as it says itself.
    pub(crate) fn jobs(&self) -> u32 {
        self.agent.as_ref().map_or(0, |agent| agent.status().current_jobs)
    }

    /// Stops it as a signal does, and waits for its end.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.stop();
            // An agent whose connection just broke ends with that error.
            let _ = agent.ended().await;
        }
        self.server.tasks.none().await;
        self.backend.tasks.none().await;
    }
}

/// The other ends of connections.
#[derive(Default)]
struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Waits until all have ended; they end with the connections that they serve.
    async fn none(&self) {
        let mut tasks = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
    }
}

/// How a member reaches the server.
struct ToServer {
    addr: SocketAddr,
    carrier: Carrier,
    delay: Option<Duration>,
    dice: Mutex<Dice>,
    faults: Tally,
    tasks: Tasks,
}

/// Whether a connection goes wrong, and after how many bytes: a quarter of them while they
/// are young, half of them when they have worked for a while.
fn fate(dice: &Mutex<Dice>, one_in: u32) -> (Option<StreamFault>, u64) {
    let mut dice = dice.lock().unwrap_or_else(PoisonError::into_inner);
    let fault = dice.one_in(one_in).then(|| StreamFault::draw(&mut dice));
    let after = if dice.one_in(3) { dice.bytes(1 << 14) } else { dice.within(0..1 << 23) };
    (fault, after)
}

impl Connect for ToServer {
    fn connect(&self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let mut socket = TcpStream::connect(self.addr).await?;
            socket.set_nodelay(true)?;
            let (fault, after) = fate(&self.dice, 2);
            let Some(delay) = self.delay else {
                let faulty = FaultyStream::new(socket, fault, after, self.faults.clone());
                return Ok(self.carrier.over(faulty));
            };
            let (near, mut far, _control) = pipe(PipeOptions { delay, ..PipeOptions::default() });
            self.tasks.spawn(async move {
                // How it ended is what both ends see.
                let _ = copy_bidirectional(&mut socket, &mut far).await;
            });
            Ok(self.carrier.over(FaultyStream::new(near, fault, after, self.faults.clone())))
        })
    }
}

/// How a member reaches its backend.
struct ToBackend {
    addr: SocketAddr,
    dice: Mutex<Dice>,
    faults: Tally,
    tasks: Tasks,
}

impl Connector for ToBackend {
    fn connect(&self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let lie = {
                let mut dice = self.dice.lock().unwrap_or_else(PoisonError::into_inner);
                dice.one_in(30).then(|| *dice.pick(&Lie::ALL))
            };
            if let Some(lie) = lie {
                self.faults.add("backend lied");
                let (near, far) = tokio::io::duplex(64 * 1024);
                self.tasks.spawn(lie.tell(far));
                return Ok(Box::pin(near) as Stream);
            }
            let socket = TcpStream::connect(self.addr).await?;
            socket.set_nodelay(true)?;
            let (fault, after) = fate(&self.dice, 10);
            Ok(Box::pin(FaultyStream::new(socket, fault, after, self.faults.clone())) as Stream)
        })
    }
}
