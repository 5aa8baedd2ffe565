//! Counts server-sent events: lines that begin with `data:`, however the bytes are cut.

const FIELD: &[u8] = b"data:";

/// Counts as it goes; nothing is kept but the place in the line.
#[derive(Debug, Default)]
pub(crate) struct Events {
    place: Place,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// So many bytes of [`FIELD`] since the line began.
    Field(usize),
    /// In a line that was counted, or is none to count.
    Rest,
}

impl Default for Place {
    fn default() -> Self {
        Self::Field(0)
    }
}

impl Events {
    /// How many events begin in these bytes: the last byte of `data:` is what counts.
    pub(crate) fn count(&mut self, mut bytes: &[u8]) -> u64 {
        let mut events = 0;
        while !bytes.is_empty() {
            match self.place {
                Place::Field(found) => {
                    let same = FIELD[found..].iter().zip(bytes).take_while(|(a, b)| a == b).count();
                    bytes = &bytes[same..];
                    if found + same == FIELD.len() {
                        events += 1;
                        self.place = Place::Rest;
                    } else if bytes.is_empty() {
                        self.place = Place::Field(found + same);
                    } else {
                        self.place = Place::Rest;
                    }
                }
                Place::Rest => match memchr::memchr(b'\n', bytes) {
                    Some(end) => {
                        bytes = &bytes[end + 1..];
                        self.place = Place::Field(0);
                    }
                    None => break,
                },
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::Events;

    /// However the bytes are cut in two.
    #[track_caller]
    fn check(stream: &str, expected: u64) {
        for cut in 0..=stream.len() {
            let (first, second) = stream.as_bytes().split_at(cut);
            let mut events = Events::default();
            let counted = events.count(first) + events.count(second);
            assert_eq!(counted, expected, "cut at {cut} of {stream:?}");
        }
    }

    #[test]
    fn each_data_line_is_one_event_wherever_it_is_cut() {
        check("data: a\n\ndata: b\n\n", 2);
        check("event: x\ndata: a\n\n: comment\n\ndata:b", 2);
        // Seen to fail: with `Field(0)` for a field that was cut.
        check("data: [DONE]\r\n\r\n", 1);
    }

    #[test]
    fn data_in_the_middle_of_a_line_is_no_event() {
        check("data: {\"text\":\"data: x\"}\n\n", 1);
        check("x data: no\n dat\ndatas: no\n\n", 0);
        check("\n\n\n", 0);
    }
}
