//! Tests: laws of timing and size, with their figures.

use super::*;
use crate::key::{KidFormat, SecretEncoding};

fn pair(algorithm: Algorithm, rsa_bits: u16) -> KeySpec {
    KeySpec::Pair { algorithm, rsa_bits, kid: KidFormat::Thumbprint, certificate: None }
}

fn figures(spec: &KeySpec) -> Figures<'_> {
    let facts =
        Facts { token_ttl: Span::hours(1), verifier_refresh: Span::minutes(15), signer_refresh: Span::hours(1), ..Facts::default() };
    let rotate_every = Span::days(30);
    Figures {
        spec,
        facts,
        rotate_every,
        max_window_wait: Span::ZERO,
        look_within: Span::ZERO,
        max_age: None,
        rollback_window: None,
        jitter: Span::ZERO,
        uptake_bound: None,
        on_aws: false,
        value_limit: 60 * 1024,
    }
}

#[test]
fn plain_figures_break_no_law() {
    assert_eq!(broken(&figures(&pair(Algorithm::ES256, 0))), []);
    assert_eq!(broken(&Figures { on_aws: true, ..figures(&pair(Algorithm::RS256, 4096)) }), []);
}

#[test]
fn a_window_as_long_as_the_period_is_refused() {
    let spec = pair(Algorithm::ES256, 0);
    let facts = Facts::default();
    let at = |rotate_every| {
        let found = broken(&Figures {
            facts: Facts { verifier_refresh: Span::ZERO, ..facts },
            rotate_every,
            max_window_wait: Span::days(7),
            ..figures(&spec)
        });
        found.into_iter().filter(|b| b.weight == Weight::Refused).collect::<Vec<_>>()
    };
    let refused = at(Span::days(7));
    assert!(refused.len() == 1 && refused[0].what.contains("keys would pile up without bound"), "{refused:?}");
    assert_eq!(at(Span::days(7) + Span::seconds(1)), []);
}

#[test]
fn keys_alive_at_once_are_bounded_by_the_waits() {
    let facts = Facts { verifier_refresh: Span::hours(1), token_ttl: Span::hours(3), ..Facts::default() };
    assert_eq!(most_live_keys(&facts, Span::hours(4), Span::ZERO, None), Some(3));
    assert_eq!(most_live_keys(&facts, Span::hours(4).saturating_sub(Span::millis(1)), Span::ZERO, None), Some(4));
    assert_eq!(most_live_keys(&facts, Span::hours(8), Span::hours(4), None), Some(3));
    assert_eq!(most_live_keys(&facts, Span::hours(8), Span::hours(8), None), None);
    assert_eq!(most_live_keys(&facts, Span::ZERO, Span::ZERO, None), None);
}

#[test]
fn estimates_are_above_real_sizes() {
    // PKCS#8 PEM as aws-lc-rs writes it, and the JWK of its public half.
    for (spec, private, public) in [
        (pair(Algorithm::RS256, 2048), 1704, 342),
        (pair(Algorithm::RS256, 3072), 2484, 512),
        (pair(Algorithm::RS256, 4096), 3272, 683),
        (pair(Algorithm::ES256, 0), 241, 86),
        (pair(Algorithm::ES512, 0), 384, 176),
        (pair(Algorithm::EdDsa, 0), 170, 43),
    ] {
        let one_more = document_size(&spec, 4) - document_size(&spec, 3);
        assert!(one_more >= private + 2 * public + 600, "{spec:?}: {one_more}");
        assert!(one_more <= 2 * (private + 2 * public) + 1500, "{spec:?}: {one_more}");
    }
    let hmac = KeySpec::Hmac {
        algorithm: Algorithm::HS256,
        bytes: 32,
        prefix: "whsec_".into(),
        encoding: SecretEncoding::Hex,
        kid: KidFormat::Uuid,
    };
    let one_more = |spec: &KeySpec| document_size(spec, 2) - document_size(spec, 1);
    assert!(one_more(&hmac) < one_more(&pair(Algorithm::RS256, 2048)));
    // As many as a policy may have fit into a secret on AWS, with every revocation of what they sealed.
    assert!(document_size(&hmac, 16) + RESERVED_FOR_REVOCATION < 64 * 1024);
}

#[test]
fn the_document_must_fit_beside_a_revocation() {
    let spec = pair(Algorithm::RS256, 4096);
    let fits = document_size(&spec, 3) + RESERVED_FOR_REVOCATION;
    assert_eq!(broken(&Figures { value_limit: fits, ..figures(&spec) }), []);
    let refused = broken(&Figures { value_limit: fits - 1, ..figures(&spec) });
    assert!(refused.len() == 1 && refused[0].what.starts_with("a document with 3 keys has about "), "{refused:?}");
}

#[test]
fn extreme_figures_do_not_overflow() {
    let spec = pair(Algorithm::RS512, 4096);
    let most = Span::millis(u64::MAX);
    let facts = Facts { token_ttl: most, verifier_refresh: most, signer_refresh: most, clock_skew: most, margin: most, ..Facts::default() };
    for rotate_every in [Span::ZERO, Span::millis(1), most] {
        for on_aws in [false, true] {
            let figures = Figures {
                facts,
                rotate_every,
                max_window_wait: most,
                max_age: Some(most),
                rollback_window: Some(most),
                jitter: most,
                on_aws,
                ..figures(&spec)
            };
            let _ = broken(&figures);
        }
    }
}
