//! The second secret of a keyset over HTTP: replicas that write one version, and one that lags.

use keyrota::digest::Digest;
use keyrota::name::Generation;
use keyrota::policy::{AwsSecretTarget, AwsStore as AwsConfig, Target};
use keyrota::publish::{Brought, Places, Programs, PublishError, Removed, Targets as _, Vendors};
use keyrota::store::aws::calls::{Calls as _, Which};
use keyrota::store::aws::sdk::SdkCalls;
use keyrota::time::Span;

use crate::contract::pairs;
use crate::fixture::{QuickTime, config, endpoint, store};

type HttpPlaces = Places<SdkCalls, QuickTime>;

fn places(at: &AwsConfig) -> HttpPlaces {
    let (done, _) = tokio::sync::mpsc::unbounded_channel();
    Places::new(Programs::new(done.clone()), Vendors::new(std::sync::Arc::default(), done), Some(store(at, &QuickTime::default())))
}

async fn bring(places: &HttpPlaces, target: &Target, generation: u64, expected: Option<Digest>) -> Result<Brought, PublishError> {
    let document = pairs("a", generation);
    places.bring(&document.id, target, &document, expected).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn moto_keeps_the_key_set_of_the_latest_replica() {
    let at = config(endpoint("KEYROTA_MOTO"));
    let name = format!("{}a.jwks", at.prefix);
    let target = Target::AwsSecret(AwsSecretTarget { name: name.clone() });
    let replicas: Vec<_> = (0..8).map(|_| places(&at)).collect();
    let calls = SdkCalls::new(&at);
    for generation in 1..=3 {
        let brought = futures_util::future::join_all(replicas.iter().map(|replica| bring(replica, &target, generation, None))).await;
        assert!(brought.iter().all(|b| matches!(b, Ok(Brought::Agreed { .. }))), "{generation}: {brought:?}");
        let value = calls.get(&name, Which::Current).await.unwrap();
        assert!(value.version.0.starts_with(&format!("keyrota-{generation:020}-")), "{}", value.version);
        let text = value.text.unwrap();
        assert_eq!(text.expose(), serde_json::to_string(&pairs("a", generation).jwks()).unwrap());
        let described = calls.describe(&name).await.unwrap();
        // moto shows versions without a label too.
        assert_eq!(described.labels.len() as u64, generation, "all replicas wrote one version: {:?}", described.labels);
    }
    let behind = places(&at);
    assert_eq!(bring(&behind, &target, 2, None).await, Ok(Brought::Ahead { generation: Generation(3) }));
    let Ok(Brought::Agreed { content, .. }) = bring(&behind, &target, 3, None).await else { panic!("it has caught up") };
    let id = pairs("a", 3).id;
    assert_eq!(behind.remove(&id, &target, &pairs("a", 3), Some(content), Span::ZERO).await, Ok(Removed::Done));
    assert!(calls.describe(&name).await.unwrap().deleted_at.is_some());
    let again = bring(&behind, &target, 3, Some(content)).await.unwrap_err().to_string();
    assert!(again.contains("scheduled for deletion"), "{again}");
}
