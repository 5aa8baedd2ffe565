use std::collections::BTreeMap;

use nfrx_pool::WORKERS_MAX;
use nfrx_spi::{Caller, JoinRefused, Joined, Newcomer, Registration, Scopes, StatusUpdate, WorkerIntake};

use super::intake::Intake;
use super::*;
use crate::offer::McpOffer;
use crate::server::agent::tests::Nowhere;

const ANY: Owner = Owner(None);

struct World(Intake);

impl World {
    fn new() -> Self {
        Self::with(Rules { newer_takes_over: true, calls_max: None })
    }

    fn with(rules: Rules) -> Self {
        Self(Intake(Arc::new(Registry::new(rules, KnownFile::nothing()))))
    }

    fn registry(&self) -> &Arc<Registry> {
        &self.0.0
    }

    /// `agent` is `worker@started key servers…`; a server with a star has replicas.
    fn join(&self, agent: &str) -> Result<(Joined, Arc<Nowhere>), JoinRefused> {
        self.join_with(agent, None, Scopes::default())
    }

    fn join_with(
        &self,
        agent: &str,
        resume: Option<&str>,
        scopes: Scopes,
    ) -> Result<(Joined, Arc<Nowhere>), JoinRefused> {
        let words: Vec<_> = agent.split(' ').collect();
        let (worker_id, started) = words[0].split_once('@').expect("worker@started");
        let offer = offer(started.parse().expect("a number"), &words[2..]);
        let tunnel = Arc::new(Nowhere::default());
        let joined = self.0.join(Newcomer {
            registration: Registration {
                worker_id: worker_id.to_owned(),
                agent_config: BTreeMap::from([offer.into_fact()]),
                ..Registration::default()
            },
            tunnel: Arc::clone(&tunnel) as _,
            caller: Caller {
                peer: ([127, 0, 0, 1], 1).into(),
                key: (words[1] != "-").then(|| words[1].into()),
                scopes: Arc::new(scopes),
            },
            resume: resume.map(str::to_owned),
        })?;
        joined.membership.open();
        Ok((joined, tunnel))
    }

    /// The worker that gets a request, `away`, `unknown` or `foreign`.
    fn find(&self, id: &str, session: Option<&str>, owner: &Owner) -> String {
        let session = session.map(|session| SessionMark::of(session.as_bytes()));
        match self.registry().find(id, session, owner) {
            Found::Seat(seat) => seat.agent.worker_id.to_string(),
            Found::Away => "away".to_owned(),
            Found::Unknown => "unknown".to_owned(),
            Found::Foreign => "foreign".to_owned(),
        }
    }
}

fn offer(started_ms: u64, servers: &[&str]) -> McpOffer {
    let server = |word: &&str| ServerOffer {
        id: word.trim_end_matches('*').to_owned(),
        replicas: word.ends_with('*'),
        ..ServerOffer::default()
    };
    McpOffer { started_ms, servers: servers.iter().map(server).collect(), sessions: Vec::new() }
}

fn is_replaced(tunnel: &Nowhere) -> bool {
    *tunnel.closed.lock().expect("not poisoned") == Some(CloseReason::Replaced)
}

#[test]
fn an_id_is_unknown_until_somebody_serves_it_and_never_again() {
    let world = World::new();
    assert_eq!(world.find("clock", None, &ANY), "unknown");
    let agent = world.join("a@1 - clock weather").expect("nobody is there");
    assert_eq!(
        (world.find("clock", None, &ANY), world.find("weather", None, &ANY)),
        ("a".into(), "a".into())
    );
    drop(agent);
    assert_eq!(world.find("clock", None, &ANY), "away");
}

// Seen to fail: with the younger refused, and with the older let in.
#[test]
fn of_two_that_want_an_id_the_one_started_last_has_it() {
    let world = World::new();
    let (_first, first) = world.join("a@1 - clock").expect("nobody is there");
    let (_second, second) = world.join("b@2 - clock").expect("it is newer");
    assert!(is_replaced(&first) && !is_replaced(&second));
    assert_eq!(world.find("clock", None, &ANY), "b");
    // The one that was replaced dials again: it is still the older one.
    let again = world.join("a@1 - clock").map(drop);
    assert_eq!(again, Err(JoinRefused::IdInUse { worker_id: "clock".to_owned() }));
    assert!(!is_replaced(&second));
}

#[test]
fn the_end_of_a_replaced_connection_leaves_its_successor_alone() {
    let world = World::new();
    let (first, _) = world.join("a@1 - clock").expect("nobody is there");
    let (_second, _) = world.join("a@2 - clock").expect("it is newer");
    drop(first);
    // Seen to fail: with the id taken out whoever holds it.
    assert_eq!(world.find("clock", None, &ANY), "a");
}

#[test]
fn another_key_takes_nothing_over_and_the_token_shows_who_is_the_same() {
    let world = World::new();
    let (joined, first) = world.join("a@5 ours clock").expect("nobody is there");
    for stranger in ["a@9 theirs clock", "b@9 theirs clock", "b@9 - clock"] {
        assert!(world.join(stranger).is_err(), "{stranger}");
    }
    assert!(!is_replaced(&first));
    let resumed = world.join_with("a@5 theirs clock", Some(&joined.resume), Scopes::default());
    assert!(resumed.is_ok() && is_replaced(&first));
    let strict = World::with(Rules { newer_takes_over: false, calls_max: None });
    let (joined, _) = strict.join("a@1 - clock").expect("nobody is there");
    assert!(strict.join("a@2 - clock").is_err());
    assert!(strict.join_with("a@1 - clock", Some(&joined.resume), Scopes::default()).is_ok());
}

#[test]
fn a_key_registers_only_the_ids_that_it_names() {
    let world = World::new();
    let scopes = || Scopes { workers: vec!["a".into(), "clock".into()], ..Scopes::default() };
    assert!(world.join_with("a@1 k clock", None, scopes()).is_ok());
    let refused = world.join_with("a@1 k clock weather", None, scopes()).map(drop);
    assert_eq!(refused, Err(JoinRefused::IdNotAllowed { worker_id: "weather".to_owned() }));
    for odd in ["a@1 k ..", "a@1 k \u{7}"] {
        assert!(world.join_with(odd, None, Scopes::default()).is_err());
    }
}

#[test]
fn a_changed_list_of_servers_takes_nobody_elses_id() {
    let world = World::new();
    let (first, _) = world.join("a@9 - clock old").expect("nobody is there");
    let (_second, _) = world.join("b@1 - weather").expect("another id");
    let agent_config = Some(BTreeMap::from([offer(9, &["clock", "new", "weather"]).into_fact()]));
    first.membership.update(StatusUpdate { agent_config, ..StatusUpdate::default() });
    let found = ["clock", "new", "weather", "old"].map(|id| world.find(id, None, &ANY));
    assert_eq!(found, ["a", "a", "b", "away"]);
}

#[test]
fn replicas_share_an_id_and_a_session_stays_where_it_was_opened() {
    let world = World::new();
    let (_one, _) = world.join("a@1 - clock*").expect("nobody is there");
    let (two, tunnel) = world.join("b@2 - clock*").expect("both share");
    assert!(!is_replaced(&tunnel));
    let Found::Seat(seat) = world.registry().find("clock", None, &ANY) else { panic!("two are there") };
    let home = seat.agent.worker_id.to_string();
    let mark = SessionMark::of(b"s");
    world.registry().opened_session(&seat, mark, ANY);
    for _ in 0..20 {
        assert_eq!(world.find("clock", Some("s"), &ANY), home);
    }
    let placed: std::collections::BTreeSet<_> = (0..64).map(|_| world.find("clock", None, &ANY)).collect();
    assert_eq!(placed.len(), 2, "requests without a session go to any");
    assert!(
        world.join("c@3 - clock").is_ok_and(|(_, _)| is_replaced(&tunnel)),
        "one that shares not has it alone"
    );
    drop(two);
}

// Seen to fail: with the session given to the replica that is left.
#[test]
fn a_session_waits_for_its_own_replica() {
    let world = World::new();
    let (_one, _) = world.join("a@1 - clock*").expect("nobody is there");
    let mark = SessionMark::of(b"s");
    let Found::Seat(seat) = world.registry().find("clock", None, &ANY) else { panic!("it is there") };
    world.registry().opened_session(&seat, mark, ANY);
    let (_two, _) = world.join("b@2 - clock*").expect("both share");
    drop(_one);
    assert_eq!(
        (world.find("clock", Some("s"), &ANY), world.find("clock", None, &ANY)),
        ("away".into(), "b".into())
    );
    let (_back, _) = world.join("a@1 - clock*").expect("both share");
    assert_eq!(world.find("clock", Some("s"), &ANY), "a");
}

#[test]
fn agents_say_again_which_sessions_are_theirs() {
    let world = World::new();
    let mut said = offer(1, &["clock*"]);
    said.sessions = vec![SessionMark::of(b"s")];
    let (one, _) = world.join("a@1 - clock*").expect("nobody is there");
    let agent_config = Some(BTreeMap::from([said.into_fact()]));
    one.membership.update(StatusUpdate { agent_config, ..StatusUpdate::default() });
    let (_two, _) = world.join("b@2 - clock*").expect("both share");
    for _ in 0..20 {
        assert_eq!(world.find("clock", Some("s"), &ANY), "a");
    }
}

// Seen to fail: without the comparison of owners.
#[test]
fn a_session_belongs_to_the_key_that_opened_or_first_named_it() {
    let world = World::new();
    let (_agent, _) = world.join("a@1 - clock").expect("nobody is there");
    let (ours, theirs) = (Owner(Some("ours".into())), Owner(Some("theirs".into())));
    let Found::Seat(seat) = world.registry().find("clock", None, &ours) else { panic!("it is there") };
    world.registry().opened_session(&seat, SessionMark::of(b"s"), ours.clone());
    assert_eq!(world.find("clock", Some("s"), &ours), "a");
    assert_eq!(world.find("clock", Some("s"), &theirs), "foreign");
    assert_eq!(world.find("clock", Some("s"), &ANY), "foreign");
    // After a restart nobody knows; the first who names it is its owner.
    assert_eq!(world.find("clock", Some("t"), &theirs), "a");
    assert_eq!(world.find("clock", Some("t"), &ours), "foreign");
    world.registry().ended_session("clock", SessionMark::of(b"t"));
    assert_eq!(world.find("clock", Some("t"), &ours), "a");
}

async fn wait(world: &World, id: &str, session: Option<&str>) -> String {
    let session = session.map(|session| SessionMark::of(session.as_bytes()));
    match world.registry().wait_for(id, session, &ANY, Duration::from_secs(5)).await {
        Found::Seat(seat) => seat.agent.worker_id.to_string(),
        Found::Away => "away".to_owned(),
        Found::Unknown => "unknown".to_owned(),
        Found::Foreign => "foreign".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_an_agent_that_was_there_and_for_no_other() {
    let world = World::new();
    let start = Instant::now();
    assert_eq!(wait(&world, "clock", None).await, "unknown");
    assert_eq!(start.elapsed(), Duration::ZERO);
    // A session is never told that it is gone.
    assert_eq!(wait(&world, "clock", Some("s")).await, "away");
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    drop(world.join("a@1 - clock").expect("nobody is there"));
    let start = Instant::now();
    let (found, back) = tokio::join!(wait(&world, "clock", None), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.join("a@1 - clock").expect("nobody is there")
    });
    assert_eq!((found.as_str(), start.elapsed()), ("a", Duration::from_secs(2)));
    let update = StatusUpdate { status: Some("draining".to_owned()), ..StatusUpdate::default() };
    back.0.membership.update(update);
    assert_eq!(wait(&world, "clock", None).await, "away", "one that drains takes nothing new");
}

// Seen to fail: without the bound nobody is told at once.
#[tokio::test(start_paused = true)]
async fn no_more_wait_than_the_bound() {
    let world = World::new();
    drop(world.join("a@1 - clock").expect("nobody is there"));
    let mut waiting: Vec<_> = (0..WAITING_MAX).map(|_| Box::pin(wait(&world, "clock", None))).collect();
    for wait in &mut waiting {
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(wait.as_mut().poll(cx).is_pending())).await;
        assert!(polled);
    }
    let start = Instant::now();
    assert_eq!((wait(&world, "clock", None).await, start.elapsed()), ("away".to_owned(), Duration::ZERO));
    drop(waiting);
    assert_eq!(world.registry().waiting.load(std::sync::atomic::Ordering::Relaxed), 0);
}

// Seen to fail: with the bound of 4,096 that there was, and without any.
#[test]
fn as_many_agents_are_taken_in_as_a_pool_takes_workers() {
    let world = World::new();
    let join = |nth: usize| world.join(&format!("w{nth}@1 - s{nth}"));
    let joined: Vec<_> = (0..WORKERS_MAX).map_while(|nth| join(nth).ok()).collect();
    assert_eq!(joined.len(), WORKERS_MAX);
    assert_eq!(join(WORKERS_MAX).err(), Some(JoinRefused::Full { workers_max: WORKERS_MAX }));
    drop(joined);
    assert!(join(WORKERS_MAX).is_ok());
}
