// xenstore against anything: arbitrary bytes as a server's answers and as a client's requests, and arbitrary operations on the
// tree against a naive model. The fuzz targets beside this file call these functions, and so does the bounded property test
// in `tests/xenstore_fuzz.rs`, which includes this file.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use xennet_core::Errno;
use xennet_core::snapshot::StorePermission;
use xennet_core::xenstore::server::{Session, Verdict};
use xennet_core::xenstore::tree::{Caller, Quota, Tree};
use xennet_core::xenstore::wire::{HEADER, Header, Kind, PAYLOAD_MAX, put};
use xennet_core::xenstore::{Client, Store, StoreErrorKind};

/// Bytes as the answers of a server. The first byte chooses what is asked for. The stream ends behind them, so that nothing
/// waits; an error is fine, a panic or a wrong success is not.
pub fn answers(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let Ok((ours, mut theirs)) = UnixStream::pair() else { return };
    // What does not fit into the buffer of the socket would wait for a reader.
    let bytes = &bytes[..bytes.len().min(60_000)];
    if theirs.write_all(bytes).and_then(|()| theirs.shutdown(Shutdown::Write)).is_err() {
        return;
    }
    let Ok(mut client) = Client::over(ours, Duration::from_secs(20)) else { return };
    let failed = match choice % 9 {
        0 => client.read("/a").err(),
        1 => client.read_many(&["/a", "b", "/c", "/d"]).err(),
        2 => client.directory("/a").err(),
        3 => client.permissions("/a").err(),
        4 => client.write_all(&[("/a", b"x"), ("/b", b"y")]).err(),
        5 => client.watch("/a", "t").err(),
        6 => client.next_event(Duration::from_secs(20)).err(),
        7 => client.domain_path(5).err(),
        _ => client.rm("/a").err(),
    };
    if let Some(e) = failed {
        assert!(!e.to_string().contains('\n'), "{e}");
        assert_ne!(e.kind(), StoreErrorKind::TimedOut, "the stream had ended: {e}");
        // Whatever it is now, it answers at once.
        let next = client.read("/b");
        if matches!(e.kind(), StoreErrorKind::Died) {
            assert_eq!(next.map_err(|e| e.kind()), Err(StoreErrorKind::Unusable));
        }
    }
}

/// Messages with the right numbers around arbitrary bodies, so that the readers behind the header are reached.
pub fn framed_answers(choice: u8, kinds: &[(u8, Vec<u8>)]) {
    let mut bytes = vec![choice];
    let mut request = 1;
    for (kind, body) in kinds {
        let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
        put(&mut bytes, kind, request, 0, &[&body[..body.len().min(PAYLOAD_MAX)]]);
        // Events have no request.
        request += u32::from(kind != Kind::WatchEvent);
    }
    answers(&bytes);
}

/// Bytes as the requests of a client, in pieces of any size, while another client is served.
pub fn requests(bytes: &[u8]) {
    let mut tree = Tree::with_quota(Quota::XENSTORED);
    let domid = u16::from(bytes.first().is_some_and(|b| b % 2 == 1)) * 5;
    let mut hostile = Session::new(tree.connect(domid));
    let mut other = Session::new(tree.connect(0));
    let step = usize::from(bytes.get(1).copied().unwrap_or(1)).max(1);
    let mut asked = 0_usize;
    for piece in bytes.get(2..).unwrap_or_default().chunks(step) {
        hostile.feed(piece, &mut tree, &mut |_| {
            asked += 1;
            Verdict::Answer
        });
    }
    // Every request has one answer (and events), each a whole message.
    let mut rest: &[u8] = hostile.output();
    let mut answered = 0_usize;
    while let Some(head) = Header::read(rest) {
        let len = head.payload().unwrap_or_else(|| panic!("an answer of {} bytes", head.len));
        answered += usize::from(head.kind != Kind::WatchEvent.number());
        rest = rest.get(HEADER + len..).unwrap_or_else(|| panic!("half an answer"));
    }
    assert!(rest.is_empty());
    assert_eq!(asked, answered);
    let mut ask = Vec::new();
    put(&mut ask, Kind::Read, 9, 0, &[b"/\0"]);
    other.feed(&ask, &mut tree, &mut |_| Verdict::Answer);
    assert_eq!(Header::read(other.output()).map(|h| (h.kind, h.request)), Some((Kind::Read.number(), 9)));
    consistent(&tree);
}

/// Messages with the right length around arbitrary bodies.
pub fn framed_requests(domid: u8, messages: &[(u8, u8, Vec<u8>)]) {
    let mut bytes = vec![domid, 7];
    for (index, (kind, transaction, body)) in messages.iter().enumerate() {
        let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
        let body = &body[..body.len().min(PAYLOAD_MAX)];
        put(&mut bytes, kind, u32::try_from(index).unwrap_or(0), u32::from(*transaction % 3), &[body]);
    }
    requests(&bytes);
}

/// Every node but the root has a parent that lists it, and no list has a name without a node.
fn consistent(tree: &Tree) {
    let nodes = tree.nodes();
    let mut view = tree.clone();
    let mut listed = 1_usize;
    for (path, node) in &nodes {
        assert!(!node.permissions.is_empty(), "{path} belongs to nobody");
        let children = view.directory(Caller::WORLD, path.as_str()).unwrap_or_default();
        for child in &children {
            let below = format!("{}/{child}", path.as_str().trim_end_matches('/'));
            assert!(below.parse().is_ok_and(|p| nodes.contains_key(&p)), "{below} is listed, but is not there");
        }
        listed += children.len();
    }
    assert_eq!(listed, nodes.len(), "each node is listed once");
}

/// The model: a map, and the rules in their plainest form.
#[derive(Debug, Default)]
struct Model(BTreeMap<String, (Vec<u8>, Vec<StorePermission>)>);

/// What was asked, and what came back.
type Answer = Result<Vec<Vec<u8>>, Errno>;

/// An operation of the walk.
#[derive(Clone, Debug)]
enum Op {
    Read(String),
    List(String),
    Permissions(String),
    Write(String, Vec<u8>),
    Mkdir(String),
    Rm(String),
    Permit(String, Vec<StorePermission>),
}

impl Op {
    /// Whether it changes something. A write of the same value is a change, too, for those who have read it.
    fn changes(&self) -> bool {
        !matches!(self, Op::Read(_) | Op::List(_) | Op::Permissions(_))
    }
}

fn above(path: &str) -> &str {
    match path.rfind('/') {
        Some(at) if at > 0 => &path[..at],
        _ => "/",
    }
}

impl Model {
    fn new() -> Self {
        Model(BTreeMap::from([(
            "/".into(),
            (Vec::new(), vec![StorePermission { domid: 0, read: false, write: false }]),
        )]))
    }

    /// (read, write, own)
    fn may(&self, domid: u16, path: &str) -> (bool, bool, bool) {
        let mut path = path;
        while !self.0.contains_key(path) {
            path = above(path);
        }
        let list = &self.0[path].1;
        if domid == 0 || list[0].domid == domid {
            return (true, true, true);
        }
        let entry = list[1..].iter().find(|p| p.domid == domid).unwrap_or(&list[0]);
        (entry.read, entry.write, false)
    }

    fn carry_out(&mut self, domid: u16, op: &Op) -> Answer {
        let (Op::Read(path)
        | Op::List(path)
        | Op::Permissions(path)
        | Op::Write(path, _)
        | Op::Mkdir(path)
        | Op::Rm(path)
        | Op::Permit(path, _)) = op;
        let (read, write, own) = self.may(domid, path);
        let allowed = match op {
            Op::Read(_) | Op::List(_) | Op::Permissions(_) => read,
            Op::Write(..) | Op::Mkdir(_) | Op::Rm(_) => write,
            Op::Permit(..) => own,
        };
        if !allowed {
            return Err(Errno::EACCES);
        }
        let there = self.0.contains_key(path);
        match op {
            Op::Write(_, value) => {
                self.make(domid, path);
                self.0.get_mut(path).expect("it was made").0 = value.clone();
            }
            Op::Mkdir(_) => self.make(domid, path),
            Op::Rm(_) if path == "/" => return Err(Errno::EINVAL),
            Op::Rm(_) if !there => {
                return if self.0.contains_key(above(path)) { Ok(vec![]) } else { Err(Errno::ENOENT) };
            }
            Op::Rm(_) => self.0.retain(|p, _| p != path && !p.starts_with(&format!("{path}/"))),
            _ if !there => return Err(Errno::ENOENT),
            Op::Read(_) => return Ok(vec![self.0[path].0.clone()]),
            Op::Permissions(_) => return Ok(self.0[path].1.iter().map(shown).collect()),
            Op::List(_) => {
                let names = self.0.keys().filter(|p| *p != "/" && above(p) == path);
                return Ok(names.map(|p| p.rsplit('/').next().unwrap_or("").as_bytes().to_vec()).collect());
            }
            Op::Permit(_, list) => {
                let now = &mut self.0.get_mut(path).expect("it is there").1;
                if domid != 0 && list[0].domid != now[0].domid {
                    return Err(Errno::EPERM);
                }
                *now = list.clone();
            }
        }
        Ok(vec![])
    }

    fn make(&mut self, domid: u16, path: &str) {
        if self.0.contains_key(path) {
            return;
        }
        self.make(domid, above(path));
        let mut list = self.0[above(path)].1.clone();
        if domid != 0 {
            list[0].domid = domid;
        }
        self.0.insert(path.to_owned(), (Vec::new(), list));
    }
}

fn shown(p: &StorePermission) -> Vec<u8> {
    xennet_core::xenstore::wire::permission_text(*p).into_bytes()
}

fn carry_out(tree: &mut Tree, at: Caller, op: &Op) -> Answer {
    match op {
        Op::Read(path) => tree.read(at, path).map(|v| vec![v]),
        Op::List(path) => tree.directory(at, path).map(|mut names| {
            names.sort();
            names.into_iter().map(String::into_bytes).collect()
        }),
        Op::Permissions(path) => tree.permissions(at, path).map(|list| list.iter().map(shown).collect()),
        Op::Write(path, value) => tree.write(at, path, value).map(|()| vec![]),
        Op::Mkdir(path) => tree.mkdir(at, path).map(|()| vec![]),
        Op::Rm(path) => tree.rm(at, path).map(|()| vec![]),
        Op::Permit(path, list) => tree.set_permissions(at, path, list).map(|()| vec![]),
    }
}

/// A walk: each byte string is read as operations of three connections (dom0, dom0, domain 5), in and out of transactions.
///
/// Outside of transactions, tree and model must agree in every answer. A transaction that ends well must have seen and done
/// exactly what it would have at the moment of its end, all at once; one that fails must have had a reason: some change by
/// somebody else since it began.
///
/// Returns how many transactions ended well, and how many failed.
pub fn walk(bytes: &[u8]) -> (u32, u32) {
    let mut tree = Tree::new();
    let mut model = Model::new();
    let callers: [(u32, u16); 3] = [(tree.connect(0), 0), (tree.connect(0), 0), (tree.connect(5), 5)];
    type Open = (u32, Vec<(Op, Answer)>, u64);
    let mut open: [Option<Open>; 3] = [None, None, None];
    let (mut well, mut failed) = (0, 0);
    let mut changes = 0_u64;
    let mut next = bytes.iter().copied();
    while let Some(choice) = next.next() {
        let who = usize::from(choice >> 6) % 3;
        let (connection, domid) = callers[who];
        let at = Caller::of(connection);
        let argument = next.next().unwrap_or(0);
        // Few names, so that walks meet: at most three levels of two names.
        let mut path = String::new();
        for level in 0..argument % 4 {
            path.push('/');
            path.push(if argument >> (2 + level) & 1 == 1 { 'a' } else { 'b' });
        }
        if path.is_empty() {
            path.push('/');
        }
        let entry = |bits: u8| StorePermission {
            domid: [0, 5, 6, 5][usize::from(bits & 3)],
            read: bits & 4 != 0,
            write: bits & 8 != 0,
        };
        let op = match choice % 32 {
            0..=5 => Op::Read(path),
            6..=8 => Op::List(path),
            9 | 10 => Op::Permissions(path),
            11..=16 => Op::Write(path, vec![argument >> 5]),
            17 | 18 => Op::Mkdir(path),
            19..=21 => Op::Rm(path),
            22..=24 => Op::Permit(path, vec![entry(choice ^ argument >> 4), entry(argument >> 2)]),
            25..=28 => {
                if open[who].is_none() {
                    open[who] = tree.start(connection).ok().map(|number| (number, Vec::new(), changes));
                }
                continue;
            }
            _ => {
                let Some((number, done, since)) = open[who].take() else { continue };
                let in_force = choice % 32 != 29;
                match tree.end(at.within(number), in_force) {
                    Ok(()) if in_force => {
                        for (op, answer) in &done {
                            assert_eq!(&model.carry_out(domid, op), answer, "{op:?} in {done:?}");
                        }
                        changes += u64::from(done.iter().any(|(op, _)| op.changes()));
                        well += 1;
                    }
                    Ok(()) => {}
                    Err(errno) => {
                        assert_eq!(errno, Errno::EAGAIN);
                        assert!(changes > since, "failed without a reason: {done:?}");
                        failed += 1;
                    }
                }
                agree(&tree, &model);
                continue;
            }
        };
        match &mut open[who] {
            Some((number, done, _)) => {
                let answer = carry_out(&mut tree, at.within(*number), &op);
                done.push((op, answer));
            }
            None => {
                let answer = carry_out(&mut tree, at, &op);
                assert_eq!(answer, model.carry_out(domid, &op), "{op:?} by domain {domid}");
                changes += u64::from(op.changes());
            }
        }
    }
    agree(&tree, &model);
    consistent(&tree);
    (well, failed)
}

fn agree(tree: &Tree, model: &Model) {
    let nodes: BTreeMap<String, _> =
        tree.nodes().into_iter().map(|(path, node)| (path.to_string(), (node.value, node.permissions))).collect();
    assert_eq!(nodes, model.0);
}
