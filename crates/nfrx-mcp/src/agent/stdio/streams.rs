//! The streams of one legacy session, and the events that are kept of them: for a reader
//! that is not there yet, or comes back.
//!
//! Each event belongs to one stream. An event that its reader has not read is never dropped
//! while that reader is there; all others are, the oldest first, when there are too many.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::answer::{event, primer};

/// Events that are kept in a session, and their bytes; the newest is kept in any case.
pub(super) const EVENTS_MAX: usize = 1000;
pub(super) const BYTES_MAX: usize = 4 * 1024 * 1024;

/// The stream that a client opens by a GET.
pub(super) const STANDALONE: u64 = 0;

/// The streams of a session.
pub(super) struct Streams {
    streams: BTreeMap<u64, Stream>,
    /// The stream of each kept event, the oldest first.
    order: VecDeque<u64>,
    bytes: usize,
    next: u64,
    readers: u64,
    dropped: u64,
}

#[derive(Default)]
struct Stream {
    events: VecDeque<Bytes>,
    /// The number of the first kept event.
    first: u64,
    /// The number of the first event that no reader has been given.
    unread_from: u64,
    done: bool,
    reader: Option<Reader>,
}

struct Reader {
    /// Tells readers of the same stream apart.
    ticket: u64,
    /// The number of the event that it reads next.
    at: u64,
    waker: Option<Waker>,
}

/// A reader's place: which stream, and as which of its readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) stream: u64,
    ticket: u64,
}

/// What a reader finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// An event.
    Event(Bytes),
    /// The stream has ended, or another reader has taken it over.
    End,
}

impl Streams {
    /// With the standalone stream, which nobody reads yet.
    pub(super) fn new() -> Self {
        Self {
            streams: BTreeMap::from([(STANDALONE, Stream::default())]),
            order: VecDeque::new(),
            bytes: 0,
            next: STANDALONE + 1,
            readers: 0,
            dropped: 0,
        }
    }

    /// A new stream.
    pub(super) fn open(&mut self) -> u64 {
        let stream = self.next;
        self.next += 1;
        self.streams.insert(stream, Stream::default());
        stream
    }

    /// Adds an event with this message.
    pub(super) fn push(&mut self, stream: u64, message: &[u8]) {
        self.add(stream, |id| event(Some(id), message));
    }

    /// Adds an event without a message: a client that is cut off knows then whence to go on.
    pub(super) fn prime(&mut self, stream: u64) {
        self.add(stream, |id| primer(Some(id)));
    }

    fn add(&mut self, stream: u64, event: impl FnOnce(&str) -> Bytes) {
        let Some(found) = self.streams.get_mut(&stream) else { return };
        let number = found.first + found.events.len() as u64;
        let event = event(&format!("{stream}_{number}"));
        self.bytes += event.len();
        found.events.push_back(event);
        found.wake();
        self.order.push_back(stream);
        self.shrink();
    }

    /// Nothing more comes on it. What is kept of it can still be read.
    pub(super) fn finish(&mut self, stream: u64) {
        if let Some(found) = self.streams.get_mut(&stream) {
            found.done = true;
            found.wake();
            if found.events.is_empty() && found.reader.is_none() {
                self.streams.remove(&stream);
            }
        }
    }

    /// Nothing more comes on any.
    pub(super) fn finish_all(&mut self) {
        let all: Vec<_> = self.streams.keys().copied().collect();
        all.into_iter().for_each(|stream| self.finish(stream));
    }

    /// Takes a stream's end away without a trace: its request never reached the child.
    pub(super) fn forget(&mut self, stream: u64) {
        if let Some(found) = self.streams.remove(&stream) {
            self.bytes -= found.events.iter().map(Bytes::len).sum::<usize>();
            self.order.retain(|other| *other != stream);
        }
    }

    /// A reader of what comes, or of all that nobody has read; one that was there before
    /// finds the stream's end.
    pub(super) fn attach(&mut self, stream: u64) -> Option<Place> {
        let found = self.streams.get(&stream)?;
        let at = found.unread_from.max(found.first);
        self.attach_at(stream, at)
    }

    /// A reader of what follows the event with this id; `None` if that can't be told any
    /// more.
    pub(super) fn resume(&mut self, last_event_id: &str) -> Option<Place> {
        let (stream, number) = last_event_id.split_once('_')?;
        let (stream, number): (u64, u64) = (stream.parse().ok()?, number.parse().ok()?);
        let found = self.streams.get(&stream)?;
        let end = found.first + found.events.len() as u64;
        let next = number.checked_add(1)?;
        (found.first..=end).contains(&next).then(|| self.attach_at(stream, next)).flatten()
    }

    fn attach_at(&mut self, stream: u64, at: u64) -> Option<Place> {
        let found = self.streams.get_mut(&stream)?;
        found.wake();
        self.readers += 1;
        let ticket = self.readers;
        found.reader = Some(Reader { ticket, at, waker: None });
        Some(Place { stream, ticket })
    }

    /// The reader leaves; what it has not read is kept as long as there is room.
    pub(super) fn detach(&mut self, place: Place) {
        let Some(found) = self.streams.get_mut(&place.stream) else { return };
        if found.reader.as_ref().is_some_and(|reader| reader.ticket == place.ticket) {
            found.reader = None;
            self.shrink();
        }
    }

    /// What the reader finds next.
    pub(super) fn poll(&mut self, place: Place, cx: &mut Context<'_>) -> Poll<Read> {
        let Some(found) = self.streams.get_mut(&place.stream) else { return Poll::Ready(Read::End) };
        let Stream { events, first, unread_from, done, reader } = found;
        let Some(reader) = reader.as_mut().filter(|reader| reader.ticket == place.ticket) else {
            return Poll::Ready(Read::End);
        };
        let at = usize::try_from(reader.at.saturating_sub(*first)).unwrap_or(usize::MAX);
        match events.get(at) {
            Some(event) => {
                reader.at += 1;
                *unread_from = (*unread_from).max(reader.at);
                Poll::Ready(Read::Event(event.clone()))
            }
            None if *done => Poll::Ready(Read::End),
            None => {
                reader.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether somebody reads this stream.
    pub(super) fn is_read(&self, stream: u64) -> bool {
        self.streams.get(&stream).is_some_and(|found| found.reader.is_some())
    }

    /// Whether somebody reads any.
    pub(super) fn is_any_read(&self) -> bool {
        self.streams.values().any(|stream| stream.reader.is_some())
    }

    /// Bytes that readers have not read yet.
    pub(super) fn unread(&self) -> usize {
        let unread = |stream: &Stream| match &stream.reader {
            None => 0,
            Some(reader) => {
                let read = usize::try_from(reader.at.saturating_sub(stream.first)).unwrap_or(usize::MAX);
                stream.events.iter().skip(read).map(Bytes::len).sum()
            }
        };
        self.streams.values().map(unread).sum()
    }

    /// Events that were dropped before anybody read them.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The event behind which a reader begins, if there was one.
    pub(super) fn last_id(&self, place: Place) -> Option<String> {
        let reader = self.streams.get(&place.stream)?.reader.as_ref()?;
        Some(format!("{}_{}", place.stream, reader.at.checked_sub(1)?))
    }

    /// Drops the oldest events while there are too many.
    fn shrink(&mut self) {
        while self.order.len() > 1 && (self.order.len() > EVENTS_MAX || self.bytes > BYTES_MAX) {
            let Some(oldest) = self.order.front().copied() else { return };
            let Some(stream) = self.streams.get_mut(&oldest) else {
                self.order.pop_front();
                continue;
            };
            let awaited = stream.reader.as_ref().is_some_and(|reader| reader.at <= stream.first);
            if awaited {
                return;
            }
            if stream.reader.is_none() {
                self.dropped += 1;
            }
            self.order.pop_front();
            stream.first += 1;
            self.bytes -= stream.events.pop_front().map_or(0, |event| event.len());
            if stream.done && stream.events.is_empty() && stream.reader.is_none() {
                self.streams.remove(&oldest);
            }
        }
    }
}

impl Stream {
    fn wake(&mut self) {
        if let Some(waker) = self.reader.as_mut().and_then(|reader| reader.waker.take()) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(streams: &mut Streams, place: Place) -> Option<String> {
        match streams.poll(place, &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Read::Event(event)) => Some(String::from_utf8(event.to_vec()).expect("text")),
            Poll::Ready(Read::End) => Some("end".to_owned()),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_reader_that_comes_back_finds_what_it_missed_of_its_own_stream_only() {
        let mut streams = Streams::new();
        let (one, two) = (streams.open(), streams.open());
        let place = streams.attach(one).expect("it is open");
        streams.push(one, b"a");
        streams.push(two, b"x");
        assert_eq!(read(&mut streams, place).as_deref(), Some("id: 1_0\ndata: a\n\n"));
        assert_eq!(read(&mut streams, place), None);
        streams.detach(place);
        streams.push(one, b"b");
        streams.finish(one);
        let place = streams.resume("1_0").expect("it is kept");
        assert_eq!(read(&mut streams, place).as_deref(), Some("id: 1_1\ndata: b\n\n"));
        assert_eq!(read(&mut streams, place).as_deref(), Some("end"));
        for unknown in ["", "1", "1_5", "9_0", "x_1", "1_18446744073709551615", "-1_0"] {
            assert_eq!(streams.resume(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_second_reader_takes_a_stream_over() {
        let mut streams = Streams::new();
        let first = streams.attach(STANDALONE).expect("it is open");
        let second = streams.attach(STANDALONE).expect("it is open");
        streams.push(STANDALONE, b"a");
        assert_eq!(read(&mut streams, first).as_deref(), Some("end"));
        streams.detach(first);
        assert_eq!(read(&mut streams, second).as_deref(), Some("id: 0_0\ndata: a\n\n"));
    }

    #[test]
    fn the_oldest_events_go_first_but_never_one_that_its_reader_waits_for() {
        let mut streams = Streams::new();
        for _ in 0..EVENTS_MAX + 5 {
            streams.push(STANDALONE, b"a");
        }
        assert_eq!((streams.order.len(), streams.dropped()), (EVENTS_MAX, 5));
        let place = streams.attach(STANDALONE).expect("it is open");
        assert_eq!(read(&mut streams, place).as_deref(), Some("id: 0_5\ndata: a\n\n"));
        let busy = streams.open();
        let reader = streams.attach(busy).expect("it is open");
        for _ in 0..EVENTS_MAX {
            streams.push(busy, b"b");
        }
        assert!(streams.order.len() > EVENTS_MAX, "two readers wait for them");
        while read(&mut streams, place).is_some() {}
        streams.push(busy, b"b");
        assert_eq!(streams.order.len(), EVENTS_MAX + 1, "all that the other waits for");
        assert_eq!(read(&mut streams, reader).as_deref(), Some("id: 1_0\ndata: b\n\n"));
        streams.push(STANDALONE, &vec![b'x'; BYTES_MAX]);
        streams.detach(place);
        streams.detach(reader);
        assert_eq!(streams.order.len(), 1, "the newest is kept though it is large");
    }
}
