//! JSON as clients of the old system write it: names without regard to case, only the first
//! value of a body, and free-form parts kept as they were written (jobs contract §2.4, KD-97).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr as _;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::time::Millis;

/// A free-form JSON value: the client's own text, in one line.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Json(Box<RawValue>);

impl Json {
    /// Takes the value without the blanks between its parts, so that it fits an event's line.
    fn new(raw: &RawValue) -> Option<Self> {
        RawValue::from_string(in_one_line(raw.get())).ok().map(Self)
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        self.0.get()
    }

    /// Whether it is `{}`.
    pub(crate) fn is_empty_object(&self) -> bool {
        self.text() == "{}"
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Json({} bytes)", self.text().len())
    }
}

/// Leaves out the blanks outside of strings.
fn in_one_line(text: &str) -> String {
    let (mut line, mut in_string, mut escaped) = (String::with_capacity(text.len()), false, false);
    for c in text.chars() {
        if in_string || !c.is_ascii_whitespace() {
            line.push(c);
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
    }
    line
}

/// A body that is no good: 400 `invalid_request`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Invalid;

/// The members of a request's body, by their names in lower case.
#[derive(Debug, Default)]
pub(crate) struct Fields(BTreeMap<String, Box<RawValue>>);

impl Fields {
    /// Reads the first value; `None` for a body without one.
    pub(crate) fn read(body: &[u8]) -> Result<Option<Self>, Invalid> {
        let text = String::from_utf8_lossy(body);
        let mut values =
            serde_json::Deserializer::from_str(&text).into_iter::<Option<BTreeMap<String, Box<RawValue>>>>();
        match values.next() {
            None => Ok(None),
            Some(Ok(fields)) => {
                let lower = |(name, value): (String, _)| (name.to_ascii_lowercase(), value);
                Ok(Some(Self(fields.unwrap_or_default().into_iter().map(lower).collect())))
            }
            Some(Err(_)) => Err(Invalid),
        }
    }

    /// A member of a type; `None` where it is absent or `null`.
    fn typed<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Invalid> {
        let Some(raw) = self.0.get(name) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|_| Invalid)
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Invalid> {
        self.typed(name)
    }

    /// A text without blanks around it; empty where it is absent.
    pub(crate) fn trimmed(&self, name: &str) -> Result<String, Invalid> {
        Ok(self.text(name)?.map(|text| text.trim().to_owned()).unwrap_or_default())
    }

    /// A whole number, also where a language writes it as `3.0`, as JSON Schema's integers are.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Invalid> {
        let Some(number) = self.typed::<serde_json::Number>(name)? else { return Ok(None) };
        number.as_i64().or_else(|| whole(&number)).map(Some).ok_or(Invalid)
    }

    /// A whole number of 1 or more.
    pub(crate) fn positive(&self, name: &str) -> Result<Option<u64>, Invalid> {
        match self.integer(name)? {
            None => Ok(None),
            Some(number) => u64::try_from(number).ok().filter(|n| *n > 0).map(Some).ok_or(Invalid),
        }
    }

    pub(crate) fn flag(&self, name: &str) -> Result<bool, Invalid> {
        Ok(self.typed(name)?.unwrap_or(false))
    }

    /// A list of texts, empty where it is absent.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, Invalid> {
        Ok(self.typed(name)?.unwrap_or_default())
    }

    /// An object, as it was written.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Json>, Invalid> {
        match self.0.get(name) {
            None => Ok(None),
            Some(raw) if raw.get() == "null" => Ok(None),
            Some(raw) if raw.get().starts_with('{') => Json::new(raw).map(Some).ok_or(Invalid),
            Some(_) => Err(Invalid),
        }
    }

    /// The members of an object within.
    pub(crate) fn fields(&self, name: &str) -> Result<Option<Fields>, Invalid> {
        match self.object(name)? {
            None => Ok(None),
            Some(object) => Fields::read(object.text().as_bytes()),
        }
    }

    /// A time as RFC 3339.
    pub(crate) fn time(&self, name: &str) -> Result<Option<Millis>, Invalid> {
        self.text(name)?.map(|text| Millis::from_str(&text).map_err(|_| Invalid)).transpose()
    }
}

/// The whole number that a float is, if it is one that floats keep exactly.
fn whole(number: &serde_json::Number) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    let number = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT_MAX)?;
    format!("{number:.0}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_form_values_keep_their_numbers_and_fit_in_a_line() {
        let body = br#"{"METADATA": {"n": 12345678901234567890, "m": 2.50,
            "text": "a \" b\\ {  }", "deep": [ { "x": null } ] } } trailing"#;
        let fields = Fields::read(body).expect("it is JSON").expect("a value");
        let metadata = fields.object("metadata").expect("an object").expect("is there");
        // Seen to fail: when numbers pass through a double.
        assert_eq!(
            metadata.text(),
            r#"{"n":12345678901234567890,"m":2.50,"text":"a \" b\\ {  }","deep":[{"x":null}]}"#
        );
    }

    // Seen to fail: without the bound of exact floats, and when floats are refused.
    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let body = br#"{"a":3.0,"b":-2e3,"c":9007199254740993.0,"d":9223372036854775807,"e":1e300,"f":0.5}"#;
        let fields = Fields::read(body).expect("JSON").expect("a value");
        let read = ["a", "b", "c", "d", "e", "f"].map(|name| fields.integer(name));
        let expected =
            [Ok(Some(3)), Ok(Some(-2000)), Err(Invalid), Ok(Some(i64::MAX)), Err(Invalid), Err(Invalid)];
        assert_eq!(read, expected);
    }

    #[test]
    fn null_is_absent_and_other_types_are_refused() {
        let fields = Fields::read(br#"{"Key":null,"priority":0.5,"types":"a","state":7}"#)
            .expect("JSON")
            .expect("a value");
        assert_eq!(fields.text("key"), Ok(None));
        assert_eq!(fields.integer("priority"), Err(Invalid));
        assert_eq!(fields.texts("types"), Err(Invalid));
        assert_eq!(fields.text("state"), Err(Invalid));
        assert!(Fields::read(b"null").expect("null is {}").expect("a value").0.is_empty());
        assert!(Fields::read(b" ").expect("nothing").is_none());
        for bad in ["[]", "7", "{", "\"a\""] {
            assert!(Fields::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
