use std::sync::Mutex;

use futures_util::FutureExt as _;
use nfrx_spi::Collector as _;

use super::*;

const BOUNDARY: &str = "b";

fn field(name: &str, value: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// The beginning of a file's part.
fn file(content: &str) -> String {
    format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n{content}")
}

const END: &str = "\r\n--b--\r\n";

/// What a client sends, piece by piece; it goes on when the test says so.
#[derive(Clone, Default)]
struct Client(Arc<Mutex<ClientState>>);

#[derive(Default)]
struct ClientState {
    pieces: VecDeque<Result<Bytes, BodyError>>,
    ended: bool,
}

impl Client {
    fn sends(&self, piece: impl Into<Bytes>) -> &Self {
        self.0.lock().unwrap().pieces.push_back(Ok(piece.into()));
        self
    }

    fn ends(&self) -> &Self {
        self.0.lock().unwrap().ended = true;
        self
    }

    fn breaks(&self, error: BodyError) -> &Self {
        self.0.lock().unwrap().pieces.push_back(Err(error));
        self
    }

    fn unread(&self) -> usize {
        self.0.lock().unwrap().pieces.len()
    }
}

impl http_body::Body for Client {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.0.lock().unwrap();
        match state.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(piece.map(Frame::data))),
            None if state.ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.ended && state.pieces.is_empty()
    }
}

struct World {
    spool: Arc<Spool>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(spool_bytes_max: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { spool: Arc::new(Spool::new(dir.path().to_owned(), spool_bytes_max)), _dir: dir }
    }

    async fn read(&self, client: &Client) -> Result<Upload, IntakeError> {
        let boundary = Boundary::checked(BOUNDARY.as_bytes()).expect("a boundary");
        read(Body::stream(client.clone()), boundary, &self.spool).await
    }

    fn metric(&self, name: &str) -> String {
        let families = self.spool.collect();
        let family = families.iter().find(|family| family.name == name).expect("a metric");
        format!("{:?}", family.samples.iter().map(|sample| &sample.value).collect::<Vec<_>>())
    }
}

async fn collected(body: Body) -> Result<Vec<u8>, BodyError> {
    Ok(body.collect().await?.to_bytes().to_vec())
}

// Seen to fail: when the whole upload is read before anything goes on.
#[tokio::test]
async fn a_model_before_the_file_lets_the_upload_go_on_at_once() {
    let (world, client) = (World::new(1 << 30), Client::default());
    client.sends(field("model", "m")).sends(field("stream", "true")).sends(file("first"));
    // Nothing more has come, and it is enough.
    let upload = world.read(&client).now_or_never().expect("no wait").expect("a good form");
    assert_eq!((upload.model.as_str(), upload.streams), ("m", true));
    assert!(upload.body.as_bytes().is_none(), "it streams");
    let mut body = upload.body;
    let mut sent = Vec::new();
    while let Some(Some(frame)) = body.frame().now_or_never() {
        sent.extend_from_slice(&frame.expect("a piece").into_data().expect("data"));
    }
    assert_eq!(
        String::from_utf8_lossy(&sent),
        field("model", "m") + &field("stream", "true") + &file("first")
    );
    client.sends("second").sends(END).ends();
    assert_eq!(collected(body).await.expect("all of it"), format!("second{END}").as_bytes());
    assert_eq!(world.metric("nfrx_asr_spooled_total"), "[Number(0.0)]");
}

#[tokio::test]
async fn a_small_upload_that_is_there_can_be_sent_again() {
    for form in [field("model", "m") + &file("audio"), file("audio\r\n") + &field("model", "m")] {
        let (world, client) = (World::new(0), Client::default());
        let form = form.trim_end().to_owned() + END;
        client.sends(form[..10].to_owned()).sends(form[10..].to_owned()).ends();
        let upload = world.read(&client).await.expect("a good form");
        assert_eq!(upload.model, "m");
        assert_eq!(upload.body.as_bytes().as_deref(), Some(form.as_bytes()));
    }
}

// Seen to fail: when the first model behind the file counts.
#[tokio::test]
async fn a_model_behind_the_file_is_found_with_the_upload_on_disk() {
    let (world, client) = (World::new(1 << 30), Client::default());
    let file = file(&"x".repeat(300_000)) + "\r\n";
    for piece in file.as_bytes().chunks(10_000) {
        client.sends(piece.to_vec());
    }
    let end = END.trim_start().to_owned();
    client.sends(field("model", "n")).sends(field("model", "m")).sends(end.clone());
    let form = file + &field("model", "n") + &field("model", "m") + &end;
    let upload = world.read(client.ends()).await.expect("a good form");
    assert_eq!((upload.model.as_str(), upload.is_torn), ("m", true));
    assert_eq!(world.metric("nfrx_asr_spool_bytes"), format!("[Number({}.0)]", form.len()));
    assert_eq!(http_body::Body::size_hint(&upload.body).exact(), Some(form.len() as u64));
    assert!(collected(upload.body).await.expect("all of it") == form.as_bytes(), "the bytes are the same");
    assert_eq!(world.metric("nfrx_asr_spool_bytes"), "[Number(0.0)]", "its room is free");
    assert_eq!(world.metric("nfrx_asr_spooled_total"), "[Number(1.0)]");
}

#[tokio::test]
async fn what_is_held_is_bounded() {
    let (world, client) = (World::new(100_000), Client::default());
    client.sends(file(&"x".repeat(60_000))).sends("y".repeat(60_000)).sends("z".repeat(60_000));
    let error = world.read(&client).await.err().expect("too long");
    assert_eq!(ApiError::from(error), ApiError::TooLarge { bytes_max: 100_000 });
    assert_eq!(world.metric("nfrx_asr_spool_bytes"), "[Number(0.0)]");
    assert_eq!(world.metric("nfrx_asr_spool_refused_total"), "[Number(0.0), Number(1.0)]");
    assert_eq!(client.unread(), 1, "nobody reads on");
}

#[tokio::test]
async fn without_a_model_there_is_an_error_and_nothing_is_kept() {
    for form in [file("x") + END, field("model", "") + &file("x") + END, field("model", "m"), String::new()] {
        let (world, client) = (World::new(1 << 20), Client::default());
        client.sends(form.clone()).ends();
        let error = world.read(&client).await.err().expect("no model");
        assert_eq!(ApiError::from(error), ApiError::BadRequest("no model".to_owned()), "`{form}`");
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    for (error, expected) in [
        (BodyError::Aborted, ApiError::BadRequest("bad request".to_owned())),
        (BodyError::TooLarge { bytes_max: 9 }, ApiError::TooLarge { bytes_max: 9 }),
        (BodyError::IdleTimeout, ApiError::RequestTimeout),
    ] {
        let (world, client) = (World::new(1 << 20), Client::default());
        client.sends(file(&"x".repeat(100_000))).breaks(error);
        assert_eq!(world.read(&client).await.map(|_| ()).map_err(ApiError::from), Err(expected));
        assert_eq!(world.metric("nfrx_asr_spool_bytes"), "[Number(0.0)]");
    }
}

// Seen to fail: when the rest is passed on unread.
#[tokio::test]
async fn another_model_behind_the_file_breaks_the_upload_before_it_is_whole() {
    let (world, client) = (World::new(0), Client::default());
    client.sends(field("model", "m")).sends(file("audio"));
    let upload = world.read(&client).await.expect("a good form");
    let (late, rest) = (field("model", "n"), format!("--{BOUNDARY}--\r\n"));
    client.sends("\r\n").sends(late).sends(rest).ends();
    assert!(upload.fault.error().is_none());
    assert!(collected(upload.body).await.is_err());
    assert_eq!(upload.fault.error(), Some(FormError::TwoModels));
}
