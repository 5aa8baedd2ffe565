//! The modern era's headers, which say once more what stands in the body, so that whoever
//! passes a request on need not read it: they must agree.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::message::{Message, Object};

/// The header that names the version.
pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
const PARAM: &str = "mcp-param-";

/// How deep a schema is looked into for parameters that are mirrored.
const DEPTH_MAX: usize = 16;

/// The only value of a header; `None` if it is not there. One that is there twice could be
/// read differently by two readers.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(format!("the {name} header is there more than once")),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_| format!("the {name} header holds characters that it must not")),
    }
}

/// Whether the headers agree with a message; if not, what is wrong. `schema` is that of the
/// called tool, if it is known.
pub(super) fn check(headers: &HeaderMap, message: &Message, schema: Option<&Value>) -> Result<(), String> {
    let Some(method) = message.method() else { return Ok(()) };
    match only(headers, METHOD.as_str())? {
        None => return Err("the mcp-method header is missing".to_owned()),
        Some(header) if header != method => {
            return Err(format!("the mcp-method header is `{header}`, the body's method is `{method}`"));
        }
        Some(_) => {}
    }
    let params = message.params().unwrap_or_default();
    if let Some(name) = name_key(method).and_then(|key| params.text(key)) {
        agrees(headers, NAME.as_str(), Some(&Value::String(name)))?;
    }
    match schema {
        Some(schema) if method == "tools/call" => check_params(headers, &params, schema),
        _ => Ok(()),
    }
}

/// Where the name of what a method is about stands in its parameters.
fn name_key(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

fn check_params(headers: &HeaderMap, params: &Object, schema: &Value) -> Result<(), String> {
    let arguments: Value =
        params.get("arguments").and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    check_level(headers, schema, Some(&arguments), DEPTH_MAX)
}

/// Checks the parameters of one level of the schema, and of those below it.
fn check_level(
    headers: &HeaderMap,
    schema: &Value,
    values: Option<&Value>,
    depth: usize,
) -> Result<(), String> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|_| depth > 0) else {
        return Ok(());
    };
    for (key, schema) in properties {
        let value = values.and_then(|values| values.get(key)).filter(|value| !value.is_null());
        if let Some(header) =
            schema.get("x-mcp-header").and_then(Value::as_str).filter(|name| !name.is_empty())
        {
            agrees(headers, &format!("{PARAM}{}", header.to_ascii_lowercase()), value)?;
        }
        check_level(headers, schema, value, depth - 1)?;
    }
    Ok(())
}

/// Whether a header says the same as the body, which may say nothing.
fn agrees(headers: &HeaderMap, name: &str, value: Option<&Value>) -> Result<(), String> {
    let value = value.filter(|value| !value.is_object() && !value.is_array());
    match (only(headers, name)?, value) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(format!("the {name} header is missing")),
        (Some(_), None) => Err(format!("the {name} header stands for nothing in the body")),
        (Some(header), Some(value)) => {
            let plain = decoded(header).ok_or_else(|| format!("the {name} header is no good Base64"))?;
            if is_same(&plain, value) {
                Ok(())
            } else {
                Err(format!("the {name} header `{plain}` contradicts the body"))
            }
        }
    }
}

fn is_same(header: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => header == text,
        Value::Bool(truth) => header == truth.to_string(),
        // 42 and 42.0 are the same number.
        Value::Number(number) => {
            header == number.to_string()
                || header.parse().ok().is_some_and(|read: f64| number.as_f64() == Some(read))
        }
        _ => false,
    }
}

/// A header's value in plain text: what no header can carry is in Base64.
fn decoded(header: &str) -> Option<String> {
    match header.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        None => Some(header.to_owned()),
        Some(coded) => String::from_utf8(BASE64_STANDARD.decode(coded).ok()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::super::message::raw;
    use super::super::tools::Tools;
    use super::*;

    /// `headers` are `name=value` pairs; gives what is wrong, if anything is.
    #[track_caller]
    fn check(method: &str, params: &Value, headers: &[(&str, &str)], wrong: &str) {
        let mut known = Tools::default();
        known.add(&raw(&json!({ "tools": [{ "name": "run", "inputSchema": { "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "deep": { "properties": { "n": { "type": "integer", "x-mcp-header": "N" } } },
            "plain": { "type": "string" },
        } } }] })));
        let text = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let message = Message::parse(&Bytes::from(text)).expect("a message");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).expect("a name");
            map.append(name, value.parse().expect("a value"));
        }
        let found = super::check(&map, &message, known.schema("run")).err().unwrap_or_default();
        assert!(found.contains(wrong) && found.is_empty() == wrong.is_empty(), "{headers:?}: {found}");
    }

    #[test]
    fn headers_say_what_the_body_says() {
        let call = json!({ "name": "run", "arguments": { "region": "é", "deep": { "n": 42 } } });
        let good = [
            ("mcp-method", "tools/call"),
            ("mcp-name", "run"),
            ("mcp-param-region", "=?base64?w6k=?="),
            ("Mcp-Param-N", "42.0"),
        ];
        check("tools/call", &call, &good, "");
        check("tools/call", &call, &good[1..], "mcp-method header is missing");
        check("tools/call", &call, &good[..2], "is missing");
        for (at, value, wrong) in [
            (0, "tools/list", "the body's method is `tools/call`"),
            (1, "walk", "contradicts"),
            (2, "=?base64?%?=", "no good Base64"),
            (2, "e", "contradicts"),
            (3, "41", "contradicts"),
        ] {
            let mut bad = good;
            bad[at].1 = value;
            check("tools/call", &call, &bad, wrong);
        }
        let twice = [good.as_slice(), &[("mcp-name", "run")]].concat();
        check("tools/call", &call, &twice, "more than once");
        let none = json!({ "name": "run", "arguments": { "region": null } });
        check("tools/call", &none, &good[..2], "");
        check("tools/call", &none, &good[..3], "stands for nothing");
        check(
            "tasks/get",
            &json!({ "taskId": "t" }),
            &[("mcp-method", "tasks/get")],
            "mcp-name header is missing",
        );
        check("ping", &json!({}), &[("mcp-method", "ping"), ("mcp-name", "ignored")], "");
    }
}
