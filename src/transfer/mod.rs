//! Layer 8: events in and out as JSON lines (feature `transfer`). Builds on the store's public
//! calls alone; nothing in the library imports it.
//!
//! One line is one event:
//!
//! ```json
//! {"global_position":42,"stream_id":"Order-abc","version":1,
//! "event_id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","event_type":"OrderPlaced",
//! "schema_version":1,"created_at":"2026-01-15T10:30:00.000000Z",
//! "data":{"total":42},"metadata":{"correlation_id":"r-1"},"tags":["customer:7"]}
//! ```
//!
//! (without line breaks in it), with these fields:
//!
//! | field | short name | on import |
//! |---|---|---|
//! | `stream_id` | `stream` | required |
//! | `event_type` | `type` | required |
//! | `event_id` | `id` | a UUID; where absent it is derived, see [`Import`] |
//! | `created_at` | `time` | RFC 3339 with any offset; where absent the time of the commit |
//! | `schema_version` | | 1 where absent |
//! | `content_type` | | where absent, JSON beside `data` and bytes beside `data_base64` |
//! | `data` | | any JSON value, kept byte by byte |
//! | `data_base64` | | data that is not one-line JSON; no data where both are absent |
//! | `metadata` | | any JSON value, kept byte by byte apart from the two ids |
//! | `metadata_base64` | | metadata that is not; `metadata` then has only the ids |
//! | `tags` | | strings |
//! | `global_position`, `version` | | accepted, not used: the store assigns its own |
//!
//! The correlation and causation ids of an event stand in `metadata` as `correlation_id` and
//! `causation_id`, written first. Import lifts them out from there (from `correlationId` and
//! `causationId` too, and also where they stand beside `metadata`), so the stored metadata does
//! not repeat them; `null` is not an id and stays. Metadata of which nothing is left is stored as
//! none, and no metadata is written as `{}`.
//!
//! The lines of [`export`] imported into an empty store make an identical store: the same
//! positions, versions, ids and times, and a second export of the same bytes. Imported behind
//! other events, they get the positions and versions that are next there.

mod export;
mod import;
mod line;
mod metadata;
mod outcome;
mod time;

pub use export::{export, write_event, write_event_as};
pub use import::Import;
pub use line::{is_one_line_json, parse_line};
pub use outcome::{ExportError, ImportError, ImportErrorCause, Imported, LineError};
pub use time::{format_time, parse_time};
