//! Times as text: RFC 3339 in UTC with six digits of a second on the way out, with any offset on
//! the way in.

use jiff::Timestamp as Instant;

use crate::position::Timestamp;

/// The time as RFC 3339 in UTC with microseconds, or `None` where it is outside the years that
/// RFC 3339 can write (0 to 9999).
///
/// ```
/// use annals::{Timestamp, transfer::format_time};
/// let time = Timestamp::from_micros(1_768_473_000_000_001);
/// assert_eq!(format_time(time).as_deref(), Some("2026-01-15T10:30:00.000001Z"));
/// ```
pub fn format_time(time: Timestamp) -> Option<String> {
    // Year 0 begins this many seconds before 1970; jiff would write earlier years with a sign.
    const YEAR_ZERO_MICROS: i64 = -62_167_219_200_000_000;
    if time.as_micros() < YEAR_ZERO_MICROS {
        return None;
    }
    Instant::from_microsecond(time.as_micros()).ok().map(|instant| format!("{instant:.6}"))
}

/// The time that a text in RFC 3339 says, with any offset, or `None` where it is not one. Digits
/// behind the microseconds are cut.
///
/// ```
/// use annals::transfer::{format_time, parse_time};
/// let time = parse_time("2026-01-15T11:30:00+01:00").and_then(format_time);
/// assert_eq!(time.as_deref(), Some("2026-01-15T10:30:00.000000Z"));
/// ```
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let instant: Instant = text.parse().ok()?;
    Some(Timestamp::from_micros(instant.as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_back_as_they_were_written() {
        for micros in [0, 1, -1, 1_456_708_980_000_000, -62_167_219_200_000_000] {
            let time = Timestamp::from_micros(micros);
            let text = format_time(time).unwrap();
            assert_eq!(parse_time(&text), Some(time), "{text}");
        }
    }

    #[test]
    fn offsets_are_taken_into_account_and_required() {
        let utc = parse_time("2016-02-29T01:23:00Z").unwrap();
        assert_eq!(parse_time("2016-02-29T06:53:00.000000+05:30"), Some(utc));
        assert_eq!(parse_time("2016-02-29T01:23:00.0000009Z"), Some(utc));
        for bad in ["2016-02-29T01:23:00", "2016-02-30T01:23:00Z", "yesterday", ""] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_that_the_format_cannot_write_are_said_to_be_so() {
        for micros in [i64::MIN, -62_167_219_200_000_001, i64::MAX] {
            assert_eq!(format_time(Timestamp::from_micros(micros)), None);
        }
    }
}
