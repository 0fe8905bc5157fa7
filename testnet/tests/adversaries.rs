//! What honest users still get, and that each checker notices where a defence is missing.

use dots_overlay::log::Defence;
use dots_testnet::sim::{
    adversaries::{author_flood, log_filler, lookup_amplifier, mute_crowd, mute_holder, quota_burner},
    checkers::Faults,
};

fn assert_held(run: fn(Option<Defence>) -> Faults, defence: Defence) {
    assert_eq!(run(None), Faults::new());
    assert_ne!(run(Some(defence)), Faults::new(), "without {defence:?} nobody complains");
}

#[test]
fn made_up_authors_keep_no_newcomer_out() {
    assert_held(author_flood, Defence::AuthorsGiveWay);
}

#[test]
fn a_strangers_log_is_kept_short() {
    assert_held(log_filler, Defence::UnpaidAreShort);
}

#[test]
fn a_neighbour_that_delivers_nothing_hides_nobodys_log() {
    assert_held(mute_holder, Defence::Turns);
}

#[test]
fn six_neighbours_that_deliver_nothing_hide_nobodys_log() {
    assert_held(mute_crowd, Defence::Turns);
}

#[test]
fn a_loud_account_silences_nobody_at_its_peer() {
    assert_held(quota_burner, Defence::RealmsPay);
}

#[test]
fn what_strangers_say_of_a_phone_costs_its_callers_nothing() {
    assert_held(lookup_amplifier, Defence::JudgedBefore);
}
