//! The prompts.

use rmcp::model::{ErrorData, GetPromptRequestParams, GetPromptResponse, GetPromptResult, ListPromptsResult};
use serde_json::{Value, json};

use crate::input::{self, ask_form};
use crate::server::complete;
use crate::tools::{PIXEL, word};

pub(crate) fn list() -> Result<ListPromptsResult, ErrorData> {
    let argument = |name: &str| json!({ "name": name, "description": "A text", "required": true });
    complete(json!({ "ttlMs": 1000, "cacheScope": "public", "prompts": [
        { "name": "test_simple_prompt", "description": "A text" },
        { "name": "test_prompt_with_arguments", "description": "A text with two words in it",
          "arguments": [argument("arg1"), argument("arg2")] },
        { "name": "test_prompt_with_embedded_resource", "description": "A resource and a text",
          "arguments": [argument("resourceUri")] },
        { "name": "test_prompt_with_image", "description": "An image and a text" },
        { "name": "test_input_required_result_prompt", "description": "Asks for its context" },
    ] }))
}

pub(crate) fn get(request: GetPromptRequestParams) -> Result<GetPromptResponse, ErrorData> {
    let arguments = request.arguments.unwrap_or_default();
    let messages = match request.name.as_str() {
        "test_simple_prompt" => json!([said("This is a simple prompt for testing.")]),
        "test_prompt_with_arguments" => {
            let (one, two) = (word(&arguments, "arg1"), word(&arguments, "arg2"));
            json!([said(&format!("Prompt with arguments: arg1='{one}', arg2='{two}'"))])
        }
        "test_prompt_with_embedded_resource" => json!([
            { "role": "user", "content": { "type": "resource", "resource": {
                "uri": word(&arguments, "resourceUri"), "mimeType": "text/plain",
                "text": "Embedded resource content for testing.",
            } } },
            said("Please process the embedded resource above."),
        ]),
        "test_prompt_with_image" => json!([
            { "role": "user", "content": { "type": "image", "data": PIXEL, "mimeType": "image/png" } },
            said("Please analyze the image above."),
        ]),
        "test_input_required_result_prompt" => {
            let context = input::accepted(request.input_responses.as_ref(), "user_context", "context");
            match context {
                Some(context) => json!([said(&format!("Prompt in the context of {context}"))]),
                None => {
                    let question = ask_form("What context should the prompt use?", "context", "string");
                    return input::required(json!({ "user_context": question }), None).map(Into::into);
                }
            }
        }
        other => return Err(ErrorData::invalid_params(format!("unknown prompt {other}"), None)),
    };
    complete::<GetPromptResult>(json!({ "messages": messages })).map(Into::into)
}

fn said(text: &str) -> Value {
    json!({ "role": "user", "content": { "type": "text", "text": text } })
}
