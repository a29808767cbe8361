//! What a `command_status` means: SMPP 3.4, section 5.1.3, and the few of SMPP 5.0 that centres answer all the same.
//!
//! Owns the table and nothing else. An answer other than 0 says that the message was not taken; what is worth another
//! try, what stops the provider and what ends the message is decided here. A status that no page names may mean
//! anything, so the message may have been sent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::message::outcome::Outcome;

/// How long to wait after a centre that says that we are too fast.
const THROTTLED_PAUSE: Duration = Duration::from_secs(1);

/// What a status means for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Refused for good.
    Rejected,
    /// Too fast, or too much waits at the centre.
    Throttled,
    /// Not sent; worth another try.
    Temporary,
    /// Every message would be refused.
    Misconfigured,
    /// The account is empty.
    NoCredit,
    /// It may have been sent.
    Unknown,
}

use Verdict::{Misconfigured, Rejected, Temporary, Throttled, Unknown};

/// Every status but 0 that the standards name, in order: number, name, what it means in an answer to `submit_sm`.
///
/// What only our configuration can have caused (addresses' kinds, sender, flags) stops the provider, so that messages
/// wait for the correction. What may depend on the text (`esm_class` and optional parameters of long ones) ends the one message.
pub(super) const STATUSES: [(u32, &str, Verdict); 55] = [
    (0x0000_0001, "RINVMSGLEN", Rejected),
    (0x0000_0002, "RINVCMDLEN", Rejected),
    (0x0000_0003, "RINVCMDID", Misconfigured),
    (0x0000_0004, "RINVBNDSTS", Temporary),
    (0x0000_0005, "RALYBND", Temporary),
    (0x0000_0006, "RINVPRTFLG", Misconfigured),
    (0x0000_0007, "RINVREGDLVFLG", Misconfigured),
    (0x0000_0008, "RSYSERR", Temporary),
    (0x0000_000A, "RINVSRCADR", Misconfigured),
    (0x0000_000B, "RINVDSTADR", Rejected),
    (0x0000_000C, "RINVMSGID", Rejected),
    (0x0000_000D, "RBINDFAIL", Misconfigured),
    (0x0000_000E, "RINVPASWD", Misconfigured),
    (0x0000_000F, "RINVSYSID", Misconfigured),
    (0x0000_0011, "RCANCELFAIL", Rejected),
    (0x0000_0013, "RREPLACEFAIL", Rejected),
    (0x0000_0014, "RMSGQFUL", Throttled),
    (0x0000_0015, "RINVSERTYP", Misconfigured),
    (0x0000_0033, "RINVNUMDESTS", Rejected),
    (0x0000_0034, "RINVDLNAME", Rejected),
    (0x0000_0040, "RINVDESTFLAG", Rejected),
    (0x0000_0042, "RINVSUBREP", Misconfigured),
    (0x0000_0043, "RINVESMCLASS", Rejected),
    (0x0000_0044, "RCNTSUBDL", Rejected),
    (0x0000_0045, "RSUBMITFAIL", Temporary),
    (0x0000_0048, "RINVSRCTON", Misconfigured),
    (0x0000_0049, "RINVSRCNPI", Misconfigured),
    (0x0000_0050, "RINVDSTTON", Misconfigured),
    (0x0000_0051, "RINVDSTNPI", Misconfigured),
    (0x0000_0053, "RINVSYSTYP", Misconfigured),
    (0x0000_0054, "RINVREPFLAG", Misconfigured),
    (0x0000_0055, "RINVNUMMSGS", Rejected),
    (0x0000_0058, "RTHROTTLED", Throttled),
    (0x0000_0061, "RINVSCHED", Temporary),
    (0x0000_0062, "RINVEXPIRY", Misconfigured),
    (0x0000_0063, "RINVDFTMSGID", Misconfigured),
    (0x0000_0064, "RX_T_APPN", Temporary),
    (0x0000_0065, "RX_P_APPN", Rejected),
    (0x0000_0066, "RX_R_APPN", Rejected),
    (0x0000_0067, "RQUERYFAIL", Rejected),
    (0x0000_00C0, "RINVOPTPARSTREAM", Rejected),
    (0x0000_00C1, "ROPTPARNOTALLWD", Rejected),
    (0x0000_00C2, "RINVPARLEN", Rejected),
    (0x0000_00C3, "RMISSINGOPTPARAM", Rejected),
    (0x0000_00C4, "RINVOPTPARAMVAL", Rejected),
    (0x0000_00FE, "RDELIVERYFAILURE", Rejected),
    // "Unknown error": so it is.
    (0x0000_00FF, "RUNKNOWNERR", Unknown),
    // SMPP 5.0, section 4.7.6.
    (0x0000_0100, "RSERTYPUNAUTH", Misconfigured),
    (0x0000_0101, "RPROHIBITED", Misconfigured),
    (0x0000_0102, "RSERTYPUNAVAIL", Temporary),
    (0x0000_0103, "RSERTYPDENIED", Misconfigured),
    (0x0000_0104, "RINVDCS", Rejected),
    (0x0000_0105, "RINVSRCADDRSUBUNIT", Misconfigured),
    (0x0000_0106, "RINVDSTADDRSUBUNIT", Misconfigured),
    (0x0000_0111, "RCONGESTED", Throttled),
];

/// RINVBNDSTS: the centre believes that we are not bound.
pub(super) const NOT_BOUND: u32 = 0x04;

/// Answers to a bind that only a person can mend.
const BIND_REFUSED: [u32; 6] = [0x03, 0x0D, 0x0E, 0x0F, 0x53, 0x101];

/// The name of a status for staff, such as `RTHROTTLED (0x00000058)`.
pub(super) fn name(status: u32) -> String {
    match known(status) {
        Some((_, name, _)) => format!("{name} (0x{status:08X})"),
        None => format!("status 0x{status:08X}"),
    }
}

fn known(status: u32) -> Option<&'static (u32, &'static str, Verdict)> {
    STATUSES.iter().find(|(number, ..)| *number == status)
}

/// The outcome of a message that was answered with this status, which is not 0; the centre's own meanings go first.
pub(super) fn outcome(status: u32, own: &BTreeMap<u32, Verdict>) -> Outcome {
    let verdict = own.get(&status).copied().or_else(|| known(status).map(|(_, _, verdict)| *verdict));
    let detail = name(status);
    match verdict {
        Some(Rejected) => Outcome::Rejected { detail },
        Some(Throttled) => Outcome::Throttled { retry_after: Some(THROTTLED_PAUSE), detail },
        Some(Temporary) => Outcome::TemporaryFailure { detail },
        Some(Misconfigured) => Outcome::Misconfigured { detail },
        Some(Verdict::NoCredit) => Outcome::NoCredit { detail },
        Some(Unknown) | None => Outcome::Unknown { detail },
    }
}

/// Whether a bind that was answered with this status is refused until somebody acts.
pub(super) fn bind_is_misconfigured(status: u32) -> bool {
    BIND_REFUSED.contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SMPP 3.4, section 5.1.3, and the numbers that it reserves.
    const DOCUMENTED: [u32; 47] = [
        0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0A, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x11, 0x13, 0x14, 0x15,
        0x33, 0x34, 0x40, 0x42, 0x43, 0x44, 0x45, 0x48, 0x49, 0x50, 0x51, 0x53, 0x54, 0x55, 0x58, 0x61, 0x62, 0x63,
        0x64, 0x65, 0x66, 0x67, 0xC0, 0xC1, 0xC2, 0xC3, 0xC4, 0xFE, 0xFF,
    ];

    #[test]
    fn every_documented_status_is_in_the_table_once_and_in_order() {
        assert!(STATUSES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for status in DOCUMENTED {
            assert!(known(status).is_some(), "0x{status:08X}");
        }
        assert_eq!(STATUSES.iter().filter(|(status, ..)| *status < 0x100).count(), DOCUMENTED.len());
    }

    #[test]
    fn every_documented_status_has_its_outcome_and_names_itself() {
        let words = |wanted: &str| -> Vec<u32> {
            STATUSES
                .iter()
                .map(|(status, ..)| *status)
                .filter(|status| outcome(*status, &BTreeMap::new()).word() == wanted)
                .collect()
        };
        assert_eq!(words("throttled"), [0x14, 0x58, 0x111]);
        assert_eq!(words("temporary_failure"), [0x04, 0x05, 0x08, 0x45, 0x61, 0x64, 0x102]);
        assert_eq!(
            words("misconfigured"),
            [
                0x03, 0x06, 0x07, 0x0A, 0x0D, 0x0E, 0x0F, 0x15, 0x42, 0x48, 0x49, 0x50, 0x51, 0x53, 0x54, 0x62, 0x63,
                0x100, 0x101, 0x103, 0x105, 0x106
            ]
        );
        assert_eq!(
            words("rejected"),
            [
                0x01, 0x02, 0x0B, 0x0C, 0x11, 0x13, 0x33, 0x34, 0x40, 0x43, 0x44, 0x55, 0x65, 0x66, 0x67, 0xC0, 0xC1,
                0xC2, 0xC3, 0xC4, 0xFE, 0x104
            ]
        );
        assert_eq!(words("unknown"), [0xFF]);
        assert_eq!(outcome(0x58, &BTreeMap::new()).detail(), "RTHROTTLED (0x00000058)");
    }

    #[test]
    fn a_status_that_no_page_names_may_mean_anything() {
        let none = BTreeMap::new();
        for status in (0x09..0x1_0000).chain([0x400, u32::MAX]).filter(|status| known(*status).is_none()) {
            assert_eq!(outcome(status, &none).word(), "unknown", "0x{status:08X}");
        }
        let own = BTreeMap::from([(0x400, Verdict::NoCredit), (0x08, Verdict::Unknown)]);
        assert_eq!(outcome(0x400, &own).word(), "no_credit");
        assert_eq!(outcome(0x08, &own).word(), "unknown");
    }

    #[test]
    fn a_bind_that_is_bound_already_is_no_mistake_of_the_configuration() {
        for (status, stops) in [(0x0D, true), (0x0E, true), (0x0F, true), (0x101, true), (0x05, false), (0x08, false)] {
            assert_eq!(bind_is_misconfigured(status), stops, "0x{status:08X}");
        }
    }
}
