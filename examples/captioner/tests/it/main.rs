//! The plugin in a whole relay in one process: server, agents, clients, on pipes in memory
//! and a paused clock.

mod bounds;
mod captions;
mod demo;
mod drain;
mod failures;
mod guide;
mod options;
mod removal;
mod world;
