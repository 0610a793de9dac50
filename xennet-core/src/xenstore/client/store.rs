//! What is read and written: the requests of a [`Store`], in a transaction and outside of any.

use std::time::{Duration, Instant};

use super::{Ask, Client, Within, ack, nonsense, told};
use crate::budget::Budget;
use crate::error::Errno;
use crate::snapshot::StorePermission;
use crate::xenstore::wire::{self, Kind};
use crate::xenstore::{Store, StoreError, StoreErrorKind, check};

/// What is done with a transaction, as a verb.
const WHAT: &str = "carry out a transaction";
const BEGIN: &str = "begin a transaction";

/// How often a transaction is begun anew, and a long listing.
const TRIES: u32 = 1000;
const LISTINGS: u32 = 32;

/// The longest list of children that is put together from parts, in bytes.
const LIST_MAX: usize = 16 << 20;

impl Client {
    /// Does several things at once, or none of them. `work` runs again, from its start, if others have changed meanwhile
    /// what it looked at; what it does besides must bear that. If it fails, nothing is changed, and its error is returned.
    ///
    /// ```
    /// # use std::time::Duration;
    /// use xennet_core::xenstore::{Client, Options, Store, StoreError, server::Server};
    ///
    /// let server = Server::start(Default::default())?;
    /// let mut client = Client::open(&server.options(), &|_| None)?;
    /// let count = client.transaction(|t| {
    ///     let before = t.read("/count")?.unwrap_or_default();
    ///     let next = String::from_utf8_lossy(&before).parse().unwrap_or(0_u32).saturating_add(1);
    ///     t.write("/count", next.to_string().as_bytes())?;
    ///     Ok::<u32, StoreError>(next)
    /// })?;
    /// assert_eq!((count, client.read("/count")?.as_deref()), (1, Some(b"1".as_slice())));
    /// # Ok::<(), StoreError>(())
    /// ```
    ///
    /// # Errors
    /// The error of `work`; a [`StoreError`]; `EAGAIN` if others were faster again and again for half of the deadline.
    pub fn transaction<T, E: From<StoreError>>(
        &mut self,
        mut work: impl FnMut(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.none_open()?;
        let outside = self.outside();
        // A try that might not be finished in time is not begun: half of the time is for the last one.
        let begun = Instant::now();
        let last = begun.checked_add(outside.end.saturating_duration_since(begun) / 2).unwrap_or(begun);
        let mut tries = 0_u32;
        loop {
            tries = tries.saturating_add(1);
            let within = Within { transaction: self.started(outside)?, ..outside };
            match work(&mut Transaction { client: self, within }) {
                Ok(value) => match self.end(within, true) {
                    Ok(()) => return Ok(value),
                    Err(e) if again(&e) && tries < TRIES && Instant::now() < last => {
                        // Others are at it, too: give way, a little longer each time.
                        let pause = u64::from(tries.min(50)).saturating_mul(20);
                        std::thread::sleep(Duration::from_micros(pause));
                    }
                    Err(e) => return Err(e.into()),
                },
                Err(e) => {
                    // The error of the work is the one that matters; a server that is gone has forgotten it all anyway.
                    let _ = self.end(within, false);
                    return Err(e);
                }
            }
        }
    }

    /// Opens a transaction on this connection, for callers that cannot pass a closure; [`transaction`](Self::transaction) is easier.
    /// From now on what is read and written is in it, until [`commit`](Self::commit) or [`abort`](Self::abort).
    ///
    /// ```
    /// # use xennet_core::xenstore::{Client, Store, StoreError, server::Server};
    /// # let server = Server::start(Default::default())?;
    /// # let mut client = Client::open(&server.options(), &|_| None)?;
    /// loop {
    ///     client.begin()?;
    ///     let before = client.read("/count")?.unwrap_or_default();
    ///     let next = String::from_utf8_lossy(&before).parse().unwrap_or(0_u32).saturating_add(1);
    ///     client.write("/count", next.to_string().as_bytes())?;
    ///     if client.commit()? {
    ///         break; // else others have changed it meanwhile
    ///     }
    /// }
    /// assert_eq!(client.read("/count")?.as_deref(), Some(b"1".as_slice()));
    /// # Ok::<(), StoreError>(())
    /// ```
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if one is open already; a [`StoreError`].
    pub fn begin(&mut self) -> Result<(), StoreError> {
        self.none_open()?;
        self.open = Some(self.started(self.outside())?);
        Ok(())
    }

    /// Carries out what was written since [`begin`](Self::begin), all at once. `false` (`EAGAIN`): another client changed a node
    /// that the transaction used. Nothing was written; begin again. The transaction has ended in either case.
    ///
    /// # Errors
    /// [`StoreErrorKind::Invalid`] if none is open; a [`StoreError`].
    pub fn commit(&mut self) -> Result<bool, StoreError> {
        match self.ended(true) {
            Ok(()) => Ok(true),
            Err(e) if again(&e) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Gives up what was written since [`begin`](Self::begin).
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn abort(&mut self) -> Result<(), StoreError> {
        self.ended(false)
    }

    fn ended(&mut self, carries_out: bool) -> Result<(), StoreError> {
        let within = self.within();
        if self.open.take().is_none() {
            let rule = "none is open: it begins with begin";
            return Err(StoreError::new(StoreErrorKind::Invalid, Errno::EINVAL, WHAT, "", rule));
        }
        self.end(within, carries_out)
    }

    /// Refuses a second transaction within one: the server has none within others.
    fn none_open(&self) -> Result<(), StoreError> {
        match self.open {
            None => Ok(()),
            Some(_) => {
                let rule = "one is open already: commit or abort it first";
                Err(StoreError::new(StoreErrorKind::Invalid, Errno::EBUSY, BEGIN, "", rule))
            }
        }
    }

    /// The number of a new transaction.
    fn started(&mut self, outside: Within) -> Result<u32, StoreError> {
        self.one(BEGIN, outside, Kind::TransactionStart, ("", b""), |body| {
            let number = wire::text(body).and_then(|text| text.parse::<u32>().ok());
            number.filter(|n| *n != 0).ok_or("is not the number of a transaction")
        })
    }

    fn end(&mut self, within: Within, carries_out: bool) -> Result<(), StoreError> {
        self.one(WHAT, within, Kind::TransactionEnd, (if carries_out { "T" } else { "F" }, b""), ack)
    }

    fn read_in(&mut self, within: Within, paths: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        const WHAT: &str = "read";
        for path in paths {
            check::path(WHAT, path)?;
        }
        let asks: Vec<Ask<'_>> = paths.iter().map(|path| (*path, b"".as_slice())).collect();
        let mut values = Vec::with_capacity(paths.len());
        let mut refused = None;
        self.all(WHAT, within, Kind::Read, &asks, &mut |index, answer| match answer {
            Ok(value) => values.push(Some(value.to_vec())),
            Err(Errno::ENOENT) => values.push(None),
            Err(errno) => {
                refused.get_or_insert((index, errno));
            }
        })?;
        match refused {
            None => Ok(values),
            Some((index, errno)) => {
                Err(StoreError::refused(errno, WHAT, paths.get(index).copied().unwrap_or_default()))
            }
        }
    }

    fn write_in(&mut self, within: Within, pairs: &[(&str, &[u8])]) -> Result<(), StoreError> {
        const WHAT: &str = "write";
        for (path, value) in pairs {
            check::pair(WHAT, path, value)?;
        }
        let mut wrong = None;
        self.all(WHAT, within, Kind::Write, pairs, &mut |index, answer| {
            let path = pairs.get(index).map_or("", |pair| pair.0);
            let error = match answer {
                Ok(body) => ack(body).err().map(|not| nonsense(WHAT, path, not)),
                Err(errno) => Some(StoreError::refused(errno, WHAT, path)),
            };
            if wrong.is_none() {
                wrong = error;
            }
        })?;
        wrong.map_or(Ok(()), Err)
    }

    fn make_in(&mut self, within: Within, path: &str) -> Result<(), StoreError> {
        const WHAT: &str = "make";
        check::path(WHAT, path)?;
        self.one(WHAT, within, Kind::Mkdir, (path, b""), ack)
    }

    fn rm_in(&mut self, within: Within, path: &str) -> Result<(), StoreError> {
        const WHAT: &str = "remove";
        check::path(WHAT, path)?;
        found(self.one(WHAT, within, Kind::Rm, (path, b""), ack)).map(|_| ())
    }

    fn list_in(&mut self, within: Within, path: &str) -> Result<Option<Vec<String>>, StoreError> {
        const WHAT: &str = "list";
        check::path(WHAT, path)?;
        match self.one(WHAT, within, Kind::Directory, (path, b""), names) {
            Err(e) if e.kind() == StoreErrorKind::Refused && e.errno() == Errno::E2BIG => {
                found(self.parts(within, path))
            }
            listed => found(listed),
        }
    }

    /// A list that is too long for one message (`DIRECTORY_PART`). Begun anew if the node changes while it is read.
    fn parts(&mut self, within: Within, path: &str) -> Result<Vec<String>, StoreError> {
        const WHAT: &str = "list";
        for _ in 0..LISTINGS {
            let mut generation: Option<String> = None;
            let (mut list, mut offset) = (Vec::new(), 0_usize);
            loop {
                let rest = format!("{offset}\0");
                let (now, part) = self.one(WHAT, within, Kind::DirectoryPart, (path, rest.as_bytes()), |body| {
                    let mut texts = wire::texts(body).ok_or("is not a list of names")?.into_iter().map(str::to_owned);
                    let generation = texts.next().ok_or("has no generation")?;
                    Ok((generation, texts.collect::<Vec<_>>()))
                })?;
                if generation.as_ref().is_some_and(|before| *before != now) {
                    break;
                }
                generation = Some(now);
                if part.is_empty() {
                    return Err(nonsense(WHAT, path, "is a part without names and without an end"));
                }
                for name in part {
                    if name.is_empty() {
                        return Ok(list);
                    }
                    offset = offset.saturating_add(name.len()).saturating_add(1);
                    list.push(name);
                }
                if offset > LIST_MAX {
                    return Err(nonsense(WHAT, path, "is a list without an end"));
                }
                if Instant::now() >= within.end {
                    let reason = format!("the list did not end within {}", told(within.patience));
                    return Err(StoreError::new(StoreErrorKind::TimedOut, Errno::ETIMEDOUT, WHAT, path, reason));
                }
            }
        }
        Err(StoreError::refused(Errno::EAGAIN, WHAT, path))
    }

    fn permissions_in(&mut self, within: Within, path: &str) -> Result<Option<Vec<StorePermission>>, StoreError> {
        const WHAT: &str = "read the permissions of";
        check::path(WHAT, path)?;
        found(self.one(WHAT, within, Kind::GetPerms, (path, b""), |body| {
            let texts = wire::texts(body).filter(|texts| !texts.is_empty());
            let list: Option<Vec<_>> = texts.and_then(|texts| texts.into_iter().map(wire::permission).collect());
            list.ok_or("is not a list of permissions")
        }))
    }

    fn permit_in(&mut self, within: Within, path: &str, list: &[StorePermission]) -> Result<(), StoreError> {
        const WHAT: &str = "set the permissions of";
        check::permissions(WHAT, path, list)?;
        let mut rest = Vec::new();
        for permission in list {
            rest.extend_from_slice(wire::permission_text(*permission).as_bytes());
            rest.push(0);
        }
        self.one(WHAT, within, Kind::SetPerms, (path, &rest), ack)
    }
}

fn again(e: &StoreError) -> bool {
    e.kind() == StoreErrorKind::Refused && e.errno() == Errno::EAGAIN
}

/// A node that does not exist is no error, but nothing.
fn found<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == StoreErrorKind::Refused && e.errno() == Errno::ENOENT => Ok(None),
        Err(e) => Err(e),
    }
}

fn names(body: &[u8]) -> Result<Vec<String>, &'static str> {
    let texts = wire::texts(body).ok_or("is not a list of names")?;
    Ok(texts.into_iter().map(str::to_owned).collect())
}

/// An open transaction: what [`Client::transaction`] gives to its work. It is a [`Store`] of its own, which sees its own
/// changes.
#[derive(Debug)]
pub struct Transaction<'a> {
    client: &'a mut Client,
    within: Within,
}

macro_rules! store {
    ($name:ty, |$me:ident| $client:expr, $within:expr, |$pairs:ident| $write_all:expr) => {
        impl Store for $name {
            fn read_many(&mut self, paths: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
                let $me = self;
                $client.read_in($within, paths)
            }
            fn write(&mut self, path: &str, value: &[u8]) -> Result<(), StoreError> {
                let $me = self;
                $client.write_in($within, &[(path, value)])
            }
            fn write_all(&mut self, $pairs: &[(&str, &[u8])]) -> Result<(), StoreError> {
                let $me = self;
                $write_all
            }
            fn mkdir(&mut self, path: &str) -> Result<(), StoreError> {
                let $me = self;
                $client.make_in($within, path)
            }
            fn rm(&mut self, path: &str) -> Result<(), StoreError> {
                let $me = self;
                $client.rm_in($within, path)
            }
            fn directory(&mut self, path: &str) -> Result<Option<Vec<String>>, StoreError> {
                let $me = self;
                $client.list_in($within, path)
            }
            fn permissions(&mut self, path: &str) -> Result<Option<Vec<StorePermission>>, StoreError> {
                let $me = self;
                $client.permissions_in($within, path)
            }
            fn set_permissions(&mut self, path: &str, list: &[StorePermission]) -> Result<(), StoreError> {
                let $me = self;
                $client.permit_in($within, path, list)
            }
            fn set_budget(&mut self, budget: Budget) {
                let $me = self;
                $client.budget = Some(budget);
            }
        }
    };
}

store!(Client, |me| me, me.within(), |pairs| match pairs {
    // One write is all or nothing by itself.
    [] => Ok(()),
    [_, _, ..] if me.open.is_none() => me.transaction(|t| t.write_all(pairs)),
    _ => me.write_in(me.within(), pairs),
});
store!(Transaction<'_>, |me| me.client, me.within, |pairs| me.client.write_in(me.within, pairs));
