//! What was ever signed, as far as a disk or a wire saw it: nobody may contradict itself (checker: equivocation).

use dots::peer::Stream;
use dots_ledger::receipt::{Message, Receipt, Stored, Whole, read_bundle};
use dots_overlay::{
    records::{Entry, Incarnation},
    transport::Protocol,
};
use dots_wire::{Checked, Hash, PeerId, decode, sha256};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::collections::BTreeMap;

type Place = (PeerId, Incarnation, String, u64);

#[derive(Default)]
pub struct Watch {
    entries: BTreeMap<Place, Hash>,
    receipts: BTreeMap<(PeerId, Hash), Hash>,
    checked: Checked,
    pub contradictions: Vec<String>,
}

/// The parts of gossip and of answers that carry entries (LOG-7, LOG-10).
#[derive(Deserialize)]
enum Said {
    Entry(ByteBuf),
    Proof(serde::de::IgnoredAny, serde::de::IgnoredAny),
}
#[derive(Deserialize)]
enum Answer {
    Entries { entries: Vec<ByteBuf> },
}

impl Watch {
    pub fn entries(&self) -> usize {
        self.entries.len()
    }

    pub fn append(&mut self, stream: Stream, record: &[u8]) {
        match stream {
            Stream::Log => self.entry(record),
            Stream::Receipts => match Stored::read(record) {
                Some(Stored::Whole(note)) => self.whole(&note.whole),
                Some(Stored::Half(note)) => {
                    if let Ok(receipt) = note.half.verify(&mut self.checked) {
                        let signer = receipt.facts.peer(note.half.side);
                        self.receipt(signer, &receipt, &note.half.receipt);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    pub fn gossip(&mut self, body: &[u8]) {
        match decode::<(u8, String, Said)>(body) {
            Ok((_, _, Said::Entry(bytes))) => self.entry(&bytes),
            Ok((_, _, Said::Proof(..))) => self.contradictions.push("a proof was gossiped".to_owned()),
            Err(why) => self.contradictions.push(format!("unreadable gossip: {why}")),
        }
    }

    pub fn request(&mut self, protocol: Protocol, body: &[u8]) {
        if protocol == Protocol::Receipt {
            self.message(body);
        }
    }

    pub fn response(&mut self, body: &[u8]) {
        self.message(body);
        if let Ok(Answer::Entries { entries }) = decode::<Answer>(body) {
            entries.iter().for_each(|e| self.entry(e));
        }
    }

    fn message(&mut self, body: &[u8]) {
        for message in read_bundle(body).into_iter().flatten().flatten() {
            if let Message::Whole(whole) = message {
                self.whole(&whole);
            }
        }
    }

    fn whole(&mut self, whole: &Whole) {
        if let Ok(receipt) = whole.verify(&mut self.checked) {
            self.receipt(PeerId(receipt.facts.caller_peer), &receipt, &whole.receipt);
            self.receipt(PeerId(receipt.facts.callee_peer), &receipt, &whole.receipt);
        }
    }

    fn receipt(&mut self, signer: PeerId, receipt: &Receipt, bytes: &[u8]) {
        let hash = sha256(bytes);
        let known = *self.receipts.entry((signer, receipt.facts.call_id)).or_insert(hash);
        if known != hash {
            self.contradictions
                .push(format!("{signer} signed two receipts of call {}", receipt.facts.call_id));
        }
    }

    fn entry(&mut self, bytes: &[u8]) {
        let Some(entry) = Entry::read(bytes) else {
            return self.contradictions.push("an entry that cannot be read".to_owned());
        };
        let (header, hash) = (entry.header().clone(), entry.hash());
        let place = (header.author, header.incarnation, header.shard, header.seq);
        let known = *self.entries.entry(place).or_insert(hash);
        if known != hash {
            let (author, seq) = (header.author, header.seq);
            self.contradictions.push(format!("{author} wrote two entries {seq} in one life"));
        }
    }
}
