//! Which messages a provider takes: the conditions of its section, its part, its price and its quota. What follows from them is [`router`](super::router)'s.

use std::time::Duration;

use serde::Deserialize;

use crate::message::category::Category;

/// Shortest and longest `slow_after`.
const SLOW_LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Most entries of one condition.
const CONDITION_LIMIT: usize = 200;

/// Which messages a provider takes, and how many. Unknown keys are errors.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// Its part of the messages that it and others with a weight could take, 1 to 1000. Default: none; order decides.
    pub weight: Option<u32>,
    /// What one segment costs, in one currency for all providers.
    pub price: Option<f64>,
    /// Messages in one day of the garage's zone, of all daemons together. Default: no limit.
    pub daily_quota: Option<u32>,
    /// `transactional`, `service`, `marketing`. Default: all.
    #[serde(deserialize_with = "categories")]
    pub categories: Vec<Category>,
    /// Messages of which nobody has told after this time that they arrived count as late. Default 1 min. See [`health`](super::health).
    #[serde(with = "humantime_serde")]
    pub slow_after: Option<Duration>,
    /// Beginnings of numbers in E.164, such as `+216` for Tunisia or `+2165` for one operator's. Default: all.
    pub prefixes: Vec<String>,
    /// Languages of the text, such as `fr`. Default: all; a text without a language fits any.
    pub languages: Vec<String>,
}

/// How providers are put in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As they stand in the configuration.
    #[default]
    Order,
    /// The cheapest first; those without a price last.
    Cost,
}

/// What a route depends on.
#[derive(Debug, Clone, Copy)]
pub struct Traits<'a> {
    /// The message's category.
    pub category: Category,
    /// The number, in E.164.
    pub recipient: &'a str,
    /// The language of the text, when it has one.
    pub lang: Option<&'a str>,
}

impl RouteConfig {
    /// What is wrong with it, when something is: the key, and a sentence.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        if self.weight.is_some_and(|weight| !(1..=1000).contains(&weight)) {
            return Some(("weight", "must be from 1 to 1000".to_owned()));
        }
        if self.price.is_some_and(|price| !price.is_finite() || price < 0.0) {
            return Some(("price", "must be 0 or more".to_owned()));
        }
        if self.daily_quota == Some(0) {
            return Some(("daily_quota", "must be above 0".to_owned()));
        }
        if self.slow_after.is_some_and(|time| time < SLOW_LIMITS.0 || time > SLOW_LIMITS.1) {
            return Some(("slow_after", format!("must be from {:?} to {:?}", SLOW_LIMITS.0, SLOW_LIMITS.1)));
        }
        for (key, entries) in [("prefixes", &self.prefixes), ("languages", &self.languages)] {
            if entries.len() > CONDITION_LIMIT {
                return Some((key, format!("more than {CONDITION_LIMIT} entries")));
            }
        }
        if let Some(prefix) = self.prefixes.iter().find(|prefix| !is_prefix(prefix)) {
            return Some((
                "prefixes",
                format!("\"{}\" is no beginning of a number in E.164, such as +216", short(prefix)),
            ));
        }
        if let Some(lang) = self
            .languages
            .iter()
            .find(|lang| !(2..=3).contains(&lang.len()) || !lang.bytes().all(|b| b.is_ascii_lowercase()))
        {
            return Some(("languages", format!("\"{}\" is no language, such as fr", short(lang))));
        }
        None
    }

    /// Whether it says anything about who takes what.
    pub fn decides(&self) -> bool {
        *self != Self { price: self.price, ..Self::default() }
    }

    /// What it takes, in words.
    pub fn in_words(&self) -> String {
        let mut words = Vec::new();
        if let Some(weight) = self.weight {
            words.push(format!("weight {weight}"));
        }
        words.extend(self.categories.iter().map(ToString::to_string));
        words.extend(self.prefixes.iter().cloned());
        words.extend(self.languages.iter().cloned());
        if let Some(quota) = self.daily_quota {
            words.push(format!("at most {quota} a day"));
        }
        if let Some(price) = self.price {
            words.push(format!("{price} a segment"));
        }
        if words.is_empty() { "all messages".to_owned() } else { words.join(", ") }
    }

    /// Whether a message meets the conditions.
    pub fn fits(&self, traits: &Traits<'_>) -> bool {
        let any =
            |list: &[String], fits: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|entry| fits(entry));
        (self.categories.is_empty() || self.categories.contains(&traits.category))
            && any(&self.prefixes, &|prefix| traits.recipient.starts_with(prefix))
            && any(&self.languages, &|lang| traits.lang.is_none_or(|spoken| spoken == lang))
    }
}

fn is_prefix(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|digits| {
        (1..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit())
    })
}

fn short(text: &str) -> String {
    text.chars().take(20).collect()
}

fn categories<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Category>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .iter()
        .map(|word| word.parse().map_err(serde::de::Error::custom))
        .collect()
}
