//! What is answered to whom.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dualad::Detector;
use dualad::data::image_crate::codecs::png::{CompressionType, FilterType, PngEncoder};
use dualad::detector::Inspection;
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot};

use crate::failure::{Failure, json};
use crate::metrics::Metrics;
use crate::model::Line;
use crate::query::Query;
use crate::upload::{Head, Most};
use crate::worker::{Held, Job};

/// What every request shares.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) detector: Detector,
    pub(crate) jobs: SyncSender<Job>,
    /// One for each upload that may be held.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) queue: usize,
    pub(crate) most: Most,
    pub(crate) read_timeout: Duration,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stopping: AtomicBool,
}

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/inspect", post(inspect))
        .route("/heatmap", post(heat_map))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(app.clone(), count))
        .with_state(app)
}

async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let upload = request.method() == Method::POST && ["/inspect", "/heatmap"].contains(&request.uri().path());
    let response = next.run(request).await;
    app.metrics.answered(response.status().as_u16(), upload);
    response
}

async fn nowhere() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, "there is nothing here; ask /inspect, /heatmap, /healthz or /metrics")
}

async fn not_allowed() -> Failure {
    let message = "use POST for /inspect and /heatmap, GET for /healthz and /metrics";
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

/// What `detect --json` prints of the image, and its picture.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    line: Line<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heatmap_png: Option<String>,
}

async fn inspect(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let query = Query::parse(request.uri().query(), &["category", "heatmap"])?;
    let wanted = query.heat_map;
    let (held, inspection) = app.ask(request, query).await?;
    let (inspection, heatmap_png) = if wanted {
        let (inspection, png) = app.draw(held.clone(), inspection).await?;
        (inspection, Some(STANDARD.encode(png)))
    } else {
        (inspection, None)
    };
    let line = Line::Found { image: held.upload.name(), inspection: &inspection, heatmap: None };
    Ok(json(StatusCode::OK, &Answer { line, heatmap_png }))
}

async fn heat_map(State(app): State<Arc<App>>, request: Request) -> Result<Response, Failure> {
    let query = Query::parse(request.uri().query(), &["category"])?;
    let (held, inspection) = app.ask(request, query).await?;
    let (_, png) = app.draw(held, inspection).await?;
    Ok(([(header::CONTENT_TYPE, "image/png")], png).into_response())
}

#[derive(Serialize)]
struct Health<'a> {
    status: &'a str,
    version: &'a str,
    backbone: String,
    categories: &'a [String],
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let (code, status) = match app.stopping.load(Ordering::Relaxed) {
        true => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        false => (StatusCode::OK, "ok"),
    };
    let backbone = app.detector.config().backbone.to_string();
    json(code, &Health { status, version: env!("CARGO_PKG_VERSION"), backbone, categories: app.detector.categories() })
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.counts().prometheus(app.queue.saturating_sub(app.slots.available_permits()));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

impl App {
    async fn ask(&self, request: Request<Body>, query: Query) -> Result<(Arc<Held>, Inspection), Failure> {
        let category = query.category;
        self.check_category(category.as_deref())?;
        let (parts, body) = request.into_parts();
        let head = Head::parse(&parts.headers, self.most)?;
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Failure::busy("the server is stopping; ask another one"));
        }
        // No slot, no byte of the body: memory is bounded by the slots.
        let slot = self.slots.clone().try_acquire_owned();
        let slot = slot.map_err(|_| Failure::busy(format!("{} uploads are being worked on; ask again", self.queue)))?;
        let upload = head.read(body, category, self.most, self.read_timeout).await?;
        let held = Arc::new(Held { upload, _slot: slot });
        let (answer, answered) = oneshot::channel();
        let gone = |_| Failure::internal("the inspection broke off; the server's standard error says why");
        // There is room for a job in every slot.
        let job = Job { held: held.clone(), since: Instant::now(), answer };
        self.jobs.try_send(job).map_err(|_| gone(()))?;
        let inspection = answered.await.map_err(|_| gone(()))??;
        Ok((held, inspection))
    }

    fn check_category(&self, category: Option<&str>) -> Result<(), Failure> {
        let Some(category) = category else { return Ok(()) };
        let known = self.detector.categories();
        if known.is_empty() || known.iter().any(|name| name == category) {
            return Ok(());
        }
        let message = format!("the model was not trained on {category:?}, but on {}", known.join(", "));
        Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, message))
    }

    /// The heat map as PNG: the file that `detect --heatmaps` writes.
    async fn draw(&self, held: Arc<Held>, inspection: Inspection) -> Result<(Inspection, Vec<u8>), Failure> {
        let detector = self.detector.clone();
        let draw = move || -> Result<_, Failure> {
            let picture = detector.picture(held.upload.request()?)?;
            let image = inspection.heat_map(&picture)?;
            let mut png = Cursor::new(Vec::new());
            let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive);
            let encoded = image.write_with_encoder(encoder);
            encoded.map_err(|error| Failure::internal(format!("the heat map cannot be encoded: {error}")))?;
            Ok((inspection, png.into_inner()))
        };
        let drawn = tokio::task::spawn_blocking(draw).await;
        drawn.map_err(|_| Failure::internal("drawing the heat map broke off"))?
    }
}
