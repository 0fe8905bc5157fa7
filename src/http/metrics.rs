//! `/metrics`, in the text format of OpenMetrics. The peer counts by name (`Output::Count`); names are constants of
//! the program, so there are as many series as there are names in it.

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Name {
    name: &'static str,
}

pub struct Metrics {
    registry: Registry,
    events: Family<Name, Counter>,
    levels: Family<Name, Gauge>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("dots");
        let (events, levels) = (Family::default(), Family::default());
        registry.register("events", "What happened, by name", events.clone());
        registry.register("level", "How much there is of something now, by name", levels.clone());
        Metrics { registry, events, levels }
    }
}

impl Metrics {
    /// One more of `name`.
    pub fn count(&self, name: &'static str) {
        self.events.get_or_create(&Name { name }).inc();
    }
    /// There are `value` of `name` now.
    pub fn level(&self, name: &'static str, value: i64) {
        self.levels.get_or_create(&Name { name }).set(value);
    }
    pub fn text(&self) -> String {
        let mut out = String::new();
        match text::encode(&mut out, &self.registry) {
            Ok(()) => out,
            Err(_) => String::new(),
        }
    }
}
