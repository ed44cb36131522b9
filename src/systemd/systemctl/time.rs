// SPDX-License-Identifier: Apache-2.0
//! systemd's printed times, in UTC: `Mon 2026-11-23 17:38:09.271214 UTC`, without the fraction before systemd 247.

/// Microseconds since 1970; `None` for none (`n/a`, empty) and for what is no such time.
pub(super) fn parse(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.split(' ').collect();
    let &[_weekday, date, time, "UTC"] = words.as_slice() else { return None };
    let &[year, month, day] = numbers(date.split('-'))?.as_slice() else { return None };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let &[hour, minute, second] = numbers(time.split(':'))?.as_slice() else { return None };
    let micros: u64 = format!("{fraction:0<6}").parse().ok()?;
    let days = days_since_1970(year, month, day)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

fn numbers<'a>(words: impl Iterator<Item = &'a str>) -> Option<Vec<u64>> {
    words.map(|word| word.parse().ok().filter(|number| *number < 10_000)).collect()
}

fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE_MONTH: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let before_month = BEFORE_MONTH.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let whole_years = (year.checked_sub(1970)?) * 365 + leap_days(year - 1) - leap_days(1969);
    Some(whole_years + before_month + u64::from(is_leap && month > 2) + day.checked_sub(1)?)
}
