//! The arguments, as clap reads them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::LogFormat;

/// Reliable text messages for a car garage: sends what the outbox in the garage's database holds.
#[derive(Debug, Parser)]
#[command(name = "ecar-sms", version, max_term_width = 100, propagate_version = true)]
pub struct Arguments {
    /// Options of every command.
    #[command(flatten)]
    pub globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// Configuration file [default: /etc/ecar-sms/config.toml, if it exists; also ECAR_SMS_CONFIG]
    #[arg(long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    /// Control socket [default: /run/ecar-sms/control.sock; also ECAR_SMS_SOCKET]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// How log lines look
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Run,
    /// Watch a garage's day become text messages, on a throwaway PostgreSQL and a simulated gateway
    Demo {
        /// End when all is settled
        #[arg(long)]
        once: bool,
        /// Port of the simulated gateway [default: a free one]
        #[arg(long)]
        port: Option<u16>,
    },
    /// Put our tables, functions and triggers into the garage's database; safe to run again
    Install {
        /// Print the SQL and change nothing
        #[arg(long)]
        dry_run: bool,
        /// Role that the daemon uses, which gets just the rights it needs [default: ecar_sms, if it exists]
        #[arg(long, value_name = "NAME")]
        role: Option<String>,
    },
    /// Make this database, a copy until now, the one that messages are sent from; what waits in it is held for staff
    Adopt,
    /// Take every trace out of the garage's database again, the record of messages included
    Uninstall {
        /// Print the SQL and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Check everything, and say how to mend what is wrong
    Doctor {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Simulate an SMS gateway, to try everything without sending
    Gateway {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:8025", value_name = "ADDR")]
        listen: SocketAddr,
        /// Faults to play, as TOML
        #[arg(long, value_name = "FILE")]
        script: Option<PathBuf>,
    },
    /// How the daemon and its queue are
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List messages, newest first
    List(ListArgs),
    /// One message, with every decision, attempt and receipt
    Show {
        /// The message
        id: i64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send messages again, with facts and text read afresh
    Resend {
        /// The messages
        #[arg(required = true)]
        ids: Vec<i64>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Do not send messages that are not being sent yet: these, or all that match
    Cancel {
        /// Which
        #[command(flatten)]
        which: Which,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Let held messages go: these, or all that match
    Release {
        /// Which
        #[command(flatten)]
        which: Which,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send a message by hand
    Send(SendArgs),
    /// Settings that take effect at once, without a restart
    Setting {
        /// What to do
        #[command(subcommand)]
        action: SettingAction,
    },
    /// The words of messages, by kind and language
    Template {
        /// What to do
        #[command(subcommand)]
        action: TemplateAction,
    },
    /// What is on record of a number: language, consent, opt-out
    Contact {
        /// What to do
        #[command(subcommand)]
        action: ContactAction,
    },
    /// Numbers that want no messages, or no marketing
    Optout {
        /// What to do
        #[command(subcommand)]
        action: OptoutAction,
    },
    /// Send nothing until `resume`; messages wait
    Pause,
    /// Send again
    Resume,
    /// Read the configuration again
    Reload,
    /// Print a completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Messages by their ids, or by what they are.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Which {
    /// The messages
    pub ids: Vec<i64>,
    /// All of this kind: service_completed, invoice_created, appointment_reminder, custom, campaign
    #[arg(long, conflicts_with = "ids")]
    pub kind: Option<String>,
    /// All with this reason, such as stampede or restored
    #[arg(long, conflicts_with = "ids")]
    pub reason: Option<String>,
    /// All made within this time, such as 2h
    #[arg(long, conflicts_with = "ids", value_name = "TIME")]
    pub since: Option<String>,
    /// All made longer ago than this, such as 30min
    #[arg(long, conflicts_with = "ids", value_name = "TIME")]
    pub until: Option<String>,
    /// All
    #[arg(long, conflicts_with = "ids")]
    pub all: bool,
}

/// `list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only this status: queued, sending, sent, delivered, undelivered, failed, skipped, cancelled, expired, held, unknown
    #[arg(long)]
    pub status: Option<String>,
    /// Only this number, however it is written
    #[arg(long)]
    pub phone: Option<String>,
    /// Only this kind: service_completed, invoice_created, appointment_reminder, custom, campaign
    #[arg(long)]
    pub kind: Option<String>,
    /// Created within this time, such as 30min or 2h
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: u32,
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// `send`
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Options of every kind.
    #[command(flatten)]
    pub options: SendOptions,
    /// What to send.
    #[command(subcommand)]
    pub what: SendWhat,
}

/// Options of every kind.
#[derive(Debug, Args)]
pub struct SendOptions {
    /// Not before this time: 2026-12-01 08:00, 18:30, or 2h from now
    #[arg(long, global = true, value_name = "TIME")]
    pub at: Option<String>,
    /// Language of the text, such as fr or ar
    #[arg(long, global = true)]
    pub lang: Option<String>,
    /// Wait this long for the result, such as 10s
    #[arg(long, global = true, value_name = "TIME")]
    pub wait: Option<String>,
    /// As JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to send.
#[derive(Debug, Subcommand)]
pub enum SendWhat {
    /// "Your car is ready", for a service
    Service {
        /// The service's id
        id: i64,
    },
    /// "A new invoice", for an invoice
    Invoice {
        /// The invoice's id
        id: i64,
    },
    /// A reminder, for a scheduled service
    Appointment {
        /// The service's id
        id: i64,
    },
    /// A text of your own
    Text {
        /// The number
        phone: String,
        /// The text
        text: String,
    },
}

/// `setting`
#[derive(Debug, Subcommand)]
pub enum SettingAction {
    /// All settings
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Change one
    Set {
        /// Its name
        name: String,
        /// Its value
        value: String,
    },
}

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
