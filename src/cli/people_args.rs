//! The arguments of `contact` and `optout`, as clap reads them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Of what a number opts out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scope {
    /// Of all messages
    All,
    /// Of marketing
    Marketing,
}

impl Scope {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Marketing => "marketing",
        }
    }
}

/// A new opt-out, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OptOutWord {
    /// Of all messages
    All,
    /// Of marketing
    Marketing,
    /// Of nothing
    None,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum YesNo {
    /// Given
    Yes,
    /// Taken back
    No,
}

/// `contact`
#[derive(Debug, Subcommand)]
pub enum ContactAction {
    /// What is on record of a number
    Show {
        /// The number, however it is written
        phone: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change it
    Set(ContactSet),
    /// Take over the languages of many numbers (CSV: a number and a language in each line)
    Import {
        /// The file; - is standard input
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// `contact set`
#[derive(Debug, Args)]
#[group(id = "change", required = true, multiple = true, args = ["lang", "opt_out", "consent"])]
pub struct ContactSet {
    /// The number, however it is written
    pub phone: String,
    /// The customer's language, such as ar; empty for the garage's
    #[arg(long)]
    pub lang: Option<String>,
    /// What the customer does not want
    #[arg(long, value_enum)]
    pub opt_out: Option<OptOutWord>,
    /// Consent to marketing, given or taken back; giving it needs --how and --wording
    #[arg(long, value_enum)]
    pub consent: Option<YesNo>,
    /// How the customer said so, such as "signed form"
    #[arg(long, value_name = "TEXT")]
    pub how: Option<String>,
    /// The words that were agreed to
    #[arg(long, value_name = "TEXT")]
    pub wording: Option<String>,
    /// Where the proof is, such as "folder 12, sheet 3"
    #[arg(long, value_name = "TEXT")]
    pub proof: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `optout`
#[derive(Debug, Subcommand)]
pub enum OptoutAction {
    /// A number wants no more messages
    Add {
        /// The number, however it is written
        phone: String,
        /// Of what
        #[arg(long, value_enum, default_value = "all")]
        scope: Scope,
        /// How the customer said so
        #[arg(long, value_name = "TEXT")]
        how: Option<String>,
    },
    /// A number wants messages again; this gives no consent to marketing
    Remove {
        /// The number, however it is written
        phone: String,
        /// How the customer said so
        #[arg(long, value_name = "TEXT")]
        how: Option<String>,
    },
    /// Numbers that have opted out, the newest first
    List {
        /// At most this many
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take over a list (CSV); lines that are no numbers are listed and hinder nobody
    Import {
        /// The file; - is standard input
        file: PathBuf,
        /// Of what its numbers opt out
        #[arg(long, value_enum, default_value = "marketing")]
        scope: Scope,
        /// Where the list comes from
        #[arg(long, default_value = "85300", value_name = "NAME")]
        source: String,
        /// The column that holds the numbers: its name or its place from 1 [default: the first whose name says so, else the first]
        #[arg(long, value_name = "COLUMN")]
        column: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}
