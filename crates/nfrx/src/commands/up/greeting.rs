//! What `up` says once everything stands.

use std::net::SocketAddr;
use std::path::Path;

use nfrx_spi::Secret;
use serde_json::json;

/// Everything that is worth saying.
pub(super) struct Greeting<'a> {
    pub(super) addr: SocketAddr,
    pub(super) key: &'a Secret,
    pub(super) key_file: &'a Path,
    /// One sentence on the backend.
    pub(super) backend: &'a str,
    /// Its models, maybe none yet.
    pub(super) models: &'a [String],
}

impl Greeting<'_> {
    /// The text for the terminal. It shows the key: that is what it is for, and it goes
    /// to standard output, never to the log.
    pub(super) fn text(&self) -> String {
        let base = format!("http://{}", self.addr);
        let models = match self.models {
            [] => "none yet; they appear when the backend has some".to_owned(),
            some => some.join(", "),
        };
        format!(
            "\nnfrx is up\n\n\
             \x20 API        {base}/v1\n\
             \x20 key        {key}\n\
             \x20            (kept in {file})\n\
             \x20 dashboard  {base}/state\n\
             \x20 backend    {backend}\n\
             \x20 models     {models}\n\n\
             Paste this to see an answer stream:\n\n{curl}\n\n\
             Ctrl-C ends it.\n",
            key = self.key.reveal(),
            file = self.key_file.display(),
            backend = self.backend,
            curl = self.curl(&base),
        )
    }

    fn curl(&self, base: &str) -> String {
        let model = self.models.first().map_or("MODEL", String::as_str);
        let message = json!([{ "role": "user", "content": "Hello!" }]);
        let body = json!({ "model": model, "stream": true, "messages": message }).to_string();
        format!(
            "curl -N {base}/v1/chat/completions -H 'Authorization: Bearer {key}' \
             -H 'Content-Type: application/json' -d '{body}'",
            key = self.key.reveal(),
            // The only character that could end the quotes of a shell.
            body = body.replace('\'', "'\\''"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curl_line_names_a_model_and_survives_a_shell() {
        let key = Secret::new("nfrx-k");
        let models = ["it's:7b".to_owned()];
        let greeting = Greeting {
            addr: ([127, 0, 0, 1], 8080).into(),
            key: &key,
            key_file: Path::new("up.json"),
            backend: "Ollama",
            models: &models,
        };
        let text = greeting.text();
        assert!(text.contains("'\\''"), "{text}");
        assert!(text.contains("Bearer nfrx-k") && text.contains("http://127.0.0.1:8080/state"), "{text}");
    }
}
