//! One scrape: a picture of the board, told piece by piece.

use bytes::Bytes;
use prometheus::{Encoder as _, TextEncoder};

use super::Metrics;
use super::environments::{self, Environments};
use super::keysets::{FAMILIES, Row};
use super::text;
use crate::clock::Reading;
use crate::http::status::waits;
use crate::time::Span;

/// How much text is made before it is sent.
const PIECE: usize = 64 * 1024;

/// The text of one scrape, in pieces. All samples of one family stand together, as the format demands.
pub struct Scrape {
    /// What comes first and what comes last.
    ends: [Option<Bytes>; 2],
    rows: Vec<Row>,
    family: usize,
    row: usize,
    now: Reading,
}

impl Scrape {
    pub(super) fn new(metrics: &Metrics, environments: &Environments, now: Reading) -> Self {
        let mut first = String::new();
        environments::write(&mut first, environments, now);
        let mut last = Vec::new();
        // Writing to memory cannot fail, and names were checked when they were registered.
        let _ = TextEncoder::new().encode(&metrics.registry.gather(), &mut last);
        let mut process = String::new();
        metrics.process.write(&mut process);
        last.extend_from_slice(process.as_bytes());
        Self { ends: [Some(first.into()), Some(last.into())], rows: rows(metrics, environments, now), family: 0, row: 0, now }
    }

    fn piece(&mut self) -> String {
        let mut out = String::with_capacity(if self.rows.len() < 16 { 1024 } else { PIECE + 4096 });
        while let Some(family) = FAMILIES.get(self.family) {
            if self.row == 0 {
                text::head(&mut out, family.head);
            }
            while let Some(row) = self.rows.get(self.row) {
                family.write(row, self.now.wall, &mut out);
                self.row += 1;
                if out.len() >= PIECE {
                    return out;
                }
            }
            self.family += 1;
            self.row = 0;
        }
        out
    }
}

impl Iterator for Scrape {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.ends[0].take() {
            return Some(first);
        }
        if self.family < FAMILIES.len() {
            let piece = self.piece();
            if !piece.is_empty() {
                return Some(piece.into());
            }
        }
        self.ends[1].take()
    }
}

fn rows(metrics: &Metrics, environments: &Environments, now: Reading) -> Vec<Row> {
    metrics.counts.retain(|id| environments.get(&id.environment).is_some_and(|e| e.keyset(id.keyset.as_str()).is_some()));
    let mut rows = Vec::new();
    for environment in environments.values() {
        let keysets = environment.keysets();
        rows.reserve(keysets.len());
        for (name, cell) in keysets.iter() {
            let id = environment.id(name);
            let status = cell.status();
            let waits = status.as_deref().map(|status| waits(status, now.wall));
            let counts = metrics.counts.of(&id);
            let refresh = waits.map_or(Span::ZERO, |waits| waits.facts.signer_refresh);
            let reports = cell.reports.list().into_iter().filter(|report| report.is_live(now.wall, refresh)).collect();
            rows.push(Row { id, waits, counts, served: cell.served(), status, reports });
        }
    }
    rows
}
