//! Plugin roots: what a plugin is and how it is set (HTTP contract §4.0), for callers
//! of the API only (KD-70).

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, Request};
use nfrx_spi::{ArgSpec, Body, Operation, PluginOptions, RequestContext, Route, Router};
use serde::Serialize;

use super::{json, object};
use crate::host::Host;

#[derive(Clone, Serialize)]
struct Root {
    id: &'static str,
    name: &'static str,
    summary: &'static str,
    args: Option<Vec<ArgSpec>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<&'static str, String>,
}

pub(super) fn routes(router: &mut Router, host: &Arc<Host>, taken: &[Route]) {
    for built in host.plugins() {
        let descriptor = built.plugin.descriptor();
        let root = Arc::new(Root {
            id: descriptor.id,
            name: descriptor.name,
            summary: descriptor.summary,
            args: (!descriptor.args.is_empty()).then_some(descriptor.args),
            options: shown(&built.options),
        });
        for pattern in [format!("/api/{}", descriptor.id), format!("/api/{}/", descriptor.id)] {
            let root = Arc::clone(&root);
            if taken.iter().any(|route| route.pattern == pattern && route.method == Method::GET) {
                continue;
            }
            let shown = move |_: Request<Body>, _: RequestContext| {
                let response = json(&*root, true);
                async move { Ok(response) }
            };
            router.get(&pattern, shown).operation(Operation {
                summary: "Says what a plugin is and how it is set",
                response: Some(object(serde_json::json!({
                    "id": { "type": "string" },
                    "name": { "type": "string" },
                    "summary": { "type": "string" },
                    "args": { "type": ["array", "null"] },
                }))),
                ..Operation::default()
            });
        }
    }
}

fn shown(options: &PluginOptions) -> BTreeMap<&'static str, String> {
    let text = |spec: &ArgSpec| {
        let text = options.text(spec.id);
        (spec.id, if spec.secret { mask(text) } else { text.to_owned() })
    };
    options.specs().iter().map(text).collect()
}

/// What the contract lets through of a secret, by its length.
fn mask(text: &str) -> String {
    let chars: Vec<_> = text.chars().collect();
    let (head, tail) = match chars.len() {
        0..=5 => (0, 0),
        6..=20 => (1, 1),
        _ => (3, 1),
    };
    let hidden = chars.len() - head - tail;
    let star = |(at, c): (usize, &char)| if at < head || at >= head + hidden { *c } else { '*' };
    chars.iter().enumerate().map(star).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_by_length() {
        assert_eq!(mask("12345"), "*****");
        assert_eq!(mask("123456"), "1****6");
        assert_eq!(mask("123456789012345678901"), "123*****************1");
        assert_eq!(mask(""), "");
    }
}
