//! Just enough of Rust's tokens to tell code from text and comments.

/// The code with comments, strings and characters blanked out; lines stay where they are.
pub(crate) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => string_end(&chars, at),
            '\'' => char_end(&chars, at),
            'r' | 'b' | 'c' if !continues_word(&chars, at) => prefixed_end(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        for c in &chars[at..end.min(chars.len())] {
            out.push(if *c == '\n' { '\n' } else { ' ' });
        }
        at = end;
    }
    out
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn continues_word(chars: &[char], at: usize) -> bool {
    at > 0 && is_word(chars[at - 1])
}

fn line_end(chars: &[char], at: usize) -> usize {
    (at..chars.len()).find(|i| chars[*i] == '\n').unwrap_or(chars.len())
}

fn comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 1,
            '"' => return i + 1,
            _ => {}
        }
        i += 1;
    }
    chars.len()
}

/// A character, or, where `at` is returned, a lifetime.
fn char_end(chars: &[char], at: usize) -> usize {
    match chars.get(at + 1) {
        Some('\\') => {
            (at + 3..chars.len()).find(|i| chars[*i] == '\'').map_or(chars.len(), |quote| quote + 1)
        }
        Some(_) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

/// A raw string, a byte string and the like; `at` where it is none.
fn prefixed_end(chars: &[char], at: usize) -> usize {
    let mut i = at;
    while matches!(chars.get(i), Some('r' | 'b' | 'c')) && i < at + 2 {
        i += 1;
    }
    let raw = chars[i - 1] == 'r';
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    match chars.get(i + hashes) {
        Some('"') if raw => {
            let close: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
            let start = i + hashes + 1;
            chars[start..]
                .windows(close.len())
                .position(|window| window == close)
                .map_or(chars.len(), |found| start + found + close.len())
        }
        Some('"') if hashes == 0 => string_end(chars, i),
        Some('\'') if hashes == 0 => char_end(chars, i).max(at),
        _ => at,
    }
}

/// The end of a group that begins with a bracket at `open`, in bytes of blanked code.
pub(crate) fn group_end(code: &str, open: usize) -> usize {
    let mut depth = 0_i32;
    for (i, c) in code[open..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth -= 1;
                if depth == 0 {
                    return open + i + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Blanks out what is compiled for tests only.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    let mut from = 0;
    while let Some(found) = out[from..].find("#[cfg(test)]") {
        let start = from + found;
        let behind = start + "#[cfg(test)]".len();
        let end = item_end(&out, behind);
        let blanked: String =
            out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blanked);
        from = start + blanked.len();
    }
    out
}

/// The end of the item that begins at `at`: of its braces, or its semicolon.
fn item_end(code: &str, at: usize) -> usize {
    let mut i = at;
    while let Some(c) = code[i..].chars().next() {
        match c {
            '{' => return group_end(code, i),
            '(' | '[' => i = group_end(code, i),
            ';' => return i + 1,
            _ => i += c.len_utf8(),
        }
    }
    code.len()
}

/// The name of the function at this place, and where its body opens, where it has one.
pub(crate) fn item_name(code: &str, at: usize) -> Option<(String, usize)> {
    let name: String = code[at..].chars().take_while(|c| is_word(*c)).collect();
    let mut i = at + name.len();
    while let Some(c) = code[i..].chars().next() {
        match c {
            '{' => return Some((name, i)).filter(|(name, _)| !name.is_empty()),
            '(' | '[' => i = group_end(code, i),
            ';' | '}' => return None,
            _ => i += c.len_utf8(),
        }
    }
    None
}
