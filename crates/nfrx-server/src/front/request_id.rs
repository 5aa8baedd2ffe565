//! Ids of requests (HTTP contract §1.5, KD-34).

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use nfrx_spi::RequestId;

/// Longer ids are not taken over.
const CHARS_MAX: usize = 128;

/// Makes ids that no other process makes.
pub(super) struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let prefix = std::iter::repeat_with(fastrand::alphanumeric).take(10).collect();
        Self { prefix, next: AtomicU64::new(1) }
    }

    /// The client's own id when it is short and printable, else a fresh one.
    pub(super) fn take(&self, headers: &HeaderMap) -> RequestId {
        let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
        match given {
            Some(id)
                if !id.is_empty() && id.len() <= CHARS_MAX && id.bytes().all(|c| c.is_ascii_graphic()) =>
            {
                RequestId::new(id)
            }
            _ => {
                let count = self.next.fetch_add(1, Ordering::Relaxed);
                RequestId::new(self.numbered(count))
            }
        }
    }

    /// The prefix and at least six digits. Made for each request, so not by way of `format!`.
    fn numbered(&self, mut count: u64) -> String {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while count > 0 || at > digits.len() - 6 {
            at -= 1;
            digits[at] = b'0' + (count % 10) as u8;
            count /= 10;
        }
        let mut id = String::with_capacity(self.prefix.len() + 1 + digits.len() - at);
        id.push_str(&self.prefix);
        id.push('-');
        id.extend(digits[at..].iter().copied().map(char::from));
        id
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_fresh_id_has_at_least_six_digits() {
        let ids = RequestIds::new();
        let ends = [1, 123_456, 1_234_567, u64::MAX].map(|count| ids.numbered(count));
        // Seen to fail: with digits only as far as the number goes.
        for (end, digits) in ends.iter().zip(["000001", "123456", "1234567", "18446744073709551615"]) {
            assert_eq!(*end, format!("{}-{digits}", ids.prefix));
        }
    }

    #[test]
    fn an_id_is_taken_over_only_when_it_is_harmless() {
        let ids = RequestIds::new();
        let take = |given: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", HeaderValue::from_str(given).expect("a value"));
            ids.take(&headers).as_str().to_owned()
        };
        assert_eq!(take("abc/1-2"), "abc/1-2");
        let long = "x".repeat(CHARS_MAX + 1);
        let made: Vec<_> = ["", "a b", long.as_str()].map(take).to_vec();
        assert!(made.iter().all(|id| id.starts_with(&ids.prefix)));
        assert_ne!(made[0], made[1]);
    }
}
