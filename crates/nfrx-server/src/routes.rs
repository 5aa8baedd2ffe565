//! The list of routes, compiled: which route, if any, a method and path belong to.
//!
//! `matchit` finds the pattern; what it leaves to us is in `path`: raw paths are
//! matched as they came, so that an encoded slash or a dot segment never turns one
//! route into another, and parameters are decoded afterwards.

mod path;
mod pattern;

use std::sync::Arc;

use http::Method;
use nfrx_spi::{Guard, PathParams, Route};

use crate::error::StartError;
use pattern::Pattern;

/// All routes and guards of a listener.
#[derive(Default)]
pub(crate) struct Table {
    nodes: Vec<Node>,
    paths: matchit::Router<usize>,
    guards: Vec<Guard>,
    guarded: matchit::Router<usize>,
}

/// One pattern with the routes that share it.
struct Node {
    pattern: Pattern,
    routes: Vec<(Vec<Arc<str>>, Route)>,
}

/// Where a request belongs.
pub(crate) enum Found<'a> {
    /// To this route.
    Route(&'a Route, PathParams),
    /// The path is there, for these methods.
    OtherMethod(Vec<&'a Method>, Option<&'a Guard>),
    /// Nowhere.
    Nothing(Option<&'a Guard>),
}

impl Table {
    /// Compiles the routes. Two of the same pattern and method stop the start
    /// (decision 15).
    pub(crate) fn new(routes: Vec<Route>, guards: Vec<Guard>) -> Result<Self, StartError> {
        let mut table = Self::default();
        for route in routes {
            table.add(route)?;
        }
        for guard in guards {
            table.add_guard(guard)?;
        }
        Ok(table)
    }

    fn add(&mut self, route: Route) -> Result<(), StartError> {
        let (pattern, names) = Pattern::of(&route.pattern);
        let at = match self.nodes.iter().position(|node| node.pattern == pattern) {
            Some(at) => at,
            None => {
                let inserted = self.paths.insert(pattern.as_str(), self.nodes.len());
                inserted.map_err(|error| self.refused(&route, &error))?;
                self.nodes.push(Node { pattern, routes: Vec::new() });
                self.nodes.len() - 1
            }
        };
        let node = &mut self.nodes[at];
        if let Some((_, first)) = node.routes.iter().find(|(_, other)| other.method == route.method) {
            return Err(StartError::RouteOverlap {
                pattern: format!("{} {}", route.method, route.pattern),
                first: owner(first),
                second: owner(&route),
            });
        }
        node.routes.push((names, route));
        Ok(())
    }

    fn refused(&self, route: &Route, error: &matchit::InsertError) -> StartError {
        if let matchit::InsertError::Conflict { with } = error {
            let first = self.nodes.iter().find(|node| node.pattern.as_str() == with);
            if let Some((_, first)) = first.and_then(|node| node.routes.first()) {
                let pattern = format!("{} beside {}", route.pattern, first.pattern);
                return StartError::RouteOverlap { pattern, first: owner(first), second: owner(route) };
            }
        }
        let (pattern, plugin) = (route.pattern.clone(), owner(route));
        StartError::RoutePattern { pattern, plugin, problem: error.to_string() }
    }

    fn add_guard(&mut self, guard: Guard) -> Result<(), StartError> {
        let prefix = Pattern::of(&guard.prefix).0;
        for below in ["/", "/{*rest}"] {
            match self.guarded.insert(format!("{}{below}", prefix.as_str()), self.guards.len()) {
                // Two guards of one prefix: the first one judges.
                Ok(()) | Err(matchit::InsertError::Conflict { .. }) => {}
                Err(error) => {
                    let (pattern, problem) = (guard.prefix, error.to_string());
                    return Err(StartError::RoutePattern { pattern, plugin: "a guard".to_owned(), problem });
                }
            }
        }
        self.guards.push(guard);
        Ok(())
    }

    /// Where `method` and the raw `path` belong.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let node = if path::is_plain(path) { self.paths.at(path).ok() } else { None };
        let Some(matched) = node else { return Found::Nothing(self.guard(path)) };
        let node = &self.nodes[*matched.value];
        let Some((names, route)) = node.routes.iter().find(|(_, route)| route.method == *method) else {
            let methods = node.routes.iter().map(|(_, route)| &route.method).collect();
            return Found::OtherMethod(methods, self.guard(path));
        };
        let mut params = Vec::with_capacity(names.len());
        for (name, (_, raw)) in names.iter().zip(matched.params.iter()) {
            match path::decode(raw) {
                Some(value) => params.push((Arc::clone(name), value)),
                None => return Found::Nothing(self.guard(path)),
            }
        }
        Found::Route(route, PathParams::new(params))
    }

    fn guard(&self, path: &str) -> Option<&Guard> {
        self.guarded.at(path).ok().map(|matched| &self.guards[*matched.value])
    }
}

fn owner(route: &Route) -> String {
    if route.plugin.is_empty() { "the server".to_owned() } else { format!("plugin `{}`", route.plugin) }
}

#[cfg(test)]
mod tests;
