//! The control stream, from the agent's side.

use std::time::Duration;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use nfrx_spi::CloseReason;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tracing::{debug, info};

use super::serve::{Ended, GOODBYE, Session};
use crate::control::{AgentMessage, ByeCode, Lines, RelayMessage, line};
use crate::link::Loss;

/// How long the relay may take to welcome us.
const WELCOME_MAX: Duration = Duration::from_secs(15);

/// Keeps the control stream until the tunnel is to end. `running` counts the requests.
pub(super) async fn keep(
    session: Session,
    mut outgoing: SendStream<Bytes>,
    incoming: RecvStream,
    mut running: watch::Receiver<usize>,
) -> Ended {
    let mut relay = Relay { incoming, lines: Lines::default() };
    let mut offers = session.offer.clone();
    let resumed = session.resume.lock().clone();
    let current = offers.borrow_and_update().clone();
    let registration =
        current.registration(&session.identity, resumed.as_ref().map(|(worker_id, _)| worker_id.as_str()));
    let resume = resumed.map(|(_, token)| token);
    say(&mut outgoing, &AgentMessage::Register { registration, resume });
    let heartbeat = match tokio::time::timeout(WELCOME_MAX, relay.hear()).await {
        Ok(Some(RelayMessage::Welcome { worker_id, epoch, resume, heartbeat_ms })) => {
            info!(worker = %worker_id, epoch, "connected");
            session.welcomed(worker_id, resume);
            Duration::from_millis(heartbeat_ms.clamp(100, 60_000))
        }
        Ok(Some(RelayMessage::Bye { code, reason })) => return Ended::Bye { code, reason },
        Ok(_) => return Ended::Lost("the relay closed the control stream".into()),
        Err(_) => return Ended::Lost(Loss::silence("the relay did not answer the registration")),
    };
    let mut beat = interval_at(Instant::now() + heartbeat, heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut draining = false;
    loop {
        tokio::select! {
            message = relay.hear() => match message {
                Some(RelayMessage::Bye { code, reason }) => return Ended::Bye { code, reason },
                Some(RelayMessage::Drain) => info!("the server drains; reconnecting when it closes"),
                Some(RelayMessage::Welcome { .. }) => debug!("welcomed twice"),
                None => return Ended::Lost("the relay closed the control stream".into()),
            },
            changed = offers.changed(), if !draining => {
                if changed.is_err() {
                    return Ended::Drained;
                }
                let update = offers.borrow_and_update().update();
                say(&mut outgoing, &AgentMessage::StatusUpdate(update));
            }
            () = tokio::time::sleep((3 * heartbeat).saturating_sub(session.silence())) => {
                if session.silence() >= 3 * heartbeat {
                    return Ended::Lost(Loss::silence("nothing came from the relay for too long"));
                }
            }
            _ = beat.tick() => {
                say(&mut outgoing, &AgentMessage::Heartbeat((session.heartbeat)()));
            }
            () = session.drain.draining(), if !draining => {
                draining = true;
                info!("draining");
                let last = offers.borrow().clone().drained().update();
                say(&mut outgoing, &AgentMessage::StatusUpdate(last));
            }
            _ = running.wait_for(|count| *count == 0), if draining => break,
        }
    }
    let _ = outgoing.send_data(Bytes::new(), true);
    // The relay closes once it has read all of this; were we to close first, what is under
    // way to us could make the network drop our last bytes.
    let closing = async { while relay.hear().await.is_some() {} };
    let _ = tokio::time::timeout(GOODBYE, closing).await;
    Ended::Drained
}

fn say(outgoing: &mut SendStream<Bytes>, message: &AgentMessage) {
    // If it can't be sent the connection is over, which the reading finds out.
    let _ = outgoing.send_data(line(message), false);
}

struct Relay {
    incoming: RecvStream,
    lines: Lines,
}

impl Relay {
    /// The next message; `None` when the stream is over. Can be dropped while it waits.
    async fn hear(&mut self) -> Option<RelayMessage> {
        loop {
            while let Some(line) = self.lines.next().ok()? {
                match serde_json::from_slice(&line) {
                    Ok(message) => return Some(message),
                    // A newer relay may say more.
                    Err(error) => debug!(%error, "a relay's message was passed over"),
                }
            }
            let piece = self.incoming.data().await?.ok()?;
            self.incoming.flow_control().release_capacity(piece.len()).ok()?;
            self.lines.feed(&piece);
        }
    }
}

/// What the agent does after a goodbye.
impl ByeCode {
    /// Whether dialing again at once makes sense: the relay is about to come back.
    pub(crate) fn is_restart(self) -> bool {
        self == Self::from(CloseReason::ServerStopping)
    }
}
