//! One channel: its two places, and the queue between them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderValue;
use nfrx_spi::Moment;
use tokio::sync::{mpsc, oneshot, watch};

use super::ChannelState;

/// What goes from the writer to the reader.
pub(super) enum Piece {
    /// They are joined; what the writer says of its body.
    Head {
        kind: Option<HeaderValue>,
        length: Option<u64>,
    },
    Data(Bytes),
    /// All was sent; told back when the reader has taken it.
    End(oneshot::Sender<()>),
}

/// A channel.
pub(crate) struct Channel {
    /// The named key that may use it; `None` for any.
    owner: Option<String>,
    job: Option<String>,
    expires: Moment,
    places: watch::Sender<Places>,
    ended: Mutex<Option<Moment>>,
    /// Counts the channels that are not over.
    open: Arc<AtomicUsize>,
}

struct Places {
    state: ChannelState,
    /// Of a reader that waits.
    pipe: Option<Pipe>,
    has_reader: bool,
    has_writer: bool,
}

/// Why a side can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// 409: somebody has it.
    InUse,
    /// The channel is over.
    Over(ChannelState),
}

/// A reader's end of the queue, as its writer gets it.
pub(super) struct Pipe {
    pub(super) pieces: mpsc::Sender<Piece>,
    /// Signed by the reader.
    pub(super) receipt: Receipt,
}

/// A reader's place; dropping it before the two are joined gives it back (KD-107).
pub(super) struct Reader {
    channel: Arc<Channel>,
    pub(super) pieces: mpsc::Receiver<Piece>,
    pub(super) receipt: Receipt,
}

/// Whether the reader took everything.
#[derive(Clone, Default)]
pub(super) struct Receipt(Arc<Signed>);

#[derive(Default)]
struct Signed {
    whole: AtomicBool,
    no_room: AtomicBool,
}

impl Receipt {
    /// Nothing is missing.
    pub(super) fn sign(&self) {
        self.0.whole.store(true, Ordering::Release);
    }

    /// There is no room for it.
    pub(super) fn refuse(&self) {
        self.0.no_room.store(true, Ordering::Release);
    }

    pub(super) fn is_signed(&self) -> bool {
        self.0.whole.load(Ordering::Acquire)
    }

    pub(super) fn is_refused(&self) -> bool {
        self.0.no_room.load(Ordering::Acquire)
    }
}

/// A writer's place; dropping it ends a joined channel as failed.
pub(super) struct Writer {
    channel: Arc<Channel>,
    is_joined: bool,
}

impl Channel {
    pub(super) fn new(
        owner: Option<String>,
        job: Option<String>,
        expires: Moment,
        open: Arc<AtomicUsize>,
    ) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        let places = Places { state: ChannelState::Open, pipe: None, has_reader: false, has_writer: false };
        Self { owner, job, expires, places: watch::channel(places).0, ended: Mutex::default(), open }
    }

    /// The job it belongs to.
    pub(super) fn job(&self) -> Option<&str> {
        self.job.as_deref()
    }

    /// Whether a caller with this key may use it (decision 18).
    pub(super) fn is_open_to(&self, key: Option<&str>) -> bool {
        match (&self.owner, key) {
            (Some(owner), Some(key)) => owner == key,
            _ => true,
        }
    }

    pub(super) fn state(&self) -> ChannelState {
        self.places.borrow().state
    }

    /// Whether the writer's or the reader's side is free, and of use.
    pub(super) fn is_untaken(&self, writer: bool) -> bool {
        let places = self.places.borrow();
        places.state == ChannelState::Open && !(if writer { places.has_writer } else { places.has_reader })
    }

    /// Ends it, if it is not over.
    pub(super) fn end(&self, state: ChannelState) {
        self.places.send_if_modified(|places| {
            if places.state.is_over() {
                return false;
            }
            self.open.fetch_sub(1, Ordering::Relaxed);
            (places.state, places.pipe) = (state, None);
            true
        });
    }

    /// Ends it, if it has waited long enough.
    pub(super) fn expire(&self, now: Moment) {
        if self.state() == ChannelState::Open && now >= self.expires {
            self.end(ChannelState::Expired);
        }
    }

    /// Since when it has been over, as far as one has looked.
    pub(super) fn ended_at(&self, now: Moment) -> Option<Moment> {
        let over = self.state().is_over();
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        over.then(|| *ended.get_or_insert(now))
    }

    /// When it expires unless both sides come.
    pub(super) fn expires(&self) -> Moment {
        self.expires
    }

    /// Completes when it is over, saying how.
    pub(super) async fn over(&self) -> ChannelState {
        let mut places = self.places.subscribe();
        let over = places.wait_for(|places| places.state.is_over()).await;
        // The sender lives as long as we do.
        over.map_or(ChannelState::Failed, |places| places.state)
    }

    /// Takes the reader's side.
    pub(super) fn read(self: &Arc<Self>) -> Result<Reader, NoPlace> {
        let (sender, pieces) = mpsc::channel(1);
        let receipt = Receipt::default();
        let pipe = Pipe { pieces: sender, receipt: receipt.clone() };
        self.take(
            |places| {
                (places.pipe, places.has_reader) = (Some(pipe), true);
            },
            |places| places.has_reader,
        )?;
        Ok(Reader { channel: Arc::clone(self), pieces, receipt })
    }

    /// Takes the writer's side.
    pub(super) fn write(self: &Arc<Self>) -> Result<Writer, NoPlace> {
        self.take(|places| places.has_writer = true, |places| places.has_writer)?;
        Ok(Writer { channel: Arc::clone(self), is_joined: false })
    }

    fn take(
        &self,
        take: impl FnOnce(&mut Places),
        is_taken: impl Fn(&Places) -> bool,
    ) -> Result<(), NoPlace> {
        let mut taken = Ok(());
        self.places.send_if_modified(|places| {
            if places.state.is_over() {
                taken = Err(NoPlace::Over(places.state));
            } else if places.state == ChannelState::Joined || is_taken(places) {
                taken = Err(NoPlace::InUse);
            } else {
                take(places);
            }
            taken.is_ok()
        });
        taken
    }
}

impl Writer {
    /// Completes when a reader is there, whose queue it gives; or with how the channel ended.
    pub(super) async fn join(&mut self) -> Result<Pipe, ChannelState> {
        let mut places = self.channel.places.subscribe();
        loop {
            let come = places.wait_for(|places| places.state.is_over() || places.pipe.is_some()).await;
            let state = come.map_or(ChannelState::Failed, |places| places.state);
            if state.is_over() {
                return Err(state);
            }
            let mut pipe = None;
            self.channel.places.send_if_modified(|places| {
                pipe = places.pipe.take().filter(|_| places.state == ChannelState::Open);
                if pipe.is_some() {
                    places.state = ChannelState::Joined;
                }
                pipe.is_some()
            });
            if let Some(pipe) = pipe {
                self.is_joined = true;
                return Ok(pipe);
            }
        }
    }

    /// All was passed on.
    pub(super) fn done(self) {
        self.channel.end(ChannelState::Done);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.is_joined {
            self.channel.end(ChannelState::Failed);
        } else {
            self.channel.places.send_if_modified(|places| {
                places.has_writer = false;
                false
            });
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // A reader that leaves a joined channel is noticed by its writer.
        self.channel.places.send_if_modified(|places| {
            if places.state == ChannelState::Open {
                (places.has_reader, places.pipe) = (false, None);
            }
            false
        });
    }
}
