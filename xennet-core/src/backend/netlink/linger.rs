//! Closing sockets in the background, so that the caller does not wait for the kernel's clean-up: in a copy of a process that ends, and
//! in a thread of a program that goes on.
//!
//! Closing a netfilter socket after something was removed waits for an RCU grace period, 4 to 18 ms
//! (`net/netfilter/nf_tables_api.c`, `nft_rcv_nl_event`), ten times as long as all the rest of a hotplug call. Whoever closes
//! the socket last waits.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::read;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::{Timespec, nanosleep};

use super::nft::Nft;

/// Keeps the descriptors of this process open in a copy of it until it has ended: what their closing waits for, it need not
/// wait for.
///
/// The copy is the last one to close a netfilter socket, and waits. It gives up standard input, output and error at once, so that a reader of
/// a pipe does not wait either, and ends a tenth of a second after this process at the most (and the grace period).
///
/// To be called as the last thing before the process ends, when it has released its locks (a copy would hold them, too).
///
/// # Errors
/// No process or no pipe can be had: then this process waits itself, and nothing is wrong otherwise.
#[expect(unsafe_code, reason = "a process is copied by fork(2), for which there is no safe form")]
pub fn close_in_background() -> io::Result<()> {
    let (ended, alive) = pipe_with(PipeFlags::CLOEXEC)?;
    // JUSTIFICATION: only another process can hold a descriptor longer than this one lives. Starting a program for that costs as
    // much as the call itself; a copy of this small process costs a tenth of a millisecond.
    // SAFETY: fork is dangerous where the copy goes on with what other threads have left half done. The copy does nothing but
    // close descriptors, read from one, sleep and end: system calls without allocation and without locks. It ends by _exit, so that
    // nothing that is to happen at the end of this process happens twice.
    unsafe {
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                for standard in 0..3 {
                    libc::close(standard);
                }
                drop(alive);
                // Returns when the last copy of the other end is closed: when this process is gone.
                let _ = read(&ended, &mut [0_u8; 1]);
                wait_for_the_clean_up();
                libc::_exit(0)
            }
            _ => {
                // The other end is closed by the end of this process, and no earlier.
                std::mem::forget(alive);
                Ok(())
            }
        }
    }
}

/// Sleeps until the next full tenth of a second.
///
/// Whoever waits in closing keeps all others from changing nftables meanwhile (it holds the commit mutex). By then the kernel
/// has mostly cleaned up; and where many calls follow each other their copies all close at one moment, at which one of them
/// waits for what was removed last, and the others for nothing.
fn wait_for_the_clean_up() {
    // By the C library: rustix calls the vDSO, which is missing under valgrind.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let left = TICK - i64::from(now.subsec_nanos()) % TICK;
    // Woken early it closes early: no harm but to speed.
    let _ = nanosleep(&Timespec { tv_sec: 0, tv_nsec: left });
}

const TICK: i64 = 100_000_000;

/// The sockets that a thread closes, and whether it is there.
struct Closing {
    sockets: Vec<Nft>,
    /// The process whose thread it is: a copy of the process (`fork(2)`) has this value, and no such thread.
    by: Option<u32>,
}

static CLOSING: Mutex<Closing> = Mutex::new(Closing { sockets: Vec::new(), by: None });

/// The most sockets in the queue. A caller that drops more within a tenth of a second closes them itself, and waits.
const KEPT: usize = 64;

/// Closes a netfilter socket in a thread, at the next full tenth of a second; the caller goes on.
///
/// The thread ends when there is nothing more to close. A program that ends meanwhile loses nothing: the end of a process closes
/// everything. Where no thread can be had, the caller waits.
pub(super) fn close_later(socket: Nft) {
    let here = std::process::id();
    let Some(mut closing) = closing() else { return drop(socket) };
    if closing.by.is_some_and(|by| by != here) {
        // This is a copy of the process, without the thread: its copies of the sockets are closed by a thread of its own.
        closing.by = None;
    }
    if closing.by.is_some() && closing.sockets.len() < KEPT {
        closing.sockets.push(socket);
        return;
    }
    if closing.by.is_none() {
        let thread = std::thread::Builder::new().name("xennet-close".into()).stack_size(STACK);
        if thread.spawn(close_all).is_ok() {
            closing.by = Some(here);
            closing.sockets.push(socket);
            return;
        }
    }
    drop(closing);
    drop(socket);
}

const STACK: usize = 256 * 1024;

fn close_all() {
    loop {
        wait_for_the_clean_up();
        let Some(mut closing) = closing() else { return };
        let sockets = std::mem::take(&mut closing.sockets);
        if sockets.is_empty() {
            closing.by = None;
            return;
        }
        drop(closing);
        drop(sockets);
    }
}

/// The list. In a copy of the process (`fork(2)`) it may stay locked by a thread that was not copied: then the caller goes without.
fn closing() -> Option<MutexGuard<'static, Closing>> {
    for _ in 0..1000 {
        match CLOSING.try_lock() {
            Ok(closing) => return Some(closing),
            Err(TryLockError::Poisoned(closing)) => return Some(PoisonError::into_inner(closing)),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}
