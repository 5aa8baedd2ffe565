//! Model Context Protocol servers behind nfrx: the server half makes a private server
//! reachable at a public URL, the agent half fronts it, over HTTP or over stdio.

pub mod agent;
