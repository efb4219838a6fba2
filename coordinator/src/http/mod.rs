//! The HTTP status: what the coordinator knows, as JSON. It has no authentication: bind it to a private address.
//!
//! | path | gives |
//! | --- | --- |
//! | `GET /healthz` | `{"ok": true}` as long as the machine answers |
//! | `GET /status` | the coordinator at a glance, with its nodes |
//! | `GET /cells` | `{"version", "cells": {cell: node}}` |
//! | `GET /nodes` | `{"nodes": [...]}`: each node's status and its latest report |
//! | `GET /reports` | `{node: report}`: each node's latest measurements, as it sent them |
//! | `GET /why?entity=ID`, `?player=NAME` | where one entity is, what delays it, and what became of it lately: a `WhyAccount` |
//! | `POST /census` | `{"nodes": {node: [{"entity", "session", "epoch", "standing"}]}, "missing": [node]}` |
//!
//! Errors are `{"error": code, "cause": sentence}` with a fitting status.

mod view;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use selvedge_protocol::coordinator::Whom;
use serde::{Deserialize, Serialize};

use crate::questions::{Desk, Question, Unanswered};
use view::{CellsView, CensusView, NodesView, ReportsView};

/// Every route.
pub(crate) fn router(desk: Desk) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/status", get(status))
        .route("/cells", get(cells))
        .route("/nodes", get(nodes))
        .route("/reports", get(reports))
        .route("/why", get(why))
        .route("/census", post(census))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(desk)
}

#[derive(Debug, Serialize)]
struct Health {
    ok: bool,
}

/// An error as a caller sees it.
#[derive(Debug, Serialize)]
struct Problem {
    #[serde(skip)]
    status: StatusCode,
    error: &'static str,
    cause: String,
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Self {
        let (status, error) = match unanswered {
            Unanswered::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Unanswered::Late => (StatusCode::GATEWAY_TIMEOUT, "late"),
            Unanswered::Gone => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
        };
        Self { status, error, cause: unanswered.to_string() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}

async fn healthz(State(desk): State<Desk>) -> Result<Json<Health>, Problem> {
    desk.ask(Question::Status).await?;
    Ok(Json(Health { ok: true }))
}

async fn status(State(desk): State<Desk>) -> Result<Response, Problem> {
    Ok(Json(desk.ask(Question::Status).await?).into_response())
}

async fn cells(State(desk): State<Desk>) -> Result<Response, Problem> {
    let map = desk.ask(Question::Cells).await?;
    Ok(Json(CellsView::of(&map)).into_response())
}

async fn nodes(State(desk): State<Desk>) -> Result<Response, Problem> {
    let status = desk.ask(Question::Status).await?;
    let reports = desk.ask(Question::Reports).await?;
    Ok(Json(NodesView::of(&status, &reports)).into_response())
}

async fn reports(State(desk): State<Desk>) -> Result<Response, Problem> {
    let reports = desk.ask(Question::Reports).await?;
    Ok(Json(ReportsView::of(&reports)).into_response())
}

async fn census(State(desk): State<Desk>) -> Result<Response, Problem> {
    let census = desk.ask(Question::Census).await?;
    Ok(Json(CensusView::of(&census)).into_response())
}

/// Whom `/why` is about, as the address names them.
#[derive(Debug, Deserialize)]
struct WhyQuery {
    entity: Option<String>,
    player: Option<String>,
}

impl WhyQuery {
    fn whom(self) -> Result<Whom, Problem> {
        match (self.entity, self.player) {
            (Some(id), None) => id.parse().map(Whom::Entity).map_err(|_| {
                let cause = format!("{id:?} is no entity's id: it must be a UUID");
                Problem { status: StatusCode::BAD_REQUEST, error: "bad_entity", cause }
            }),
            (None, Some(name)) => Ok(Whom::Player(name)),
            (None, None) | (Some(_), Some(_)) => {
                let cause = "name one entity: /why?entity=ID or /why?player=NAME".to_owned();
                Err(Problem { status: StatusCode::BAD_REQUEST, error: "whom", cause })
            }
        }
    }
}

async fn why(State(desk): State<Desk>, Query(query): Query<WhyQuery>) -> Result<Response, Problem> {
    let whom = query.whom()?;
    let account = desk.ask(|answer| Question::Why(whom.clone(), answer)).await?;
    Ok(Json(account.ok_or_else(|| unknown(&whom))?).into_response())
}

fn unknown(whom: &Whom) -> Problem {
    let cause = match whom {
        Whom::Entity(entity) => {
            format!("no node has told of an entity {entity}; POST /census lists what each node holds")
        }
        Whom::Player(name) => format!("no player {name:?} is in the world"),
    };
    Problem { status: StatusCode::NOT_FOUND, error: "unknown_entity", cause }
}

async fn not_found(uri: Uri) -> Problem {
    let cause = format!(
        "there is no {}; there are /healthz, /status, /cells, /nodes, /reports, /why and POST /census",
        uri.path()
    );
    Problem { status: StatusCode::NOT_FOUND, error: "not_found", cause }
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let cause = format!("{} can't be asked with {method}", uri.path());
    Problem { status: StatusCode::METHOD_NOT_ALLOWED, error: "method_not_allowed", cause }
}
