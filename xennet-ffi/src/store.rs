//! xenstore.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use xennet_core::document::{Children, Permissions, StoreEvent};
use xennet_core::snapshot::StorePermission;
use xennet_core::xenstore::{Client, Options, Store as _, StoreError};
use xennet_core::{DomId, Error};

use crate::boundary::{fallible, free, given, read};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::shared::Shared;
use crate::text::{Text, read_json};

/// A connection to xenstored, owned by the caller.
///
/// Several threads may use one at once: their calls wait for each other, also for one that waits for an event. A transaction is that of
/// the connection, and so of all its threads. After a fork(2) it is the parent's alone, as a host is.
///
/// Paths are absolute, or relative to the home of the own domain. After a missed deadline or
/// a closed connection every further call fails at once with `XENNET_KIND_XENSTORE`: open another connection. After a refusal by xenstored the
/// connection can still be used.
pub struct Store {
    client: Shared<Client>,
    fd: i32,
}

impl Store {
    fn work<R>(&self, work: impl FnOnce(&mut Client) -> Result<R, StoreError>) -> Result<R, Error> {
        self.client.work(|client| work(client).map_err(Error::from))
    }
}

/// Connects to xenstored.
///
/// \param path The socket or device; NULL for the places where libxenstore looks, which its variables `XENSTORED_PATH` and `XENSTORED_RUNDIR` change.
/// \param path_len Its length in bytes; 0 for these places.
/// \param milliseconds How long a request and its answer may take, and a whole transaction; 0 for 10 s.
/// \param store Gets the handle.
/// \return NULL on success; else `XENNET_KIND_XENSTORE`, with every place that was tried.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_new(
    path: Chars,
    path_len: usize,
    milliseconds: u32,
    store: Option<&mut MaybeUninit<Option<Box<Store>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_store_new", || {
        let store = given(store, "store")?;
        let path = cast::path(&path, path_len, "path")?;
        let mut options = Options::default();
        if !path.is_empty() {
            options.path = Some(path.into());
        }
        if milliseconds > 0 {
            options.deadline = Duration::from_millis(milliseconds.into());
        }
        let client = Client::open(&options, &|name| std::env::var_os(name))?;
        let fd = client.as_fd().as_raw_fd();
        store.write(Some(Box::new(Store { client: Shared::new("store", client), fd })));
        Ok(())
    })
}

/// Closes a connection. A transaction that is open is given up, and watches end. NULL is fine. No other thread may be using it.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_free(store: Option<Box<Store>>) {
    free(store);
}

/// Reads the value of a node.
///
/// \param store The connection.
/// \param path The node.
/// \param path_len Its length in bytes.
/// \param value Gets the bytes of the value as they are; NULL if there is no such node.
/// \return NULL on success; else `XENNET_KIND_XENSTORE`; `XENNET_KIND_INVALID` for a text that is no path of xenstore.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_read(
    store: Option<&Store>,
    path: Chars,
    path_len: usize,
    value: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_store_read", || {
        let (store, value) = (given(store, "store")?, given(value, "value")?);
        let path = cast::text(&path, path_len, "path")?;
        value.write(store.work(|client| client.read(path))?.map(|bytes| Box::new(Text::of(bytes))));
        Ok(())
    })
}

/// Sets the value of a node. Creates the node and its parents if they do not exist.
///
/// \param store The connection.
/// \param path The node.
/// \param path_len Its length in bytes.
/// \param value The bytes.
/// \param value_len How many.
/// \return NULL on success; else an error as of `xennet_store_read`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_write(
    store: Option<&Store>,
    path: Chars,
    path_len: usize,
    value: Chars,
    value_len: usize,
) -> Option<Box<Failure>> {
    fallible("xennet_store_write", || {
        let store = given(store, "store")?;
        let path = cast::text(&path, path_len, "path")?;
        let value = cast::bytes(&value, value_len, "value")?;
        store.work(|client| client.write(path, value))
    })
}

/// Creates a node with an empty value, and its parents. A node that exists is left as it is.
///
/// \param store The connection.
/// \param path The node.
/// \param path_len Its length in bytes.
/// \return NULL on success; else an error as of `xennet_store_read`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_mkdir(store: Option<&Store>, path: Chars, path_len: usize) -> Option<Box<Failure>> {
    fallible("xennet_store_mkdir", || {
        let store = given(store, "store")?;
        let path = cast::text(&path, path_len, "path")?;
        store.work(|client| client.mkdir(path))
    })
}

/// Removes a node and all nodes below it. Succeeds if there is no such node.
///
/// \param store The connection.
/// \param path The node.
/// \param path_len Its length in bytes.
/// \return NULL on success; else an error as of `xennet_store_read`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_remove(store: Option<&Store>, path: Chars, path_len: usize) -> Option<Box<Failure>> {
    fallible("xennet_store_remove", || {
        let store = given(store, "store")?;
        let path = cast::text(&path, path_len, "path")?;
        store.work(|client| client.rm(path))
    })
}

/// Lists the children of a node.
///
/// \param store The connection.
/// \param path The node.
/// \param path_len Its length in bytes.
/// \param document Gets a JSON document, `{"children": ["0", "1"]}`; NULL if there is no such node.
/// \return NULL on success; else an error as of `xennet_store_read`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_directory(
    store: Option<&Store>,
    path: Chars,
    path_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_store_directory", || {
        let (store, document) = (given(store, "store")?, given(document, "document")?);
        let path = cast::text(&path, path_len, "path")?;
        let children = store.work(|client| client.directory(path))?;
        document.write(children.map(|children| Box::new(Text::json(&Children::of(children)))));
        Ok(())
    })
}

/// Reads the permissions of a node.
///
/// \param store The connection.
/// \param path The node.
/// \param path_len Its length in bytes.
/// \param document Gets a JSON document, `{"permissions": [{"domid": 0, "read": false, "write": false}]}`: the first names the owner, and
///   says what domains that are not in the list may do. NULL if there is no such node.
/// \return NULL on success; else an error as of `xennet_store_read`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_permissions(
    store: Option<&Store>,
    path: Chars,
    path_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_store_permissions", || {
        let (store, document) = (given(store, "store")?, given(document, "document")?);
        let path = cast::text(&path, path_len, "path")?;
        let list = store.work(|client| client.permissions(path))?;
        document.write(list.map(|list| Box::new(Text::json(&Permissions::of(list)))));
        Ok(())
    })
}

/// Sets the permissions of a node.
///
/// \param store The connection.
/// \param path The node.
/// \param path_len Its length in bytes.
/// \param permissions A JSON document, the list of `xennet_store_permissions`: `[{"domid": 0, "read": true, "write": false}]`.
/// \param permissions_len Its length in bytes.
/// \return NULL on success; else an error as of `xennet_store_read`; `ENOENT` if there is no such node.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_set_permissions(
    store: Option<&Store>,
    path: Chars,
    path_len: usize,
    permissions: Chars,
    permissions_len: usize,
) -> Option<Box<Failure>> {
    fallible("xennet_store_set_permissions", || {
        let store = given(store, "store")?;
        let path = cast::text(&path, path_len, "path")?;
        let text = cast::text(&permissions, permissions_len, "permissions")?;
        let list: Vec<StorePermission> = read_json(text, "permissions")?;
        store.work(|client| client.set_permissions(path, &list))
    })
}

/// Opens a transaction on the connection: what is read and written from now on is in it, until `xennet_store_commit` or
/// `xennet_store_abort`.
///
/// \param store The connection.
/// \return NULL on success; else `XENNET_KIND_INVALID` if one is open already; an error as of `xennet_store_read`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_begin(store: Option<&Store>) -> Option<Box<Failure>> {
    fallible("xennet_store_begin", || given(store, "store")?.work(Client::begin))
}

/// Commits what was written since `xennet_store_begin`, all at once. The transaction ends, whatever the result.
///
/// \param store The connection.
/// \param committed Gets 1; 0 if another client has changed what the transaction read or wrote: then nothing was written, and the caller begins a
///   new transaction.
/// \return NULL on success; else `XENNET_KIND_INVALID` if none is open; an error as of `xennet_store_read`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_commit(
    store: Option<&Store>,
    committed: Option<&mut MaybeUninit<u32>>,
) -> Option<Box<Failure>> {
    fallible("xennet_store_commit", || {
        let (store, committed) = (given(store, "store")?, given(committed, "committed")?);
        committed.write(u32::from(store.work(Client::commit)?));
        Ok(())
    })
}

/// Ends the transaction and discards what was written since `xennet_store_begin`.
///
/// \param store The connection.
/// \return NULL on success; else an error as of `xennet_store_commit`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_abort(store: Option<&Store>) -> Option<Box<Failure>> {
    fallible("xennet_store_abort", || given(store, "store")?.work(Client::abort))
}

/// Watches a node and all nodes below it, or `\@introduceDomain` or `\@releaseDomain`. The first event comes at once.
///
/// \param store The connection.
/// \param path The node.
/// \param path_len Its length in bytes.
/// \param token A word that comes with each event.
/// \param token_len Its length in bytes.
/// \return NULL on success; else an error as of `xennet_store_read`; `EEXIST` for a path and token that are watched already.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_watch(
    store: Option<&Store>,
    path: Chars,
    path_len: usize,
    token: Chars,
    token_len: usize,
) -> Option<Box<Failure>> {
    fallible("xennet_store_watch", || {
        let store = given(store, "store")?;
        let (path, token) = (cast::text(&path, path_len, "path")?, cast::text(&token, token_len, "token")?);
        store.work(|client| client.watch(path, token))
    })
}

/// Removes a watch. Events that xenstored has sent already may still come.
///
/// \param store The connection.
/// \param path The node.
/// \param path_len Its length in bytes.
/// \param token The token that `xennet_store_watch` was given.
/// \param token_len Its length in bytes.
/// \return NULL on success; else an error as of `xennet_store_read`; `ENOENT` if there is no such watch.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_unwatch(
    store: Option<&Store>,
    path: Chars,
    path_len: usize,
    token: Chars,
    token_len: usize,
) -> Option<Box<Failure>> {
    fallible("xennet_store_unwatch", || {
        let store = given(store, "store")?;
        let (path, token) = (cast::text(&path, path_len, "path")?, cast::text(&token, token_len, "token")?);
        store.work(|client| client.unwatch(path, token))
    })
}

/// The descriptor to poll for events: it is readable when xenstored has sent something. It belongs to the connection: do not read from it or close it.
///
/// Before polling, call `xennet_store_next_event` until it gives NULL: the library may have read events along with an answer.
///
/// \return -1 if `store` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_fd(store: Option<&Store>) -> i32 {
    read(store, |store| crate::boundary::Descriptor(store.fd)).0
}

/// The next event of a watch.
///
/// \param store The connection.
/// \param milliseconds How long to wait for one; 0 for not at all.
/// \param document Gets a JSON document, `{"path": "backend/vif/5/0/state", "token": "mine"}`; NULL if none came within this time. The path is
///   relative if that of the watch is.
/// \return NULL on success; else an error as of `xennet_store_read`; once, with `ENOBUFS`, if so many events came between two calls that some were
///   thrown away: look at everything anew.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_next_event(
    store: Option<&Store>,
    milliseconds: u32,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_store_next_event", || {
        let (store, document) = (given(store, "store")?, given(document, "document")?);
        let event = store.work(|client| client.next_event(Duration::from_millis(milliseconds.into())))?;
        document.write(event.map(|event| Box::new(Text::json(&StoreEvent::of(event)))));
        Ok(())
    })
}

/// The home of a domain: `/local/domain/5`. Says nothing about whether the domain exists.
///
/// \param store The connection.
/// \param domid The domain's number, 0 to 32751.
/// \param path Gets the path.
/// \return NULL on success; else an error as of `xennet_store_read`; `XENNET_KIND_INVALID` for a number that no domain has.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_store_domain_path(
    store: Option<&Store>,
    domid: u32,
    path: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_store_domain_path", || {
        let (store, path) = (given(store, "store")?, given(path, "path")?);
        let domid = DomId::new(domid)?;
        let home = store.work(|client| client.domain_path(domid.get()))?;
        path.write(Some(Box::new(Text::new(&home))));
        Ok(())
    })
}
