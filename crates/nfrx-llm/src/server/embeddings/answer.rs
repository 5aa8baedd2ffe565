//! One answer made of the answers to chunks.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use nfrx_spi::PartitionError;
use serde_json::value::RawValue;

use super::members::Members;

/// The members that are merged; all others are taken from the first input's answer.
const MERGED: [&str; 4] = ["object", "data", "model", "usage"];

/// What has come so far.
pub(super) struct Merged {
    items: Vec<Option<Item>>,
    model: Option<(usize, Bytes)>,
    /// The sums of what workers counted, in the order in which the names were first seen.
    usage: Vec<(String, u64)>,
    /// Members that we don't know, from the answer that holds the first input.
    others: Bytes,
}

/// One vector, in the bytes of its worker.
#[derive(Clone)]
struct Item {
    json: Bytes,
    /// Where the value of `index` stands, if it has one.
    index: Option<Range<usize>>,
}

impl Merged {
    pub(super) fn new(size: usize) -> Self {
        let usage = ["prompt_tokens", "total_tokens"].map(|name| (name.to_owned(), 0));
        Self { items: vec![None; size], model: None, usage: usage.into(), others: Bytes::new() }
    }

    /// Takes the answer to `count` inputs from `start` on; changes nothing when it is not
    /// such an answer.
    pub(super) fn add(&mut self, answer: &Bytes, start: usize, count: usize) -> Result<(), PartitionError> {
        let members = Members::read(answer).ok_or(PartitionError::Form("a JSON object"))?;
        let data = members.get("data").ok_or(PartitionError::Form("an object with `data`"))?;
        let data: Vec<&RawValue> =
            serde_json::from_str(data.get()).map_err(|_| PartitionError::Form("an array `data`"))?;
        if data.len() != count {
            return Err(PartitionError::Count { expected: count, found: data.len() });
        }
        for (at, item) in (start..).zip(in_order(answer, &data)?) {
            self.items[at] = Some(item);
        }
        self.add_model(&members, answer, start);
        self.add_usage(&members);
        if start == 0 {
            self.others = others(&members);
        }
        Ok(())
    }

    /// Of the names that are not empty, that of the earliest input.
    fn add_model(&mut self, members: &Members<'_>, answer: &Bytes, start: usize) {
        let Some(name) = members.get("model").map(RawValue::get) else { return };
        let is_earlier = self.model.as_ref().is_none_or(|(at, _)| start < *at);
        if is_earlier && name.starts_with('"') && name != "\"\"" {
            self.model = Some((start, answer.slice_ref(name.as_bytes())));
        }
    }

    fn add_usage(&mut self, members: &Members<'_>) {
        let usage = members.get("usage").and_then(|usage| Members::read(usage.get().as_bytes()));
        for (name, value) in usage.iter().flat_map(Members::iter) {
            let Ok(value) = value.get().parse::<u64>() else { continue };
            match self.usage.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum = sum.saturating_add(value),
                None => self.usage.push((name.to_owned(), value)),
            }
        }
    }

    /// The whole answer; nothing is left behind.
    pub(super) fn take(&mut self) -> Bytes {
        let items = std::mem::take(&mut self.items);
        let length: usize = items.iter().flatten().map(|item| item.json.len() + 8).sum();
        let mut whole = BytesMut::with_capacity(length + self.others.len() + 256);
        whole.put_slice(b"{\"object\":\"list\",\"data\":[");
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                whole.put_u8(b',');
            }
            if let Some(item) = item {
                item.write(at, &mut whole);
            }
        }
        whole.put_slice(b"],\"model\":");
        whole.put_slice(self.model.as_ref().map_or(b"\"\"", |(_, name)| name));
        whole.put_slice(b",\"usage\":");
        let sums = self.usage.drain(..).map(|(name, sum)| (name, sum.into()));
        whole.put_slice(serde_json::Value::Object(sums.collect()).to_string().as_bytes());
        whole.put_slice(&self.others);
        whole.put_u8(b'}');
        whole.freeze()
    }
}

impl Item {
    /// Writes the item with its place among all inputs; an item without one stays so.
    fn write(&self, at: usize, whole: &mut BytesMut) {
        let Some(index) = &self.index else {
            whole.put_slice(&self.json);
            return;
        };
        whole.put_slice(&self.json[..index.start]);
        whole.put_slice(at.to_string().as_bytes());
        whole.put_slice(&self.json[index.end..]);
    }
}

/// The items in the order of their inputs: by `index` where there is one, else as they
/// came.
fn in_order(answer: &Bytes, data: &[&RawValue]) -> Result<Vec<Item>, PartitionError> {
    const FORM: PartitionError = PartitionError::Form("items whose `index` names each input once");
    let mut ordered: Vec<Option<Item>> = vec![None; data.len()];
    for (nth, raw) in data.iter().enumerate() {
        let json = answer.slice_ref(raw.get().as_bytes());
        let members = Members::read(raw.get().as_bytes()).ok_or(PartitionError::Form("items in objects"))?;
        let (at, index) = match members.get("index") {
            None => (nth, None),
            Some(index) => {
                let at = index.get().parse::<usize>().map_err(|_| FORM)?;
                let start = index.get().as_ptr() as usize - raw.get().as_ptr() as usize;
                (at, Some(start..start + index.get().len()))
            }
        };
        let place = ordered.get_mut(at).filter(|place| place.is_none()).ok_or(FORM)?;
        *place = Some(Item { json, index });
    }
    ordered.into_iter().collect::<Option<Vec<_>>>().ok_or(FORM)
}

fn others(members: &Members<'_>) -> Bytes {
    let mut others = BytesMut::new();
    for (key, value) in members.iter().filter(|(key, _)| !MERGED.contains(key)) {
        others.put_u8(b',');
        others.put_slice(serde_json::Value::from(key).to_string().as_bytes());
        others.put_u8(b':');
        others.put_slice(value.get().as_bytes());
    }
    others.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(merged: &mut Merged, answer: &str, start: usize, count: usize) -> Result<(), PartitionError> {
        merged.add(&Bytes::copy_from_slice(answer.as_bytes()), start, count)
    }

    #[test]
    fn vectors_are_numbered_anew_and_stand_in_the_order_of_their_inputs() {
        let mut merged = Merged::new(3);
        // The later chunk comes first, and its worker writes its items backwards.
        let later = r#"{"data":[{"index":1, "e":[0.10]},{"e":"AA==","index": 0,"x":1}],"model":"late",
            "usage":{"prompt_tokens":4,"total_tokens":4,"cached":1}}"#;
        let early = r#"{"object":"list","id":"e-1","data":[{"object":"embedding","index":0,"e":[1e-3]}],
            "model":"m","usage":{"prompt_tokens":1,"total_tokens":2}}"#;
        add(&mut merged, later, 1, 2).unwrap();
        add(&mut merged, early, 0, 1).unwrap();
        // Seen to fail: without the place of the chunk in `index` (KD-10).
        assert_eq!(
            std::str::from_utf8(&merged.take()).unwrap(),
            concat!(
                r#"{"object":"list","data":[{"object":"embedding","index":0,"e":[1e-3]},"#,
                r#"{"e":"AA==","index": 1,"x":1},{"index":2, "e":[0.10]}],"model":"m","#,
                r#""usage":{"cached":1,"prompt_tokens":5,"total_tokens":6},"id":"e-1"}"#
            )
        );
    }

    #[track_caller]
    fn refuses(answer: &str, count: usize) {
        let mut merged = Merged::new(2);
        assert!(add(&mut merged, answer, 0, count).is_err(), "taken: `{answer}`");
        // Nothing of it was kept.
        assert!(merged.items.iter().all(Option::is_none) && merged.usage.iter().all(|(_, sum)| *sum == 0));
    }

    #[test]
    fn an_answer_to_something_else_is_refused() {
        // KD-13: too few, too many, no vectors at all, the same one twice.
        refuses(r#"{"data":[{"index":0}],"usage":{"prompt_tokens":1}}"#, 2);
        refuses(r#"{"data":[{"index":0},{"index":1}],"usage":{"prompt_tokens":1}}"#, 1);
        refuses(r#"{"error":"no"}"#, 1);
        refuses("oops", 1);
        refuses(r#"{"data":[{"index":0},{"index":0}]}"#, 2);
        refuses(r#"{"data":[{"index":0},{"index":7}]}"#, 2);
        refuses(r#"{"data":[{"index":1},{}]}"#, 2);
        refuses(r#"{"data":[1,2]}"#, 2);
    }

    #[test]
    fn items_without_a_number_stay_without() {
        let mut merged = Merged::new(2);
        add(&mut merged, r#"{"data":[{"e":1},{"e":2}]}"#, 0, 2).unwrap();
        let text = String::from_utf8(merged.take().to_vec()).unwrap();
        assert!(text.starts_with(r#"{"object":"list","data":[{"e":1},{"e":2}],"model":"""#), "{text}");
    }
}
