//! Messages of which only the beginning has come over TCP: how long they may be, how long they may take, and who pays for the room.
//!
//! A stranger needs one REGISTER or INVITE to prove an account, and none of these is long. What begins ends soon: headers that
//! come a byte at a time keep nothing. And all that is half here is one table, shared by networks and then by addresses, half
//! of it for connections on which an account has answered a challenge: so many slow senders of one network take from
//! themselves, and whoever sends whole messages needs no room in it at all.

use dots_wire::bounded::{Book, Cause, Limits, Standing};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// A message of one who has proved nothing.
pub const STRANGERS_MESSAGE_MAX: usize = 8 * 1024;
/// From its first byte to its last.
pub const WHOLE_WITHIN: Duration = Duration::from_secs(10);
/// Two thousand of the longest of strangers, or eight thousand of the usual.
pub(crate) const LIMITS: Limits = Limits::new(16 << 20, 8_192).reserving([500, 0, 0, 0]);

/// What all beginnings hold together.
#[derive(Clone)]
pub struct Begun(Arc<Mutex<Book>>);

impl Begun {
    pub fn new() -> Begun {
        Begun::with_limits(LIMITS)
    }

    fn with_limits(limits: Limits) -> Begun {
        Begun(Arc::new(Mutex::new(Book::new(limits))))
    }

    /// The share of one connection, which holds nothing yet.
    pub fn share(&self, from: IpAddr) -> Share {
        Share { all: self.clone(), from, held: None }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one connection holds of it. Dropped, it is given back.
pub struct Share {
    all: Begun,
    from: IpAddr,
    held: Option<(Cause, usize)>,
}

impl Share {
    /// From now on it holds so many bytes. `false`: there is no room for them, and it holds nothing.
    #[must_use]
    pub fn hold(&mut self, bytes: usize, is_known: bool) -> bool {
        self.give_back();
        if bytes == 0 {
            return true;
        }
        let standing = if is_known { Standing::Own } else { Standing::Other };
        let cause = Cause::new(standing).from(self.from).by(self.from.to_canonical().to_string().as_bytes());
        let mut book = self.all.book();
        let weight = book.weight(bytes);
        if book.admits(cause, weight).is_err() {
            return false;
        }
        book.charge(cause, weight);
        drop(book);
        self.held = Some((cause, weight));
        true
    }

    fn give_back(&mut self) {
        if let Some((cause, weight)) = self.held.take() {
            self.all.book().discharge(cause, weight);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_s_beginnings_leave_room_for_others() {
        let all = Begun::with_limits(Limits::new(1 << 20, 256).reserving([500, 0, 0, 0]));
        let ip = |network: u8, host: u8| IpAddr::from([10, 0, network, host]);
        let hold = |from: IpAddr, is_known: bool| {
            let mut share = all.share(from);
            share.hold(STRANGERS_MESSAGE_MAX, is_known).then_some(share)
        };
        let of_one: Vec<Share> = (0..200).map_while(|_| hold(ip(1, 1), false)).collect();
        assert!((15..60).contains(&of_one.len()), "an address: {}", of_one.len());
        let of_network: Vec<Share> = (0..200).filter_map(|n| hold(ip(1, n), false)).collect();
        assert!(of_one.len() + of_network.len() < 64, "a network: {}", of_network.len());
        let other = hold(ip(2, 1), false).expect("another network has room");
        let known: Vec<Share> = (0..200).map_while(|_| hold(ip(1, 1), true)).collect();
        assert!(known.len() >= 55, "phones have their half: {}", known.len());
        drop((of_one, of_network, other, known));
        assert_eq!(all.book().bytes(), 0, "all is given back");
    }

    #[test]
    fn what_grows_is_charged_once() {
        let all = Begun::new();
        let mut share = all.share(IpAddr::from([10, 0, 0, 1]));
        for bytes in [100, 5_000, 60_000, 8_192] {
            assert!(share.hold(bytes, false));
            let book = all.book();
            assert_eq!(book.bytes(), book.weight(bytes));
        }
        assert!(share.hold(60_000, true) && share.hold(0, true));
        assert_eq!(all.book().bytes(), 0);
    }
}
