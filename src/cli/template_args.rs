//! The arguments of `template`, as clap reads them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// How a text may be changed to cost less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum EncodingWord {
    /// To the letter
    Keep,
    /// Accents are given up where that saves a segment
    Fit,
    /// Always in GSM-7; what cannot be is refused
    Force,
}

impl EncodingWord {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Fit => "fit",
            Self::Force => "force",
        }
    }
}

/// Which template: service_completed, invoice_created or appointment_reminder, in a language.
#[derive(Debug, Args)]
pub struct TemplateName {
    /// The kind of message: service_completed, invoice_created, appointment_reminder
    pub kind: String,
    /// The language
    #[arg(default_value = "fr")]
    pub lang: String,
}

/// `template`
#[derive(Debug, Subcommand)]
pub enum TemplateAction {
    /// The templates in force
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// One template
    #[command(disable_version_flag = true)]
    Show {
        /// Which
        #[command(flatten)]
        name: TemplateName,
        /// An older version; 0 is built in
        #[arg(long, value_name = "N")]
        version: Option<i32>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Save a new version; a bad one is refused with the place of what is wrong
    Set {
        /// Which
        #[command(flatten)]
        name: TemplateName,
        /// The template, such as "Bonjour {{ first_name }}, votre {{ car_model }} vous attend."
        #[arg(required_unless_present_any = ["file", "built_in"], conflicts_with_all = ["file", "built_in"])]
        text: Option<String>,
        /// Read it from this file; - is standard input
        #[arg(long, value_name = "FILE", conflicts_with = "built_in")]
        file: Option<PathBuf>,
        /// Go back to the built-in text
        #[arg(long)]
        built_in: bool,
        /// How its texts may be changed to cost less [default: the setting <kind>.encoding]
        #[arg(long, value_enum)]
        encoding: Option<EncodingWord>,
    },
    /// Try a template on the newest rows of the garage: text, encoding, segments, price
    Preview {
        /// Which
        #[command(flatten)]
        name: TemplateName,
        /// Try this text instead of the one in force; nothing is saved
        #[arg(long)]
        text: Option<String>,
        /// The same from a file; - is standard input
        #[arg(long, value_name = "FILE", conflicts_with = "text")]
        file: Option<PathBuf>,
        /// Try another encoding
        #[arg(long, value_enum)]
        encoding: Option<EncodingWord>,
        /// On this service or invoice
        #[arg(long, value_name = "ID")]
        id: Option<i64>,
        /// On so many of the newest
        #[arg(long, default_value_t = 3, value_name = "N", conflicts_with = "id")]
        limit: u32,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// All versions of a template, the newest first
    History {
        /// Which
        #[command(flatten)]
        name: TemplateName,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}
