//! Where the output goes: results to standard output, everything else to standard error.
//!
//! Nothing is coloured, so `NO_COLOR` holds by itself (clap's help asks for it).

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use crate::failure::Failure;

pub(crate) struct Output {
    results: BufWriter<StdoutLock<'static>>,
    json: bool,
    quiet: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { results: BufWriter::new(io::stdout().lock()), json, quiet }
    }

    /// Whether results are JSON.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    /// Whether a progress bar has somewhere to be seen.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// The writer of results, for those that write much.
    pub(crate) fn results(&mut self) -> &mut impl Write {
        &mut self.results
    }

    /// Writes a line of results.
    pub(crate) fn line(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.results, "{text}").map_err(Failure::Write)
    }

    /// Writes a line for people, at once; nothing where results are JSON.
    pub(crate) fn say(&mut self, text: impl fmt::Display) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        self.line(text)?;
        self.flush()
    }

    /// Says something that is no result, unless told to be quiet.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if !self.quiet {
            // There is nowhere left to say that standard error is closed.
            let _ = writeln!(io::stderr(), "annals: {text}");
        }
    }

    /// Says why the command failed.
    pub(crate) fn error(&mut self, failure: &Failure) {
        // Results that came before the error come before it in a terminal too.
        let _ = self.results.flush();
        let _ = writeln!(io::stderr(), "annals: error: {failure}");
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.results.flush().map_err(Failure::Write)
    }
}

/// Text that a terminal can be shown: control characters, which JSON may hold, are escaped.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A number with its thousands apart, for people.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many there were per second.
pub(crate) fn rate(count: u64, elapsed: std::time::Duration) -> u64 {
    let micros = elapsed.as_micros().max(1);
    u64::try_from(u128::from(count) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(harmless("a\u{9b}2J \u{e9}"), "a\\u{9b}2J \u{e9}");
    }

    #[test]
    fn rates_do_not_divide_by_nothing() {
        assert_eq!(rate(500, Duration::from_millis(250)), 2_000);
        assert_eq!(rate(3, Duration::ZERO), 3_000_000);
    }
}
