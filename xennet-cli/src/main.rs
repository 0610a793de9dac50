//! The command `xennet`; see the library of the same package.

use std::process::ExitCode;

fn main() -> ExitCode {
    xennet_cli::main()
}
