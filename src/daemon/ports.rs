//! The reconciler's ports in the real world.

use std::sync::Arc;

use super::keeping::Keeping;
use super::orders::Orders;
use crate::board::EnvironmentBoard;
use crate::clock::Reading;
use crate::document::Document;
use crate::metrics::MeasuredStore;
use crate::name::KeysetName;
use crate::observed::SignerReport;
use crate::publish::Files;
use crate::reconcile::{Ports, Status};
use crate::witness::book::WitnessBook;

/// The ports of one environment.
pub struct RealPorts {
    pub store: MeasuredStore<Keeping>,
    pub witness: WitnessBook,
    pub orders: Orders,
    pub files: Files,
    pub board: Arc<EnvironmentBoard>,
}

impl Ports for RealPorts {
    type Store = MeasuredStore<Keeping>;
    type Witness = WitnessBook;
    type Keys = Orders;
    type Targets = Files;

    fn store(&self) -> &Self::Store {
        &self.store
    }

    fn witness(&self) -> &WitnessBook {
        &self.witness
    }

    fn keys(&self) -> &Orders {
        &self.orders
    }

    fn targets(&self) -> &Files {
        &self.files
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
