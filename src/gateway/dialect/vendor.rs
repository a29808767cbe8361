//! The vendors whose dialects the gateway speaks, by the names that paths and scripts call them.
//!
//! Owns the names; knows nothing of what each one says.

use serde::{Deserialize, Serialize};

/// A vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::gateway) enum Vendor {
    Twilio,
    Vonage,
    Infobip,
    Orange,
    L2t,
    Winsms,
    Capcom6,
}

impl Vendor {
    pub(in crate::gateway) const ALL: [Vendor; 7] =
        [Vendor::Twilio, Vendor::Vonage, Vendor::Infobip, Vendor::Orange, Vendor::L2t, Vendor::Winsms, Vendor::Capcom6];

    /// Its name in paths and scripts.
    pub(in crate::gateway) fn name(self) -> &'static str {
        match self {
            Vendor::Twilio => "twilio",
            Vendor::Vonage => "vonage",
            Vendor::Infobip => "infobip",
            Vendor::Orange => "orange",
            Vendor::L2t => "l2t",
            Vendor::Winsms => "winsms",
            Vendor::Capcom6 => "capcom6",
        }
    }

    /// The vendor of this name.
    pub(in crate::gateway) fn named(name: &str) -> Option<Vendor> {
        Vendor::ALL.into_iter().find(|vendor| vendor.name() == name)
    }
}
