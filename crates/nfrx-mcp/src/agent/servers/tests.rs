use super::*;

fn read(text: &str, client_id: Option<&str>) -> Result<Vec<ServerEntry>, String> {
    let env = |name: &str| (name == "KEY").then(|| "hunter2".to_owned());
    parse(text, client_id, &env).map(|(entries, _)| entries)
}

#[track_caller]
fn check_error(entry: &str, expected: &str) {
    let error = read(&format!(r#"{{"mcpServers":{{"a":{entry}}}}}"#), None).expect_err("it is refused");
    assert!(error.contains(expected), "`{error}` should contain `{expected}`");
}

#[test]
fn a_file_of_a_client_is_read_as_it_is() {
    let text = r#"{
        "mcpServers": {
            "files": {"command": "npx", "args": ["-y", "server", "${HOME_DIR:-/srv}"], "env": {"TOKEN": "${KEY}"}},
            "web": {"type": "http", "url": "http://h:1/mcp", "headers": {"Authorization": "Bearer ${KEY}"}, "autoApprove": []},
            "old": {"type": "sse", "url": "http://h:1/sse"},
            "off": {"url": "nonsense", "disabled": true}
        },
        "globalShortcut": ""
    }"#;
    let entries = read(text, Some("den")).expect("a good file");
    let ids: Vec<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["den-files", "den-old", "den-web"]);
    let Transport::Stdio(command) = &entries[0].transports[0] else { panic!("it has a command") };
    assert_eq!((command.command.as_str(), command.args[2].as_str()), ("npx", "/srv"));
    assert_eq!(command.env["TOKEN"].reveal(), "hunter2");
    let Transport::Http(way) = &entries[2].transports[0] else { panic!("it has an address") };
    assert_eq!((way.endpoint.to_string().as_str(), way.headers.len()), ("http://h:1/mcp", 1));
    assert!(matches!(entries[1].transports[0], Transport::Sse(_)));
    assert!(!format!("{entries:?}").contains("hunter2"));
    let (_, unknown) = parse(text, None, &|_| Some(String::new())).expect("a good file");
    assert_eq!(unknown.into_iter().collect::<Vec<_>>(), ["globalShortcut", "web.autoApprove"]);
}

#[test]
fn an_id_is_the_name_unless_the_agent_has_one_or_the_entry_says_so() {
    let text = r#"{"mcpServers":{"a":{"url":"http://h/"},"b":{"url":"http://h/","id":"own"}}}"#;
    let ids = |client_id| {
        let entries = read(text, client_id).expect("a good file");
        entries.into_iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(None), ["a", "own"]);
    assert_eq!(ids(Some("den")), ["den-a", "own"]);
}

// Seen to fail: with the secret taken as it is written.
#[test]
fn an_entry_may_have_client_credentials() {
    let entry = |oauth: &str| format!(r#"{{"mcpServers":{{"a":{{"url":"http://h/","oauth":{oauth}}}}}}}"#);
    let of =
        |oauth: &str| match read(&entry(oauth), None).expect("a good file").remove(0).transports.remove(0) {
            Transport::Http(way) => way.oauth,
            _ => panic!("it has an address"),
        };
    let settings = of(
        r#"{"tokenUrl":"http://h/t","clientId":"den","clientSecret":"${KEY}","scopes":["a","b"],"tokenFile":"/x"}"#,
    );
    let settings = settings.expect("it names an endpoint");
    assert_eq!(settings.client_secret.as_ref().map(nfrx_spi::Secret::reveal), Some("hunter2"));
    assert_eq!((settings.scopes.as_str(), settings.token_file), ("a b", Some("/x".into())));
    assert_eq!(of(r#"{"enabled":false}"#), None);
    let written = r#"{"tokenUrl":"http://h/t","clientId":"den","scopes":"a,b","audiences":["x"]}"#;
    assert_eq!(of(written).map(|settings| settings.scopes), Some("a b".to_owned()));
    let (_, unknown) = parse(&entry(written), None, &|_| None).expect("a good file");
    assert_eq!(unknown.into_iter().collect::<Vec<_>>(), ["a.oauth.audiences"]);
}

#[test]
fn what_cannot_be_served_is_named_without_its_secrets() {
    check_error(r#"{}"#, "neither a `url` nor a `command`");
    check_error(r#"{"url":"http://h/","command":"x"}"#, "both");
    check_error(r#"{"url":"h:1"}"#, "`a`: its `url` must be an http://");
    check_error(r#"{"url":"http://h/","type":"ws"}"#, "`ws`");
    check_error(r#"{"command":"x","type":"http"}"#, "`stdio`");
    check_error(r#"{"url":"http://h/","oauth":{"clientId":"a"}}"#, "`tokenUrl`");
    check_error(r#"{"url":"http://h/","oauth":{"tokenUrl":"http://h/t"}}"#, "`clientId`");
    let both =
        r#"{"url":"http://h/","oauth":{"tokenUrl":"http://h/t","clientId":"a"},"passAuthorization":true}"#;
    check_error(both, "another `Authorization`");
    check_error(r#"{"url":"http://h/","id":".."}"#, "public id");
    check_error(r#"{"url":"http://h/","headers":{"a b":"x"}}"#, "`a b`");
    check_error(r#"{"url":"${NONE}"}"#, "`NONE`");
    let error = read("{\n\"mcpServers\": \"hunter2\"}", None).expect_err("no servers");
    assert!(error.contains("line 2") && !error.contains("hunter2"), "{error}");
    assert!(read(r#"{"mcpServers":{}}"#, None).is_err_and(|error| error.contains("no server")));
    let twice = r#"{"mcpServers":{"a":{"url":"http://h/"},"b":{"url":"http://h/","id":"a"}}}"#;
    assert!(read(twice, None).is_err_and(|error| error.contains("same public id")));
}
