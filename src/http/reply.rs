//! What every answer of the API is: JSON that nobody keeps, and a problem told in one sentence.

use crate::peer::api::Reply;
use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use dots_clients::types::Problem;
use serde::Serialize;

pub fn answer(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CACHE_CONTROL, "no-store")], axum::Json(reply.body)).into_response()
}

/// 200 with this body.
pub fn good(body: &impl Serialize) -> Reply {
    match serde_json::to_value(body) {
        Ok(body) => Reply { status: 200, body },
        Err(e) => problem(500, format!("the answer cannot be written: {e}")),
    }
}

pub fn problem(status: u16, error: impl Into<String>) -> Reply {
    Reply { status, body: serde_json::json!(Problem { error: error.into() }) }
}
