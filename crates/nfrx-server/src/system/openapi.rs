//! The API as an OpenAPI 3.1 document, made from the list of routes that the server serves
//! (decision 14), so that no route can be left out.

mod errors;

use std::collections::BTreeMap;

use http::Method;
use nfrx_spi::{Access, Dialect, Operation, Route};
use serde_json::{Map, Value, json};

use errors::response_of;

const JSON: &str = "application/json";

/// What a segment of a path may be: anything but a slash and what has to be escaped twice
/// to arrive at all.
const SEGMENT: &str = "^[!-.0-~][ -.0-~]*$";

/// The document of these routes. `url` is where people reach the server, if anybody said.
pub(super) fn document(routes: &[Route], version: &str, url: Option<&str>) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for route in routes.iter().filter(|route| method_key(&route.method).is_some()) {
        let (path, params) = path(&route.pattern);
        let item = paths.entry(path).or_default();
        item.insert(route.method.as_str().to_ascii_lowercase(), operation(route, &params));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "nfrx API",
            "version": version,
            "description": "What this server serves, by the plugins it has. Made from its list of routes.",
        },
        "servers": [{ "url": url.unwrap_or("/") }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "client": scheme("the key of a client"),
                "agent": scheme("the key of an agent"),
                "admin": scheme("ADMIN_KEY, or a named key with the admin scope"),
            },
            "responses": errors::responses(),
            "schemas": errors::schemas(),
        },
    })
}

/// Other methods have no place in a document.
fn method_key(method: &Method) -> Option<&Method> {
    let known = [
        Method::GET,
        Method::PUT,
        Method::POST,
        Method::DELETE,
        Method::OPTIONS,
        Method::HEAD,
        Method::PATCH,
        Method::TRACE,
    ];
    known.contains(method).then_some(method)
}

fn scheme(description: &str) -> Value {
    json!({ "type": "http", "scheme": "bearer", "description": description })
}

/// The path in OpenAPI's form, and the names of its parameters; true for one that is the
/// rest of the path.
fn path(pattern: &str) -> (String, Vec<(String, bool)>) {
    let mut params = Vec::new();
    let mut path = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        let (name, is_rest) = name.strip_prefix('*').map_or((name, false), |name| (name, true));
        params.push((name.to_owned(), is_rest));
        path.push_str(&format!("{before}{{{name}}}"));
        rest = after;
    }
    path.push_str(rest);
    (path, params)
}

fn operation(route: &Route, params: &[(String, bool)]) -> Value {
    let about = route.operation.clone().unwrap_or_default();
    let tag = if route.plugin.is_empty() { "server" } else { route.plugin };
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [tag],
        "security": security(route.access),
        "responses": answers(route, &about),
    });
    if !about.summary.is_empty() {
        operation["summary"] = about.summary.into();
    }
    if about.streams || about.upgrades {
        // Not of OpenAPI: tells tools which routes may answer without an end.
        operation["x-streams"] = true.into();
    }
    if about.upgrades {
        operation["description"] =
            "Agents come here with a WebSocket upgrade; other requests get 426.".into();
    }
    let asked = about.query.iter().filter_map(|query| query["properties"].as_object()).flatten();
    let asked = asked.map(|(name, schema)| json!({ "name": name, "in": "query", "schema": schema }));
    let parameters: Vec<_> = params.iter().map(parameter).chain(asked).collect();
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = about.request {
        let media = about.request_type.unwrap_or(JSON);
        operation["requestBody"] = json!({ "required": true, "content": { media: { "schema": schema } } });
    }
    operation
}

/// All answers of a route by their status; `default` stands for its errors.
fn answers(route: &Route, about: &Operation) -> Value {
    let errors = match route.dialect {
        _ if about.passes_errors => errors::WORKERS,
        // Below a guard, refusals have its form.
        Dialect::Text if about.upgrades => response_of(Dialect::Contract),
        dialect => response_of(dialect),
    };
    let errors = json!({ "$ref": format!("#/components/responses/{errors}") });
    if about.upgrades {
        let upgraded = json!({ "description": "The connection is a WebSocket from here on" });
        let refused = json!({ "description": "This address takes upgrades only" });
        return json!({ "101": upgraded, "426": refused, "default": errors });
    }
    let mut answers = json!({ "200": success(about), "default": errors });
    if route.pattern.contains('{') {
        // An address that fits no route is refused before there is a form.
        answers["404"] = json!({ "$ref": format!("#/components/responses/{}", errors::UNKNOWN) });
    }
    if about.may_be_empty {
        answers["204"] = json!({ "description": "Done, and there is nothing to show" });
    }
    answers
}

/// Unique, and the same as long as the route is.
fn operation_id(route: &Route) -> String {
    let words = route.pattern.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    // A path and the same with a slash at its end are two.
    let slash = if route.pattern.len() > 1 && route.pattern.ends_with('/') { "_" } else { "" };
    let words: Vec<_> = words.collect();
    format!("{}_{}{slash}", route.method.as_str().to_ascii_lowercase(), words.join("_"))
}

fn parameter((name, is_rest): &(String, bool)) -> Value {
    let schema = json!({ "type": "string", "minLength": 1, "pattern": SEGMENT });
    let mut parameter = json!({ "name": name, "in": "path", "required": true, "schema": schema });
    if *is_rest {
        parameter["description"] = "The rest of the path, slashes included.".into();
    }
    parameter
}

fn success(about: &Operation) -> Value {
    let mut content = Map::new();
    if let Some(schema) = &about.response {
        content.insert(JSON.to_owned(), json!({ "schema": schema }));
    }
    if let Some(media) = about.response_type {
        content.insert(media.to_owned(), json!({}));
    }
    if about.streams {
        content.insert("text/event-stream".to_owned(), json!({}));
    }
    let mut answer = json!({ "description": "Done" });
    if !content.is_empty() {
        answer["content"] = content.into();
    }
    answer
}

/// Any one of them is enough; an empty one is nobody's key.
fn security(access: Access) -> Value {
    match access {
        Access::Open => json!([]),
        Access::Client => json!([{ "client": [] }]),
        Access::Worker => json!([{ "agent": [] }]),
        Access::Either => json!([{ "client": [] }, { "agent": [] }]),
        Access::Admin => json!([{ "admin": [] }]),
        Access::Plugin => json!([{ "client": [] }, {}]),
    }
}

#[cfg(test)]
mod tests;
