//! The plugin's part of the state.

use std::sync::Arc;

use nfrx_pool::Pool;
use nfrx_spi::StateElement;
use serde_json::Value;

use super::metrics::CaptionMetrics;

/// The pool, and what became of the pictures.
pub(super) struct CaptionState {
    pool: Pool,
    metrics: Arc<CaptionMetrics>,
}

impl CaptionState {
    pub(super) fn new(pool: Pool, metrics: Arc<CaptionMetrics>) -> Self {
        Self { pool, metrics }
    }
}

impl StateElement for CaptionState {
    fn id(&self) -> &'static str {
        super::ID
    }

    fn data(&self) -> Value {
        let mut data = self.pool.snapshot();
        data["pictures"] = self.metrics.totals();
        data
    }

    /// Numbers only: whatever a worker says of itself is shown from the data, as text.
    fn html(&self) -> Option<String> {
        let totals = self.metrics.totals();
        let rows: String = ["captioned", "unreadable", "failed"]
            .map(|end| format!("<tr><th>{end}</th><td>{}</td></tr>", totals[end]))
            .concat();
        Some(format!(
            "<section><h2>Captioner</h2><p>Agents measure pictures and put it into words. \
             Since the start of this server:</p><table>{rows}</table></section>"
        ))
    }
}
