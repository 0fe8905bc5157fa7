//! News that is passed on: each piece goes to a few neighbours at once and then rides on probes that go out anyway.

use super::{
    limits::{NEWS_MAX, NEWS_PER_MESSAGE, NEWS_TIMES},
    message::Hearsay,
};
use std::collections::VecDeque;

#[derive(Default)]
pub struct Bulletin(VecDeque<(Hearsay, u32)>);

impl Bulletin {
    /// `false`: it stands here already.
    pub fn add(&mut self, news: &Hearsay) -> bool {
        if self.0.iter().any(|(known, _)| known == news) {
            return false;
        }
        if self.0.len() >= NEWS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((news.clone(), NEWS_TIMES));
        true
    }

    /// For one message: what was told least often comes first.
    pub fn take(&mut self) -> Vec<Hearsay> {
        let mut taken = Vec::new();
        for _ in 0..self.0.len().min(NEWS_PER_MESSAGE) {
            let Some((news, left)) = self.0.pop_front() else { break };
            taken.push(news.clone());
            if left > 1 {
                self.0.push_back((news, left - 1));
            }
        }
        taken
    }

    /// What is said of a peer no longer holds.
    pub fn forget(&mut self, about: impl Fn(&Hearsay) -> bool) {
        self.0.retain(|(news, _)| !about(news));
    }
}
