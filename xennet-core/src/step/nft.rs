//! nftables transactions.

use serde::{Deserialize, Serialize};

use crate::snapshot::NftTableId;

/// Changes of one nftables table that happen together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NftTransaction {
    /// The table.
    pub table: NftTableId,
    /// The changes, in order.
    pub ops: Vec<NftOp>,
}

/// One change within an [`NftTransaction`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftOp {
    /// Makes the table; an existing one stays.
    AddTable,
    /// Removes the table with all that is in it.
    DelTable,
}
