//! Our xenstore server and a real xenstored, side by side: the same requests, byte for byte, and the same answers and events.
//! By hand, as it needs the real one: `tests/xenstored/run`.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use xennet_core::xenstore::server::{Server, Settings};
use xennet_core::xenstore::wire::{HEADER, Header, Kind, put};
use xennet_core::xenstore::{Client, Options, Store};

/// A small generator of numbers: the same seed gives the same walk.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// A message: kind, transaction, body.
type Message = (u32, u32, Vec<u8>);

struct Raw {
    stream: UnixStream,
    count: u32,
    /// The open transactions, by the numbers of this server.
    transactions: Vec<u32>,
}

impl Raw {
    fn new(path: &std::path::Path) -> Raw {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Raw { stream, count: 0, transactions: Vec::new() }
    }

    fn message(&mut self) -> (Header, Vec<u8>) {
        let mut head = [0; HEADER];
        self.stream.read_exact(&mut head).unwrap();
        let head = Header::read(&head).unwrap();
        let mut body = vec![0; head.payload().unwrap()];
        self.stream.read_exact(&mut body).unwrap();
        (head, body)
    }

    /// Asks, and returns the answer and the events that came before it.
    fn ask(&mut self, kind: Kind, transaction: u32, body: &[u8]) -> (Message, Vec<Vec<u8>>) {
        self.count += 1;
        let mut out = Vec::new();
        assert!(put(&mut out, kind, self.count, transaction, &[body]));
        self.stream.write_all(&out).unwrap();
        let mut events = Vec::new();
        loop {
            let (head, body) = self.message();
            if head.kind == Kind::WatchEvent.number() {
                events.push(body);
                continue;
            }
            assert_eq!(head.request, self.count);
            return ((head.kind, head.transaction, body), events);
        }
    }
}

/// One of the two: its connections.
struct Side(Vec<Raw>);

impl Side {
    fn new(path: &std::path::Path) -> Side {
        Side((0..3).map(|_| Raw::new(path)).collect())
    }

    /// Carries out one request; returns the answer, and every connection's events, in an order that both sides share.
    fn step(&mut self, who: usize, kind: Kind, slot: Option<usize>, body: &[u8]) -> (Message, Vec<Vec<String>>) {
        let me = &mut self.0[who];
        let transaction = match slot {
            None => 0,
            Some(slot) => me.transactions.get(slot).copied().unwrap_or(77_777),
        };
        let (mut answer, events) = me.ask(kind, transaction, body);
        if answer.0 == Kind::TransactionStart.number() {
            let number = String::from_utf8_lossy(&answer.2).trim_end_matches('\0').parse().unwrap();
            me.transactions.push(number);
            answer.2.clear();
        }
        if kind == Kind::TransactionEnd && (answer.0 != Kind::Error.number() || answer.2 == b"EAGAIN\0") {
            me.transactions.retain(|t| *t != transaction);
        }
        if answer.0 == Kind::DirectoryPart.number() {
            // Each counts generations by itself.
            let end = answer.2.iter().position(|b| *b == 0).unwrap();
            answer.2.drain(..end);
        }
        // The numbers of transactions are each one's own.
        answer.1 = u32::from(answer.1 != 0);
        let mut all: Vec<Vec<String>> = vec![Vec::new(); self.0.len()];
        let shown = |e: Vec<u8>| String::from_utf8_lossy(&e).replace('\0', " ");
        all[who].extend(events.into_iter().map(shown));
        for (raw, all) in self.0.iter_mut().zip(&mut all) {
            let (_, events) = raw.ask(Kind::GetDomainPath, 0, b"1\0");
            all.extend(events.into_iter().map(shown));
        }
        (answer, all)
    }
}

fn path(numbers: &mut Numbers, case: u64) -> String {
    let parts = ["a", "b", "c", "ab"];
    let mut path = match numbers.below(40) {
        0 => {
            return numbers
                .one(&["", "/", "//", "@introduceDomain", "@other", "/t/", "t//a", "/t/a b", "/local"])
                .to_owned();
        }
        1 => format!("/t{case}/{}", "x".repeat(2040 + numbers.below(12))),
        2 => "y".repeat(2040 + numbers.below(12)),
        3 => format!("/local/domain/7/{}", "z".repeat(2040 + numbers.below(12))),
        4..=12 => format!("t{case}"),
        _ => format!("/t{case}"),
    };
    for _ in 0..numbers.below(4) {
        path.push('/');
        path.push_str(numbers.one(&parts));
    }
    path
}

/// A request: kind and body.
fn request(numbers: &mut Numbers, case: u64) -> (Kind, Vec<u8>) {
    let mut name = path(numbers, case);
    name.push('\0');
    let mut body = name.into_bytes();
    let kind = match numbers.below(36) {
        0..=3 => Kind::Read,
        4 | 5 => Kind::Directory,
        6 | 7 => Kind::GetPerms,
        8..=14 => {
            body.extend_from_slice(numbers.one(&["", "1", "2", "a\0b"]).as_bytes());
            Kind::Write
        }
        15 | 16 => Kind::Mkdir,
        17..=19 => Kind::Rm,
        20..=22 => {
            for _ in 0..=numbers.below(3) {
                body.extend_from_slice(numbers.one(&["n0\0", "r5\0", "b6\0", "w7\0", "n5\0"]).as_bytes());
            }
            if numbers.below(12) == 0 {
                body.extend_from_slice(numbers.one(&["x5\0", "r\0"]).as_bytes());
            }
            Kind::SetPerms
        }
        23..=25 => {
            body.extend_from_slice(numbers.one(&["t\0", "u\0", "\0", "v"]).as_bytes());
            Kind::Watch
        }
        26 | 27 => {
            body.extend_from_slice(numbers.one(&["t\0", "u\0"]).as_bytes());
            Kind::Unwatch
        }
        28..=30 => {
            body = b"\0".to_vec();
            Kind::TransactionStart
        }
        31..=33 => {
            body = numbers.one(&["T\0", "T\0", "T\0", "F\0", "X\0", "T"]).as_bytes().to_vec();
            Kind::TransactionEnd
        }
        34 => {
            body.extend_from_slice(numbers.one(&["0\0", "2\0", "4\0", "1000\0"]).as_bytes());
            Kind::DirectoryPart
        }
        _ => {
            body = numbers.one(&["0\0", "5\0", "7\0", "x\0"]).as_bytes().to_vec();
            *[Kind::GetDomainPath, Kind::IsDomainIntroduced, Kind::Resume].get(numbers.below(3)).unwrap()
        }
    };
    // The permissions of special names are not modelled.
    let kind = if body.starts_with(b"@") && kind == Kind::SetPerms { Kind::Watch } else { kind };
    let kind = if body.starts_with(b"@") && kind == Kind::GetPerms { Kind::Read } else { kind };
    if numbers.below(60) == 0 && !body[..body.len() - 1].contains(&0) {
        // With its NUL: without, xenstored 4.17 answers with whatever error it had last, or stops for good (an assertion).
        body.truncate(numbers.below(body.len().max(1)));
        body.push(0);
    }
    // The root's children are not the walk's alone.
    if body.starts_with(b"/\0") {
        return (Kind::Read, b"/\0".to_vec());
    }
    (kind, body)
}

#[test]
#[ignore = "needs a real xenstored: tests/xenstored/run"]
fn the_same_requests_get_the_same_answers() {
    let real = std::env::var_os("REAL_XENSTORED").unwrap();
    let cases = std::env::var("CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(300_u64);
    let ours = Server::start(Settings::default()).unwrap();
    let (mut steps, mut differences) = (0_u32, Vec::new());
    for case in 1..=cases {
        let mut numbers = Numbers(case.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut sides = [Side::new(real.as_ref()), Side::new(ours.path())];
        let mut history = Vec::new();
        for _ in 0..120 {
            let who = numbers.below(3);
            let (kind, body) = request(&mut numbers, case);
            let slot = (numbers.below(3) > 0 && kind != Kind::TransactionStart).then(|| numbers.below(2));
            let open = slot.is_some_and(|slot| slot < sides[0].0[who].transactions.len());
            let slot = slot.filter(|_| open || numbers.below(20) == 0);
            let shown = format!(
                "{who}{} {kind} {:?}",
                slot.map_or(String::new(), |s| format!(".{s}")),
                String::from_utf8_lossy(&body)
            );
            history.push(if shown.len() > 100 { format!("{} ... {} bytes", &shown[..100], body.len()) } else { shown });
            let [theirs, ours] = sides.each_mut().map(|side| side.step(who, kind, slot, &body));
            steps += 1;
            // In a transaction that is bound to fail, as others have removed what its copies list, it cannot remove either.
            let bound = theirs.0.2 == b"EIO\0" || theirs.0.2 == b"EINVAL\0" && ours.0.2 == b"OK\0";
            if kind == Kind::Rm && bound && slot.is_some() {
                break;
            }
            if theirs != ours {
                let text = |(head, events): (Message, Vec<Vec<String>>)| {
                    format!("{} {:?}, events {events:?}", head.0, String::from_utf8_lossy(&head.2))
                };
                differences.push(format!(
                    "case {case}:\n  {}\n  real: {}\n  ours: {}",
                    history.join("\n  "),
                    text(theirs),
                    text(ours)
                ));
                break;
            }
        }
        if differences.len() >= 5 {
            break;
        }
    }
    println!("{steps} requests in {cases} walks");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
#[ignore = "needs a real xenstored: tests/xenstored/run"]
fn our_client_and_a_real_server() {
    let real = std::env::var_os("REAL_XENSTORED").unwrap();
    let mut client = Client::open(&Options::default().with_path(Some(real.into())), &|_| None).unwrap();
    client.rm("/client").unwrap();
    let names: Vec<String> = (0..1000).map(|n| format!("a-name-of-some-length-{n}")).collect();
    let paths: Vec<String> = names.iter().map(|n| format!("/client/{n}")).collect();
    for some in paths.chunks(100) {
        let pairs: Vec<(&str, &[u8])> = some.iter().map(|p| (p.as_str(), b"x".as_slice())).collect();
        client.write_all(&pairs).unwrap();
    }
    assert_eq!(client.directory("/client").unwrap(), Some(names));
    let all: Vec<&str> = paths.iter().map(String::as_str).collect();
    assert!(client.read_many(&all).unwrap().iter().all(|v| v.as_deref() == Some(b"x")));
    let begun = Instant::now();
    for _ in 0..200 {
        client.read_many(&all[..10]).unwrap();
    }
    println!("ten nodes of a real xenstored: {:?}", begun.elapsed() / 200);
    let wait = Duration::from_secs(5);
    client.watch("/client", "t").unwrap();
    assert_eq!(client.next_event(wait).unwrap().unwrap().path, "/client");
    client.rm("/client").unwrap();
    assert_eq!(client.next_event(wait).unwrap().unwrap().path, "/client");
}
