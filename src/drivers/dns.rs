//! DNS, for the one question that a peer has: what does TXT say at this name?

use hickory_resolver::{TokioResolver, proto::rr::RData};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// Records taken from one answer.
const RECORDS_MAX: usize = 32;

/// This machine's resolver, as its configuration names it.
#[derive(Clone)]
pub struct Resolver(Option<TokioResolver>);

impl Resolver {
    pub fn new() -> Resolver {
        Resolver(TokioResolver::builder_tokio().and_then(|builder| builder.build()).ok())
    }

    /// The TXT records of `name`, each as one string; none where DNS says nothing or cannot be asked.
    pub async fn txt(&self, name: &str) -> Vec<String> {
        let Some(resolver) = &self.0 else { return Vec::new() };
        // A name is asked for as it stands, whatever search list this machine has.
        let asked = tokio::time::timeout(PATIENCE, resolver.txt_lookup(format!("{name}."))).await;
        let Ok(Ok(found)) = asked else { return Vec::new() };
        let text = |data: &RData| match data {
            RData::TXT(txt) => Some(txt.to_string()),
            _ => None,
        };
        found.answers().iter().filter_map(|record| text(&record.data)).take(RECORDS_MAX).collect()
    }
}
