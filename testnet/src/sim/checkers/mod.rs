//! Promises, one file each. A checker looks at a world and lists what is wrong; nothing is forgiven for being rare.

mod agreement;
mod calm;
mod durability;
mod equivocation;
mod receipts;

pub use agreement::agreement;
pub use calm::calm;
pub use durability::durability;
pub use equivocation::equivocation;
pub use receipts::{receipts, whole};

/// What is wrong, one sentence each.
pub type Faults = Vec<String>;
