//! A xenstored to try things out with, where there is no Xen: `cargo run -p xennet-examples --bin xenstored -- SOCKET`.
//!
//! It serves until it is ended. Programs find it by `XENSTORED_PATH=SOCKET`: xennet, and Xen's own `xenstore-read` and
//! `xenstore-write` alike.

use xennet_core::Error;
use xennet_core::xenstore::server::{Server, Settings};

fn main() -> Result<(), Error> {
    let path = std::env::args_os().nth(1).map(Into::into);
    let server = Server::start(Settings::default().with_path(path))?;
    println!("{}", server.path().display());
    loop {
        std::thread::park();
    }
}
