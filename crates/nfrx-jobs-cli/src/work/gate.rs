//! Whether new jobs are taken: by the hours, by signals, until the worker stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::info;

use super::Hours;

/// The clock on the wall may be set; it is looked at again after so long.
const LOOK_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Not now.
    Shut,
    /// Never again.
    Closed,
    /// And what runs is given back.
    Halted,
}

/// The gate. Its tasks end with it.
pub(super) struct Gate {
    state: Arc<watch::Sender<State>>,
    _tasks: JoinSet<()>,
}

impl Gate {
    pub(super) fn new(hours: Option<Hours>) -> std::io::Result<Self> {
        let state = Arc::new(watch::Sender::new(State::Open));
        let pause = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        let paused = pause.subscribe();
        #[cfg(unix)]
        tasks.spawn(signals(pause)?);
        tasks.spawn(follow(Arc::clone(&state), hours, paused));
        Ok(Self { state, _tasks: tasks })
    }

    /// Completes when jobs may be taken; false when none may be any more.
    pub(super) async fn open(&self) -> bool {
        self.until(|state| state != State::Shut).await == State::Open
    }

    /// Completes when no job may be taken for now.
    pub(super) async fn shut(&self) {
        self.until(|state| state != State::Open).await;
    }

    /// Completes when no job may be taken any more.
    pub(super) async fn closed(&self) {
        self.until(|state| matches!(state, State::Closed | State::Halted)).await;
    }

    /// Completes when what runs is to be given back.
    pub(super) async fn halted(&self) {
        self.until(|state| state == State::Halted).await;
    }

    /// What runs is to be given back.
    pub(super) fn halt(&self) {
        self.state.send_replace(State::Halted);
    }

    /// No job may be taken any more.
    pub(super) fn close(&self) {
        self.state.send_replace(State::Closed);
    }

    async fn until(&self, reached: impl Fn(State) -> bool) -> State {
        let mut states = self.state.subscribe();
        let state = states.wait_for(|state| reached(*state)).await;
        // The sender lives as long as we do.
        state.map_or(State::Closed, |state| *state)
    }
}

/// SIGUSR1 pauses, SIGUSR2 goes on.
#[cfg(unix)]
fn signals(pause: watch::Sender<bool>) -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut first, mut second) =
        (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
    Ok(async move {
        loop {
            let paused = tokio::select! {
                Some(()) = first.recv() => true,
                Some(()) = second.recv() => false,
                else => return std::future::pending().await,
            };
            pause.send_replace(paused);
        }
    })
}

async fn follow(state: Arc<watch::Sender<State>>, hours: Option<Hours>, mut paused: watch::Receiver<bool>) {
    loop {
        let (works, stays) = hours.map_or((true, LOOK_EVERY), |hours| hours.now());
        let next = if works && !*paused.borrow_and_update() { State::Open } else { State::Shut };
        let changed = state.send_if_modified(|state| {
            let changed = matches!(*state, State::Open | State::Shut) && *state != next;
            if changed {
                *state = next;
            }
            changed
        });
        if changed {
            info!(taking = next == State::Open, "jobs are taken, or not");
        }
        tokio::select! {
            () = tokio::time::sleep(stays.min(LOOK_EVERY)) => {}
            changed = paused.changed() => if changed.is_err() && hours.is_none() { return },
        }
    }
}
