//! Speech recognition behind nfrx: the server half offers OpenAI's transcriptions over a
//! pool of agents, the agent half fronts one recogniser; see [`agent`].

pub mod agent;
mod server;

pub use server::AsrFactory;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use server::fuzzing;
