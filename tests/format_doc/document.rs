//! The page as the tests read it: tables under headings, and blocks behind fences.

use std::fmt;

/// A row of a table of fields.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// `None` where the field stands directly behind the one before.
    pub(crate) offset: Option<usize>,
    /// `None` where an earlier field gives it.
    pub(crate) size: Option<usize>,
    pub(crate) field: String,
}

/// A line of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) offset: usize,
    pub(crate) bytes: Vec<u8>,
    /// The bytes differ from store to store.
    pub(crate) varies: bool,
    pub(crate) text: String,
}

impl Line {
    /// Whether two lines say the same, but for what may differ.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let bytes = if self.varies {
            self.bytes.len() == other.bytes.len()
        } else {
            self.bytes == other.bytes
        };
        bytes && (self.offset, self.varies, &self.text) == (other.offset, other.varies, &other.text)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = if self.bytes.len() > 8 {
            assert!(self.bytes.iter().all(|byte| *byte == 0), "only zeros are shortened");
            format!("00 * {}", self.bytes.len())
        } else {
            self.bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
        };
        let mark = if self.varies { '~' } else { ' ' };
        let line = format!("{:04x}  {bytes:<23} {mark} {}", self.offset, self.text);
        f.write_str(line.trim_end())
    }
}

pub(crate) struct Document {
    text: &'static str,
}

impl Document {
    pub(crate) fn read() -> Self {
        Self { text: include_str!("../../docs/format.md") }
    }

    /// The first block behind a fence that says this.
    pub(crate) fn block(&self, fence: &str) -> String {
        let start = format!("\n```{fence}\n");
        let (_, rest) = self.text.split_once(&start).unwrap_or_else(|| panic!("no {fence}"));
        rest.split_once("```\n").unwrap().0.to_owned()
    }

    /// The dump of a file.
    pub(crate) fn dump(&self, file: &str) -> Vec<Line> {
        let block = self.block(&format!("hexdump {file}"));
        block.lines().map(parse_line).collect()
    }

    /// The cells of the first table behind a heading, without its head.
    pub(crate) fn cells(&self, heading: &str) -> Vec<Vec<&str>> {
        self.table_behind(heading, "|")
    }

    /// The first table of fields behind a line.
    pub(crate) fn fields(&self, line: &str) -> Vec<Row> {
        let number = |cell: &str| cell.parse().ok();
        let rows = self.table_behind(line, "| Offset | Size | Field | Meaning |");
        rows.iter()
            .map(|cells| Row {
                offset: number(cells[0]),
                size: number(cells[1]),
                field: cells[2].to_owned(),
            })
            .collect()
    }

    fn table_behind(&self, line: &str, head: &str) -> Vec<Vec<&'static str>> {
        let mut lines = self.text.lines();
        assert!(lines.any(|found| found == line), "the page has no line {line}");
        assert!(lines.any(|found| found.starts_with(head)), "no table behind {line}");
        let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
    }
}

fn parse_line(line: &str) -> Line {
    let (offset, rest) = line.split_once("  ").unwrap();
    let (bytes, rest) = rest.split_at(23.min(rest.len()));
    let bytes = match bytes.trim().strip_prefix("00 * ") {
        Some(count) => vec![0; count.parse().unwrap()],
        None => {
            bytes.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
        }
    };
    Line {
        offset: usize::from_str_radix(offset, 16).unwrap(),
        bytes,
        varies: rest.starts_with(" ~"),
        text: rest.get(3..).unwrap_or_default().to_owned(),
    }
}
