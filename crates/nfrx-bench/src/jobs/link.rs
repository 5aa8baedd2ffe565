//! A connection to a queue, whichever it is: makes jobs, takes jobs, waits for jobs.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result};

use super::redis::RedisLink;
use crate::http::{Client, Request};
use crate::target::KEY;

/// How long a waiting claim waits, in seconds; longer than anything measured takes.
const WAIT_SECONDS: u64 = 30;

/// The requests of one target, rendered once, by the number of a type.
#[derive(Debug)]
pub(super) struct Requests {
    create: Vec<Request>,
    claim: Vec<Request>,
    wait: Vec<Request>,
}

impl Requests {
    /// For types numbered below `types`.
    pub(super) fn new(host: &str, types: usize) -> Rc<Self> {
        let post =
            |path: &str, body: String| Request::post(host, path, KEY, "application/json", body.as_bytes());
        let claim = |number: usize, seconds: u64| {
            let body = format!(r#"{{"types":["{}"],"max_wait_seconds":{seconds}}}"#, type_name(number));
            post("/api/jobs/claim", body)
        };
        let create = |number: usize| {
            let body = format!(r#"{{"type":"{}","metadata":{{"name":"a.txt"}}}}"#, type_name(number));
            post("/api/jobs", body)
        };
        Rc::new(Self {
            create: (0..types).map(create).collect(),
            claim: (0..types).map(|number| claim(number, 0)).collect(),
            wait: (0..types).map(|number| claim(number, WAIT_SECONDS)).collect(),
        })
    }
}

/// What a type is called in every queue.
pub(super) fn type_name(number: usize) -> String {
    format!("bench.{number}")
}

/// One connection.
#[derive(Debug)]
pub(super) enum Link {
    Nfrx(Client, Rc<Requests>),
    Redis(RedisLink),
}

impl Link {
    pub(super) async fn nfrx(addr: SocketAddr, requests: Rc<Requests>) -> Result<Self> {
        Ok(Self::Nfrx(Client::connect(addr).await?, requests))
    }

    pub(super) async fn redis(addr: SocketAddr) -> Result<Self> {
        Ok(Self::Redis(RedisLink::connect(addr).await?))
    }

    /// Makes a job of this type; it is acknowledged when this returns.
    pub(super) async fn create(&mut self, number: usize) -> Result<()> {
        match self {
            Self::Nfrx(client, requests) => ask(client, &requests.create[number]).await,
            Self::Redis(link) => link.create(&type_name(number)).await,
        }
        .context("a job was not taken")
    }

    /// Takes a job of this type, which must be waiting.
    pub(super) async fn claim(&mut self, number: usize) -> Result<()> {
        match self {
            Self::Nfrx(client, requests) => ask(client, &requests.claim[number]).await,
            Self::Redis(link) => link.claim(&type_name(number)).await,
        }
        .context("no job was given, though one waits")
    }

    /// Takes the next job of this type, however long it takes to come.
    pub(super) async fn wait(&mut self, number: usize) -> Result<()> {
        match self {
            Self::Nfrx(client, requests) => ask(client, &requests.wait[number]).await,
            Self::Redis(link) => link.wait(&type_name(number), WAIT_SECONDS).await,
        }
        .context("no job came to a waiting claim")
    }
}

/// A claim that finds nothing is answered 204, which is no good answer here.
async fn ask(client: &mut Client, request: &Request) -> Result<()> {
    client.ask(request, |_, _| {}).await?;
    Ok(())
}
