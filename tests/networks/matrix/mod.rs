//! Who reaches whom in each mode and family, by which way, and whom the other end sees: the matrix, expected and seen.
//!
//! `cargo test -p xennet-tests --test networks matrix -- --nocapture` prints it. Everything on the hosts is made by a
//! `networks.toml`, [`Host::start_network`](xennet_core::Host::start_network) and [`Host::attach`](xennet_core::Host::attach).
//!
//! A line that expects nothing would also be right where the picture is broken. So each of them has another one beside it, in
//! which the same packet arrives: because a route outside has been added, or the rules that keep it out have been taken away.

mod hosts;
mod leases;
mod modes;
mod picture;
mod probe;
mod table;

use std::net::IpAddr;

use xennet_tests::{in_netns, lease};

use picture::Both;
use table::Table;

/// The host's addresses on the LAN.
const DOM0: Both = ["192.168.0.3", "2001:db8::3"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn who_reaches_whom_in_each_mode() {
    in_netns("matrix::who_reaches_whom_in_each_mode", || {
        let mut table = Table::default();
        modes::all(&mut table);
        table.end();
    });
}

#[test]
fn guests_are_told_their_addresses_and_use_them() {
    let test = "matrix::guests_are_told_their_addresses_and_use_them";
    if lease::programs_are_here(test) {
        in_netns(test, leases::all);
    }
}

/// Two hosts on one LAN, with the same file, and guests with the same addresses behind each.
#[test]
fn two_hosts_with_the_same_file_do_not_disturb_each_other() {
    in_netns("matrix::two_hosts_with_the_same_file_do_not_disturb_each_other", hosts::all);
}
