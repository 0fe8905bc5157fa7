//! A binding as the table keeps it: one allocation of just as many bytes as it has to say.
//!
//! ```text
//!   fixed (47 B)  expires, granted until, refreshed, connection, CSeq, q, flags, transports, ports
//!   addresses     ours and theirs: 4 bytes each over IPv4, 24 over IPv6 (flow label and scope belong to it)
//!   texts         a length of 16 bits and the text: AOR, instance, Contact, its parameters, Call-ID, server, Path …
//! ```
//!
//! A [`Binding`] has a dozen allocations of its own and is what travels: in a change, into the journal, from a restart. A
//! peer that serves a hundred thousand phones keeps a hundred thousand of these instead, and looks at them through
//! [`Bound`], which borrows. The grant stays outside: others hold the same one.

use super::Binding;
use crate::{Flow, Transport, listening::Listening};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::Arc,
};

/// One phone of one account, as it stands in the table.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    pub aor: &'a str,
    pub instance: &'a str,
    pub contact: &'a str,
    pub contact_params: &'a str,
    pub q: u16,
    pub call_id: &'a str,
    pub cseq: u32,
    path: &'a [u8],
    pub server: Option<&'a str>,
    pub flow: Flow,
    pub listens: Option<Listening>,
    pub expires_at_ms: u64,
    grant: Option<&'a Arc<[u8]>>,
    pub granted_until_ms: u64,
    /// Can its flow be written to now?
    pub is_open: bool,
    /// Is it of a realm of ours?
    pub is_own: bool,
    /// Grows with each refresh of any binding, so the smallest was refreshed least recently.
    pub refreshed: u64,
}

impl<'a> Bound<'a> {
    /// Topmost first.
    pub fn path(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut rest = Reader(self.path);
        std::iter::from_fn(move || (!rest.0.is_empty()).then(|| rest.text()))
    }

    pub fn grant(&self) -> Arc<[u8]> {
        self.grant.cloned().unwrap_or_default()
    }

    /// Can a request be sent to it now: on its flow, or to the port where it listens?
    pub fn is_reachable(&self) -> bool {
        self.is_open || self.listens.is_some()
    }

    pub fn to_binding(&self) -> Binding {
        Binding {
            aor: self.aor.to_owned(),
            instance: self.instance.to_owned(),
            contact: self.contact.to_owned(),
            contact_params: self.contact_params.to_owned(),
            q: self.q,
            call_id: self.call_id.to_owned(),
            cseq: self.cseq,
            path: self.path().map(str::to_owned).collect(),
            server: self.server.map(str::to_owned),
            flow: self.flow,
            listens: self.listens,
            expires_at_ms: self.expires_at_ms,
            grant: self.grant(),
            granted_until_ms: self.granted_until_ms,
        }
    }
}

/// What the table knows of a binding beside what the phone said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub is_open: bool,
    pub is_own: bool,
    pub refreshed: u64,
}

pub(super) struct Row {
    packed: Box<[u8]>,
    /// `None`: an empty one.
    grant: Option<Arc<[u8]>>,
}

const OPEN: u8 = 1;
const OWN: u8 = 2;
const LOCAL_V6: u8 = 4;
const REMOTE_V6: u8 = 8;
const SERVER: u8 = 16;
/// No transport has this code: it listens nowhere else.
const NOWHERE: u8 = 0;
/// Behind four numbers of 64 bits, one of 32 and one of 16.
const FLAGS_AT: usize = 38;
/// Behind three of the numbers.
const CONNECTION_AT: usize = 24;
/// What stands before the addresses.
const FIXED_BYTES: usize = 47;

/// What an address takes, its port aside.
fn ip_bytes(is_v6: bool) -> usize {
    if is_v6 { 24 } else { 4 }
}

impl Row {
    pub fn pack(binding: &Binding, marks: Marks) -> Row {
        let Binding { flow, listens, .. } = binding;
        let mut flags = 0;
        for (is_set, flag) in [
            (marks.is_open, OPEN),
            (marks.is_own, OWN),
            (flow.local.is_ipv6(), LOCAL_V6),
            (flow.remote.is_ipv6(), REMOTE_V6),
            (binding.server.is_some(), SERVER),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        let texts =
            [&binding.aor, &binding.instance, &binding.contact, &binding.contact_params, &binding.call_id];
        let texts = || texts.into_iter().chain(&binding.server).chain(&binding.path);
        let addresses = ip_bytes(flow.local.is_ipv6()) + ip_bytes(flow.remote.is_ipv6());
        let length = FIXED_BYTES + addresses + texts().map(|text| text.len() + 2).sum::<usize>();
        let mut out = Vec::with_capacity(length);
        for number in [binding.expires_at_ms, binding.granted_until_ms, marks.refreshed, flow.connection] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&binding.cseq.to_be_bytes());
        out.extend_from_slice(&binding.q.to_be_bytes());
        debug_assert_eq!(out.len(), FLAGS_AT, "the flags stand where `mark_closed` looks for them");
        out.push(flags);
        out.push(flow.transport.code());
        out.push(listens.map_or(NOWHERE, |at| at.transport.code()));
        let listens_port = listens.map_or(0, |at| at.port);
        for port in [listens_port, flow.local.port(), flow.remote.port()] {
            out.extend_from_slice(&port.to_be_bytes());
        }
        put_ip(&mut out, flow.local);
        put_ip(&mut out, flow.remote);
        texts().for_each(|text| put_text(&mut out, text));
        debug_assert_eq!(out.len(), length, "room is made for just that");
        let grant = (!binding.grant.is_empty()).then(|| binding.grant.clone());
        Row { packed: out.into_boxed_slice(), grant }
    }

    /// Are these the AOR and the instance that it begins with? Whoever only looks for a row compares bytes where they stand.
    pub fn is(&self, aor: &str, instance: Option<&str>) -> bool {
        let mut at = self.texts();
        at.bytes() == aor.as_bytes() && instance.is_none_or(|instance| at.bytes() == instance.as_bytes())
    }

    /// The bytes of its AOR.
    pub fn aor(&self) -> &[u8] {
        self.texts().bytes()
    }
    pub fn instance(&self) -> &[u8] {
        let mut at = self.texts();
        at.bytes();
        at.bytes()
    }
    pub fn expires_at_ms(&self) -> u64 {
        Reader(&self.packed).u64()
    }
    pub fn is_own(&self) -> bool {
        self.flags() & OWN != 0
    }
    pub fn is_open(&self) -> bool {
        self.flags() & OPEN != 0
    }
    pub fn flow(&self) -> Flow {
        let mut at = Reader(self.packed.get(CONNECTION_AT..).unwrap_or_default());
        let connection = at.u64();
        at.take(FLAGS_AT - CONNECTION_AT - 8);
        let flags = at.u8();
        let transport = Transport::of_code(at.u8()).expect("a flow was written with its transport");
        at.take(3);
        let [local_port, remote_port] = [(); 2].map(|()| at.u16());
        let local = at.address(flags & LOCAL_V6 != 0, local_port);
        Flow { transport, connection, local, remote: at.address(flags & REMOTE_V6 != 0, remote_port) }
    }

    fn flags(&self) -> u8 {
        *self.packed.get(FLAGS_AT).expect("every row has its flags")
    }

    fn texts(&self) -> Reader<'_> {
        let flags = self.flags();
        let addresses = ip_bytes(flags & LOCAL_V6 != 0) + ip_bytes(flags & REMOTE_V6 != 0);
        Reader(self.packed.get(FIXED_BYTES + addresses..).unwrap_or_default())
    }

    pub fn bound(&self) -> Bound<'_> {
        let mut at = Reader(&self.packed);
        let [expires_at_ms, granted_until_ms, refreshed, connection] = [(); 4].map(|()| at.u64());
        let (cseq, q, flags) = (at.u32(), at.u16(), at.u8());
        let has = |flag| flags & flag != 0;
        let [transport, listens_by] = [(); 2].map(|()| Transport::of_code(at.u8()));
        let [listens_port, local_port, remote_port] = [(); 3].map(|()| at.u16());
        let local = at.address(has(LOCAL_V6), local_port);
        let remote = at.address(has(REMOTE_V6), remote_port);
        let transport = transport.expect("a flow was written with its transport");
        let listens = listens_by.map(|transport| Listening { transport, port: listens_port });
        Bound {
            aor: at.text(),
            instance: at.text(),
            contact: at.text(),
            contact_params: at.text(),
            q,
            call_id: at.text(),
            cseq,
            server: has(SERVER).then(|| at.text()),
            path: at.0,
            flow: Flow { transport, connection, local, remote },
            listens,
            expires_at_ms,
            grant: self.grant.as_ref(),
            granted_until_ms,
            is_open: has(OPEN),
            is_own: has(OWN),
            refreshed,
        }
    }

    /// Its connection is gone.
    pub fn mark_closed(&mut self) {
        let flags = self.packed.get_mut(FLAGS_AT).expect("every row has its flags");
        *flags &= !OPEN;
    }

    /// Bytes beside the row itself. A grant is charged to each that holds it.
    pub fn heap_bytes(&self) -> usize {
        self.packed.len() + self.grant.as_ref().map_or(0, |grant| grant.len() + 16)
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    // A message has less than 64 KiB, and the registrar's limits are far below.
    let length = u16::try_from(text.len()).expect("no text of a binding is longer than a message");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_ip(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(v4) => out.extend_from_slice(&v4.ip().octets()),
        SocketAddr::V6(v6) => {
            out.extend_from_slice(&v6.ip().octets());
            out.extend_from_slice(&v6.flowinfo().to_be_bytes());
            out.extend_from_slice(&v6.scope_id().to_be_bytes());
        }
    }
}

/// Reads what [`Row::pack`] wrote.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(length).expect("a row is read as it was written");
        self.0 = rest;
        taken
    }
    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().expect("so many were taken")
    }
    fn u8(&mut self) -> u8 {
        u8::from_be_bytes(self.array())
    }
    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.array())
    }
    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.array())
    }
    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.array())
    }
    fn bytes(&mut self) -> &'a [u8] {
        let length = self.u16();
        self.take(length.into())
    }
    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).expect("a text was written as one")
    }
    fn address(&mut self, is_v6: bool, port: u16) -> SocketAddr {
        match is_v6 {
            false => SocketAddr::new(IpAddr::V4(Ipv4Addr::from(self.array::<4>())), port),
            true => {
                let ip = Ipv6Addr::from(self.array::<16>());
                let (flow, scope) = (self.u32(), self.u32());
                SocketAddrV6::new(ip, port, flow, scope).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_address()(is_v6: bool, ip: u128, port: u16, scope: u32) -> SocketAddr {
            match is_v6 {
                true => SocketAddrV6::new(Ipv6Addr::from(ip), port, scope.rotate_left(7), scope).into(),
                false => SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip as u32)), port),
            }
        }
    }

    prop_compose! {
        fn any_binding()(
            texts in proptest::collection::vec("\\PC{0,40}", 5),
            numbers in any::<[u64; 3]>(),
            (cseq, q) in (any::<u32>(), any::<u16>()),
            path in proptest::collection::vec("\\PC{0,20}", 0..4),
            server in proptest::option::of("\\PC{0,20}"),
            is_tcp in any::<bool>(),
            (local, remote) in (any_address(), any_address()),
            listens in proptest::option::of((any::<bool>(), any::<u16>())),
            grant in proptest::collection::vec(any::<u8>(), 0..40),
        ) -> Binding {
            let transport = |is_tcp| if is_tcp { Transport::Tcp } else { Transport::Udp };
            let text = |n: usize| texts[n].clone();
            Binding {
                aor: text(0), instance: text(1), contact: text(2), contact_params: text(3), call_id: text(4),
                q, cseq, path, server,
                flow: Flow { transport: transport(is_tcp), connection: numbers[0], local, remote },
                listens: listens.map(|(is_tcp, port)| Listening { transport: transport(is_tcp), port }),
                expires_at_ms: numbers[1],
                grant: grant.into(),
                granted_until_ms: numbers[2],
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(binding in any_binding(), is_open: bool, is_own: bool, refreshed: u64) {
            let marks = Marks { is_open, is_own, refreshed };
            let mut row = Row::pack(&binding, marks);
            let bound = row.bound();
            prop_assert_eq!(bound.to_binding(), binding.clone());
            prop_assert_eq!(Marks { is_open: bound.is_open, is_own: bound.is_own, refreshed: bound.refreshed }, marks);
            row.mark_closed();
            let bound = row.bound();
            prop_assert!(!bound.is_open && bound.to_binding() == binding);
        }
    }
}
