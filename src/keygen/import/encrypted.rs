//! Encrypted PKCS#8 (RFC 5958 §3) as `openssl pkcs8 -topk8` writes it: PBES2 with PBKDF2 and AES-CBC (RFC 8018).
//!
//! The pkcs8 crate takes the structure apart; what derives and decrypts is aws-lc-rs.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_128, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use pkcs8::EncryptedPrivateKeyInfo;
use pkcs8::pkcs5::EncryptionScheme as Scheme;
use pkcs8::pkcs5::pbes2::{EncryptionScheme as Cipher, Kdf, Pbkdf2Params, Pbkdf2Prf};
use zeroize::Zeroizing;

use super::ImportError;
use crate::secret::SecretText;

/// More rounds than this are an attack on our time: openssl's default is 2048, OWASP's advice below a million.
const MOST_ROUNDS: u32 = 10_000_000;

const CONVERT: &str = "convert it with `openssl pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA256 -in FILE`";

/// The PKCS#8 structure inside.
pub(super) fn open(der: &[u8], passphrase: Option<&SecretText>) -> Result<Zeroizing<Vec<u8>>, ImportError> {
    let failed = |what: &str, hint| ImportError::Encrypted { what: what.to_owned(), hint };
    let info = EncryptedPrivateKeyInfo::try_from(der).map_err(|_| failed("its structure cannot be read", CONVERT))?;
    let Scheme::Pbes2(parameters) = &info.encryption_algorithm else {
        return Err(failed("it is encrypted with PBES1, which is broken", CONVERT));
    };
    let Kdf::Pbkdf2(kdf) = &parameters.kdf else { return Err(failed("its passphrase is stretched with scrypt", CONVERT)) };
    let (cipher, length, iv) = match &parameters.encryption {
        Cipher::Aes128Cbc { iv } => (&AES_128, 16, *iv),
        Cipher::Aes256Cbc { iv } => (&AES_256, 32, *iv),
        _ => return Err(failed("its cipher is neither AES-128-CBC nor AES-256-CBC", CONVERT)),
    };
    let passphrase = passphrase.ok_or_else(|| failed("there is no passphrase", "--passphrase-fd N names a file descriptor with it"))?;
    let key = stretched(kdf, passphrase, length).ok_or_else(|| failed("its key derivation is not supported", CONVERT))?;
    let unreadable = |_| failed("this passphrase does not open it", "is it the right one? a line end at its end is left out");
    let key = UnboundCipherKey::new(cipher, &key).and_then(PaddedBlockDecryptingKey::cbc_pkcs7).map_err(unreadable)?;
    let mut content = Zeroizing::new(info.encrypted_data.to_vec());
    let length = key.decrypt(&mut content, DecryptionContext::Iv128(FixedLength::from(iv))).map_err(unreadable)?.len();
    content.truncate(length);
    // A wrong passphrase leaves lawful padding once in 256 times, but never a sequence of this very length.
    pkcs8::PrivateKeyInfo::try_from(content.as_slice()).map_err(|_| unreadable(aws_lc_rs::error::Unspecified))?;
    Ok(content)
}

fn stretched(kdf: &Pbkdf2Params<'_>, passphrase: &SecretText, length: usize) -> Option<Zeroizing<Vec<u8>>> {
    let algorithm = match kdf.prf {
        Pbkdf2Prf::HmacWithSha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        Pbkdf2Prf::HmacWithSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Pbkdf2Prf::HmacWithSha384 => pbkdf2::PBKDF2_HMAC_SHA384,
        Pbkdf2Prf::HmacWithSha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        _ => return None,
    };
    let rounds = NonZeroU32::new(kdf.iteration_count).filter(|rounds| rounds.get() <= MOST_ROUNDS)?;
    let mut key = Zeroizing::new(vec![0; length]);
    let text = passphrase.expose();
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    pbkdf2::derive(algorithm, rounds, kdf.salt, text.as_bytes(), &mut key);
    Some(key)
}
