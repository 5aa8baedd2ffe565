//! Describes a server to the relay's operator: asks it as any client would, and adds what only
//! its agent knows.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use nfrx_spi::Body;

use super::talk;
use super::upstream::Upstream;
use crate::about::{About, AboutTool};

/// The answer to who asks for a description. It takes as long as the server does, but not for
/// ever.
pub(super) async fn describe(server: &Arc<dyn Upstream>) -> Response<Body> {
    let mut about = match talk::hello(server).await {
        Ok(hello) => About {
            software: hello.server,
            revision: hello.revision,
            tools: hello.tools.into_iter().map(tool).collect(),
            ..About::default()
        },
        Err(error) => About { problem: Some(error.to_string()), ..About::default() },
    };
    // After the conversation, which may have made it say something.
    about.stderr = server.last_words();
    let Ok(text) = serde_json::to_string(&about.bounded()) else {
        let mut failed = Response::new(Body::empty());
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return failed;
    };
    let mut answer = Response::new(Body::from(text));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn tool(tool: talk::ToolInfo) -> AboutTool {
    AboutTool { name: tool.name, read_only: tool.read_only }
}
