//! The tools: their list, and what each does.

use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, ErrorData,
    JsonObject, ListToolsResult, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, model};
use serde_json::{Value, json};

use crate::server::{Change, Fixture, complete, wire};
use crate::{input, jobs};

/// A red pixel as PNG, in Base64.
pub(crate) const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
/// No sound at all as WAV, in Base64.
const SILENCE: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA=";

/// Between two notes of a call that takes a while.
const A_WHILE: Duration = Duration::from_millis(50);

/// Tools that take nothing.
const PLAIN: &[(&str, &str)] = &[
    ("test_simple_text", "Gives a text"),
    ("test_image_content", "Gives an image"),
    ("test_audio_content", "Gives a sound"),
    ("test_embedded_resource", "Gives a resource"),
    ("test_multiple_content_types", "Gives a text, an image and a resource"),
    ("test_tool_with_logging", "Logs three lines while it runs"),
    ("test_error_handling", "Always fails"),
    ("test_tool_with_progress", "Tells how far it is"),
    ("test_elicitation_sep1034_defaults", "Asks the user, with defaults"),
    ("test_elicitation_sep1330_enums", "Asks the user to choose"),
    ("test_reconnection", "Takes a while"),
    ("test_trigger_tool_change", "Tells listeners that the tools have changed"),
    ("test_trigger_prompt_change", "Tells listeners that the prompts have changed"),
    ("test_missing_capability", "Needs a client that samples"),
    ("test_streaming_elicitation", "Asks for input in its result"),
    ("test_logging_tool", "Would log, if it were asked to"),
    ("test_input_required_result_elicitation", "Asks for a name"),
    ("test_input_required_result_sampling", "Asks a model"),
    ("test_input_required_result_list_roots", "Asks for roots"),
    ("test_input_required_result_request_state", "Wants its state back"),
    ("test_input_required_result_multiple_inputs", "Asks for three things at once"),
    ("test_input_required_result_multi_round", "Asks twice"),
    ("test_input_required_result_tampered_state", "Knows its own state"),
    ("test_input_required_result_capabilities", "Asks only for what the client can give"),
    ("failing_job", "A task that ends with a tool's error"),
    ("protocol_error_job", "A task that breaks"),
    ("multi_input", "A task that asks twice"),
    ("test_tool_with_task", "A task, or nothing"),
];

pub(crate) fn list() -> Result<ListToolsResult, ErrorData> {
    let nothing = json!({ "type": "object", "properties": {} });
    let text = |name: &str| json!({ "type": "object", "properties": { name: { "type": "string" } }, "required": [name] });
    let tool = |name: &str, about: &str, schema: &Value| json!({ "name": name, "description": about, "inputSchema": schema });
    let mut tools: Vec<_> = PLAIN.iter().map(|(name, about)| tool(name, about, &nothing)).collect();
    tools.extend([
        tool("test_sampling", "Asks the client's model", &text("prompt")),
        tool("test_elicitation", "Asks the user", &text("message")),
        tool("greet", "Greets somebody", &text("name")),
        tool("confirm_delete", "A task that asks before it acts", &text("filename")),
        tool(
            "slow_compute",
            "A task that takes so long",
            &json!({ "type": "object", "properties": { "seconds": { "type": "number" }, "label": { "type": "string" } } }),
        ),
        tool(
            "test_custom_header",
            "Has a parameter that is mirrored in a header",
            &json!({ "type": "object", "properties": {
                "region": { "type": "string", "x-mcp-header": "Region" },
                "query": { "type": "string" },
            } }),
        ),
        tool("json_schema_2020_12_tool", "Has a schema with many keywords", &schema_2020_12()),
    ]);
    complete(json!({ "tools": tools, "ttlMs": 1000, "cacheScope": "public" }))
}

/// Every keyword that must survive the way to the client.
fn schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": { "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
        } },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

pub(crate) fn text(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

fn content(content: Value) -> Result<CallToolResponse, ErrorData> {
    complete::<CallToolResult>(json!({ "content": content })).map(Into::into)
}

pub(crate) async fn call(
    fixture: &Fixture,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    if let Some(answer) = jobs::call(fixture, &request, &context).await {
        return answer;
    }
    if let Some(answer) = input::call(&request, &context) {
        return answer;
    }
    let image = json!({ "type": "image", "data": PIXEL, "mimeType": "image/png" });
    let arguments = request.arguments.clone().unwrap_or_default();
    match &*request.name {
        "test_simple_text" => Ok(text("This is a simple text response for testing.")),
        "test_image_content" => content(json!([image])),
        "test_audio_content" => {
            content(json!([{ "type": "audio", "data": SILENCE, "mimeType": "audio/wav" }]))
        }
        "test_embedded_resource" => content(json!([{ "type": "resource", "resource": {
            "uri": "test://embedded-resource", "mimeType": "text/plain", "text": "This is an embedded resource content.",
        } }])),
        "test_multiple_content_types" => content(json!([
            { "type": "text", "text": "Multiple content types test:" },
            image,
            { "type": "resource", "resource": {
                "uri": "test://mixed-content-resource", "mimeType": "application/json",
                "text": "{\"test\":\"data\",\"value\":123}",
            } },
        ])),
        "test_error_handling" => {
            let why = ContentBlock::text("This tool intentionally returns an error for testing");
            Ok(CallToolResult::error(vec![why]).into())
        }
        "test_reconnection" => {
            tokio::time::sleep(A_WHILE * 2).await;
            Ok(text("Reconnection test completed"))
        }
        "test_trigger_tool_change" => change(fixture, &context, Change::Tools).await,
        "test_trigger_prompt_change" => change(fixture, &context, Change::Prompts).await,
        "test_missing_capability" => need_sampling(&context),
        "test_logging_tool" => Ok(text("Nothing was logged")),
        "greet" => Ok(text(format!("Hello, {}!", word(&arguments, "name")))),
        "test_custom_header" => Ok(text(format!("region={}", word(&arguments, "region")))),
        "json_schema_2020_12_tool" => Ok(text(format!("Hello, {}!", word(&arguments, "name")))),
        "test_tool_with_logging" => logging(&context).await,
        "test_tool_with_progress" => progress(&context).await,
        "test_sampling" => sampling(&context, word(&arguments, "prompt")).await,
        "test_elicitation" => {
            let schema = json!({ "type": "object", "required": ["username", "email"], "properties": {
                "username": { "type": "string", "description": "User's response" },
                "email": { "type": "string", "description": "User's email address" },
            } });
            elicitation(&context, "User response", word(&arguments, "message"), schema).await
        }
        "test_elicitation_sep1034_defaults" => {
            elicitation(&context, "Elicitation completed", "Please check these values", defaults()).await
        }
        "test_elicitation_sep1330_enums" => {
            elicitation(&context, "Elicitation completed", "Please choose", choices()).await
        }
        other => Err(ErrorData::invalid_params(format!("unknown tool {other}"), None)),
    }
}

pub(crate) fn word<'a>(arguments: &'a JsonObject, name: &str) -> &'a str {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default()
}

async fn change(
    fixture: &Fixture,
    context: &RequestContext<RoleServer>,
    change: Change,
) -> Result<CallToolResponse, ErrorData> {
    // Listeners of the modern era, and the session's own stream of the other.
    let _ = fixture.changes.send(change);
    let _ = match change {
        Change::Tools => context.peer.notify_tool_list_changed().await,
        Change::Prompts => context.peer.notify_prompt_list_changed().await,
    };
    Ok(text("Told"))
}

fn need_sampling(context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
    if context.client_capabilities().is_some_and(|can| can.sampling.is_some()) {
        return Ok(text("The client samples"));
    }
    let needed = ClientCapabilities::builder().enable_sampling().build();
    Err(ErrorData::missing_required_client_capability(needed))
}

async fn logging(context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
    for line in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
        let line = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(line));
        // A client that is gone is told nothing.
        let _ = context.peer.notify_logging_message(line).await;
        tokio::time::sleep(A_WHILE).await;
    }
    Ok(text("Logged three lines"))
}

async fn progress(context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
    let token = context.meta.get_progress_token();
    for done in [0.0, 50.0, 100.0] {
        if let Some(token) = &token {
            let note = ProgressNotificationParam::new(token.clone(), done).with_total(100.0);
            let _ = context.peer.notify_progress(note).await;
        }
        tokio::time::sleep(A_WHILE).await;
    }
    Ok(text("Done"))
}

async fn sampling(context: &RequestContext<RoleServer>, prompt: &str) -> Result<CallToolResponse, ErrorData> {
    let question: model::CreateMessageRequestParams = wire(json!({
        "messages": [{ "role": "user", "content": { "type": "text", "text": prompt } }], "maxTokens": 100,
    }))?;
    let answer = match context.peer.create_message(question).await {
        Ok(answer) => answer,
        Err(error) => return Ok(CallToolResult::error(vec![ContentBlock::text(error.to_string())]).into()),
    };
    let answer = serde_json::to_value(answer).unwrap_or_default();
    let said =
        answer["content"]["text"].as_str().or(answer["content"][0]["text"].as_str()).unwrap_or("nothing");
    Ok(text(format!("LLM response: {said}")))
}

async fn elicitation(
    context: &RequestContext<RoleServer>,
    label: &str,
    message: &str,
    schema: Value,
) -> Result<CallToolResponse, ErrorData> {
    let question: model::ElicitRequestParams =
        wire(json!({ "mode": "form", "message": message, "requestedSchema": schema }))?;
    match context.peer.create_elicitation(question).await {
        Ok(answer) => {
            let answer = serde_json::to_value(answer).unwrap_or_default();
            let action = answer["action"].as_str().unwrap_or_default();
            Ok(text(format!("{label}: action={action}, content={}", answer["content"])))
        }
        Err(error) => Ok(CallToolResult::error(vec![ContentBlock::text(error.to_string())]).into()),
    }
}

/// A form in which everything has a value already.
fn defaults() -> Value {
    json!({ "type": "object", "properties": {
        "name": { "type": "string", "default": "John Doe" },
        "age": { "type": "integer", "default": 30 },
        "score": { "type": "number", "default": 95.5 },
        "status": { "type": "string", "enum": ["active", "inactive", "pending"], "default": "active" },
        "verified": { "type": "boolean", "default": true },
    } })
}

/// A form with every kind of choice.
fn choices() -> Value {
    let titled = |names: [&str; 3]| {
        let one =
            |(at, title): (usize, &&str)| json!({ "const": format!("value{}", at + 1), "title": title });
        names.iter().enumerate().map(one).collect::<Vec<_>>()
    };
    json!({ "type": "object", "properties": {
        "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
        "titledSingle": { "type": "string", "oneOf": titled(["First Option", "Second Option", "Third Option"]) },
        "legacyEnum": { "type": "string", "enum": ["opt1", "opt2", "opt3"],
                        "enumNames": ["Option One", "Option Two", "Option Three"] },
        "untitledMulti": { "type": "array", "items": { "type": "string", "enum": ["option1", "option2", "option3"] } },
        "titledMulti": { "type": "array", "items": { "anyOf": titled(["First Choice", "Second Choice", "Third Choice"]) } },
    } })
}
