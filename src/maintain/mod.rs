//! Layer 6: looking after a store: [`verify`] says whether all of it is what was written, and
//! [`repair`] makes a new store of what survives damage. Both read only; neither takes a lock.

mod carry;
mod derived;
mod identities;
mod plan;
mod repair;
mod report;
mod salvage;
mod survivors;
pub(crate) mod verify;
mod walk;

pub use carry::{KeptState, LeftBehind};
pub use repair::{Repair, repair};
pub use report::{Finding, Severity, VerifyReport};
pub use survivors::{LostRange, MovedRange, RepairReport, StreamGap};
pub use verify::{Verify, verify};
