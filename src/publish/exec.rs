//! Targets that are programs: handed the content on their standard input whenever it differs from what they took last, and, where the
//! policy names a program for that, read back.
//!
//! A program may take long, so running it is an errand that nobody waits for ([`super::errand`]). Where nothing reads back, that the
//! program ended with 0 is all that is known, and what it did before a failure or a crash is not: then it is run again, whatever it
//! took before.

mod run;

use std::sync::Arc;

use tokio::sync::mpsc;

use super::errand::{Errand, Errands};
use super::{Brought, PublishError, ReadBack, format, holding};
use crate::digest::Digest;
use crate::document::Document;
use crate::name::{KeysetId, KeysetName};
use crate::policy::{ExecTarget, TargetFormat};
use crate::secret::SecretBytes;
use run::Run;

/// How many programs of one environment run at once.
const AT_ONCE: usize = 8;

/// What a program is to be handed.
#[derive(Clone)]
pub struct Handing {
    target: ExecTarget,
    document: Arc<Document>,
    /// `None`: nothing, so that the program takes away whatever it brought at any time.
    content: Option<SecretBytes>,
    errand: Errand,
}

impl Handing {
    /// What `target` is to be handed for `document`.
    ///
    /// # Errors
    /// [`PublishError::Format`]: the keyset's keys cannot be written so.
    pub fn of(keyset: &KeysetId, target: &ExecTarget, document: &Document) -> Result<Self, PublishError> {
        let content = format::whole(target.format, target.audience, document)?;
        let errand = errand(keyset, target, digest(content.as_ref()));
        Ok(Self { target: target.clone(), document: Arc::new(document.clone()), content, errand })
    }

    fn run<'a>(&'a self, argv: &'a [String], input: Option<&'a SecretBytes>) -> Run<'a> {
        let formats =
            [(TargetFormat::Jwks, "jwks"), (TargetFormat::Env, "env"), (TargetFormat::Document, "document"), (TargetFormat::Pem, "pem")];
        let format = formats.into_iter().find(|(format, _)| *format == self.target.format).map_or("", |(_, name)| name);
        let about = [
            ("KEYROTA_ENVIRONMENT", self.errand.keyset.environment.to_string()),
            ("KEYROTA_KEYSET", self.errand.keyset.keyset.to_string()),
            ("KEYROTA_GENERATION", self.document.generation.to_string()),
            ("KEYROTA_FORMAT", format.to_owned()),
        ];
        Run { argv, input, about, timeout: self.target.timeout, withheld: self.target.is_secret() }
    }
}

fn digest(content: Option<&SecretBytes>) -> Digest {
    format::digest(content.into_iter().map(|content| (None, content)))
}

/// The programs of one environment. Clones share them.
#[derive(Clone)]
pub struct Programs(Errands);

impl Programs {
    /// None are running. `done` hears of every keyset for which one has ended.
    pub fn new(done: mpsc::UnboundedSender<KeysetName>) -> Self {
        Self(Errands::new(AT_ONCE, done))
    }

    /// As [`super::Targets::bring`]. Must be called within a runtime.
    ///
    /// # Errors
    /// What the last run failed with, while it rests.
    pub fn bring(&self, handing: &Handing, expected: Option<Digest>) -> Result<Brought, PublishError> {
        self.0.ask(&handing.errand, expected, |held| {
            let handing = handing.clone();
            async move { carry_out(&handing, held).await }
        })
    }

    /// What is known of a target without running anything.
    pub fn known(&self, keyset: &KeysetId, target: &ExecTarget) -> ReadBack {
        self.0.known(&errand(keyset, target, digest(None)))
    }

    /// The target is asked for no more. What the program did cannot be undone from here, and the error says so.
    pub fn let_go(&self, keyset: &KeysetId, target: &ExecTarget) -> PublishError {
        self.0.forget(keyset, &target.to_string());
        PublishError::HandedOver(target.argv.first().cloned().unwrap_or_default())
    }
}

fn errand(keyset: &KeysetId, target: &ExecTarget, wanted: Digest) -> Errand {
    let look_every = target.read_back.as_ref().map(|_| target.read_back_every);
    Errand { keyset: keyset.clone(), place: target.to_string(), wanted, look_every }
}

/// Reads back, hands over what differs, and reads back again. `held`: what is known to have been there.
async fn carry_out(handing: &Handing, held: Option<Digest>) -> Result<Brought, String> {
    let target = &handing.target;
    let mut drift = false;
    if let Some(argv) = &target.read_back {
        let found = read_back(handing, argv).await?;
        let there = digest(found.as_ref());
        if there == handing.errand.wanted {
            return Ok(handing.errand.agreed(false, false, None));
        }
        let ours = held == Some(there);
        if let Some(found) = found.as_ref().filter(|_| !ours) {
            let names = holding::of_text(target.format, found.expose(), &handing.document);
            if !names.foreign.is_empty() || (names.nameless && held.is_none()) {
                return Ok(Brought::Foreign { kids: names.foreign });
            }
        }
        drift = held.is_some() && !ours;
    }
    let said = handing.run(&target.argv, handing.content.as_ref()).go(0).await?.said;
    if let Some(argv) = &target.read_back
        && digest(read_back(handing, argv).await?.as_ref()) != handing.errand.wanted
    {
        let what = format!("the program ended well, and `{}` prints something else than it was handed", argv.join(" "));
        return Err(format!("{what}; hint: does it print exactly what it was given, with no line added?"));
    }
    Ok(handing.errand.agreed(true, drift, said))
}

async fn read_back(handing: &Handing, argv: &[String]) -> Result<Option<SecretBytes>, String> {
    let printed = handing.run(argv, None).go(run::LARGEST).await?.printed;
    Ok(Some(printed).filter(|printed| !printed.expose().is_empty()))
}
