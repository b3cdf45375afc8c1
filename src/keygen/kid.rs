//! Names for new keys: thumbprints (RFC 7638) of key pairs, random UUIDv7 (RFC 9562 §5.7) of secrets.

use super::KeygenError;
use crate::jwk::PublicNumbers;
use crate::key::KidFormat;
use crate::name::Kid;
use crate::time::Timestamp;

pub(super) fn for_pair(format: &KidFormat, numbers: &PublicNumbers, now: Timestamp) -> Result<Kid, KeygenError> {
    match format {
        KidFormat::Thumbprint => Ok(numbers.thumbprint().to_string().parse()?),
        KidFormat::Uuid | KidFormat::Prefix(_) => for_secret(format, now),
    }
}

pub(super) fn for_secret(format: &KidFormat, now: Timestamp) -> Result<Kid, KeygenError> {
    let prefix = match format {
        KidFormat::Thumbprint => return Err(KeygenError::ThumbprintOfSecret),
        KidFormat::Uuid => "",
        KidFormat::Prefix(prefix) => prefix,
    };
    let mut tail = [0u8; 10];
    super::random(&mut tail)?;
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let uuid = uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid();
    Ok(format!("{prefix}{uuid}").parse()?)
}
