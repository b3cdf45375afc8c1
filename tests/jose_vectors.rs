//! The examples of the JOSE standards, against our own types: RFC 7515 A.1 to A.4, RFC 7517 A.1, RFC 7520 4.1 to 4.4, RFC 7638
//! §3.1, RFC 8037 A.1 to A.4.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use keyrota::jwk::PublicNumbers;
use keyrota::key::Algorithm;
use keyrota::keygen::{KeyPair, hmac_tag, inspect};
use keyrota::secret::SecretText;

/// The payload of RFC 7515 A.1 to A.3.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

fn numbers(json: &str) -> PublicNumbers {
    let numbers: PublicNumbers = serde_json::from_str(json).unwrap();
    assert_eq!(numbers.check(), Ok(()));
    assert_eq!(PublicNumbers::from_spki_pem(&numbers.to_spki_pem().unwrap()), Ok(numbers.clone()));
    numbers
}

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The signature verifies; with any of the first bits of message or signature turned, or another algorithm, it does not.
fn verifies_only_as_it_stands(numbers: &PublicNumbers, algorithm: Algorithm, message: &str, signature: &str) {
    let signature = decode(signature);
    assert!(numbers.verifies(algorithm, message.as_bytes(), &signature), "{algorithm}");
    for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
        assert!(!numbers.verifies(other, message.as_bytes(), &signature), "{algorithm} as {other}");
    }
    for bit in 0..8 {
        let (mut bent_message, mut bent_signature) = (message.as_bytes().to_vec(), signature.clone());
        bent_message[0] ^= 1 << bit;
        bent_signature[8] ^= 1 << bit;
        assert!(!numbers.verifies(algorithm, &bent_message, &signature));
        assert!(!numbers.verifies(algorithm, message.as_bytes(), &bent_signature));
    }
    assert!(!numbers.verifies(algorithm, message.as_bytes(), &[]));
    let parsed = numbers.verifying_key(algorithm).unwrap();
    assert!(parsed.verifies(message.as_bytes(), &signature), "parsed once, {algorithm}");
    assert!(!parsed.verifies(message.as_bytes(), &signature[1..]) && !parsed.verifies(b"another", &signature));
}

#[test]
fn rfc7515_a1_hs256() {
    let key = decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
    let message = format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{PAYLOAD}");
    let tag = hmac_tag(Algorithm::HS256, &key, message.as_bytes());
    assert_eq!(tag, Some(decode("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")));
    assert_eq!(hmac_tag(Algorithm::HS256, &key[..31], message.as_bytes()), None, "shorter than its hash");
    assert_eq!(hmac_tag(Algorithm::RS256, &key, message.as_bytes()), None);
}

#[test]
fn rfc7515_a2_rs256() {
    let numbers = numbers(concat!(
        r#"{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL"#,
        "-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTB",
        "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9",
        r#"gb54h4FRWyuXpoQ","e":"AQAB"}"#
    ));
    assert_eq!(numbers.bits(), 2048);
    let signature = concat!(
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ",
        "cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-e",
        "OkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    verifies_only_as_it_stands(&numbers, Algorithm::RS256, &format!("eyJhbGciOiJSUzI1NiJ9.{PAYLOAD}"), signature);
}

#[test]
fn rfc7515_a3_es256() {
    let numbers = numbers(concat!(
        r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","#,
        r#""y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#
    ));
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    verifies_only_as_it_stands(&numbers, Algorithm::ES256, &format!("eyJhbGciOiJFUzI1NiJ9.{PAYLOAD}"), signature);
}

#[test]
fn rfc7515_a4_es512() {
    let numbers = numbers(concat!(
        r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","#,
        r#""y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#
    ));
    assert_eq!(numbers.bits(), 521);
    let signature = concat!(
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3x",
        "KpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
    );
    verifies_only_as_it_stands(&numbers, Algorithm::ES512, "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA", signature);
}

#[test]
fn rfc7517_a1_public_keys_and_rfc7638_thumbprint() {
    let ec = numbers(concat!(
        r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","#,
        r#""y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#
    ));
    assert!(ec.suits(Algorithm::ES256) && !ec.suits(Algorithm::ES384));
    // The same key stands in RFC 7517 A.1 and RFC 7638 §3.1.
    let rsa = numbers(concat!(
        r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKR"#,
        "XjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0",
        "zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEg",
        r#"U8awapJzKnqDKgw","e":"AQAB"}"#
    ));
    assert_eq!(rsa.thumbprint().to_string(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

#[test]
fn rfc8037_a1_to_a4_ed25519() {
    // A.1's `d` as PKCS#8 (RFC 8410 §7), which is how private halves are stored here.
    let mut pkcs8 = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    pkcs8.extend(decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"));
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&pkcs8));
    let private = SecretText::new(pem);
    let (inspected, bits) = inspect(&private, Algorithm::EdDsa).unwrap();
    let published = numbers(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#); // A.2
    assert_eq!((&inspected, bits), (&published, 256));
    assert_eq!(published.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"); // A.3
    let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"; // A.4
    let pair = KeyPair::from_pkcs8_pem(&private, Algorithm::EdDsa).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()).unwrap()), signature);
    verifies_only_as_it_stands(&published, Algorithm::EdDsa, message, signature);
}

/// The cookbook's tokens are no JWTs (their payload is plain text), so it is the signatures that are looked at.
#[test]
fn rfc7520_4_1_to_4_4() {
    let examples: Vec<serde_json::Value> = serde_json::from_str(include_str!("material/rfc7520.json")).unwrap();
    assert_eq!(examples.len(), 4);
    for example in examples {
        let algorithm: Algorithm = example["alg"].as_str().unwrap().parse().unwrap();
        let (message, signature) = example["token"].as_str().unwrap().rsplit_once('.').unwrap();
        if algorithm == Algorithm::HS256 {
            let key = decode(example["key"]["k"].as_str().unwrap());
            assert_eq!(hmac_tag(algorithm, &key, message.as_bytes()), Some(decode(signature)), "{}", example["section"]);
        } else {
            verifies_only_as_it_stands(&numbers(&example["key"].to_string()), algorithm, message, signature);
        }
    }
}
