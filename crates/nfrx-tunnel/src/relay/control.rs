//! The control stream, from the relay's side: registration, then news both ways until
//! the tunnel is to be closed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::Request;
use nfrx_spi::{Caller, CloseReason, Joined, Membership, Newcomer, Registration};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{Handle, Orders, Parts, Pulse};
use crate::control::{AgentMessage, ByeCode, Lines, PATH, RelayMessage, line};

/// Heartbeats come every few seconds, and updates when a backend's models change.
const MESSAGES_PER_SECOND: u32 = 20;

/// What the control stream works with.
pub(super) struct Control {
    pub(super) parts: Arc<Parts>,
    pub(super) handle: Arc<Handle>,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) caller: Caller,
}

/// Why the control stream ended without an order.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error("the agent did not register in time")]
    TooLate,
    #[error("the agent's first message is no registration")]
    NotRegistered,
    #[error("the control stream broke")]
    Broken(#[from] h2::Error),
    #[error(transparent)]
    TooLong(#[from] crate::control::LineTooLong),
    #[error("the agent closed the control stream")]
    Closed,
}

/// Keeps the control stream until the tunnel is to be closed; the goodbye is written when
/// this returns, and leaves while the stream is kept. Gives the reason, for metrics.
pub(super) async fn keep(
    mut control: Control,
    send: SendRequest<Bytes>,
) -> (&'static str, Option<ControlStream>) {
    let opening = tokio::time::timeout(control.parts.settings.register_max, open(send));
    let (mut stream, registration, resume) = match opening.await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return (unregistered(&control, &error), None),
        Err(_) => return (unregistered(&control, &ControlError::TooLate), None),
    };
    let newcomer =
        Newcomer { registration, tunnel: control.handle.clone(), caller: control.caller.clone(), resume };
    let joined = match control.parts.intake.join(newcomer) {
        Ok(joined) => joined,
        Err(refused) => {
            warn!(peer = %control.caller.ip(), reason = %refused, "a worker was refused");
            stream.bye(ByeCode::Refused, &refused.to_string());
            return ("refused", Some(stream));
        }
    };
    let Joined { worker_id, epoch, resume, membership } = joined;
    let heartbeat_ms = control.parts.settings.heartbeat.as_millis() as u64;
    stream.say(&RelayMessage::Welcome { worker_id: worker_id.clone(), epoch, resume, heartbeat_ms });
    membership.open();
    info!(worker = %worker_id, epoch, peer = %control.caller.ip(), "worker joined");
    let reason = listen(&mut control, &mut stream, &*membership).await;
    // First out of the pool, then the goodbye: nothing new is sent into a closing tunnel.
    drop(membership);
    info!(worker = %worker_id, epoch, reason = reason.as_str(), "worker left");
    stream.bye(reason.into(), reason.as_str());
    (name(reason), Some(stream))
}

fn unregistered(control: &Control, error: &ControlError) -> &'static str {
    warn!(peer = %control.caller.ip(), %error, "an agent's registration failed");
    "unregistered"
}

/// The reason in metrics.
pub(crate) fn name(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Replaced => "replaced",
        CloseReason::Expired => "expired",
        CloseReason::ServerStopping => "server_stopping",
        CloseReason::Disconnected => "disconnected",
        CloseReason::ProtocolError => "protocol_error",
        CloseReason::AgentLeft => "agent_left",
        CloseReason::Unauthorized => "unauthorized",
    }
}

/// Opens the stream and reads the registration.
async fn open(
    send: SendRequest<Bytes>,
) -> Result<(ControlStream, Registration, Option<String>), ControlError> {
    let request = Request::post(format!("http://worker{PATH}")).body(()).map_err(|_| ControlError::Closed)?;
    let mut send = send.ready().await?;
    let (head, outgoing) = send.send_request(request, false)?;
    let incoming = head.await?.into_body();
    let mut stream = ControlStream { outgoing, incoming, lines: Lines::default() };
    let first = stream.hear().await?;
    match serde_json::from_slice(&first) {
        Ok(AgentMessage::Register { registration, resume }) => Ok((stream, registration, resume)),
        _ => Err(ControlError::NotRegistered),
    }
}

/// News both ways, until there is a reason to close.
async fn listen(
    control: &mut Control,
    stream: &mut ControlStream,
    membership: &dyn Membership,
) -> CloseReason {
    let expiry = control.parts.settings.expiry;
    let mut told_to_drain = false;
    let mut pace = Pace::default();
    loop {
        // Measured anew each time: whatever comes, on any stream, moves it.
        let patience = expiry.saturating_sub(control.pulse.silence());
        tokio::select! {
            heard = async {
                pace.wait().await;
                stream.hear().await
            } => match heard {
                Ok(text) => {
                    pace.heard();
                    apply(&text, membership);
                }
                Err(ControlError::Closed) => return CloseReason::AgentLeft,
                Err(error) => {
                    debug!(%error, "control stream ended");
                    return CloseReason::ProtocolError;
                }
            },
            changed = control.orders.changed() => {
                let orders = *control.orders.borrow_and_update();
                if changed.is_err() {
                    return CloseReason::Disconnected;
                }
                if let Some(reason) = orders.close {
                    return reason;
                }
                if orders.drain && !std::mem::replace(&mut told_to_drain, true) {
                    stream.say(&RelayMessage::Drain);
                }
            }
            () = control.parts.clock.sleep(patience) => {
                if control.pulse.silence() >= expiry {
                    return CloseReason::Expired;
                }
            }
        }
    }
}

/// Bounds how many messages of an agent are applied: each may change what the whole pool
/// looks through. Those beyond are not read, so flow control holds the agent back.
#[derive(Default)]
struct Pace {
    since: Option<Instant>,
    count: u32,
}

impl Pace {
    /// Waits until another message may be heard. Can be dropped while it waits.
    async fn wait(&self) {
        if self.count >= MESSAGES_PER_SECOND
            && let Some(since) = self.since
        {
            tokio::time::sleep_until(since + Duration::from_secs(1)).await;
        }
    }

    fn heard(&mut self) {
        let over = self.since.is_none_or(|since| since.elapsed() >= Duration::from_secs(1));
        if over {
            (self.since, self.count) = (Some(Instant::now()), 0);
        }
        self.count += 1;
    }
}

/// Unknown messages are passed over, so that newer agents may say more.
fn apply(text: &[u8], membership: &dyn Membership) {
    match serde_json::from_slice(text) {
        Ok(AgentMessage::StatusUpdate(update)) => membership.update(update),
        Ok(AgentMessage::Heartbeat(heartbeat)) => membership.heartbeat(heartbeat),
        Ok(AgentMessage::Register { .. }) => debug!("an agent registered twice on one tunnel"),
        Err(error) => debug!(%error, "an agent's message was passed over"),
    }
}

/// Dropping it while something is to be sent would reset it.
pub(super) struct ControlStream {
    outgoing: SendStream<Bytes>,
    incoming: RecvStream,
    lines: Lines,
}

impl ControlStream {
    fn say(&mut self, message: &RelayMessage) {
        // If it can't be sent the connection is over, which the reading finds out.
        let _ = self.outgoing.send_data(line(message), false);
    }

    fn bye(&mut self, code: ByeCode, reason: &str) {
        let message = RelayMessage::Bye { code, reason: reason.to_owned() };
        let _ = self.outgoing.send_data(line(&message), true);
    }

    /// Waits until the agent ends its half too: then it has read ours.
    pub(super) async fn ended(&mut self) {
        while self.hear().await.is_ok() {}
    }

    /// The next line. Can be dropped while it waits.
    async fn hear(&mut self) -> Result<Bytes, ControlError> {
        loop {
            if let Some(line) = self.lines.next()? {
                return Ok(line);
            }
            let piece = self.incoming.data().await.ok_or(ControlError::Closed)??;
            self.incoming.flow_control().release_capacity(piece.len())?;
            self.lines.feed(&piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Seen to fail: without the wait all hundred pass at once.
    #[tokio::test(start_paused = true)]
    async fn a_talkative_agent_is_heard_twenty_times_a_second() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        for _ in 0..100 {
            pace.wait().await;
            pace.heard();
        }
        assert_eq!(start.elapsed().as_secs(), 4);
    }
}
