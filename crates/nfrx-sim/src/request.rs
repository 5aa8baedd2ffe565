//! A JSON request, read once: what it asks for and how the simulation should behave.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::config::SimConfig;
use crate::refusal::Refusal;
use crate::route::Work;
use crate::text::{self, TOKEN_BYTES_MAX, Words};

/// Longest wait that can be asked for.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// An answer that has to be held whole is not longer than this.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// The members we read of any request; all others are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Ask<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    #[serde(borrow)]
    pub(crate) encoding_format: Option<Cow<'a, str>>,
    pub(crate) dimensions: Option<usize>,
    x_sim_tokens: Option<u32>,
    x_sim_tokens_per_second: Option<f64>,
    x_sim_first_token_ms: Option<u64>,
    x_sim_token_bytes: Option<usize>,
    x_sim_status: Option<u16>,
    x_sim_stall_after: Option<u32>,
    x_sim_die_after: Option<u32>,
    x_sim_flush: Option<bool>,
    pub(crate) x_sim_raw: Option<String>,
    x_sim_early: Option<bool>,
    x_sim_hash: Option<bool>,
    x_sim_upload_bytes_per_second: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl<'a> Ask<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, Refusal> {
        Ok(serde_json::from_slice(body)?)
    }

    /// The model, if it is one of ours.
    pub(crate) fn model(&self, config: &SimConfig) -> Result<&str, Refusal> {
        let missing = Refusal::BadParameter { name: "model", hint: "" };
        let model = self.model.as_deref().ok_or(missing)?;
        if !config.models.iter().any(|known| known == model) {
            return Err(Refusal::UnknownModel(model.to_owned()));
        }
        Ok(model)
    }

    /// What is to be answered, as raw JSON.
    pub(crate) fn prompt(&self, work: Work) -> Result<&'a str, Refusal> {
        let (name, prompt) = match work {
            Work::Chat => ("messages", self.messages.filter(|messages| messages.get().starts_with('['))),
            Work::Completions => ("prompt", self.prompt),
            Work::Responses | Work::Embeddings => ("input", self.input),
            Work::Transcriptions | Work::Conversion => ("file", None),
        };
        prompt.map(RawValue::get).ok_or(Refusal::BadParameter { name, hint: "" })
    }

    pub(crate) fn streams(&self) -> bool {
        self.stream == Some(true)
    }

    pub(crate) fn wants_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage == Some(true))
    }

    /// Whether an upload is answered before it is read.
    pub(crate) fn is_early(&self) -> bool {
        self.x_sim_early == Some(true)
    }

    pub(crate) fn wants_hash(&self) -> bool {
        self.x_sim_hash == Some(true)
    }

    /// How long it takes to read so many bytes of an upload.
    pub(crate) fn reading_time(&self, bytes: usize) -> Duration {
        let rate = self.x_sim_upload_bytes_per_second.unwrap_or(f64::INFINITY);
        Duration::try_from_secs_f64(bytes as f64 / rate).unwrap_or(Duration::ZERO).min(WAIT_MAX)
    }

    fn tokens_max(&self) -> u32 {
        let limits = [self.max_tokens, self.max_completion_tokens, self.max_output_tokens];
        let least = limits.into_iter().flatten().min().unwrap_or(u64::MAX);
        u32::try_from(least).unwrap_or(u32::MAX)
    }

    /// How this request's answer goes; the request ended now. `lot` decides, by the rates
    /// of the configuration, whether it goes wrong.
    pub(crate) fn plan(&self, config: &SimConfig, lot: u64) -> Result<Plan, Refusal> {
        let wanted = self.x_sim_tokens.unwrap_or(config.answer_tokens);
        let tokens = wanted.min(self.tokens_max());
        let stalls = draw(lot, 2) < config.stall_rate;
        let first_token_delay =
            self.x_sim_first_token_ms.map_or(config.first_token_delay, Duration::from_millis);
        Ok(Plan {
            tokens,
            shortened: tokens < wanted,
            token_bytes: self.x_sim_token_bytes.unwrap_or(config.token_bytes).min(TOKEN_BYTES_MAX),
            pace: Pace::new(
                first_token_delay,
                self.x_sim_tokens_per_second.unwrap_or(config.tokens_per_second),
            ),
            status: self.x_sim_status.map(error_status).transpose()?,
            fails: draw(lot, 1) < config.error_rate,
            stall_after: self.x_sim_stall_after.or(stalls.then_some(tokens / 2)),
            die_after: self.x_sim_die_after,
            flush: self.x_sim_flush == Some(true),
        })
    }
}

fn error_status(code: u16) -> Result<StatusCode, Refusal> {
    let bad = Refusal::BadParameter { name: "x_sim_status", hint: ", 400 to 599" };
    StatusCode::from_u16(code).ok().filter(|_| (400..600).contains(&code)).ok_or(bad)
}

/// Evenly spread in 0..1, one number per lot and purpose.
fn draw(lot: u64, purpose: u64) -> f64 {
    fastrand::Rng::with_seed(text::hash(lot, &[&purpose.to_le_bytes()])).f64()
}

/// How one answer goes.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) tokens: u32,
    /// Whether the request's limit made it shorter than it would have been.
    pub(crate) shortened: bool,
    token_bytes: usize,
    pub(crate) pace: Pace,
    pub(crate) status: Option<StatusCode>,
    pub(crate) fails: bool,
    pub(crate) stall_after: Option<u32>,
    pub(crate) die_after: Option<u32>,
    /// Each token leaves in a write of its own.
    pub(crate) flush: bool,
}

impl Plan {
    pub(crate) fn words(&self, seed: u64) -> Words {
        Words::new(seed, self.token_bytes)
    }

    /// The text of the whole answer, if it can be held.
    pub(crate) fn text(&self, words: &Words) -> Result<Vec<u8>, Refusal> {
        if words.bytes_max(self.tokens) > TEXT_BYTES_MAX {
            return Err(Refusal::BadParameter { name: "x_sim_tokens", hint: ", too long unless streamed" });
        }
        Ok(words.clone().whole(self.tokens))
    }
}

/// When tokens are due. Deadlines are absolute: a late token does not delay the next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// `None`: at once.
    first: Option<Instant>,
    tokens_per_second: f64,
}

impl Pace {
    fn new(first_token_delay: Duration, tokens_per_second: f64) -> Self {
        let paced = tokens_per_second.is_finite() && tokens_per_second > 0.0;
        let first =
            (paced || !first_token_delay.is_zero()).then(|| Instant::now() + first_token_delay.min(WAIT_MAX));
        Self { first, tokens_per_second: if paced { tokens_per_second } else { 0.0 } }
    }

    /// When token `index` (from 0) is due; `None` at once.
    pub(crate) fn due(&self, index: u32) -> Option<Instant> {
        let first = self.first?;
        if self.tokens_per_second == 0.0 || index == 0 {
            return Some(first);
        }
        let seconds = f64::from(index) / self.tokens_per_second;
        let after = Duration::try_from_secs_f64(seconds).unwrap_or(WAIT_MAX).min(WAIT_MAX);
        Some(first + after)
    }

    /// Waits until token `index` is due.
    pub(crate) async fn wait(&self, index: u32) {
        if let Some(due) = self.due(index) {
            tokio::time::sleep_until(due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(members: &str, config: &SimConfig) -> Result<Plan, Refusal> {
        Ask::parse(members.as_bytes())?.plan(config, 7)
    }

    #[track_caller]
    fn check_tokens(members: &str, tokens: u32, shortened: bool) {
        let plan = plan(members, &SimConfig::default()).unwrap();
        assert_eq!((plan.tokens, plan.shortened), (tokens, shortened), "members were {members}");
    }

    #[test]
    fn every_limit_bounds_the_length_and_null_is_no_limit() {
        check_tokens("{}", 64, false);
        check_tokens(r#"{"max_tokens":5}"#, 5, true);
        check_tokens(r#"{"max_tokens":null,"max_completion_tokens":6}"#, 6, true);
        check_tokens(r#"{"max_output_tokens":7}"#, 7, true);
        check_tokens(r#"{"max_tokens":99999999999,"x_sim_tokens":100}"#, 100, false);
        check_tokens(r#"{"max_tokens":5,"x_sim_tokens":100}"#, 5, true);
    }

    #[test]
    fn only_error_statuses_can_be_asked_for() {
        for (status, accepted) in [(200, false), (399, false), (400, true), (599, true), (600, false)] {
            let members = format!(r#"{{"x_sim_status":{status}}}"#);
            assert_eq!(plan(&members, &SimConfig::default()).is_ok(), accepted, "{status}");
        }
    }

    #[test]
    fn rates_hit_their_share_of_the_lots() {
        let config = SimConfig { error_rate: 0.25, stall_rate: 1.0, ..SimConfig::default() };
        let ask = Ask::parse(b"{}").unwrap();
        let plans: Vec<_> = (0..1000).map(|lot| ask.plan(&config, lot).unwrap()).collect();
        let failed = plans.iter().filter(|plan| plan.fails).count();
        assert!((200..300).contains(&failed), "{failed} of 1000 failed");
        assert!(plans.iter().all(|plan| plan.stall_after == Some(32)));
        let never = ask.plan(&SimConfig::default(), 7).unwrap();
        assert!(!never.fails && never.stall_after.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_due_at_exact_distances_from_the_first() {
        let begin = Instant::now();
        let pace = Pace::new(Duration::from_millis(300), 3.0);
        assert_eq!(pace.due(0), Some(begin + Duration::from_millis(300)));
        assert_eq!(pace.due(3), Some(begin + Duration::from_millis(1300)));
        assert_eq!(pace.due(300), Some(begin + Duration::from_millis(100_300)));
        assert_eq!(Pace::new(Duration::ZERO, 0.0).due(5), None);
        for absurd in [f64::MIN_POSITIVE, f64::NAN, f64::INFINITY, -1.0] {
            let due = Pace::new(Duration::MAX, absurd).due(u32::MAX);
            assert!(due.is_some_and(|due| due <= begin + 2 * WAIT_MAX), "{absurd}");
        }
    }
}
