//! What a softphone does to sound on its way: G.711 ([`pcmu`]), RTP and SRTP ([`srtp`]), and the keys that two phones
//! exchange in their SDP ([`sdes`]). No socket and no clock: packets go in and come out.

pub mod pcmu;
pub mod sdes;
pub mod srtp;

#[cfg(test)]
mod tests;
