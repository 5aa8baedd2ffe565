//! Whose an id is when two connections want it (decision 23, KD-124).

use nfrx_spi::JoinRefused;
use subtle::ConstantTimeEq as _;

use super::State;
use crate::offer::ServerOffer;
use crate::server::agent::Agent;

/// Why somebody thinks that an id is theirs.
pub(super) struct Claim<'a> {
    /// The name of the key that was shown.
    pub(super) key: Option<&'a str>,
    /// When the newcomer's process began; 0 when unknown.
    pub(super) started_ms: u64,
    /// The token of the connection that it continues.
    pub(super) resume: Option<&'a str>,
    /// Whether a newer instance with the same key needs no token.
    pub(super) newer_takes_over: bool,
}

impl Claim<'_> {
    /// Whether it is the same agent as `old`, or a newer instance with the same key. One
    /// that was replaced and comes back is the older instance: so two of them do not take
    /// turns for ever.
    fn beats(&self, old: &Agent) -> bool {
        let resumes = self.resume.is_some_and(|shown| {
            !old.resume.is_empty() && bool::from(shown.as_bytes().ct_eq(old.resume.as_bytes()))
        });
        let is_newer = self.started_ms == 0 || self.started_ms >= old.started_ms;
        resumes || (self.newer_takes_over && is_newer && self.key == old.key.as_deref())
    }
}

impl State {
    /// Who has to leave so that an agent can come in with these servers.
    pub(super) fn judge(
        &self,
        worker_id: &str,
        servers: &[ServerOffer],
        claim: &Claim<'_>,
    ) -> Result<Vec<u64>, JoinRefused> {
        let mut leaving: Vec<u64> = Vec::new();
        let own = self.by_worker.get(worker_id).map(|epoch| (*epoch, worker_id));
        let others = servers
            .iter()
            .flat_map(|server| self.rivals(server, worker_id).into_iter().map(|epoch| (epoch, &*server.id)));
        for (epoch, id) in own.into_iter().chain(others) {
            if !self.agents.get(&epoch).is_some_and(|old| claim.beats(old)) {
                return Err(JoinRefused::IdInUse { worker_id: id.to_owned() });
            }
            if !leaving.contains(&epoch) {
                leaving.push(epoch);
            }
        }
        Ok(leaving)
    }

    /// Connections of other agents that serve this id and can't share it.
    pub(super) fn rivals(&self, server: &ServerOffer, worker_id: &str) -> Vec<u64> {
        let seats = self.seats.get(&server.id).map_or(&[][..], Vec::as_slice);
        let is_rival = |epoch: &&u64| {
            let Some(agent) = self.agents.get(epoch) else { return false };
            let shares = server.replicas && agent.server(&server.id).is_some_and(|theirs| theirs.replicas);
            *agent.worker_id != *worker_id && !shares
        };
        seats.iter().filter(is_rival).copied().collect()
    }
}
