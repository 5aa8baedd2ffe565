//! Document conversion behind nfrx: the server half offers docling's conversions over a
//! pool of agents, the agent half fronts one converter; see [`agent`].

pub mod agent;
mod server;

pub use server::DoclingFactory;
