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
