//! New keys.

use anyhow::Context;

/// 256 random bits as text that needs no quoting anywhere.
pub(crate) fn random_key() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("nfrx-{hex}"))
}
