//! The ledger of DOTS, sans-IO. So far: the receipt, the co-signed record of one answered call
//! (docs/spec/6-receipts.md).

pub mod core;
pub mod limits;
pub mod receipt;
pub mod tables;
