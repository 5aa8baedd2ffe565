//! The worker protocol at the server: an old agent, played from a script, against our server.

mod s1_connecting;
mod s2_framing;
mod s3_1_register;
mod s3_3_status_update;
mod s3_5_answers;
mod s4_requests;
mod s5_unknown;
mod s7_liveness;
mod s8_draining;
