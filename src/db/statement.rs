//! Statements: one file each under `sql/`, whose first line is its signature.
//!
//! `-- outbox/claim(floor bigint, slots bigint, ...)` names the statement, its arguments and their types. The types are
//! sent with the statement, so that the server plans and runs it in one round trip; the names are checked at every call,
//! so that two arguments of one type cannot change places unseen.
//!
//! A file whose second line is `-- kept, returns (id bigint, ...)` is run so often that planning it would cost more than running it. The
//! installer makes a function of its text, and what is sent is the call: the server keeps the plans of a function's statements for as long
//! as a connection lives, also behind a pooler in transaction mode, where a prepared statement would be lost
//! (docs/adr/0017-kept-plans.md).

use std::sync::LazyLock;

use tokio_postgres::types::{ToSql, Type};

use super::{Argument, DbError};

/// One statement file.
#[derive(Debug)]
pub struct Statement {
    name: String,
    text: &'static str,
    parameters: Vec<(String, Type)>,
    kept: Option<Kept>,
}

/// The function that keeps the plan of a statement.
#[derive(Debug)]
struct Kept {
    call: String,
    definition: String,
}

/// How a kept statement is planned: once for all arguments, through indexes and in their order, whatever the statistics say of a table
/// that is empty now and full in a moment.
pub const KEPT_PLANNING: [&str; 5] = [
    "plan_cache_mode = force_generic_plan",
    "enable_seqscan = off",
    "enable_bitmapscan = off",
    "enable_sort = off",
    "jit = off",
];

impl Kept {
    fn parse(name: &str, arguments: &str, count: usize, text: &str) -> Result<Option<Self>, String> {
        let Some(second) = text.lines().nth(1).and_then(|line| line.strip_prefix("-- kept, returns (")) else {
            return Ok(None);
        };
        let columns = second.strip_suffix(')').ok_or_else(|| format!("{name}: {second}"))?;
        let function = format!("sms_kept_{}", name.rsplit('/').next().unwrap_or(name));
        let types: Vec<&str> = arguments.split(", ").filter_map(|argument| Some(argument.split_once(' ')?.1)).collect();
        let types = types.join(", ");
        let placeholders: Vec<String> = (1..=count).map(|number| format!("${number}")).collect();
        let planning: Vec<String> = KEPT_PLANNING.iter().map(|setting| format!("SET {setting}")).collect();
        // Dropped first: what it returns may have changed since the version before.
        let definition = format!(
            "DROP FUNCTION IF EXISTS {function}({types});\n\
             CREATE FUNCTION {function}({types}) RETURNS TABLE ({columns})\n\
             LANGUAGE plpgsql SET search_path FROM CURRENT {} AS $kept$\n\
             #variable_conflict use_column\n\
             BEGIN\nRETURN QUERY\n{text};\nEND $kept$;\n",
            planning.join(" ")
        );
        Ok(Some(Self {
            call: format!("/* {name} */ SELECT * FROM {function}({})", placeholders.join(", ")),
            definition,
        }))
    }
}

impl Statement {
    /// Reads a statement from the text of its file.
    ///
    /// # Errors
    /// A sentence about the signature.
    pub fn parse(text: &'static str) -> Result<Self, String> {
        let first = text.lines().next().unwrap_or_default();
        let signature =
            first.strip_prefix("-- ").and_then(|line| line.strip_suffix(')')).and_then(|line| line.split_once('('));
        let Some((name, arguments)) = signature else {
            return Err(format!("the first line is no signature: {first}"));
        };
        let parameters: Vec<(String, Type)> = arguments
            .split(',')
            .map(str::trim)
            .filter(|argument| !argument.is_empty())
            .map(|argument| {
                let (label, word) = argument.split_once(' ').ok_or_else(|| format!("{name}: {argument}"))?;
                Ok((label.to_owned(), type_named(word).ok_or_else(|| format!("{name}: unknown type {word}"))?))
            })
            .collect::<Result<_, String>>()?;
        let kept = Kept::parse(name, arguments, parameters.len(), text)?;
        Ok(Self { name: name.to_owned(), text, parameters, kept })
    }

    /// The name, which is the path of its file below `sql/` without the ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of the file.
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// What is sent to the server: the text, or the call of the function that keeps its plan.
    pub(super) fn sent(&self) -> &str {
        self.kept.as_ref().map_or(self.text, |kept| kept.call.as_str())
    }

    /// The SQL that makes the function, where the statement has one.
    pub(super) fn definition(&self) -> Option<&str> {
        self.kept.as_ref().map(|kept| kept.definition.as_str())
    }

    /// Pairs the arguments with their types, and refuses labels that are not those of the signature.
    pub(super) fn bind<'a>(&self, arguments: &[Argument<'a>]) -> Result<Vec<(&'a (dyn ToSql + Sync), Type)>, DbError> {
        let given = arguments.iter().map(|(label, _)| *label);
        if !given.eq(self.parameters.iter().map(|(label, _)| label.as_str())) {
            return Err(DbError::Unexpected(format!(
                "{} was called with other arguments than its signature",
                self.name
            )));
        }
        Ok(arguments.iter().zip(&self.parameters).map(|((_, value), (_, kind))| (*value, kind.clone())).collect())
    }
}

fn type_named(word: &str) -> Option<Type> {
    Some(match word {
        "bigint" => Type::INT8,
        "int" => Type::INT4,
        "text" => Type::TEXT,
        "boolean" => Type::BOOL,
        "timestamptz" => Type::TIMESTAMPTZ,
        "bigint[]" => Type::INT8_ARRAY,
        "boolean[]" => Type::BOOL_ARRAY,
        "int[]" => Type::INT4_ARRAY,
        "text[]" => Type::TEXT_ARRAY,
        "timestamptz[]" => Type::TIMESTAMPTZ_ARRAY,
        _ => return None,
    })
}

macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {
        $(
            $(#[$doc])*
            // The text is compiled in, and a test parses every statement.
            pub static $name: LazyLock<Statement> =
                LazyLock::new(|| Statement::parse(include_str!(concat!("../../sql/", $path, ".sql"))).expect($path));
        )*

        /// Every statement, for the tests that prepare them and read their plans.
        pub fn all() -> Vec<(&'static str, &'static Statement)> {
            vec![$(($path, &*$name)),*]
        }
    };
}

statements! {
    /// Picks and leases rows.
    CLAIM = "outbox/claim";
    /// The lowest row of a piece that the claims have passed.
    LEFT_BEHIND = "outbox/left_behind";
    /// Whether a piece has rows that nobody holds.
    STRAYS = "outbox/strays";
    /// Moves finished rows to history.
    SETTLE = "outbox/settle";
    /// Puts claimed rows back.
    POSTPONE = "outbox/postpone";
    /// Keeps results that came too late.
    EVIDENCE = "outbox/evidence";
    /// Garage events around those of a batch.
    NEIGHBOURS = "outbox/neighbours";
    /// Frees rows of ours that were never handed out.
    UNCLAIM = "outbox/unclaim";
    /// After hours were changed.
    RECONSIDER = "outbox/reconsider";
    /// Finds rows of dead owners.
    RESCUE = "outbox/rescue";
    /// Messages in doubt that are to be looked at.
    DOUBTFUL = "outbox/doubtful";
    /// What is decided about them.
    DECIDE = "outbox/decide";
    /// Which of a provider's ids belong to other messages.
    ACCOUNTED = "outbox/accounted";
    /// The quota of a day.
    QUOTA = "outbox/quota";
    /// After a clock went back.
    REWIND = "outbox/rewind";
    /// What a dead daemon held.
    LEFTOVER = "outbox/leftover";
    /// What is on record of numbers.
    CONTACTS = "outbox/contacts";
    /// Completed services that wait for others.
    JOINING = "outbox/joining";
    /// Ties them to one message that is about to go out.
    JOIN = "outbox/join";
    /// Delivery receipts.
    RECEIPTS = "receipt/enter";
    /// A customer's text.
    REPLY = "receipt/reply";
    /// Receipts that came too early.
    MATCH = "receipt/match";
    /// Messages to ask a provider about.
    AWAITED = "receipt/due";
    /// Whether they arrive in time.
    PUNCTUAL = "receipt/punctual";
    /// Messages that nobody tells about any more.
    FORGET = "receipt/forget";
    /// A sign of life, and who else works.
    BEAT = "daemon/beat";
    /// This daemon stops.
    LEAVE = "daemon/leave";
    /// Takes an owner number; and what this database is called in the names of journals.
    REGISTER = "daemon/register";
    /// Reads the settings.
    SETTINGS = "daemon/settings";
    /// Reads the templates.
    TEMPLATES = "daemon/templates";
    /// Sets the wake flag.
    WANT_NOTIFY = "daemon/want_notify";
    /// A notification for our own listener.
    TRY_NOTIFY = "daemon/try_notify";
    /// Months and retention.
    MAINTAIN = "daemon/maintain";
    /// Withdraws and enqueues reminders.
    REMIND = "daemon/remind";
    /// Which database this is.
    IDENTITY = "daemon/identity";
    /// Garage events without a message.
    MISSED = "daemon/missed";
    /// Enqueues them.
    CATCH_UP = "daemon/catch_up";
    /// Reads facts.
    FACTS = "daemon/facts";
    /// Changes a setting.
    SET = "staff/set";
    /// Lists messages.
    LIST = "staff/list";
    /// One message.
    SHOW = "staff/show";
    /// The story of one message.
    STORY = "staff/story";
    /// A message by hand.
    ENQUEUE = "staff/enqueue";
    /// Again.
    RESEND = "staff/resend";
    /// Not at all.
    CANCEL = "staff/cancel";
    /// Let go.
    RELEASE = "staff/release";
    /// Let all go that match.
    RELEASE_WHERE = "staff/release_where";
    /// None of those that match.
    CANCEL_WHERE = "staff/cancel_where";
    /// What is held, by reason.
    HELD = "staff/held";
    /// A message to try a provider.
    TRIAL = "staff/trial";
    /// Whether a source exists.
    EXISTS = "staff/exists";
    /// The live table at a glance.
    QUEUE = "staff/queue";
    /// Today's counts.
    TODAY = "staff/today";
    /// Daemons alive.
    OWNERS = "staff/owners";
    /// One contact.
    CONTACT_SHOW = "staff/contact_show";
    /// Its consent and opt-outs.
    CONTACT_LEDGER = "staff/contact_ledger";
    /// Changes it.
    CONTACT_CHANGE = "staff/contact_change";
    /// The languages of many numbers.
    CONTACT_LANGUAGES = "staff/contact_languages";
    /// Numbers that have opted out.
    OPTOUT_LIST = "staff/optout_list";
    /// Takes over more of them.
    OPTOUT_ADD = "staff/optout_add";
    /// A list was taken over.
    OPTOUT_IMPORTED = "staff/optout_imported";
    /// What is wrong with the list of opt-outs.
    OPTOUT_ALARM = "staff/optout_alarm";
    /// All versions of a template.
    TEMPLATE_HISTORY = "staff/template_history";
    /// Whether a template is one.
    TEMPLATE_CHECK = "staff/template_check";
    /// A new version.
    TEMPLATE_SET = "staff/template_set";
    /// Rows of the garage to try a template on.
    TEMPLATE_SAMPLES = "staff/template_samples";
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_statement_carries_its_own_path_in_its_first_line() {
        for (path, statement) in all() {
            assert_eq!(path, statement.name());
        }
    }

    #[test]
    fn arguments_must_carry_the_labels_of_the_signature() {
        let statement = Statement::parse("-- a/b(first bigint, second bigint)\nSELECT $1, $2").unwrap();
        assert!(statement.bind(&[("first", &1_i64), ("second", &2_i64)]).is_ok());
        assert!(statement.bind(&[("second", &1_i64), ("first", &2_i64)]).is_err());
        assert!(statement.bind(&[("first", &1_i64)]).is_err());
    }

    #[test]
    fn a_file_without_a_signature_is_refused() {
        assert!(Statement::parse("SELECT 1").is_err());
        assert!(Statement::parse("-- a/b(x money)\nSELECT 1").is_err());
    }
}
