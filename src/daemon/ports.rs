//! The reconciler's ports in the real world.

use std::sync::Arc;

use super::keeping::Keeping;
use super::orders::Orders;
use crate::board::EnvironmentBoard;
use crate::clock::Reading;
use crate::document::Document;
use crate::metrics::MeasuredCalls;
use crate::metrics::MeasuredStore;
use crate::name::KeysetName;
use crate::observed::SignerReport;
use crate::publish::Places;
use crate::reconcile::{Ports, Status};
use crate::store::aws::sdk::SdkCalls;
use crate::systemd::watchdog::Watchdog;
use crate::witness::book::WitnessBook;

/// The places that an environment writes.
pub type RealPlaces = Places<MeasuredCalls<SdkCalls>>;

/// The ports of one environment.
pub struct RealPorts {
    pub store: MeasuredStore<Keeping>,
    pub witness: WitnessBook,
    pub orders: Orders,
    pub places: RealPlaces,
    pub board: Arc<EnvironmentBoard>,
    pub watchdog: Arc<Watchdog>,
}

impl Ports for RealPorts {
    type Store = MeasuredStore<Keeping>;
    type Witness = WitnessBook;
    type Keys = Orders;
    type Targets = RealPlaces;

    fn store(&self) -> &Self::Store {
        &self.store
    }

    fn witness(&self) -> &WitnessBook {
        &self.witness
    }

    fn keys(&self) -> &Orders {
        &self.orders
    }

    fn targets(&self) -> &RealPlaces {
        &self.places
    }

    fn clock(&self) -> Reading {
        Reading::now()
    }

    fn uptake(&self, keyset: &KeysetName) -> Vec<SignerReport> {
        self.board.keyset(keyset.as_str()).map(|cell| cell.reports.list()).unwrap_or_default()
    }

    fn serve(&self, keyset: &KeysetName, document: Option<&Arc<Document>>) {
        self.board.ensure(std::iter::once(keyset));
        if let Some(cell) = self.board.keyset(keyset.as_str()) {
            cell.serve(document);
        }
    }

    fn report(&self, keyset: &KeysetName, status: Option<Status>) {
        self.watchdog.step(&self.board.name, Reading::now());
        match status {
            None => self.board.take_off(keyset),
            Some(status) => {
                if let Some(cell) = self.board.keyset(keyset.as_str()) {
                    cell.report(Some(status));
                }
            }
        }
    }
}
