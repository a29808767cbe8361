//! How a text travels: the alphabet it needs, the segments it costs, the octets it becomes.
//!
//! Owns 3GPP TS 23.038: the GSM 7-bit default alphabet with its extension table, UCS-2, and the splitting of long
//! texts. Never rewrites a text (transliteration is somebody else's) and never talks to a provider.
//!
//! A text goes in GSM-7 if all of its characters are in the default alphabet, else the whole text goes in UCS-2. An SMS
//! holds 140 octets: 160 septets or 70 UTF-16 code units. A longer text is cut into segments that carry a 6-octet
//! concatenation header (8-bit reference), which leaves 153 septets or 67 units. Segments are filled greedily, but
//! neither an escape pair nor a surrogate pair is cut in two, so a segment may stay one unit short.
//!
//! There are no national shift tables: none exists for French or Arabic, and the others are not known everywhere.
//! Lowercase ç counts as outside of the alphabet: position 0x09 is capital Ç in the specification, and although some
//! tables map ç there, handsets show Ç.
//!
//! Nothing here can fail; what one segment count is worth, and how many are too many, is for the caller to say (a
//! concatenation header cannot number more than 255).

use std::fmt;
use std::str::FromStr;

/// Septets that a text in one SMS may have.
const GSM7_SINGLE_SEPTETS: usize = 160;
/// Septets in each segment of a longer text.
const GSM7_SEGMENT_SEPTETS: usize = 153;
/// UTF-16 code units that a text in one SMS may have.
const UCS2_SINGLE_UNITS: usize = 70;
/// UTF-16 code units in each segment of a longer text.
const UCS2_SEGMENT_UNITS: usize = 67;

/// The septet that announces a character of the extension table.
const ESCAPE: u8 = 0x1B;

/// The default alphabet by septet (TS 23.038, 6.2.1). The escape at 0x1B is no character: U+001B stands in its place
/// and is left out of the look-up.
const BASIC: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', // 0x00
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{1B}', 'Æ', 'æ', 'ß', 'É', // 0x10
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', // 0x20
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?', // 0x30
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', // 0x40
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', // 0x50
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', // 0x60
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à', // 0x70
];

/// The extension table, but for the euro sign: the character and the septet after the escape (TS 23.038, 6.2.1.1).
const EXTENSION: [(char, u8); 9] = [
    ('\u{C}', 0x0A),
    ('^', 0x14),
    ('{', 0x28),
    ('}', 0x29),
    ('\\', 0x2F),
    ('[', 0x3C),
    ('~', 0x3D),
    (']', 0x3E),
    ('|', 0x40),
];

/// The euro sign of the extension table, which lies beyond the look-up table.
const EURO: (char, u8) = ('€', 0x65);

/// Code points the look-up table covers: up to U+03FF, where Greek ends.
const LOOKUP_CODE_POINTS: usize = 0x400;

/// What a character is in GSM-7.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Septets {
    Basic(u8),
    Escaped(u8),
    Outside,
}

/// [`BASIC`] and [`EXTENSION`] turned round, so that a character costs one look-up.
static LOOKUP: [Septets; LOOKUP_CODE_POINTS] = {
    let mut table = [Septets::Outside; LOOKUP_CODE_POINTS];
    let mut septet = 0;
    while septet < BASIC.len() {
        if septet != ESCAPE as usize {
            table[BASIC[septet] as usize] = Septets::Basic(septet as u8);
        }
        septet += 1;
    }
    let mut index = 0;
    while index < EXTENSION.len() {
        let (character, septet) = EXTENSION[index];
        table[character as usize] = Septets::Escaped(septet);
        index += 1;
    }
    table
};

impl Septets {
    fn of(character: char) -> Self {
        match LOOKUP.get(character as usize) {
            Some(septets) => *septets,
            None if character == EURO.0 => Self::Escaped(EURO.1),
            None => Self::Outside,
        }
    }

    /// How many septets; none if the character is outside of the alphabet.
    fn count(self) -> usize {
        match self {
            Self::Basic(_) => 1,
            Self::Escaped(_) => 2,
            Self::Outside => 0,
        }
    }
}

/// The alphabet a text travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The GSM 7-bit default alphabet with its extension table.
    Gsm7,
    /// UCS-2, in fact UTF-16 big endian: handsets join surrogate pairs.
    Ucs2,
}

/// A word that names no [`Encoding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an encoding is either \"gsm7\" or \"ucs2\"")]
pub struct UnknownEncoding;

impl Encoding {
    /// The word written to `sms_message.encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gsm7 => "gsm7",
            Self::Ucs2 => "ucs2",
        }
    }

    /// Septets or UTF-16 code units of a character.
    fn units(self, character: char) -> usize {
        match self {
            Self::Gsm7 => Septets::of(character).count(),
            Self::Ucs2 => character.len_utf16(),
        }
    }

    /// Units in a lone SMS, and in each segment of a longer text.
    pub(super) fn limits(self) -> (usize, usize) {
        match self {
            Self::Gsm7 => (GSM7_SINGLE_SEPTETS, GSM7_SEGMENT_SEPTETS),
            Self::Ucs2 => (UCS2_SINGLE_UNITS, UCS2_SEGMENT_UNITS),
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "gsm7" => Ok(Self::Gsm7),
            "ucs2" => Ok(Self::Ucs2),
            _ => Err(UnknownEncoding),
        }
    }
}

/// What a text costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// The alphabet it needs.
    pub encoding: Encoding,
    /// Its length in septets (GSM-7, an escape pair is two) or UTF-16 code units (UCS-2), without headers.
    pub units: usize,
    /// The segments it is sent, and charged, as. An empty text has none: there is nothing to send.
    pub segments: u32,
}

/// Measures a text, without allocation.
pub fn measure(text: &str) -> Measure {
    let mut gsm7 = Filling::new(Encoding::Gsm7);
    for character in text.chars() {
        let septets = Septets::of(character);
        if septets == Septets::Outside {
            return measure_ucs2(text);
        }
        gsm7.push(septets.count());
    }
    gsm7.measure()
}

fn measure_ucs2(text: &str) -> Measure {
    let mut ucs2 = Filling::new(Encoding::Ucs2);
    for character in text.chars() {
        ucs2.push(character.len_utf16());
    }
    ucs2.measure()
}

/// Bits of the reference in a concatenation header (TS 23.040, 9.2.3.24.1 and 9.2.3.24.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderBits {
    /// A header of 6 octets, as [`measure`] counts.
    Eight,
    /// A header of 7 octets, which takes one septet or unit more.
    Sixteen,
}

/// The text cut where one segment ends and the next begins. Joined, the pieces are the text; an empty text has none.
pub fn segments(text: &str) -> Vec<&str> {
    segments_with(text, HeaderBits::Eight)
}

/// The same for segments with this header. With the longer one there may be more than [`measure`] counts.
pub fn segments_with(text: &str, bits: HeaderBits) -> Vec<&str> {
    let Measure { encoding, segments, .. } = measure(text);
    match segments {
        0 => Vec::new(),
        1 => vec![text],
        _ => {
            let mut pieces = Vec::with_capacity(segments as usize);
            let mut piece_at = 0;
            let mut filling = Filling { header: bits, ..Filling::new(encoding) };
            for (at, character) in text.char_indices() {
                if filling.push(encoding.units(character)) {
                    pieces.push(&text[piece_at..at]);
                    piece_at = at;
                }
            }
            pieces.push(&text[piece_at..]);
            pieces
        }
    }
}

/// Whether a character is in the default alphabet or its extension table.
pub(super) fn in_gsm7(character: char) -> bool {
    Septets::of(character) != Septets::Outside
}

/// The characters that force a text into UCS-2, each with its index counted in characters from 0.
pub fn forces_ucs2(text: &str) -> impl Iterator<Item = (usize, char)> {
    text.chars().enumerate().filter(|(_, character)| !in_gsm7(*character))
}

/// The text in GSM-7, one septet an octet (unpacked, as SMPP data coding 0 wants it), escapes included; `None` if a
/// character is outside of the alphabet.
pub fn encode_gsm7(text: &str) -> Option<Vec<u8>> {
    let mut septets = Vec::with_capacity(text.len());
    for character in text.chars() {
        match Septets::of(character) {
            Septets::Basic(septet) => septets.push(septet),
            Septets::Escaped(septet) => septets.extend([ESCAPE, septet]),
            Septets::Outside => return None,
        }
    }
    Some(septets)
}

/// The text of unpacked GSM-7 octets; what is no character of the alphabet becomes U+FFFD.
pub fn decode_gsm7(septets: &[u8]) -> String {
    let mut text = String::with_capacity(septets.len());
    let mut octets = septets.iter().copied();
    while let Some(octet) = octets.next() {
        text.push(match octet {
            ESCAPE => octets.next().and_then(extended).unwrap_or(char::REPLACEMENT_CHARACTER),
            _ => BASIC.get(usize::from(octet)).copied().unwrap_or(char::REPLACEMENT_CHARACTER),
        });
    }
    text
}

/// The character after an escape.
fn extended(septet: u8) -> Option<char> {
    let mut table = EXTENSION.iter().chain(std::iter::once(&EURO));
    table.find(|(_, known)| *known == septet).map(|(character, _)| *character)
}

/// The text in UCS-2, big endian, without byte order mark (SMPP data coding 8).
pub fn encode_ucs2(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

/// Fills the segments of a text one character after the other.
struct Filling {
    encoding: Encoding,
    units: usize,
    in_segment: usize,
    segments: u32,
    header: HeaderBits,
}

impl Filling {
    fn new(encoding: Encoding) -> Self {
        Self { encoding, units: 0, in_segment: 0, segments: 1, header: HeaderBits::Eight }
    }

    /// Adds a character of this many units, as if the text were a long one; true if it begins a new segment.
    fn push(&mut self, units: usize) -> bool {
        self.units += units;
        self.in_segment += units;
        let room = self.encoding.limits().1 - usize::from(self.header == HeaderBits::Sixteen);
        let overflows = self.in_segment > room;
        if overflows {
            self.segments = self.segments.saturating_add(1);
            self.in_segment = units;
        }
        overflows
    }

    fn measure(self) -> Measure {
        let segments = match self.units {
            0 => 0,
            units if units <= self.encoding.limits().0 => 1,
            _ => self.segments,
        };
        Measure { encoding: self.encoding, units: self.units, segments }
    }
}

#[cfg(test)]
mod tests;
