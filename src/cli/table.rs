//! Columns for people.

/// Rows under headings, each column as wide as its widest cell; no rows: one sentence.
pub fn table(headings: &[&str], rows: &[Vec<String>], none: &str) -> String {
    if rows.is_empty() {
        return format!("{none}\n");
    }
    let head: Vec<String> = headings.iter().map(|h| h.to_string()).collect();
    let width = |i: usize| {
        let cells = std::iter::once(&head).chain(rows).filter_map(|r| r.get(i));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}  ", w = *w));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    std::iter::once(&head).chain(rows).map(line).collect()
}

/// `2026-11-21 06:44:45` (UTC); `-` for never.
pub fn utc(ms: u64) -> String {
    if ms == 0 {
        return "-".into();
    }
    let (days, second) = (ms / 86_400_000, ms / 1_000 % 86_400);
    // Days since 0000-03-01, then eras of 400 years (a year that begins in March ends with its leap day).
    let z = days + 719_468;
    let (era, day) = (z / 146_097, z % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// `1:02:03.4`, `12.3 s`
pub fn duration(ms: u64) -> String {
    let (s, tenth) = (ms / 1000, ms % 1000 / 100);
    match s {
        0..60 => format!("{s}.{tenth} s"),
        _ => format!("{}:{:02}:{:02}.{tenth}", s / 3600, s / 60 % 60, s % 60),
    }
}

/// The beginning of a long hash or id.
pub fn short(text: &str) -> String {
    if text.chars().count() <= 16 {
        text.to_owned()
    } else {
        text.chars().take(14).collect::<String>() + "…"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_times_are_dates() {
        let rows = [vec!["a".into(), "long cell".into()], vec!["bcd".into(), String::new()]];
        assert_eq!(table(&["ONE", "TWO"], &rows, ""), "ONE  TWO\na    long cell\nbcd\n");
        assert_eq!(table(&["ONE"], &[], "nothing"), "nothing\n");
        for (ms, text) in [
            (0, "-"),
            (951_782_400_000, "2000-02-29 00:00:00"),
            (1_795_243_485_000, "2026-11-21 06:44:45"),
            (4_107_542_399_999, "2100-02-28 23:59:59"),
            (1_735_689_599_000, "2024-12-31 23:59:59"),
        ] {
            assert_eq!(utc(ms), text);
        }
        assert_eq!((duration(12_345), duration(3_723_400)), ("12.3 s".into(), "1:02:03.4".into()));
    }
}
