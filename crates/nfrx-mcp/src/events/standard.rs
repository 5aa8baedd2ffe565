//! Another reading of a stream of events, which tests and the fuzzer hold ours against.

#![allow(unreachable_pub, reason = "public for the fuzzer, which is a feature")]

/// The whole events of a stream as the HTML standard reads them (§9.2.6): the fields of each.
pub fn events(text: &str) -> Vec<Vec<(String, String)>> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut fields) = (Vec::new(), Vec::new());
    let Some((lines, _)) = text.rsplit_once('\n') else { return events };
    for line in lines.split('\n') {
        match line.split_once(':') {
            _ if line.is_empty() => {
                if !fields.is_empty() {
                    events.push(std::mem::take(&mut fields));
                }
            }
            Some(("", _)) => {}
            Some((name, value)) => fields.push((name.to_owned(), value.to_owned())),
            None => fields.push((line.to_owned(), String::new())),
        }
    }
    events
}
