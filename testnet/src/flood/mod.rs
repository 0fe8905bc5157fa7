//! More REGISTERs than a server can take, as a flood brings them: right answers to its challenges, requests without an
//! answer, and requests from addresses that nobody has. One thread makes tens of thousands a second, so that a server
//! is measured and not its generator: texts are written into buffers that are used again, [`batch`] hands them to the kernel
//! by the dozen (sendmmsg(2)), and of an answer only what matters is read.
//!
//! [`phone`] is one phone: what it sends, what it was promised. [`Generator`] has many of them behind a few sockets,
//! and three ways to use them: until all are registered, as fast as answers come, or at a rate that does not ask whether the
//! server follows. A few of the phones are *watched*: they repeat a request as RFC 3261 §17.1.2 says, and tell whether a
//! well-behaved phone would have stayed registered. The others send once.

mod batch;
mod forged;
mod generator;
mod phone;
mod watched;

pub use generator::{Flood, Generator, Rates};
pub use phone::{Heard, PASSWORD, Phone, Reply};
