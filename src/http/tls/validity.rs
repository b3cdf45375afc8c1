//! Until when a certificate is valid (RFC 5280 §4.1.2.5).

use rsa::pkcs8::der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use rsa::pkcs8::der::{Decode as _, SliceReader, Tag, Tagged as _};

use crate::time::{Span, Timestamp};

/// The `notAfter` of a certificate in DER; `None` if it has none that can be read.
pub(super) fn expires_at(certificate: &[u8]) -> Option<Timestamp> {
    let to_be_signed = parts(AnyRef::from_der(certificate).ok()?)?.next()?;
    // Version (which may be missing), serial number, signature, issuer, validity.
    let mut fields = parts(to_be_signed)?.skip_while(|field| matches!(field.tag(), Tag::ContextSpecific { .. }));
    let until = parts(fields.nth(3)?)?.nth(1)?;
    let since_1970 = match until.tag() {
        Tag::UtcTime => until.decode_as::<UtcTime>().ok()?.to_unix_duration(),
        Tag::GeneralizedTime => until.decode_as::<GeneralizedTime>().ok()?.to_unix_duration(),
        _ => return None,
    };
    Some(Timestamp::EPOCH + Span::seconds(since_1970.as_secs()))
}

/// What a sequence is made of.
fn parts(sequence: AnyRef<'_>) -> Option<impl Iterator<Item = AnyRef<'_>>> {
    let mut reader = SliceReader::new(sequence.value()).ok().filter(|_| sequence.tag() == Tag::Sequence)?;
    Some(std::iter::from_fn(move || AnyRef::decode(&mut reader).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn made(until: (i32, u8, u8)) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(until.0, until.1, until.2));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_time_are_read() {
        // From 2050 on it is GeneralizedTime.
        for (until, must) in
            [((2026, 11, 3), "2026-11-03T00:00:00Z"), ((2049, 12, 31), "2049-12-31T00:00:00Z"), ((2050, 1, 1), "2050-01-01T00:00:00Z")]
        {
            assert_eq!(expires_at(&made(until)), Some(must.parse().unwrap()));
        }
        let whole = made((2026, 11, 3));
        assert_eq!([&whole[..whole.len() - 1], b"", b"\x30\x00", b"\x02\x01\x01"].map(expires_at), [None; 4]);
    }
}
