//! Lists of people as CSV, as offices keep them: comma, semicolon or tab between columns, with or without a line of names.

use std::io::Read;
use std::path::Path;

use super::exit::Failure;
use super::output;

/// Largest list, in bytes: some ten million numbers.
const LIST_LIMIT_BYTES: u64 = 256 * 1024 * 1024;

/// Longest entry kept, in bytes; what is longer is no number.
const ENTRY_LIMIT_BYTES: usize = 100;

/// Bad lines named on the screen; the rest is counted.
const BAD_SHOWN: usize = 20;

/// A column that is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    /// Parts of the names that it goes by.
    names: &'static [&'static str],
    /// Where it is when no name says so, from 0.
    place: usize,
    /// Its name, or its place from 1, when somebody says so.
    named: Option<&'a str>,
}

/// Phone numbers.
pub(super) const NUMBER: Column<'static> = Column {
    names: &["phone", "tel", "gsm", "msisdn", "mobile", "numero", "numéro", "number", "recipient"],
    place: 0,
    named: None,
};

/// Languages.
pub(super) const LANGUAGE: Column<'static> = Column { names: &["lang"], place: 1, named: None };

impl<'a> Column<'a> {
    /// The column that somebody names, if he does.
    pub(super) fn named(self, named: Option<&'a str>) -> Self {
        Column { named, ..self }
    }

    fn find(&self, names: &[String]) -> anyhow::Result<usize> {
        let Some(wanted) = self.named else {
            let known = |name: &String| self.names.iter().any(|part| name.contains(part));
            return Ok(names.iter().position(known).unwrap_or(self.place));
        };
        match wanted.parse::<usize>() {
            Ok(number) if number >= 1 => Ok(number - 1),
            Ok(_) | Err(_) => names
                .iter()
                .position(|name| *name == wanted.to_lowercase())
                .ok_or_else(|| anyhow::anyhow!("there is no column \"{wanted}\"; there are: {}", names.join(", "))),
        }
    }
}

/// One entry: its line, and a text for each column asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: u64,
    pub(super) texts: Vec<String>,
}

/// The entries of a file; `-` is standard input. The first column asked for is that of the numbers: entries without one are left out.
///
/// # Errors
/// A file that cannot be read, or is too large; a column that is not there.
pub(super) fn read(file: &Path, columns: &[Column<'_>]) -> Result<Vec<Entry>, Failure> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(LIST_LIMIT_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|opened| opened.take(LIST_LIMIT_BYTES + 1).read_to_end(&mut bytes))
    };
    match read {
        Ok(length) if u64::try_from(length).is_ok_and(|length| length <= LIST_LIMIT_BYTES) => {
            entries(&bytes, columns).map_err(Failure::failed)
        }
        Ok(_) => Err(Failure::failed(anyhow::anyhow!("{} is larger than {LIST_LIMIT_BYTES} bytes", file.display()))),
        Err(error) => Err(Failure::failed(anyhow::anyhow!("{} cannot be read: {error}", file.display()))),
    }
}

/// Names the lines that were no entries.
pub(super) fn complain(bad: &[(u64, String)]) {
    for (line, why) in bad.iter().take(BAD_SHOWN) {
        output::complain(&format!("line {line}: {why}"));
    }
    if bad.len() > BAD_SHOWN {
        output::complain(&format!("and {} further lines; --json names them all", bad.len() - BAD_SHOWN));
    }
}

pub(super) fn entries(bytes: &[u8], columns: &[Column<'_>]) -> anyhow::Result<Vec<Entry>> {
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |separator: u8| first.iter().filter(|byte| **byte == separator).count();
    let delimiter = [b';', b'\t', b','].into_iter().max_by_key(|separator| count(*separator)).unwrap_or(b',');
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(bytes);
    let mut entries = Vec::new();
    let mut places: Vec<usize> = Vec::new();
    // The reader passes over empty lines without counting them.
    let (mut line, mut counted) = (1, 0);
    for record in reader.byte_records() {
        let record = record?;
        let begins = record.position().and_then(|position| usize::try_from(position.byte()).ok()).unwrap_or(counted);
        let blank = bytes.get(begins..).into_iter().flatten().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let passed = bytes.get(counted..begins + blank).unwrap_or_default();
        line += passed.iter().map(|byte| u64::from(*byte == b'\n')).sum::<u64>();
        counted = begins + blank;
        let text = |place: usize| {
            let field = record.get(place).unwrap_or_default();
            let field = String::from_utf8_lossy(field.get(..ENTRY_LIMIT_BYTES).unwrap_or(field));
            field.trim_start_matches('\u{feff}').trim().to_owned()
        };
        if places.is_empty() {
            let names: Vec<String> = (0..record.len()).map(|place| text(place).to_lowercase()).collect();
            places = columns.iter().map(|column| column.find(&names)).collect::<anyhow::Result<_>>()?;
            // A line of names holds no digits where the numbers are.
            if !places.first().is_some_and(|place| text(*place).chars().any(char::is_numeric)) {
                continue;
            }
        }
        let texts: Vec<String> = places.iter().map(|place| text(*place)).collect();
        if texts.first().is_some_and(|number| !number.is_empty()) {
            entries.push(Entry { line, texts });
        }
    }
    Ok(entries)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str, named: Option<&str>) -> Vec<(u64, String)> {
        let found = entries(text.as_bytes(), &[NUMBER.named(named)]).unwrap();
        found.into_iter().map(|entry| (entry.line, entry.texts[0].clone())).collect()
    }

    fn pairs(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect()
    }

    #[test]
    fn a_list_is_read_with_or_without_names_and_with_any_separator() {
        let expected = pairs(&[(2, "20 000 001"), (4, "+21620000002")]);
        assert_eq!(read("date;Numéro de téléphone\n1/1;20 000 001\n\n2/1;+21620000002\n", None), expected);
        assert_eq!(read("\u{feff}msisdn\n20000001\n", None), pairs(&[(2, "20000001")]));
        assert_eq!(read("20000001,x\r\n20000002,y\r\n", None), pairs(&[(1, "20000001"), (2, "20000002")]));
        assert_eq!(read("a\tb\nx\t20000001\n", Some("b")), pairs(&[(2, "20000001")]));
        assert_eq!(read("x,20000001\n", Some("2")), pairs(&[(1, "20000001")]));
        let contacts = entries(b"Langue;Tel\nar;20000001\n", &[NUMBER, LANGUAGE]).unwrap();
        assert_eq!(contacts[0].texts, ["20000001", "ar"]);
    }

    #[test]
    fn what_is_no_list_is_no_panic() {
        assert!(read("", None).is_empty());
        assert!(entries(b"a,b\n1,2\n", &[NUMBER.named(Some("c"))]).is_err());
        assert_eq!(entries(&[0xff, 0xfe, b'1', b'\n', b'"', b'\n'], &[NUMBER]).unwrap().len(), 1);
        assert_eq!(entries("9".repeat(100_000).as_bytes(), &[NUMBER]).unwrap()[0].texts[0].len(), ENTRY_LIMIT_BYTES);
        assert_eq!(entries(b"20000001\n", &[NUMBER, LANGUAGE]).unwrap()[0].texts, ["20000001", ""]);
    }
}
