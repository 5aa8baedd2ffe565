use std::sync::Mutex;

use nfrx_runtime::Drain;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::*;

const INTERVAL: Duration = Duration::from_secs(60);

/// A backend that is as the test says; `None` never answers.
struct Scripted {
    answer: Mutex<Option<Result<Found, ProbeError>>>,
    asked: Semaphore,
}

impl Backend for Scripted {
    fn probe(&self) -> BoxFuture<'_, Result<Found, ProbeError>> {
        self.asked.add_permits(1);
        let answer = self.answer.lock().unwrap().clone();
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

struct Scene {
    backend: Arc<Scripted>,
    offer: watch::Receiver<Offer>,
    status: StatusBoard,
    drain: Drain,
    prober: Prober,
}

fn scene() -> Scene {
    let backend = Arc::new(Scripted { answer: Mutex::new(Some(Err(away()))), asked: Semaphore::new(0) });
    let nothing = Offer {
        models: vec![],
        max_concurrency: 0,
        status: WorkerStatus::NotReady,
        agent_config: BTreeMap::new(),
    };
    let (sender, offer) = watch::channel(nothing);
    let (status, drain) = (StatusBoard::new(), Drain::new());
    let prober = Prober {
        backend: backend.clone(),
        interval: INTERVAL,
        timeout: Duration::from_secs(10),
        max_concurrency: 4,
        host_facts: facts(&[("hostname", "den")]),
        offer: sender,
        status: status.clone(),
        drain: drain.watch(),
    };
    Scene { backend, offer, status, drain, prober }
}

fn away() -> ProbeError {
    ProbeError("probe http://10.0.0.5:11434/v1/models: connection refused".into())
}

fn facts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Scripted {
    fn has(&self, models: &[&str]) {
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        let found = Found { models, agent_config: facts(&[("backend_family", "ollama")]) };
        *self.answer.lock().unwrap() = Some(Ok(found));
    }

    fn is_away(&self) {
        *self.answer.lock().unwrap() = Some(Err(away()));
    }

    /// Returns once the backend was asked that often since the last call.
    async fn asked(&self, times: u32) {
        self.asked.acquire_many(times).await.expect("never closed").forget();
    }
}

#[tokio::test(start_paused = true)]
async fn a_ready_backend_is_offered_with_all_its_facts() {
    let Scene { backend, offer, status, prober, .. } = scene();
    backend.has(&["phi", "", "qwen", "phi"]);
    assert!(prober.once().await);
    let offer = offer.borrow().clone();
    assert_eq!(offer.models, ["phi", "qwen"]);
    assert_eq!((offer.max_concurrency, offer.status), (4, WorkerStatus::Idle));
    assert_eq!(offer.agent_config, facts(&[("backend_family", "ollama"), ("hostname", "den")]));
    assert!(status.watch().borrow().connected_to_backend);
}

// Seen to fail: with the models of a lost backend kept in the offer.
#[tokio::test(start_paused = true)]
async fn a_lost_backend_withdraws_its_models_and_a_found_one_restores_them() {
    let Scene { backend, mut offer, status, prober, .. } = scene();
    backend.has(&["phi"]);
    let ready = prober.once().await;
    let probing = prober.run(ready);
    tokio::pin!(probing);

    backend.is_away();
    tokio::select! {
        () = &mut probing => panic!("probing never ends by itself"),
        lost = offer.wait_for(|offer| offer.max_concurrency == 0) => {
            let lost = lost.expect("the prober is there");
            assert_eq!((lost.models.len(), lost.status), (0, WorkerStatus::NotReady));
        }
    }
    assert!(status.watch().borrow().last_error.contains("connection refused"));

    backend.has(&["phi"]);
    tokio::select! {
        () = &mut probing => panic!("probing never ends by itself"),
        back = offer.wait_for(|offer| offer.max_concurrency == 4) => {
            assert_eq!(back.expect("the prober is there").models, ["phi"]);
        }
    }
    assert_eq!(status.watch().borrow().last_error, "");
}

#[tokio::test(start_paused = true)]
async fn failures_are_followed_by_the_schedule_of_reconnects_without_an_end() {
    let Scene { backend, prober, .. } = scene();
    let start = Instant::now();
    let probing = prober.run(false);
    tokio::select! {
        () = probing => panic!("probing never ends by itself"),
        () = backend.asked(RECONNECT.len() as u32 + 12) => {}
    }
    // All waits of the schedule, then the last one again and again, each up to a fifth
    // shorter or longer.
    let last = RECONNECT[RECONNECT.len() - 1];
    let schedule: Duration = RECONNECT.iter().sum::<Duration>() + last * 12;
    let took = start.elapsed();
    assert!(took >= schedule.mul_f64(0.8) && took <= schedule.mul_f64(1.2), "{took:?}");
}

// Seen to fail: without the timeout the first probe is the last.
#[tokio::test(start_paused = true)]
async fn a_probe_that_gets_no_answer_is_a_failed_one() {
    let Scene { backend, offer, status, prober, .. } = scene();
    *backend.answer.lock().unwrap() = None;
    assert!(!prober.once().await);
    assert_eq!(offer.borrow().max_concurrency, 0);
    assert!(status.watch().borrow().last_error.contains("10s"));
}

#[tokio::test(start_paused = true)]
async fn what_did_not_change_is_not_offered_again() {
    let Scene { backend, mut offer, prober, .. } = scene();
    backend.has(&["phi"]);
    prober.once().await;
    offer.mark_unchanged();
    prober.once().await;
    assert!(!offer.has_changed().expect("the prober is there"));
    backend.has(&["qwen"]);
    prober.once().await;
    assert!(offer.has_changed().expect("the prober is there"));
}

// Seen to fail: with the drain not looked at, the offer comes back with four slots.
#[tokio::test(start_paused = true)]
async fn a_draining_agent_offers_no_slot_whatever_the_backend_says() {
    let Scene { backend, offer, drain, prober, .. } = scene();
    backend.has(&["phi"]);
    let ready = prober.once().await;
    drain.begin();
    prober.run(ready).await;
    let offer = offer.borrow();
    assert_eq!((offer.max_concurrency, offer.status), (0, WorkerStatus::Draining));
    assert_eq!(offer.models, ["phi"], "what runs still belongs to a model");
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_failure_is_in_the_offer() {
    let Scene { offer, prober, .. } = scene();
    assert!(!prober.once().await);
    let shown = format!("{:?}", *offer.borrow());
    assert!(!shown.contains("10.0.0.5") && !shown.contains("refused"), "{shown}");
}

#[test]
fn an_offer_holds_no_more_labels_than_a_message() {
    let many: Vec<String> = (0..10_000).map(|n| format!("model-{n:05}")).collect();
    let fitting = labels_that_fit(many);
    let bytes: usize = fitting.iter().map(|label| label.len() + 3).sum();
    assert!(fitting.len() > 1000 && bytes < 64 * 1024, "{} labels, {bytes} bytes", fitting.len());
    assert!(labels_that_fit(vec!["x".repeat(LABEL_BYTES_MAX + 1)]).is_empty());
}
