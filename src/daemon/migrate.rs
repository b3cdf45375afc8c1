//! Moving an environment's keysets to another store, at an operator's word; and whether a policy that names another store may be taken.
//!
//! It goes on beside the environment's own passes, which see sealed documents and leave them alone. Nothing is kept in memory between
//! two requests: both stores tell where everything stands.

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::sync::oneshot;

use super::environment::{Command, Running};
use super::keeping::Keeping;
use super::policies::Policies;
use crate::clock::Reading;
use crate::document::Intent;
use crate::event::Event;
use crate::migrate::course::Route;
use crate::migrate::{Move, Moved, Standing, Stopped};
use crate::name::{EnvironmentName, KeysetId, KeysetName};
use crate::policy::{Policy, StoreConfig};
use crate::publish::replace_file;
use crate::secret::SecretBytes;
use crate::status_report::ErrorReport;
use crate::status_report::doctor::Verdict;
use crate::status_report::migrate::{MigrateReport, MigrateRequest, MigratedReport, Part};
use crate::status_report::verbs::Refused;
use crate::store::{Mark, RECOVERY, Store as _};

/// How many keysets are on their way at once.
const AT_ONCE: usize = 8;

/// What a seal and a note of origin may add to a document.
const ROOM_FOR_THE_MOVE: usize = 2 * 1024;

/// The two ends of a move, and their names.
struct Ends {
    source: Keeping,
    target: Keeping,
    /// The most bytes that a document in the target may have.
    limit: usize,
    route: Route,
}

impl Policies {
    /// Takes the keysets of an environment a part of their way, or says how they stand.
    pub(super) async fn migrate(&self, request: MigrateRequest, by: String) -> Result<MigrateReport, Refused> {
        let name = &request.environment;
        let ends = self.ends(&request).await?;
        self.must_be_sound(name).await?;
        let keysets = self.all_keysets(name, &ends).await?;
        let now = Reading::now();
        let reason = if request.reason.trim().is_empty() { "keyrota migrate" } else { &request.reason };
        let intent = Intent::new(&by, now.wall, reason);
        let (source, target, route) = (&ends.source, &ends.target, &ends.route);
        let road = Move { source, target, route, recovery: request.recovery, intent: &intent };
        let mut report = MigrateReport {
            at: now.wall,
            by,
            part: request.part,
            source: route.source.clone(),
            target: route.target.clone(),
            keysets: foreseen(&road, &keysets, request.part, ends.limit).await?,
            notes: Vec::new(),
        };
        // One keyset that cannot go keeps all of them here, so that no environment is torn in two.
        if request.dry_run || !report.is_good() {
            return Ok(report);
        }
        if request.part == Part::Go {
            self.remember(name, &ends.route).await?;
        }
        let parts: Vec<_> = keysets.iter().map(|keyset| done(&road, keyset, request.part)).collect();
        report.keysets = stream::iter(parts).buffered(AT_ONCE).collect().await;
        self.tell_of(&report, name, &intent);
        if request.part == Part::Erase && report.is_good() && matches!(ends.source, Keeping::Embedded(_)) {
            let away = |error: crate::store::StoreError| Refused::of("store", &format!("{error}; hint: `keyrota purge {name}`"));
            self.house.embedded.purge().await.map_err(away)?;
            report.notes.push("the embedded store's file and log hold nothing of them any more".to_owned());
        }
        Ok(report)
    }

    /// Whether the running environment may go over to the store that its new policy names: everything is there already.
    pub(super) async fn has_moved(&self, known: &Running, policy: &Policy) -> Result<Keeping, String> {
        let (name, file, kind) = (&policy.environment, policy.source.display(), policy.store.kind());
        let route = Route { source: known.store.name(), target: policy.store.name() };
        if route.source == route.target {
            let what = "its settings are not those in use";
            return Err(format!("{file}: store: {what}; hint: a running keyrota keeps the settings of its store, so restart it"));
        }
        let (source, target) = (Keeping::of(&self.house, name, &known.store), Keeping::of(&self.house, name, &policy.store));
        let ends = Ends { source, target: target.clone(), limit: policy.store.value_limit(), route };
        let hint = format!("`keyrota migrate {name} --to {kind} --policies DIR` first, with this policy in DIR; nothing was changed");
        let keysets =
            self.all_keysets(name, &ends).await.map_err(|refused| format!("{file}: store: {}; hint: {hint}", refused.said.error))?;
        let intent = Intent::new("keyrota", Reading::now().wall, "");
        let road = Move { source: &ends.source, target: &ends.target, route: &ends.route, recovery: RECOVERY, intent: &intent };
        let foreseen = road.foresee(&keysets).await.map_err(|error| format!("{file}: store: {error}; hint: {hint}"))?;
        for (keyset, standing) in foreseen {
            let what = match standing {
                Ok(Moved { standing: Standing::There | Standing::Absent, .. }) => continue,
                Ok(_) => format!("it is not the one in use, and keyset {keyset} is not in it"),
                Err(stopped) => format!("it is not the one in use: {}", stopped.to_string().replace("; hint: ", ", ")),
            };
            return Err(format!("{file}: store: {what}; hint: {hint}"));
        }
        Ok(target)
    }

    /// Both stores of the part that was asked for.
    async fn ends(&self, request: &MigrateRequest) -> Result<Ends, Refused> {
        let name = &request.environment;
        let unknown = || Refused::of("unknown", &format!("there is no environment {name}; hint: `keyrota status` lists them"));
        let in_use = self.store_of(name).await.ok_or_else(unknown)?;
        let other = match (&request.store, request.part) {
            (Some(store), _) => store.clone(),
            (None, Part::Erase | Part::Keep) => self.remembered(name).await?,
            (None, Part::Go | Part::Back) => {
                return Err(Refused::of("invalid", "the other store was not named; hint: --policies DIR, with the policy that names it"));
            }
        };
        if other.name() == in_use.name() {
            let (what, hint) = match request.part {
                Part::Go | Part::Back => ("is the one in use", "--policies DIR names the folder with the edited policy"),
                Part::Erase | Part::Keep => {
                    ("is still in use", "merge the policy that names the new one and `keyrota reload --wait` first")
                }
            };
            return Err(Refused::of("unsafe", &format!("the {} {what}; hint: {hint}", other.name())));
        }
        let (from, to) = if request.part == Part::Go { (in_use, other) } else { (other, in_use) };
        Ok(Ends {
            source: Keeping::of(&self.house, name, &from),
            target: Keeping::of(&self.house, name, &to),
            limit: to.value_limit(),
            route: Route { source: from.name(), target: to.name() },
        })
    }

    /// Nothing moves while clock, store or documents cannot be trusted.
    async fn must_be_sound(&self, name: &EnvironmentName) -> Result<(), Refused> {
        let (answer, examined) = oneshot::channel();
        let gone = || Refused::of("store", "the daemon is going down; hint: ask again when it is up; nothing was changed");
        self.send(name, Command::Examine(answer)).await.map_err(|()| gone())?;
        let findings = examined.await.map_err(|_| gone())?;
        let matters = |what: &str| ["clock", "store", "sealed", "witness"].contains(&what);
        match findings.into_iter().find(|finding| finding.verdict == Verdict::Broken && matters(&finding.what)) {
            None => Ok(()),
            Some(finding) => {
                let what = format!("{} {}: {}", finding.what, finding.whose, finding.says);
                Err(Refused::of("unsafe", &format!("nothing is moved while that is so: {what}; hint: {}", finding.hint)))
            }
        }
    }

    /// Every keyset that either store, the policy, or this process knows of.
    async fn all_keysets(&self, name: &EnvironmentName, ends: &Ends) -> Result<Vec<KeysetName>, Refused> {
        let mut keysets = BTreeSet::new();
        if let Some(board) = self.house.board.environment(name.as_str()) {
            keysets.extend(board.keysets().keys().cloned());
        }
        for (store, whose) in [(&ends.source, &ends.route.source), (&ends.target, &ends.route.target)] {
            let changes = store.changes(&Mark::default()).await;
            let away = |error| Refused::of("store", &format!("the {whose}: {error}; hint: nothing was changed; ask again when it answers"));
            keysets.extend(changes.map_err(away)?.written.into_iter().map(|(keyset, _)| keyset));
        }
        Ok(keysets.into_iter().collect())
    }

    fn memory(&self, name: &EnvironmentName) -> PathBuf {
        self.house.state_dir.join("moves").join(format!("{name}.json"))
    }

    /// Keeps what the store that is left is called in a policy, for the end of the move.
    async fn remember(&self, name: &EnvironmentName, route: &Route) -> Result<(), Refused> {
        let failed =
            |what: String| Refused::of("store", &format!("the move cannot be noted: {what}; hint: the state directory must be writable"));
        let Some(store) = self.store_of(name).await.filter(|store| store.name() == route.source) else { return Ok(()) };
        let text = serde_json::to_vec_pretty(&store).map_err(|error| failed(error.to_string()))?;
        let path = self.memory(name);
        let kept = tokio::task::spawn_blocking(move || replace_file(&path, &SecretBytes::new(text), 0o600)).await;
        kept.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    async fn remembered(&self, name: &EnvironmentName) -> Result<StoreConfig, Refused> {
        let path = self.memory(name);
        let text = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        let store = text.ok().and_then(Result::ok).and_then(|text| serde_json::from_slice(&text).ok());
        store.ok_or_else(|| {
            let what = format!("this daemon remembers no move of {name}");
            Refused::of("pointless", &format!("{what}; hint: --policies DIR, with the policy that named the old store"))
        })
    }

    fn tell_of(&self, report: &MigrateReport, name: &EnvironmentName, intent: &Intent) {
        let moved = report.keysets.iter().filter(|keyset| keyset.stopped.is_none() && keyset.standing != Some(Standing::Absent));
        let events = moved.map(|keyset| Event::Migrated {
            keyset: KeysetId { environment: name.clone(), keyset: keyset.keyset.clone() },
            generation: keyset.generation,
            what: match report.part {
                Part::Go | Part::Back => format!("moved from the {} to the {}", report.source, report.target),
                Part::Erase => format!("arrived in the {} for good, and the {} was emptied of it", report.target, report.source),
                Part::Keep => format!("arrived in the {} for good", report.target),
            },
            by: intent.by.clone(),
            reason: intent.reason.clone(),
        });
        self.house.tell(events.collect(), Reading::now());
    }
}

/// How every keyset stands, and which of them cannot go on.
async fn foreseen(
    road: &Move<'_, Keeping, Keeping>,
    keysets: &[KeysetName],
    part: Part,
    limit: usize,
) -> Result<Vec<MigratedReport>, Refused> {
    if matches!(part, Part::Erase | Part::Keep) {
        let looks: Vec<_> = keysets.iter().map(|keyset| end_of(road, keyset, part == Part::Keep)).collect();
        return Ok(stream::iter(looks).buffered(AT_ONCE).collect().await);
    }
    let away = |error| Refused::of("store", &format!("{error}; hint: nothing was changed; ask again when it answers"));
    let foreseen = road.foresee(keysets).await.map_err(away)?;
    let fits = |moved: &Moved| moved.bytes + ROOM_FOR_THE_MOVE <= limit;
    Ok(foreseen
        .into_iter()
        .map(|(keyset, moved)| match moved {
            Ok(moved) if !fits(&moved) && moved.standing != Standing::There => {
                let what = format!("its document has {} bytes, and the {} takes {limit}", moved.bytes, road.route.target);
                let hint = "fewer keys at once: wait until retiring keys have left, or use smaller ones".to_owned();
                let stopped = Some(ErrorReport { error: what, hint });
                MigratedReport { keyset, standing: None, generation: moved.generation, stopped }
            }
            moved => of(&keyset, moved),
        })
        .collect())
}

async fn end_of(road: &Move<'_, Keeping, Keeping>, keyset: &KeysetName, keep: bool) -> MigratedReport {
    of(keyset, road.foresee_end(keyset, keep).await)
}

async fn done(road: &Move<'_, Keeping, Keeping>, keyset: &KeysetName, part: Part) -> MigratedReport {
    let moved = match part {
        Part::Go | Part::Back => road.carry(keyset).await,
        Part::Erase | Part::Keep => road.end(keyset, part == Part::Keep).await,
    };
    of(keyset, moved)
}

fn of(keyset: &KeysetName, moved: Result<Moved, Stopped>) -> MigratedReport {
    match moved {
        Ok(moved) => MigratedReport { keyset: keyset.clone(), standing: Some(moved.standing), generation: moved.generation, stopped: None },
        Err(stopped) => {
            let said = Refused::of("store", &stopped.to_string()).said;
            MigratedReport { keyset: keyset.clone(), standing: None, generation: crate::name::Generation(0), stopped: Some(said) }
        }
    }
}
