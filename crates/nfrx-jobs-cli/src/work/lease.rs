//! Keeps a claim alive while a program works, and learns that it is over.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::time::Instant;
use tracing::debug;

use super::job::Claimed;
use crate::api::Api;

/// Also with a long lease: so a cancel is learned of.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// Why a job is not this worker's any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    /// Its client gave it up.
    #[error("it was canceled")]
    Canceled,
    /// It ended, or another worker has it.
    #[error("the server has given it away")]
    Taken,
    /// The server was away for longer than the lease.
    #[error("the server was away for too long")]
    Away,
}

/// Renews again and again; completes when the job is lost.
pub(super) async fn keep(api: &Api, claimed: &Claimed) -> Lost {
    let (path, said) = (claimed.path("lease"), json!({ "claim_token": claimed.token }));
    let every = (claimed.lease / 3).clamp(Duration::from_millis(200), RENEW_EVERY);
    let mut until = Instant::now() + claimed.lease;
    loop {
        tokio::time::sleep(every).await;
        let asked = Instant::now();
        let renewing = api.json(Method::POST, &path, Some(&said));
        match tokio::time::timeout_at(until, renewing).await {
            Ok(Ok(answer)) if answer["canceled"] == true => return Lost::Canceled,
            Ok(Ok(_)) => until = asked + claimed.lease,
            Ok(Err(error)) if matches!(error.status(), Some(404 | 409)) => return Lost::Taken,
            Ok(Err(error)) => debug!(%error, "a lease was not renewed"),
            Err(_) => {}
        }
        if Instant::now() >= until {
            return Lost::Away;
        }
    }
}
