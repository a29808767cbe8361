//! Our requests against servers made from the documents that the vendors publish (scripts/openapi-mock.js): `make contract`, docs/providers/CONTRACTS.md.
//!
//! Not part of `make test`: it needs node, and documents that are not ours to carry. What they say is held without them in `contract.rs`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use secrecy::SecretString;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::super::{Vendor, VendorConfig};
use super::support::{KEY, inquiry, made, outgoing, pushing};
use crate::message::encoding::Encoding;
use crate::provider::generic::{AuthConfig, GenericConfig};

struct Case {
    vendor: &'static str,
    account: Option<&'static str>,
    /// The names of its documents, and which of their paths are looked at.
    documents: &'static [&'static str],
    paths: &'static str,
    /// An id of its kind.
    id: &'static str,
    /// A field without which it takes nothing.
    needed: &'static str,
}

const CASES: [Case; 4] = [
    Case {
        vendor: "twilio",
        account: Some("AC00000000000000000000000000000000"),
        documents: &["twilio"],
        paths: r"/(Messages|Messages/\{Sid\}|Balance)\.json$",
        id: "SM00000000000000000000000000000000",
        needed: "To",
    },
    Case {
        vendor: "vonage",
        account: Some("abcd1234"),
        documents: &["vonage-sms", "vonage-account"],
        paths: r"^/sms/|^/account/",
        id: "0A0000001234567B",
        needed: "text",
    },
    Case {
        vendor: "infobip",
        account: None,
        documents: &["infobip-sms", "infobip-account"],
        paths: r"^/sms/3/(messages|logs)$|^/account/1/balance$",
        id: "ecar-1-1",
        needed: "/messages/0/destinations/0/to",
    },
    Case {
        vendor: "capcom6",
        account: Some("A1B2C3"),
        documents: &["capcom6"],
        paths: r"^/messages",
        id: "ecar-1-1",
        needed: "/phoneNumbers/0",
    },
];

/// A server made from documents.
struct Mock {
    url: String,
    told: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Mock {
    async fn start(documents: &[PathBuf], paths: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new("node")
            .arg(root.join("scripts/openapi-mock.js"))
            .arg("0")
            .args(documents)
            .env("PATHS", paths)
            .env("NODE_PATH", root.join("target/contract/node_modules"))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed; see docs/providers/CONTRACTS.md");
        let mut told = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = told.next_line().await.unwrap().expect("the server starts; `make contract` installs what it needs");
        Self { url: format!("http://127.0.0.1:{port}"), told, _child: child }
    }

    /// What it says of the next request.
    async fn says(&mut self) -> String {
        self.told.next_line().await.unwrap().expect("the server lives")
    }

    async fn takes(&mut self, what: &str) {
        let said = self.says().await;
        assert!(said.starts_with("taken "), "{what}: {said}");
    }
}

/// The documents that are there, as JSON or YAML.
fn found(directory: &Path, names: &[&str]) -> Option<Vec<PathBuf>> {
    let file = |name: &&str| {
        ["json", "yml", "yaml"].map(|kind| directory.join(format!("{name}.{kind}"))).into_iter().find(|it| it.exists())
    };
    names.iter().map(file).collect()
}

async fn every_request_is_taken(case: &Case, mock: &mut Mock) {
    let (vendor, account) = (case.vendor, case.account);
    let written = VendorConfig {
        account: account.map(str::to_owned),
        api_key: Some(SecretString::from(KEY)),
        base_url: Some(mock.url.clone()),
        push_token: Some(SecretString::from("0123456789abcdef")),
        signature_secret: ["capcom6", "vonage"].contains(&vendor).then(|| SecretString::from("signing-key")),
        ..VendorConfig::default()
    };
    let config = Vendor::named(vendor).unwrap().configure(written).unwrap();
    for provider in [made(vendor, config.clone()), pushing(vendor, config.clone())] {
        for (text, encoding) in [("Votre Kia \"A&B=C+D?\" [12 €]", Encoding::Gsm7), ("سيارتكم جاهزة", Encoding::Ucs2)]
        {
            let outcome = provider.send(&outgoing(text, encoding)).await;
            mock.takes(vendor).await;
            assert_eq!(outcome.word(), "accepted", "{vendor}: {outcome:?}");
        }
    }
    let provider = made(vendor, config.clone());
    if provider.can_look_up() {
        provider.look_up(&inquiry("Bonjour")).await;
        mock.takes(vendor).await;
    }
    if let Some(batch) = provider.poll_batch() {
        provider.ask_receipts(&vec![case.id; batch]).await.unwrap();
        mock.takes(vendor).await;
    }
    if config.balance.is_some() {
        provider.ask_balance().await.unwrap();
        mock.takes(vendor).await;
    }
    // The same, broken: no proof of who asks, a field too few, a field too many.
    let broken: [fn(&mut GenericConfig, &str); 3] = [
        |config, _| config.auth = AuthConfig::None {},
        |config, needed| config.fields.retain(|it| it.name != needed),
        |config, _| {
            let mut strange = config.fields[0].clone();
            strange.name = strange.name.replace(|c: char| c.is_ascii_alphabetic(), "q");
            config.fields.push(strange);
        },
    ];
    for spoil in broken {
        let mut config = config.clone();
        spoil(&mut config, case.needed);
        made(vendor, config).send(&outgoing("Bonjour", Encoding::Gsm7)).await;
        let said = mock.says().await;
        assert!(said.starts_with("refused "), "{vendor}: {said}");
    }
}

#[tokio::test]
#[ignore = "needs node and the vendors' documents: make contract"]
async fn every_request_is_taken_by_a_server_made_from_the_vendors_document() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/contract/documents");
    let mut held = 0;
    // What is not there, `make contract` names.
    for case in CASES {
        if let Some(documents) = found(&directory, case.documents) {
            every_request_is_taken(&case, &mut Mock::start(&documents, case.paths).await).await;
            held += 1;
        }
    }
    assert!(held > 0, "no document is in {}", directory.display());
}
