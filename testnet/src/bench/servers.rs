//! Who is measured: Kamailio, or `dots`, fresh each time, one of it or two that know each other.

use super::plan::Plan;
use crate::{Error, Result, crowd::Crowd, kamailio::Kamailio, process::Peer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Kamailio,
    Dots,
}

/// In the order in which they run.
pub const SIDES: [Side; 2] = [Side::Kamailio, Side::Dots];

/// Everybody whom phones use is of this realm, at Kamailio of no other.
pub const REALM: &str = "a.test";
const FAR_REALM: &str = "b.test";

pub enum Server {
    Kamailio(Kamailio),
    /// Callers are at the first, callees at the last.
    Dots(Vec<Peer>),
}

impl Server {
    pub fn start(side: Side, plan: &Plan) -> Result<Server> {
        match side {
            Side::Kamailio => Ok(Server::Kamailio(Kamailio::start()?)),
            Side::Dots => Ok(Server::Dots(vec![Peer::start_from(&plan.binary()?, None, REALM, &[])?])),
        }
    }

    /// Kamailio stays one: two peers do for two realms what it does for all.
    pub fn start_two(side: Side, plan: &Plan) -> Result<Server> {
        let mut server = Server::start(side, plan)?;
        if let Server::Dots(peers) = &mut server
            && let Some(a) = peers.first()
        {
            let b = Peer::start_from(&plan.binary()?, None, FAR_REALM, &["--bootstrap", a.p2p()?])?;
            b.meets(a)?;
            a.meets(&b)?;
            peers.push(b);
        }
        Ok(server)
    }

    pub fn processes(&self) -> Vec<u32> {
        match self {
            Server::Kamailio(kamailio) => vec![kamailio.id()],
            Server::Dots(peers) => peers.iter().filter_map(Peer::id).collect(),
        }
    }

    /// Where callers register and call.
    pub fn sip(&self) -> Result<&str> {
        match self {
            Server::Kamailio(kamailio) => Ok(&kamailio.server),
            Server::Dots(peers) => peers.first().ok_or_else(none)?.sip(),
        }
    }
    /// Where callees register.
    pub fn far_sip(&self) -> Result<&str> {
        match self {
            Server::Kamailio(_) => self.sip(),
            Server::Dots(peers) => peers.last().ok_or_else(none)?.sip(),
        }
    }
    pub fn far_realm(&self) -> &'static str {
        match self {
            Server::Dots(peers) if peers.len() > 1 => FAR_REALM,
            _ => REALM,
        }
    }

    /// Kamailio's configuration knows everybody's password; a peer has to be told.
    pub fn import(&self, crowds: &[&Crowd]) -> Result<()> {
        let Server::Dots(peers) = self else { return Ok(()) };
        // As many crowds as peers, or one.
        peers.iter().zip(crowds).try_for_each(|(peer, crowd)| crowd.import(peer))
    }

    pub fn peer(&mut self) -> Option<&mut Peer> {
        match self {
            Server::Kamailio(_) => None,
            Server::Dots(peers) => peers.first_mut(),
        }
    }

    /// A clean end: a peer that panicked is an error.
    pub fn stop(self) -> Result<()> {
        match self {
            Server::Kamailio(_) => Ok(()),
            Server::Dots(mut peers) => peers.iter_mut().try_for_each(Peer::stop),
        }
    }
}

fn none() -> Error {
    Error::Other("no peer was started".into())
}
