//! The key that a step stages: asked for, fetched, or waited for.

use super::advance::{Context, Then};
use super::keyset::Keyset;
use super::{KeyOrders as _, Order, Ports};
use crate::document::Document;
use crate::event::{Event, Part};
use crate::key::Key;
use crate::lifecycle::Step;
use crate::name::KeysetId;
use crate::time::Timestamp;

impl<P: Ports> Context<'_, P> {
    /// The key that the step needs, if it needs one; otherwise how to go on without it.
    pub(super) async fn ordered(
        &self,
        id: &KeysetId,
        keyset: &mut Keyset,
        document: &Document,
        step: &Step,
        now: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<Option<Key>, Then> {
        let Step::Generate { spec } = step else { return Ok(None) };
        match self.ports.keys().order(id, document, spec, now).await {
            Order::Ready(key) => {
                keyset.works(id, Part::Keygen, events);
                Ok(Some(*key))
            }
            Order::Making => Err(Then::Stop),
            Order::Failed(what) => {
                keyset.trouble(id, Part::Keygen, what, events);
                Err(Then::Stop)
            }
            // It is decided again without that key, so that nothing else waits for the vendor.
            Order::Asked(what) => {
                keyset.no_key = Some(what);
                Err(Then::GoOn)
            }
            Order::Away(what) => {
                keyset.trouble(id, Part::Keygen, what.clone(), events);
                keyset.no_key = Some(what);
                Err(Then::GoOn)
            }
        }
    }
}
