//! Lines of the audit trail in systemd's journal, by its native protocol (systemd.io, "Native Journal Protocol"): one datagram for each,
//! so that every field is a field of the journal and `MESSAGE_ID` names the kind.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use crate::audit::{Kind, Line};
use crate::witness::book::TrailHead;

/// Where systemd's journal listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// The most bytes of one value; a datagram must fit into a socket's buffer.
const LONGEST_VALUE: usize = 8 * 1024;

/// The journal's priorities that are used (syslog(3)).
const WARNING: &str = "4";
const INFO: &str = "6";

/// An open way to the journal.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// Opens the way to the journal that listens there.
    ///
    /// # Errors
    /// If nobody does.
    pub fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self { socket })
    }

    /// Sends a line of the trail.
    ///
    /// # Errors
    /// If the journal does not take it.
    pub fn line(&self, line: &Line, is_trouble: bool) -> io::Result<()> {
        let text = |value: Option<&dyn std::fmt::Display>| value.map(ToString::to_string);
        let trigger = line.trigger.map(|trigger| format!("{trigger:?}").to_lowercase());
        let fields = [
            ("KEYROTA_KIND", Some(line.kind.as_str().to_owned())),
            ("KEYROTA_ENVIRONMENT", text(line.environment.as_ref().map(|v| v as _))),
            ("KEYROTA_KEYSET", text(line.keyset.as_ref().map(|v| v as _))),
            ("KEYROTA_KID", text(line.kid.as_ref().map(|v| v as _))),
            ("KEYROTA_FROM", text(line.from.as_ref().map(|v| v as _))),
            ("KEYROTA_TO", text(line.to.as_ref().map(|v| v as _))),
            ("KEYROTA_GENERATION", text(line.generation.as_ref().map(|v| v as _))),
            ("KEYROTA_TRIGGER", trigger),
            ("KEYROTA_ACTOR", line.actor.clone()),
            ("KEYROTA_REASON", line.reason.clone()),
            ("KEYROTA_AT", line.recovered.then(|| line.at.to_string())),
            ("KEYROTA_RECOVERED", line.recovered.then(|| "true".to_owned())),
        ];
        self.send(line.kind, &line.says, if is_trouble { WARNING } else { INFO }, &fields)
    }

    /// Says how far the trail reaches, so that one which is cut short shows here.
    ///
    /// # Errors
    /// If the journal does not take it.
    pub fn head(&self, head: &TrailHead) -> io::Result<()> {
        let fields = [("KEYROTA_AUDIT_LINE", Some(head.number.to_string())), ("KEYROTA_AUDIT_MAC", Some(head.code.clone()))];
        self.send(Kind::AuditHead, &format!("audit trail: line {}", head.number), INFO, &fields)
    }

    fn send(&self, kind: Kind, message: &str, priority: &str, fields: &[(&str, Option<String>)]) -> io::Result<()> {
        let mut datagram = Vec::with_capacity(1024);
        field(&mut datagram, "MESSAGE", message);
        field(&mut datagram, "MESSAGE_ID", &kind.message_id());
        field(&mut datagram, "PRIORITY", priority);
        field(&mut datagram, "SYSLOG_IDENTIFIER", "keyrota");
        for (name, value) in fields {
            if let Some(value) = value {
                field(&mut datagram, name, value);
            }
        }
        self.socket.send(&datagram).map(drop)
    }
}

/// A value with line feeds in it is sent with its length.
fn field(datagram: &mut Vec<u8>, name: &str, value: &str) {
    let mut end = value.len().min(LONGEST_VALUE);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let value = value.get(..end).unwrap_or_default();
    datagram.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::logs;
    use crate::document::{Change, HistoryEntry, StateName, Trigger};
    use crate::event::Event;
    use crate::name::Generation;
    use crate::time::{Span, Timestamp};
    use std::collections::BTreeMap;

    /// A journal of our own, and the way to it.
    fn journal() -> (tempfile::TempDir, UnixDatagram, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.sock");
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::open(&path).unwrap();
        (folder, listener, journal)
    }

    fn fields(listener: &UnixDatagram) -> BTreeMap<String, String> {
        let mut datagram = vec![0; 256 * 1024];
        let length = listener.recv(&mut datagram).unwrap();
        let mut rest = &datagram[..length];
        let mut found = BTreeMap::new();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&rest[..end]).unwrap();
            let (name, value, used) = if let Some((name, value)) = line.split_once('=') {
                (name.to_owned(), value.to_owned(), end + 1)
            } else {
                let length = usize::try_from(u64::from_le_bytes(rest[end + 1..end + 9].try_into().unwrap())).unwrap();
                let value = String::from_utf8(rest[end + 9..end + 9 + length].to_vec()).unwrap();
                (line.to_owned(), value, end + 9 + length + 1)
            };
            assert!(found.insert(name, value).is_none(), "each field once");
            rest = &rest[used..];
        }
        assert!(rest.is_empty());
        found
    }

    fn revoked(reason: &str) -> Event {
        let change = Change::KeyMoved { kid: "k1".parse().unwrap(), from: Some(StateName::Active), to: StateName::Revoked };
        let (by, at) = (Some("ada (1000)".to_owned()), Timestamp::EPOCH + Span::days(20_000));
        let entry = HistoryEntry { generation: Generation(7), at, trigger: Trigger::Emergency, reason: reason.into(), by, change };
        Event::Changed { keyset: "production/users".parse().unwrap(), entry }
    }

    #[test]
    fn an_event_is_an_entry_with_its_id_and_its_fields() {
        let (_folder, listener, journal) = journal();
        logs::to_journal(&journal, &revoked("found in a log"));
        let entry = fields(&listener);
        let expected = [
            ("MESSAGE", "production/users: key k1 went from active to revoked (found in a log)"),
            ("MESSAGE_ID", "cb7e14d489c63be6c314d9ba95c3b211"),
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "keyrota"),
            ("KEYROTA_KIND", "key-moved"),
            ("KEYROTA_ENVIRONMENT", "production"),
            ("KEYROTA_KEYSET", "users"),
            ("KEYROTA_KID", "k1"),
            ("KEYROTA_FROM", "active"),
            ("KEYROTA_TO", "revoked"),
            ("KEYROTA_GENERATION", "7"),
            ("KEYROTA_TRIGGER", "emergency"),
            ("KEYROTA_ACTOR", "ada (1000)"),
            ("KEYROTA_REASON", "found in a log"),
        ];
        assert_eq!(entry, expected.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
    }

    #[test]
    fn what_is_recovered_what_is_trouble_and_how_far_the_trail_reaches_is_told() {
        let (_folder, listener, journal) = journal();
        let Event::Changed { keyset, entry } = revoked("found\nMESSAGE_ID=forged") else { panic!() };
        journal.line(&Line::of_change(Timestamp::EPOCH, &keyset, &entry, true), false).unwrap();
        let recovered = fields(&listener);
        assert_eq!((recovered["KEYROTA_RECOVERED"].as_str(), recovered["KEYROTA_AT"].as_str()), ("true", "2024-10-04T00:00:00.000Z"));
        assert_eq!(recovered["KEYROTA_REASON"], "found\nMESSAGE_ID=forged", "nobody forges a field");
        assert_eq!(recovered["MESSAGE_ID"], Kind::KeyMoved.message_id());

        let what = "x".repeat(100_000);
        logs::to_journal(&journal, &Event::StoreUnavailable { environment: "production".parse().unwrap(), what });
        let trouble = fields(&listener);
        assert_eq!((trouble["PRIORITY"].as_str(), trouble["KEYROTA_KIND"].as_str()), ("4", "store-unavailable"));
        assert!(trouble["MESSAGE"].len() == LONGEST_VALUE && !trouble.contains_key("KEYROTA_KEYSET"));

        journal.head(&TrailHead { number: 12, code: "abc".into(), oldest: 1 }).unwrap();
        let head = fields(&listener);
        assert_eq!((head["KEYROTA_AUDIT_LINE"].as_str(), head["KEYROTA_AUDIT_MAC"].as_str()), ("12", "abc"));
        assert_eq!(head["MESSAGE_ID"], Kind::AuditHead.message_id());
    }
}
