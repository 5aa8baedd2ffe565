//! The HTTP contract where no carrier has a say: routes, logins, errors, the server's own
//! pages. What workers answer is in `over`.

mod metrics_s1_series;
mod s1_2_routing;
mod s1_3_error_styles;
mod s1_4_api_auth;
mod s1_5_request_id;
mod s1_6_cors;
mod s1_8_drain;
mod s2_system;
mod s3_state;
mod s4_5_models;
mod s6_scheduling;
mod s7_timeouts;
