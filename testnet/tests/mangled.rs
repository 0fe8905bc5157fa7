//! Phones that write rubbish in the middle of everything: a third of what they send is broken in a seeded way, on the way
//! to a peer and from there across the overlay. Two well-behaved phones call each other all the while, and none of their
//! calls may notice. Afterwards no peer has panicked.

use dots_testnet::{
    Result,
    phones::{plain::Plain, wire::mangled},
    process::Peer,
    random,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::sleep,
    time::Duration,
};

/// Broken phones at each peer, and as many who answer there.
const BROKEN: usize = 25;
/// It goes on until there were so many of both.
const CLEAN_CALLS: u64 = 100;
const BROKEN_TURNS: u64 = 1_000;
const ANSWER: Duration = Duration::from_secs(15);
/// A broken call waits this long for its answer.
const PATIENCE: Duration = Duration::from_millis(400);

#[test]
fn rubbish_from_some_is_not_felt_by_others() {
    let mut rng = random();
    let mut a = Peer::start("a.test", &[]).unwrap();
    let mut b = Peer::join(&a, "b.test", &[]).unwrap();
    a.meets(&b).unwrap();
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut answering = Vec::new();
    let mut callers = Vec::new();
    for (peer, realm, other) in [(&a, "a.test", "b.test"), (&b, "b.test", "a.test")] {
        for n in 0..BROKEN {
            let mut phone = phone(peer, &format!("callee{n}@{realm}"), &mut rng);
            assert_eq!(phone.register(3600, 0, ANSWER).unwrap(), Some(200));
            phone.mangle(ChaCha8Rng::seed_from_u64(rng.random()));
            answering.push(phone.answer().unwrap());
            let mut phone = self::phone(peer, &format!("caller{n}@{realm}"), &mut rng);
            phone.mangle(ChaCha8Rng::seed_from_u64(rng.random()));
            callers.push((phone, other));
        }
    }
    let mut alice = phone(&a, "alice@a.test", &mut rng);
    let mut bob = phone(&b, "bob@b.test", &mut rng);
    assert_eq!(bob.register(3600, 0, ANSWER).unwrap(), Some(200));
    let bob = bob.answer().unwrap();

    std::thread::scope(|scope| {
        for (mut phone, other) in callers {
            let (stop, sent, mut rng) = (&stop, &sent, ChaCha8Rng::seed_from_u64(rng.random()));
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // What comes of it is theirs to bear.
                    let _ = broken_turn(&mut phone, other, &mut rng);
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for peer in [&a, &b] {
            let (stop, rng) = (&stop, ChaCha8Rng::seed_from_u64(rng.random()));
            let server = peer.sip().unwrap().to_owned();
            scope.spawn(move || broken_messages(&server, stop, rng));
        }
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut call = 0;
            while call < CLEAN_CALLS || sent.load(Ordering::Relaxed) < BROKEN_TURNS {
                let (status, dialog) = alice.invite("sip:bob@b.test", ANSWER).unwrap().expect("an answer");
                assert_eq!(status, 200, "call {call}");
                assert_eq!(alice.bye(&dialog.unwrap(), ANSWER).unwrap(), Some(200), "call {call}");
                call += 1;
            }
        }));
        stop.store(true, Ordering::Relaxed);
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(bob.ended() >= CLEAN_CALLS);
    let others: u64 = answering.iter().map(|a| a.ended()).sum();
    eprintln!("{} broken exchanges; {others} of them were calls that ended", sent.load(Ordering::Relaxed));
    assert!(others > 0, "the rubbish went nowhere near a call");
    drop(answering);
    a.stop().unwrap();
    b.stop().unwrap();
}

fn phone(peer: &Peer, aor: &str, rng: &mut ChaCha8Rng) -> Plain {
    peer.account(aor, "secret").unwrap();
    Plain::new(peer.sip().unwrap(), aor, "secret", rng).unwrap()
}

fn broken_turn(phone: &mut Plain, other: &str, rng: &mut ChaCha8Rng) -> Result<()> {
    match rng.random_range(0..5) {
        0 => drop(phone.register(3600, rng.random(), PATIENCE)?),
        1 => drop(phone.options(PATIENCE)?),
        _ => {
            let target = format!("sip:callee{}@{other}", rng.random_range(0..BROKEN));
            if let Some((_, Some(dialog))) = phone.invite(&target, PATIENCE)? {
                phone.bye(&dialog, PATIENCE)?;
            }
        }
    }
    Ok(())
}

/// The torture messages, broken further: as datagrams, and several after another in a stream.
fn broken_messages(server: &str, stop: &AtomicBool, mut rng: ChaCha8Rng) {
    let mut messages = Vec::new();
    for dir in ["torture", "torture/rfc4475", "torture/rfc5118"] {
        let mut files: Vec<_> =
            std::fs::read_dir(Path::new(dir)).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        messages.extend(files.iter().filter(|p| p.is_file()).map(|p| std::fs::read(p).unwrap()));
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut buffer = [0; 4_096];
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..20 {
            let message = mangled(&messages[rng.random_range(0..messages.len())], &mut rng);
            let _ = socket.send_to(&message, server);
        }
        let Ok(mut stream) = TcpStream::connect(server) else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
        for _ in 0..5 {
            let message = mangled(&messages[rng.random_range(0..messages.len())], &mut rng);
            if stream.write_all(&message).is_err() {
                break;
            }
            let _ = stream.read(&mut buffer);
        }
        // No flood: the question is what they say, not how much.
        sleep(Duration::from_millis(20));
    }
}
