//! The command `xennet`; see the library of the same package.

use std::process::ExitCode;

/// A hotplug call has an arena; whatever else the command does has the C library's allocator.
#[global_allocator]
static ALLOCATOR: xennet_cli::arena::Allocator = xennet_cli::arena::Allocator;

fn main() -> ExitCode {
    xennet_cli::main()
}

/// Says that nobody knows where this thread's stack ends. At the start of a program the standard library asks this of the C
/// library, which reads and scans `/proc/self/maps` for it: only to put an overflow of the stack in words, where the signal
/// (SIGSEGV) says it as well. A static program has this function in the place of the C library's, whatever links it.
///
/// Source: `pthread_getattr_np(3)`: 0, or the number of an error.
#[cfg(target_feature = "crt-static")]
#[expect(unsafe_code, reason = "without a name of its own the linker could not take it for the C library's")]
// JUSTIFICATION: there is no other way to tell the standard library that it is not to ask, and its asking is a fifth of the
// system calls of a hotplug call.
// SAFETY: the name is the C library's, and so are the arguments, which are not touched; whoever calls it has to expect an error
// at any time (ENOMEM, or `/proc` that is not mounted).
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(_thread: usize, _attributes: *mut u8) -> i32 {
    38 // ENOSYS
}
