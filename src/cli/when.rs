//! Times as staff write them, in the garage's zone.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};

/// Reads `2026-12-01 08:00`, `2026-12-01T08:00+01:00`, `18:30` (today, or tomorrow when it is past) or `2h` (from now).
///
/// # Errors
/// A sentence with examples.
pub fn parse(text: &str, now: &Zoned) -> Result<Timestamp, String> {
    let text = text.trim();
    // Digits without dashes are rather a phone number, or two, than a date.
    let dated = text.contains('-');
    if let Some(timestamp) = text.parse::<Timestamp>().ok().filter(|_| dated) {
        return Ok(timestamp);
    }
    let unclear = || format!("\"{text}\" is no time; write for example \"2026-12-01 08:00\", 18:30, or 2h");
    // Text that names a zone or an offset was a timestamp; what is left is civil time. The date first: a time alone would
    // read the end of it and forget the day.
    if let Some(at) = text.parse::<DateTime>().ok().filter(|_| dated) {
        return at.to_zoned(now.time_zone().clone()).map(|at| at.timestamp()).map_err(|_| unclear());
    }
    // Digits and colons alone: of "20261201T0800+01" it would be the hour, without its day.
    let hour = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    if let Some(time) = text.parse::<Time>().ok().filter(|_| hour) {
        let today = now.date().to_datetime(time);
        let zone = now.time_zone().clone();
        let at = today.to_zoned(zone.clone()).map_err(|_| unclear())?;
        if at > *now {
            return Ok(at.timestamp());
        }
        let tomorrow = today.checked_add(1.day()).map_err(|_| unclear())?;
        return Ok(tomorrow.to_zoned(zone).map_err(|_| unclear())?.timestamp());
    }
    let from_now = duration(text).map_err(|_| unclear())?;
    now.timestamp().checked_add(from_now).map_err(|_| unclear())
}

/// Reads `30s`, `10min`, `2h`.
///
/// # Errors
/// A sentence with examples.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("\"{text}\" is no duration ({error}); write for example 30s or 2h"))
}

/// A time for people: the hour for today, the day and the hour otherwise.
pub fn show(at: Timestamp, zone: &TimeZone) -> String {
    let local = at.to_zoned(zone.clone());
    let today = Timestamp::now().to_zoned(zone.clone()).date();
    if local.date() == today {
        local.strftime("%H:%M:%S").to_string()
    } else {
        local.strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn digits_without_dashes_are_no_date() {
        let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
        for text in ["19220226", "00220211 000212z", "20261201T0800+01"] {
            assert!(parse(text, &now).is_err(), "{text}");
        }
        assert!(parse("1922-02-26", &now).is_ok());
    }

    fn now() -> Zoned {
        "2026-11-23T10:00:00+01:00[Africa/Tunis]".parse().unwrap()
    }

    #[test]
    fn times_are_read_in_the_garages_zone() {
        let read = |text: &str| parse(text, &now()).unwrap().to_string();
        assert_eq!(read("2026-12-01 08:00"), "2026-12-01T07:00:00Z");
        assert_eq!(read("2026-12-01T08:00+02:00"), "2026-12-01T06:00:00Z");
        assert_eq!(read("18:30"), "2026-11-23T17:30:00Z");
        assert_eq!(read("08:00"), "2026-11-24T07:00:00Z");
        assert_eq!(read("2h"), "2026-11-23T11:00:00Z");
    }

    #[test]
    fn nonsense_is_refused_with_examples() {
        for text in ["", "soon", "25:00", "2026-13-01 08:00", "-3h"] {
            assert!(parse(text, &now()).unwrap_err().contains("write for example"), "{text}");
        }
    }
}
