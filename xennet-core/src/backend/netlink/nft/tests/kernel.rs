//! Whole tables: written, read back, and listed by the `nft` tool.

use super::super::Nft;
use super::fixtures::{guard, ip, making, nat};
use super::{in_netns, nft};
use crate::error::Errno;
use crate::snapshot::*;
use crate::step::{NftOp, NftTransaction, Step, step};

macro_rules! here {
    ($test:ident) => {
        if !in_netns(concat!(module_path!(), "::", stringify!($test)).split_once("::").unwrap().1) {
            return;
        }
    };
}
pub(super) use here;

#[test]
fn tables_are_read_back_as_they_were_written() {
    here!(tables_are_read_back_as_they_were_written);
    let mut kernel = Nft::open().unwrap();
    let mut world = Snapshot::default();
    for (id, table) in [guard(), nat()] {
        assert_eq!(kernel.observe(&id), Ok(None));
        let transaction = making(&id, &table);
        kernel.apply(&transaction).unwrap();
        assert_eq!(kernel.observe(&id).unwrap().as_ref(), Some(&table));
        step(&mut world, &Step::Nft(transaction)).unwrap();
        assert_eq!(world.nft.get(&id), Some(&table));
    }
    assert_eq!(kernel.observe_own().unwrap(), world.nft);
}

#[test]
fn nft_lists_what_we_wrote() {
    here!(nft_lists_what_we_wrote);
    let mut kernel = Nft::open().unwrap();
    for (id, table) in [guard(), nat()] {
        kernel.apply(&making(&id, &table)).unwrap();
    }
    let Some(listing) = nft(&["list", "ruleset"]) else { return };
    eprintln!("{listing}");
}
