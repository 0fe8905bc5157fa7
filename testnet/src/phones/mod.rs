//! Phones that others wrote. What they accept is what interoperability means.

pub mod baresip;
pub mod sipp;
