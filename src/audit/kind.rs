//! The kinds of lines, with what each means: for the trail, for the journal's `MESSAGE_ID`, and for its catalogue of explanations
//! (`journalctl --catalog`).

use std::fmt::Write as _;

use serde::{Serialize, Serializer};

use crate::digest::Digest;

macro_rules! kinds {
    ($($kind:ident, $name:literal, $subject:literal, $explained:literal;)+) => {
        /// What kind of thing a line tells of. Names are never changed.
        #[allow(clippy::doc_markdown, reason = "subjects are the journal's, with its fields in them")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "`.")] $kind,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            /// Its subject in the journal's catalogue, and what is to be known and done, with the journal's fields in it.
            const fn explained(self) -> (&'static str, &'static str) {
                match self {
                    $(Self::$kind => ($subject, $explained),)+
                }
            }
        }
    };
}

// Each kind, its name, its subject in the journal's catalogue, and what is to be known and done. `AuditHead` goes to the journal alone.
kinds! {
    KeyMoved, "key-moved", "Key @KEYROTA_KID@ is @KEYROTA_TO@",
    "A key of keyset @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ entered the state @KEYROTA_TO@ in generation\n\
     @KEYROTA_GENERATION@, because: @KEYROTA_REASON@.\n\n\
     Nothing needs to be done. `keyrota plan` shows what comes next.";
    PrivateErased, "private-erased", "The private half of key @KEYROTA_KID@ was erased",
    "The change-over from this key can no longer be undone. Its tokens are accepted until they expire.";
    Forgotten, "forgotten", "Old tombstones of @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ were forgotten",
    "A document remembers a bounded number of keys that are gone. Revoked kids are remembered for ever, as digests.";
    FactsAdopted, "facts-adopted", "The facts of the policy count for @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@",
    "A fact that was raised counts at once, one that was lowered when all that was promised under it is gone.";
    IntentNoted, "intent-noted", "An operator's wish for @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ was noted",
    "@KEYROTA_ACTOR@ asked for it, because: @KEYROTA_REASON@. `keyrota status` shows what waits for it.";
    RevocationConfirmed, "revocation-confirmed", "Revoked key @KEYROTA_KID@ is gone everywhere",
    "Every place that verifiers read is without it, and no verifier that keeps the stated facts can hold it any more.";
    TimesReset, "times-reset", "Times of @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ that lay in the future were set to now",
    "@KEYROTA_ACTOR@ accepted the clock. The waits of these keys begin anew.";
    Trouble, "trouble", "Something about @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ does not work",
    "It is tried again by itself, and what is served goes on. `keyrota status` and `keyrota doctor` say what to do.";
    TroubleOver, "trouble-over", "What did not work about @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ works again",
    "Nothing needs to be done.";
    TargetWritten, "target-written", "A file of @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ was written",
    "A target of the policy was brought up to the document. Nothing needs to be done.";
    TargetRepaired, "target-repaired", "A file of @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ had been altered, and was repaired",
    "Somebody else wrote to a target of the policy. If that was not on purpose, look who may write there. The waits that\n\
     depend on this file begin anew.";
    TargetRemoved, "target-removed", "A file of @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ was taken away",
    "It is no target of the policy any more.";
    TargetLeft, "target-left", "A file of @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ could not be taken away",
    "It is no target of the policy any more and may hold a key. Remove it by hand.";
    UptakeOverrun, "uptake-overrun", "Key @KEYROTA_KID@ left although a signer still uses it",
    "A signer of @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ still reports generation @KEYROTA_GENERATION@, and was waited for as\n\
     long as `uptake_bound` allows. Tokens that it signs are rejected. Restart it, or look why it does not read its document.";
    OperatorNeeded, "operator-needed", "Keyset @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ waits for a person",
    "A vendor's key is to be handed in (`keyrota import`), or a change-over is to be approved (`keyrota approve`). `keyrota status`\n\
     says by when.";
    Overdue, "overdue", "Keyset @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ is overdue",
    "A change-over should have happened, or a key should have left. The message says what it waits for; `keyrota status` says what\n\
     to do. What is served goes on.";
    InTime, "in-time", "Keyset @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ is overdue no more",
    "Nothing needs to be done.";
    StoreUnavailable, "store-unavailable", "The store of @KEYROTA_ENVIRONMENT@ does not answer",
    "Nothing rotates, signers are refused after a while, verifiers get the last key sets. It goes on by itself once the\n\
     store answers.";
    StoreBack, "store-back", "The store of @KEYROTA_ENVIRONMENT@ answers again",
    "Nothing needs to be done: what is due follows now.";
    Accepted, "accepted", "An operator accepted that the document of @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ is gone",
    "@KEYROTA_ACTOR@ did. The keyset begins anew if its policy lets it be created today.";
    ClockAccepted, "clock-accepted", "An operator accepted the wall clock as it is",
    "@KEYROTA_ACTOR@ did, for @KEYROTA_ENVIRONMENT@. What was held up because of the clock goes on.";
    Removed, "removed", "Keyset @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ was removed with everything it wrote",
    "@KEYROTA_ACTOR@ did, because: @KEYROTA_REASON@.";
    Migrated, "migrated", "Keyset @KEYROTA_ENVIRONMENT@/@KEYROTA_KEYSET@ took a step on its way to another store",
    "@KEYROTA_ACTOR@ did, because: @KEYROTA_REASON@. `keyrota migrate` with --dry-run says what is left to do.";
    ClockSet, "clock-set", "The wall clock was set",
    "Nothing rotates until wall clock and boot clock agree again. `timedatectl status` shows the clock; if it is right\n\
     as it is now, `keyrota accept ENVIRONMENT --clock` goes on.";
    ClockBack, "clock-back", "The wall clock agrees with the boot clock again",
    "What was held up goes on.";
    TrailBegun, "trail-begun", "The audit trail begins",
    "There was none in this state directory. If there should have been one, somebody removed it.";
    TrailMended, "trail-mended", "The last line of the audit trail had been cut off by a crash",
    "It was taken away. What it told of is written again from the documents, marked as recovered.";
    TrailBroken, "trail-broken", "The audit trail says that it is proven by a key that is not here",
    "It goes on under the key of the master key in use. `keyrota audit verify` says from which line on it is not proven: was the\n\
     state directory put together from two?";
    TrailKeyChanged, "trail-key-changed", "The audit trail is proven by a new key from here on",
    "The master key is being changed. This line bears the key before, sealed under the new one.";
    MasterKeyChanged, "master-key-changed", "The embedded store is sealed under a new master key",
    "@KEYROTA_ACTOR@ asked for it, because: @KEYROTA_REASON@. The old key opens nothing that is in force: keep it for as long\n\
     as copies of keysets.db from before are kept.";
    BackedUp, "backed-up", "A back-up was taken",
    "@KEYROTA_ACTOR@ took it. Whoever can open it can sign with every key that was alive then: the message says for whom it is.";
    RestoredFromBackup, "restored-from-back-up", "The state directory was made out of a back-up",
    "@KEYROTA_ACTOR@ did it. What came back is held until `keyrota restored ENVIRONMENT` or `keyrota accept` says how to go on.";
    AuditHead, "audit-head", "The audit trail reaches to line @KEYROTA_AUDIT_LINE@",
    "With this a trail that was cut short or written anew shows: the line of this number must bear the code\n\
     @KEYROTA_AUDIT_MAC@. `keyrota audit verify` proves the rest.";
}

impl Kind {
    /// Names the kind in the journal for ever (`journalctl MESSAGE_ID=…`): 128 bits of the digest of its name.
    pub fn message_id(self) -> String {
        let digest = Digest::of(format!("keyrota message 1 {}", self.as_str()).as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_bytes()[..16]);
        format!("{:032x}", u128::from_be_bytes(id))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The journal's catalogue (`systemd/keyrota.catalog`), in the format of systemd's message catalogs.
pub fn catalogue() -> String {
    let mut text = "# What keyrota's messages mean: `journalctl --catalog -u keyrota`. Copy this to /usr/lib/systemd/catalog and run\n\
                    # `journalctl --update-catalog`. Made from the source; a test holds the two equal.\n"
        .to_owned();
    for kind in Kind::ALL {
        let ((subject, explained), id) = (kind.explained(), kind.message_id());
        let _ = write!(text, "\n-- {id}\nSubject: {subject}\nDefined-By: keyrota\nSupport: man:keyrota(1)\n\n{explained}\n");
    }
    text
}
