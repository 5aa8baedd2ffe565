//! What the common MCP clients are to be told so that they use a server behind the relay.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::policy::Members;

/// A client whose file of servers is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct McpClient {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its file, below the home folder or the folder of a project.
    pub file: &'static str,
    /// Whether the file lies in the home folder.
    pub in_home: bool,
    /// The member of the file that holds the servers.
    servers: &'static str,
    /// How it names the address.
    url: &'static str,
    /// Whether it wants to be told that it is HTTP.
    typed: bool,
}

/// The clients.
pub const CLIENTS: [McpClient; 5] = [
    McpClient {
        name: "claude-code",
        file: ".mcp.json",
        in_home: false,
        servers: "mcpServers",
        url: "url",
        typed: true,
    },
    McpClient {
        name: "cursor",
        file: ".cursor/mcp.json",
        in_home: true,
        servers: "mcpServers",
        url: "url",
        typed: false,
    },
    McpClient {
        name: "vscode",
        file: ".vscode/mcp.json",
        in_home: false,
        servers: "servers",
        url: "url",
        typed: true,
    },
    McpClient {
        name: "windsurf",
        file: ".codeium/windsurf/mcp_config.json",
        in_home: true,
        servers: "mcpServers",
        url: "serverUrl",
        typed: false,
    },
    McpClient {
        name: "gemini",
        file: ".gemini/settings.json",
        in_home: true,
        servers: "mcpServers",
        url: "httpUrl",
        typed: false,
    },
];

/// A file that can't be changed.
#[derive(Debug, thiserror::Error)]
#[error("it is no plain JSON object (comments count): add the servers by hand")]
pub struct ClientFileError;

impl McpClient {
    /// What the client is told of one server. `key` goes into its header as it is.
    fn entry(&self, url: &str, key: &str) -> Value {
        let mut entry = json!({ self.url: url, "headers": { "Authorization": format!("Bearer {key}") } });
        if self.typed {
            entry["type"] = "http".into();
        }
        entry
    }

    /// The file with these servers, by name and address, in it: new ones at the end, those
    /// of the same name replaced, everything else as it was. `text` is the file as it is,
    /// empty if there is none.
    pub fn with_servers(
        &self,
        text: &str,
        servers: &[(String, String)],
        key: &str,
    ) -> Result<String, ClientFileError> {
        let mut file = members(if text.trim().is_empty() { "{}" } else { text })?;
        let mut inside = match file.iter().find(|(name, _)| name == self.servers) {
            Some((_, servers)) => members(servers)?,
            None => Vec::new(),
        };
        for (name, url) in servers {
            put(&mut inside, name, pretty(&self.entry(url, key)));
        }
        put(&mut file, self.servers, object(&inside));
        Ok(object(&file) + "\n")
    }
}

type Texts = Vec<(String, String)>;

fn members(text: &str) -> Result<Texts, ClientFileError> {
    let Members(members) = serde_json::from_str(text).map_err(|_| ClientFileError)?;
    Ok(members.into_iter().map(|(name, value): (String, &RawValue)| (name, value.get().to_owned())).collect())
}

fn put(members: &mut Texts, name: &str, value: String) {
    match members.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => members.push((name.to_owned(), value)),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// An object of texts that are JSON already. Their own lines keep their indentation, two
/// more for those that are new.
fn object(members: &Texts) -> String {
    if members.is_empty() {
        return "{}".to_owned();
    }
    let lines = members.iter().map(|(name, value)| {
        let is_ours = value.starts_with("{\n  \"");
        let value = if is_ours { value.replace('\n', "\n  ") } else { value.clone() };
        format!("  {}: {value}", Value::from(name.as_str()))
    });
    format!("{{\n{}\n}}", lines.collect::<Vec<_>>().join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> McpClient {
        CLIENTS.into_iter().find(|client| client.name == name).expect("it is known")
    }

    // Seen to fail: with the other servers of the file left out.
    #[test]
    fn a_file_keeps_what_it_has_and_gets_the_servers() {
        let text = r#"{ "theme": "dark", "servers": {"b": { "url": "http://b" , "n": 1.0 },"a":1}, "last": [1, 2] }"#;
        let servers = [("a".to_owned(), "https://r/api/mcp/id/a".to_owned())];
        let changed = client("vscode").with_servers(text, &servers, "k").expect("plain JSON");
        let read: Value = serde_json::from_str(&changed).expect("JSON");
        let entry = json!({ "type": "http", "url": "https://r/api/mcp/id/a", "headers": { "Authorization": "Bearer k" } });
        assert_eq!(read["servers"]["a"], entry);
        assert!(changed.contains(r#""b": { "url": "http://b" , "n": 1.0 }"#), "{changed}");
        let order: Vec<_> = ["theme", "servers", "last"].map(|name| changed.find(name)).into();
        assert!(order.is_sorted() && order[0].is_some(), "{changed}");
        assert_eq!(client("vscode").with_servers(&changed, &servers, "k").expect("our own"), changed);
    }

    #[test]
    fn each_client_has_its_own_words_and_a_file_with_comments_is_left_alone() {
        for (name, at) in [
            ("gemini", "/mcpServers/a/httpUrl"),
            ("windsurf", "/mcpServers/a/serverUrl"),
            ("cursor", "/mcpServers/a/url"),
        ] {
            let file = client(name).with_servers("", &[("a".to_owned(), "u".to_owned())], "k").expect("new");
            let read: Value = serde_json::from_str(&file).expect("JSON");
            assert_eq!(read.pointer(at), Some(&json!("u")), "{name}");
        }
        assert!(client("vscode").with_servers("{ // mine\n}", &[], "k").is_err());
    }
}
