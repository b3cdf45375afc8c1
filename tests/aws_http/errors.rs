//! What the SDK's errors become, as far as they can be brought about from outside.

use keyrota::store::aws::calls::{CallFault, Calls as _, VersionId};
use keyrota::store::aws::sdk::SdkCalls;
use keyrota::store::{Store as _, StoreError, SwapError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::contract::{create, first, name, next};
use crate::fixture::{QuickTime, config, endpoint, store};

/// A server that gives everybody the same answer; `None`: it hangs up instead.
async fn answering(status: &'static str, body: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut request = vec![0; 65_536];
                let _ = peer.read(&mut request).await;
                let Some(body) = body else { return };
                let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n", body.len());
                let _ = peer.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}

fn coded(code: &'static str) -> &'static str {
    Box::leak(format!("{{\"__type\":\"{code}\",\"message\":\"in the service's words\"}}").into_boxed_str())
}

#[tokio::test]
async fn codes_become_faults_and_sentences() {
    for (status, code, fault) in [
        ("400 Bad Request", "ResourceNotFoundException", CallFault::NotFound),
        ("404 Not Found", "ResourceNotFoundException", CallFault::NotFound),
        ("400 Bad Request", "AccessDeniedException", CallFault::Denied),
        ("400 Bad Request", "UnrecognizedClientException", CallFault::Credentials),
        ("400 Bad Request", "LimitExceededException", CallFault::Quota),
        ("400 Bad Request", "EncryptionFailure", CallFault::Kms),
        ("400 Bad Request", "ThrottlingException", CallFault::Throttled),
        ("500 Internal Server Error", "InternalServiceError", CallFault::Unknown),
    ] {
        let calls = SdkCalls::new(&config(answering(status, Some(coded(code))).await));
        let version = VersionId("0".repeat(32));
        let error = calls.move_current("keyrota/a", &version, &version).await.unwrap_err();
        assert_eq!(error.fault, fault, "{code}: {error}");
        let text = error.to_string();
        assert!(text.contains(code) && text.contains("UpdateSecretVersionStage of `keyrota/a`") && text.contains("; hint: "), "{text}");
    }
}

#[tokio::test]
async fn what_was_sent_and_not_answered_is_unknown_and_what_was_never_sent_is_not() {
    let version = VersionId("0".repeat(32));
    for (body, status) in [(None, ""), (Some("<html>"), "502 Bad Gateway")] {
        let calls = SdkCalls::new(&config(answering(status, body).await));
        let error = calls.move_current("keyrota/a", &version, &version).await.unwrap_err();
        assert_eq!(error.fault, CallFault::Unknown, "{error}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let calls = SdkCalls::new(&config(format!("http://{nobody}")));
    let error = calls.move_current("keyrota/a", &version, &version).await.unwrap_err();
    assert_eq!(error.fault, CallFault::Unreachable, "{error}");
    assert!(error.to_string().contains("store.endpoint_url"), "{error}");
    let unread = store(&config(format!("http://{nobody}")), &QuickTime::default()).load(&name("a")).await;
    assert!(matches!(unread, Err(StoreError::Unavailable(_))), "a service that is away is not an empty one");
}

#[tokio::test]
async fn a_write_is_sent_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (count, mut counted) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 65_536];
            let _ = peer.read(&mut request).await;
            count.send(()).unwrap();
        }
    });
    let version = VersionId("0".repeat(32));
    let calls = SdkCalls::new(&config(format!("http://{address}")));
    let error = calls.move_current("keyrota/a", &version, &version).await.unwrap_err();
    assert_eq!(error.fault, CallFault::Unknown, "{error}");
    assert!(counted.try_recv().is_ok());
    assert!(counted.try_recv().is_err(), "the SDK repeated a write");
}

#[tokio::test]
async fn what_waits_to_be_deleted_is_named_by_moto() {
    let at = config(endpoint("KEYROTA_MOTO"));
    let time = QuickTime::default();
    let here = store(&at, &time);
    let (one, at_one) = create(&here, "a").await;
    let loader = aws_config::defaults(aws_config::BehaviorVersion::v2026_01_12()).region(aws_config::Region::new("eu-west-3"));
    let client = aws_sdk_secretsmanager::Client::new(&loader.endpoint_url(at.endpoint_url.clone().unwrap()).load().await);
    let secret = format!("{}a", at.prefix);
    client.delete_secret().secret_id(&secret).recovery_window_in_days(7).send().await.unwrap();
    // moto says of a creation that the name is taken, where the service says that the secret is deleted: either way nothing is made.
    assert!(here.swap(None, &first("a", "s")).await.is_err());
    let swapped = here.swap(Some(&at_one), &next(&one, "two")).await;
    let Err(SwapError::Invalid(what)) = swapped else { panic!("{swapped:?}") };
    assert!(what.contains("scheduled for deletion") && what.contains("restore-secret"), "{what}");
    let anew = store(&at, &time);
    assert!(anew.load(&name("a")).await.unwrap().is_none(), "what no policy asks for is gone");
    anew.watch([name("a")]);
    let Err(StoreError::Invalid(what)) = anew.load(&name("a")).await else { panic!("it was read") };
    assert!(what.contains("scheduled for deletion"), "{what}");
}
