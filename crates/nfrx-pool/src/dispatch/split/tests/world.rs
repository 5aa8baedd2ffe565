//! A pool whose workers answer with what they are sent, unless told otherwise.

use super::numbers::Told;
use super::*;

/// How a worker answers a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Next {
    /// With what it was sent, after so many looks.
    Echo(u8),
    Status(u16),
    /// With less than it was sent.
    Short,
    /// With half of its answer.
    Breaks,
    Fails(CallError),
    Hangs,
}

pub(super) struct EchoTunnel {
    next: Mutex<VecDeque<Next>>,
    sent: Mutex<Vec<String>>,
    /// Calls now, and the most there ever were.
    open: AtomicU32,
    most: AtomicU32,
}

impl EchoTunnel {
    pub(super) fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }
}

/// Counts a call while it lives.
struct Open(Arc<EchoTunnel>);

impl Open {
    fn new(tunnel: &Arc<EchoTunnel>) -> Self {
        let open = tunnel.open.fetch_add(1, Ordering::SeqCst) + 1;
        tunnel.most.fetch_max(open, Ordering::SeqCst);
        Self(Arc::clone(tunnel))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The handle that the pool holds.
struct Handle(Arc<EchoTunnel>);

impl Tunnel for Handle {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, CallError>> {
        let body = request.body().as_bytes().expect("chunks are at hand");
        let text = String::from_utf8(body.to_vec()).unwrap();
        self.0.sent.lock().unwrap().push(text.clone());
        let next = self.0.next.lock().unwrap().pop_front().unwrap_or(Next::Echo(0));
        let open = Open::new(&self.0);
        Box::pin(async move {
            let _open = open;
            let answer = |status: u16, body: Body| {
                let mut response = Response::new(body);
                *response.status_mut() = status.try_into().unwrap();
                Ok(response)
            };
            match next {
                Next::Echo(looks) => {
                    for _ in 0..looks {
                        yield_once().await;
                    }
                    answer(200, Body::from(text))
                }
                Next::Status(status) => answer(status, Body::from("because")),
                Next::Short => answer(200, Body::from("-")),
                Next::Breaks => answer(200, Body::stream(Broken)),
                Next::Fails(error) => Err(error),
                Next::Hangs => std::future::pending().await,
            }
        })
    }

    fn last_seen(&self) -> Moment {
        Moment::default()
    }

    fn round_trip(&self) -> Option<Duration> {
        None
    }

    fn carrier(&self) -> &'static str {
        "nfrx.h2"
    }

    fn drain(&self) {}

    fn close(&self, _: CloseReason) {}
}

async fn yield_once() {
    let mut asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

struct Broken;

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        Poll::Ready(Some(Err(BodyError::Upstream)))
    }
}

pub(super) struct World {
    pub(super) bench: Bench,
    pub(super) workers: BTreeMap<String, (Joined, Arc<EchoTunnel>)>,
    told: Arc<Told>,
}

pub(super) type Running = BoxFuture<'static, Result<Response<Body>, DispatchError>>;

impl World {
    /// Workers such as `a:10/2`: the id, what it likes at once (0 for nothing), its slots.
    pub(super) fn new(workers: &str) -> Self {
        let bench = Bench::new();
        let join = |text: &str| {
            let (id, rest) = text.split_once(':').unwrap();
            let (batch, slots) = rest.split_once('/').unwrap();
            let tunnel = Arc::new(EchoTunnel {
                next: Mutex::default(),
                sent: Mutex::default(),
                open: AtomicU32::new(0),
                most: AtomicU32::new(0),
            });
            let over = Arc::new(Handle(Arc::clone(&tunnel))) as Arc<dyn Tunnel>;
            let mut newcomer = newcomer_over(id, &["phi"], slots.parse().unwrap(), over);
            newcomer.registration.agent_config.insert("embedding_batch_size".to_owned(), batch.to_owned());
            let joined = bench.try_join(newcomer).unwrap();
            joined.membership.open();
            (id.to_owned(), (joined, tunnel))
        };
        Self { workers: workers.split_whitespace().map(join).collect(), bench, told: Arc::default() }
    }

    pub(super) fn will(&self, worker: &str, next: &[Next]) {
        self.workers[worker].1.next.lock().unwrap().extend(next);
    }

    pub(super) fn run(&self, size: usize, parallel_max: usize) -> Running {
        self.run_with(size, Spread { parallel_max, answer_bytes_max: 1 << 20 }, Limits::default())
    }

    pub(super) fn run_with(&self, size: usize, spread: Spread, limits: Limits) -> Running {
        let job = Numbers::new(size, &self.told);
        let whole = format!("whole {}", super::numbers(0..size));
        let request = Request::post("/numbers?a=1").header("x-a", "b").body(Body::from(whole)).unwrap();
        let work = Work {
            want: self.bench.pool.want("phi"),
            request,
            job_type: "llm.embedding",
            metric_label: None,
            may_wait: false,
            limits,
            observer: None,
        };
        Box::pin(self.bench.pool.dispatch(work).run_split(Box::new(job), spread))
    }

    /// Looks again and again: workers wake their calls by themselves.
    pub(super) fn finish(&self, mut running: Running) -> Result<(u16, String), DispatchError> {
        for _ in 0..100_000 {
            if let Poll::Ready(result) = running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                let (head, mut body) = result?.into_parts();
                let mut text = Vec::new();
                while let Poll::Ready(Some(frame)) = poll(&mut body.frame()) {
                    // What went to one worker whole may break off on its way.
                    let Ok(frame) = frame else { return Ok((0, "broken".to_owned())) };
                    text.extend_from_slice(frame.data_ref().expect("data"));
                }
                return Ok((head.status.as_u16(), String::from_utf8(text).unwrap()));
            }
        }
        panic!("it never ends");
    }

    pub(super) fn outcome(&self, size: usize, parallel_max: usize) -> Result<(u16, String), DispatchError> {
        self.finish(self.run(size, parallel_max))
    }

    /// The body of a good answer.
    #[track_caller]
    pub(super) fn answer(&self, size: usize, parallel_max: usize) -> String {
        let (status, body) = self.outcome(size, parallel_max).expect("an answer");
        assert_eq!(status, 200);
        body.strip_prefix("whole ").map_or(body.clone(), str::to_owned)
    }

    /// The bodies that this worker was sent.
    pub(super) fn sent(&self, worker: &str) -> Vec<String> {
        self.workers[worker].1.sent.lock().unwrap().clone()
    }

    pub(super) fn told(&self) -> Vec<String> {
        self.told.0.lock().unwrap().clone()
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.workers.keys().map(|id| self.bench.pool.in_flight(id)).sum()
    }

    /// Calls that workers still have.
    pub(super) fn open(&self) -> u32 {
        self.workers.values().map(|(_, tunnel)| tunnel.open.load(Ordering::SeqCst)).sum()
    }
}
