//! Tools that need something of the client before they can answer (SEP-2322): they say so in
//! their result, and the client asks again with what was wanted.

use rmcp::RoleServer;
use rmcp::model::{CallToolRequestParams, CallToolResponse, ErrorData, InputRequiredResult, InputResponses};
use rmcp::service::RequestContext;
use serde_json::{Map, Value, json};

use crate::server::wire;
use crate::tools::text;

/// The answer, if the request is for one of these tools.
pub(crate) fn call(
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Option<Result<CallToolResponse, ErrorData>> {
    let given = request.input_responses.as_ref();
    let state = request.request_state.as_deref();
    Some(match request.name.strip_prefix("test_input_required_result_").unwrap_or(&request.name) {
        "elicitation" | "test_streaming_elicitation" => match accepted(given, "user_name", "name") {
            Some(name) => Ok(text(format!("Hello, {name}!"))),
            None => ask(json!({ "user_name": name_form() }), None),
        },
        "test_tool_with_task" => ask(json!({ "user_name": name_form() }), None),
        "sampling" => match given.and_then(|given| given.get("capital_question")) {
            Some(answer) => Ok(text(format!("The model says: {}", said(answer)))),
            None => ask(json!({ "capital_question": sample("What is the capital of France?", 100) }), None),
        },
        "list_roots" => match given.and_then(|given| given.get("client_roots")) {
            Some(answer) => Ok(text(format!("The roots are {}", answer["roots"]))),
            None => ask(json!({ "client_roots": roots() }), None),
        },
        "request_state" => match (state, accepted(given, "confirm", "ok")) {
            (Some("state-1"), Some(_)) => Ok(text("state-ok")),
            (Some(_), Some(_)) => Err(foreign_state()),
            _ => ask(json!({ "confirm": ask_form("Please confirm", "ok", "boolean") }), Some("state-1")),
        },
        "tampered_state" => match state {
            None => ask(
                json!({ "confirm": ask_form("Please confirm", "ok", "boolean") }),
                Some(&sealed("round-1")),
            ),
            Some(state) if state == sealed("round-1") => Ok(text("state-ok")),
            Some(_) => Err(foreign_state()),
        },
        "multiple_inputs" => {
            let has_all = ["user_name", "greeting", "client_roots"]
                .iter()
                .all(|key| given.is_some_and(|given| given.contains_key(*key)));
            match has_all && state == Some("state-all") {
                true => Ok(text("All three came")),
                false => ask(
                    json!({ "user_name": name_form(), "greeting": sample("Generate a greeting", 50), "client_roots": roots() }),
                    Some("state-all"),
                ),
            }
        }
        "multi_round" => match state {
            None => ask(
                json!({ "step1": ask_form("Step 1: What is your name?", "name", "string") }),
                Some("round-1"),
            ),
            Some("round-1") => ask(
                json!({ "step2": ask_form("Step 2: What is your favorite color?", "color", "string") }),
                Some("round-2"),
            ),
            Some("round-2") => Ok(text("Both rounds are done")),
            Some(_) => Err(foreign_state()),
        },
        "capabilities" => match given.is_some_and(|given| !given.is_empty()) {
            true => Ok(text("What could be given was given")),
            false => ask(within_capabilities(context), None),
        },
        _ => return None,
    })
}

/// Asks only for what the client has said that it can give.
fn within_capabilities(context: &RequestContext<RoleServer>) -> Value {
    let can = context.client_capabilities().unwrap_or_default();
    let mut questions = Map::new();
    if can.elicitation.is_some() {
        questions.insert("user_name".to_owned(), name_form());
    }
    if can.sampling.is_some() {
        questions.insert("greeting".to_owned(), sample("Generate a greeting", 50));
    }
    if can.roots.is_some() {
        questions.insert("client_roots".to_owned(), roots());
    }
    Value::Object(questions)
}

fn ask(questions: Value, state: Option<&str>) -> Result<CallToolResponse, ErrorData> {
    required(questions, state).map(Into::into)
}

/// A result that says what is wanted.
pub(crate) fn required(questions: Value, state: Option<&str>) -> Result<InputRequiredResult, ErrorData> {
    let mut result = json!({ "resultType": "input_required", "inputRequests": questions });
    if let Some(state) = state {
        result["requestState"] = state.into();
    }
    wire(result)
}

/// What the user put into a form's field, if the form was accepted.
pub(crate) fn accepted(given: Option<&InputResponses>, key: &str, field: &str) -> Option<String> {
    let answer = given?.get(key)?;
    let value = answer["content"].get(field)?;
    (answer["action"] == "accept").then(|| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

/// A form with one field.
pub(crate) fn ask_form(message: &str, field: &str, kind: &str) -> Value {
    json!({ "method": "elicitation/create", "params": {
        "mode": "form", "message": message,
        "requestedSchema": { "type": "object", "properties": { field: { "type": kind } }, "required": [field] },
    } })
}

fn name_form() -> Value {
    ask_form("What is your name?", "name", "string")
}

fn sample(question: &str, tokens: u32) -> Value {
    json!({ "method": "sampling/createMessage", "params": {
        "messages": [{ "role": "user", "content": { "type": "text", "text": question } }], "maxTokens": tokens,
    } })
}

fn roots() -> Value {
    json!({ "method": "roots/list", "params": {} })
}

fn said(answer: &Value) -> &str {
    answer["content"]["text"].as_str().unwrap_or("nothing")
}

/// A state that shows when somebody has changed it. Not secret, but good enough here.
fn sealed(state: &str) -> String {
    let sum = state.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(1_000_003) ^ u64::from(byte));
    format!("{state}.{sum:016x}")
}

fn foreign_state() -> ErrorData {
    ErrorData::invalid_params("this request state is not ours", None)
}
