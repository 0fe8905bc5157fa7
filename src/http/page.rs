//! Lists are cut into pages: `?limit=&after=` in, `{"<key>": […], "next": "<cursor>" | null}` out. The cursor is the
//! sort key of the last item of the page, so a page begins at the right place though items came or went since.

use super::reply::problem;
use crate::peer::api::Reply;
use serde::Deserialize;
use serde_json::{Map, Value};

pub const LIMIT: usize = 100;
pub const LIMIT_MAX: usize = 1_000;

#[derive(Clone, Debug, Default, Deserialize)]
pub struct Query {
    pub limit: Option<usize>,
    pub after: Option<String>,
    #[serde(default)]
    pub verify: bool,
}

impl Query {
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX)
    }
}

/// The page of a whole list; `by` names the fields that order it and tell its items apart.
pub fn cut(reply: Reply, key: &str, by: &[&str], query: &Query) -> Reply {
    if reply.status != 200 {
        return reply;
    }
    let Value::Array(items) = reply.body else {
        return problem(500, format!("the peer's list of {key} is not a list"));
    };
    let mut items: Vec<(String, Value)> = items.into_iter().map(|i| (cursor(&i, by), i)).collect();
    items.sort_by(|a, b| a.0.cmp(&b.0));
    let start = match &query.after {
        Some(after) => items.partition_point(|(cursor, _)| cursor <= after),
        None => 0,
    };
    let more = items.len() > start.saturating_add(query.limit());
    let page: Vec<(String, Value)> = items.into_iter().skip(start).take(query.limit()).collect();
    let next = page.last().filter(|_| more).map(|(cursor, _)| cursor.clone());
    list(key, page.into_iter().map(|(_, item)| item).collect(), next)
}

pub fn list(key: &str, items: Vec<Value>, next: Option<String>) -> Reply {
    let mut body = Map::new();
    body.insert(key.to_owned(), Value::Array(items));
    body.insert("next".to_owned(), next.map_or(Value::Null, Value::String));
    Reply { status: 200, body: Value::Object(body) }
}

fn cursor(item: &Value, by: &[&str]) -> String {
    let field = |name: &&str| match item.get(*name) {
        Some(Value::String(text)) => text.clone(),
        // 20 digits hold any u64, so that text order is number order.
        Some(Value::Number(n)) => n.as_u64().map_or_else(|| n.to_string(), |n| format!("{n:020}")),
        _ => String::new(),
    };
    by.iter().map(field).collect::<Vec<_>>().join(" ")
}
