//! When messages of a category may go out: hours of the day, days of the week, holidays, the month of Ramadan.
//!
//! All of it is civil time in the garage's zone, and the zone's changes of offset are the time zone database's affair: an hour
//! that a change skips begins when the clock has passed it, one that comes twice begins the first time. Hours that end before
//! they begin (21:00-02:00) reach into the next day and belong to the day on which they begin.

use std::str::FromStr;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// How far ahead an opening is looked for: a year and its holidays.
const LOOK_AHEAD_DAYS: i64 = 400;

/// Hours, days or dates in a setting that cannot be read; the database refuses them when they are written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" cannot be read as {1}")]
pub struct Unreadable(String, &'static str);

/// Parts of a day, in minutes since midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours(Vec<(i16, i16)>);

/// Minutes of a day.
const DAY_MINUTES: i16 = 24 * 60;

impl FromStr for Hours {
    type Err = Unreadable;

    /// `07:30-21:00`, or several separated by commas.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable(text.to_owned(), "hours");
        let minutes = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let (hour, minute) = (hour.parse::<i16>().ok()?, minute.parse::<i16>().ok()?);
            let minutes = hour.checked_mul(60)?.checked_add(minute)?;
            ((0..60).contains(&minute) && (0..=DAY_MINUTES).contains(&minutes)).then_some(minutes)
        };
        let part = |part: &str| {
            let (from, to) = part.split_once('-')?;
            let (from, to) = (minutes(from)?, minutes(to)?);
            (from != to && from < DAY_MINUTES).then_some((from, to))
        };
        let parts = text.split(',').map(part).collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
        Ok(Self(parts))
    }
}

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days([bool; 7]);

impl FromStr for Days {
    type Err = Unreadable;

    /// `mon-sat`, or several separated by commas; `fri-mon` goes round the week.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let unreadable = || Unreadable(text.to_owned(), "days");
        let index = |word: &str| {
            let word = word.trim().to_lowercase();
            ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].iter().position(|day| *day == word)
        };
        let mut days = [false; 7];
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (index(first).ok_or_else(unreadable)?, index(last).ok_or_else(unreadable)?);
            for day in 0..=(last + 7 - first) % 7 {
                days[(first + day) % 7] = true;
            }
        }
        Ok(Self(days))
    }
}

impl Days {
    fn contains(self, day: Weekday) -> bool {
        usize::try_from(day.to_monday_zero_offset()).is_ok_and(|day| self.0.get(day).copied().unwrap_or_default())
    }
}

/// Dates of the calendar: single ones, ranges, and days that come every year.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dates(Vec<DateRule>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum DateRule {
    Yearly { month: i8, day: i8 },
    Between(Date, Date),
}

impl FromStr for Dates {
    type Err = Unreadable;

    /// `05-01` (every year), `2027-03-10`, `2027-02-08..2027-03-09`, separated by commas; empty for none.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let rule = |part: &str| {
            let part = part.trim();
            if let Some((first, last)) = part.split_once("..") {
                return Some(DateRule::Between(first.parse().ok()?, last.parse().ok()?));
            }
            if let Ok(date) = part.parse::<Date>() {
                return Some(DateRule::Between(date, date));
            }
            let (month, day) = part.split_once('-')?;
            let (month, day) = (month.parse().ok()?, day.parse().ok()?);
            // A leap year, so that the 29th of February is a day.
            Date::new(2024, month, day).ok().map(|_| DateRule::Yearly { month, day })
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let rules = text.split(',').map(rule).collect::<Option<_>>();
        rules.map(Self).ok_or_else(|| Unreadable(text.to_owned(), "dates"))
    }
}

impl Dates {
    /// Whether this day is one of them.
    pub fn contains(&self, date: Date) -> bool {
        self.0.iter().any(|rule| match rule {
            DateRule::Yearly { month, day } => (*month, *day) == (date.month(), date.day()),
            DateRule::Between(first, last) => (*first..=*last).contains(&date),
        })
    }
}

/// The days that are not like others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calendar {
    /// Public holidays.
    pub holidays: Dates,
    /// Ramadan.
    pub ramadan: Dates,
}

/// When messages of one category go out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// On ordinary days.
    pub hours: Hours,
    /// In Ramadan.
    pub ramadan_hours: Hours,
    /// On which days of the week.
    pub days: Days,
    /// Whether on holidays.
    pub on_holidays: bool,
}

/// What a window says of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It is open.
    Now,
    /// It opens at the first, and closes at the second.
    Later(Timestamp, Timestamp),
    /// It does not open within a year.
    Never,
}

impl Window {
    /// Always open.
    pub fn always() -> Self {
        let hours = Hours(vec![(0, DAY_MINUTES)]);
        Self { hours: hours.clone(), ramadan_hours: hours, days: Days([true; 7]), on_holidays: true }
    }

    /// What it says of this moment.
    pub fn at(&self, now: Timestamp, zone: &TimeZone, calendar: &Calendar) -> Opening {
        let today = now.to_zoned(zone.clone()).date();
        let mut next: Option<(Timestamp, Timestamp)> = None;
        // Yesterday's hours may reach into today.
        for ahead in -1..=LOOK_AHEAD_DAYS {
            let Ok(day) = today.checked_add(Span::new().days(ahead)) else { break };
            for (opens, closes) in self.on(day, zone, calendar) {
                if opens <= now && now < closes {
                    return Opening::Now;
                }
                if opens > now && next.is_none_or(|(earliest, _)| opens < earliest) {
                    next = Some((opens, closes));
                }
            }
            // A later day cannot open earlier.
            if let Some((opens, closes)) = next
                && ahead >= 0
            {
                return Opening::Later(opens, closes);
            }
        }
        Opening::Never
    }

    /// The hours that begin on this day.
    fn on(&self, day: Date, zone: &TimeZone, calendar: &Calendar) -> Vec<(Timestamp, Timestamp)> {
        if !self.days.contains(day.weekday()) || (!self.on_holidays && calendar.holidays.contains(day)) {
            return Vec::new();
        }
        let hours = if calendar.ramadan.contains(day) { &self.ramadan_hours } else { &self.hours };
        let instant = |minutes: i16, reaches_over: bool| {
            let overnight = i64::from(minutes / DAY_MINUTES) + i64::from(reaches_over);
            let date = day.checked_add(Span::new().days(overnight)).ok()?;
            let minutes = minutes % DAY_MINUTES;
            let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
            zone.to_timestamp(date.at(hour, minute, 0, 0)).ok()
        };
        let opening = |&(from, to): &(i16, i16)| Some((instant(from, false)?, instant(to, to < from)?));
        hours.0.iter().filter_map(opening).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tunis() -> TimeZone {
        TimeZone::get("Africa/Tunis").unwrap()
    }

    fn at(text: &str, zone: &TimeZone) -> Timestamp {
        zone.to_timestamp(text.parse().unwrap()).unwrap()
    }

    fn marketing() -> Window {
        Window {
            hours: "09:00-20:00".parse().unwrap(),
            ramadan_hours: "10:00-12:00, 20:30-22:30".parse().unwrap(),
            days: "mon-sat".parse().unwrap(),
            on_holidays: false,
        }
    }

    fn calendar() -> Calendar {
        Calendar {
            holidays: "05-01, 12-17, 2027-03-10".parse().unwrap(),
            ramadan: "2027-02-08..2027-03-09".parse().unwrap(),
        }
    }

    fn opens(window: &Window, now: &str, zone: &TimeZone) -> Option<String> {
        match window.at(at(now, zone), zone, &calendar()) {
            Opening::Now => None,
            Opening::Later(opens, closes) => {
                assert!(opens < closes);
                Some(opens.to_zoned(zone.clone()).datetime().to_string())
            }
            Opening::Never => Some("never".to_owned()),
        }
    }

    #[test]
    fn a_window_is_open_from_its_first_minute_to_before_its_last() {
        let zone = tunis();
        // 2026-11-26 is a Thursday.
        assert_eq!(opens(&marketing(), "2026-11-26T09:00:00", &zone), None);
        assert_eq!(opens(&marketing(), "2026-11-26T19:59:59", &zone), None);
        assert_eq!(opens(&marketing(), "2026-11-26T08:59:59", &zone).unwrap(), "2026-11-26T09:00:00");
        assert_eq!(opens(&marketing(), "2026-11-26T20:00:00", &zone).unwrap(), "2026-11-27T09:00:00");
        assert_eq!(opens(&marketing(), "2026-11-26T23:30:00", &zone).unwrap(), "2026-11-27T09:00:00");
    }

    #[test]
    fn sundays_and_holidays_are_passed_over() {
        let zone = tunis();
        assert_eq!(opens(&marketing(), "2026-11-28T21:00:00", &zone).unwrap(), "2026-11-30T09:00:00");
        assert_eq!(opens(&marketing(), "2026-12-17T10:00:00", &zone).unwrap(), "2026-12-18T09:00:00");
        // The 1st of May 2027 is a Saturday: Friday evening waits for Monday.
        assert_eq!(opens(&marketing(), "2027-04-30T20:30:00", &zone).unwrap(), "2027-05-03T09:00:00");
        assert_eq!(opens(&Window { on_holidays: true, ..marketing() }, "2026-12-17T10:00:00", &zone), None);
    }

    #[test]
    fn ramadan_has_hours_of_its_own() {
        let zone = tunis();
        assert_eq!(opens(&marketing(), "2027-02-10T12:30:00", &zone).unwrap(), "2027-02-10T20:30:00");
        assert_eq!(opens(&marketing(), "2027-02-10T21:00:00", &zone), None);
        assert_eq!(opens(&marketing(), "2027-02-10T09:30:00", &zone).unwrap(), "2027-02-10T10:00:00");
        // The last evening; the next morning is the holiday.
        assert_eq!(opens(&marketing(), "2027-03-09T23:00:00", &zone).unwrap(), "2027-03-11T09:00:00");
    }

    #[test]
    fn hours_may_reach_over_midnight_and_belong_to_the_day_on_which_they_begin() {
        let zone = tunis();
        let window = Window { hours: "21:00-02:00".parse().unwrap(), days: "fri".parse().unwrap(), ..marketing() };
        assert_eq!(opens(&window, "2026-11-27T23:30:00", &zone), None);
        assert_eq!(opens(&window, "2026-11-28T01:59:00", &zone), None);
        assert_eq!(opens(&window, "2026-11-28T02:00:00", &zone).unwrap(), "2026-12-04T21:00:00");
        assert_eq!(opens(&window, "2026-11-27T01:00:00", &zone).unwrap(), "2026-11-27T21:00:00");
    }

    #[test]
    fn a_change_of_the_zones_offset_moves_no_window() {
        let paris = TimeZone::get("Europe/Paris").unwrap();
        let always = Calendar::default();
        let window = Window { hours: "02:30-06:00".parse().unwrap(), days: "mon-sun".parse().unwrap(), ..marketing() };
        // 2027-03-28: 02:00 becomes 03:00, so that 02:30 does not exist; it begins when the clock has passed it.
        let before = "2027-03-28T00:30:00Z".parse().unwrap();
        let Opening::Later(opens, _) = window.at(before, &paris, &always) else { panic!() };
        assert_eq!(opens.to_string(), "2027-03-28T01:30:00Z");
        // 2026-10-25: 02:30 comes twice; the window opens the first time and stays open.
        let first: Timestamp = "2026-10-25T00:30:00Z".parse().unwrap();
        assert_eq!(window.at(first, &paris, &always), Opening::Now);
        assert_eq!(window.at("2026-10-25T01:10:00Z".parse().unwrap(), &paris, &always), Opening::Now);
        // Eight in the evening is eight in the evening on both sides.
        let evening = Window { hours: "20:00-21:00".parse().unwrap(), ..window };
        for (noon, opening) in
            [("2026-10-24T10:00:00Z", "2026-10-24T18:00:00Z"), ("2026-10-25T11:00:00Z", "2026-10-25T19:00:00Z")]
        {
            let Opening::Later(opens, _) = evening.at(noon.parse().unwrap(), &paris, &always) else { panic!() };
            assert_eq!(opens.to_string(), opening);
        }
    }

    #[test]
    fn a_window_that_never_opens_says_so() {
        let zone = tunis();
        let calendar = Calendar { holidays: "2026-01-01..2029-01-01".parse().unwrap(), ..Calendar::default() };
        assert_eq!(marketing().at(at("2026-11-26T10:00:00", &zone), &zone, &calendar), Opening::Never);
        assert_eq!(Window::always().at(at("2026-11-26T00:00:00", &zone), &zone, &calendar), Opening::Now);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in ["", "9-20", "09:00", "09:00-09:00", "24:00-25:00", "09:60-10:00", "a:b-c:d", "09:00-20:00,"] {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
        for text in ["", "monday", "mon-", "mon,,tue"] {
            assert!(text.parse::<Days>().is_err(), "{text}");
        }
        for text in ["13-01", "2027-02-30", "2027-02-08..x", "soon", "05-01,"] {
            assert!(text.parse::<Dates>().is_err(), "{text}");
        }
        assert_eq!("fri-mon".parse::<Days>(), "mon, fri, sat, sun".parse::<Days>());
        assert!("02-29".parse::<Dates>().is_ok());
    }

    proptest! {
        #[test]
        fn a_window_is_open_at_the_moment_that_it_names(second in 1_700_000_000_i64..1_900_000_000) {
            let zone = TimeZone::get("Europe/Paris").unwrap();
            let now = Timestamp::from_second(second).unwrap();
            if let Opening::Later(opens, closes) = marketing().at(now, &zone, &calendar()) {
                prop_assert!(opens > now && closes > opens);
                prop_assert_eq!(marketing().at(opens, &zone, &calendar()), Opening::Now);
                prop_assert_ne!(marketing().at(closes, &zone, &calendar()), Opening::Now);
            }
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC*") {
            let _ = (text.parse::<Hours>(), text.parse::<Days>(), text.parse::<Dates>());
        }
    }
}
