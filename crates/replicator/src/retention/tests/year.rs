//! A made-up year of 100,000 images. What must go is told by the rule in one line; what takes how
//! long is printed, and nothing is asserted of it.

use std::time::Instant;

use super::*;
use crate::ledger::record::Settlement;
use crate::ledger::testing::copied_as;

const IMAGES: usize = 100_000;

/// Tags of one repository.
const TAGS: usize = 100;

/// Rows in one statement.
const ROWS: usize = 1_000;

/// When each image was asked for at last, in days before the end of the year.
fn asked_days_ago(image: usize) -> u64 {
    (image as u64).wrapping_mul(7_919) % 365
}

/// What of each image runs or ran: of one in fifty a pod runs now, of another one in fifty one ran
/// so many days ago.
fn runs(image: usize) -> Option<Option<u64>> {
    match image % 50 {
        0 => Some(None),
        1 => Some(Some((image as u64).wrapping_mul(104_729) % 365)),
        _ => None,
    }
}

/// Every tenth image is the same as the one before it.
fn manifest(image: usize) -> usize {
    if image % 10 == 9 { image - 1 } else { image }
}

fn source(image: usize) -> String {
    format!("quay.io/team-{}/app:v{}", image / TAGS, image % TAGS)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_year_of_100_000_images_the_right_ones_go() {
    let store = Fixture::sqlite().await;
    store.pass(365 * DAY).await;
    let ledger = store.open().await;
    let target = root("registry.corp/mirror");
    let Settlement::Copied { digest, .. } = copied_as('a') else { panic!("it is copied") };
    assert_eq!(digest.hex().len(), 64);
    let now_ms = ledger.now().as_ms();
    let days_ago = |days: u64| now_ms - i64::try_from(days * 24 * 60 * 60 * 1_000).unwrap();
    let insert = async |table: &str, rows: Vec<String>| {
        for rows in rows.chunks(ROWS) {
            store.run(&format!("INSERT INTO {table} VALUES {}", rows.join(", "))).await;
        }
    };
    let began = Instant::now();
    let replicas = (0..IMAGES).map(|image| {
        let (source, at) = (source(image), days_ago(asked_days_ago(image)));
        format!(
            "('{source}', 'registry.corp/mirror/{source}', 'present', 'sha256:{:064x}', 1000, 0, \
             'quay.io', 'shop', 0, 1, {at}, {at}, 3)",
            manifest(image)
        )
    });
    insert(
        "replicas (source, target, state, digest, size_bytes, attempts, registry, namespace, \
         priority, claims, checked_at_ms, changed_at_ms, revision)",
        replicas.collect(),
    )
    .await;
    let requests = (0..IMAGES).map(|image| {
        let at = days_ago(asked_days_ago(image));
        format!("('{}', 'shop', 'policy', {at}, {at}, 1)", source(image))
    });
    insert("requests", requests.collect()).await;
    let uses = (0..IMAGES).filter_map(|image| {
        let (pods, at) = runs(image).map(|ago| match ago {
            None => (1, days_ago(200)),
            Some(ago) => (0, days_ago(ago)),
        })?;
        let name = match image % 3 {
            0 => source(image),
            1 => format!("registry.corp/mirror/{}", source(image)),
            _ => format!(
                "registry.corp/mirror/quay.io/team-{}/app@sha256:{:064x}",
                image / TAGS,
                manifest(image)
            ),
        };
        Some(format!("('{name}', 'shop', '', {pods}, {at}, {at})"))
    });
    insert("uses", uses.collect()).await;
    let made = began.elapsed();

    let is_used = |image: usize| {
        let runs = match runs(image) {
            None => false,
            Some(None) => true,
            Some(Some(ago)) => ago <= 30,
        };
        runs || asked_days_ago(image) <= 30
    };
    let shares = |image: usize| {
        [image.wrapping_sub(1), image + 1]
            .into_iter()
            .find(|other| *other < IMAGES && manifest(*other) == manifest(image))
    };
    let expected: BTreeSet<_> = (0..IMAGES)
        .filter(|image| !is_used(*image) && !shares(*image).is_some_and(is_used))
        .map(source)
        .collect();
    let began = Instant::now();
    let (unused, kept) = plan(&ledger, &target).await;
    println!(
        "{IMAGES} images made in {made:?}; a plan took {:?}: {} go, {} stay though nobody asked",
        began.elapsed(),
        unused.len(),
        kept.len()
    );
    assert_eq!(unused, expected);
    assert!(expected.len() > IMAGES / 2 && expected.len() < IMAGES);
}
