//! The list of routes, laid open for the fuzzer and for nobody else.

use http::Method;
use nfrx_spi::Router;

use crate::routes::{self, Table};

/// Routes, compiled.
pub struct Routes(Table);

/// Where a request belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// To the route of this pattern; with the values of these parameters.
    Route(String, Vec<String>),
    /// To none, and whether a guard judges it first.
    None {
        /// Whether one does.
        judged: bool,
    },
}

impl Routes {
    /// Compiles a router's routes; `None` when two of them overlap.
    pub fn new(router: Router) -> Option<Self> {
        let (routes, guards) = router.into_parts();
        Table::new(routes, guards).ok().map(Self)
    }

    /// Where a raw path belongs, and the values of the parameters of these names.
    pub fn find(&self, method: &Method, path: &str, names: &[&str]) -> Found {
        match self.0.find(method, path) {
            routes::Found::Route(route, params) => {
                let values = names.iter().map(|name| params.get(name).to_owned()).collect();
                Found::Route(route.pattern.clone(), values)
            }
            routes::Found::OtherMethod(_, guard) | routes::Found::Nothing(guard) => {
                Found::None { judged: guard.is_some() }
            }
        }
    }
}
