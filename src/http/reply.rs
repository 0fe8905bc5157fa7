//! What every answer of the API is: JSON that nobody keeps, and a problem told in one sentence.

use crate::peer::api::Reply;
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

pub fn answer(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(reply.body)).into_response()
}

/// 200 with this body.
pub fn good(body: &impl Serialize) -> Reply {
    Reply::good(body)
}

pub fn problem(status: u16, error: impl Into<String>) -> Reply {
    Reply::problem(status, error)
}
