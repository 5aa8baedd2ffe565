use http::HeaderValue;
use nfrx_spi::Secret;

use super::*;
use crate::config::{OriginConfig, SideConfig};

fn side(key: &str, roles: &str) -> SideConfig {
    SideConfig {
        key: (!key.is_empty()).then(|| Secret::new(key)),
        keys_file: None,
        roles: roles.split_whitespace().map(str::to_owned).collect(),
    }
}

fn login(api: SideConfig, workers: SideConfig) -> LoginConfig {
    LoginConfig {
        api,
        workers,
        admin_key: Some(Secret::new("root")),
        insecure_open: false,
        trusted_proxies: vec!["10.0.0.9".parse().expect("an address")],
    }
}

/// `request` is `address key roles`, with `-` for what is not there; the answer is
/// `ok` or the status.
fn ask(login: &LoginConfig, access: Access, request: &str) -> String {
    let gate = Gate::new(login, 64).expect("no files to read");
    let parts: Vec<_> = request.split(' ').collect();
    let mut headers = HeaderMap::new();
    for (name, part) in [("authorization", parts[1]), (side::ROLES, parts[2])] {
        if part != "-" {
            let value = if name == "authorization" { format!("BeArEr  {part} ") } else { part.to_owned() };
            headers.insert(name, HeaderValue::from_str(&value).expect("a value"));
        }
    }
    let proxies = Proxies::new(&login.trusted_proxies, &OriginConfig::default());
    let address = format!("{}:9", parts[0]).parse().expect("an address");
    let peer = proxies.peer(address, &headers, "relay.test");
    match gate.judge(access, "llm", &peer, &headers) {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.status().as_u16().to_string(),
    }
}

#[test]
fn an_unset_side_serves_this_machine_only_unless_told_otherwise() {
    let mut login = login(side("", ""), side("", ""));
    for access in [Access::Client, Access::Worker, Access::Either] {
        assert_eq!(ask(&login, access, "127.0.0.1 - -"), "ok");
        assert_eq!(ask(&login, access, "127.0.0.1 anything -"), "ok");
        // Seen to fail: with `is_local` left out.
        assert_eq!(ask(&login, access, "9.9.9.9 - -"), "401");
        assert_eq!(ask(&login, access, "9.9.9.9 anything -"), "401");
        assert_eq!(ask(&login, access, "10.0.0.9 - anything"), "401");
    }
    login.insecure_open = true;
    assert_eq!(ask(&login, Access::Client, "9.9.9.9 - -"), "ok");
    assert_eq!(ask(&login, Access::Admin, "127.0.0.1 - -"), "401");
}

#[test]
fn no_key_of_one_side_opens_the_other() {
    let login = login(side("alpha", "reader"), side("beta", "agent"));
    for (access, right, wrong) in [(Access::Client, "alpha", "beta"), (Access::Worker, "beta", "alpha")] {
        for address in ["127.0.0.1", "9.9.9.9"] {
            assert_eq!(ask(&login, access, &format!("{address} {right} -")), "ok");
            assert_eq!(ask(&login, access, &format!("{address} {wrong} -")), "401");
            assert_eq!(ask(&login, access, &format!("{address} {right}x -")), "401");
            assert_eq!(ask(&login, access, &format!("{address} - -")), "401");
        }
        assert_eq!(ask(&login, Access::Either, &format!("9.9.9.9 {right} -")), "ok");
        assert_eq!(ask(&login, Access::Admin, &format!("9.9.9.9 {right} -")), "403");
    }
    assert_eq!(ask(&login, Access::Open, "9.9.9.9 - -"), "ok");
}

#[test]
fn roles_count_from_a_trusted_proxy_only() {
    let login = login(side("", "reader,writer writer"), side("beta", "agent"));
    assert_eq!(ask(&login, Access::Client, "10.0.0.9 - x,writer"), "ok");
    assert_eq!(ask(&login, Access::Client, "10.0.0.9 - Writer"), "401");
    assert_eq!(ask(&login, Access::Client, "9.9.9.9 - writer"), "401");
    assert_eq!(ask(&login, Access::Client, "127.0.0.1 - writer"), "401");
    // Either key or role opens a side (KD-44).
    assert_eq!(ask(&login, Access::Worker, "10.0.0.9 - agent"), "ok");
    assert_eq!(ask(&login, Access::Worker, "10.0.0.9 - writer"), "401");
}

#[test]
fn the_admin_key_reads_and_acts_but_is_no_worker() {
    let login = login(side("alpha", ""), side("beta", ""));
    assert_eq!(ask(&login, Access::Admin, "9.9.9.9 root -"), "ok");
    assert_eq!(ask(&login, Access::Client, "9.9.9.9 root -"), "ok");
    assert_eq!(ask(&login, Access::Worker, "9.9.9.9 root -"), "401");
}

#[tokio::test(start_paused = true)]
async fn wrong_keys_are_slowed_down_and_a_right_one_never_is() {
    let login = login(side("alpha", ""), side("beta", ""));
    let gate = Gate::new(&login, 64).expect("no files to read");
    let proxies = Proxies::new(&[], &OriginConfig::default());
    let ask = |key: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}")).expect("a value"));
        let peer = proxies.peer("9.9.9.9:1".parse().expect("an address"), &headers, "relay.test");
        gate.judge(Access::Client, "llm", &peer, &headers).map_or_else(|e| e.status().as_u16(), |_| 200)
    };
    let statuses: Vec<_> = (0..12).map(|n| ask(&format!("guess-{n}"))).collect();
    assert_eq!(statuses, [vec![401; 10], vec![429; 2]].concat());
    assert_eq!(ask("alpha"), 200);
}
