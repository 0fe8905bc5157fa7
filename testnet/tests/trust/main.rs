//! Attacks by a peer with its own key, its own connections and no scruples (design: trust). Each is refused with the right
//! status and counter, and no phone hears of it. The other peers are the ones that ship, on the simulator's network.

mod leg;
mod outage;
mod passwords;
mod places;
mod stage;
