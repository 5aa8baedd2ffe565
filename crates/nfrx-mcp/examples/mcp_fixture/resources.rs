//! The resources.

use rmcp::model::{ErrorData, ListResourceTemplatesResult, ListResourcesResult, ReadResourceResult};
use serde_json::{Value, json};

use crate::server::complete;
use crate::tools::PIXEL;

const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";

pub(crate) fn list() -> Result<ListResourcesResult, ErrorData> {
    complete(json!({ "ttlMs": 1000, "cacheScope": "public", "resources": [
        { "uri": TEXT, "name": "text", "description": "A text", "mimeType": "text/plain" },
        { "uri": BINARY, "name": "pixel", "description": "An image", "mimeType": "image/png" },
    ] }))
}

pub(crate) fn templates() -> Result<ListResourceTemplatesResult, ErrorData> {
    complete(json!({ "ttlMs": 1000, "cacheScope": "public", "resourceTemplates": [{
        "uriTemplate": "test://template/{id}/data", "name": "data", "description": "Data by id",
        "mimeType": "application/json",
    }] }))
}

pub(crate) fn read(uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let contents = match uri {
        TEXT => {
            json!({ "uri": uri, "mimeType": "text/plain", "text": "This is the content of the static text resource." })
        }
        BINARY => json!({ "uri": uri, "mimeType": "image/png", "blob": PIXEL }),
        other => match other.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data")) {
            Some(id) => data(uri, id),
            None => {
                let about = json!({ "uri": uri });
                return Err(ErrorData::resource_not_found("there is no such resource", Some(about)));
            }
        },
    };
    complete(json!({ "ttlMs": 1000, "cacheScope": "private", "contents": [contents] }))
}

fn data(uri: &str, id: &str) -> Value {
    let data = json!({ "id": id, "templateTest": true, "data": format!("Data for ID: {id}") });
    json!({ "uri": uri, "mimeType": "application/json", "text": data.to_string() })
}
