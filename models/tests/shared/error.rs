//! `annals::error`, as much of it as the watermark needs.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    Closed,
    Poisoned,
}
