//! Targets that are programs: handed the content on their standard input whenever it differs from what they took last, and, where the
//! policy names a program for that, read back.
//!
//! A program may take long, so nobody waits for it: [`Programs::bring`] starts it, answers [`Brought::UnderWay`], and whoever owns the
//! reconciler is told when it is done. One target runs once at a time. What failed rests, longer each time; other content is tried at
//! once. Where nothing reads back, that the program ended with 0 is all that is known, and what it did before a failure or a crash
//! is not: then it is run again, whatever it took before.

mod run;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, mpsc};

use super::{Brought, PublishError, ReadBack, format, holding};
use crate::clock::Reading;
use crate::digest::Digest;
use crate::document::Document;
use crate::name::{KeysetId, KeysetName};
use crate::policy::{ExecTarget, TargetFormat};
use crate::secret::SecretBytes;
use crate::time::Span;
use run::Run;

/// How many programs of one environment run at once.
const AT_ONCE: usize = 8;

/// How long a target rests after its first failure, and at most.
const FIRST_REST: Span = Span::seconds(2);
const LONGEST_REST: Span = Span::minutes(5);

/// What a program is to be handed.
#[derive(Clone)]
pub struct Handing {
    keyset: KeysetId,
    target: ExecTarget,
    document: Arc<Document>,
    /// `None`: nothing, so that the program takes away whatever it brought at any time.
    content: Option<SecretBytes>,
    digest: Digest,
}

impl Handing {
    /// What `target` is to be handed for `document`.
    ///
    /// # Errors
    /// [`PublishError::Format`]: the keyset's keys cannot be written so.
    pub fn of(keyset: &KeysetId, target: &ExecTarget, document: &Document) -> Result<Self, PublishError> {
        let content = format::whole(target.format, target.audience, document)?;
        let digest = digest(content.as_ref());
        Ok(Self { keyset: keyset.clone(), target: target.clone(), document: Arc::new(document.clone()), content, digest })
    }

    fn agreed(&self, wrote: bool, drift: bool, said: Option<String>) -> Brought {
        Brought::Agreed { content: self.digest, changed_at: None, wrote, drift, said }
    }

    fn run<'a>(&'a self, argv: &'a [String], input: Option<&'a SecretBytes>) -> Run<'a> {
        let formats =
            [(TargetFormat::Jwks, "jwks"), (TargetFormat::Env, "env"), (TargetFormat::Document, "document"), (TargetFormat::Pem, "pem")];
        let format = formats.into_iter().find(|(format, _)| *format == self.target.format).map_or("", |(_, name)| name);
        let about = [
            ("KEYROTA_ENVIRONMENT", self.keyset.environment.to_string()),
            ("KEYROTA_KEYSET", self.keyset.keyset.to_string()),
            ("KEYROTA_GENERATION", self.document.generation.to_string()),
            ("KEYROTA_FORMAT", format.to_owned()),
        ];
        Run { argv, input, about, timeout: self.target.timeout, withheld: self.target.is_secret() }
    }
}

fn digest(content: Option<&SecretBytes>) -> Digest {
    format::digest(content.into_iter().map(|content| (None, content)))
}

/// How one target stands.
#[derive(Default)]
struct Slot {
    running: bool,
    /// What came of the last run, until it is fetched, and for which content.
    outcome: Option<(Digest, Brought)>,
    /// What the place is known to hold.
    held: Option<Digest>,
    /// When (boot time) it was last read back.
    read_at: Option<Span>,
    failure: Option<Failure>,
}

/// What went wrong, with which content, how often in a row, and when it may be tried again.
struct Failure {
    what: Result<Brought, PublishError>,
    with: Digest,
    times: u32,
    rest_until: Span,
}

type Slots = BTreeMap<(KeysetId, String), Slot>;

/// The programs of one environment. Clones share them.
#[derive(Clone)]
pub struct Programs(Arc<Inner>);

struct Inner {
    slots: Mutex<Slots>,
    at_once: Semaphore,
    done: mpsc::UnboundedSender<KeysetName>,
}

impl Programs {
    /// None are running. `done` hears of every keyset for which one has ended.
    pub fn new(done: mpsc::UnboundedSender<KeysetName>) -> Self {
        Self(Arc::new(Inner { slots: Mutex::default(), at_once: Semaphore::new(AT_ONCE), done }))
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`super::Targets::bring`]. Must be called within a runtime.
    ///
    /// # Errors
    /// What the last run failed with, while it rests.
    pub fn bring(&self, handing: &Handing, expected: Option<Digest>) -> Result<Brought, PublishError> {
        let (now, wanted) = (Reading::now().boot, handing.digest);
        let mut slots = self.slots();
        let slot = slots.entry((handing.keyset.clone(), handing.target.to_string())).or_default();
        let reads_back = handing.target.read_back.is_some();
        if slot.running {
            return Ok(Brought::UnderWay { unsure: !reads_back });
        }
        if let Some((_, outcome)) = slot.outcome.take().filter(|(with, _)| *with == wanted) {
            return Ok(outcome);
        }
        if let Some(failure) = slot.failure.as_ref().filter(|failure| failure.with == wanted && now < failure.rest_until) {
            return failure.what.clone();
        }
        let held = slot.held.or(expected);
        let to_be_read = reads_back && slot.read_at.is_none_or(|at| now >= at + handing.target.read_back_every);
        if slot.failure.is_none() && !to_be_read && held == Some(wanted) {
            slot.held = Some(wanted);
            return Ok(handing.agreed(false, false, None));
        }
        slot.running = true;
        drop(slots);
        let (this, handing) = (self.clone(), handing.clone());
        tokio::spawn(async move {
            let outcome = match this.0.at_once.acquire().await {
                Ok(_permit) => carry_out(&handing, held).await,
                Err(_) => return,
            };
            this.ended(&handing, outcome);
        });
        Ok(Brought::UnderWay { unsure: !reads_back })
    }

    fn ended(&self, handing: &Handing, outcome: Result<Brought, String>) {
        let now = Reading::now().boot;
        {
            let mut slots = self.slots();
            let Some(slot) = slots.get_mut(&(handing.keyset.clone(), handing.target.to_string())) else { return };
            slot.running = false;
            slot.outcome = None;
            match outcome {
                Ok(outcome @ Brought::Agreed { .. }) => {
                    slot.failure = None;
                    slot.held = Some(handing.digest);
                    slot.read_at = Some(now);
                    slot.outcome = Some((handing.digest, outcome));
                }
                outcome => {
                    // What is there now is not known any more, unless it is read back.
                    slot.held = slot.held.filter(|_| handing.target.read_back.is_some());
                    let times = slot.failure.as_ref().map_or(0, |failure| failure.times).saturating_add(1);
                    let rest = (FIRST_REST * (1 << (times - 1).min(10))).min(LONGEST_REST);
                    let what = outcome.map_err(|what| {
                        let (what, hint) = what.split_once("; hint: ").unwrap_or((what.as_str(), "run it by hand"));
                        PublishError::Program(format!("{what} (failure {times} in a row, tried again in {rest}); hint: {hint}"))
                    });
                    slot.failure = Some(Failure { what, with: handing.digest, times, rest_until: now + rest });
                }
            }
        }
        let _ = self.0.done.send(handing.keyset.keyset.clone());
    }

    /// What is known of a target without running anything.
    pub fn known(&self, keyset: &KeysetId, target: &ExecTarget) -> ReadBack {
        let slots = self.slots();
        let known = |what: String, good| ReadBack::Known { what, good };
        match slots.get(&(keyset.clone(), target.to_string())) {
            None => known("it was not asked for yet".into(), true),
            Some(Slot { failure: Some(Failure { what: Err(error), .. }), .. }) => known(error.to_string(), false),
            Some(Slot { failure: Some(Failure { what: Ok(_), .. }), .. }) => {
                known("it holds keys that the keyset does not know, and is left alone; hint: `keyrota import` them".into(), false)
            }
            Some(Slot { running: true, .. }) => known("it is running".into(), true),
            Some(Slot { held: Some(_), read_at: Some(at), .. }) if target.read_back.is_some() => {
                known(format!("it was read back {} ago", Reading::now().boot.saturating_sub(*at).rounded()), true)
            }
            Some(Slot { held: Some(_), .. }) => known("it took what it must hold; nothing reads it back".into(), true),
            Some(Slot { .. }) => known("it is to be run".into(), true),
        }
    }

    /// The target is asked for no more. What the program did cannot be undone from here, and the error says so.
    pub fn let_go(&self, keyset: &KeysetId, target: &ExecTarget) -> PublishError {
        let name = target.to_string();
        self.slots().remove(&(keyset.clone(), name));
        PublishError::HandedOver(target.argv.first().cloned().unwrap_or_default())
    }
}

/// Reads back, hands over what differs, and reads back again. `held`: what is known to have been there.
async fn carry_out(handing: &Handing, held: Option<Digest>) -> Result<Brought, String> {
    let target = &handing.target;
    let mut drift = false;
    if let Some(argv) = &target.read_back {
        let found = read_back(handing, argv).await?;
        let there = digest(found.as_ref());
        if there == handing.digest {
            return Ok(handing.agreed(false, false, None));
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
        && digest(read_back(handing, argv).await?.as_ref()) != handing.digest
    {
        let what = format!("the program ended well, and `{}` prints something else than it was handed", argv.join(" "));
        return Err(format!("{what}; hint: does it print exactly what it was given, with no line added?"));
    }
    Ok(handing.agreed(true, drift, said))
}

async fn read_back(handing: &Handing, argv: &[String]) -> Result<Option<SecretBytes>, String> {
    let printed = handing.run(argv, None).go(run::LARGEST).await?.printed;
    Ok(Some(printed).filter(|printed| !printed.expose().is_empty()))
}
