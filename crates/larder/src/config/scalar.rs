//! What a scalar's text means as a truth value, a number or a duration: the readings of Go's yaml.v2 and of
//! `time.ParseDuration`, since every existing `config.yml` was written against those.

/// A truth value in any of YAML 1.1's spellings. Quotes make no difference, unlike in registry:2, where a quoted
/// `"true"` silently leaves `storage.delete.enabled` off.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Whether unquoted text stands for nothing.
pub(super) fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// A whole number as yaml.v2 reads it: underscores between digits, `0x`, `0o` and `0b`, and octal after a leading 0.
pub(super) fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    // A second sign would be accepted by `from_str_radix`.
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "").to_ascii_lowercase();
    let (base, digits) = match digits.get(..2) {
        Some("0x") => (16, digits.get(2..)),
        Some("0o") => (8, digits.get(2..)),
        Some("0b") => (2, digits.get(2..)),
        Some(start) if start.starts_with('0') => (8, digits.get(1..)),
        _ => (10, Some(digits.as_str())),
    };
    let magnitude = i128::from_str_radix(digits?, base).ok().filter(|number| *number >= 0)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// A duration in nanoseconds: Go's form (`1h30m`, `10s`, `-5ms`, `0.5s`), or a bare number, which is nanoseconds too.
pub(super) fn duration_nanoseconds(text: &str) -> Option<i64> {
    integer(text).or_else(|| go_duration(text))
}

fn go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_length = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at_checked(number_length)?;
        let unit_length = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_length)?;
        total = total.checked_add(part_nanoseconds(number, unit)?)?;
        rest = after;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// One part of a Go duration, such as `1.5h`; digits below a nanosecond are cut, as Go does.
fn part_nanoseconds(number: &str, unit: &str) -> Option<i128> {
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = |text: &str| -> Option<i128> { if text.is_empty() { Some(0) } else { text.parse().ok() } };
    let mut nanoseconds = digits(whole)?.checked_mul(unit)?;
    if !fraction.is_empty() {
        // Eighteen digits are finer than a nanosecond of an hour, and keep the product within range.
        let kept = fraction.get(..fraction.len().min(18))?;
        let scale = 10_i128.checked_pow(u32::try_from(kept.len()).ok()?)?;
        nanoseconds = nanoseconds.checked_add(digits(kept)?.checked_mul(unit)? / scale)?;
    }
    Some(nanoseconds)
}

#[cfg(test)]
mod tests;
