//! The dialects of vendors: what each one's interface takes, answers and pushes, so that a configuration can be tried without an
//! account. Written from the vendors' own documents, not from the adapters in `provider`: the two check each other.
//!
//! One file a vendor; [`speech`] says what a dialect is. They are mounted under `/vendor/NAME`, followed by the vendor's own
//! path. Nothing here listens, sends or keeps anything: the desk and the courier do. docs/SIMULATOR.md is for users.

pub(super) mod books;
pub(super) mod call;
mod capcom6;
mod infobip;
mod l2t;
mod orange;
pub(super) mod sending;
mod sign;
pub(super) mod speech;
mod twilio;
pub(super) mod vendor;
mod vonage;
mod winsms;

use self::speech::Dialect;
use self::vendor::Vendor;

/// Where the dialects are mounted.
pub(super) const MOUNT: &str = "/vendor/";

/// A vendor's way to speak.
pub(super) fn of(vendor: Vendor) -> &'static dyn Dialect {
    match vendor {
        Vendor::Twilio => &twilio::Twilio,
        Vendor::Vonage => &vonage::Vonage,
        Vendor::Infobip => &infobip::Infobip,
        Vendor::Orange => &orange::Orange,
        Vendor::L2t => &l2t::L2t,
        Vendor::Winsms => &winsms::Winsms,
        Vendor::Capcom6 => &capcom6::Capcom6,
    }
}

/// The vendor named in a path with what it is mounted under; none for a name that nobody has.
pub(super) fn mounted(path: &str) -> Option<(Vendor, &str)> {
    let name = path.strip_prefix(MOUNT)?.split('/').next().unwrap_or_default();
    Vendor::named(name).map(|vendor| (vendor, &path[..MOUNT.len() + name.len()]))
}
