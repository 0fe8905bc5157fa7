//! Values: what the core said to hold is held, nothing else.

use super::*;
use crate::net::limits::RECORD_MAX;

const KEY: [u8; 32] = [5; 32];

fn value(n: u8) -> Vec<u8> {
    vec![n; 2_000]
}

impl Peer {
    async fn get(&mut self, id: u64) -> Vec<Vec<u8>> {
        self.say(NetCommand::DhtGet { id, key: KEY.to_vec() });
        let mut values = Vec::new();
        loop {
            let said = |e: &NetEvent| match e {
                NetEvent::DhtValue { id: of, value } if *of == id => Some(Some(value.clone())),
                NetEvent::DhtDone { id: of } if *of == id => Some(None),
                _ => None,
            };
            match self.take("the end of a query", said).await {
                Some(value) => values.push(value),
                None => break,
            }
        }
        values.sort();
        values
    }

    async fn offer(&mut self) -> (PeerId, Vec<u8>, Option<Vec<u8>>) {
        self.take("an offer", |e| match e {
            NetEvent::DhtOffer { from, key, value, held } => {
                assert_eq!(key[..], KEY);
                Some((*from, value.clone(), held.clone()))
            }
            _ => None,
        })
        .await
    }

    fn put(&mut self, value: Vec<u8>) {
        self.say(NetCommand::DhtPut { key: KEY.to_vec(), value, ttl_secs: 60 });
    }

    fn store(&mut self, value: Vec<u8>, ttl_secs: u32) {
        let from = self.id;
        self.say(NetCommand::DhtStore { from, granted: false, key: KEY.to_vec(), value, ttl_secs });
    }
}

/// NET-7.
#[tokio::test]
async fn a_value_is_held_only_once_the_core_says_so() {
    let mut a = peer(1, &[]).await;
    let mut b = peer(2, &[&a]).await;
    b.connected(a.id).await;
    b.put(value(1));
    assert_eq!(a.offer().await, (b.id, value(1), None));
    // Its putter has it, and goes; the other one has not said yes.
    assert_eq!(b.get(1).await, [value(1)]);
    let b_id = b.id;
    b.net.shutdown().await;
    a.disconnected(b_id).await;
    let mut c = peer(3, &[&a]).await;
    c.connected(a.id).await;
    assert_eq!(c.get(1).await, Vec::<Vec<u8>>::new());
    a.store(value(1), 60);
    assert_eq!(a.get(2).await, [value(1)]);
    assert_eq!(c.get(2).await, [value(1)]);
    // The next offer shows what is held.
    c.put(value(3));
    assert_eq!(a.offer().await, (c.id, value(3), Some(value(1))));
}

#[tokio::test]
async fn a_reader_sees_every_answer_once() {
    let mut a = peer(1, &[]).await;
    let mut others = vec![peer(2, &[&a]).await, peer(3, &[&a]).await, peer(4, &[&a]).await];
    a.meets(&[others[0].id, others[1].id, others[2].id]).await;
    for other in &mut others {
        other.connected(a.id).await;
    }
    a.store(value(1), 60);
    others[0].store(value(2), 60);
    others[1].store(value(3), 60);
    others[2].store(value(3), 60);
    // Each answers for itself once it has carried the commands out.
    for other in &mut others {
        assert!(!other.get(1).await.is_empty());
    }
    assert_eq!(a.get(2).await, [value(1), value(2), value(3)]);
}

#[tokio::test]
async fn what_is_held_of_others_is_not_overwritten_by_a_put() {
    let mut a = peer(1, &[]).await;
    a.store(value(1), 60);
    a.put(value(2));
    assert_eq!(a.offer().await, (a.id, value(2), Some(value(1))));
    assert_eq!(a.get(1).await, [value(1)]);
    a.store(value(9), 60);
    assert_eq!(a.get(2).await, [value(9)]);
}

#[tokio::test]
async fn a_value_ends_with_its_time() {
    let mut a = peer(1, &[]).await;
    let began = std::time::Instant::now();
    a.store(value(1), 1);
    let mut id = 0;
    let ended = async {
        loop {
            id += 1;
            if a.get(id).await.is_empty() {
                break;
            }
        }
    };
    timeout(PATIENCE, ended).await.expect("it ends");
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn values_up_to_the_limit_travel_and_longer_ones_do_not() {
    let mut a = peer(1, &[]).await;
    let mut b = peer(2, &[&a]).await;
    b.connected(a.id).await;
    b.put(vec![7; RECORD_MAX + 1]);
    b.put(vec![7; RECORD_MAX]);
    let (_, offered, _) = a.offer().await;
    assert_eq!(offered, vec![7; RECORD_MAX]);
    assert_eq!(b.count("net_records_refused"), 1);
    a.store(offered, 60);
    assert_eq!(a.get(1).await, [vec![7; RECORD_MAX]]);
    assert_eq!(b.get(1).await, [vec![7; RECORD_MAX]]);
}

/// LOG-23a: a crowd of long values that end last pushes out its own kind.
#[tokio::test]
async fn a_flood_of_values_takes_room_from_itself() {
    let mut a = peer(1, &[]).await;
    let id = |n: u8| SecretKey::from_bytes(&[n; 32]).expect("a scalar").peer_id();
    let mut store = |from: PeerId, key: Vec<u8>, value: Vec<u8>, ttl_secs: u32| {
        a.say(NetCommand::DhtStore { from, granted: false, key, value, ttl_secs });
    };
    store(id(2), KEY.to_vec(), value(1), 600);
    for n in 0..1_500u32 {
        store(id(3), n.to_be_bytes().to_vec(), vec![7; RECORD_MAX], 3_600);
    }
    // Who adds to a value does not get it into his power.
    store(id(3), KEY.to_vec(), value(2), 600);
    for n in 2_000..3_000u32 {
        store(id(3), n.to_be_bytes().to_vec(), vec![7; RECORD_MAX], 3_600);
    }
    assert_eq!(a.get(1).await, [value(2)]);
    assert!(a.count("net_records_evicted") > 1_000);
}
