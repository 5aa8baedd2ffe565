//! The server as its clients see it: on pipes with tokio's clock paused, and a few
//! times on real sockets.

mod bounds;
mod client;
mod drain;
mod fake;
mod forms;
mod keys;
mod own_login;
mod session;
mod sockets;
mod system;
mod walk;
mod world;
