// SPDX-License-Identifier: Apache-2.0
//! When a line was written.

/// `2024-10-14T14:30:53`.
const SHAPE: &[u8; 19] = b"dddd-dd-ddTdd:dd:dd";

/// The first date with time in a line, or the time of an audit record.
pub fn of_line(line: &str) -> Option<String> {
    if let Some((_, rest)) = line.split_once("audit(") {
        let seconds = rest.split(['.', ':']).next()?.parse().ok()?;
        return Some(of_seconds(seconds));
    }
    let found = line.as_bytes().windows(SHAPE.len()).take(400).find(|window| {
        window.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b' '),
            other => byte == other,
        })
    })?;
    Some(String::from_utf8_lossy(found).replace(' ', "T"))
}

/// Seconds since 1970 as UTC, by the civil calendar (H. Hinnant, "chrono-compatible low-level date algorithms").
pub fn of_seconds(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::{of_line, of_seconds};

    #[test]
    fn times_of_all_logs() {
        assert_eq!(of_seconds(0), "1970-01-01T00:00:00");
        assert_eq!(of_seconds(1_709_210_096), "2024-02-29T12:34:56");
        assert_eq!(of_line("x: 2026-11-23T07:56:09.051288Z qemu").as_deref(), Some("2026-11-23T07:56:09"));
        assert_eq!(of_line("2026-11-23 07:56:09.051+0000: 1: error").as_deref(), Some("2026-11-23T07:56:09"));
        assert_eq!(of_line("msg=audit(1709210096.123:45): avc").as_deref(), Some("2024-02-29T12:34:56"));
        assert_eq!(of_line("no time, audit(x)"), None);
        assert_eq!(of_line("\u{e4}\u{e4} none"), None);
    }
}
