// SPDX-License-Identifier: Apache-2.0
//! When a line was written.

use crate::base::time::of_seconds;

/// `2024-10-14T14:30:53`.
const SHAPE: &[u8; 19] = b"dddd-dd-ddTdd:dd:dd";

/// As syslog has them.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The first date with time in a line, or the time of an audit record.
pub fn of_line(line: &str) -> Option<String> {
    if let Some((_, rest)) = line.split_once("audit(") {
        if let Some(time) = interpreted(rest) {
            return Some(time);
        }
        let seconds = rest.split(['.', ':']).next()?.parse().ok()?;
        return Some(of_seconds(seconds));
    }
    let found = line.as_bytes().windows(SHAPE.len()).take(400).find(|window| has_shape(window, SHAPE));
    found.map(|found| String::from_utf8_lossy(found).replace(' ', "T")).or_else(|| of_syslog(line))
}

fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            b'T' => matches!(byte, b'T' | b' '),
            other => byte == other,
        })
}

/// `ausearch -i` writes times by the locale: the American one, and the one of C.
fn interpreted(rest: &str) -> Option<String> {
    let bytes = rest.as_bytes();
    let part = |from: usize, length: usize| rest.get(from..from + length).unwrap_or_default();
    let year = match bytes.get(..8)? {
        date if has_shape(date, b"dd/dd/dd") && bytes.get(8) == Some(&b' ') => format!("20{}", part(6, 2)),
        date if has_shape(date, b"dd/dd/dd") => part(6, 4).to_string(),
        _ => return None,
    };
    let clock = rest.split_once(' ')?.1.get(..8).filter(|clock| has_shape(clock.as_bytes(), b"dd:dd:dd"))?;
    Some(format!("{year}-{}-{}T{clock}", part(0, 2), part(3, 2)))
}

/// `May 17 10:09:38`: without a year.
fn of_syslog(line: &str) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let day: u32 = words.next()?.parse().ok()?;
    let clock = words.next().filter(|clock| has_shape(clock.as_bytes(), b"dd:dd:dd"))?;
    Some(format!("{:02}-{day:02}T{clock}", month + 1))
}

#[cfg(test)]
mod tests {
    use super::of_line;

    #[test]
    fn times_of_all_logs() {
        assert_eq!(of_line("x: 2026-11-23T07:56:09.051288Z qemu").as_deref(), Some("2026-11-23T07:56:09"));
        assert_eq!(of_line("2026-11-23 07:56:09.051+0000: 1: error").as_deref(), Some("2026-11-23T07:56:09"));
        assert_eq!(of_line("msg=audit(1709210096.123:45): avc").as_deref(), Some("2024-02-29T12:34:56"));
        let interpreted = "msg=audit(11/12/2024 08:50:43.881:638) : avc";
        assert_eq!(of_line(interpreted).as_deref(), Some("2024-11-12T08:50:43"));
        assert_eq!(of_line("msg=audit(11/12/24 08:50:43.881:638) :").as_deref(), Some("2024-11-12T08:50:43"));
        assert_eq!(of_line("May  7 10:09:38 node1 x").as_deref(), Some("05-07T10:09:38"));
        assert_eq!(of_line("no time, audit(x)"), None);
        assert_eq!(of_line("\u{e4}\u{e4} none"), None);
    }
}
