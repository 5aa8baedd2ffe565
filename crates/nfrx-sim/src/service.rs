//! What one request gets: its route, its body read within bounds, its answer or error.

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::answer::{Answer, CREATED};
use crate::body::{Cut, SimBody, Source};
use crate::config::SimConfig;
use crate::embeddings;
use crate::handle::SimHandle;
use crate::record::{self, RequestNumber};
use crate::refusal::Refusal;
use crate::request::{Ask, Plan};
use crate::route::{Route, Work};
use crate::text;
use crate::upload::{self, Upload};

/// Longest JSON request; over it a request gets 413.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Why there is no good answer.
enum Failure {
    /// The client gets this error.
    Refused(Refusal),
    /// The connection is cut before the head, on purpose.
    Cut,
    /// The client left while it sent its request.
    Gone(hyper::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A good answer: its content type and its body.
struct Good(&'static str, Source);

impl Good {
    fn json(body: impl Into<Bytes>) -> Self {
        Self(JSON, Source::Whole(body.into()))
    }
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

type Error = Box<dyn std::error::Error + Send + Sync>;

impl SimHandle {
    pub(crate) async fn answer(self, request: Request<Incoming>) -> Result<Response<SimBody>, Error> {
        let config = self.config();
        let record = self.record();
        let route = Route::find(request.method(), request.uri().path());
        let (head, body) = request.into_parts();
        let members = upload::members(&head.headers);
        let number = record.arrived(head);
        let work = match route {
            Ok(Route::Work(work)) => work,
            Ok(route) => return Ok(respond(look_up(&route, &config), None)),
            Err(refusal) => return Ok(respond(Err(refusal), None)),
        };
        let Some(guard) = record.start(config.concurrency_max) else {
            return Ok(respond(Err(Refusal::Busy), None));
        };
        let given = match work {
            Work::Transcriptions | Work::Conversion => {
                self.upload(work, &config, number, &members, body).await
            }
            _ => self.work(work, &config, number, body).await,
        };
        match given {
            Ok(good) => Ok(respond(Ok(good), Some(guard))),
            Err(Failure::Refused(refusal)) => Ok(respond(Err(refusal), Some(guard))),
            Err(Failure::Cut) => {
                guard.cut();
                Err(Cut.into())
            }
            Err(Failure::Gone(error)) => Err(error.into()),
        }
    }

    async fn work(
        &self,
        work: Work,
        config: &SimConfig,
        number: RequestNumber,
        body: Incoming,
    ) -> Result<Good, Failure> {
        let body = self.read(number, body).await?;
        let lot = self.draw(config);
        let ask = Ask::parse(&body)?;
        let plan = ask.plan(config, lot)?;
        plan.check_failure().await?;
        let streams = ask.streams() && work != Work::Embeddings;
        if let Some(raw) = &ask.x_sim_raw {
            return plan.give_whole(raw.clone().into(), if streams { EVENTS } else { JSON }).await;
        }
        let model = ask.model(config)?;
        if work == Work::Embeddings {
            return plan.give_whole(embeddings::answer(&ask, model, config)?, JSON).await;
        }
        let answer = Answer::new(work, &ask, model, plan, config.seed)?;
        if streams {
            give_stream(answer).await
        } else {
            answer.plan().give_whole(answer.whole()?, JSON).await
        }
    }

    /// Reads a JSON request.
    async fn read(&self, number: RequestNumber, mut body: Incoming) -> Result<Bytes, Failure> {
        if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
            return Err(Refusal::BodyTooLarge.into());
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(Failure::Gone)?.into_data() else { continue };
            self.record().read(number, data.len());
            if whole.len() + data.len() > BODY_BYTES_MAX {
                return Err(Refusal::BodyTooLarge.into());
            }
            whole.extend_from_slice(&data);
        }
        Ok(whole.freeze())
    }

    /// Reads an upload of any length, unless it is to be answered before, and answers it.
    async fn upload(
        &self,
        work: Work,
        config: &SimConfig,
        number: RequestNumber,
        members: &str,
        body: Incoming,
    ) -> Result<Good, Failure> {
        let ask = Ask::parse(members.as_bytes())?;
        let mut upload = Upload::new(ask.wants_hash());
        if !ask.is_early() {
            self.take(number, body, &ask, &mut upload).await?;
        }
        let plan = ask.plan(config, self.draw(config))?;
        plan.check_failure().await?;
        if work == Work::Conversion {
            return plan.give_whole(upload.document(), JSON).await;
        }
        if upload.streams() {
            plan.reach_head().await?;
            return Ok(Good(EVENTS, Source::Stream(Box::new(upload.stream(plan, config.seed)?))));
        }
        plan.give_whole(upload.transcript(), JSON).await
    }

    async fn take(
        &self,
        number: RequestNumber,
        mut body: Incoming,
        ask: &Ask<'_>,
        upload: &mut Upload,
    ) -> Result<(), Failure> {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(Failure::Gone)?.into_data() else { continue };
            self.record().read(number, data.len());
            upload.take(&data);
            let time = ask.reading_time(data.len());
            if !time.is_zero() {
                tokio::time::sleep(time).await;
            }
        }
        Ok(())
    }

    /// Drawn once a request is there, so that one client's requests get lots in order.
    fn draw(&self, config: &SimConfig) -> u64 {
        text::hash(config.seed, &[&self.next_lot().to_le_bytes()])
    }
}

impl Plan {
    /// Answers with the error this request is to get, if any.
    async fn check_failure(&self) -> Result<(), Refusal> {
        if self.fails {
            return Err(Refusal::Injected);
        }
        if let Some(status) = self.status {
            self.pace.wait(0).await;
            return Err(Refusal::Asked(status));
        }
        Ok(())
    }

    /// Waits for the first token, if there is to be a head at all.
    async fn reach_head(&self) -> Result<(), Failure> {
        self.pace.wait(0).await;
        if self.stall_after == Some(0) {
            return std::future::pending().await;
        }
        if self.die_after == Some(0) { Err(Failure::Cut) } else { Ok(()) }
    }

    /// Gives an answer once its last token is due, unless it stalls or dies before.
    async fn give_whole(&self, whole: Bytes, content_type: &'static str) -> Result<Good, Failure> {
        self.reach_head().await?;
        let happens = |after: &u32| *after <= self.tokens;
        let dies = self.die_after.filter(happens);
        let stalls =
            self.stall_after.filter(happens).is_some_and(|stall| dies.is_none_or(|die| stall <= die));
        if stalls {
            return std::future::pending().await;
        }
        let last = dies.unwrap_or(self.tokens).saturating_sub(1);
        self.pace.wait(last).await;
        let source = if dies.is_some() { Source::torn(whole) } else { Source::Whole(whole) };
        Ok(Good(content_type, source))
    }
}

async fn give_stream(answer: Answer) -> Result<Good, Failure> {
    answer.plan().reach_head().await?;
    Ok(Good(EVENTS, Source::Stream(Box::new(answer.stream()?))))
}

/// What a backend tells about itself. `route` is not work.
fn look_up(route: &Route, config: &SimConfig) -> Result<Good, Refusal> {
    let model = |id: &String| serde_json::json!({"id": id, "object": "model", "created": CREATED, "owned_by": "nfrx-sim"});
    let told = match route {
        Route::Models => {
            let data: Vec<_> = config.models.iter().map(model).collect();
            serde_json::json!({"object": "list", "data": data})
        }
        Route::Model(id) => {
            let known = config.models.iter().find(|known| *known == id);
            model(known.ok_or_else(|| Refusal::UnknownModel(id.clone()))?)
        }
        Route::Props => {
            let build_info = config.build_info.as_ref().ok_or(Refusal::UnknownPath)?;
            serde_json::json!({"build_info": build_info})
        }
        Route::ApiVersion => {
            let version = config.api_version.as_ref().ok_or(Refusal::UnknownPath)?;
            serde_json::json!({"version": version})
        }
        Route::Health => serde_json::json!({"status": "ok"}),
        Route::Work(_) => return Err(Refusal::UnknownPath),
    };
    Ok(Good::json(told.to_string()))
}

fn respond(given: Result<Good, Refusal>, work: Option<record::Work>) -> Response<SimBody> {
    let (status, Good(content_type, source)) = match given {
        Ok(good) => (StatusCode::OK, good),
        Err(refusal) => (refusal.status(), Good::json(refusal.body())),
    };
    let mut response = Response::new(SimBody::new(source, work));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if content_type == EVENTS {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    }
    response
}
