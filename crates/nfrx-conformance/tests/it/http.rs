//! The HTTP contract where no carrier has a say: routes, logins, errors, the server's own
//! pages. What workers answer is in `over`.

mod s1_2_routing;
mod s1_3_error_styles;
mod s1_4_api_auth;
