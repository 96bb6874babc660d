//! Names and ids: streams, categories, event types, labels, event ids, and their limits.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher13_128};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::position::Position;

/// Longest stream name, in bytes of UTF-8.
pub const MAX_STREAM_NAME: usize = 512;
/// Longest event type, in bytes of UTF-8.
pub const MAX_EVENT_TYPE: usize = 255;
/// Longest tag, correlation id, causation id or content type, in bytes of UTF-8.
pub const MAX_LABEL: usize = 255;
/// Most tags on one event.
pub const MAX_TAGS: usize = 64;

/// The name of a stream, checked: 1 to 512 bytes of UTF-8 without control characters, not
/// beginning with `$` (reserved) or with `-` (an empty category).
///
/// ```
/// use annals::StreamName;
/// let name: StreamName = "Order-2024-0001".parse()?;
/// assert_eq!(name.category(), "Order");
/// assert!("".parse::<StreamName>().is_err());
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamName(Box<str>);

impl StreamName {
    /// Checks a name.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`] that says which rule the name breaks.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        check_stream_name(name)?;
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `-`, or the whole name where there is none.
    pub fn category(&self) -> &str {
        category_of(&self.0)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for StreamName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

/// What an event can be found by beside its stream, its type and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label<'a> {
    Tag(&'a str),
    Correlation(&'a str),
    Causation(&'a str),
}

impl<'a> Label<'a> {
    /// The number of its kind, by which equal texts of different kinds are kept apart.
    pub(crate) const fn kind(self) -> u8 {
        match self {
            Self::Tag(_) => 1,
            Self::Correlation(_) => 2,
            Self::Causation(_) => 3,
        }
    }

    pub(crate) const fn text(self) -> &'a str {
        match self {
            Self::Tag(text) | Self::Correlation(text) | Self::Causation(text) => text,
        }
    }
}

/// The category of a stream: the part of its name before the first `-`, or the whole name.
///
/// ```
/// assert_eq!(annals::category_of("File-lib/url-parse.c"), "File");
/// assert_eq!(annals::category_of("heartbeat"), "heartbeat");
/// ```
pub fn category_of(stream: &str) -> &str {
    // Names are short: looking at their bytes one by one is the fastest search.
    let end = stream.bytes().position(|byte| byte == b'-');
    end.and_then(|end| stream.get(..end)).unwrap_or(stream)
}

/// Checks a stream name without keeping it.
pub(crate) fn check_stream_name(name: &str) -> Result<()> {
    check_text("stream name", name, MAX_STREAM_NAME)?;
    if name.starts_with('$') {
        return Err(invalid("stream name", name, "names beginning with `$` are reserved"));
    }
    if name.starts_with('-') {
        return Err(invalid("stream name", name, "the category before the first `-` is empty"));
    }
    Ok(())
}

/// Checks a category, or what stream names shall begin with.
pub(crate) fn check_part_of_stream_name(part: &str) -> Result<()> {
    check_text("stream name", part, MAX_STREAM_NAME)
}

/// Checks an event type.
pub(crate) fn check_event_type(name: &str) -> Result<()> {
    check_text("event type", name, MAX_EVENT_TYPE)
}

/// Checks a tag, a correlation or causation id, or a content type; `what` names it in the error.
pub(crate) fn check_label(what: &'static str, label: &str) -> Result<()> {
    check_text(what, label, MAX_LABEL)
}

/// Checks the name of a cursor.
pub(crate) fn check_cursor_name(name: &str) -> Result<()> {
    check_text("cursor name", name, MAX_LABEL)
}

/// Checks the name of a view.
pub(crate) fn check_view_name(name: &str) -> Result<()> {
    check_text("view name", name, MAX_LABEL)
}

/// Checks the kind of a snapshot.
pub(crate) fn check_snapshot_kind(kind: &str) -> Result<()> {
    check_text("snapshot kind", kind, MAX_LABEL)
}

fn check_text(what: &'static str, text: &str, max: usize) -> Result<()> {
    if text.is_empty() {
        return Err(invalid(what, text, "it is empty"));
    }
    if text.len() > max {
        return Err(Error::LimitExceeded {
            what: Cow::Borrowed(match what {
                "stream name" => "bytes of a stream name",
                "event type" => "bytes of an event type",
                "cursor name" => "bytes of a cursor name",
                "view name" => "bytes of a view name",
                "snapshot kind" => "bytes of a snapshot kind",
                "tag" => "bytes of a tag",
                "correlation id" => "bytes of a correlation id",
                "causation id" => "bytes of a causation id",
                _ => "bytes of a content type",
            }),
            limit: max as u64,
            found: text.len() as u64,
        });
    }
    // Most names are of printable ASCII, and are told without decoding them.
    let is_plain = text.bytes().fold(true, |plain, byte| plain & (byte.wrapping_sub(0x20) < 0x5f));
    if !is_plain && text.chars().any(char::is_control) {
        return Err(invalid(what, text, "it contains a control character"));
    }
    Ok(())
}

fn invalid(what: &'static str, name: &str, why: &'static str) -> Error {
    Error::InvalidName { what, name: shown(name), why }
}

/// A name as error messages show it: control characters escaped, at most 64 characters.
pub(crate) fn shown(name: &str) -> String {
    const MAX_SHOWN: usize = 64;
    let mut text: String = name.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_SHOWN).is_some() {
        text.push_str("...");
    }
    text
}

/// The identity of an event, a UUID, unique for the store's whole life.
///
/// Give your own (derived from a request, say) to make an append safe to retry; the store assigns
/// one where none is given. The nil UUID is not an id.
///
/// ```
/// use annals::EventId;
/// let id: EventId = "6ba7b810-9dad-11d1-80b4-00c04fd430c8".parse()?;
/// assert_eq!(id.to_string(), "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

impl EventId {
    /// The id with these bytes, in the order in which they are written.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The bytes of the id, in the order in which they are written.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id that the store assigns to the event at a position, where the caller gave none: a
    /// UUID (version 8) of the position (60 bits) and a hash of it keyed with the salt of its
    /// segment (62 bits). It is computed wherever it is needed and stored nowhere. A position that
    /// is given again after a crash lies in another segment, so its event has another id.
    pub(crate) fn assigned(position: Position, salt: &[u8; 16]) -> Self {
        let hash = SipHasher13::new_with_key(salt).hash(&le_bytes(position.0.cast_signed()));
        let high = (position.0 >> 12) << 16 | 0x8000 | (position.0 & 0xfff);
        let low = 0b10 << 62 | hash >> 2;
        Self(Uuid::from_u64_pair(high, low))
    }

    /// The position that an assigned id speaks of; `None` for ids of another kind. Whether the
    /// event there really has this id is for the event to say.
    pub(crate) fn assigned_position(self) -> Option<Position> {
        let (high, low) = self.0.as_u64_pair();
        let is_ours = high >> 12 & 0xf == 8 && low >> 62 == 0b10;
        is_ours.then_some(Position((high >> 16) << 12 | (high & 0xfff)))
    }

    /// The id of an event that stands `distance` events from one whose id was given, in an append
    /// that gives only some: retrying the append derives the same ids again.
    pub(crate) fn derived(self, distance: i64) -> Self {
        let mut bytes = [0; 24];
        for (to, from) in
            bytes.iter_mut().zip(self.as_bytes().iter().copied().chain(le_bytes(distance)))
        {
            *to = from;
        }
        let hash = SipHasher13_128::new_with_key(b"annals derived 1").hash(&bytes);
        let high = hash.h1 & !0xf000 | 0x8000;
        let low = 0b10 << 62 | hash.h2 >> 2;
        Self(Uuid::from_u64_pair(high, low))
    }

    /// A further id that follows from this one and a name: the same each time, another for every
    /// other id or name (122 bits of a hash that keeps no secret). For what is caused by what has
    /// this id, so that doing it again is recognised.
    ///
    /// ```
    /// use annals::EventId;
    /// let paid = EventId::from_bytes([7; 16]);
    /// assert_eq!(paid.derive("ship"), paid.derive("ship"));
    /// assert_ne!(paid.derive("ship"), paid.derive("thank"));
    /// ```
    pub fn derive(self, name: &str) -> Self {
        let mut hasher = SipHasher13_128::new_with_key(b"annals caused  1");
        hasher.write(self.as_bytes());
        hasher.write(name.as_bytes());
        let hash = hasher.finish128();
        let high = hash.h1 & !0xf000 | 0x8000;
        let low = 0b10 << 62 | hash.h2 >> 2;
        Self(Uuid::from_u64_pair(high, low))
    }

    /// Whether this is the nil UUID, which no event can have.
    pub const fn is_nil(&self) -> bool {
        self.0.is_nil()
    }
}

/// The bytes of a number, least significant first, as hashes take them.
fn le_bytes(number: i64) -> [u8; 8] {
    let mut rest = number.cast_unsigned();
    std::array::from_fn(|_| {
        let byte = u8::try_from(rest & 0xff).unwrap_or(0);
        rest >>= 8;
        byte
    })
}

impl From<Uuid> for EventId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<EventId> for Uuid {
    fn from(id: EventId) -> Self {
        id.0
    }
}

impl FromStr for EventId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let uuid =
            Uuid::try_parse(text).map_err(|_| invalid("event id", text, "it is not a UUID"))?;
        Ok(Self(uuid))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_keep_their_rules() {
        for good in ["a", "Order-1", "Incident-INC 1/2.3", "\u{6771}\u{4eac}-1", "a-"] {
            assert!(StreamName::new(good).is_ok(), "{good}");
        }
        assert!(StreamName::new("x".repeat(512)).is_ok());
        for bad in ["", "$all", "-1", "a\nb", "a\u{7f}", "\u{85}"] {
            assert!(matches!(StreamName::new(bad), Err(Error::InvalidName { .. })), "{bad:?}");
        }
        let Err(Error::LimitExceeded { limit, found, .. }) = StreamName::new("x".repeat(513))
        else {
            panic!("513 bytes must be refused");
        };
        assert_eq!((limit, found), (512, 513));
    }

    #[test]
    fn the_category_ends_at_the_first_dash() {
        assert_eq!(category_of("Group-a-b"), "Group");
        assert_eq!(category_of("Group"), "Group");
        assert_eq!(category_of("Group-"), "Group");
    }

    #[test]
    fn shown_names_are_short_and_harmless() {
        assert_eq!(shown("a\nb"), "a\\nb");
        assert_eq!(shown(&"x".repeat(65)), format!("{}...", "x".repeat(64)));
    }

    #[test]
    fn assigned_ids_say_their_position_and_differ_by_salt() {
        for position in [1, 4095, 4096, 123_456_789, Position::MAX.0] {
            let id = EventId::assigned(Position(position), &[7; 16]);
            assert_eq!(id.assigned_position(), Some(Position(position)));
            assert_eq!(Uuid::from(id).get_version_num(), 8);
            assert_ne!(id, EventId::assigned(Position(position), &[8; 16]));
        }
        let random: EventId = "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap();
        assert_eq!(random.assigned_position(), None);
    }

    #[test]
    fn derived_ids_are_the_same_each_time_and_unlike_each_other() {
        let base: EventId = "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap();
        assert_eq!(base.derived(1), base.derived(1));
        assert_ne!(base.derived(1), base.derived(-1));
        assert_ne!(base.derived(1), base);
    }

    #[test]
    fn ids_that_follow_from_others_are_the_same_each_time_and_unlike_each_other() {
        let base: EventId = "6ba7b810-9dad-41d1-80b4-00c04fd430c8".parse().unwrap();
        let other: EventId = "6ba7b810-9dad-41d1-80b4-00c04fd430c9".parse().unwrap();
        // What is stored rests on it, so it stays what it is.
        assert_eq!(base.derive("ship").to_string(), "12c1df1d-fdb7-8bb8-b61b-2dc6d5ce9568");
        let mut ids: Vec<_> = ["", "a", "ab", "b"].map(|name| base.derive(name)).into();
        ids.extend(["", "a", "ab", "b"].map(|name| other.derive(name)));
        ids.extend([base, base.derived(1), base.derive("a").derive("b")]);
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert!(ids.iter().all(|id| *id == base || Uuid::from(*id).get_version_num() == 8));
    }

    #[test]
    fn ids_parse_or_say_why_not() {
        assert!("nonsense".parse::<EventId>().is_err());
        assert!(EventId::from_bytes([0; 16]).is_nil());
    }
}
