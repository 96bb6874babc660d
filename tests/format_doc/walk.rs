//! Decodes files with the tables of the page, and checks every checksum on the way.

use crate::document::{Document, Line, Row};

/// CRC-32 as the page describes it, bit by bit.
pub(crate) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// The chain over head checksums.
pub(crate) fn chain(crcs: &[u32]) -> u64 {
    let bytes = crcs.iter().flat_map(|crc| crc.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The size of a field of a table that is a number.
pub(crate) fn find(rows: &[Row], field: &str, bytes: &[u8]) -> u64 {
    let row = rows.iter().find(|row| row.field == field).unwrap();
    let (offset, size) = (row.offset.unwrap(), row.size.unwrap());
    number(&bytes[offset..offset + size])
}

/// What differs from store to store, by field.
const VARIES: &[&str] = &[
    "Store id",
    "Hash key",
    "Created",
    "Salt",
    "Checksum",
    "Time",
    "Previous",
    "Last checksum",
    "Chain",
    "First time",
    "Last time",
    "Table checksum",
    "Earliest",
    "Latest",
];

pub(crate) struct Walk<'a> {
    document: &'a Document,
    bytes: &'a [u8],
    at: usize,
    pub(crate) lines: Vec<Line>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(document: &'a Document, bytes: &'a [u8]) -> Self {
        Self { document, bytes, at: 0, lines: Vec::new() }
    }

    /// A field: at most 8 bytes to a line, zeros in one.
    fn put(&mut self, len: usize, varies: bool, text: &str) {
        let bytes = &self.bytes[self.at..self.at + len];
        let zeros = len > 16 && bytes.iter().all(|byte| *byte == 0);
        for (index, piece) in bytes.chunks(if zeros { len } else { 8 }).enumerate() {
            let text = if index == 0 { text.into() } else { String::new() };
            let offset = self.at + index * 8;
            self.lines.push(Line { offset, bytes: piece.into(), varies, text });
        }
        self.at += len;
    }

    /// A line that says what begins here.
    fn note(&mut self, text: &str) {
        let text = format!("= {text}");
        self.lines.push(Line { offset: self.at, bytes: Vec::new(), varies: false, text });
    }

    fn text(&self, len: usize) -> String {
        String::from_utf8(self.bytes[self.at..self.at + len].into()).unwrap()
    }

    /// The fields of a table, up to the first whose size is not fixed. The table's offsets count
    /// from `start`.
    fn fields(&mut self, start: usize, table: &str) -> Vec<Row> {
        let rows = self.document.fields(table);
        for row in rows.iter().take_while(|row| row.size.is_some()) {
            let stated = row.offset.map(|offset| start + offset);
            assert!(stated.is_none_or(|stated| stated == self.at), "{table}: {}", row.field);
            self.field(row);
        }
        rows
    }

    fn field(&mut self, row: &Row) {
        let (len, field) = (row.size.unwrap(), row.field.as_str());
        let varies = VARIES.contains(&field);
        let text = match field {
            "Magic" => format!("{field}: {}", self.text(len)),
            _ if varies || len > 8 => field.to_owned(),
            "Kind" | "Flags" | "Predecessor chain" => {
                format!("{field}: 0x{:02x}", number(&self.bytes[self.at..self.at + len]))
            }
            "Entry checksum" => field.to_owned(),
            _ => format!("{field}: {}", number(&self.bytes[self.at..self.at + len])),
        };
        self.put(len, varies, &text);
    }

    fn varint(&mut self, field: &str) -> u64 {
        let rest = &self.bytes[self.at..];
        let len = 1 + rest.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let value = rest[..len].iter().rev().fold(0, |n, byte| n << 7 | u64::from(byte & 0x7f));
        self.put(len, false, &format!("{field}: {value}"));
        value
    }

    fn name(&mut self, field: &str, len: u64) {
        let len = usize::try_from(len).unwrap();
        let text = format!("{field}: {}", self.text(len));
        self.put(len, false, &text);
    }

    /// The bytes of a field that was walked over.
    fn take(&self, start: usize, rows: &[Row], field: &str) -> u64 {
        find(rows, field, &self.bytes[start..])
    }

    fn check(&self, what: &str, stored: u64, computed: u32) {
        assert_eq!(stored, u64::from(computed), "{what} before byte {:#x}", self.at);
    }

    pub(crate) fn store(&mut self) {
        let rows = self.fields(0, "## STORE");
        self.check("STORE", self.take(0, &rows, "Checksum"), crc32(&[&self.bytes[..56]]));
        assert_eq!(self.at, self.bytes.len());
    }

    pub(crate) fn segment(&mut self) {
        let rows = self.fields(0, "### Segment header");
        let header = self.take(0, &rows, "Checksum");
        self.check("header", header, crc32(&[&self.bytes[..60]]));
        assert_eq!(self.take(0, &rows, "Length"), self.bytes.len() as u64);
        let salt = &self.bytes[32..48];
        let (mut previous, mut events) = (header, 0);
        while self.bytes[self.at + 15] & 0x80 != 0 {
            (previous, events) = self.frame(salt, previous, events);
        }
        self.put(self.bytes.len() - self.at, false, "Zeros up to the end");
        assert!(self.lines.last().unwrap().bytes.iter().all(|byte| *byte == 0));
    }

    /// A frame; returns its checksum and how many events there are behind it.
    fn frame(&mut self, salt: &[u8], previous: u64, before: u64) -> (u64, u64) {
        let start = self.at;
        let kind = format!("`0x{:02x}`", self.bytes[start + 15]);
        let kinds = self.document.cells("### Kinds of frames");
        let name = kinds.iter().find(|row| row[0] == kind).unwrap()[1];
        self.note(&format!("{name} frame"));
        let rows = self.fields(start, "### Frame head");
        assert_eq!(self.take(start, &rows, "Previous"), previous);
        assert_eq!(self.take(start, &rows, "First"), before);
        assert!(self.take(start, &rows, "Durable end") <= start as u64);
        let len = usize::try_from(self.take(start, &rows, "Length")).unwrap();
        let (end, padding) = (start + (len & !3), len & 3);
        let (head_end, events) = match name {
            "begin" => self.whole(start, "### Begin frame"),
            "seal" => self.whole(start, "### Seal frame"),
            "watermark" => (self.at, 0),
            "event" => self.event(end - padding),
            "batch" => self.batch(start),
            other => panic!("a kind {other}"),
        };
        let offset = u32::try_from(start).unwrap().to_le_bytes();
        let computed = crc32(&[salt, &offset, &self.bytes[start + 4..head_end]]);
        let stored = self.take(start, &rows, "Checksum");
        self.check("head", stored, computed);
        assert_eq!(self.at, end - padding);
        if padding > 0 {
            assert!(self.bytes[self.at..end].iter().all(|byte| *byte == 0));
            self.put(padding, false, "Padding");
        }
        (stored, before + events)
    }

    fn whole(&mut self, start: usize, table: &str) -> (usize, u64) {
        self.fields(start, table);
        (self.at, 0)
    }

    fn stream(&mut self) {
        self.varint("First version");
        let len = self.varint("Name length");
        self.name("Name", len);
    }

    fn event(&mut self, end: usize) -> (usize, u64) {
        self.stream();
        let stored = number(&self.bytes[self.at..self.at + 4]);
        self.put(4, false, "Entry checksum");
        let head_end = self.at;
        self.entry(end, stored);
        (head_end, 1)
    }

    fn batch(&mut self, start: usize) -> (usize, u64) {
        let rows = self.fields(start, "### Batch frame");
        let value = |field: &str| self.take(start, &rows, field);
        let (events, streams) = (value("Events"), value("Streams"));
        let (tables, state) = (value("Tables"), value("State length"));
        assert_eq!((state, value("State checksum")), (0, 0));
        let tables_end = self.at + usize::try_from(tables).unwrap();
        (0..streams).for_each(|_| self.stream());
        let mut entries = Vec::new();
        for _ in 0..events {
            let row = self.at;
            let rows = self.document.fields("### Row of the event table");
            for field in rows.iter().take(if streams > 1 { 4 } else { 2 }) {
                assert_eq!(field.offset, Some(self.at - row));
                self.field(field);
            }
            entries.push((self.take(row, &rows, "Entry checksum"), self.take(row, &rows, "End")));
        }
        assert_eq!(self.at, tables_end);
        for (crc, end) in entries {
            self.entry(tables_end + usize::try_from(end).unwrap(), crc);
        }
        (tables_end, events)
    }

    fn entry(&mut self, end: usize, stored: u64) {
        let start = self.at;
        self.note("entry");
        self.check("entry", stored, crc32(&[&self.bytes[start..end]]));
        let rows = self.fields(start, "### Entry");
        let flags = self.take(start, &rows, "Flags");
        let type_len = self.take(start, &rows, "Type length");
        self.name("Type", type_len);
        let mut bit = 1;
        for row in rows.iter().skip(3).take(8) {
            if flags & bit != 0 {
                self.optional(row);
            }
            bit <<= 1;
        }
        assert!(flags < 0x200, "flags that are not in the page");
        self.name("Data", (end - self.at) as u64);
    }

    fn optional(&mut self, row: &Row) {
        match row.field.as_str() {
            _ if row.size.is_some() => self.field(row),
            "Tags" => {
                let len = number(&self.bytes[self.at..self.at + 2]);
                self.put(2, false, &format!("Size of the tags: {len}"));
                let end = self.at + usize::try_from(len).unwrap();
                while self.at < end {
                    self.short("Tag");
                }
            }
            "Metadata" => {
                let len = number(&self.bytes[self.at..self.at + 4]);
                self.put(4, false, &format!("Metadata length: {len}"));
                self.name("Metadata", len);
            }
            field => self.short(field),
        }
    }

    fn short(&mut self, field: &str) {
        let len = u64::from(self.bytes[self.at]);
        self.put(1, false, &format!("{field} length: {len}"));
        self.name(field, len);
    }
}

/// Derived files.
impl Walk<'_> {
    /// Verifies the frame of a derived file, and returns where its footer and its table begin.
    pub(crate) fn verify_derived(&self, kind: u64) -> (usize, usize) {
        let rows = self.document.fields("### Trailer");
        let trailer = &self.bytes[self.bytes.len() - 48..];
        let value = |field: &str| find(&rows, field, trailer);
        self.check("trailer", value("Checksum"), crc32(&[&trailer[..44]]));
        assert_eq!(value("Kind"), kind);
        let body = usize::try_from(value("Body")).unwrap();
        let footer = usize::try_from(value("Footer")).unwrap();
        let table = &self.bytes[body..self.bytes.len() - 48];
        self.check("table", value("Table checksum"), crc32(&[table]));
        let blocks = self.bytes[..body].chunks(4096);
        assert_eq!(table.len(), 4 * blocks.len());
        for (block, stored) in blocks.zip(table.chunks(4)) {
            self.check("block", number(stored), crc32(&[block]));
        }
        (footer, body)
    }

    /// An index checkpoint, all of it.
    pub(crate) fn index(&mut self, salt: &[u8]) {
        let (footer, body) = self.verify_derived(2);
        let rows = self.document.fields("### Index footer");
        let value = |field: &str| find(&rows, field, &self.bytes[footer..]);
        assert_eq!(self.bytes[footer + 16..footer + 32], *salt);
        let counts =
            ["Types", "Categories", "Terms"].map(|field| usize::try_from(value(field)).unwrap());
        for (name, len) in self.sections(footer) {
            let end = self.at + len;
            self.note(&format!("section {name}"));
            match name.as_str() {
                "Zones" => drop(self.fields(self.at, "### Zone")),
                "Names" => (0..counts[0] + counts[1]).for_each(|_| self.name_row()),
                "Schemas" => {
                    (0..len / 20).for_each(|_| drop(self.fields(self.at, "### Schema row")));
                }
                "Terms" => (0..counts[2]).for_each(|_| self.term()),
                "Postings" | "Ids" => self.put(len, true, ""),
                _ => self.put(len, false, ""),
            }
            assert_eq!(self.at, end, "{name}");
        }
        assert_eq!(self.at, footer);
        self.note("footer");
        let rows = self.fields(footer, "### Index footer");
        let sections = self.take(footer, &rows, "Sections");
        for section in self.document.cells("### Sections of an index") {
            self.put(8, false, &format!("{}: offset", section[0]));
            self.put(8, false, &format!("{}: size", section[0]));
        }
        assert_eq!(self.at, footer + 112 + usize::try_from(sections).unwrap() * 16);
        self.note("table of checksums, and trailer");
        self.put(self.bytes.len() - 48 - body, true, "Block 0");
        self.fields(self.at, "### Trailer");
        assert_eq!(self.at, self.bytes.len());
    }

    /// Names and sizes of the sections, which lie behind each other.
    pub(crate) fn sections(&self, footer: usize) -> Vec<(String, usize)> {
        let names = self.document.cells("### Sections of an index");
        let mut behind = 0;
        let mut found = Vec::new();
        // Files of older versions, which are kept as fixtures, have fewer.
        let count = usize::try_from(number(&self.bytes[footer + 108..footer + 112])).unwrap();
        for (index, row) in names.iter().take(count).enumerate() {
            let at = footer + 112 + index * 16;
            let (start, len) =
                (number(&self.bytes[at..at + 8]), number(&self.bytes[at + 8..at + 16]));
            assert!(len == 0 || start == behind, "{}", row[0]);
            behind += len;
            found.push((row[0].to_owned(), usize::try_from(len).unwrap()));
        }
        found
    }

    fn term(&mut self) {
        // Which list a term has depends on the order of the hashes.
        self.put(8, true, "Hash");
        self.put(4, true, "Posting");
    }

    fn name_row(&mut self) {
        let start = self.at;
        let rows = self.fields(start, "### Name row");
        let len = self.take(start, &rows, "Name length");
        self.name("Name", len);
    }
}
