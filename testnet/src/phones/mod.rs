//! Phones. [`baresip`] and [`sipp`] are other people's: what they accept is what interoperability means. [`plain`] is ours,
//! for bookkeeping that no other phone gives; its [`wire`] can write rubbish, and its [`voice`] speaks SRTP.

pub mod baresip;
pub mod plain;
pub mod sipp;
pub mod voice;
pub mod wire;
