//! Signatures by the back end alone, with keys that are parsed once.

use std::hint::black_box;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, ParsedPublicKey, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keyrota::jwk::PublicNumbers;
use keyrota::key::{Algorithm, Key};

/// The private half as the back end takes it.
fn der(key: &Key) -> Vec<u8> {
    let pem = key.secret().unwrap().expose();
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
}

/// Signs a message with the bare back end.
pub fn signer(key: &Key, message: Vec<u8>) -> Box<dyn FnMut()> {
    let random = SystemRandom::new();
    match key.algorithm {
        Algorithm::HS256 => {
            let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, key.secret().unwrap().expose().as_bytes());
            Box::new(move || {
                black_box(hmac::sign(&hmac_key, black_box(&message)));
            })
        }
        Algorithm::ES256 => {
            let pair = EcdsaKeyPair::from_pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &der(key)).unwrap();
            Box::new(move || {
                black_box(pair.sign(&random, black_box(&message)).unwrap());
            })
        }
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::from_pkcs8(&der(key)).unwrap();
            Box::new(move || {
                black_box(pair.sign(black_box(&message)));
            })
        }
        _ => {
            let pair = RsaKeyPair::from_pkcs8(&der(key)).unwrap();
            let mut signature = vec![0; pair.public_modulus_len()];
            Box::new(move || pair.sign(&signature::RSA_PKCS1_SHA256, &random, black_box(&message), &mut signature).unwrap())
        }
    }
}

/// Verifies a signature with the bare back end.
pub fn verifier(key: &Key, message: Vec<u8>, tag: Vec<u8>) -> Box<dyn FnMut()> {
    let member = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let parsed = match key.public_jwk().map(|jwk| &jwk.numbers) {
        None => {
            let hmac_key = hmac::Key::new(hmac::HMAC_SHA256, key.secret().unwrap().expose().as_bytes());
            return Box::new(move || hmac::verify(&hmac_key, black_box(&message), black_box(&tag)).unwrap());
        }
        Some(PublicNumbers::Ec { x, y, .. }) => {
            let point = [vec![4], member(x), member(y)].concat();
            ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
        }
        Some(PublicNumbers::Okp { x, .. }) => ParsedPublicKey::new(&signature::ED25519, member(x)),
        Some(rsa @ PublicNumbers::Rsa { .. }) => ParsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, rsa.to_spki_der().unwrap()),
    };
    let parsed = parsed.unwrap();
    Box::new(move || parsed.verify_sig(black_box(&message), black_box(&tag)).unwrap())
}
