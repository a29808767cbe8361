//! The arguments, as clap reads them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::people_args::{ContactAction, OptoutAction};
use super::template_args::TemplateAction;
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
    ///
    /// It takes messages in the garage application's own protocol at any path, and in the dialects of vendors below
    /// /vendor/twilio, /vendor/vonage, /vendor/infobip, /vendor/orange, /vendor/l2t, /vendor/winsms and
    /// /vendor/capcom6: that is the base_url to try such a provider without an account. GET /messages tells what it was
    /// given; POST /replies {"provider","from","text"} lets a customer answer.
    Gateway {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:8025", value_name = "ADDR")]
        listen: SocketAddr,
        /// Address at which it speaks SMPP 3.4 too
        #[arg(long, value_name = "ADDR")]
        smpp: Option<SocketAddr>,
        /// Faults, receipts and credentials to play, as TOML
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
    /// Who carries messages, and how well
    Provider {
        /// What to do
        #[command(subcommand)]
        action: ProviderAction,
    },
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

/// `provider`
#[derive(Debug, Subcommand)]
pub enum ProviderAction {
    /// All providers, in the order in which they are tried
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Try one: is it there, does it take the credentials, how much is left; with --to, send a real message
    Test {
        /// Its name in the configuration
        name: String,
        /// Send a message to this number, which costs what a message costs
        #[arg(long, value_name = "PHONE")]
        to: Option<String>,
        /// The text [default: a short one in French]
        #[arg(long, requires = "to")]
        text: Option<String>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}
