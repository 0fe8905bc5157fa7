//! SIPp's load, and what it costs a server in CPU time:
//!
//! - REGISTER: challenged and answered (two requests, as SIPp never keeps a nonce); new, then the same with the same Contact.
//! - call: INVITE, 407, INVITE with the answer, 180, 200, ACK, BYE, 200.
//! - two peers: callers at one, callees at the other; what both spend together, receipts included.

use super::{
    cpu,
    plan::Plan,
    rows::Measure,
    servers::{REALM, Server, Side},
};
use crate::{Error, Result, crowd::Crowd, phones::sipp::Counts};
use std::time::Duration;

/// Receipts are signed in batches of up to 5 s; that is part of the call.
const RECEIPTS: Duration = Duration::from_secs(6);

pub fn register(side: Side, plan: &Plan) -> Result<Vec<Measure>> {
    let server = Server::start(side, plan)?;
    let crowd = Crowd::new(REALM, plan.users())?;
    server.import(&[&crowd])?;
    let mut all = Vec::new();
    for (round, row) in [(1, "register"), (2, "refresh")] {
        let before = cpu::used(&server.processes())?;
        let counts = crowd.register(server.sip()?, plan.rate, round)?;
        all.push(Measure::new(row, each(&server, before, counts, plan.users())?));
    }
    server.stop()?;
    Ok(all)
}

pub fn call(side: Side, plan: &Plan) -> Result<Vec<Measure>> {
    let server = Server::start(side, plan)?;
    let crowd = Crowd::new(REALM, users(plan))?;
    server.import(&[&crowd])?;
    crowd.register(server.sip()?, plan.rate, 1)?;
    let cost = calls(&server, plan, &crowd, &crowd, Duration::ZERO)?;
    server.stop()?;
    Ok(vec![Measure::new("call", cost)])
}

pub fn two_peers(side: Side, plan: &Plan) -> Result<Vec<Measure>> {
    let server = Server::start_two(side, plan)?;
    let callers = Crowd::new(REALM, users(plan))?;
    // At Kamailio the callees are the same users.
    let far = match side {
        Side::Kamailio => None,
        Side::Dots => Some(Crowd::new(server.far_realm(), users(plan))?),
    };
    let callees = far.as_ref().unwrap_or(&callers);
    server.import(&[&callers, callees])?;
    callers.register(server.sip()?, plan.rate, 1)?;
    if let Some(far) = &far {
        far.register(server.far_sip()?, plan.rate, 1)?;
    }
    let cost = calls(&server, plan, &callers, callees, RECEIPTS)?;
    server.stop()?;
    Ok(vec![Measure::new("two-peers", cost)])
}

/// Enough that nobody calls twice at once.
fn users(plan: &Plan) -> usize {
    plan.users().min(2_000)
}

fn calls(server: &Server, plan: &Plan, callers: &Crowd, callees: &Crowd, late: Duration) -> Result<f64> {
    let before = cpu::used(&server.processes())?;
    let answering = callees.answer()?;
    let counts = callers.call(server.sip()?, callees, plan.calls(), plan.call_rate)?.finish()?;
    std::thread::sleep(late);
    let cost = each(server, before, counts, plan.calls())?;
    drop(answering);
    Ok(cost)
}

/// Microseconds for each that succeeded. Where more than one in a hundred fails, the number is of something else.
fn each(server: &Server, before: u64, counts: Counts, wanted: usize) -> Result<f64> {
    let used = cpu::used(&server.processes())?.saturating_sub(before);
    let done = counts.successful;
    if (done as usize) * 100 < wanted * 99 {
        return Err(Error::Other(format!("{done} of {wanted} succeeded: {counts:?}")));
    }
    Ok(used as f64 * 1e6 / cpu::ticks_per_second()? / done.max(1) as f64)
}
