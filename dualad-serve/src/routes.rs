//! The routes: `/inspect`, `/heatmap`, `/healthz` and `/metrics`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dualad::data::render::encode_heat_map;
use dualad::detector::Inspection;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::client::Client;
use crate::failure::{Failure, json, json_body};
use crate::query::Query;
use crate::rest::read_rest;
use crate::state::AppState;
use crate::thresholds::Watched;
use crate::upload::{Head, Upload};
use crate::worker::{HeldUpload, Job, Slot};

/// The time that `/healthz` waits for a look at the file of the thresholds.
const MAX_LOOK: Duration = Duration::from_millis(500);
/// The number of digits of a short SHA-256.
const SHORT: usize = 16;

pub(crate) fn router(state: Arc<AppState>) -> Router {
    Router::new()
        .route("/inspect", post(inspect))
        .route("/heatmap", post(heat_map))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(state.clone(), count))
        .layer(from_fn_with_state(state.clone(), read_rest))
        .with_state(state)
}

async fn count(
    State(state): State<Arc<AppState>>,
    Extension(client): Extension<Arc<Client>>,
    request: Request,
    next: Next,
) -> Response {
    let upload = request.method() == Method::POST && ["/inspect", "/heatmap"].contains(&request.uri().path());
    let response = if upload && client.is_reserved() {
        let closed = [(header::CONNECTION, "close")];
        (closed, Failure::busy("there are too many connections; ask again")).into_response()
    } else {
        next.run(request).await
    };
    state.metrics.answered(response.status().as_u16(), upload);
    response
}

async fn not_found() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "unknown path; the paths are /inspect, /heatmap, /healthz and /metrics")
}

async fn not_allowed() -> Failure {
    let message = "use POST for /inspect and /heatmap, GET for /healthz and /metrics";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// The line that `dualad inspect --json -` prints for an image, and the heat map if it was asked for.
#[derive(Serialize)]
struct Answer<'a> {
    image: &'a str,
    #[serde(flatten)]
    inspection: &'a Inspection,
    #[serde(skip_serializing_if = "Option::is_none")]
    heatmap_png: Option<String>,
}

async fn inspect(
    State(state): State<Arc<AppState>>,
    Extension(client): Extension<Arc<Client>>,
    request: Request,
) -> Result<Response, Failure> {
    let query = Query::parse(request.uri().query(), &["category", "heatmap"])?;
    let (held, inspection, room) = state.ask(request, client, query.category, query.heat_map).await?;
    let (inspection, heatmap_png) = if query.heat_map {
        let (inspection, png) = state.draw(held.clone(), inspection).await?;
        (inspection, Some(STANDARD.encode(png)))
    } else {
        (inspection, None)
    };
    let answer = Answer { image: &held.name, inspection: &inspection, heatmap_png };
    Ok(json_body(StatusCode::OK, &answer, |text| large(text.into(), room)))
}

async fn heat_map(
    State(state): State<Arc<AppState>>,
    Extension(client): Extension<Arc<Client>>,
    request: Request,
) -> Result<Response, Failure> {
    let query = Query::parse(request.uri().query(), &["category"])?;
    let (held, inspection, room) = state.ask(request, client, query.category, true).await?;
    let (_, png) = state.draw(held, inspection).await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], large(png, room)).into_response())
}

/// The bytes of a large answer. The permit is free again when they are sent, or their client has gone.
struct LargeAnswer {
    bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for LargeAnswer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn large(bytes: Vec<u8>, room: Option<OwnedSemaphorePermit>) -> Body {
    Bytes::from_owner(LargeAnswer { bytes, _room: room }).into()
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'a str,
    version: &'a str,
    backbone: String,
    /// The SHA-256 of the model's parameters.
    model: &'a str,
    categories: &'a [String],
    /// The precision that scores are computed in.
    precision: &'static str,
    /// True if no answer has a decision.
    scores_only: bool,
    /// The categories with thresholds of their own.
    thresholds: Vec<&'a str>,
    /// True if there are thresholds for all other images.
    pooled_thresholds: bool,
    /// The number of both.
    thresholds_count: usize,
    /// The file that they were read from; `None` if it is not known.
    thresholds_file: Option<String>,
    /// The beginning of its SHA-256.
    thresholds_sha256: Option<&'a str>,
    /// True if the file has changed since: the server keeps its thresholds.
    thresholds_changed: bool,
}

async fn health(State(state): State<Arc<AppState>>) -> Response {
    let (code, status) = match state.is_stopping() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        false => (StatusCode::OK, "ok"),
    };
    let looking = tokio::task::spawn_blocking({
        let state = state.clone();
        move || state.thresholds.as_ref().is_some_and(Watched::is_changed)
    });
    // The file may be on a network share that does not answer.
    let looked = tokio::time::timeout(MAX_LOOK, looking).await.ok().and_then(Result::ok);
    let file = state.thresholds.as_ref();
    let known = || file.is_some_and(Watched::is_known_to_be_changed);
    let calibration = state.detector.calibration();
    let own = calibration.map(|calibration| calibration.categories.keys().map(String::as_str).collect());
    let health = Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        backbone: state.detector.config().backbone.to_string(),
        model: &state.detector.config().sha256,
        categories: state.detector.categories(),
        precision: state.detector.precision().name(),
        scores_only: calibration.is_none(),
        thresholds: own.unwrap_or_default(),
        pooled_thresholds: calibration.is_some_and(|calibration| calibration.pooled.is_some()),
        thresholds_count: calibration.map_or(0, |found| found.categories.len() + found.pooled.iter().count()),
        thresholds_file: file.map(|watched| watched.file.path().display().to_string()),
        thresholds_sha256: file.and_then(|watched| watched.file.sha256().get(..SHORT)),
        thresholds_changed: looked.unwrap_or_else(known),
    };
    json(code, &health)
}

async fn metrics(State(state): State<Arc<AppState>>) -> Response {
    let text = state.metrics.prometheus(state.held_uploads());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

impl AppState {
    /// Waits until an answer with a heat map may be held. A client may take its time to receive one, and has no slot meanwhile.
    async fn room_for_answer(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let busy = || Failure::busy("too many heat maps wait for their clients to receive them; ask again");
        // Those that wait have connections.
        let _waits = self.waiting.try_acquire().map_err(|_| busy())?;
        let room = tokio::time::timeout(self.io_timeout, self.answers.clone().acquire_owned()).await;
        room.ok().and_then(Result::ok).ok_or_else(busy)
    }

    /// Inspects the image of a request. `drawn` tells that a heat map follows, which takes memory too: the room for it is returned.
    async fn ask(
        &self,
        request: Request<Body>,
        client: Arc<Client>,
        category: Option<String>,
        drawn: bool,
    ) -> Result<(Arc<HeldUpload>, Inspection, Option<OwnedSemaphorePermit>), Failure> {
        self.check_category(category.as_deref())?;
        let (parts, body) = request.into_parts();
        let head = Head::parse(&parts.headers, self.limits)?;
        if self.is_stopping() {
            return Err(Failure::busy("the server is stopping; ask another one"));
        }
        let busy = || Failure::busy(format!("{} uploads are being worked on; ask again", self.queue));
        let accepted = self.accepted.clone().try_acquire_owned().map_err(|_| busy())?;
        // Without a free slot, the body is not read. A heat map may have to wait anyway, until there is one.
        if !drawn && self.slots.available_permits() == 0 {
            return Err(busy());
        }
        let upload = head.read(body, &client, &self.bodies, self.limits, self.io_timeout).await?;
        let received = Instant::now();
        // Only complete uploads take what others wait for: the memory for bodies bounds those that are still arriving.
        let room = if drawn { Some(self.room_for_answer().await?) } else { None };
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| busy())?;
        let slot = Slot { _accepted: accepted, _slot: slot };
        let held = Arc::new(self.decode(upload, category, slot, drawn).await?);
        let (answer, answered) = oneshot::channel();
        let failed = || Failure::internal("the inspection failed; the server's standard error says why");
        // The queue has room for a job of every slot.
        let job = Job { held: held.clone(), received, answer };
        self.jobs.try_send(job).map_err(|_| failed())?;
        let inspection = answered.await.map_err(|_| failed())??;
        client.trust();
        Ok((held, inspection, room))
    }

    /// Decodes an upload once there is memory for it.
    async fn decode(
        &self,
        upload: Upload,
        category: Option<String>,
        slot: Slot,
        drawn: bool,
    ) -> Result<HeldUpload, Failure> {
        let failed = |_| Failure::internal("the image cannot be decoded; the server's standard error says why");
        let limits = self.limits.image;
        // The slot stays with the upload, also if the client disconnects meanwhile.
        let measure = move || (upload.decoding_memory(&limits), upload, slot);
        let (need, upload, slot) = tokio::task::spawn_blocking(measure).await.map_err(failed)?;
        // A heat map takes two copies of the picture and a buffer for the file, and the map of tiles has the picture's size.
        let copies = if drawn || self.detector.tiling().is_some() { 4 } else { 1 };
        let mut memory = self.memory.take(need?.saturating_mul(copies)).await;
        let detector = self.detector.clone();
        let decode = move || -> Result<HeldUpload, dualad::Error> {
            let (name, picture) = upload.decode(&detector)?;
            let bytes = picture.pixels().len() as u64;
            memory.decoded(copies * bytes);
            Ok(HeldUpload { name, category, picture, _memory: memory, _slot: slot })
        };
        Ok(tokio::task::spawn_blocking(decode).await.map_err(failed)??)
    }

    fn check_category(&self, category: Option<&str>) -> Result<(), Failure> {
        let refused = |message| Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, message));
        let known = self.detector.categories();
        if let Some(category) = category
            && !known.is_empty()
            && !known.iter().any(|name| name == category)
        {
            return refused(format!("the model was not trained on \"{category}\", but on {}", known.join(", ")));
        }
        // Without thresholds there would be no decision, and a client that looks for `reject` would pass the part.
        let Some(calibration) = self.detector.calibration() else { return Ok(()) };
        if calibration.thresholds(category).is_some() {
            return Ok(());
        }
        let own: Vec<&str> = calibration.categories.keys().map(String::as_str).collect();
        let example = own.first().copied().unwrap_or_default();
        let own = own.join(", ");
        refused(match category {
            Some(category) => {
                format!("there are no thresholds for \"{category}\", only for {own}; calibrate the model for it")
            }
            None => format!(
                "there are thresholds for single categories only: {own}; add one to the address, such as ?category={example}"
            ),
        })
    }

    /// Draws the heat map and returns it as PNG: the file that `dualad inspect --heatmaps` writes.
    async fn draw(&self, held: Arc<HeldUpload>, inspection: Inspection) -> Result<(Inspection, Vec<u8>), Failure> {
        // The semaphore is never closed.
        let permit = self.drawing.clone().acquire_owned().await.ok();
        let draw = move || -> Result<_, Failure> {
            let _permit = permit;
            let png = encode_heat_map(&inspection.heat_map(&held.picture)?);
            Ok((inspection, png.map_err(dualad::Error::from)?))
        };
        let drawn = tokio::task::spawn_blocking(draw).await;
        drawn.map_err(|_| Failure::internal("the heat map cannot be drawn; the server's standard error says why"))?
    }
}
