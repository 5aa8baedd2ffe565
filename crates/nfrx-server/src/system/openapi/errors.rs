//! Errors in the document: one response for each form in which they are written.

use nfrx_spi::Dialect;
use serde_json::{Value, json};

/// The name of the response that stands for an address, or something below it, that is not
/// there.
pub(super) const UNKNOWN: &str = "NotFound";

/// The name of the response that stands for errors of a worker or of what is behind it.
pub(super) const WORKERS: &str = "WorkersError";

/// The name of the response that stands for all errors of a route.
pub(super) fn response_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Contract => "Error",
        Dialect::Text => "TextError",
        Dialect::Json => "CodeError",
        Dialect::OpenAi => "OpenAiError",
        Dialect::JsonRpc => "RpcError",
    }
}

pub(super) fn responses() -> Value {
    let text = json!({ "schema": { "type": "string" } });
    let of = |name: &str| json!({ "schema": { "$ref": format!("#/components/schemas/{name}") } });
    let described =
        |description: &str, content: Value| json!({ "description": description, "content": content });
    json!({
        "Error": described(
            "A sentence, or a code for programs, whichever the status has always had",
            json!({ "text/plain": text, "application/json": of("CodeError") }),
        ),
        "TextError": described("A sentence", json!({ "text/plain": text })),
        "CodeError": described("A code for programs", json!({ "application/json": of("CodeError") })),
        "OpenAiError": described("As OpenAI's SDKs read it", json!({ "application/json": of("OpenAiError") })),
        "RpcError": described(
            "As MCP clients read it",
            json!({ "text/plain": text, "application/json": of("RpcError") }),
        ),
        UNKNOWN: described(
            "Nothing is there: a sentence, or the error in the form of its route",
            json!({ "text/plain": text, "application/json": { "schema": { "type": "object" } } }),
        ),
        WORKERS: described(
            "The relay's own refusal in the form of its route, or the worker's error as it wrote it",
            json!({ "*/*": {} }),
        ),
    })
}

pub(super) fn schemas() -> Value {
    let string = json!({ "type": "string" });
    json!({
        "CodeError": { "type": "object", "required": ["error"], "properties": { "error": string } },
        "OpenAiError": { "type": "object", "required": ["error"], "properties": { "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": string, "type": string, "param": { "type": ["string", "null"] }, "code": string,
            },
        } } },
        "RpcError": { "type": "object", "required": ["jsonrpc", "error"], "properties": {
            "jsonrpc": { "const": "2.0" },
            "id": { "type": ["string", "integer", "null"] },
            "error": {
                "type": "object",
                "required": ["code", "message"],
                "properties": {
                    "code": { "type": "integer" }, "message": string, "data": { "type": "object" },
                },
            },
        } },
    })
}
