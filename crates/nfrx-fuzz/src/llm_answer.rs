//! The answer of a language model, as its tokens are counted in passing: the same however
//! it is cut, little held, and in a text without escapes what a full reader counts.

use nfrx_llm::fuzzing::count;

use crate::json::Json;
use crate::pieces::cuts;

/// One `usage` object and the byte that ends it; those that are longer are passed over.
const HELD_MAX: usize = 4097;

pub(crate) fn run(data: &[u8]) {
    let [whole, others @ ..] = cuts(data).map(count);
    let said = (whole.tokens_in, whole.tokens_out, whole.events);
    for other in others {
        assert_eq!((other.tokens_in, other.tokens_out, other.events), said, "cut otherwise");
        assert!(other.held_max <= HELD_MAX, "{} bytes are held", other.held_max);
    }
    let lines = data.split(|byte| *byte == b'\n').rev().skip(1);
    let ends = lines.filter(|line| [&b""[..], b"\r"].contains(line)).count();
    assert_eq!(whole.events, ends as u64, "each empty line ends an event");
    // The scan takes keys as they are written, and an object only if it is short.
    if data.len() < HELD_MAX
        && !data.contains(&b'\\')
        && let Some(answer) = Json::read(data)
    {
        let mut tokens = (0, 0);
        walk(&answer, &mut tokens);
        assert_eq!((whole.tokens_in, whole.tokens_out), tokens, "{answer:?}");
    }
}

/// Takes the counts of each `usage`, in the order of the text.
fn walk(value: &Json, tokens: &mut (u64, u64)) {
    match value {
        Json::List(items) => items.iter().for_each(|item| walk(item, tokens)),
        Json::Members(members) => {
            for (key, value) in members {
                match value {
                    Json::Members(_) if key == "usage" => take(value, tokens),
                    _ => walk(value, tokens),
                }
            }
        }
        _ => {}
    }
}

fn take(usage: &Json, tokens: &mut (u64, u64)) {
    const KEYS: [&str; 4] = ["prompt_tokens", "input_tokens", "completion_tokens", "output_tokens"];
    let mut counts = [None; 4];
    for (key, value) in usage.members() {
        let Some(at) = KEYS.iter().position(|known| known == key) else { continue };
        let count = match value {
            Json::Count(count) => Some(*count),
            Json::Null => None,
            // Of a member that is no count nothing is believed, nor of a doubled one.
            _ => return,
        };
        if counts[at].replace(count).is_some() {
            return;
        }
    }
    let [prompt, input, completion, output] = counts.map(Option::flatten);
    let latest = |old: &mut u64, new: Option<u64>| *old = new.filter(|count| *count > 0).unwrap_or(*old);
    latest(&mut tokens.0, prompt.or(input));
    latest(&mut tokens.1, completion.or(output));
}
