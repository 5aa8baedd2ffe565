//! A cursor over JSON text that may break off anywhere. It skips values by their brackets
//! and quotes, without recursion; that the text is JSON is not checked.

/// Where in a text one is.
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

/// A member's value.
pub(super) struct Value<'a> {
    seen: &'a [u8],
    ended: bool,
}

impl<'a> Value<'a> {
    /// As much of it as there is.
    pub(super) fn seen(&self) -> &'a [u8] {
        self.seen
    }

    /// All of it, if its end is there.
    pub(super) fn whole(&self) -> Option<&'a [u8]> {
        self.ended.then_some(self.seen)
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Skips white space and takes the byte behind it.
    pub(super) fn next_token(&mut self) -> Option<u8> {
        self.skip_space();
        let byte = self.text.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    /// Goes through the members of an object whose opening bracket was taken: the raw text
    /// of each key, and its value. Tells whether the object's end is there.
    pub(super) fn members(&mut self, mut note: impl FnMut(&'a [u8], Value<'a>)) -> bool {
        loop {
            match self.next_token() {
                Some(b'}') => return true,
                Some(b',') => {}
                Some(b'"') => {
                    let Some(key) = self.string() else { return false };
                    if self.next_token() != Some(b':') {
                        return false;
                    }
                    self.skip_space();
                    let value = self.value();
                    let ended = value.ended;
                    note(key, value);
                    if !ended {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }

    fn skip_space(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The raw text of a string whose opening quote was taken; `None` without its end.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        loop {
            let at = self.at + memchr::memchr2(b'"', b'\\', self.text.get(self.at..)?)?;
            if self.text[at] == b'"' {
                self.at = at + 1;
                return Some(&self.text[start..at]);
            }
            self.at = at + 2;
        }
    }

    fn value(&mut self) -> Value<'a> {
        let start = self.at;
        let ended = self.skip_value().is_some();
        let end = if ended { self.at } else { self.text.len() };
        Value { seen: &self.text[start..end], ended }
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.text.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                _ if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let rest = &self.text[self.at..];
                    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
                    self.at += rest.iter().position(ends)?;
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}
