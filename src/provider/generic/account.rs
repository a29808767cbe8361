//! What is asked beside the messages: what is left of the credit, and what became of messages that nobody pushes receipts for.
//!
//! Owns what `balance` and `poll` of the configuration ask, and what the answers mean. Nothing here sends, so a question that fails is asked again later.

use std::time::Duration;

use super::GenericError;
use super::answer::Answer;
use super::config::{BalanceConfig, GenericConfig, PollConfig};
use super::detail::Redactor;
use super::extract::Extractor;
use super::pushes::ReceiptReader;
use super::request::{Question, RequestMaker};
use super::subject::{ACCOUNT_VARIABLES, POLL_VARIABLES, Subject};
use crate::provider::receipt::Receipt;

/// Most ids in one question.
const BATCH_LIMIT: usize = 500;

/// A checked question for what is left.
pub(super) struct Balance {
    pub(super) maker: RequestMaker,
    value: Extractor,
}

impl Balance {
    pub(super) fn new(config: &GenericConfig, balance: &BalanceConfig) -> Result<Self, GenericError> {
        let limits = Duration::from_secs(60)..=Duration::from_secs(86_400);
        if !limits.contains(&balance.every) {
            return Err(GenericError::key("balance.every", "must be from 1min to 1day"));
        }
        let question = Question {
            key: "balance",
            method: balance.method,
            url: &balance.url,
            query: &balance.query,
            headers: &balance.headers,
            variables: ACCOUNT_VARIABLES,
        };
        let maker = RequestMaker::of_questions(config, &question, &[Subject::Account])?;
        Ok(Self { maker, value: Extractor::new("balance.value", &balance.value)? })
    }

    /// What is left, when the answer says so.
    pub(super) fn read(&self, answer: &Answer) -> Option<f64> {
        let text = self.value.find(answer).filter(|_| (200..300).contains(&answer.status) && answer.complete)?;
        text.trim().replace(',', ".").parse().ok().filter(|value: &f64| value.is_finite())
    }
}

/// A checked question for receipts.
pub(super) struct Poll {
    pub(super) maker: RequestMaker,
    pub(super) batch: usize,
    pub(super) separator: String,
    receipts: ReceiptReader,
    /// Whether the answer repeats the ids.
    names_ids: bool,
}

impl Poll {
    pub(super) fn new(config: &GenericConfig, poll: &PollConfig) -> Result<Self, GenericError> {
        let names_ids = poll.receipts.id.is_some();
        if poll.batch == 0 || poll.batch > BATCH_LIMIT || (poll.batch > 1 && !names_ids) {
            let problem =
                format!("must be from 1 to {BATCH_LIMIT}, and 1 where the answer does not name ids (`receipts.id`)");
            return Err(GenericError::key("poll.batch", problem));
        }
        let question = Question {
            key: "poll",
            method: poll.method,
            url: &poll.url,
            query: &poll.query,
            headers: &poll.headers,
            variables: POLL_VARIABLES,
        };
        let maker = RequestMaker::of_questions(config, &question, &[Subject::Ids("1"), Subject::Ids("2")])?;
        let receipts = ReceiptReader::new("poll.receipts", &poll.receipts)?;
        Ok(Self { maker, batch: poll.batch, separator: poll.separator.clone(), receipts, names_ids })
    }

    /// The receipts of an answer to a question about `ids`.
    ///
    /// # Errors
    /// Why it cannot be read, in a sentence.
    pub(super) fn read(&self, answer: &Answer, ids: &[&str], redactor: &Redactor) -> Result<Vec<Receipt>, String> {
        let status = answer.status;
        let json = answer
            .json
            .as_ref()
            .filter(|_| (200..300).contains(&status) && answer.complete)
            .ok_or_else(|| format!("HTTP {status} without receipts that can be read"))?;
        let asked = (!self.names_ids).then(|| ids.first().copied()).flatten();
        Ok(self.receipts.read(json, asked, redactor))
    }
}
