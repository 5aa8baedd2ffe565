//! The plugins this binary has. Nothing else in the workspace names them together.

use nfrx_spi::PluginFactory;

/// All of them, in the order in which they are registered.
pub(crate) fn all() -> Vec<Box<dyn PluginFactory>> {
    vec![
        Box::new(nfrx_llm::LlmFactory),
        Box::new(nfrx_asr::AsrFactory),
        Box::new(nfrx_docling::DoclingFactory),
        Box::new(nfrx_mcp::McpFactory),
        Box::new(nfrx_jobs::JobsFactory),
    ]
}
