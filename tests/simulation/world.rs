//! A world: some daemons, a store, an operator, and time. It goes from event to event, and in between lets chance decide which
//! daemon makes its next port call.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use keyrota::clock::Reading;
use keyrota::document::{Document, FactName, Facts, Intent};
use keyrota::key::{Algorithm, KeyClass, KeySpec, KidFormat};
use keyrota::name::Kid;
use keyrota::operator::{self, Verb};
use keyrota::policy::{Audience, Mode, Source, Start, Target, VerifierShape};
use keyrota::reconcile::Wanted;
use keyrota::reconcile::operate::Request;
use keyrota::rules::{Rules, Standing};
use keyrota::time::{Span, Timestamp};

use crate::aws_fake::Chance;
use crate::daemon::Daemon;
use crate::edge::Doing;
use crate::exposure::{Exposure, Truth};
use crate::mutants::Mutant;
use crate::outside::{Host, NAME, Outside, Shared, Signer, Version, lock};

/// What an operator asks for, seeing the document.
pub type Wish = Box<dyn Fn(&Document) -> Option<Verb>>;

/// What must hold at a moment.
pub type Check = Box<dyn Fn(&World) -> Result<(), String>>;

/// What happens to the world at a moment.
pub enum Act {
    Crash {
        daemon: usize,
        down_for: Span,
    },
    Start {
        daemon: usize,
    },
    Freeze {
        daemon: usize,
        lasts: Span,
    },
    StoreAway {
        hosts: Vec<usize>,
        away: bool,
    },
    WitnessAway {
        host: usize,
        away: bool,
    },
    FilesAway {
        host: usize,
        away: bool,
    },
    StepClock {
        host: usize,
        by: i64,
    },
    Alter {
        host: usize,
    },
    Edit {
        daemons: Vec<usize>,
        edit: Box<dyn Fn(&mut Rules)>,
    },
    Truth(Box<dyn Fn(&mut Truth)>),
    BreakPolicy {
        daemon: usize,
        broken: bool,
    },
    Operator(Wish),
    /// The operator asks a daemon, which may fail, be overtaken, or die on the way.
    Order {
        daemon: usize,
        wish: Wish,
    },
    /// The store is put back to how it was this long ago.
    Restore {
        from: Span,
    },
    /// The server of somebody else's does something; the daemons look at once.
    Edge(Doing),
    /// A signer begins to report to the daemon of this host, and is stuck for a while.
    Signer {
        host: usize,
        name: &'static str,
        stuck_for: Span,
    },
    /// Every key takes this long to be made.
    SlowKeys {
        lasts: Span,
    },
    Check(Check),
}

impl Act {
    /// What happens, for stories of failure.
    fn told(&self) -> String {
        match self {
            Act::Crash { daemon, down_for } => format!("daemon {daemon} crashes for {down_for}"),
            Act::Start { daemon } => format!("daemon {daemon} starts"),
            Act::Freeze { daemon, lasts } => format!("daemon {daemon} is frozen for {lasts}"),
            Act::StoreAway { hosts, away } => format!("the store is away from {hosts:?}: {away}"),
            Act::WitnessAway { host, away } => format!("the witness is away from {host}: {away}"),
            Act::FilesAway { host, away } => format!("files are away from {host}: {away}"),
            Act::StepClock { host, by } => format!("the clock of {host} is set by {by} ms"),
            Act::Alter { host } => format!("the files of {host} are altered"),
            Act::Edit { daemons, .. } => format!("the policy of {daemons:?} is edited"),
            Act::Truth(_) => "signers and verifiers change their ways".into(),
            Act::BreakPolicy { daemon, broken } => format!("the policy file of {daemon} is broken: {broken}"),
            Act::Operator(_) => "the operator does something".into(),
            Act::Order { daemon, .. } => format!("the operator asks {daemon}"),
            Act::Restore { from } => format!("the store is put back by {from}"),
            Act::Edge(_) => "the edge does something".into(),
            Act::Signer { host, name, stuck_for } => format!("signer {name} of {host} is stuck for {stuck_for}"),
            Act::SlowKeys { lasts } => format!("keys are slow for {lasts}"),
            Act::Check(_) => "a check".into(),
        }
    }
}

pub struct World {
    pub shared: Shared,
    pub daemons: Vec<Daemon>,
    pub exposure: Exposure,
    /// How signers and verifiers would like to behave; a raise takes effect only once it is in the document.
    pub wish: Truth,
    pub acts: Vec<(Timestamp, Act)>,
    pub fresh_for: Span,
    pub seed: u64,
    pub steps: u64,
    pub end: Timestamp,
    pub excused: usize,
    /// The store was put back once: what had been revoked may live again until somebody notices.
    pub put_back: bool,
    /// It was, and not every daemon goes on from there yet.
    pub unsettled: bool,
    /// Signers read the store itself.
    pub direct_signers: bool,
    /// The first daemon is frozen this long in the middle of every change-over's swap.
    pub freeze_in_swap: Option<Span>,
}

/// A world that takes more steps than this goes round in circles.
const MOST_STEPS: u64 = 150_000;

pub const BIRTH: &str = "2026-01-05T00:00:00Z";

/// Facts of an ordinary web service.
pub fn facts() -> Facts {
    Facts {
        token_ttl: Span::hours(1),
        verifier_refresh: Span::minutes(15),
        signer_refresh: Span::minutes(5),
        verifier_retry: Span::minutes(2),
        clock_skew: Span::minutes(1),
        cache_max_age: Span::minutes(1),
        store_refresh: Span::minutes(2),
        margin: Span::ZERO,
    }
}

pub fn rules(rotate_every: Span) -> Rules {
    Rules {
        spec: KeySpec::Pair { algorithm: Algorithm::EdDsa, rsa_bits: 0, kid: KidFormat::Thumbprint, certificate: None },
        source: Source::Generated,
        start: Start::Generate,
        facts: facts(),
        rotate_every,
        max_age: rotate_every + facts().propagation(),
        rollback_window: Span::minutes(30),
        jitter: Span::ZERO,
        window: None,
        mode: Mode::Auto,
        verifier: VerifierShape::Overlapping,
        uptake_bound: None,
        seals: false,
        shared_store: true,
        probed: keyrota::policy::Probed::default(),
        standing: Standing::InForce,
    }
}

impl World {
    pub fn new(seed: u64, daemons: usize, rules: Rules, targets: Vec<Target>, mutant: Option<Mutant>) -> Self {
        let born: Timestamp = BIRTH.parse().unwrap();
        let mut chance = Chance::new(seed);
        let half_skew = i64::try_from(rules.facts.clock_skew.as_millis() / 2).unwrap();
        let hosts = (0..daemons)
            .map(|_| Host {
                offset: i64::try_from(chance.below(2 * u64::try_from(half_skew).unwrap() + 1)).unwrap() - half_skew,
                booted: Some(born.minus(Span::hours(1))),
                ..Host::default()
            })
            .collect();
        let wish = Truth {
            token_ttl: rules.facts.token_ttl,
            signer_refresh: rules.facts.signer_refresh,
            verifier_refresh: rules.facts.verifier_refresh,
            verifier_retry: rules.facts.verifier_retry,
            cache_max_age: rules.facts.cache_max_age,
            clock_skew: rules.facts.clock_skew,
        };
        let fresh_for = rules.facts.store_refresh;
        let outside = Outside {
            now: born,
            chance,
            hosts,
            versions: vec![Version { at: born, document: None, revision: 0 }],
            revisions: 0,
            made: 0,
            keys_slow_until: Timestamp::EPOCH,
            trouble: 0,
            lag: Span::ZERO,
            mutant,
            swaps: 0,
            conflicts: 0,
            emergencies: Vec::new(),
            revoked: Vec::new(),
            begun_anew: Vec::new(),
            buried: Vec::new(),
            log: Vec::new(),
            in_swap: false,
            account: None,
            edge: None,
        };
        let shared = Arc::new(Mutex::new(outside));
        let wanted = Wanted { rules: Arc::new(rules), targets: targets.into(), probes: Vec::new().into(), inception: None };
        let daemons = (0..daemons)
            .map(|host| Daemon {
                host,
                process: None,
                frozen_until: None,
                wanted: wanted.clone(),
                policy_changed: false,
                probe_at: None,
                policy_broken: false,
                events: Vec::new(),
                requests: VecDeque::new(),
            })
            .collect();
        let mut world = Self {
            shared,
            daemons,
            exposure: Exposure::default(),
            wish,
            acts: Vec::new(),
            fresh_for,
            seed,
            steps: 0,
            end: born,
            excused: 0,
            put_back: false,
            unsettled: false,
            direct_signers: false,
            freeze_in_swap: None,
        };
        for daemon in 0..world.daemons.len() {
            world.at(Span::ZERO, Act::Start { daemon });
        }
        world
    }

    /// Reads may lag by this much; freshness leaves room for it.
    pub fn lagging(mut self, lag: Span) -> Self {
        lock(&self.shared).lag = lag;
        self.fresh_for = self.fresh_for.saturating_sub(lag);
        self
    }

    pub fn troubled(self, per_mille: u64) -> Self {
        lock(&self.shared).trouble = per_mille;
        self
    }

    /// Something is to happen so long after the world's birth.
    pub fn at(&mut self, after_birth: Span, act: Act) {
        let at = BIRTH.parse::<Timestamp>().unwrap() + after_birth;
        self.acts.push((at, act));
    }

    /// A file that somebody else put there, with a key that keyrota never made.
    pub fn plant_foreign_file(&mut self, path: &str) {
        let kid: Kid = "from-before".parse().unwrap();
        let file = crate::outside::File {
            content: keyrota::digest::Digest::of(b"from before"),
            kids: BTreeSet::from([kid]),
            active: None,
            changed_at: self.now(),
            audience: Audience::Verifiers,
            foreign: true,
        };
        lock(&self.shared).hosts[0].files.insert(path.into(), file);
    }

    pub fn now(&self) -> Timestamp {
        lock(&self.shared).now
    }

    pub fn document(&self) -> Option<Document> {
        lock(&self.shared).current().0.cloned()
    }

    /// Lives until so long after birth.
    pub fn live(&mut self, until: Span) -> Result<(), String> {
        self.end = BIRTH.parse::<Timestamp>().unwrap() + until;
        // The next one stands last; of two at the same moment the one that was scheduled first.
        self.acts.reverse();
        self.acts.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        while self.now() < self.end {
            self.step().map_err(|why| self.story(&why))?;
        }
        Ok(())
    }

    pub fn story(&self, why: &str) -> String {
        let log = &lock(&self.shared).log;
        let tail: Vec<_> = log.iter().rev().take(24).rev().cloned().collect();
        format!("{why}\n  seed {}\n  {}", self.seed, tail.join("\n  "))
    }

    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        let now = self.now();
        if self.steps > MOST_STEPS {
            let looks: Vec<_> = self.daemons.iter().map(|d| d.standing(&self.shared)).collect();
            return Err(format!("at {now}: {MOST_STEPS} steps and no end; daemons: {looks:?}"));
        }
        if self.acts.last().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, act)) = self.acts.pop() {
                self.act(act)?;
            }
            return self.look();
        }
        for daemon in &mut self.daemons {
            daemon.look_outside(&self.shared);
        }
        let busy: Vec<usize> = (0..self.daemons.len())
            .filter(|d| self.daemons[*d].is_under_way(now) || self.daemons[*d].wants_to_look(&self.shared))
            .collect();
        if busy.is_empty() {
            return self.leap();
        }
        let (daemon, pause) = {
            let mut outside = lock(&self.shared);
            let daemon = *outside.chance.pick(&busy);
            let pause = if outside.chance.one_in(20) { Span::seconds(3) } else { Span::millis(20) };
            (daemon, outside.chance.span(pause))
        };
        self.pass_time(now + pause)?;
        let before = lock(&self.shared).revisions;
        self.daemons[daemon].go_on(&self.shared);
        self.spread_news(before, Some(daemon));
        if let Some(lasts) = self.freeze_in_swap
            && std::mem::take(&mut lock(&self.shared).in_swap)
        {
            self.daemons[daemon].frozen_until = Some(self.now() + lasts);
        }
        self.look()
    }

    /// Others hear of a change when they next look: as late as they may.
    pub fn spread_news(&mut self, before: u64, by: Option<usize>) {
        let mut outside = lock(&self.shared);
        if outside.revisions == before {
            return;
        }
        let now = outside.now;
        let latest = self.fresh_for.saturating_sub(Span::seconds(30));
        for (number, daemon) in self.daemons.iter_mut().enumerate() {
            if Some(number) == by && daemon.process.as_ref().is_some_and(|p| p.poll_at.is_none() && p.seen == before) {
                // What it wrote itself it has seen.
                if let Some(process) = &mut daemon.process {
                    process.seen = outside.revisions;
                    outside.hosts[number].shown = outside.revisions;
                }
                continue;
            }
            let heard = now + outside.chance.span(latest);
            if let Some(process) = &mut daemon.process {
                process.poll_at = Some(process.poll_at.map_or(heard, |at| at.min(heard)));
            }
        }
    }

    /// Nobody has anything to do: on to the next event.
    fn leap(&mut self) -> Result<(), String> {
        let looks = self.daemons.iter().filter_map(|d| d.next_look(&self.shared));
        let probes = self.daemons.iter().filter_map(|d| d.probe_at);
        let thaws = self.daemons.iter().filter_map(|d| d.frozen_until);
        let acts = self.acts.last().map(|(at, _)| *at);
        let now = self.now();
        let next = looks.chain(probes).chain(thaws).chain(acts).filter(|at| *at > now).min().unwrap_or(self.end).min(self.end);
        self.pass_time(next.max(now + Span::millis(1)))?;
        self.look()
    }

    /// Time passes; daemons that have nothing to hear of confirm it now and then, as they do all day long.
    fn pass_time(&mut self, until: Timestamp) -> Result<(), String> {
        let stride = Span::millis((self.fresh_for.as_millis() / 2).max(1));
        let well: Vec<usize> = (0..self.daemons.len()).filter(|d| self.confirms_by_itself(*d)).collect();
        loop {
            let now = self.now();
            if now >= until {
                return Ok(());
            }
            // Whoever hears nothing goes on for a while and then falls silent: that moment must be looked at.
            let fading = (0..self.daemons.len()).any(|d| !well.contains(&d) && self.daemons[d].is_ready(&self.shared));
            let next = if fading { until.min(now + stride) } else { until };
            lock(&self.shared).now = next;
            for daemon in &well {
                let daemon = &self.daemons[*daemon];
                let Some(process) = &daemon.process else { continue };
                let last = lock(&self.shared).reading(daemon.host);
                let mut ago = next.since(now);
                while ago > Span::ZERO {
                    ago = ago.saturating_sub(stride);
                    let reading = Reading { wall: last.wall.minus(ago), boot: last.boot.saturating_sub(ago) };
                    process.freshness.confirm(reading, reading);
                }
            }
            if fading {
                self.look()?;
            }
        }
    }

    fn confirms_by_itself(&self, daemon: usize) -> bool {
        let outside = lock(&self.shared);
        let daemon = &self.daemons[daemon];
        let ready = daemon.process.as_ref().is_some_and(|p| p.is_idle() && p.poll_at.is_none() && p.seen == outside.revisions);
        ready && !daemon.is_frozen(outside.now) && !outside.hosts[daemon.host].store_away && {
            let reading = outside.reading(daemon.host);
            daemon.process.as_ref().is_some_and(|p| p.freshness.is_fresh(reading))
        }
    }

    /// The adversary looks at everything that can be got hold of.
    pub fn look(&mut self) -> Result<(), String> {
        self.excuse_emergencies();
        self.excuse_what_was_lost();
        self.heed_revocations()?;
        let mut http = Vec::new();
        let mut file = Vec::new();
        let mut handed = BTreeSet::new();
        for daemon in self.daemons.iter().filter(|d| d.is_ready(&self.shared)) {
            http.push(daemon.key_set());
            handed.extend(daemon.active_kid());
        }
        let (now, promised) = {
            let outside = lock(&self.shared);
            for host in &outside.hosts {
                for found in host.files.values() {
                    match found.audience {
                        Audience::Verifiers => file.push(found.kids.clone()),
                        Audience::Signers => handed.extend(found.active.clone()),
                    }
                }
            }
            file.extend(outside.shared_key_set());
            if self.direct_signers {
                handed.extend(outside.current().0.and_then(|d| d.active.as_ref()).map(|a| a.key.kid.clone()));
            }
            (outside.now, outside.current().0.map(|d| d.facts.promised(outside.now)))
        };
        let has_file_verifiers = self.daemons.iter().any(|d| d.wanted.targets.iter().any(|t| t.audience() == Audience::Verifiers));
        if !has_file_verifiers {
            file.clear();
        }
        for (kid, dead) in self.signers_read(now) {
            self.exposure.minted(&kid, dead);
        }
        let Some(promised) = promised else { return Ok(()) };
        // Nobody goes slower than the document promises and some policy states.
        let stated = |name: FactName| self.daemons.iter().map(|d| d.wanted.rules.facts.get(name)).max().unwrap_or_default();
        let least = |wish: Span, name: FactName| wish.min(promised.get(name)).min(stated(name));
        let truth = Truth {
            token_ttl: least(self.wish.token_ttl, FactName::TokenTtl),
            signer_refresh: least(self.wish.signer_refresh, FactName::SignerRefresh),
            verifier_refresh: least(self.wish.verifier_refresh, FactName::VerifierRefresh),
            verifier_retry: self.wish.verifier_retry,
            cache_max_age: least(self.wish.cache_max_age, FactName::CacheMaxAge),
            clock_skew: self.wish.clock_skew,
        };
        let edge = self.edge_set(&http);
        let seen = self.exposure.look(&http, &file, &edge, &handed, &truth, now);
        if self.unsettled { Ok(()) } else { seen }
    }

    fn act(&mut self, act: Act) -> Result<(), String> {
        let now = self.now();
        lock(&self.shared).log.push(format!("{now} -- {}", act.told()));
        match act {
            Act::Crash { daemon, down_for } => {
                self.daemons[daemon].crash();
                self.insert(now + down_for, Act::Start { daemon });
            }
            Act::Start { daemon } => self.daemons[daemon].start(&self.shared, self.fresh_for),
            Act::Freeze { daemon, lasts } => self.daemons[daemon].frozen_until = Some(now + lasts),
            Act::StoreAway { hosts, away } => {
                for host in hosts {
                    lock(&self.shared).hosts[host].store_away = away;
                    if let Some(process) = &mut self.daemons[host].process {
                        process.poll_at = Some(now);
                    }
                }
            }
            Act::WitnessAway { host, away } => lock(&self.shared).hosts[host].witness_away = away,
            Act::FilesAway { host, away } => {
                lock(&self.shared).hosts[host].files_away = away;
                self.nudge(host, now);
            }
            Act::StepClock { host, by } => {
                lock(&self.shared).hosts[host].offset += by;
                self.nudge(host, now);
            }
            Act::Alter { host } => {
                let mut outside = lock(&self.shared);
                let wall = outside.reading(host).wall;
                for file in outside.hosts[host].files.values_mut() {
                    file.content = keyrota::digest::Digest::of(b"altered");
                    file.changed_at = wall;
                }
                drop(outside);
                self.nudge(host, now);
            }
            Act::Edit { daemons, edit } => {
                for daemon in daemons {
                    let daemon = &mut self.daemons[daemon];
                    let mut rules = (*daemon.wanted.rules).clone();
                    edit(&mut rules);
                    daemon.wanted.rules = Arc::new(rules);
                    daemon.policy_changed = true;
                }
            }
            Act::Truth(change) => change(&mut self.wish),
            Act::BreakPolicy { daemon, broken } => {
                self.daemons[daemon].policy_broken = broken;
                self.daemons[daemon].policy_changed = !broken;
                self.nudge(daemon, now);
            }
            Act::Operator(choose) => self.operate(&*choose),
            Act::Order { daemon, wish } => {
                let nothing = || Document::empty(format!("production/{NAME}").parse().unwrap(), KeyClass::Asymmetric);
                let document = lock(&self.shared).current().0.cloned().unwrap_or_else(nothing);
                let verb = wish(&document);
                if let (Some(verb), Some(_)) = (verb, &self.daemons[daemon].process) {
                    lock(&self.shared).log.push(format!("{now}    {verb:?}"));
                    let (keyset, by, reason) = (NAME.parse().unwrap(), "operator".to_owned(), "because".to_owned());
                    self.daemons[daemon].requests.push_back(Request { keyset, verb, by, reason, dry_run: false, seen: None });
                }
            }
            Act::Restore { from } => self.put_back(from),
            Act::Edge(change) => self.edge_does(&*change)?,
            Act::Signer { host, name, stuck_for } => {
                let signer = Signer { name: name.parse().unwrap(), stuck: (now, now + stuck_for), moves: Vec::new(), uses: None };
                lock(&self.shared).hosts[host].signers.push(signer);
            }
            Act::SlowKeys { lasts } => lock(&self.shared).keys_slow_until = now + lasts,
            Act::Check(check) => check(self)?,
        }
        Ok(())
    }

    fn nudge(&mut self, host: usize, now: Timestamp) {
        let soon = now + lock(&self.shared).chance.span(Span::seconds(30));
        if let Some(process) = &mut self.daemons[host].process {
            process.poll_at = Some(soon);
        }
    }

    fn insert(&mut self, at: Timestamp, act: Act) {
        let place = self.acts.partition_point(|(other, _)| *other > at);
        self.acts.insert(place, (at, act));
    }

    /// The operator's verb is one compare-and-swap of its own, on what the store holds.
    fn operate(&mut self, choose: &dyn Fn(&Document) -> Option<Verb>) {
        let mut outside = lock(&self.shared);
        let Some(document) = outside.current().0.cloned() else { return };
        let Some(verb) = choose(&document) else { return };
        let intent = Intent::new("operator", outside.now, "because");
        let Ok(next) = operator::apply(&document, &verb, &self.daemons[0].wanted.rules, intent, None) else { return };
        let before = outside.revisions;
        outside.operator_writes(next);
        drop(outside);
        self.spread_news(before, None);
    }
}
