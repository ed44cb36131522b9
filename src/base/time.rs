// SPDX-License-Identifier: Apache-2.0
//! The calendar.

/// Seconds from 1970 to `2026-11-23` and `17:38:09`, both of UTC; `None` for what is no such date and time.
pub fn since_1970(date: &str, time: &str) -> Option<i64> {
    let numbers = |text: &str, between| text.split(between).map(|word| word.parse().ok()).collect();
    let date: Option<Vec<u16>> = numbers(date, '-');
    let time: Option<Vec<u16>> = numbers(time, ':');
    let [year, month @ 1..=12, day @ 1..=31] = date?[..] else { return None };
    let [hour, minute, second] = time?.into_iter().map(i64::from).collect::<Vec<_>>()[..] else {
        return None;
    };
    // Days of the proleptic Gregorian calendar, the year beginning in March.
    let [year, month, day] = [year, month, day].map(i64::from);
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leap + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
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
    use super::*;

    #[test]
    fn both_directions() {
        // Expected values from `date -u -d ... +%s`.
        for (date, time, seconds) in [
            ("1970-01-01", "00:00:00", 0),
            ("2000-02-29", "23:59:59", 951_868_799),
            ("2024-02-29", "12:34:56", 1_709_210_096),
            ("2028-03-01", "00:00:00", 1_835_481_600),
        ] {
            assert_eq!(since_1970(date, time), i64::try_from(seconds).ok());
            assert_eq!(of_seconds(seconds), format!("{date}T{time}"));
        }
    }
}
