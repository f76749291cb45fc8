//! What a scalar's text means as a truth value, a number or a duration: the readings of Go's yaml.v2 and of
//! `time.ParseDuration`, since every existing `config.yml` was written against those. Sizes are Larder's own: distribution
//! has none with a unit.

use thiserror::Error;

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
    times(number, unit)
}

/// So many of a unit, of which a decimal number may have a part; what is below one of the smallest is cut.
fn times(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = |text: &str| -> Option<i128> { if text.is_empty() { Some(0) } else { text.parse().ok() } };
    let mut product = digits(whole)?.checked_mul(unit)?;
    if !fraction.is_empty() {
        // Eighteen digits are finer than a nanosecond of an hour or a byte of a PiB, and keep the product within range.
        let kept = fraction.get(..fraction.len().min(18))?;
        let scale = 10_i128.checked_pow(u32::try_from(kept.len()).ok()?)?;
        product = product.checked_add(digits(kept)?.checked_mul(unit)? / scale)?;
    }
    Some(product)
}

/// The units of sizes, as SI and IEC 80000-13 define them.
const UNITS: [(&str, i128); 11] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
];

/// Why a text is no size. Displays the rest of a sentence that begins with the text.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum NoSize {
    /// It isn't a number, or a part of a byte.
    #[error("is no size; write bytes, or a number with its unit, such as 500MB, 10GiB or 1.5TB")]
    NoNumber,
    /// What follows the number.
    #[error(
        "has the unit {0:?}, which is none; kB, MB, GB, TB and PB are powers of 1000, KiB, MiB, GiB, TiB and PiB of 1024"
    )]
    UnknownUnit(String),
    /// The unit as it is written, and as it should be.
    #[error("may mean bits by {0:?}; write {1} for bytes")]
    Bits(String, &'static str),
    /// It is beyond 63 bits.
    #[error("is more than anything can hold, which is 8192 PiB")]
    TooLarge,
}

/// A size in bytes: a whole number as [`integer`] reads it, or a decimal one and its unit, with or without spaces between.
/// `10GB` and `10G` are powers of 1000, `10GiB` and `10Gi` of 1024, in capitals or not. What is below a byte is cut.
pub(super) fn size(text: &str) -> Result<i64, NoSize> {
    if let Some(bytes) = integer(text) {
        return Ok(bytes);
    }
    let is_part_of_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, unit) = match text.find(|c| !is_part_of_number(c)) {
        Some(length) => text.split_at_checked(length).ok_or(NoSize::NoNumber)?,
        None => return Err(NoSize::NoNumber),
    };
    if !number.contains(|c: char| c.is_ascii_digit()) || number.matches('.').count() > 1 {
        return Err(NoSize::NoNumber);
    }
    let bytes = times(number, bytes_of(unit.trim_start_matches(' '))?).ok_or(NoSize::TooLarge)?;
    i64::try_from(bytes).map_err(|_| NoSize::TooLarge)
}

fn bytes_of(unit: &str) -> Result<i128, NoSize> {
    let prefix = unit.strip_suffix(['b', 'B']).unwrap_or(unit);
    let is_meant =
        |name: &str| name.strip_suffix('B').is_some_and(|known| known.eq_ignore_ascii_case(prefix));
    let Some((name, bytes)) = UNITS.into_iter().find(|(name, _)| is_meant(name)) else {
        return Err(NoSize::UnknownUnit(unit.to_owned()));
    };
    // 100Mb is a bandwidth in bits to whoever knows the difference, and 100mb is bytes to everybody.
    if unit.ends_with('b') && unit.starts_with(|c: char| c.is_ascii_uppercase()) {
        return Err(NoSize::Bits(unit.to_owned(), name));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
