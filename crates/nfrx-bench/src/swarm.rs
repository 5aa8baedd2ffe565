//! Thousands of workers in one process, each with a tunnel of its own to a server.
//!
//! What connects is the real agent's end of the carrier `nfrx.h2`; what answers is a script
//! ([`script`]), since an HTTP backend behind each worker would be what is measured. All of it is
//! a process of its own, so that the server's costs are told apart from it.

mod script;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use nfrx_runtime::Drain;
use nfrx_spi::{BoxFuture, Heartbeat, Secret, WorkerStatus};
use nfrx_tunnel::{
    Connect, Connection, Identity, LinkConfig, LinkParts, LinkState, Offer, ServerUrl, keep_connected,
};
use tokio::net::TcpSocket;
use tokio::sync::watch;

use self::script::Script;
use crate::target::KEY;

/// The hidden subcommand that is a swarm.
pub(crate) const SWARM: &str = "swarm";

/// How many dial at once: fewer than wait at a listener.
const DIALS_AT_ONCE: usize = 64;
/// A server takes so many connections from one address; beyond, others of this machine are used.
const FROM_ONE_ADDRESS: u32 = 8_000;

/// Which workers a swarm has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Swarm {
    /// The number of the first; numbers are what ids are made of.
    pub(crate) from: u32,
    pub(crate) count: u32,
    /// Dealt out in turn: one to each worker, or more while there are models left.
    pub(crate) models: u32,
    /// Of each.
    pub(crate) slots: u32,
}

/// The model that every backend here has.
pub(crate) const DEMO: &str = "demo";

/// What model a number means.
pub(crate) fn model(number: u32) -> String {
    if number == 0 { DEMO.to_owned() } else { format!("model-{number}:8b") }
}

impl Swarm {
    /// What a worker offers, as numbers of models.
    fn models_of(&self, worker: u32) -> impl Iterator<Item = u32> {
        (worker % self.models..self.models).step_by(self.count as usize)
    }

    /// What [`command`] reads again.
    pub(crate) fn arguments(&self, server: SocketAddr) -> [String; 6] {
        let numbers = [self.from, self.count, self.models, self.slots].map(|number| number.to_string());
        let [from, count, models, slots] = numbers;
        [SWARM.to_owned(), server.to_string(), from, count, models, slots]
    }

    fn read(args: &ArgMatches) -> Result<(SocketAddr, Self)> {
        let text = |name| args.get_one::<String>(name).with_context(|| format!("{name} is required"));
        let number = |name| -> Result<u32> { Ok(text(name)?.parse()?) };
        let swarm = Self {
            from: number("from")?,
            count: number("count")?,
            models: number("models")?,
            slots: number("slots")?,
        };
        Ok((text("server")?.parse()?, swarm))
    }
}

pub(crate) fn command() -> Command {
    let numbers = ["server", "from", "count", "models", "slots"];
    Command::new(SWARM)
        .hide(true)
        .about("Connects scripted workers to a server until it is told to stop")
        .args(numbers.map(|name| Arg::new(name).required(true)))
}

/// Connects all workers and keeps them connected.
pub(crate) async fn run(args: &ArgMatches) -> Result<()> {
    let (server, swarm) = Swarm::read(args)?;
    let drain = Drain::new();
    let _cut = drain.cut_on_drop();
    stream::iter(swarm.from..swarm.from + swarm.count)
        .map(|number| join(server, swarm, number, &drain))
        .buffer_unordered(DIALS_AT_ONCE)
        .try_collect::<()>()
        .await?;
    std::future::pending().await
}

/// Starts a worker, and returns once the server has welcomed it.
async fn join(server: SocketAddr, swarm: Swarm, number: u32, drain: &Drain) -> Result<()> {
    let id = format!("swarm-{number}");
    let config = LinkConfig {
        url: ServerUrl::parse(&format!("ws://{server}/api/llm/connect"))?,
        connect: Arc::new(From { address: address(number), server }),
        key: Some(Secret::new(KEY)),
        identity: Identity { worker_id: id.clone(), worker_name: id, ..Identity::default() },
        reconnect: true,
    };
    let (offering, offer) = watch::channel(Offer {
        models: swarm.models_of(number).map(model).collect(),
        max_concurrency: swarm.slots,
        status: WorkerStatus::Idle,
        ..Offer::default()
    });
    let (state, mut states) = watch::channel(LinkState::Connecting);
    let parts = LinkParts {
        offer,
        service: Arc::new(Script),
        heartbeat: Arc::new(Heartbeat::default),
        drain: drain.watch(),
        state,
    };
    drain.spawn("worker", async move {
        // It dials again for as long as this process lives, and offers the same.
        let _offering = offering;
        let _ = keep_connected(config, parts).await;
    });
    states.wait_for(|state| matches!(state, LinkState::Connected { .. })).await.context("a worker ended")?;
    Ok(())
}

/// Where a worker dials from: 127.0.0.1 is left to clients.
fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 1, 1).to_bits() + number / FROM_ONE_ADDRESS)
}

/// Connects from an address.
struct From {
    address: Ipv4Addr,
    server: SocketAddr,
}

impl Connect for From {
    fn connect(&self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let socket = TcpSocket::new_v4()?;
            socket.set_nodelay(true)?;
            socket.bind((self.address, 0).into())?;
            Ok(Box::pin(socket.connect(self.server).await?) as Connection)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{FROM_ONE_ADDRESS, Swarm, address, command};

    #[test]
    fn a_swarm_comes_through_the_command_line_as_it_was() {
        let swarm = Swarm { from: 2_000, count: 8_000, models: 7, slots: 4 };
        let server = "127.0.0.1:8080".parse().unwrap();
        let (reads, read) = Swarm::read(&command().get_matches_from(swarm.arguments(server))).unwrap();
        assert_eq!(reads, server);
        // Seen to fail: with models and slots exchanged.
        assert_eq!((read.from, read.count, read.models, read.slots), (2_000, 8_000, 7, 4));
    }

    #[test]
    fn models_are_dealt_out() {
        let offered = |count, models, worker| {
            Vec::from_iter(Swarm { from: 0, count, models, slots: 1 }.models_of(worker))
        };
        assert_eq!(offered(1_000, 1, 999), [0]);
        assert_eq!(offered(1_000, 300, 999), [99]);
        // Seen to fail: with one for each worker whatever there is.
        assert_eq!(offered(10, 35, 3), [3, 13, 23, 33]);
    }

    #[test]
    fn no_address_has_more_workers_than_a_server_takes_from_one() {
        let mut from = HashMap::new();
        for number in 0..30_000 {
            *from.entry(address(number)).or_insert(0) += 1;
        }
        // Seen to fail: with one more from each address.
        assert!(from.values().all(|count| *count <= FROM_ONE_ADDRESS), "{from:?}");
    }
}
