//! The server's side of one connection, without any I/O: bytes in, bytes out.

use crate::error::Errno;
use crate::snapshot::StorePermission;

use super::tree::{Caller, Tree};
use super::wire::{self, HEADER, Header, Kind, PAYLOAD_MAX};

/// One request as it came, for who wants to look at it ([`Session::feed`]) or compare conversations later
/// ([`Server::log`](super::server::Server::log)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request {
    /// Which connection, from 1 in the order in which they were accepted.
    pub connection: u32,
    /// The transaction, 0 outside of one.
    pub transaction: u32,
    /// What is asked for; `None` for a number that the protocol does not have.
    pub kind: Option<Kind>,
    /// The path, where there is one; else the first text of the request.
    pub path: String,
    /// What follows the path: the value of a write, permissions with a NUL after each, the token of a watch.
    pub value: Vec<u8>,
}

impl Request {
    fn of(connection: u32, head: &Header, payload: &[u8]) -> Request {
        let end = payload.iter().position(|b| *b == 0);
        let (path, value) = match end {
            Some(at) => (&payload[..at], payload.get(at.saturating_add(1)..).unwrap_or_default()),
            None => (payload, &payload[..0]),
        };
        Request {
            connection,
            transaction: head.transaction,
            kind: Kind::from_number(head.kind),
            path: String::from_utf8_lossy(path).into_owned(),
            value: value.to_vec(),
        }
    }
}

/// What is to be done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// What xenstored would do.
    Answer,
    /// Refuse it. The end of a transaction is refused after the transaction was forgotten.
    Refuse(Errno),
    /// Carry it out and say nothing.
    Silence,
    /// Carry it out and answer with bytes that are no message.
    Garbage,
    /// Carry it out, send half of the answer, and close.
    Truncate,
    /// Close at once.
    Close,
}

/// One connection: what has come in and makes no whole message yet, and what is to go out.
#[derive(Debug)]
pub struct Session {
    connection: u32,
    input: Vec<u8>,
    output: Vec<u8>,
    closed: bool,
}

impl Session {
    /// A connection that the tree knows under this number.
    pub fn new(connection: u32) -> Self {
        Session { connection, input: Vec::new(), output: Vec::new(), closed: false }
    }

    /// The number of the connection.
    pub fn connection(&self) -> u32 {
        self.connection
    }

    /// Whether the other side broke the protocol, so that the connection is to be closed once [`output`](Self::output)
    /// is sent.
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// What waits to be sent. Who has sent it takes it out.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Takes bytes that came in; carries out every request that is complete, in order. `judge` sees each before.
    ///
    /// A length of more than 4096 closes the connection, as nobody knows where the next message begins. No more than one
    /// message is kept.
    pub fn feed(&mut self, bytes: &[u8], tree: &mut Tree, judge: &mut dyn FnMut(&Request) -> Verdict) {
        if self.closed {
            return;
        }
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let mut rest = input.as_slice();
        while let Some(head) = Header::read(rest) {
            let Some(len) = head.payload() else {
                self.closed = true;
                return;
            };
            let end = HEADER.saturating_add(len);
            let Some(payload) = rest.get(HEADER..end) else { break };
            self.request(&head, payload, tree, judge);
            if self.closed {
                return;
            }
            rest = rest.get(end..).unwrap_or_default();
        }
        self.input = rest.to_vec();
    }

    /// Adds the events that wait for this connection. Who is told too much at once is cut off.
    pub(crate) fn take_events(&mut self, tree: &mut Tree) {
        for event in tree.events(self.connection) {
            // One that fits into no message is not sent; xenstored does the same.
            let parts: [&[u8]; 4] = [event.path.as_bytes(), b"\0", event.token.as_bytes(), b"\0"];
            let _ = wire::put(&mut self.output, Kind::WatchEvent, 0, 0, &parts);
        }
        self.closed |= tree.flooded(self.connection);
    }

    fn request(&mut self, head: &Header, payload: &[u8], tree: &mut Tree, judge: &mut dyn FnMut(&Request) -> Verdict) {
        let at = Caller { connection: self.connection, transaction: head.transaction };
        let verdict = judge(&Request::of(self.connection, head, payload));
        let result = match verdict {
            Verdict::Close => {
                self.closed = true;
                return;
            }
            Verdict::Refuse(errno) => {
                if head.kind == Kind::TransactionEnd.number() {
                    let _ = tree.end(at, false);
                }
                Err(errno)
            }
            _ => answer(at, head, payload, tree),
        };
        let before = self.output.len();
        let sent = match &result {
            Ok(body) => {
                // A kind that was answered is one that is known, and an answer that is too long is an error of its own.
                let kind = Kind::from_number(head.kind).unwrap_or(Kind::Error);
                wire::put(&mut self.output, kind, head.request, head.transaction, &[body])
            }
            Err(_) => false,
        };
        if !sent {
            let name = wire::error_name(result.err().unwrap_or(Errno::E2BIG));
            wire::put(&mut self.output, Kind::Error, head.request, head.transaction, &[name.as_bytes(), b"\0"]);
        }
        match verdict {
            Verdict::Silence => self.output.truncate(before),
            Verdict::Garbage => {
                self.output.truncate(before);
                self.output.extend_from_slice(&[0xa5; 64]);
            }
            Verdict::Truncate => {
                let half = self.output.len().saturating_sub(before) / 2;
                self.output.truncate(before.saturating_add(half));
                self.closed = true;
            }
            _ => {}
        }
        // The event that every new watch gets follows its answer at once.
        self.take_events(tree);
    }
}

const OK: &[u8] = b"OK\0";

/// What xenstored answers (`tools/xenstored/core.c`, `process_message`).
fn answer(at: Caller, head: &Header, payload: &[u8], tree: &mut Tree) -> Result<Vec<u8>, Errno> {
    let one = || wire::text(payload).ok_or(Errno::EINVAL);
    // xenstored reads numbers with `atoi`: what is no number is dom0.
    let number = |text: &str| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 { Ok(0) } else { text[..digits].parse::<u16>().map_err(|_| Errno::EINVAL) }
    };
    let texts = || wire::texts(payload).filter(|texts| texts.len() >= 2).ok_or(Errno::EINVAL);
    let two = || texts().and_then(|t| if t.len() == 2 { Ok((t[0], t[1])) } else { Err(Errno::EINVAL) });
    let done = |()| OK.to_vec();
    // Whatever is asked for in a transaction that does not exist: this comes first. These three do not look at it.
    let anywhere = [Kind::TransactionStart, Kind::Watch, Kind::Unwatch].map(Kind::number);
    if !anywhere.contains(&head.kind) && !tree.knows(at) {
        return Err(Errno::ENOENT);
    }
    match Kind::from_number(head.kind) {
        Some(Kind::Read) => tree.read(at, one()?),
        Some(Kind::Directory) => {
            let names = joined(&tree.directory(at, one()?)?);
            if names.len() > PAYLOAD_MAX { Err(Errno::E2BIG) } else { Ok(names) }
        }
        Some(Kind::DirectoryPart) => {
            let (path, offset) = two()?;
            let offset = offset.parse().map_err(|_| Errno::EINVAL)?;
            let (generation, names) = tree.listing(at, path)?;
            Ok(part(generation, &joined(&names), offset))
        }
        Some(Kind::GetPerms) => {
            let list = tree.permissions(at, one()?)?;
            Ok(joined(&list.into_iter().map(wire::permission_text).collect::<Vec<_>>()))
        }
        Some(Kind::SetPerms) => {
            let texts = texts()?;
            let list: Option<Vec<StorePermission>> = texts[1..].iter().map(|t| wire::permission(t)).collect();
            tree.set_permissions(at, texts[0], &list.ok_or(Errno::EINVAL)?).map(done)
        }
        Some(Kind::Write) => {
            let end = payload.iter().position(|b| *b == 0).ok_or(Errno::EINVAL)?;
            let path = std::str::from_utf8(&payload[..end]).map_err(|_| Errno::EINVAL)?;
            tree.write(at, path, payload.get(end.saturating_add(1)..).unwrap_or_default()).map(done)
        }
        Some(Kind::Mkdir) => tree.mkdir(at, one()?).map(done),
        Some(Kind::Rm) => tree.rm(at, one()?).map(done),
        Some(Kind::TransactionStart) => {
            let number = tree.start(at.connection)?;
            Ok(format!("{number}\0").into_bytes())
        }
        Some(Kind::TransactionEnd) => match one()? {
            "T" => tree.end(at, true).map(done),
            "F" => tree.end(at, false).map(done),
            _ => Err(Errno::EINVAL),
        },
        Some(Kind::Watch) => {
            let (path, token) = two()?;
            tree.watch(at.connection, path, token).map(done)
        }
        Some(Kind::Unwatch) => {
            let (path, token) = two()?;
            tree.unwatch(at.connection, path, token).map(done)
        }
        Some(Kind::ResetWatches) => {
            tree.reset(at.connection);
            Ok(OK.to_vec())
        }
        Some(Kind::GetDomainPath) => Ok(format!("/local/domain/{}\0", number(one()?)?).into_bytes()),
        Some(Kind::IsDomainIntroduced) => {
            let known = tree.is_introduced(number(one()?)?);
            Ok(if known { b"T\0".to_vec() } else { b"F\0".to_vec() })
        }
        Some(Kind::Introduce) => {
            let domid = number(texts()?[0])?;
            tree.introduce(at, domid).map(done)
        }
        Some(Kind::Release) => tree.release(at, number(one()?)?).map(done),
        Some(Kind::SetTarget) => {
            let (domid, target) = two()?;
            tree.set_target(at, number(domid)?, number(target)?).map(done)
        }
        Some(Kind::Resume) => tree.resume(at, number(one()?)?).map(done),
        // No command to the daemon is known here.
        Some(Kind::Control) => Err(Errno::EINVAL),
        Some(Kind::Error | Kind::WatchEvent) | None => Err(Errno::ENOSYS),
    }
}

fn joined<T: AsRef<str>>(texts: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    for text in texts {
        out.extend_from_slice(text.as_ref().as_bytes());
        out.push(0);
    }
    out
}

/// As many whole names from `offset` on as fit behind the generation; behind the last name of all stands an empty one.
fn part(generation: u64, names: &[u8], offset: usize) -> Vec<u8> {
    let mut out = format!("{generation}\0").into_bytes();
    let room = PAYLOAD_MAX.saturating_sub(out.len()).saturating_sub(1);
    let rest = names.get(offset..).unwrap_or_default();
    let whole = match rest.get(..room) {
        // All that is left fits.
        None => rest.len(),
        Some(fitting) => fitting.iter().rposition(|b| *b == 0).map_or(0, |at| at.saturating_add(1)),
    };
    out.extend_from_slice(&rest[..whole]);
    if whole == rest.len() {
        out.push(0);
    }
    out
}
