//! Both ends of the jobs API from a shell: `nfrx jobs`.
//!
//! A client stores its payload with the job and fetches the stored result, so it may leave in
//! between and come back; a worker runs any program, once for each job. Both speak the API that
//! everybody speaks; nothing here is known to the server.

mod api;
mod file_body;
mod follow;
mod list;
mod submit;
mod work;

pub use api::{Api, ApiError};
pub use follow::{show, watch};
pub use list::{ListPlan, cancel, list};
pub use submit::{SubmitPlan, submit};
pub use work::{Hours, WorkPlan, work};
