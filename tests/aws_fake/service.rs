//! The account: its secrets with their versions and labels, the rules of each call, and copies that lag.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use keyrota::secret::SecretText;
use keyrota::store::aws::calls::{CURRENT, CallFault, Described, Listed, PREVIOUS, Page, Value, VersionId, Which};
use keyrota::time::{Span, Timestamp};

use super::{Chance, FakeTime};

/// What may go wrong, each in so many of a thousand calls, and how far reads may lag.
#[derive(Clone, Copy, Default)]
pub struct Knobs {
    pub throttled: u64,
    pub unreachable: u64,
    /// The answer is lost: carried out or not.
    pub lost: u64,
    /// Reads show an older state.
    pub stale: u64,
    pub read_lag: Span,
    pub list_lag: Span,
    /// Every list is exactly that far behind, which is worse than now and then.
    pub list_steady: bool,
    /// Versions are unlimited, where a test makes more than a day's worth at once.
    pub endless: bool,
}

/// A call that changes something.
#[derive(Clone)]
pub enum Write {
    Create {
        name: String,
        token: VersionId,
        text: String,
        tags: BTreeMap<String, String>,
    },
    /// Without labels it moves AWSCURRENT.
    Put {
        secret: String,
        token: VersionId,
        text: String,
        labels: Vec<String>,
    },
    Move {
        secret: String,
        from: VersionId,
        to: VersionId,
    },
    Delete {
        secret: String,
        window: Span,
    },
}

struct Version {
    text: Option<String>,
    made: Span,
}

/// What can be seen of a secret at one moment, but for its values, which never change.
#[derive(Clone, Default)]
struct View {
    labels: BTreeMap<VersionId, BTreeSet<String>>,
    tags: BTreeMap<String, String>,
    deleted_at: Option<Timestamp>,
}

struct Secret {
    name: String,
    arn: String,
    versions: BTreeMap<VersionId, Version>,
    /// States by when they began, the latest last.
    views: VecDeque<(Span, View)>,
}

pub struct Service {
    pub knobs: Knobs,
    pub chance: Chance,
    pub counts: BTreeMap<&'static str, u64>,
    /// Nobody can reach it.
    pub away: bool,
    /// What the identity that calls may not do.
    pub denied: BTreeSet<&'static str>,
    /// Every version that came into force, in order: the secret and the text.
    pub in_force: Vec<(String, VersionId, String)>,
    /// Requests that are still on their way although nobody waits for them.
    pub late: Vec<Write>,
    time: FakeTime,
    secrets: Vec<Secret>,
    /// Where a secret stands, by name and by ARN.
    index: BTreeMap<String, usize>,
    made: u64,
}

pub const LARGEST: usize = 65_536;
const MOST_LABELS: usize = 20;
const MOST_VERSIONS: usize = 100;
const KEPT: Span = Span::hours(24);

impl Secret {
    fn view(&self) -> View {
        self.views.back().map(|(_, view)| view.clone()).unwrap_or_default()
    }

    fn holder(view: &View, label: &str) -> Option<VersionId> {
        view.labels.iter().find(|(_, labels)| labels.contains(label)).map(|(version, _)| version.clone())
    }

    /// AWSCURRENT goes to `to`, and AWSPREVIOUS to whoever had it.
    fn make_current(view: &mut View, to: &VersionId) {
        let from = Self::holder(view, CURRENT);
        if from.as_ref() == Some(to) {
            return;
        }
        for labels in view.labels.values_mut() {
            labels.remove(CURRENT);
            labels.remove(PREVIOUS);
        }
        if let Some(from) = from {
            view.labels.entry(from).or_default().insert(PREVIOUS.into());
        }
        view.labels.entry(to.clone()).or_default().insert(CURRENT.into());
        view.labels.retain(|_, labels| !labels.is_empty());
    }

    /// Unlabelled versions go only beyond a hundred, and not within a day.
    fn prune(&mut self, now: Span) {
        let view = self.view();
        while self.versions.len() > MOST_VERSIONS {
            let unlabelled = self.versions.iter().filter(|(id, v)| !view.labels.contains_key(*id) && v.made + KEPT <= now);
            let Some(oldest) = unlabelled.min_by_key(|(_, v)| v.made).map(|(id, _)| id.clone()) else { return };
            self.versions.remove(&oldest);
        }
    }
}

impl Service {
    pub fn new(seed: u64, time: FakeTime) -> Self {
        // A machine that has been up for a while, so that nothing lies before its boot.
        time.pass(Span::hours(1));
        Self {
            knobs: Knobs::default(),
            chance: Chance::new(seed),
            counts: BTreeMap::new(),
            away: false,
            denied: BTreeSet::new(),
            in_force: Vec::new(),
            late: Vec::new(),
            time,
            secrets: Vec::new(),
            index: BTreeMap::new(),
            made: 0,
        }
    }

    /// A request that nobody waits for any more may arrive.
    pub fn something_late_happens(&mut self) {
        if !self.late.is_empty() && self.chance.one_in(4) {
            let which = self.chance.index(self.late.len());
            let write = self.late.remove(which);
            let _ = self.carry_out(&write);
        }
    }

    fn now(&self) -> Span {
        self.time.now()
    }

    fn find(&self, secret: &str) -> Result<usize, CallFault> {
        self.index.get(secret).copied().ok_or(CallFault::NotFound)
    }

    fn live(&self, secret: &str) -> Result<usize, CallFault> {
        let index = self.find(secret)?;
        if self.secrets[index].view().deleted_at.is_some() { Err(CallFault::InvalidRequest) } else { Ok(index) }
    }

    fn put_view(&mut self, index: usize, view: View) {
        let now = self.now();
        let secret = &self.secrets[index];
        let current = Secret::holder(&view, CURRENT);
        if let Some(current) = current.filter(|current| Secret::holder(&secret.view(), CURRENT).as_ref() != Some(current)) {
            let text = secret.versions[&current].text.clone().unwrap_or_default();
            self.in_force.push((secret.name.clone(), current, text));
        }
        let views = &mut self.secrets[index].views;
        views.push_back((now, view));
        if views.len() > 40 {
            views.pop_front();
        }
    }

    pub fn carry_out(&mut self, write: &Write) -> Result<String, CallFault> {
        match write {
            Write::Create { name, token, text, tags } => self.create(name, token, text, tags),
            Write::Put { secret, token, text, labels } => self.put(secret, token, Some(text), labels).map(|()| String::new()),
            Write::Move { secret, from, to } => self.move_current(secret, from, to).map(|()| String::new()),
            Write::Delete { secret, window } => self.delete(secret, *window).map(|()| String::new()),
        }
    }

    fn create(&mut self, name: &str, token: &VersionId, text: &str, tags: &BTreeMap<String, String>) -> Result<String, CallFault> {
        let lawful = |b: u8| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b);
        if name.is_empty() || name.len() > 512 || !name.bytes().all(lawful) {
            return Err(CallFault::InvalidParameter);
        }
        check(token, Some(text))?;
        if let Ok(index) = self.find(name) {
            let secret = &self.secrets[index];
            if secret.view().deleted_at.is_some() {
                return Err(CallFault::InvalidRequest);
            }
            let same = secret.versions.get(token).is_some_and(|v| v.text.as_deref() == Some(text));
            return if same { Ok(secret.arn.clone()) } else { Err(CallFault::Exists) };
        }
        self.made += 1;
        let arn = format!("arn:aws:secretsmanager:eu-west-3:123456789012:secret:{name}-{:06}", self.made);
        let made = self.now();
        let mut view = View { tags: tags.clone(), ..View::default() };
        Secret::make_current(&mut view, token);
        let versions = BTreeMap::from([(token.clone(), Version { text: Some(text.to_owned()), made })]);
        self.in_force.push((name.to_owned(), token.clone(), text.to_owned()));
        self.index.extend([(name.to_owned(), self.secrets.len()), (arn.clone(), self.secrets.len())]);
        self.secrets.push(Secret { name: name.to_owned(), arn: arn.clone(), versions, views: VecDeque::from([(made, view)]) });
        Ok(arn)
    }

    fn put(&mut self, secret: &str, token: &VersionId, text: Option<&str>, labels: &[String]) -> Result<(), CallFault> {
        check(token, text)?;
        let index = self.live(secret)?;
        let now = self.now();
        let endless = self.knobs.endless;
        let secret = &mut self.secrets[index];
        if let Some(used) = secret.versions.get(token) {
            return if used.text.as_deref() == text { Ok(()) } else { Err(CallFault::Exists) };
        }
        let mut view = secret.view();
        if labels.is_empty() {
            Secret::make_current(&mut view, token);
        }
        for label in labels {
            if label == CURRENT {
                Secret::make_current(&mut view, token);
                continue;
            }
            for others in view.labels.values_mut() {
                others.remove(label);
            }
            view.labels.entry(token.clone()).or_default().insert(label.clone());
            view.labels.retain(|_, labels| !labels.is_empty());
        }
        if view.labels.values().map(BTreeSet::len).sum::<usize>() > MOST_LABELS {
            return Err(CallFault::Quota);
        }
        secret.versions.insert(token.clone(), Version { text: text.map(str::to_owned), made: now });
        self.put_view(index, view);
        let secret = &mut self.secrets[index];
        secret.prune(now);
        if secret.versions.len() > MOST_VERSIONS && !endless {
            // All of them are of today.
            secret.versions.remove(token);
            secret.views.pop_back();
            return Err(CallFault::Quota);
        }
        Ok(())
    }

    fn move_current(&mut self, secret: &str, from: &VersionId, to: &VersionId) -> Result<(), CallFault> {
        let index = self.live(secret)?;
        let secret = &self.secrets[index];
        if !secret.versions.contains_key(to) {
            return Err(CallFault::NotFound);
        }
        let mut view = secret.view();
        if Secret::holder(&view, CURRENT).as_ref() != Some(from) {
            return Err(CallFault::InvalidParameter);
        }
        Secret::make_current(&mut view, to);
        self.put_view(index, view);
        Ok(())
    }

    fn delete(&mut self, secret: &str, window: Span) -> Result<(), CallFault> {
        if !(7..=30).any(|days| window == Span::days(days)) {
            return Err(CallFault::InvalidParameter);
        }
        let index = self.live(secret)?;
        let view = View { deleted_at: Some(Timestamp::EPOCH), ..self.secrets[index].view() };
        self.put_view(index, view);
        Ok(())
    }

    /// What a read shows: the secret, and its state as of now or, from a copy that lags, as of a while ago.
    fn seen(&mut self, secret: &str, lag: Span) -> Result<(usize, View), CallFault> {
        let stale = lag > Span::ZERO && self.chance.below(1000) < self.knobs.stale;
        let behind = if stale { self.chance.span(lag) } else { Span::ZERO };
        self.seen_then(secret, behind)
    }

    fn seen_then(&self, secret: &str, behind: Span) -> Result<(usize, View), CallFault> {
        let index = self.find(secret)?;
        let as_of = self.now().saturating_sub(behind);
        let seen = self.secrets[index].views.iter().rev().find(|(began, _)| *began <= as_of);
        seen.map(|(_, view)| (index, view.clone())).ok_or(CallFault::NotFound)
    }

    pub fn get(&mut self, secret: &str, which: Which<'_>) -> Result<Value, CallFault> {
        let (index, view) = self.seen(secret, self.knobs.read_lag)?;
        if view.deleted_at.is_some() {
            return Err(CallFault::InvalidRequest);
        }
        let current = Secret::holder(&view, CURRENT);
        let version = match which {
            Which::Current => current.clone().ok_or(CallFault::NotFound)?,
            Which::Version(version) => version.clone(),
        };
        let secret = &self.secrets[index];
        let found = secret.versions.get(&version).ok_or(CallFault::NotFound)?;
        let in_force = current.as_ref() == Some(&version);
        Ok(Value { arn: secret.arn.clone(), version, in_force, text: found.text.clone().map(SecretText::new) })
    }

    pub fn describe(&mut self, secret: &str) -> Result<Described, CallFault> {
        let (index, view) = self.seen(secret, self.knobs.read_lag)?;
        let labels = view.labels.into_iter().map(|(version, labels)| (version, labels.into_iter().collect())).collect();
        Ok(Described { arn: self.secrets[index].arn.clone(), labels, tags: view.tags, deleted_at: view.deleted_at })
    }

    pub fn list(&mut self, prefix: &str, page: Option<&str>) -> Result<Page, CallFault> {
        let from: usize = page.map_or(Ok(0), str::parse).map_err(|_| CallFault::Refused)?;
        let names: Vec<String> = self.secrets.iter().map(|s| s.name.clone()).filter(|name| name.starts_with(prefix)).collect();
        let mut secrets = Vec::new();
        for name in names.iter().skip(from).take(100) {
            let lag = self.knobs.list_lag;
            let seen = if self.knobs.list_steady { self.seen_then(name, lag) } else { self.seen(name, lag) };
            if let Ok((index, view)) = seen {
                let current = Secret::holder(&view, CURRENT);
                let (arn, deleted) = (self.secrets[index].arn.clone(), view.deleted_at.is_some());
                secrets.push(Listed { name: name.clone(), arn, current, tags: view.tags, deleted });
            }
        }
        let next = (names.len() > from + 100).then(|| (from + 100).to_string());
        Ok(Page { secrets, next })
    }

    // What other people and tools do, behind keyrota's back.

    /// Another tool writes a value, with a version id of its own form.
    pub fn write_over(&mut self, secret: &str, text: Option<&str>) -> VersionId {
        self.made += 1;
        let token = VersionId(format!("terraform-20260101000000000000000000{:06}", self.made));
        self.put(secret, &token, text, &[]).unwrap();
        token
    }

    /// Somebody has made a secret of their own.
    pub fn create_foreign(&mut self, secret: &str, text: &str) {
        self.made += 1;
        let token = VersionId(format!("terraform-20260101000000000000000000{:06}", self.made));
        self.create(secret, &token, text, &BTreeMap::new()).unwrap();
    }

    /// An operator moves AWSCURRENT back to AWSPREVIOUS; `false`: there is none.
    pub fn put_back(&mut self, secret: &str) -> bool {
        let Ok(index) = self.live(secret) else { return false };
        let mut view = self.secrets[index].view();
        let Some(previous) = Secret::holder(&view, PREVIOUS) else { return false };
        Secret::make_current(&mut view, &previous);
        self.put_view(index, view);
        true
    }

    /// Scheduled for deletion, or taken back from it.
    pub fn schedule_deletion(&mut self, secret: &str, deleted: bool) {
        let index = self.find(secret).unwrap();
        let view = View { deleted_at: deleted.then_some(Timestamp::EPOCH), ..self.secrets[index].view() };
        self.put_view(index, view);
    }

    /// Gone for good.
    pub fn purge(&mut self, secret: &str) {
        let index = self.find(secret).unwrap();
        self.secrets.remove(index);
        let each = self.secrets.iter().enumerate();
        self.index = each.flat_map(|(n, s)| [(s.name.clone(), n), (s.arn.clone(), n)]).collect();
    }

    pub fn untag(&mut self, secret: &str, key: &str) {
        let index = self.find(secret).unwrap();
        let mut view = self.secrets[index].view();
        view.tags.remove(key);
        self.put_view(index, view);
    }

    pub fn versions(&self, secret: &str) -> usize {
        self.find(secret).map_or(0, |index| self.secrets[index].versions.len())
    }

    /// The true state, whatever reads show.
    pub fn truth(&self, secret: &str) -> Option<(VersionId, String)> {
        let secret = &self.secrets[self.find(secret).ok()?];
        let current = Secret::holder(&secret.view(), CURRENT)?;
        let text = secret.versions.get(&current)?.text.clone()?;
        Some((current, text))
    }

    pub fn put_raw(&mut self, secret: &str, token: &str, text: &str, labels: &[&str]) -> Result<(), CallFault> {
        let labels: Vec<_> = labels.iter().map(|l| (*l).to_owned()).collect();
        self.put(secret, &VersionId(token.to_owned()), Some(text), &labels)
    }
}

fn check(token: &VersionId, text: Option<&str>) -> Result<(), CallFault> {
    let sound = (32..=64).contains(&token.0.len()) && text.is_none_or(|t| !t.is_empty() && t.len() <= LARGEST);
    if sound { Ok(()) } else { Err(CallFault::InvalidParameter) }
}
