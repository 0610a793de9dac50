//! Text for people: what others have written, in one line, and times.

use std::borrow::Cow;

/// Text that stands in one line: control characters, and those that are not seen or move what is beside them, are escaped.
///
/// ```
/// use xennet_core::hotplug::log::printable;
/// assert_eq!(printable("web0\n2026-11-25 forged"), "web0\\n2026-11-25 forged");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\'' | '"' | '\\' => out.push(c),
            _ => out.extend(c.escape_debug()),
        }
    }
    Cow::Owned(out)
}

/// A time in seconds since the beginning of 1970 as date and time of day in UTC.
///
/// Local time would need the system's database of time zones, and an hour of it comes twice a year.
pub(crate) fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Year, month and day of a day that is counted from the beginning of 1970.
///
/// Years begin in March here, so that the odd day is a year's last: then 400 years have 146097 days, and the months from March
/// on have 153 days in each five. Source: H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from the first of March of year 0
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (951_782_399, "2000-02-28 23:59:59Z"),
            (951_782_400, "2000-02-29 00:00:00Z"),
            (1_709_251_199, "2024-02-29 23:59:59Z"),
            (1_735_689_599, "2024-12-31 23:59:59Z"),
            (1_795_600_800, "2026-11-25 10:00:00Z"),
            (4_107_542_400, "2100-03-01 00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
        // Every day of 800 years follows the one before it.
        let mut before = date(0);
        for day in 1..292_194 {
            let (y, m, d) = date(day);
            let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
            let long = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            let next = match before {
                (y, 12, 31) => (y + 1, 1, 1),
                (y, m, d) if d == long[m as usize - 1] => (y, m + 1, 1),
                (y, m, d) => (y, m, d + 1),
            };
            assert_eq!((y, m, d), next);
            before = (y, m, d);
        }
        let _ = utc(u64::MAX);
    }
}
