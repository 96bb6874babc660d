//! The entry of one event inside a frame.
//!
//! Its checksum stands in the frame's head, which ties it to its place; see `frame`.

use super::Invalid;
use super::codec::{Cursor, Put};
use crate::event::{BINARY, JSON, Near, Parts, Span, TYPE_AT};
use crate::names::EventId;
use crate::new_event::NewEvent;
use crate::position::Timestamp;

/// Which optional fields an entry has, in the order in which they follow the fixed bytes.
mod flag {
    pub(super) const ID: u16 = 1 << 0;
    pub(super) const CREATED_AT: u16 = 1 << 1;
    pub(super) const SCHEMA_VERSION: u16 = 1 << 2;
    pub(super) const CONTENT_TYPE: u16 = 1 << 3;
    pub(super) const CORRELATION: u16 = 1 << 4;
    pub(super) const CAUSATION: u16 = 1 << 5;
    pub(super) const TAGS: u16 = 1 << 6;
    pub(super) const METADATA: u16 = 1 << 7;
    /// The data is JSON; has no field.
    pub(super) const JSON: u16 = 1 << 8;
    /// All that this version knows. Encrypted and redacted entries will have flags of their own.
    pub(super) const KNOWN: u16 = (1 << 9) - 1;
}

/// Appends the entry of an event, with the id that it is to carry, if any. The event was checked.
pub(crate) fn put_entry(out: &mut Vec<u8>, event: &NewEvent, id: Option<EventId>) {
    let content_type = match event.content_type.as_ref() {
        JSON | BINARY => "",
        other => other,
    };
    let correlation = event.correlation.as_deref().unwrap_or_default();
    let causation = event.causation.as_deref().unwrap_or_default();
    let flags = [
        (flag::ID, id.is_some()),
        (flag::CREATED_AT, event.created_at.is_some()),
        (flag::SCHEMA_VERSION, event.schema_version != 1),
        (flag::CONTENT_TYPE, !content_type.is_empty()),
        (flag::CORRELATION, !correlation.is_empty()),
        (flag::CAUSATION, !causation.is_empty()),
        (flag::TAGS, !event.tags.is_empty()),
        (flag::METADATA, !event.metadata.is_empty()),
        (flag::JSON, event.content_type == JSON),
    ]
    .into_iter()
    .fold(0, |flags, (bit, set)| if set { flags | bit } else { flags });

    out.put_u16(flags);
    put_text(out, &event.event_type);
    if let Some(id) = id {
        out.put(id.as_bytes());
    }
    if let Some(time) = event.created_at {
        out.put_i64(time.as_micros());
    }
    if flags & flag::SCHEMA_VERSION != 0 {
        out.put_u32(event.schema_version);
    }
    for text in [content_type, correlation, causation] {
        if !text.is_empty() {
            put_text(out, text);
        }
    }
    if flags & flag::TAGS != 0 {
        let bytes: usize = event.tags.iter().map(|tag| 1 + tag.len()).sum();
        out.put_u16(u16::try_from(bytes).unwrap_or(u16::MAX));
        for tag in &event.tags {
            put_text(out, tag);
        }
    }
    if flags & flag::METADATA != 0 {
        out.put_u32(u32::try_from(event.metadata.len()).unwrap_or(u32::MAX));
        out.put(&event.metadata);
    }
    out.put(&event.data);
}

/// A text of at most 255 bytes behind its length.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u8(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.put(text.as_bytes());
}

/// Reads an entry whose checksum has been verified, and which begins at `start` in its frame.
#[inline]
pub(crate) fn parts(entry: &[u8]) -> Result<Parts, Invalid> {
    let mut reader = Reader { cursor: Cursor::new(entry), bytes: entry };
    let flags = reader.cursor.u16().ok_or_else(cut)?;
    if flags & !flag::KNOWN != 0 {
        return Err(Invalid::unsupported(
            "entries with known flags",
            format!("entry flags {flags:#x}"),
        ));
    }
    let has = |bit: u16| flags & bit != 0;
    if flags & !(flag::ID | flag::JSON) == 0 {
        // Most have nothing else, and are told without a part that is written twice.
        reader.text()?;
        reader.near(if has(flag::ID) { 16 } else { 0 })?;
        return Ok(Parts {
            has_id: has(flag::ID),
            json: has(flag::JSON),
            schema_version: 1,
            data_at: u32::try_from(reader.cursor.offset()).map_err(|_| cut())?,
            ..Parts::default()
        });
    }
    let mut parts = Parts { json: has(flag::JSON), schema_version: 1, ..Parts::default() };
    let event_type = reader.text()?;
    debug_assert_eq!(event_type, TYPE_AT);
    if has(flag::ID) {
        parts.has_id = true;
        reader.near(16)?;
    }
    if has(flag::CREATED_AT) {
        let micros = reader.cursor.i64().ok_or_else(cut)?;
        (parts.created_at, parts.has_time) = (Timestamp::from_micros(micros), true);
    }
    if has(flag::SCHEMA_VERSION) {
        parts.schema_version = reader.cursor.u32().ok_or_else(cut)?;
    }
    if has(flag::CONTENT_TYPE) {
        parts.content_type = reader.text()?;
    }
    if has(flag::CORRELATION) {
        parts.correlation = reader.text()?;
    }
    if has(flag::CAUSATION) {
        parts.causation = reader.text()?;
    }
    if has(flag::TAGS) {
        let len = reader.cursor.u16().ok_or_else(cut)?;
        parts.tags = reader.tags(len)?;
    }
    if has(flag::METADATA) {
        let len = reader.cursor.u32().ok_or_else(cut)?;
        parts.metadata = reader.span(len)?;
    }
    parts.data_at = u32::try_from(reader.cursor.offset()).map_err(|_| cut())?;
    Ok(parts)
}

/// Whether bytes are a name: most are plain ASCII, which is told faster than UTF-8.
#[inline]
pub(crate) fn is_name(text: &[u8]) -> bool {
    !text.is_empty() && (text.is_ascii() || str::from_utf8(text).is_ok())
}

fn cut() -> Invalid {
    Invalid::new("a whole event entry", "one that ends inside a field")
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    bytes: &'a [u8],
}

impl Reader<'_> {
    #[inline]
    fn span(&mut self, len: u32) -> Result<Span, Invalid> {
        let at = u32::try_from(self.cursor.offset()).map_err(|_| cut())?;
        self.cursor.take(len as usize).ok_or_else(cut)?;
        Ok(Span { start: at, len })
    }

    #[inline]
    fn near(&mut self, len: u16) -> Result<Near, Invalid> {
        let at = u16::try_from(self.cursor.offset()).map_err(|_| cut())?;
        self.cursor.take(usize::from(len)).ok_or_else(cut)?;
        Ok(Near { at, len })
    }

    /// The place of a text, whose length stands in the byte before.
    #[inline]
    fn text(&mut self) -> Result<u16, Invalid> {
        let len = u16::from(self.cursor.u8().ok_or_else(cut)?);
        let near = self.near(len)?;
        let at = usize::from(near.at);
        let text = self.bytes.get(at..at + usize::from(len)).ok_or_else(cut)?;
        if !is_name(text) {
            return Err(Invalid::new("a name in UTF-8", "none"));
        }
        Ok(near.at)
    }

    fn tags(&mut self, len: u16) -> Result<Near, Invalid> {
        let at = u16::try_from(self.cursor.offset()).map_err(|_| cut())?;
        let end = usize::from(at) + usize::from(len);
        while self.cursor.offset() < end {
            self.text()?;
        }
        if self.cursor.offset() != end {
            return Err(cut());
        }
        Ok(Near { at, len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::text_at;

    fn full() -> NewEvent {
        NewEvent::new("OrderPlaced", "{}")
            .content_type("text/plain")
            .schema_version(7)
            .created_at(Timestamp::from_micros(-5))
            .correlation("c")
            .causation("d")
            .tags(["a:1", "b:2"])
            .metadata("m")
    }

    #[test]
    fn the_bytes_of_an_entry_are_locked() {
        let mut out = Vec::new();
        put_entry(&mut out, &full(), Some(EventId::from_bytes([9; 16])));
        let mut expected = vec![0xff, 0x00, 11];
        expected.extend_from_slice(b"OrderPlaced");
        expected.extend_from_slice(&[9; 16]);
        expected.extend_from_slice(&[0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        expected.extend_from_slice(&[7, 0, 0, 0]);
        expected.extend_from_slice(b"\x0atext/plain\x01c\x01d\x08\x00\x03a:1\x03b:2");
        expected.extend_from_slice(b"\x01\x00\x00\x00m{}");
        assert_eq!(out, expected);

        out.clear();
        put_entry(&mut out, &NewEvent::new("A", "xy").content_type(JSON), None);
        assert_eq!(out, b"\x00\x01\x01Axy");
    }

    #[test]
    fn parts_lie_where_they_were_put() {
        let mut entry = Vec::new();
        put_entry(&mut entry, &full(), Some(EventId::from_bytes([9; 16])));
        let found = parts(&entry).unwrap();
        assert_eq!(text_at(&entry, TYPE_AT), b"OrderPlaced");
        assert_eq!(text_at(&entry, found.content_type), b"text/plain");
        assert_eq!(text_at(&entry, found.correlation), b"c");
        assert_eq!(text_at(&entry, found.causation), b"d");
        assert_eq!(found.tags(&entry), b"\x03a:1\x03b:2");
        assert_eq!(found.metadata(&entry), b"m");
        assert_eq!(found.data(&entry), b"{}");
        assert_eq!(found.id(&entry), Some(EventId::from_bytes([9; 16])));
        assert_eq!(found.schema_version, 7);
        assert_eq!((found.created_at, found.has_time), (Timestamp::from_micros(-5), true));
    }

    #[test]
    fn entries_cut_anywhere_before_the_data_are_refused() {
        let mut entry = Vec::new();
        put_entry(&mut entry, &full(), None);
        let data_at = entry.len() - 2;
        for len in 0..data_at {
            assert!(parts(&entry[..len]).is_err(), "{len} bytes");
        }
        assert!(parts(&[0, 0x80, 1, b'A']).unwrap_err().unsupported);
        assert!(parts(&[0, 0, 1, 0xff]).is_err(), "not UTF-8");
    }

    #[test]
    fn each_field_is_there_only_if_it_was_given() {
        let bare = NewEvent::new("A", "xy").content_type(BINARY);
        let id = EventId::from_bytes([9; 16]);
        let time = Timestamp::from_micros(6);
        for (event, id) in [
            (bare.clone(), None),
            (bare.clone(), Some(id)),
            (bare.clone().created_at(time), None),
            (bare.clone().schema_version(7), None),
            (bare.clone().content_type("text/plain"), None),
            (bare.clone().content_type(JSON), None),
            (bare.clone().correlation("c"), None),
            (bare.clone().causation("d"), None),
            (bare.clone().tags(["a"]), None),
            (bare.clone().metadata("m"), None),
        ] {
            let mut bytes = Vec::new();
            put_entry(&mut bytes, &event, id);
            let found = parts(&bytes).unwrap();
            assert_eq!(text_at(&bytes, TYPE_AT), b"A");
            assert_eq!(found.data(&bytes), b"xy");
            assert_eq!(found.json, event.content_type == JSON);
            assert_eq!(found.schema_version, event.schema_version);
            assert_eq!(found.has_time.then_some(found.created_at), event.created_at);
            assert_eq!(found.id(&bytes), id);
            let content_type = if event.content_type == "text/plain" { "text/plain" } else { "" };
            assert_eq!(text_at(&bytes, found.content_type), content_type.as_bytes());
            let text = |text: Option<&str>| text.unwrap_or_default().as_bytes().to_vec();
            assert_eq!(text_at(&bytes, found.correlation), text(event.correlation.as_deref()));
            assert_eq!(text_at(&bytes, found.causation), text(event.causation.as_deref()));
            assert_eq!(found.tags(&bytes).len(), if event.tags.is_empty() { 0 } else { 2 });
            assert_eq!(found.metadata(&bytes), &event.metadata[..]);
        }
    }

    #[test]
    fn names_are_not_empty_and_tags_end_where_they_say() {
        assert!(parts(&[0, 0, 0, b'x']).is_err(), "no type");
        assert!(is_name("\u{e9}".as_bytes()) && is_name(b"e"));
        assert!(!is_name(b"") && !is_name(b"e\xff"));
        let tags = flag::TAGS.to_le_bytes();
        let entry = |len: u8| [&tags[..], b"\x01A", &[len, 0], b"\x02ab\x01cxy"].concat();
        let whole = entry(5);
        let found = parts(&whole).unwrap();
        assert_eq!(found.tags(&whole), b"\x02ab\x01c");
        assert_eq!(found.data(&whole), b"xy");
        assert!(parts(&entry(4)).is_err(), "the end is inside a tag");
        // One flag more than this version knows.
        assert!(parts(&[0, 2, 1, b'A']).unwrap_err().unsupported);
    }
}
